//! Principal components (Pearson 1901): the orthogonal axes along which vectors vary most.

use nalgebra::{DMatrix, SymmetricEigen};

use super::gaussian::covariance;
use super::product;

/// Mean and principal axes of vectors of one dimension.
#[derive(Debug, Clone)]
pub struct Pca {
    mean: Vec<f64>,
    /// `[dim, dim]`: a column an axis, by falling variance.
    axes: DMatrix<f64>,
    /// Share of the whole variance along each axis, falling; zeros where nothing varies.
    pub explained: Vec<f64>,
}

impl Pca {
    /// Fits `rows` (`[n, dim]`, row-major, dim > 0), columns as they are; rows that are not finite are left out. The sign
    /// of an axis is such that its largest coefficient is positive.
    pub fn fit(rows: &[f32], dim: usize) -> Self {
        let (mean, n) = product::column_means(rows, dim);
        let (covariance, _) = covariance(rows, &mean, n);
        let eigen = SymmetricEigen::new(covariance);
        let mut order: Vec<usize> = (0..dim).collect();
        order.sort_by(|&a, &b| eigen.eigenvalues[b].total_cmp(&eigen.eigenvalues[a]));
        let total: f64 = eigen.eigenvalues.iter().map(|value| value.max(0.0)).sum();
        let share = |&axis: &usize| if total > 0.0 { eigen.eigenvalues[axis].max(0.0) / total } else { 0.0 };
        let mut axes = DMatrix::zeros(dim, dim);
        for (place, &axis) in order.iter().enumerate() {
            let column = eigen.eigenvectors.column(axis);
            axes.set_column(place, &(column * column[column.icamax()].signum()));
        }
        Self { mean, explained: order.iter().map(share).collect(), axes }
    }

    /// Coordinates of `rows` along the first two axes; the second is 0 where there is only one.
    pub fn project(&self, rows: &[f32]) -> Vec<(f64, f64)> {
        let dim = self.mean.len();
        let along = |row: &[f32], axis: usize| -> f64 {
            if axis >= dim {
                return 0.0;
            }
            (0..dim).map(|at| (f64::from(row[at]) - self.mean[at]) * self.axes[(at, axis)]).sum()
        };
        rows.chunks_exact(dim).map(|row| (along(row, 0), along(row, 1))).collect()
    }

    /// Share of the whole variance along an axis, 0 where there is none.
    pub fn share(&self, axis: usize) -> f64 {
        self.explained.get(axis).copied().unwrap_or(0.0)
    }

    /// How many axes hold this share of the variance.
    pub fn needed(&self, share: f64) -> usize {
        let mut sum = 0.0;
        let enough = self.explained.iter().position(|part| {
            sum += part;
            sum >= share
        });
        enough.map_or(self.explained.len(), |place| place + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;
    use rand_distr::{Distribution, StandardNormal};

    #[test]
    fn the_axes_of_a_known_gaussian_are_found() {
        // Deviations 3, 2 and 0.5 along (1, 1, 0)/sqrt 2, (1, -1, 0)/sqrt 2 and z, about (10, -4, 7).
        let mut random = rand_chacha::ChaCha8Rng::seed_from_u64(1);
        let mut e = || -> f64 { StandardNormal.sample(&mut random) };
        let half = 0.5f64.sqrt();
        let rows: Vec<f32> = (0..20_000)
            .flat_map(|_| {
                let (a, b, c) = (3.0 * e(), 2.0 * e(), 0.5 * e());
                [10.0 + half * (a + b), -4.0 + half * (a - b), 7.0 + c].map(|value| value as f32)
            })
            .collect();
        let pca = Pca::fit(&rows, 3);
        for (axis, wanted) in [[half, half, 0.0], [half, -half, 0.0], [0.0, 0.0, 1.0]].iter().enumerate() {
            let along: f64 = (0..3).map(|at| wanted[at] * pca.axes[(at, axis)]).sum();
            assert!(along.abs() > 0.999, "{axis} {}", pca.axes);
        }
        for (found, wanted) in pca.explained.iter().zip([9.0, 4.0, 0.25]) {
            assert!((found - wanted / 13.25).abs() < 0.01, "{:?}", pca.explained);
        }
        assert_eq!((pca.needed(0.5), pca.needed(0.9), pca.needed(0.999)), (1, 2, 3));
        let places = pca.project(&rows);
        let variance = places.iter().map(|place| place.0 * place.0).sum::<f64>() / 20_000.0;
        assert!((variance - 9.0).abs() < 0.3, "{variance}");
    }

    #[test]
    fn what_does_not_vary_has_no_axes_but_a_place() {
        let pca = Pca::fit(&[1.0, 1.0, 1.0], 1);
        assert_eq!(pca.explained, [0.0]);
        assert_eq!(pca.project(&[1.0, 3.0]).iter().map(|place| place.1).collect::<Vec<_>>(), [0.0, 0.0]);
    }
}
