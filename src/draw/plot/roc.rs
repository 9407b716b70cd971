//! ROC curves: recall against the false-alarm rate, on a linear and a logarithmic axis.

use plotters::prelude::*;

use super::axis::Axis;
use super::legend::{Entry, Mark, height, legend};
use super::{Area, colour, failed, headed, mesh, svg, tick};
use crate::draw::colour::{BLUE, GREEN, MUTED, ORANGE, PURPLE, Rgb, VERMILION};
use crate::error::Result;

/// Colours of curves, in order; from the seventh on they repeat.
const COLOURS: [Rgb; 6] = [BLUE, VERMILION, GREEN, PURPLE, ORANGE, MUTED];

/// One curve.
#[derive(Debug, Clone, PartialEq)]
pub struct RocCurve {
    /// What the legend calls it.
    pub name: String,
    /// `(false-alarm rate, recall)`, both in [0, 1], rising.
    pub points: Vec<(f64, f64)>,
    /// Area under it, for the legend.
    pub auroc: f64,
}

/// ROC curves side by side on a linear and a logarithmic false-alarm axis, the certified `alpha` marked where given.
///
/// # Errors
/// [`crate::error::Kind::Internal`] when the plot cannot be drawn.
pub fn roc_svg(title: &str, curves: &[RocCurve], alpha: Option<f64>) -> Result<String> {
    let note = match alpha {
        Some(alpha) => format!("dashed: the false-alarm rate asked for, alpha = {}", tick(alpha)),
        None => "recall against false-alarm rate".to_string(),
    };
    // The logarithmic axis ends where the curves have something to say: at the smallest rate above zero.
    let rates = curves.iter().flat_map(|curve| &curve.points).map(|point| point.0).filter(|rate| *rate > 0.0);
    let floor = rates.fold(0.1, f64::min).max(1e-6).log10().floor();
    let entry = |(number, curve): (usize, &RocCurve)| {
        Entry::new(format!("{}: {:.3}", curve.name, curve.auroc), COLOURS[number % COLOURS.len()], Mark::Line)
    };
    let entries: Vec<Entry> = curves.iter().enumerate().map(entry).collect();
    svg(1200, 640 + height(&entries, 1200), |area| {
        let (left, right) = legend(&headed(area, title, &note)?, &entries)?.split_horizontally(600);
        panel(&left, curves, alpha, None)?;
        panel(&right, curves, alpha, Some(floor))
    })
}

/// One of the two plots; `floor` is the exponent at which a logarithmic axis starts.
fn panel(area: &Area<'_>, curves: &[RocCurve], alpha: Option<f64>, floor: Option<f64>) -> Result<()> {
    let (start, end) = floor.map_or((0.0, 1.0), |floor| (floor, 0.0));
    let x_axis = match floor {
        Some(floor) => Axis::of_exponents(floor..0.0),
        None => Axis::new(0.0..1.0, (0..=5).map(|fifth| f64::from(fifth) / 5.0).collect()),
    };
    let place = |rate: f64| floor.map_or(rate, |floor| rate.max(10f64.powf(floor)).log10());
    let mut chart = ChartBuilder::on(area)
        .margin(14)
        .margin_right(24)
        .x_label_area_size(46)
        .y_label_area_size(60)
        .build_cartesian_2d(x_axis, 0.0..1.0)
        .map_err(failed)?;
    let on_axis = |x: &f64| tick(if floor.is_some() { 10f64.powf(*x) } else { *x });
    let axis = if floor.is_some() { "false-alarm rate (logarithmic)" } else { "false-alarm rate" };
    mesh!(chart, axis, "recall", &on_axis, &|y: &f64| tick(*y));
    let chance = (0..=200).map(|i| start + (end - start) * f64::from(i) / 200.0).map(|x| match floor {
        Some(_) => (x, 10f64.powf(x)),
        None => (x, x),
    });
    chart.draw_series(LineSeries::new(chance, colour(MUTED).mix(0.4).stroke_width(1))).map_err(failed)?;
    if let Some(alpha) = alpha {
        let line = [(place(alpha), 0.0), (place(alpha), 1.0)];
        chart.draw_series(DashedLineSeries::new(line, 6, 4, colour(MUTED).stroke_width(1))).map_err(failed)?;
    }
    for (number, curve) in curves.iter().enumerate() {
        let pen = colour(COLOURS[number % COLOURS.len()]).stroke_width(if number == 0 { 3 } else { 2 });
        let points = curve.points.iter().map(|&(rate, recall)| (place(rate), recall));
        chart.draw_series(LineSeries::new(points, pen)).map_err(failed)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_legend_gives_each_area() {
        let curve =
            RocCurve { name: "combined".into(), points: vec![(0.0, 0.0), (0.01, 0.8), (1.0, 1.0)], auroc: 0.97 };
        let text = roc_svg("telescope", &[curve], Some(0.01)).unwrap();
        assert!(text.contains("combined: 0.970") && text.contains("alpha = 0.01"));
        assert!(roc_svg("nothing", &[], None).is_ok());
    }
}
