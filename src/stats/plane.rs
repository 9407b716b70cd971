//! The plane in which points are spread most: principal components one and two (Pearson 1901).

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};

/// Rounds of the power iteration: components whose variances differ by 5 % are told apart to about 1e-4.
const ROUNDS: usize = 200;

/// Points in their principal plane.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Plane {
    /// Each point's coordinates, the mean at zero.
    pub points: Vec<[f64; 2]>,
    /// Share of the whole variance along each of the two axes.
    pub explained: [f64; 2],
}

/// Projects rows `[n, dim]` on the two directions of largest variance; all at zero where nothing varies. Each direction's
/// largest entry is positive, so that the same rows give the same picture.
pub fn principal_plane(rows: &[f32], dim: usize) -> Plane {
    if dim == 0 || rows.is_empty() {
        return Plane::default();
    }
    let mut left = centred(rows, dim);
    let whole: f64 = left.iter().map(|value| value * value).sum();
    let mut plane = Plane { points: vec![[0.0; 2]; rows.len() / dim], explained: [0.0; 2] };
    for axis in 0..2.min(dim) {
        let Some(direction) = leading(&left, dim) else { break };
        for (row, point) in left.chunks_exact_mut(dim).zip(&mut plane.points) {
            let along = dot(row, &direction);
            row.iter_mut().zip(&direction).for_each(|(value, direction)| *value -= along * direction);
            point[axis] = along;
        }
        plane.explained[axis] = plane.points.iter().map(|point| point[axis].powi(2)).sum::<f64>() / whole;
    }
    plane
}

fn centred(rows: &[f32], dim: usize) -> Vec<f64> {
    let count = (rows.len() / dim) as f64;
    let mut mean = vec![0.0; dim];
    for row in rows.chunks_exact(dim) {
        mean.iter_mut().zip(row).for_each(|(mean, &value)| *mean += f64::from(value) / count);
    }
    rows.chunks_exact(dim).flat_map(|row| row.iter().zip(&mean).map(|(&value, mean)| f64::from(value) - mean)).collect()
}

/// The unit vector along which centred rows vary most, by power iteration on their scatter matrix, which is never formed.
fn leading(rows: &[f64], dim: usize) -> Option<Vec<f64>> {
    let mut direction: Vec<f64> = StandardNormal.sample_iter(ChaCha8Rng::seed_from_u64(dim as u64)).take(dim).collect();
    for _ in 0..ROUNDS {
        let mut next = vec![0.0; dim];
        for row in rows.chunks_exact(dim) {
            let along = dot(row, &direction);
            next.iter_mut().zip(row).for_each(|(next, value)| *next += along * value);
        }
        let norm = dot(&next, &next).sqrt();
        if norm.is_nan() || norm <= f64::MIN_POSITIVE {
            return None;
        }
        direction = next.into_iter().map(|value| value / norm).collect();
    }
    let largest = direction
        .iter()
        .copied()
        .fold(0.0f64, |largest, value| if value.abs() > largest.abs() { value } else { largest });
    direction.iter_mut().for_each(|value| *value *= largest.signum());
    Some(direction)
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_in_a_tilted_plane_come_out_as_they_went_in() {
        // Along (3, 4, 0) / 5 with standard deviation 10, along (0, 0, 1) with 2, and nothing across.
        let flat: Vec<[f64; 2]> =
            (0..200).map(|at| [10.0 * (f64::from(at) * 0.7).sin(), 2.0 * (f64::from(at) * 1.9).cos()]).collect();
        let rows: Vec<f32> =
            flat.iter().flat_map(|[a, b]| [0.6 * a + 7.0, 0.8 * a, *b].map(|value| value as f32)).collect();
        let plane = principal_plane(&rows, 3);
        let mean = |axis: usize| flat.iter().map(|point| point[axis]).sum::<f64>() / 200.0;
        for (found, given) in plane.points.iter().zip(&flat) {
            // The given axes are a hair away from the principal ones: they are correlated by chance.
            assert!(
                (found[0] - (given[0] - mean(0))).abs() < 0.1 && (found[1] - (given[1] - mean(1))).abs() < 0.4,
                "{found:?} {given:?}"
            );
        }
        assert!((plane.explained[0] + plane.explained[1] - 1.0).abs() < 1e-6, "{:?}", plane.explained);
        assert!(plane.explained[0] > 0.9);
    }

    #[test]
    fn what_does_not_vary_lies_at_zero() {
        assert_eq!(principal_plane(&[2.0; 6], 3), Plane { points: vec![[0.0; 2]; 2], explained: [0.0; 2] });
        assert_eq!(principal_plane(&[], 3), Plane::default());
        let line = principal_plane(&[-1.0, 1.0], 1);
        assert_eq!((line.points[1], line.explained), ([1.0, 0.0], [1.0, 0.0]));
    }
}
