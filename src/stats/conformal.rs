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
