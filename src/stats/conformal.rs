//! What held-out scores allow us to promise: conformal p-values and certified thresholds.

use serde::{Deserialize, Serialize};

use super::beta;

/// A flagging threshold with a guarantee over the draw of the calibration set.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Certificate {
    /// A score is flagged when it is strictly above this.
    pub threshold: f64,
    /// Calibration scores allowed above it; fewer are where scores tie.
    pub allowed: usize,
    /// Calibration scores it was made from.
    pub n: usize,
    /// The false-alarm rate that is not exceeded ...
    pub alpha: f64,
    /// ... with probability at least `1 - delta`.
    pub delta: f64,
}

/// The calibration set is too small for the alpha and delta asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooFew {
    /// The scores that would be enough.
    pub needed: usize,
}

impl std::fmt::Display for TooFew {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "too few calibration frames: {} are needed", self.needed)
    }
}

impl std::error::Error for TooFew {}

/// Probability of a score at least this high for a normal frame: `(1 + #{s_i >= score}) / (n + 1)`.
///
/// `P(p <= alpha) <= alpha` for every alpha when the frame is exchangeable with the calibration frames (Vovk et al. 2005;
/// Bates et al. 2021, arXiv:2104.08279, eq. 2). Ties make it larger, never smaller. `sorted_calibration` is ascending and
/// without NaN; a score of NaN counts as higher than all.
pub fn p_value(sorted_calibration: &[f64], score: f64) -> f64 {
    let n = sorted_calibration.len();
    let below = if score.is_nan() { n } else { sorted_calibration.partition_point(|&s| s < score) };
    (1 + n - below) as f64 / (n + 1) as f64
}

/// The lowest threshold whose true false-alarm rate is at most `alpha` with probability `1 - delta` over the calibration set.
///
/// It is the (n-k)-th smallest of the `sorted` (ascending) scores with the largest k such that
/// `P(Beta(k+1, n-k) > alpha) <= delta` (Wilks 1941; Vovk 2012, prop. 2b): for a continuous score the rate of `score >
/// threshold` is distributed as Beta(k+1, n-k), and where scores tie it is stochastically smaller, so the promise holds
/// either way. The comparison must stay strict: with `>=` a tie at the threshold breaks it.
///
/// # Errors
/// [`TooFew`] when even the highest calibration score is too low a threshold.
pub fn threshold(sorted: &[f64], alpha: f64, delta: f64) -> Result<Certificate, TooFew> {
    let n = sorted.len();
    let allowed = allowed_above(n, alpha, delta).ok_or_else(|| TooFew { needed: smallest_n(alpha, delta) })?;
    Ok(Certificate { threshold: sorted[n - 1 - allowed], allowed, n, alpha, delta })
}

/// The smallest calibration set that supports `alpha` with confidence `1 - delta`: the least n with `(1-alpha)^n <= delta`.
/// `usize::MAX` where none does.
pub fn smallest_n(alpha: f64, delta: f64) -> usize {
    if !(alpha > 0.0 && delta > 0.0) {
        return usize::MAX;
    }
    if alpha >= 1.0 || delta >= 1.0 {
        return 1;
    }
    let estimate = (delta.ln() / (-alpha).ln_1p()).floor().max(1.0) as usize;
    // The quotient may be rounded across an integer; the criterion itself decides.
    (estimate.saturating_sub(1).max(1)..=estimate.saturating_add(2))
        .find(|&n| exceeds_probability(0, n, alpha) <= delta)
        .unwrap_or(usize::MAX)
}

/// The largest k with `P(Beta(k+1, n-k) > alpha) <= delta`, k < n.
fn allowed_above(n: usize, alpha: f64, delta: f64) -> Option<usize> {
    let holds = |k: usize| exceeds_probability(k, n, alpha) <= delta;
    if n == 0 || !holds(0) {
        return None;
    }
    // `low` holds, `high` does not: the probability rises with k.
    let (mut low, mut high) = (0, n);
    while high - low > 1 {
        let middle = low + (high - low) / 2;
        if holds(middle) {
            low = middle;
        } else {
            high = middle;
        }
    }
    Some(low)
}

