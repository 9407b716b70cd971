//! Linear regression with a penalty on the weights.

use nalgebra::{Cholesky, DMatrix, DVector};
use serde::{Deserialize, Serialize};

/// Rows of one block of the normal equations.
const BLOCK: usize = 1024;

/// A fitted ridge regression, `intercept + weights . features`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Ridge {
    /// One a feature.
    pub weights: Vec<f64>,
    /// Never penalised.
    pub intercept: f64,
}

impl Ridge {
    /// Minimises `sum (target - intercept - weights . features)^2 + lambda |weights|^2` (Hoerl & Kennard 1970), as
    /// scikit-learn's `Ridge`. `features`: `[n, dim]` row-major, dim > 0; `targets`: `[n]`. Rows that are not finite are left out;
    /// without any the prediction is 0. Where the equations are singular, lambda is raised until they are not.
    pub fn fit(features: &[f32], dim: usize, targets: &[f64], lambda: f64) -> Self {
        let pairs: Vec<(&[f32], f64)> = features
            .chunks_exact(dim)
            .zip(targets.iter().copied())
            .filter(|(row, target)| target.is_finite() && row.iter().all(|v| v.is_finite()))
            .collect();
        let n = pairs.len().max(1) as f64;
        let target_mean = pairs.iter().map(|(_, target)| target / n).sum::<f64>();
        let mut mean = vec![0.0; dim];
        for (row, _) in &pairs {
            mean.iter_mut().zip(*row).for_each(|(sum, &value)| *sum += f64::from(value) / n);
        }
        let (gram, moments) = normal_equations(&pairs, &mean, target_mean);
        let weights = solve(&gram, &moments, lambda);
        let intercept = target_mean - weights.iter().zip(&mean).map(|(w, m)| w * m).sum::<f64>();
        Self { weights, intercept }
    }

    /// Predictions for `features` (`[n, dim]`, row-major).
    pub fn predict(&self, features: &[f32]) -> Vec<f64> {
        let row = |row: &[f32]| self.weights.iter().zip(row).map(|(w, &v)| w * f64::from(v)).sum::<f64>();
        features.chunks_exact(self.weights.len().max(1)).map(|features| self.intercept + row(features)).collect()
    }
}

/// Each row (`[n, dim]`) followed by its squares: `[n, 2 dim]`.
pub fn with_squares(rows: &[f32], dim: usize) -> Vec<f32> {
    rows.chunks_exact(dim).flat_map(|row| row.iter().copied().chain(row.iter().map(|v| v * v))).collect()
}

/// X^T X and X^T y of the centred rows.
fn normal_equations(pairs: &[(&[f32], f64)], mean: &[f64], target_mean: f64) -> (DMatrix<f64>, DVector<f64>) {
    let dim = mean.len();
    let mut gram = DMatrix::zeros(dim, dim);
    let mut moments = DVector::zeros(dim);
    for block in pairs.chunks(BLOCK) {
        let rows = DMatrix::from_fn(dim, block.len(), |axis, row| f64::from(block[row].0[axis]) - mean[axis]);
        let targets = DVector::from_fn(block.len(), |row, _| block[row].1 - target_mean);
        gram.gemm(1.0, &rows, &rows.transpose(), 1.0);
        moments.gemv(1.0, &rows, &targets, 1.0);
    }
    (gram, moments)
}

fn solve(gram: &DMatrix<f64>, moments: &DVector<f64>, lambda: f64) -> Vec<f64> {
    let dim = gram.nrows();
    let unit = (gram.trace() / dim as f64).max(f64::MIN_POSITIVE);
    let raised = (-12..=0).map(|power| lambda + unit * 10f64.powi(power));
    std::iter::once(lambda)
        .chain(raised)
        .find_map(|ridge| {
            let mut ridged = gram.clone();
            (0..dim).for_each(|axis| ridged[(axis, axis)] += ridge);
            let solution = Cholesky::new(ridged)?.solve(moments);
            solution.iter().all(|w| w.is_finite()).then(|| solution.as_slice().to_vec())
        })
        .unwrap_or_else(|| vec![0.0; dim])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::fixtures::{close, table};

    #[test]
    fn equals_scikit_learn() {
        // Ridge(alpha=2.5).fit(table(40, 4)[:, :3], table(40, 4)[:, 3]); .predict(rows[:2] + 1); numpy.linalg.solve agrees
        let rows = table(40, 4);
        let features: Vec<f32> = rows.chunks(4).flat_map(|row| row[..3].to_vec()).collect();
        let targets: Vec<f64> = rows.chunks(4).map(|row| f64::from(row[3])).collect();
        let ridge = Ridge::fit(&features, 3, &targets, 2.5);
        for (got, expected) in ridge.weights.iter().zip([0.21701000374014554, 0.5093948805767945, -0.09986969183322314])
        {
            close(*got, expected, 1e-9);
        }
        close(ridge.intercept, 3.1049014202522507, 1e-9);
        let moved: Vec<f32> = features[..6].iter().map(|v| v + 1.0).collect();
        for (got, expected) in ridge.predict(&moved).into_iter().zip([3.5747137882832645, 3.98291397464614]) {
            close(got, expected, 1e-9);
        }
    }

    #[test]
    fn singular_and_empty() {
        assert_eq!(Ridge::fit(&[], 2, &[], 1.0).predict(&[1.0, 2.0]), [0.0]);
        // Two equal columns without a penalty: the prediction is still right.
        let features: Vec<f32> = (0..50).flat_map(|i| [i as f32, i as f32]).collect();
        let targets: Vec<f64> = (0..50).map(|i| 3.0 * f64::from(i) + 1.0).collect();
        close(Ridge::fit(&features, 2, &targets, 0.0).predict(&[7.0, 7.0])[0], 22.0, 1e-6);
        assert_eq!(Ridge::fit(&[1.0, 1.0, f32::NAN], 1, &[4.0, 4.0, 9.0], 0.0).predict(&[1.0]), [4.0]);
    }

    #[test]
    fn squares_follow_each_row() {
        assert_eq!(with_squares(&[1.0, 2.0, 3.0, -4.0], 2), [1.0, 2.0, 1.0, 4.0, 3.0, -4.0, 9.0, 16.0]);
    }
}
