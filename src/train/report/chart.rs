//! Small charts as SVG within a page: their colours are the page's, so that they are read in the dark too.

use super::html::Html;

const WIDTH: f64 = 440.0;
const HEIGHT: f64 = 250.0;
const LEFT: f64 = 66.0;
const RIGHT: f64 = 12.0;
const TOP: f64 = 10.0;
const BOTTOM: f64 = 42.0;
const TICKS: f64 = 5.0;

/// An axis from `low` to `high`; logarithmic ones hold the logarithms to base ten.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Axis {
    low: f64,
    high: f64,
    logarithmic: bool,
}

impl Axis {
    /// Holds all finite values, with a little to spare.
    pub fn of(values: impl Iterator<Item = f64>) -> Self {
        let (low, high) = ends(values);
        let spare = if high > low { 0.04 * (high - low) } else { low.abs().max(1.0) * 0.05 };
        Self { low: low - spare, high: high + spare, logarithmic: false }
    }

    /// From one value to another.
    pub fn between(low: f64, high: f64) -> Self {
        Self { low, high: if high > low { high } else { low + 1.0 }, logarithmic: false }
    }

    /// Holds all values above zero, in decades.
    pub fn decades(values: impl Iterator<Item = f64>) -> Self {
        let (low, high) = ends(values.filter(|&value| value > 0.0).map(f64::log10));
        let high = if high - low < 1.0 { low + 1.0 } else { high };
        Self { low: low - 0.04 * (high - low), high: high + 0.04 * (high - low), logarithmic: true }
    }

    /// Where a value lies: 0 at the low end, 1 at the high one.
    fn place(&self, value: f64) -> f64 {
        let value = if self.logarithmic { value.max(1e-300).log10() } else { value };
        (value - self.low) / (self.high - self.low)
    }

    /// Round values along it, with their labels.
    fn ticks(&self) -> Vec<(f64, String)> {
        if self.logarithmic { self.decade_ticks() } else { self.even_ticks() }
    }

    fn even_ticks(&self) -> Vec<(f64, String)> {
        let range = self.high - self.low;
        let decade = 10f64.powf((range / TICKS).log10().floor());
        let mut steps = [1.0, 2.0, 5.0, 10.0].into_iter().map(|factor| factor * decade);
        let step = steps.find(|step| range / step <= TICKS + 1.0).unwrap_or(range);
        let decimals = (-step.log10().floor()).max(0.0) as usize;
        let (first, last) = ((self.low / step).ceil() as i64, (self.high / step).floor() as i64);
        (first..=last).take(20).map(|at| at as f64 * step).map(|value| (value, format!("{value:.decimals$}"))).collect()
    }

    /// Powers of ten; where they are few, twice and five times them too.
    fn decade_ticks(&self) -> Vec<(f64, String)> {
        let step = ((self.high - self.low) / TICKS).ceil().max(1.0);
        let factors: &[f64] = if self.high - self.low < 2.5 { &[1.0, 2.0, 5.0] } else { &[1.0] };
        let (first, last) = ((self.low / step).floor() as i64, (self.high / step).floor() as i64);
        let powers = (first..=last).take(20).map(|at| at as f64 * step);
        let values = powers.flat_map(|power| factors.iter().map(move |factor| factor * 10f64.powf(power)));
        let within = values.filter(|value| (self.low..=self.high).contains(&value.log10()));
        let label = |value: f64| match value.log10().abs() <= 4.0 {
            true => format!("{}", (value * 1e6).round() / 1e6),
            false => format!("{value:.0e}"),
        };
        within.map(|value| (value, label(value))).collect()
    }
}

fn ends(values: impl Iterator<Item = f64>) -> (f64, f64) {
    let (low, high) = values
        .filter(|value| value.is_finite())
        .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| (low.min(value), high.max(value)));
    if low > high { (0.0, 1.0) } else { (low, high) }
}

/// A chart's axes and their names.
#[derive(Debug)]
pub struct Chart<'a> {
    /// Across.
    pub x: Axis,
    /// Upwards.
    pub y: Axis,
    /// Name and unit of the axis across.
    pub x_name: &'a str,
    /// Name and unit of the axis upwards.
    pub y_name: &'a str,
}

