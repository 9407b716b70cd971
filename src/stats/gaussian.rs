//! Distance from a fitted Gaussian: Mahalanobis with a shrunk covariance.

use nalgebra::{Cholesky, DMatrix, DVector, Dyn};
use rayon::prelude::*;

use super::product;

/// Rows of one block of the covariance sum.
const COVARIANCE_BLOCK: usize = 1024;

/// Mean and whitening of vectors of one dimension; `|whitening (x - mean)|` is the Mahalanobis distance.
#[derive(Debug, Clone)]
pub struct Mahalanobis {
    mean: Vec<f32>,
    /// L^-1 `[dim, dim]`, where the covariance is L L^T.
    whitening: DMatrix<f32>,
    shrinkage: f64,
}

impl Mahalanobis {
    /// Fits `rows` (`[n, dim]`, row-major, dim > 0) with the covariance shrunk by Ledoit & Wolf (2004), as scikit-learn's
    /// `LedoitWolf`. Rows that are not finite are left out. Constant columns get a small variance, so any n will do.
    pub fn fit(rows: &[f32], dim: usize) -> Self {
        let (mean, n) = product::column_means(rows, dim);
        let (covariance, fourth_powers) = covariance(rows, &mean, n);
        let (shrunk, shrinkage) = shrink(covariance, fourth_powers, n);
        let whitening = whiten(&shrunk, &mean);
        Self { mean: mean.iter().map(|&m| m as f32).collect(), whitening, shrinkage }
    }

    /// The inverse of [`Self::mean`] and [`Self::whitening`]; `None` where the lengths disagree.
    pub fn from_parts(mean: Vec<f32>, whitening: &[f32], shrinkage: f64) -> Option<Self> {
        let dim = mean.len();
        let fits = dim > 0 && whitening.len() == dim * dim;
        fits.then(|| Self { whitening: DMatrix::from_row_slice(dim, dim, whitening), mean, shrinkage })
    }

    /// Mahalanobis distances of `rows` (`[n, dim]`, row-major). The result of a row does not depend on the others.
    pub fn distances(&self, rows: &[f32]) -> Vec<f32> {
        let dim = self.mean.len();
        rows.par_chunks(product::BLOCK * dim)
            .flat_map_iter(|block| {
                let centred = product::columns(block, dim, |axis, value| value - self.mean[axis]);
                let white = &self.whitening * centred;
                let n = block.len() / dim;
                (0..n).map(|row| white.column(row).norm()).collect::<Vec<f32>>()
            })
            .collect()
    }

    /// Length of the vectors.
    pub fn dim(&self) -> usize {
        self.mean.len()
    }

    /// The mean `[dim]`.
    pub fn mean(&self) -> &[f32] {
        &self.mean
    }

    /// The whitening matrix `[dim, dim]`, row-major, lower triangular.
    pub fn whitening(&self) -> Vec<f32> {
        self.whitening.transpose().as_slice().to_vec()
    }

    /// Standard normal vectors (`[n, dim]`, row-major) made into vectors of this Gaussian: `mean + L e`.
    pub fn place(&self, normal: &[f32]) -> Vec<f32> {
        let factor = self.factor();
        let mean = DVector::from_row_slice(&self.mean);
        let place = |e: &[f32]| (&factor * DVector::from_row_slice(e) + &mean).as_slice().to_vec();
        normal.chunks_exact(self.dim()).flat_map(place).collect()
    }

    /// The variance of each axis `[dim]`.
    pub fn variances(&self) -> Vec<f32> {
        self.factor().row_iter().map(|row| row.norm_squared()).collect()
    }

    /// L, where the covariance is L L^T.
    fn factor(&self) -> DMatrix<f32> {
        let mut factor = DMatrix::identity(self.dim(), self.dim());
        // The whitening is the inverse of a Cholesky factor: no element of its diagonal is zero.
        self.whitening.solve_lower_triangular_mut(&mut factor);
        factor
    }

    /// Weight of the sphere in the covariance, 0 to 1.
    pub fn shrinkage(&self) -> f64 {
        self.shrinkage
    }
}

/// Covariance (divided by n) of the finite rows, and the sum of the fourth powers of their centred norms.
pub(super) fn covariance(rows: &[f32], mean: &[f64], n: usize) -> (DMatrix<f64>, f64) {
    let dim = mean.len();
    let mut sum = DMatrix::zeros(dim, dim);
    let mut fourth_powers = 0.0;
    let finite: Vec<&[f32]> = product::finite_rows(rows, dim).collect();
    for block in finite.chunks(COVARIANCE_BLOCK) {
        let centred = DMatrix::from_fn(dim, block.len(), |axis, row| f64::from(block[row][axis]) - mean[axis]);
        fourth_powers += centred.column_iter().map(|column| column.norm_squared().powi(2)).sum::<f64>();
        sum.gemm(1.0, &centred, &centred.transpose(), 1.0);
    }
    (sum / n.max(1) as f64, fourth_powers)
}

/// `(1 - s) S + s mu I` with Ledoit & Wolf's s (2004, section 3.2; the formula as scikit-learn computes it).
fn shrink(covariance: DMatrix<f64>, fourth_powers: f64, n: usize) -> (DMatrix<f64>, f64) {
    let dim = covariance.nrows() as f64;
    let n = n.max(1) as f64;
    let mu = covariance.trace() / dim;
    let squares = covariance.norm_squared();
    let scatter = (fourth_powers / n - squares) / (dim * n);
    let distance = (squares - 2.0 * mu * covariance.trace() + dim * mu * mu) / dim;
    let scatter = scatter.min(distance);
    let shrinkage = if scatter > 0.0 { scatter / distance } else { 0.0 };
    let mut shrunk = covariance * (1.0 - shrinkage);
    (0..shrunk.nrows()).for_each(|axis| shrunk[(axis, axis)] += shrinkage * mu);
    (shrunk, shrinkage)
}

