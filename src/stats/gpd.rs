//! The generalised Pareto distribution: what lies beyond a high threshold (Pickands 1975).

use serde::{Deserialize, Serialize};

/// A generalised Pareto distribution of excesses over a threshold, `P(E > e) = (1 + shape e / scale)^(-1 / shape)`.
///
/// The shape is never negative: the tail has no end, and a more extreme value is always less probable.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Gpd {
    /// Tail index, at least 0 (exponential).
    pub shape: f64,
    /// Scale, above 0, in the unit of the excesses.
    pub scale: f64,
}

/// Prior knowledge of the shape for small samples.
#[derive(Debug, Clone, Copy)]
pub struct ShapePrior {
    /// The shape expected.
    pub shape: f64,
    /// The number of excesses it weighs as much as.
    pub weight: f64,
}

impl Gpd {
    /// Fits excesses (ascending, all above 0) by probability-weighted moments (Hosking & Wallis 1987, eq. 7), the shape kept
    /// within `0..=most_shape` and the mean matched. `None` for no excesses.
    pub fn fit(sorted_excesses: &[f64], most_shape: f64, prior: Option<ShapePrior>) -> Option<Self> {
        let n = sorted_excesses.len() as f64;
        if sorted_excesses.is_empty() {
            return None;
        }
        let mean = sorted_excesses.iter().map(|e| e / n).sum::<f64>();
        let weighted = |(i, e): (usize, &f64)| e / n * (1.0 - (i as f64 + 0.65) / n);
        let first_moment: f64 = sorted_excesses.iter().enumerate().map(weighted).sum();
        let moments_shape = 2.0 - mean / (mean - 2.0 * first_moment);
        let mut shape = if moments_shape.is_finite() { moments_shape.clamp(-0.5, most_shape) } else { 0.0 };
        if let Some(prior) = prior {
            shape = (n * shape + prior.weight * prior.shape) / (n + prior.weight);
        }
        let shape = shape.clamp(0.0, most_shape);
        Some(Self { shape, scale: (mean * (1.0 - shape)).max(f64::MIN_POSITIVE) })
    }

    /// `-ln P(E > excess)`; 0 for an excess of 0 or below, never infinite.
    pub fn minus_log_survival(&self, excess: f64) -> f64 {
        let ratio = (excess / self.scale).clamp(0.0, 1e300);
        if self.shape < 1e-9 { ratio } else { (self.shape * ratio).ln_1p() / self.shape }
    }
}

/// Estimated p-values beyond the reach of the calibration set: SPOT's tail (Siffer et al. 2017, KDD, section 3).
///
/// Estimates, not certificates. The shape is fitted by moments and kept from being negative, where SPOT maximises the
/// likelihood: a bounded tail would give a p of zero.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct GpdTail {
    /// Where the tail begins.
    pub threshold: f64,
    /// Share of normal scores above the threshold.
    pub share: f64,
    /// What lies above it.
    pub excess: Gpd,
}

impl GpdTail {
    /// Fits the scores (ascending) above their 98 % quantile, or the highest 30 where that is more, but at most a fifth of
    /// them. `None` where this leaves fewer than 10 (n < 50), or where they tie.
    pub fn fit(sorted: &[f64]) -> Option<Self> {
        let n = sorted.len();
        let count = n.div_ceil(50).max(30).min(n / 5);
        if count < 10 {
            return None;
        }
        let threshold = sorted[n - count - 1];
        let excesses: Vec<f64> = sorted[n - count..].iter().map(|s| s - threshold).filter(|&e| e > 0.0).collect();
        if excesses.len() < 10 {
            return None;
        }
        let excess = Gpd::fit(&excesses, 0.9, None)?;
        Some(Self { threshold, share: excesses.len() as f64 / n as f64, excess })
    }

    /// Estimated probability of a score at least this high for a normal frame; `share` at the threshold and below.
    pub fn p(&self, score: f64) -> f64 {
        let excess = if score.is_nan() { f64::INFINITY } else { score - self.threshold };
        self.share * (-self.excess.minus_log_survival(excess)).exp()
    }

