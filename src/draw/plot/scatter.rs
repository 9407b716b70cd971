//! Scatter plots: points on maps side by side, coloured by class or by value.

use plotters::coord::types::RangedCoordf64;
use plotters::prelude::*;

use super::{Area, colour, failed, headed, label, mesh, span, svg, tick};
use crate::draw::colour::{BLUE, GREEN, INK, MUTED, ORANGE, PURPLE, Rgb, SKY, VERMILION, inferno};
use crate::error::Result;

/// Colours of classes; from the eighth class on they come again with another mark.
const COLOURS: [Rgb; 7] = [BLUE, ORANGE, GREEN, VERMILION, PURPLE, SKY, INK];
/// Classes that can be told apart: the colours with three marks.
pub const MOST_CLASSES: usize = 3 * COLOURS.len();
/// Width of a map and of the legend, height of the plot, pixels.
const MAP: u32 = 640;
const LEGEND: u32 = 190;
const HEIGHT: u32 = 720;
/// The lightest colours of the scale do not show on white.
const LIGHTEST: f64 = 0.85;
/// Values beyond these shares of all get the colours at the ends.
const ENDS: (f64, f64) = (0.01, 0.99);
/// Up to as many points are drawn larger.
const FEW: usize = 500;

/// One map.
#[derive(Debug, Clone)]
pub struct Map {
    /// What stands above it.
    pub title: String,
    /// What its axes are.
    pub axes: [String; 2],
    /// A place each.
    pub places: Vec<(f64, f64)>,
}

/// What the colours mean; of every point, in the places' order.
#[derive(Debug, Clone)]
pub enum Colouring {
    /// Classes by name; a point of none is grey.
    Classes {
        /// At most [`MOST_CLASSES`].
        names: Vec<String>,
        /// Each point's.
        of: Vec<Option<usize>>,
    },
    /// A value each; a point without one (NaN) is grey.
    Values {
        /// What it is.
        name: String,
        /// Each point's.
        of: Vec<f64>,
        /// How a value is written.
        text: fn(f64) -> String,
    },
}

/// Draws maps of the same points side by side, with a legend.
///
/// # Errors
/// [`crate::error::Kind::Internal`] when the plot cannot be drawn.
pub fn scatter_svg(title: &str, note: &str, maps: &[Map], colouring: &Colouring) -> Result<String> {
    let width = MAP * maps.len() as u32;
    svg(width + LEGEND, HEIGHT, |area| {
        let rest = headed(area, title, note)?;
        let (left, right) = rest.split_horizontally(width);
        for (map, area) in maps.iter().zip(left.split_evenly((1, maps.len().max(1)))) {
            draw(&area, map, colouring)?;
        }
        legend(&right, colouring)
    })
}

type Chart<'a, 'b> = ChartContext<'a, SVGBackend<'b>, Cartesian2d<RangedCoordf64, RangedCoordf64>>;

fn draw(area: &Area<'_>, map: &Map, colouring: &Colouring) -> Result<()> {
    let (x, y) = (span(map.places.iter().map(|place| place.0)), span(map.places.iter().map(|place| place.1)));
    let mut chart = ChartBuilder::on(area)
        .caption(&map.title, label(17))
        .margin(14)
        .x_label_area_size(46)
        .y_label_area_size(66)
        .build_cartesian_2d(x.0..x.1, y.0..y.1)
        .map_err(failed)?;
    mesh!(chart, &map.axes[0], &map.axes[1], &|x: &f64| tick(*x), &|y: &f64| tick(*y));
    match colouring {
        Colouring::Classes { names, of } => draw_classes(&mut chart, &map.places, names, of),
        Colouring::Values { of, .. } => {
            let ends = ends(of);
            let size = if of.len() > FEW { 2 } else { 4 };
            let circle = |(&place, &value)| Circle::new(place, size, colour(shade(value, ends)).mix(0.7).filled());
            chart.draw_series(map.places.iter().zip(of).map(circle)).map_err(failed)?;
            Ok(())
        }
    }
}

/// The points of each class, and its name in their midst.
fn draw_classes(
    chart: &mut Chart<'_, '_>,
    places: &[(f64, f64)],
    names: &[String],
    of: &[Option<usize>],
) -> Result<()> {
    let members = |class: Option<usize>| -> Vec<(f64, f64)> {
        places.iter().zip(of).filter(|(_, of)| **of == class).map(|(&place, _)| place).collect()
    };
    let pen = |rgb: Rgb| colour(rgb).mix(0.6).filled();
    let grey = members(None).into_iter().map(|place| Circle::new(place, 2, pen(MUTED)));
    chart.draw_series(grey).map_err(failed)?;
    for class in 0..names.len() {
        let (points, pen) = (members(Some(class)).into_iter(), pen(COLOURS[class % COLOURS.len()]));
        match class / COLOURS.len() {
            0 => chart.draw_series(points.map(|place| Circle::new(place, 2, pen))).map_err(failed)?,
            1 => chart.draw_series(points.map(|place| TriangleMarker::new(place, 4, pen))).map_err(failed)?,
            _ => chart.draw_series(points.map(|place| Cross::new(place, 3, pen))).map_err(failed)?,
        };
    }
    for (class, name) in names.iter().enumerate() {
        if let Some(midst) = midst(&members(Some(class))) {
            write_at(chart, midst, name)?;
        }
    }
    Ok(())
}

