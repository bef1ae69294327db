//! The drawing: bytes waiting in the client over time, a curve for each run.

use std::path::Path;

use plotters::{
    coord::Shift,
    prelude::*,
    style::text_anchor::{HPos, Pos, VPos},
};

use crate::{
    args::Args,
    drawing::{GREY, PALE, text},
    outcome::End,
    report::Result as RunResult,
    run::Run,
    sample::Sample,
    units::{Bytes, Seconds},
};

type Drawn = Result<(), Box<dyn std::error::Error + Send + Sync>>;
type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// Draws the runs into an SVG file.
pub fn draw(path: &Path, args: &Args, results: &[RunResult]) -> Drawn {
    let root = SVGBackend::new(path, (960, 560)).into_drawing_area();
    root.fill(&WHITE)?; // also where the page around it is dark
    let (head, body) = root.split_vertically(120);
    draw_head(&head, args, results)?;
    draw_body(&body, args, results)?;
    root.present()?;
    Ok(())
}

/// Title, settings and the legend: four entries in two columns.
fn draw_head(area: &Area, args: &Args, results: &[RunResult]) -> Drawn {
    area.draw(&Text::new("What waits in the client", (30, 14), text(30)))?;
    let server = if args.url.is_some() { "a given server" } else { "embedded server" };
    let settings = format!(
        "{server}, messages of {}, slow reader at {}/s, {} a run",
        Bytes(args.message_size as u64),
        Bytes(args.pace),
        Seconds(args.duration())
    );
    area.draw(&Text::new(settings, (31, 46), text(17).color(&GREY)))?;
    for RunResult { run, outcome, .. } in results {
        let column = if run.receives() { 30 } else { 490 };
        let row = if run.is_callback() { 80 } else { 104 };
        let stroke = stroke(*run).stroke_width(5);
        area.draw(&PathElement::new([(column, row), (column + 32, row)], stroke))?;
        let label = format!("{}: at most {}", run.title(), Bytes(outcome.peak_waiting));
        area.draw(&Text::new(label, (column + 44, row), text(18).pos(Pos::new(HPos::Left, VPos::Center))))?;
    }
    Ok(())
}

fn draw_body(area: &Area, args: &Args, results: &[RunResult]) -> Drawn {
    let most = results.iter().map(|result| result.outcome.peak_waiting).max().unwrap_or(0);
    let height = (mib(most) * 1.12).max(1.0);
    let width = results.iter().map(|result| result.outcome.last.time).max().unwrap_or(args.duration()).as_secs_f64();

    let mut chart = ChartBuilder::on(area)
        .margin_left(16)
        .margin_right(30)
        .margin_bottom(10)
        .x_label_area_size(52)
        .y_label_area_size(84)
        .build_cartesian_2d(0.0..width, 0.0..height)?;
    let decimals = usize::from(height < 10.0);
    chart
        .configure_mesh()
        .bold_line_style(PALE)
        .light_line_style(TRANSPARENT)
        .axis_style(GREY)
        .x_desc("time (s)")
        .y_desc("bytes waiting (MiB)")
        .x_labels(11)
        .y_labels(8)
        .x_label_formatter(&|x| format!("{x:.1}"))
        .y_label_formatter(&|y| format!("{y:.decimals$}"))
        .label_style(text(17))
        .axis_desc_style(text(19))
        .draw()?;

    if args.ceiling <= most {
        let ceiling = mib(args.ceiling);
        chart.draw_series(DashedLineSeries::new([(0.0, ceiling), (width, ceiling)], 6, 5, GREY.stroke_width(1)))?;
        let place = text(17).color(&GREY).pos(Pos::new(HPos::Right, VPos::Bottom));
        let label = format!("ceiling: {}", Bytes(args.ceiling));
        chart.draw_series([Text::new(label, (width, ceiling + height / 120.0), place)])?;
    }
    for RunResult { run, outcome, samples } in results {
        let stroke = stroke(*run);
        let point = |sample: &Sample| (sample.time.as_secs_f64(), mib(sample.waiting));
        chart.draw_series(LineSeries::new(samples.iter().chain([&outcome.last]).map(point), stroke))?;
        if outcome.end == End::Ceiling {
            chart.draw_series([Circle::new(point(&outcome.last), 6, stroke.filled())])?;
        }
    }
    Ok(())
}

/// The two streams lie on each other at the bottom: the first is drawn wide, so that both are seen.
fn stroke(run: Run) -> ShapeStyle {
    let (color, width) = match run {
        Run::ReceiveByCallback => (RGBColor(214, 39, 40), 3),
        Run::SendByCallback => (RGBColor(255, 140, 0), 3),
        Run::ReceiveByStream => (RGBColor(31, 119, 180), 8),
        Run::SendByStream => (RGBColor(80, 200, 120), 3),
    };
    color.stroke_width(width)
}

fn mib(bytes: u64) -> f64 {
    bytes as f64 / 1024.0 / 1024.0
}