/// L^-1 of the covariance; where it has no Cholesky factor, of the covariance plus the least power of ten that gives it one.
fn whiten(covariance: &DMatrix<f64>, mean: &[f64]) -> DMatrix<f32> {
    let dim = covariance.nrows();
    let mean_square = mean.iter().map(|m| m * m).sum::<f64>() / dim as f64;
    // Single precision carries no differences smaller than this.
    let unit = (covariance.trace() / dim as f64).max(1e-8 * mean_square).max(1e-12);
    let factor = (0..16).map(|step| if step == 0 { 0.0 } else { unit * 10f64.powi(step - 11) }).find_map(|ridge| {
        let mut ridged = covariance.clone();
        (0..dim).for_each(|axis| ridged[(axis, axis)] += ridge);
        let least = (0..dim).map(|axis| ridged[(axis, axis)]).fold(f64::INFINITY, f64::min);
        if least < 1e-11 * unit { None } else { Cholesky::<f64, Dyn>::new(ridged) }
    });
    let factor = factor.map_or_else(|| DMatrix::identity(dim, dim), |factor| factor.l());
    let inverse = factor.solve_lower_triangular(&DMatrix::identity(dim, dim));
    inverse.unwrap_or_else(|| DMatrix::identity(dim, dim)).map(|value| value as f32)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::fixtures::{close, normals, table};

    #[test]
    fn equals_scikit_learn() {
        // LedoitWolf().fit(table(60, 6)); sqrt(.mahalanobis(rows[:3], rows[:1] + 10)); scikit-learn 1.9.1
        let rows = table(60, 6);
        let fitted = Mahalanobis::fit(&rows, 6);
        close(fitted.shrinkage(), 0.09891171010408888, 1e-9);
        let mut queries = rows[..18].to_vec();
        queries.extend(rows[..6].iter().map(|v| v + 10.0));
        let expected = [3.0523156461046947, 2.285996700760373, 2.4285914933369503, 37.190784533700175];
        for (got, expected) in fitted.distances(&queries).into_iter().zip(expected) {
            close(f64::from(got), expected, 1e-5);
        }
    }

    #[test]
    fn fewer_rows_than_columns_equals_scikit_learn() {
        // LedoitWolf().fit(table(5, 12)); sqrt(.mahalanobis(rows[:2] + 1))
        let rows = table(5, 12);
        let fitted = Mahalanobis::fit(&rows, 12);
        close(fitted.shrinkage(), 0.415948931314005, 1e-9);
        let queries: Vec<f32> = rows[..24].iter().map(|v| v + 1.0).collect();
        for (got, expected) in fitted.distances(&queries).into_iter().zip([8.09931942534889, 8.30516533546997]) {
            close(f64::from(got), expected, 1e-5);
        }
    }

    #[test]
    fn a_row_alone_gets_the_same_bits() {
        for dim in [1, 3, 6, 33] {
            let rows: Vec<f32> = normals(150 * dim, 4).into_iter().map(|v| v as f32 + 3.0).collect();
            let fitted = Mahalanobis::fit(&rows, dim);
            let alone: Vec<f32> = rows.chunks(dim).flat_map(|row| fitted.distances(row)).collect();
            assert_eq!(fitted.distances(&rows), alone);
        }
    }

    #[test]
    fn degenerate_rows() {
        assert_eq!(Mahalanobis::fit(&[], 2).distances(&[3.0, 4.0]).len(), 1);
        let constant = Mahalanobis::fit(&[5.0, 0.0, 5.0, 0.0, 5.0, 0.0], 2);
        let distances = constant.distances(&[5.0, 0.0, 5.1, 0.0, 6.0, 0.0]);
        assert!(distances[0] == 0.0 && distances[1] > 1.0 && distances[2] > distances[1], "{distances:?}");
        let mut rows = table(60, 6);
        let clean = Mahalanobis::fit(&rows, 6).distances(&rows[..6]);
        rows.extend([f32::NAN, 1.0, 1.0, f32::INFINITY, 0.0, 0.0]);
        assert_eq!(Mahalanobis::fit(&rows, 6).distances(&rows[..6]), clean);
        // A dead column that comes alive is far away.
        let dead: Vec<f32> = normals(2000, 8).into_iter().flat_map(|v| [v as f32, 0.0]).collect();
        let distances = Mahalanobis::fit(&dead, 2).distances(&[1.0, 0.0, 1.0, 1.0]);
        assert!(distances[0] < 1.2 && distances[1] > 10.0, "{distances:?}");
    }

    #[test]
    fn parts_make_the_same() {
        let rows = table(60, 6);
        let fitted = Mahalanobis::fit(&rows, 6);
        let back = Mahalanobis::from_parts(fitted.mean().to_vec(), &fitted.whitening(), fitted.shrinkage()).unwrap();
        assert_eq!(back.distances(&rows), fitted.distances(&rows));
        assert!(Mahalanobis::from_parts(vec![0.0; 2], &[1.0; 3], 0.0).is_none());
    }
}
