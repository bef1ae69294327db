//! The drawing: latency by percentile.

use std::path::Path;

use hdrhistogram::Histogram;
use plotters::prelude::*;

use crate::{
    args::Args,
    drawing::{GREY, PALE, text},
    report::Load,
};

type Drawn = Result<(), Box<dyn std::error::Error + Send + Sync>>;

/// Draws the curve into an SVG file. Each unit to the right leaves a tenth of the messages: 90 %, 99 %, 99.9 %, and so on,
/// as far as a percentile has ten messages above it.
pub fn draw(path: &Path, args: &Args, latency: &Histogram<u64>) -> Drawn {
    const STEPS: u32 = 400;
    let nines = (latency.len() as f64 / 10.0).log10().clamp(1.0, 6.0);
    let points: Vec<(f64, f64)> = (0..=STEPS)
        .map(|step| nines * f64::from(step) / f64::from(STEPS))
        .map(|x| (x, latency.value_at_quantile(1.0 - 10_f64.powf(-x)) as f64 / 1e6))
        .collect();
    let highest = points.iter().fold(0.001, |highest: f64, (_, y)| highest.max(*y));

    let root = SVGBackend::new(path, (960, 480)).into_drawing_area();
    root.fill(&WHITE)?; // also where the page around it is dark
    let (head, body) = root.split_vertically(80);
    head.draw(&Text::new("Latency by percentile", (30, 14), text(30)))?;
    head.draw(&Text::new(Load(args).to_string(), (31, 46), text(17).color(&GREY)))?;
    let mut chart = ChartBuilder::on(&body)
        .margin_left(16)
        .margin_right(40)
        .margin_bottom(10)
        .x_label_area_size(52)
        .y_label_area_size(84)
        .build_cartesian_2d(0.0..nines, 0.0..highest * 1.1)?;
    let decimals = if highest < 1.0 { 3 } else { usize::from(highest < 100.0) };
    chart
        .configure_mesh()
        .bold_line_style(PALE)
        .light_line_style(TRANSPARENT)
        .axis_style(GREY)
        .x_desc("percentile")
        .y_desc("latency (ms)")
        .x_labels(nines as usize + 1)
        .x_label_formatter(&|x| format!("{} %", 100.0 - 10_f64.powf(2.0 - x)))
        .y_label_formatter(&|y| format!("{y:.decimals$}"))
        .label_style(text(17))
        .axis_desc_style(text(19))
        .draw()?;
    chart.draw_series(LineSeries::new(points, RGBColor(31, 119, 180).stroke_width(3)))?;
    root.present()?;
    Ok(())
}
