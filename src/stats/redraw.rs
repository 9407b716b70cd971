//! What a figure owes to the draw of the frames that gave a threshold.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::conformal;
use super::paired::deviation;

/// Draws: the error of a standard error of 200 is 5 % (Efron & Tibshirani 1993, section 6.4).
const DRAWS: usize = 200;
const SEED: u64 = 0x7265_6472_6177;

/// Standard error of the share of `values` above the certified threshold of `sorted` (ascending) calibration scores, those being
/// what is drawn by chance: the bootstrap (Efron 1979, Ann. Statist. 7, 1). 0 where no threshold is certified or nothing is given.
pub fn share_above_error(sorted: &[f64], (alpha, delta): (f64, f64), values: &[f64]) -> f64 {
    let (n, mut random) = (sorted.len(), ChaCha8Rng::seed_from_u64(SEED));
    let Ok(certificate) = conformal::threshold(sorted, alpha, delta) else { return 0.0 };
    if values.is_empty() {
        return 0.0;
    }
    let mut ascending = values.to_vec();
    ascending.sort_by(f64::total_cmp);
    let share_above = |threshold: f64| {
        let below = ascending.partition_point(|value| value.total_cmp(&threshold).is_le());
        (ascending.len() - below) as f64 / ascending.len() as f64
    };
    let mut drawn = vec![0; n];
    let shares: Vec<f64> = (0..DRAWS)
        .map(|_| {
            drawn.iter_mut().for_each(|place| *place = random.random_range(0..n));
            let (_, &mut place, _) = drawn.select_nth_unstable(n - 1 - certificate.allowed);
            share_above(sorted[place])
        })
        .collect();
    deviation(&shares)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::fixtures::normals;

    /// Of uniform scores the share of uniform values above the threshold is distributed as Beta(k + 1, n - k).
    #[test]
    fn it_is_the_spread_of_the_order_statistic() {
        let grid: Vec<f64> = (0..100_000).map(|at| (f64::from(at) + 0.5) / 100_000.0).collect();
        let (n, alpha, delta) = (1000, 0.05, 0.05);
        let uniform = |value: f64| 0.5 * statrs::function::erf::erfc(-value * std::f64::consts::FRAC_1_SQRT_2);
        let errors = (0..20).map(|seed| {
            let mut scores: Vec<f64> = normals(n, seed).into_iter().map(uniform).collect();
            scores.sort_by(f64::total_cmp);
            share_above_error(&scores, (alpha, delta), &grid)
        });
        let mean = errors.sum::<f64>() / 20.0;
        let k = conformal::threshold(&grid[..n], alpha, delta).unwrap().allowed as f64;
        let (a, b) = (k + 1.0, n as f64 - k);
        let expected = (a * b / ((a + b).powi(2) * (a + b + 1.0))).sqrt();
        assert!((mean / expected - 1.0).abs() < 0.15, "{mean} {expected}");
    }

    #[test]
    fn without_a_threshold_or_values_there_is_no_error() {
        assert_eq!(share_above_error(&[1.0], (0.01, 0.05), &[0.5]), 0.0);
        assert_eq!(share_above_error(&[1.0; 400], (0.01, 0.05), &[]), 0.0);
        assert_eq!(share_above_error(&[1.0; 400], (0.01, 0.05), &[0.5, 2.0]), 0.0, "equal scores draw one threshold");
    }
}
