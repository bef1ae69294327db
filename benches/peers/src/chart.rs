//! The drawing for the README: CPU time beside wsflow's for a handful of workloads, a bar for each client.

use std::path::Path;

use plotters::{
    coord::Shift,
    prelude::*,
    style::text_anchor::{HPos, Pos, VPos},
};

use crate::{
    entry::Entry,
    error::Result,
    payload::Content,
    report::Report,
    rounds::{Cell, Row},
    workload::{Action, Family, Flush, Payload},
};

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

const SIZE: (u32, u32) = (1100, 560);
const HEAD: i32 = 104;
const LEFT: i32 = 56;
const BOTTOM: i32 = 516;
const TOP: i32 = HEAD + 26;

/// Longer bars are cut here; their number tells.
const HIGHEST: f64 = 4.0;

const SHOWN: [(&str, Shown); 5] = [
    ("receive 64 B", Shown { family: Family::ReceiveBinary, size: 64, content: Content::Binary, action: None }),
    ("receive text, 256 B", Shown { family: Family::ReceiveText, size: 256, content: Content::Ascii, action: None }),
    ("feed 64 B, flush once", Shown { family: Family::Feed, size: 64, content: Content::Binary, action: None }),
    (
        "send 1 MiB",
        Shown {
            family: Family::Send,
            size: 1 << 20,
            content: Content::Binary,
            action: Some(Action::Send { flush: Flush::Each(1), payload: Payload::Shared }),
        },
    ),
    (
        "round trip 64 B",
        Shown { family: Family::Echo, size: 64, content: Content::Binary, action: Some(Action::Echo { window: 1 }) },
    ),
];

/// Which workload a group of bars is of.
struct Shown {
    family: Family,
    size: usize,
    content: Content,
    /// Where the others do not tell it.
    action: Option<Action>,
}

impl Shown {
    fn is(&self, Row { workload, .. }: &Row) -> bool {
        workload.family == self.family
            && workload.size == self.size
            && workload.content == self.content
            && self.action.is_none_or(|action| action == workload.action)
    }
}

/// Draws those of the workloads that were measured into an SVG file.
pub fn draw(path: &Path, report: &Report) -> Result<()> {
    let groups: Vec<(&str, &Row)> = SHOWN
        .iter()
        .filter_map(|(label, shown)| Some((*label, report.rows.iter().find(|row| shown.is(row))?)))
        .collect();
    if groups.is_empty() {
        return Err("none of the workloads that are drawn was measured".into());
    }
    let root = SVGBackend::new(path, SIZE).into_drawing_area();
    root.fill(&WHITE)?; // also where the page around it is dark
    head(&root, &report.entries)?;
    grid(&root)?;
    let width = (SIZE.0 as i32 - LEFT - 16) / groups.len() as i32;
    for (at, (label, row)) in groups.iter().enumerate() {
        group(&root, LEFT + at as i32 * width, width, label, row)?;
    }
    root.present()?;
    Ok(())
}

fn head(area: &Area, entries: &[Entry]) -> Result<()> {
    let first = entries[0].about.name;
    area.draw(&Text::new(format!("CPU time for each message, {first} = 1 (less is better)"), (24, 12), text(24)))?;
    let width = (SIZE.0 as i32 - 24) / entries.len().div_ceil(2) as i32;
    for (at, entry) in entries.iter().enumerate() {
        let (x, y) = (24 + at as i32 / 2 * width, 52 + at as i32 % 2 * 24);
        area.draw(&Rectangle::new([(x, y), (x + 16, y + 16)], COLORS[at % COLORS.len()].filled()))?;
        area.draw(&Text::new(entry.about.name, (x + 23, y + 9), text(16).pos(Pos::new(HPos::Left, VPos::Center))))?;
    }
    Ok(())
}

fn grid(area: &Area) -> Result<()> {
    for ratio in 0..=HIGHEST as i32 {
        let y = height(f64::from(ratio));
        let stroke = if ratio == 1 { GREY } else { RGBColor(225, 225, 225) };
        area.draw(&PathElement::new([(LEFT, y), (SIZE.0 as i32 - 16, y)], stroke.stroke_width(1)))?;
        let place = text(15).color(&GREY).pos(Pos::new(HPos::Right, VPos::Center));
        area.draw(&Text::new(ratio.to_string(), (LEFT - 8, y), place))?;
    }
    Ok(())
}

fn group(area: &Area, left: i32, width: i32, label: &str, row: &Row) -> Result<()> {
    let bar = (width - 18) / row.cells.len() as i32;
    for at in 0..row.cells.len() {
        let Some((_, ratio)) = row.ratio(at, Cell::cpu) else { continue };
        let (x, y) = (left + 9 + at as i32 * bar, height(ratio.min(HIGHEST)));
        area.draw(&Rectangle::new([(x, y), (x + bar - 2, BOTTOM)], COLORS[at % COLORS.len()].filled()))?;
        let place = text(11).pos(Pos::new(HPos::Center, VPos::Bottom));
        area.draw(&Text::new(format!("{ratio:.1}"), (x + bar / 2 - 1, y - 2), place))?;
    }
    let place = text(16).pos(Pos::new(HPos::Center, VPos::Top));
    area.draw(&Text::new(label.to_owned(), (left + width / 2, BOTTOM + 12), place))?;
    Ok(())
}

fn height(ratio: f64) -> i32 {
    BOTTOM - (ratio / HIGHEST * f64::from(BOTTOM - TOP)).round() as i32
}

fn text(size: i32) -> TextStyle<'static> {
    ("sans-serif", size).into_text_style(&(0, 0)).color(&RGBColor(40, 40, 40))
}

const GREY: RGBColor = RGBColor(110, 110, 110);

/// One for each client in the order of the table, the machine's limit in grey.
const COLORS: [RGBColor; 11] = [
    RGBColor(31, 119, 180),
    RGBColor(214, 39, 40),
    RGBColor(255, 140, 0),
    RGBColor(44, 160, 44),
    RGBColor(148, 103, 189),
    RGBColor(140, 86, 75),
    RGBColor(227, 119, 194),
    RGBColor(188, 189, 34),
    RGBColor(23, 190, 207),
    RGBColor(0, 80, 60),
    RGBColor(170, 170, 170),
];