    /// The estimate for a score above every calibration score, where the conformal p-value stands still at `1 / (n + 1)`; never
    /// above that. `None` within their reach: the conformal p-value holds there.
    pub fn p_beyond(&self, sorted_calibration: &[f64], score: f64) -> Option<f64> {
        let within = sorted_calibration.last().is_none_or(|&highest| score <= highest);
        (!within).then(|| self.p(score).min(1.0 / (sorted_calibration.len() + 1) as f64))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::fixtures::{close, normals};

    /// Quantiles of a generalised Pareto distribution at n mid-ranks, ascending.
    fn quantiles(n: usize, shape: f64, scale: f64) -> Vec<f64> {
        let at = |i: usize| {
            let survival: f64 = 1.0 - (i as f64 + 0.5) / n as f64;
            if shape == 0.0 { -scale * survival.ln() } else { scale * (survival.powf(-shape) - 1.0) / shape }
        };
        (0..n).map(at).collect()
    }

    #[test]
    fn survival_equals_scipy() {
        // -scipy.stats.genpareto.logsf(e, shape, scale=scale) for e = 0.1, 1, 30
        for (shape, scale, expected) in [
            (0.0, 2.0, [0.05, 0.5, 15.0]),
            (0.2, 1.5, [0.0662261337501032, 0.6258157147700301, 8.047189562170502]),
            (0.4, 0.5, [0.19240260284032085, 1.4694666622552977, 8.047189562170502]),
        ] {
            for (excess, expected) in [0.1, 1.0, 30.0].into_iter().zip(expected) {
                close(Gpd { shape, scale }.minus_log_survival(excess), expected, 1e-12);
            }
        }
    }

    #[test]
    fn fit_recovers_the_parameters() {
        for (shape, scale) in [(0.0, 2.0), (0.2, 1.5), (0.4, 0.5)] {
            let fitted = Gpd::fit(&quantiles(5000, shape, scale), 0.5, None).unwrap();
            assert!((fitted.shape - shape).abs() < 0.02, "{fitted:?}");
            close(fitted.scale, scale, 0.02);
        }
    }

    #[test]
    fn fit_stays_in_bounds() {
        assert_eq!(Gpd::fit(&[], 0.5, None), None);
        assert_eq!(Gpd::fit(&[3.0], 0.5, None).map(|gpd| (gpd.shape, gpd.scale)), Some((0.0, 3.0)));
        let bounded: Vec<f64> = (1..=100).map(f64::from).collect();
        assert_eq!(Gpd::fit(&bounded, 0.5, None).map(|gpd| gpd.shape), Some(0.0));
        assert_eq!(Gpd::fit(&quantiles(1000, 1.5, 1.0), 0.5, None).map(|gpd| gpd.shape), Some(0.5));
    }

    #[test]
    fn tail_extrapolates() {
        // P(|N| > 3.5) = 4.7e-4 and P(|N| > 4.5) = 6.8e-6 from 2,000 values: right to a factor of 3 and 12.
        let mut scores: Vec<f64> = normals(2000, 3).into_iter().map(f64::abs).collect();
        scores.sort_unstable_by(f64::total_cmp);
        let tail = GpdTail::fit(&scores).unwrap();
        assert!((1.4e-4..1.5e-3).contains(&tail.p(3.5)), "{}", tail.p(3.5));
        assert!((5e-7..9e-5).contains(&tail.p(4.5)), "{}", tail.p(4.5));
        assert!(tail.p(20.0) > 0.0 && tail.p(20.0) > tail.p(21.0));
        assert_eq!(tail.p(f64::NEG_INFINITY), tail.share);
        assert!(tail.p(f64::NAN) <= tail.p(1e9));
        let highest = scores[1999];
        assert_eq!(tail.p_beyond(&scores, highest), None);
        assert!(tail.p_beyond(&scores, highest + 1e-9).is_some_and(|p| p <= 1.0 / 2001.0));
        assert!(tail.p_beyond(&scores, f64::NAN).is_some_and(|p| p < 1e-6));
    }

    #[test]
    fn no_tail_from_too_few_or_ties() {
        let ascending: Vec<f64> = (0..50).map(f64::from).collect();
        assert!(GpdTail::fit(&ascending).is_some());
        assert_eq!(GpdTail::fit(&ascending[1..]), None);
        assert_eq!(GpdTail::fit(&[1.0; 500]), None);
        assert_eq!(GpdTail::fit(&[]), None);
    }
}
