//! Plots as SVG (text stays text, so no font is needed here): loss curves, martingales, ROC, score histograms, confusion matrix,
//! maps, dots with errors.

mod axis;
mod classes;
mod confusion;
mod dots;
mod histogram;
mod legend;
mod loss;
mod martingale;
mod roc;
mod scatter;

use std::fmt::Display;

use plotters::prelude::*;

pub use self::classes::{classes_svg, classes_text};
pub use self::confusion::{confusion_svg, confusion_text};
pub use self::dots::{Dot, DotPanel, dots_svg};
pub use self::histogram::score_histogram_svg;
pub use self::loss::{EpochPoint, loss_svg};
pub use self::martingale::{Stake, martingale_svg};
pub use self::roc::{RocCurve, roc_svg};
pub use self::scatter::{Colouring, MOST_CLASSES, Map, scatter_svg};
use super::colour::{FAINT, INK, MUTED, Rgb};
use crate::error::{Failure, Kind, Result};

const FONT: &str = "sans-serif";

type Area<'a> = DrawingArea<SVGBackend<'a>, plotters::coord::Shift>;

/// A white sheet of this size, drawn on by `draw`.
fn svg(width: u32, height: u32, draw: impl FnOnce(&Area<'_>) -> Result<()>) -> Result<String> {
    let mut text = String::new();
    {
        let area = SVGBackend::with_string(&mut text, (width, height)).into_drawing_area();
        area.fill(&WHITE).map_err(failed)?;
        draw(&area)?;
        area.present().map_err(failed)?;
    }
    Ok(text)
}

fn failed(error: impl Display) -> Failure {
    Failure::new(Kind::Internal, format!("cannot draw a plot: {error}"))
}

fn colour(rgb: Rgb) -> RGBColor {
    RGBColor(rgb[0], rgb[1], rgb[2])
}

fn label<'a>(size: u32) -> TextStyle<'a> {
    (FONT, size).into_font().color(&colour(INK))
}

/// About how wide a heading is, pixels: what draws the text is not known.
fn heading_width(title: &str, note: &str) -> u32 {
    let length = |text: &str| text.chars().count() as u32;
    48 + (12 * length(title)).max(8 * length(note))
}

/// A heading over a whole sheet; returns what is left below it.
fn headed<'a>(area: &Area<'a>, title: &str, note: &str) -> Result<Area<'a>> {
    let (head, rest) = area.split_vertically(62);
    head.draw_text(title, &label(22), (24, 14)).map_err(failed)?;
    head.draw_text(note, &(FONT, 14).into_font().color(&colour(MUTED)), (24, 42)).map_err(failed)?;
    Ok(rest)
}

/// Mesh, labels and ticks, the same on every plot.
macro_rules! mesh {
    ($chart:expr, $x:expr, $y:expr, $format_x:expr, $format_y:expr) => {
        $chart
            .configure_mesh()
            .x_desc($x)
            .y_desc($y)
            .x_label_formatter($format_x)
            .y_label_formatter($format_y)
            .light_line_style(TRANSPARENT)
            .bold_line_style($crate::draw::plot::colour($crate::draw::colour::FAINT))
            .axis_style($crate::draw::plot::colour($crate::draw::colour::MUTED))
            .label_style($crate::draw::plot::label(14))
            .axis_desc_style($crate::draw::plot::label(16))
            .draw()
            .map_err($crate::draw::plot::failed)?
    };
}

use mesh;

/// Ends of an axis that holds all finite values, with a twentieth of the range to spare.
fn span(values: impl Iterator<Item = f64>) -> (f64, f64) {
    let (low, high) = values
        .filter(|value| value.is_finite())
        .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| (low.min(value), high.max(value)));
    if low > high {
        return (0.0, 1.0);
    }
    let spare = if high > low { (high - low) / 20.0 } else { low.abs().max(1.0) / 20.0 };
    (low - spare, high + spare)
}

/// A number on an axis: whole where it is, never longer than needed.
fn tick(value: f64) -> String {
    match value.abs() {
        _ if value == 0.0 || value.abs() < 1e-12 => "0".into(),
        size if !(1e-3..1e5).contains(&size) => format!("{value:.1e}"),
        size if size >= 100.0 || (value - value.round()).abs() < 1e-9 => format!("{value:.0}"),
        size if size >= 1.0 => trimmed(format!("{value:.2}")),
        _ => trimmed(format!("{value:.4}")),
    }
}

fn trimmed(text: String) -> String {
    text.trim_end_matches('0').trim_end_matches('.').to_string()
}

/// A faint frame around an area.
fn framed(area: &Area<'_>) -> Result<()> {
    let (width, height) = area.dim_in_pixel();
    let corners = [(0, 0), (width as i32 - 1, height as i32 - 1)];
    area.draw(&Rectangle::new(corners, colour(FAINT).stroke_width(1))).map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_short() {
        let cases = [(0.0, "0"), (0.25, "0.25"), (1500.0, "1500"), (2.5, "2.5"), (1e-6, "1.0e-6"), (-3.0, "-3")];
        for (value, text) in cases {
            assert_eq!(tick(value), text);
        }
    }

    #[test]
    fn an_axis_of_nothing_or_of_one_value_still_has_a_length() {
        assert_eq!(span([f64::NAN].into_iter()), (0.0, 1.0));
        let (low, high) = span([5.0].into_iter());
        assert!(low < 5.0 && 5.0 < high);
    }
}
