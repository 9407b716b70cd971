//! What one component's value is worth: `-ln p` among normal values, smooth and without an end.

use serde::{Deserialize, Serialize};

use super::gpd::{Gpd, ShapePrior};

/// Most points kept of the body of one side.
const MOST_KNOTS: usize = 500;
/// Share of the values that the generalised Pareto tail is fitted on.
const TAIL_SHARE: f64 = 0.1;
/// The heaviest tail believed: a variance exists.
const MOST_SHAPE: f64 = 0.5;
/// Geophysical prior of Martins & Stedinger (2000), in the sign used here; as much as ten excesses, as in Vehtari et al. (2024).
const PRIOR: ShapePrior = ShapePrior { shape: 0.1, weight: 10.0 };
/// Values beyond are treated as this, so that no difference overflows.
const MOST_VALUE: f64 = 1e300;

/// Which values are odd.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Sides {
    /// High ones.
    Upper,
    /// High ones and low ones: `p = 2 min(p_upper, p_lower)`.
    Two,
}

/// The distribution of one component's values on normal data.
///
/// Empirical in the body (piecewise linear in `-ln p` between quantiles), generalised Pareto beyond the top tenth, continuous
/// at the joint. Higher values never have a lower `-ln p`, and beyond the body always a higher one: extremes do not tie.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Tail {
    upper: Side,
    lower: Option<Side>,
}

impl Tail {
    /// Fits normal values in any order, from a handful to millions; those that are not finite are left out. Without any, every
    /// value is normal.
    pub fn fit(values: &[f64], sides: Sides) -> Self {
        let mut sorted: Vec<f64> = values.iter().copied().filter(|v| v.is_finite()).map(limited).collect();
        sorted.sort_unstable_by(f64::total_cmp);
        let upper = Side::fit(&sorted);
        let lower = (sides == Sides::Two).then(|| {
            sorted.reverse();
            sorted.iter_mut().for_each(|v| *v = -*v);
            Side::fit(&sorted)
        });
        Self { upper, lower }
    }

    /// `-ln p` of a value, in nats, from 0 (as normal as can be) without an upper end; always finite. NaN counts as the highest.
    pub fn minus_log_p(&self, value: f64) -> f64 {
        let value = if value.is_nan() { MOST_VALUE } else { limited(value) };
        let upper = self.upper.minus_log_p(value);
        match &self.lower {
            None => upper,
            Some(lower) => (upper.max(lower.minus_log_p(-value)) - std::f64::consts::LN_2).max(0.0),
        }
    }
}

/// The upper tail; the lower one is that of the negated values.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Side {
    /// Distinct values of the body, ascending; the last is where the tail begins.
    values: Vec<f64>,
    /// `-ln p` there, strictly ascending.
    minus_log_p: Vec<f64>,
    /// `-ln p` just above the last value: the same, unless nothing above it was ever seen.
    tail_start: f64,
    /// Excesses over the last value.
    tail: Gpd,
    /// Scale over which `-ln p` fades below the first value.
    fade: f64,
}

impl Side {
    fn fit(sorted: &[f64]) -> Self {
        let n = sorted.len();
        if n == 0 {
            let tail = Gpd { shape: 0.0, scale: 1.0 };
            return Self { values: Vec::new(), minus_log_p: Vec::new(), tail_start: 0.0, tail, fade: 1.0 };
        }
        let count = ((TAIL_SHARE * n as f64).round() as usize).max(10).min(n / 2);
        let joint = n - 1 - count;
        let (values, mut minus_log_p) = knots(sorted, joint);
        let begin = sorted[joint];
        let (lowest, highest) = (sorted[0], sorted[n - 1]);
        let mean_spread = sorted.iter().map(|v| (v - lowest) / n as f64).sum::<f64>();
        let spread = if mean_spread > 0.0 { mean_spread } else { scale_of_constant(lowest) };
        let mut tail_start = minus_log_p[minus_log_p.len() - 1];
        if highest == lowest {
            minus_log_p[0] = 0.0;
        }
        let excesses: Vec<f64> = sorted[joint + 1..].iter().map(|v| v - begin).filter(|&e| e > 0.0).collect();
        // Nothing above the joint was seen: whatever comes above is rarer than one in n.
        let tail = Gpd::fit(&excesses, MOST_SHAPE, Some(PRIOR)).unwrap_or_else(|| {
            tail_start = ((n + 1) as f64).ln();
            Gpd { shape: PRIOR.shape, scale: spread }
        });
        Self { values, minus_log_p, tail_start, tail, fade: spread }
    }

    fn minus_log_p(&self, value: f64) -> f64 {
        let (Some(&first), Some(&last)) = (self.values.first(), self.values.last()) else { return 0.0 };
        if value > last {
            return self.tail_start + self.tail.minus_log_survival(value - last);
        }
        if value < first {
            return self.minus_log_p[0] * (-(first - value) / self.fade).exp();
        }
        let right = self.values.partition_point(|&knot| knot <= value);
        let left = right - 1;
        if right == self.values.len() {
            return self.minus_log_p[left];
        }
        let along = (value - self.values[left]) / (self.values[right] - self.values[left]);
        self.minus_log_p[left] + along * (self.minus_log_p[right] - self.minus_log_p[left])
    }
}

/// At most [`MOST_KNOTS`] distinct values up to the index `joint` with `-ln(#{v_i >= v} / (n + 1))`, evenly spaced in rank.
fn knots(sorted: &[f64], joint: usize) -> (Vec<f64>, Vec<f64>) {
    let n = sorted.len();
    let steps = joint.clamp(1, MOST_KNOTS - 1);
    let mut knots: Vec<(f64, f64)> = Vec::with_capacity(steps + 1);
    for step in 0..=steps {
        let value = sorted[step * joint / steps];
        if knots.last().is_some_and(|&(last, _)| last >= value) {
            continue;
        }
        let below = sorted.partition_point(|&v| v < value);
        knots.push((value, ((n + 1) as f64 / (n - below) as f64).ln()));
    }
    knots.into_iter().unzip()
}

/// A hundredth of the constant, for want of any other scale.
fn scale_of_constant(value: f64) -> f64 {
    if value == 0.0 { 0.01 } else { 0.01 * value.abs() }
}

fn limited(value: f64) -> f64 {
    value.clamp(-MOST_VALUE, MOST_VALUE)
}
