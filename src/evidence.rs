//! How probable images are under a variational model: the evidence lower bound, and a tighter one by importance weights.

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Bernoulli, Distribution, StandardNormal};
use serde::Serialize;

use crate::error::{Failure, Kind, Result};
use crate::model::Autoencoder;
use crate::prepare::Prepared;

/// Latents decoded at once.
const DECODED: usize = 256;

/// Bounds on `-ln p(x)`, nats a tile, means over the tiles.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Evidence {
    /// Tiles measured.
    pub tiles: usize,
    /// Latents drawn a tile.
    pub draws: usize,
    /// Reconstruction loss, over latents drawn from the posterior.
    pub reconstruction_nll: f64,
    /// KL of the posterior from the prior; of a prior of classes the bound that needs no label ([`crate::model::prior`]).
    pub kl: f64,
    /// `-ELBO`, their sum: an upper bound of `-ln p(x)` (Kingma & Welling 2013, eq. 3).
    pub negative_elbo: f64,
    /// The importance-weighted bound with all draws, tighter (Burda, Grosse & Salakhutdinov 2015, arXiv:1509.00519, eq. 8).
    pub importance_weighted: f64,
    /// Standard error of `importance_weighted` from the choice of tiles.
    pub standard_error: f64,
}

/// Measures every tile of some frames with `draws` latents each, a function of the seed. `binarise` first makes each
/// value, a number in [0, 1], a one with that probability and a zero otherwise, as published figures on MNIST do.
///
/// # Errors
/// [`Kind::Model`] for a model without a distribution over its latents; [`Kind::Data`] for values that cannot be binarised;
/// [`Kind::Internal`] when the device fails.
pub fn evidence(
    model: &mut Autoencoder,
    frames: &[Prepared],
    (draws, binarise, seed): (usize, bool, u64),
    mut on: impl FnMut(usize),
) -> Result<Evidence> {
    if !model.is_variational() {
        return Err(Failure::new(
            Kind::Model,
            "the model gives a point in latent space, not a distribution: it has no evidence bound",
        )
        .hint("train a pipeline of kind vae, or dense with variational = true"));
    }
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let mut tiles = Vec::new();
    for frame in frames {
        for &corner in &frame.tiles {
            let mut x = vec![0.0; model.image_len()];
            frame.copy_tile(corner, model.size(), &mut x);
            if binarise {
                binarise_tile(&mut x, &mut random)?;
            }
            tiles.push(tile(model, &x, draws, &mut random)?);
            on(tiles.len());
        }
    }
    Ok(summary(&tiles, draws))
}

/// Of one tile: reconstruction loss, KL, importance-weighted bound; nats.
fn tile(model: &mut Autoencoder, x: &[f32], draws: usize, random: &mut ChaCha8Rng) -> Result<[f64; 3]> {
    let latent = model.latent_len();
    let posterior = model.reconstruct(x)?;
    let observation = model.observation();
    let (mut nll, mut weights) = (0.0, Vec::with_capacity(draws));
    let mut left = draws;
    while left > 0 {
        let count = left.min(DECODED);
        left -= count;
        let noise: Vec<f32> = StandardNormal.sample_iter(&mut *random).take(count * latent).collect();
        let draw = |(index, e): (usize, &f32)| {
            posterior.mean[index % latent] + (0.5 * posterior.log_var[index % latent]).exp() * e
        };
        let z: Vec<f32> = noise.iter().enumerate().map(draw).collect();
        let outputs = model.decode(&z)?;
        let rows = outputs.chunks_exact(x.len()).zip(z.chunks_exact(latent)).zip(noise.chunks_exact(latent));
        for ((output, z), e) in rows {
            let loss = observation.nll(x, output);
            nll += loss;
            // ln p(z) - ln q(z | x): the constants of the normal laws cancel.
            let posterior: f64 = e.iter().zip(&posterior.log_var).map(|(e, v)| log_posterior(*e, *v)).sum();
            weights.push(model.prior().log_density(z) - posterior - loss);
        }
    }
    let kl = model.prior().kl(&posterior.mean, &posterior.log_var, None);
    Ok([nll / draws as f64, kl, -log_mean_exp(&weights)])
}

/// `ln q` of one value of a latent drawn with noise `e`, without the constant.
fn log_posterior(e: f32, log_var: f32) -> f64 {
    -0.5 * (f64::from(log_var) + f64::from(e).powi(2))
}

