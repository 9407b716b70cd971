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
    /// scikit-learn's `Ridge`. `features`: [n, dim] row-major, dim > 0; `targets`: [n]. Rows that are not finite are left out;
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

    /// Predictions for `features` ([n, dim], row-major).
    pub fn predict(&self, features: &[f32]) -> Vec<f64> {
        let row = |row: &[f32]| self.weights.iter().zip(row).map(|(w, &v)| w * f64::from(v)).sum::<f64>();
        features.chunks_exact(self.weights.len().max(1)).map(|features| self.intercept + row(features)).collect()
    }
}

/// Each row ([n, dim]) followed by its squares: [n, 2 dim].
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