/// P(Beta(k+1, n-k) > alpha): the chance that the rate above the (n-k)-th smallest of n scores exceeds alpha.
fn exceeds_probability(k: usize, n: usize, alpha: f64) -> f64 {
    if k == 0 {
        return (n as f64 * (-alpha).ln_1p()).exp();
    }
    beta::survival((k + 1) as f64, (n - k) as f64, alpha)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::fixtures::{close, normals};
    use proptest::prelude::*;

    fn ascending(mut values: Vec<f64>) -> Vec<f64> {
        values.sort_unstable_by(f64::total_cmp);
        values
    }

    #[test]
    fn p_values_of_a_known_set() {
        let sorted = [1.0, 2.0, 2.0, 3.0];
        let expected =
            [(0.0, 1.0), (1.0, 1.0), (1.5, 0.8), (2.0, 0.8), (2.5, 0.4), (3.0, 0.4), (9.0, 0.2), (f64::NAN, 0.2)];
        for (score, p) in expected {
            assert_eq!(p_value(&sorted, score), p);
        }
        assert_eq!(p_value(&[], 1.0), 1.0);
    }

    #[test]
    fn p_values_are_valid() {
        // Over fresh calibration sets, P(p <= a) <= a; scores rounded to a grid, so that they tie.
        let (n, trials) = (50, 20_000);
        for grid in [0.0, 0.5] {
            let round = |v: f64| if grid > 0.0 { (v / grid).round() * grid } else { v };
            let values: Vec<f64> = normals((n + 1) * trials, 1).into_iter().map(round).collect();
            let p: Vec<f64> = values.chunks(n + 1).map(|set| p_value(&ascending(set[1..].to_vec()), set[0])).collect();
            for alpha in [0.02, 0.1, 0.3, 0.5, 0.9] {
                let rate = p.iter().filter(|&&p| p <= alpha).count() as f64 / trials as f64;
                let error = 4.0 * (alpha * (1.0 - alpha) / trials as f64).sqrt();
                assert!(rate <= alpha + error, "{rate} > {alpha} on grid {grid}");
                if grid == 0.0 {
                    let exact = (alpha * (n + 1) as f64).floor() / (n + 1) as f64;
                    assert!((rate - exact).abs() <= error, "{rate} is not {exact}");
                }
            }
        }
    }

    #[test]
    fn certificate_equals_scipy() {
        // The largest k with scipy.stats.beta.sf(alpha, k + 1, n - k) <= delta, and that value; SciPy 1.17.1
        for (n, alpha, delta, k, probability) in [
            (299, 1e-2, 0.05, 0, 0.04953625663766248),
            (500, 1e-2, 0.05, 1, 0.039754740832387524),
            (1000, 1e-2, 0.05, 4, 0.028686399999004724),
            (2995, 1e-3, 0.05, 0, 0.04996170339735637),
            (10_000, 1e-3, 0.05, 4, 0.029195950158227738),
            (10_000, 0.05, 0.01, 449, 0.009419479718791693),
            (1_000_000, 0.01, 0.05, 9836, 0.04987634392185491),
        ] {
            assert_eq!(allowed_above(n, alpha, delta), Some(k));
            close(exceeds_probability(k, n, alpha), probability, 1e-7);
        }
    }

    #[test]
    fn smallest_sets() {
        // The least n with scipy.stats.beta.sf(alpha, 1, n) <= delta
        for (alpha, delta, n) in [(1e-2, 0.05, 299), (1e-3, 0.05, 2995), (0.1, 0.1, 22), (1e-4, 0.01, 46_050)] {
            assert_eq!(smallest_n(alpha, delta), n);
            let sorted: Vec<f64> = (0..n).map(|i| i as f64).collect();
            assert_eq!(threshold(&sorted[1..], alpha, delta), Err(TooFew { needed: n }));
            assert_eq!(threshold(&sorted, alpha, delta).map(|c| c.threshold), Ok((n - 1) as f64));
        }
        assert_eq!(smallest_n(0.0, 0.05), usize::MAX);
        assert_eq!(smallest_n(1.0, 0.05), 1);
        assert_eq!(threshold(&[], 0.5, 0.5), Err(TooFew { needed: 1 }));
    }

    #[test]
    fn ties_do_not_raise_the_rate() {
        let mut sorted = vec![0.0; 290];
        sorted.extend([1.0; 710]);
        let certificate = threshold(&sorted, 0.01, 0.05).unwrap();
        assert_eq!((certificate.threshold, certificate.allowed), (1.0, 4));
    }

    #[test]
    fn certificate_covers() {
        // Share of calibration sets whose true false-alarm rate exceeds alpha: 0.0287 expected for n = 1000 (k = 4), 0.0398 for
        // 500. The uniform score's true rate above a threshold t is 1 - t; on a grid it is lower.
        let trials = 4000;
        for (n, expected) in [(500, 0.03975), (1000, 0.02869)] {
            let uniform = |v: f64| 0.5 * statrs::function::erf::erfc(-v * std::f64::consts::FRAC_1_SQRT_2);
            let scores: Vec<f64> = normals(n * trials, 7).into_iter().map(uniform).collect();
            let exceeding = |cells: f64| {
                let rate_exceeds = |set: &[f64]| {
                    let grid = |v: f64| if cells > 0.0 { (v * cells).ceil() / cells } else { v };
                    let sorted = ascending(set.iter().map(|&v| grid(v)).collect());
                    1.0 - threshold(&sorted, 0.01, 0.05).unwrap().threshold > 0.01
                };
                scores.chunks(n).filter(|set| rate_exceeds(set)).count() as f64 / trials as f64
            };
            let error = 4.0 * (expected * (1.0 - expected) / trials as f64).sqrt();
            let rate = exceeding(0.0);
            assert!((rate - expected).abs() <= error, "{rate} is not {expected}");
            assert!(exceeding(150.0) <= 0.05 + error);
        }
    }

    proptest! {
        #[test]
        fn p_value_is_the_count_and_falls(
            values in prop::collection::vec(-5i32..5, 0..40), a in -6i32..6, b in -6i32..6
        ) {
            let sorted = ascending(values.iter().map(|&v| f64::from(v)).collect());
            let p = |score: i32| p_value(&sorted, f64::from(score));
            let count = values.iter().filter(|&&v| v >= a).count();
            prop_assert_eq!(p(a), (1 + count) as f64 / (values.len() + 1) as f64);
            prop_assert!(p(a.min(b)) >= p(a.max(b)));
        }

        #[test]
        fn threshold_flags_at_most_the_allowed(values in prop::collection::vec(-20i32..20, 30..400), alpha in 0.05..0.5f64) {
            let sorted = ascending(values.iter().map(|&v| f64::from(v)).collect());
            if let Ok(certificate) = threshold(&sorted, alpha, 0.1) {
                let above = sorted.iter().filter(|&&s| s > certificate.threshold).count();
                prop_assert!(above <= certificate.allowed);
                prop_assert!(certificate.allowed as f64 <= alpha * sorted.len() as f64);
            }
        }
    }
}