/// `ln` of the mean of exponentials, without leaving the range of f64.
fn log_mean_exp(values: &[f64]) -> f64 {
    let largest = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let mean = values.iter().map(|value| (value - largest).exp()).sum::<f64>() / values.len() as f64;
    largest + mean.ln()
}

fn binarise_tile(x: &mut [f32], random: &mut ChaCha8Rng) -> Result<()> {
    for value in x {
        let law = Bernoulli::new(f64::from(*value)).map_err(|_| {
            Failure::new(Kind::Data, format!("a value of {value} cannot be binarised: it must lie in [0, 1]"))
                .hint("binarise pipelines with input.clip = true only")
        })?;
        *value = f32::from(u8::from(law.sample(random)));
    }
    Ok(())
}

fn summary(tiles: &[[f64; 3]], draws: usize) -> Evidence {
    let count = tiles.len() as f64;
    let mean = |index: usize| tiles.iter().map(|tile| tile[index]).sum::<f64>() / count;
    let [reconstruction_nll, kl, importance_weighted] = [mean(0), mean(1), mean(2)];
    let variance = tiles.iter().map(|tile| (tile[2] - importance_weighted).powi(2)).sum::<f64>() / (count - 1.0);
    Evidence {
        tiles: tiles.len(),
        draws,
        reconstruction_nll,
        kl,
        negative_elbo: reconstruction_nll + kl,
        importance_weighted,
        standard_error: (variance / count).sqrt(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Device;
    use crate::pipeline::{Input, Model, Scaling};

    fn model(kind: &str) -> Autoencoder {
        let text = format!(
            "kind = {kind:?}\nchannels = [4]\nnorm = \"none\"\nlatent = {{ kind = \"vector\", dim = 1 }}\nbeta = 1.0\n\
             likelihood = {{ kind = \"bernoulli\" }}"
        );
        let model: Model = toml::from_str(&text).unwrap();
        let scaling = Scaling::Linear { black: 0.0, white: 1.0 };
        let input = Input {
            size: 4,
            channels: 1,
            scaling,
            resize: false,
            clip: true,
            tile: None,
            max_blank: 0.1,
            filters: vec![],
        };
        Autoencoder::new(&model, &input, 5, Device::Cpu).unwrap()
    }

    fn frame(value: f32) -> Prepared {
        let scaling = Scaling::Linear { black: 0.0, white: 1.0 };
        Prepared {
            width: 4,
            height: 4,
            channels: 1,
            pixels: vec![value; 16],
            tiles: vec![(0, 0)],
            in_file: [4, 4],
            scaling,
        }
    }

    #[test]
    fn many_draws_come_to_the_integral() {
        let mut model = model("vae");
        let x = frame(0.75);
        // The evidence itself: the integral of p(x | z) p(z) over the one latent, by the trapezium rule.
        let step = 0.01;
        let z: Vec<f32> = (-800..=800).map(|index| index as f32 * step).collect();
        let outputs = model.decode(&z).unwrap();
        let observation = model.observation();
        let terms = outputs.chunks_exact(16).zip(&z).map(|(output, z)| {
            let prior = (-0.5 * f64::from(z * z)).exp() / std::f64::consts::TAU.sqrt();
            (-observation.nll(&x.pixels, output)).exp() * prior * f64::from(step)
        });
        let exact = -terms.sum::<f64>().ln();
        let found = evidence(&mut model, &[x], (20_000, false, 1), |_| ()).unwrap();
        assert!((found.importance_weighted - exact).abs() < 0.01, "{found:?} {exact}");
        assert!(found.negative_elbo > exact, "{found:?} {exact}");
    }

    #[test]
    fn more_draws_are_never_looser() {
        let mut model = model("vae");
        let frames: Vec<Prepared> = (1..20).map(|index| frame(index as f32 / 20.0)).collect();
        let bound = |model: &mut Autoencoder, draws| evidence(model, &frames, (draws, true, 3), |_| ()).unwrap();
        let (one, many) = (bound(&mut model, 1), bound(&mut model, 200));
        assert!(many.importance_weighted < one.importance_weighted);
        assert_eq!(many.tiles, 19);
    }

    #[test]
    fn what_has_no_distribution_is_refused() {
        assert_eq!(evidence(&mut model("ae"), &[frame(0.5)], (1, false, 1), |_| ()).unwrap_err().kind, Kind::Model);
        let failure = evidence(&mut model("vae"), &[frame(1.5)], (1, true, 1), |_| ()).unwrap_err();
        assert!(failure.message.contains("1.5"), "{failure}");
    }
}
