//! Axes with ticks where they are wanted.

use std::ops::Range;

use plotters::coord::ranged1d::{DefaultFormatting, KeyPointHint, Ranged};
use plotters::coord::types::RangedCoordf64;

/// A straight axis and its ticks.
#[derive(Debug, Clone)]
pub(super) struct Axis {
    range: Range<f64>,
    ticks: Vec<f64>,
}

impl Axis {
    /// With these ticks.
    pub fn new(range: Range<f64>, ticks: Vec<f64>) -> Self {
        Self { range, ticks }
    }

    /// Of exponents of ten, with ticks at 1, 2 and 5 times each power of ten, or at the powers alone where there are many.
    pub fn of_exponents(range: Range<f64>) -> Self {
        let steps: &[f64] = if range.end - range.start > 3.0 { &[1.0] } else { &[1.0, 2.0, 5.0] };
        let powers = range.start.floor() as i32..=range.end.ceil() as i32;
        let all = powers.flat_map(|power| steps.iter().map(move |step| f64::from(power) + step.log10()));
        let ticks = all.filter(|at| (range.start..=range.end).contains(at)).collect();
        Self { range, ticks }
    }
}

impl Ranged for Axis {
    type FormatOption = DefaultFormatting;
    type ValueType = f64;

    fn map(&self, value: &f64, limit: (i32, i32)) -> i32 {
        RangedCoordf64::from(self.range.clone()).map(value, limit)
    }

    fn key_points<Hint: KeyPointHint>(&self, hint: Hint) -> Vec<f64> {
        // Lighter lines between the ticks are drawn nowhere.
        if hint.weight().allow_light_points() { Vec::new() } else { self.ticks.clone() }
    }

    fn range(&self) -> Range<f64> {
        self.range.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::super::tick;
    use super::*;

    #[test]
    fn a_logarithmic_axis_has_round_ticks() {
        let text = |range| Axis::of_exponents(range).ticks.iter().map(|at| tick(10f64.powf(*at))).collect::<Vec<_>>();
        assert_eq!(text(-0.3..1.1), ["1", "2", "5", "10"]);
        assert_eq!(text(-4.0..0.0), ["1.0e-4", "0.001", "0.01", "0.1", "1"]);
    }
}
