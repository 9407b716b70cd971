//! Whether two samples come from one distribution.

use serde::{Deserialize, Serialize};

/// The largest distance between two empirical distributions, and how often chance makes it as large.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct KolmogorovSmirnov {
    /// Largest absolute difference of the two distribution functions, in [0, 1].
    pub distance: f64,
    /// Probability of a distance at least this large between independent samples of one continuous distribution.
    pub p_value: f64,
}

/// The two-sided two-sample test of Kolmogorov and Smirnov. `None` where either sample is empty. NaN counts as the highest value.
///
/// The p-value is exact: the share of the orders of two samples in which the distance is reached, counted along the lattice
/// of Hodges (Ark. Mat. 3, 1958, section 3); with ties it is an upper bound. Work grows with the product of the sizes.
pub fn kolmogorov_smirnov(a: &[f64], b: &[f64]) -> Option<KolmogorovSmirnov> {
    if a.is_empty() || b.is_empty() {
        return None;
    }
    let (distance, p_value) = match distance(a, b) {
        0 => (0, 1.0),
        steps => (steps, exceeding(a.len(), b.len(), steps)),
    };
    Some(KolmogorovSmirnov { distance: distance as f64 / (a.len() * b.len()) as f64, p_value })
}

/// The largest difference of the distribution functions, in units of `1 / (n m)`.
fn distance(a: &[f64], b: &[f64]) -> u64 {
    let sorted = |values: &[f64]| {
        let mut values = values.to_vec();
        values.sort_by(f64::total_cmp);
        values
    };
    let (a, b) = (sorted(a), sorted(b));
    let (mut i, mut j, mut largest) = (0, 0, 0);
    while i < a.len() && j < b.len() {
        let value = if a[i].total_cmp(&b[j]).is_le() { a[i] } else { b[j] };
        i += a[i..].partition_point(|x| x.total_cmp(&value).is_le());
        j += b[j..].partition_point(|x| x.total_cmp(&value).is_le());
        largest = largest.max(((i * b.len()) as u64).abs_diff((j * a.len()) as u64));
    }
    largest
}

/// The share of the monotone lattice paths from (0, 0) to (n, m) that reach a distance of `steps / (n m)`.
fn exceeding(n: usize, m: usize, steps: u64) -> f64 {
    let reached = |i: usize, j: usize| ((i * m) as u64).abs_diff((j * n) as u64) >= steps;
    // Of the paths to (i, j), the share that have reached it; the last step came from (i - 1, j) in i of i + j of them.
    let mut row = vec![0.0; m + 1];
    for i in 0..=n {
        for j in 0..=m {
            row[j] = match (i, j) {
                _ if reached(i, j) => 1.0,
                (0, 0) => 0.0,
                (0, _) => row[j - 1],
                (_, 0) => row[0],
                _ => (i as f64 * row[j] + j as f64 * row[j - 1]) / (i + j) as f64,
            };
        }
    }
    row[m]
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::{close, normals};
    use super::*;

    fn test(a: &[f64], b: &[f64]) -> KolmogorovSmirnov {
        kolmogorov_smirnov(a, b).unwrap()
    }

    #[test]
    fn small_samples_are_counted() {
        // Of the 20 orders of three and three, two have all of one sample first.
        let apart = test(&[1.0, 2.0, 3.0], &[4.0, 5.0, 6.0]);
        assert_eq!(apart.distance, 1.0);
        close(apart.p_value, 0.1, 1e-12);
        // Every order of two and two is half apart after its first value.
        let mixed = test(&[1.0, 3.0], &[2.0, 4.0]);
        assert_eq!(mixed.distance, 0.5);
        close(mixed.p_value, 1.0, 1e-12);
        let same = test(&[1.0, 2.0], &[1.0, 2.0]);
        assert_eq!((same.distance, same.p_value), (0.0, 1.0));
        assert_eq!(kolmogorov_smirnov(&[], &[1.0]), None);
    }

    /// `2 sum (-1)^(k-1) exp(-2 k^2 lambda^2)` at `lambda = D sqrt(n m / (n + m))` is the limit (Smirnov 1939).
    #[test]
    fn large_samples_approach_the_limit() {
        let (n, m, steps) = (2000, 3000, 270_000);
        let lambda = steps as f64 / (n * m) as f64 * ((n * m) as f64 / (n + m) as f64).sqrt();
        let limit = 2.0 * ((-2.0 * lambda * lambda).exp() - (-8.0 * lambda * lambda).exp());
        close(exceeding(n, m, steps), limit, 0.05);
    }

    #[test]
    fn chance_is_seldom_small_and_a_shift_is_seen() {
        let below =
            (0..200).filter(|&seed| test(&normals(60, seed), &normals(90, 1000 + seed)).p_value <= 0.05).count();
        assert!(below <= 20, "{below} of 200 below 0.05");
        let shifted: Vec<f64> = normals(200, 2).into_iter().map(|value| value + 0.6).collect();
        assert!(test(&normals(200, 1), &shifted).p_value < 1e-4);
    }

    #[test]
    fn a_tiny_p_value_is_not_rounded_away() {
        let low: Vec<f64> = (0..40).map(f64::from).collect();
        let high: Vec<f64> = (50..90).map(f64::from).collect();
        // Two of the C(80, 40) orders.
        close(test(&low, &high).p_value, 2.0 / 1.075_072_086_933_4e23, 1e-6);
    }
}
