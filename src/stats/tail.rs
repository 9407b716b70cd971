//! What one component's value is worth: `-ln p` among normal values, smooth and without an end.

use serde::{Deserialize, Serialize};

use super::gpd::{Gpd, ShapePrior};

/// Most points kept of the body of one side.
const MOST_KNOTS: usize = 500;
/// Share of the values that the generalised Pareto tail is fitted on ...
const TAIL_SHARE: f64 = 0.1;
/// ... but no more of them than this: the law holds in the limit, so a large sample buys a higher joint.
const MOST_EXCESSES: usize = 500;
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
/// Empirical in the body (piecewise linear in `-ln p` between quantiles), generalised Pareto in the top tenth (of a large sample, the highest 500), continuous
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
        let count = ((TAIL_SHARE * n as f64).round() as usize).clamp(10, MOST_EXCESSES).min(n / 2);
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

/// At most [`MOST_KNOTS`] distinct values up to the index `joint` with `-ln(#{v_i >= v} / (n + 1))`: half of them evenly
/// spaced in rank, half in `-ln p`.
fn knots(sorted: &[f64], joint: usize) -> (Vec<f64>, Vec<f64>) {
    let n = sorted.len();
    let steps = MOST_KNOTS / 2 - 1;
    let even = (0..=steps).map(|step| step * joint / steps);
    let last_share = (n - joint) as f64 / n as f64;
    let logarithmic = (0..=steps).map(|step| {
        let share = last_share.powf(step as f64 / steps as f64);
        n.saturating_sub((share * n as f64).round() as usize).min(joint)
    });
    let mut ranks: Vec<usize> = even.chain(logarithmic).collect();
    ranks.sort_unstable();
    let mut knots: Vec<(f64, f64)> = Vec::with_capacity(ranks.len());
    for rank in ranks {
        let value = sorted[rank];
        if knots.last().is_none_or(|&(last, _)| last < value) {
            let below = sorted.partition_point(|&v| v < value);
            knots.push((value, ((n + 1) as f64 / (n - below) as f64).ln()));
        }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::fixtures::{close, normals};
    use proptest::prelude::*;

    #[test]
    fn follows_the_normal_distribution() {
        // -ln of scipy.stats.norm.sf(x)
        let tail = Tail::fit(&normals(200_000, 11), Sides::Upper);
        for (x, expected, relative) in [
            (-1.0, 0.172753, 0.03),
            (0.0, std::f64::consts::LN_2, 0.02),
            (1.0, 1.841022, 0.02),
            (2.0, 3.783184, 0.03),
            (4.0, 10.36010, 0.2),
        ] {
            close(tail.minus_log_p(x), expected, relative);
        }
    }

    #[test]
    fn both_sides_count() {
        let tail = Tail::fit(&normals(50_000, 5), Sides::Two);
        assert!(tail.minus_log_p(0.0) < 0.02);
        // -ln of 2 scipy.stats.norm.sf(2)
        close(tail.minus_log_p(2.0), 3.09004, 0.04);
        close(tail.minus_log_p(-2.0), 3.09004, 0.04);
        assert!(tail.minus_log_p(-6.0) > tail.minus_log_p(-5.0));
    }

    #[test]
    fn constant_data() {
        for sides in [Sides::Upper, Sides::Two] {
            for constant in [0.0, 7.0, -1e-9] {
                let tail = Tail::fit(&[constant; 20], sides);
                assert_eq!(tail.minus_log_p(constant), 0.0);
                let step = if constant == 0.0 { 1.0 } else { f64::abs(constant) };
                let (near, far) = (tail.minus_log_p(constant + 0.01 * step), tail.minus_log_p(constant + step));
                assert!(near > 2.0 && far > near, "{near} {far}");
            }
        }
    }

    #[test]
    fn few_values_none_and_not_finite() {
        assert_eq!(Tail::fit(&[], Sides::Two).minus_log_p(3.0), 0.0);
        assert_eq!(Tail::fit(&[f64::NAN, f64::INFINITY], Sides::Upper).minus_log_p(3.0), 0.0);
        for n in 1..12 {
            let values: Vec<f64> = (0..n).map(f64::from).collect();
            let tail = Tail::fit(&values, Sides::Two);
            let far: Vec<f64> = [50.0, 51.0, 1e6, f64::INFINITY].map(|v| tail.minus_log_p(v)).to_vec();
            assert!(far.windows(2).all(|pair| pair[0] < pair[1]) && far[3].is_finite(), "{n}: {far:?}");
            assert_eq!(tail.minus_log_p(f64::NAN), far[3]);
        }
    }

    #[test]
    fn ties_at_the_top() {
        let mut values = vec![0.0; 50];
        values.extend([1.0; 50]);
        let tail = Tail::fit(&values, Sides::Upper);
        close(tail.minus_log_p(1.0), (101.0f64 / 50.0).ln(), 1e-12);
        assert!(tail.minus_log_p(1.0001) >= 101f64.ln());
    }

    #[test]
    fn many_values_make_a_small_tail_that_survives_json() {
        let tail = Tail::fit(&normals(1_000_000, 2), Sides::Two);
        let text = serde_json::to_string(&tail).unwrap();
        assert!(text.len() < 50_000, "{} bytes", text.len());
        let back: Tail = serde_json::from_str(&text).unwrap();
        for value in [-7.0, -0.3, 0.2, 1.9, 8.0] {
            close(back.minus_log_p(value), tail.minus_log_p(value), 1e-12);
        }
    }

    #[test]
    fn continuous_at_the_joint() {
        let tail = Tail::fit(&normals(1000, 9), Sides::Upper);
        let joint = *tail.upper.values.last().unwrap();
        let step = 1e-9;
        assert!((tail.minus_log_p(joint + step) - tail.minus_log_p(joint - step)).abs() < 1e-6);
    }

    proptest! {
        #[test]
        fn rises_with_the_value(
            values in prop::collection::vec(-1e3..1e3f64, 1..200), ties in 0usize..50, a in -2e3..2e3f64, b in -2e3..2e3f64
        ) {
            let mut values = values;
            values.extend(vec![values[0]; ties]);
            let tail = Tail::fit(&values, Sides::Upper);
            let (low, high) = (a.min(b), a.max(b));
            prop_assert!(tail.minus_log_p(low) <= tail.minus_log_p(high));
            let top = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let beyond = tail.minus_log_p(top + 1.0);
            prop_assert!(tail.minus_log_p(top) < beyond && beyond < tail.minus_log_p(top + 1.001));
        }

        #[test]
        fn two_sides_are_symmetric(values in prop::collection::vec(-1e3..1e3f64, 1..100), value in -2e3..2e3f64) {
            let mirrored: Vec<f64> = values.iter().map(|v| -v).collect();
            let (tail, mirror) = (Tail::fit(&values, Sides::Two), Tail::fit(&mirrored, Sides::Two));
            prop_assert_eq!(tail.minus_log_p(value), mirror.minus_log_p(-value));
        }
    }
}