/// The median along each axis.
fn midst(places: &[(f64, f64)]) -> Option<(f64, f64)> {
    let middle = |mut values: Vec<f64>| {
        values.sort_by(f64::total_cmp);
        values.get(values.len() / 2).copied()
    };
    middle(places.iter().map(|place| place.0).collect()).zip(middle(places.iter().map(|place| place.1).collect()))
}

/// A name on a white rim, so that it is read over points.
fn write_at(chart: &mut Chart<'_, '_>, place: (f64, f64), name: &str) -> Result<()> {
    let rim = [(-6, -9), (-4, -9), (-5, -10), (-5, -8)].map(|at| (at, WHITE));
    for (at, ink) in rim.into_iter().chain([((-5, -9), colour(INK))]) {
        let style = ("sans-serif", 18).into_font().style(FontStyle::Bold).color(&ink);
        let text = EmptyElement::at(place) + Text::new(name.to_string(), at, style);
        chart.draw_series([text]).map_err(failed)?;
    }
    Ok(())
}

/// The values at the ends of the colour scale.
fn ends(values: &[f64]) -> (f64, f64) {
    let mut sorted: Vec<f64> = values.iter().copied().filter(|value| value.is_finite()).collect();
    sorted.sort_by(f64::total_cmp);
    let at = |share: f64| sorted.get(((sorted.len().max(1) - 1) as f64 * share).round() as usize).copied();
    at(ENDS.0).zip(at(ENDS.1)).unwrap_or((0.0, 1.0))
}

fn shade(value: f64, (low, high): (f64, f64)) -> Rgb {
    if !value.is_finite() {
        return MUTED;
    }
    let share = if high > low { ((value - low) / (high - low)).clamp(0.0, 1.0) } else { 0.5 };
    inferno((share * LIGHTEST) as f32)
}

fn legend(area: &Area<'_>, colouring: &Colouring) -> Result<()> {
    match colouring {
        Colouring::Classes { names, of } => {
            for (class, name) in names.iter().enumerate() {
                legend_mark(area, class, 60 + 24 * class as i32)?;
                area.draw_text(name, &label(15), (36, 52 + 24 * class as i32)).map_err(failed)?;
            }
            if of.iter().any(Option::is_none) {
                let y = 60 + 24 * names.len() as i32;
                area.draw(&Circle::new((20, y), 5, colour(MUTED).filled())).map_err(failed)?;
                area.draw_text("others", &label(15), (36, y - 8)).map_err(failed)?;
            }
            Ok(())
        }
        Colouring::Values { name, of, text } => colour_bar(area, name, of, *text),
    }
}

fn legend_mark(area: &Area<'_>, class: usize, y: i32) -> Result<()> {
    let pen = colour(COLOURS[class % COLOURS.len()]).filled();
    match class / COLOURS.len() {
        0 => area.draw(&Circle::new((20, y), 5, pen)),
        1 => area.draw(&TriangleMarker::new((20, y), 7, pen)),
        _ => area.draw(&Cross::new((20, y), 5, pen)),
    }
    .map_err(failed)
}

fn colour_bar(area: &Area<'_>, name: &str, values: &[f64], text: fn(f64) -> String) -> Result<()> {
    const TOP: i32 = 70;
    const STEPS: i32 = 60;
    const STEP: i32 = 5;
    area.draw_text(name, &label(15), (14, TOP - 28)).map_err(failed)?;
    let (low, high) = ends(values);
    for step in 0..STEPS {
        let value = high - (high - low) * f64::from(step) / f64::from(STEPS - 1);
        let top = TOP + step * STEP;
        let bar = Rectangle::new([(14, top), (34, top + STEP)], colour(shade(value, (low, high))).filled());
        area.draw(&bar).map_err(failed)?;
        if step % 12 == 0 || step == STEPS - 1 {
            area.draw_text(&text(value), &label(14), (42, top - 6)).map_err(failed)?;
        }
    }
    for (line, part) in ["colours end at the", "1 and 99 percentiles"].into_iter().enumerate() {
        area.draw_text(part, &label(12), (14, TOP + STEPS * STEP + 14 + 16 * line as i32)).map_err(failed)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map() -> Map {
        let places = (0..30).map(|at| (f64::from(at), f64::from(at * at % 7))).collect();
        Map { title: "after".into(), axes: ["first (60 %)".into(), "second (9 %)".into()], places }
    }

    #[test]
    fn every_class_is_named_in_the_legend_and_on_the_map() {
        let names: Vec<String> = (0..MOST_CLASSES).map(|class| format!("kind{class}.")).collect();
        let of = (0..30).map(|at| (at < MOST_CLASSES).then_some(at)).collect();
        let text = scatter_svg("t", "n", &[map()], &Colouring::Classes { names: names.clone(), of }).unwrap();
        for name in &names {
            // Five times on the map, for its rim, and once in the legend.
            assert_eq!(text.matches(name.as_str()).count(), 6, "{name}");
        }
        assert!(text.contains("others") && text.contains("first (60 %)"));
    }

    #[test]
    fn values_have_a_bar_and_what_has_none_is_grey() {
        let of: Vec<f64> = (0..30).map(|at| if at == 3 { f64::NAN } else { f64::from(at) }).collect();
        let colouring = Colouring::Values { name: "score".into(), of, text: |value| format!("{value:.0} nats") };
        let text = scatter_svg("t", "n", &[map(), map()], &colouring).unwrap();
        assert!(text.contains("29 nats") && text.contains("0 nats"));
        assert_eq!(shade(f64::NAN, (0.0, 1.0)), MUTED);
        assert_eq!(shade(9.0, (0.0, 1.0)), shade(1.0, (0.0, 1.0)));
    }
}
