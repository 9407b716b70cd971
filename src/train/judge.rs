//! How a network does on tiles that are not augmented, with the latent at its mean; and what its latent units carry.

use serde::{Deserialize, Serialize};

use super::data::Sample;
use super::fit::{TileRef, gather};
use crate::error::Result;
use crate::measure::kl;
use crate::model::Autoencoder;

/// Images inferred at once.
const INFER_BATCH: usize = 64;
/// A latent unit is active when its posterior mean varies at least this much over the data (Burda et al. 2016).
pub const ACTIVE_VARIANCE: f64 = 0.01;

/// Losses of some tiles: means a tile, in nats.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Loss {
    /// Reconstruction loss.
    pub nll: f64,
    /// KL of the posterior from the prior.
    pub kl: f64,
    /// Standard error of the mean of `nll + beta * kl`, at the pipeline's full beta.
    pub error: f64,
}

/// What each latent unit carries; of a map, a unit is a value of it, `[dim, h, w]`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Latent {
    /// Mean KL of each unit's posterior from the prior, nats; empty where the encoder gives a point.
    pub kl: Vec<f32>,
    /// Variance of each unit's posterior mean over the tiles.
    pub variance: Vec<f32>,
}

impl Latent {
    /// Units whose mean varies over the tiles.
    pub fn active(&self) -> usize {
        self.variance.iter().filter(|&&variance| f64::from(variance) > ACTIVE_VARIANCE).count()
    }
}

/// Sums over tiles.
struct Sums {
    beta: f64,
    nll: f64,
    kl: f64,
    squares: f64,
    units: Vec<[f64; 3]>,
}

/// Mean losses of the tiles under the present weights, and what the latent units carry over them.
///
/// # Errors
/// [`crate::error::Kind::Internal`] when the device fails.
pub fn judge(model: &mut Autoencoder, samples: &[Sample], tiles: &[TileRef], beta: f32) -> Result<(Loss, Latent)> {
    let units = vec![[0.0; 3]; model.latent_len()];
    let mut sums = Sums { beta: f64::from(beta), nll: 0.0, kl: 0.0, squares: 0.0, units };
    let (image, latent) = (model.image_len(), model.latent_len());
    for batch in tiles.chunks(INFER_BATCH) {
        let x = gather(samples, batch, model);
        let inference = model.reconstruct(&x)?;
        let observation = model.observation();
        let outputs = x.chunks_exact(image).zip(inference.output.chunks_exact(image));
        let mut log_vars = inference.log_var.chunks_exact(latent);
        for ((x, output), mean) in outputs.zip(inference.mean.chunks_exact(latent)) {
            sums.add(observation.nll(x, output), mean, log_vars.next().unwrap_or_default());
        }
    }
    Ok(sums.finish(tiles.len().max(1) as f64, model.is_variational()))
}

impl Sums {
    fn add(&mut self, nll: f64, mean: &[f32], log_var: &[f32]) {
        let divergence = kl(mean, log_var);
        self.nll += nll;
        self.kl += divergence;
        self.squares += (nll + self.beta * divergence).powi(2);
        for (at, (unit, &z)) in self.units.iter_mut().zip(mean).enumerate() {
            let own = log_var.get(at..=at).map_or(0.0, |log_var| kl(&[z], log_var));
            let terms = [f64::from(z), f64::from(z).powi(2), own];
            unit.iter_mut().zip(terms).for_each(|(sum, term)| *sum += term);
        }
    }

    fn finish(self, count: f64, is_variational: bool) -> (Loss, Latent) {
        let (nll, kl) = (self.nll / count, self.kl / count);
        let variance = (self.squares / count - (nll + self.beta * kl).powi(2)).max(0.0);
        let spread = |[sum, squares, _]: &[f64; 3]| (squares / count - (sum / count).powi(2)).max(0.0) as f32;
        let latent = Latent {
            kl: if is_variational { self.units.iter().map(|unit| (unit[2] / count) as f32).collect() } else { vec![] },
            variance: self.units.iter().map(spread).collect(),
        };
        (Loss { nll, kl, error: (variance / count).sqrt() }, latent)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_come_to_means_their_error_and_what_each_unit_carries() {
        let mut sums = Sums { beta: 0.5, nll: 0.0, kl: 0.0, squares: 0.0, units: vec![[0.0; 3]; 2] };
        // The first unit tells the tiles apart, the second keeps the prior; KL of N(+-2, 1) from N(0, 1) is 2.
        sums.add(10.0, &[2.0, 0.0], &[0.0, 0.0]);
        sums.add(14.0, &[-2.0, 0.0], &[0.0, 0.0]);
        let (loss, latent) = sums.finish(2.0, true);
        assert_eq!((loss.nll, loss.kl), (12.0, 2.0));
        assert!((loss.error - 2.0 / 2f64.sqrt()).abs() < 1e-9, "{loss:?}");
        assert_eq!(latent, Latent { kl: vec![2.0, 0.0], variance: vec![4.0, 0.0] });
        assert_eq!(latent.active(), 1);
    }

    #[test]
    fn a_point_has_no_divergence() {
        let mut sums = Sums { beta: 1.0, nll: 0.0, kl: 0.0, squares: 0.0, units: vec![[0.0; 3]; 1] };
        sums.add(3.0, &[1.0], &[]);
        let (loss, latent) = sums.finish(1.0, false);
        assert_eq!((loss.kl, loss.error), (0.0, 0.0));
        assert!(latent.kl.is_empty() && latent.variance.len() == 1);
    }
}