impl Chart<'_> {
    /// Draws the axes, and what `marks` draws between them.
    pub fn draw(&self, html: &mut Html, marks: impl FnOnce(&mut Html)) {
        let view = format!("0 0 {WIDTH} {HEIGHT}");
        let name = format!("{} by {}", self.y_name, self.x_name);
        html.element("svg", &[("viewBox", &view), ("role", "img"), ("aria-label", &name)], |html| {
            self.grid(html);
            let [x, y, width, height] = [LEFT, TOP, wide(), high()].map(number);
            // An inner picture of its own cuts off what leaves the axes.
            html.element("svg", &[("x", &x), ("y", &y), ("width", &width), ("height", &height)], marks);
        });
    }

    fn grid(&self, html: &mut Html) {
        let (floor, middle) = (number(TOP + high()), number(LEFT + wide() / 2.0));
        for (value, text) in self.x.ticks() {
            let x = number(LEFT + self.x.place(value) * wide());
            html.leaf("line", &[("class", "grid"), ("x1", &x), ("x2", &x), ("y1", &number(TOP)), ("y2", &floor)]);
            html.words("text", &[("x", &x), ("y", &number(TOP + high() + 15.0)), ("text-anchor", "middle")], &text);
        }
        for (value, text) in self.y.ticks() {
            let level = TOP + (1.0 - self.y.place(value)) * high();
            let (y, right) = (number(level), number(LEFT + wide()));
            html.leaf("line", &[("class", "grid"), ("x1", &number(LEFT)), ("x2", &right), ("y1", &y), ("y2", &y)]);
            let (x, y) = (number(LEFT - 6.0), number(level + 4.0));
            html.words("text", &[("x", &x), ("y", &y), ("text-anchor", "end")], &text);
        }
        html.words("text", &[("x", &middle), ("y", &number(HEIGHT - 6.0)), ("text-anchor", "middle")], self.x_name);
        let turned = format!("translate(12 {}) rotate(-90)", number(TOP + high() / 2.0));
        html.words("text", &[("transform", &turned), ("text-anchor", "middle")], self.y_name);
    }

    /// A line through points; what is no number breaks it.
    pub fn line(&self, html: &mut Html, points: impl Iterator<Item = (f64, f64)>, style: &str) {
        let mut path = String::new();
        let mut pen = "M";
        for (x, y) in points {
            if !(x.is_finite() && y.is_finite()) {
                pen = "M";
                continue;
            }
            path.push_str(&format!("{pen}{} {}", number(self.across(x)), number(self.up(y))));
            pen = "L";
        }
        html.leaf("path", &[("class", "line"), ("style", style), ("d", &path)]);
    }

    /// A dot.
    pub fn dot(&self, html: &mut Html, (x, y): (f64, f64), style: &str) {
        let (x, y) = (number(self.across(x)), number(self.up(y)));
        html.leaf("circle", &[("class", "dot"), ("cx", &x), ("cy", &y), ("r", "2.2"), ("style", style)]);
    }

    /// A bar from the floor to a height, between two places.
    pub fn bar(&self, html: &mut Html, (from, to): (f64, f64), height: f64, style: &str) {
        let (left, right, top) = (self.across(from), self.across(to), self.up(height).clamp(0.0, high()));
        let [x, y, width, tall] = [left, top, (right - left).max(0.5), high() - top].map(number);
        html.leaf("rect", &[("x", &x), ("y", &y), ("width", &width), ("height", &tall), ("style", style)]);
    }

    /// A dashed line upwards at a place.
    pub fn upright(&self, html: &mut Html, at: f64) {
        let x = number(self.across(at));
        html.leaf("line", &[("class", "mark"), ("x1", &x), ("x2", &x), ("y1", "0"), ("y2", &number(high()))]);
    }

    /// A dashed line across at a height.
    pub fn level(&self, html: &mut Html, at: f64) {
        let y = number(self.up(at));
        html.leaf("line", &[("class", "mark"), ("x1", "0"), ("x2", &number(wide())), ("y1", &y), ("y2", &y)]);
    }

    fn across(&self, value: f64) -> f64 {
        self.x.place(value) * wide()
    }

    /// Kept within what a drawing can hold, however far outside a value lies.
    fn up(&self, value: f64) -> f64 {
        ((1.0 - self.y.place(value)) * high()).clamp(-1e4, 1e4)
    }
}

fn wide() -> f64 {
    WIDTH - LEFT - RIGHT
}

fn high() -> f64 {
    HEIGHT - TOP - BOTTOM
}

fn number(value: f64) -> String {
    format!("{}", (value * 10.0).round() / 10.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(axis: Axis) -> Vec<String> {
        axis.ticks().into_iter().map(|(_, label)| label).collect()
    }

    #[test]
    fn ticks_are_round_and_tell_each_other_apart() {
        assert_eq!(labels(Axis::between(0.0, 10.0)), ["0", "2", "4", "6", "8", "10"]);
        assert_eq!(
            labels(Axis::between(17_706.0, 17_709.0)),
            ["17706.0", "17706.5", "17707.0", "17707.5", "17708.0", "17708.5", "17709.0"][..]
        );
        assert_eq!(labels(Axis::decades([0.02, 500.0].into_iter())), ["0.1", "1", "10", "100"]);
        assert_eq!(labels(Axis::decades([300.0, 9000.0].into_iter())), ["500", "1000", "2000", "5000", "10000"]);
        let wide = labels(Axis::decades([1e-12, 1e9].into_iter()));
        assert!(wide.len() <= 7 && wide.contains(&"1e5".to_string()), "{wide:?}");
    }

    #[test]
    fn axes_of_nothing_and_of_one_value_have_a_length() {
        for values in [&[][..], &[3.0], &[f64::NAN], &[0.0]] {
            for axis in [Axis::of(values.iter().copied()), Axis::decades(values.iter().copied())] {
                assert!(axis.high > axis.low && axis.low.is_finite() && axis.high.is_finite(), "{values:?} {axis:?}");
                assert!(axis.ticks().len() < 20);
            }
        }
    }

    #[test]
    fn a_break_in_the_values_is_a_break_in_the_line() {
        let x = Axis::between(0.0, 3.0);
        let chart = Chart { x, y: x, x_name: "x", y_name: "y" };
        let mut html = Html::default();
        let points = [(0.0, 0.0), (1.0, 3.0), (2.0, f64::NAN), (3.0, 3.0)];
        chart.line(&mut html, points.into_iter(), "");
        let text = html.finish();
        assert_eq!((text.matches('M').count(), text.matches('L').count()), (2, 1), "{text}");
        assert!(!text.contains("NaN"));
    }
}
