//! Statistics: tails, certificates, distances, metrics. Pure functions, each with its source.
//!
//! Scores to promises: [`conformal`] (p-values, certified thresholds), [`gpd`] and [`tail`] (what one component's value is
//! worth, and estimates beyond the sample). Vectors to distances: [`gaussian`], [`tied`], [`knn`], [`regression`]; to maps: [`pca`], [`tsne`].
//! Verdicts to figures: [`metrics`], [`classes`]; images to figures: [`fidelity`], [`pixels`]; samples to a verdict: [`two_sample`],
//! [`paired`], [`fisher`], and what a threshold owes to its draw: [`redraw`]. Statistics are in f64; only the products over many
//! vectors are in f32.

pub mod conformal;
pub mod gpd;
pub mod tail;

pub mod gaussian;
pub mod knn;
pub mod outlier;
pub mod pca;
pub mod regression;
pub mod tied;
pub mod tsne;

pub mod classes;
pub mod fidelity;
pub mod fisher;
pub mod metrics;
pub mod paired;
pub mod pixels;
pub mod redraw;
pub mod two_sample;

mod beta;
mod product;

#[cfg(test)]
mod fixtures {
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;
    use rand_distr::{Distribution, StandardNormal};

    /// `table` of tests/reference/stats_reference.py: rows with structure, exact in single precision.
    pub fn table(n: usize, dim: usize) -> Vec<f32> {
        let value = |i: usize, j: usize| {
            let noise = ((i * i * 7 + i * 13 + j * j * 5 + i * j * 11 + j * 3) % 101) as f32 - 50.0;
            (noise + (20 * (i % 7) * (j % 2) + 64 * j) as f32) / 64.0
        };
        (0..n).flat_map(|i| (0..dim).map(move |j| value(i, j))).collect()
    }

    pub fn normals(n: usize, seed: u64) -> Vec<f64> {
        StandardNormal.sample_iter(ChaCha8Rng::seed_from_u64(seed)).take(n).collect()
    }

    pub fn close(got: f64, expected: f64, relative: f64) {
        assert!((got - expected).abs() <= relative * expected.abs().max(1e-12), "{got} is not {expected}");
    }
}
