//! Dots with error bars, a row each, in panels side by side: means of repeated measurements.

use plotters::prelude::*;

use super::{Area, colour, failed, headed, heading_width, label, span, svg, tick};
use crate::draw::colour::{BLUE, FAINT, GREEN, MUTED, ORANGE, PURPLE, Rgb, VERMILION};
use crate::error::Result;

/// Colours of groups, in order; from the seventh on they repeat.
const COLOURS: [Rgb; 6] = [BLUE, VERMILION, GREEN, PURPLE, ORANGE, MUTED];
/// Height of a row, pixels.
const ROW: u32 = 26;
/// Width of the names, and of a panel, pixels.
const NAMES: u32 = 200;
const PANEL: u32 = 330;

/// One row.
#[derive(Debug, Clone, PartialEq)]
pub struct Dot {
    /// What it is called.
    pub name: String,
    /// Rows of one group have one colour.
    pub group: usize,
    /// Drawn filled; the others are hollow.
    pub filled: bool,
}

/// One figure of every row.
#[derive(Debug, Clone, PartialEq)]
pub struct DotPanel {
    /// The axis.
    pub axis: String,
    /// Mean and half the error bar of each row; `None` where there is nothing to draw.
    pub values: Vec<Option<(f64, f64)>>,
    /// Where a dashed line stands that the rows are held against.
    pub mark: Option<f64>,
}

/// Rows from top to bottom, a panel for each figure.
///
/// # Errors
/// [`crate::error::Kind::Internal`] when the plot cannot be drawn.
pub fn dots_svg(title: &str, note: &str, rows: &[Dot], panels: &[DotPanel]) -> Result<String> {
    let width = NAMES + PANEL * panels.len().max(1) as u32;
    let height = 62 + 80 + ROW * rows.len().max(1) as u32;
    svg(width.max(heading_width(title, note)), height, |area| {
        let below = headed(area, title, note)?;
        let (_, mut rest) = below.split_horizontally(NAMES);
        for (number, values) in panels.iter().enumerate() {
            let (one, others) = rest.split_horizontally(PANEL);
            panel(&one, area, rows, values, number == 0)?;
            rest = others;
        }
        Ok(())
    })
}

/// One panel; the names are written on the `sheet`, left of the first.
fn panel(area: &Area<'_>, sheet: &Area<'_>, rows: &[Dot], figures: &DotPanel, named: bool) -> Result<()> {
    let ends = figures.values.iter().flatten().flat_map(|&(mean, error)| [mean - error, mean + error]);
    let (low, high) = span(ends);
    let count = rows.len().max(1) as f64;
    let mut chart = ChartBuilder::on(area)
        .margin(14)
        .x_label_area_size(46)
        .y_label_area_size(8)
        .build_cartesian_2d(low..high, 0.0..count)
        .map_err(failed)?;
    // Rows are named and stand apart: lines across would only cut them.
    chart
        .configure_mesh()
        .x_desc(figures.axis.as_str())
        .x_label_formatter(&|x: &f64| tick(*x))
        .x_labels(6)
        .y_labels(0)
        .disable_y_mesh()
        .light_line_style(TRANSPARENT)
        .bold_line_style(colour(FAINT))
        .axis_style(colour(MUTED))
        .label_style(label(14))
        .axis_desc_style(label(16))
        .draw()
        .map_err(failed)?;
    if let Some(mark) = figures.mark {
        let pen = colour(MUTED).stroke_width(1);
        chart.draw_series(DashedLineSeries::new([(mark, 0.0), (mark, count)], 5, 4, pen)).map_err(failed)?;
    }
    for (number, (row, value)) in rows.iter().zip(&figures.values).enumerate() {
        let y = count - number as f64 - 0.5;
        let pen = colour(COLOURS[row.group % COLOURS.len()]);
        if let Some((mean, error)) = *value {
            let bar = PathElement::new([(mean - error, y), (mean + error, y)], pen.stroke_width(2));
            chart.draw_series([bar]).map_err(failed)?;
            let inside = if row.filled { pen } else { WHITE };
            chart.draw_series([Circle::new((mean, y), 5, inside.filled())]).map_err(failed)?;
            chart.draw_series([Circle::new((mean, y), 5, pen.stroke_width(2))]).map_err(failed)?;
        }
        if named {
            let (_, at) = chart.plotting_area().map_coordinate(&(low, y));
            sheet.draw_text(&row.name, &label(14), (24, at - 7)).map_err(failed)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_has_its_name_and_every_value_its_dot() {
        let row = |name: &str, filled| Dot { name: name.into(), group: 0, filled };
        let rows = [row("norm none", false), row("norm group", true), row("norm layer", false)];
        let values = vec![Some((1.0, 0.1)), Some((2.0, 0.0)), None];
        let text = dots_svg("digits", "two seeds", &rows, &[DotPanel { axis: "loss".into(), values, mark: Some(1.5) }])
            .unwrap();
        assert!(rows.iter().all(|row| text.contains(&row.name)), "{text}");
        assert_eq!(text.matches("<circle").count(), 4);
        assert!(dots_svg("nothing", "", &[], &[]).is_ok());
    }
}
