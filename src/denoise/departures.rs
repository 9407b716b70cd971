//! Where a denoised pixel departs from the input by more than the noise allows: what a denoiser took away that was no noise,
//! or put there.

use std::f64::consts::SQRT_2;

use statrs::function::erf::erfc_inv;

use crate::model::Observation;
use crate::pipeline::{Likelihood, Scaling};

/// Expected number of pixels beyond the limit in a frame of nothing but noise.
const FALSE_A_FRAME: f64 = 1e-2;
/// Most departing pixels of a frame that are listed.
const LISTED: usize = 256;

/// Pixels of a frame beyond the limit.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Departures {
    /// How many.
    pub count: usize,
    /// Largest deviation of any pixel, in units of the noise.
    pub largest: f32,
    /// Places in `[height, width]` of those that depart, the furthest first, at most 256.
    pub pixels: Vec<u32>,
}

/// What noise is.
#[derive(Debug, Clone, Copy)]
pub struct Noise<'a> {
    /// The law of a pixel.
    pub law: &'a Observation,
    /// What the pipeline calls it.
    pub likelihood: Likelihood,
    /// Between physical and scaled units.
    pub scaling: Scaling,
}

/// Deviation in units of the noise that a frame of `values` Gaussian ones has beyond it 0.01 times on average, of either sign.
pub fn limit(values: usize) -> f64 {
    SQRT_2 * erfc_inv(FALSE_A_FRAME / values.max(1) as f64)
}

/// Compares input and denoised image, `[channels, height, width]` with `plane` pixels a channel, scaled units.
///
/// Counted photons are skewed to the bright side; the limit moves with them by the first term of the Cornish-Fisher
/// expansion, `k + (k^2 - 1) skewness / 6` (Abramowitz & Stegun 26.2.49).
pub fn departures(noise: Noise, x: &[f32], x_hat: &[f32], plane: usize) -> Departures {
    let k = limit(x.len());
    let mut residual = vec![0.0; x.len()];
    noise.law.residual(x, &outputs(noise.likelihood, x_hat), &mut residual);
    let beyond = |(at, &r): (usize, &f32)| {
        let bend = (k * k - 1.0) * noise.skewness(x_hat[at]) / 6.0;
        let r = f64::from(r);
        (r > k + bend || r < -(k - bend)).then_some(at)
    };
    let mut pixels: Vec<usize> = residual.iter().enumerate().filter_map(beyond).collect();
    pixels.sort_by(|&a, &b| residual[b].abs().total_cmp(&residual[a].abs()));
    let count = pixels.len();
    pixels.truncate(LISTED);
    Departures {
        count,
        largest: residual.iter().fold(0.0, |largest, r| r.abs().max(largest)),
        pixels: pixels.into_iter().map(|at| (at % plane.max(1)) as u32).collect(),
    }
}

impl Noise<'_> {
    /// Third cumulant over the cube of the standard deviation, at this mean.
    fn skewness(&self, mean: f32) -> f64 {
        let Likelihood::PoissonGaussian { gain, read_noise, offset, model_error } = self.likelihood else { return 0.0 };
        let [gain, read_noise, model_error] = [gain, read_noise, model_error].map(f64::from);
        let signal = f64::from(self.scaling.unscale(mean) - offset).max(0.0);
        let variance = gain * signal + read_noise.powi(2) + (model_error * signal).powi(2);
        gain * gain * signal / variance.powf(1.5)
    }
}

/// The network's outputs that mean these images.
fn outputs(likelihood: Likelihood, x_hat: &[f32]) -> Vec<f32> {
    match likelihood {
        Likelihood::Bernoulli => {
            x_hat.iter().map(|p| p.clamp(1e-6, 1.0 - 1e-6)).map(|p| (p / (1.0 - p)).ln()).collect()
        }
        Likelihood::Gaussian | Likelihood::PoissonGaussian { .. } => x_hat.to_vec(),
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;
    use rand_distr::{Distribution, Poisson, StandardNormal};

    use super::*;

    const SIDE: usize = 64;
    const COUNTS: Likelihood =
        Likelihood::PoissonGaussian { gain: 1.0, read_noise: 5.0, offset: 0.0, model_error: 0.0 };
    const SCALING: Scaling = Scaling::Asinh { black: 200.0, scale: 15.0 };

    fn find(x: &[f32], x_hat: &[f32]) -> Departures {
        let law = Observation::new(COUNTS, SCALING, 1, &[]);
        departures(Noise { law: &law, likelihood: COUNTS, scaling: SCALING }, x, x_hat, SIDE * SIDE)
    }

    fn frame(seed: u64, mean: f32) -> Vec<f32> {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let counts = Poisson::new(mean).unwrap();
        let value = |_| {
            let read: f32 = StandardNormal.sample(&mut random);
            SCALING.scale(counts.sample(&mut random) + 5.0 * read)
        };
        (0..SIDE * SIDE).map(value).collect()
    }

    /// `scipy.stats.norm.isf(0.005 / n)` for n = 1 and 4096.
    #[test]
    fn the_limit_is_scipys() {
        assert!((limit(1) - 2.575_829_303_548_900_4).abs() < 1e-6, "{}", limit(1));
        assert!((limit(4096) - 4.712_962_929_092_799).abs() < 1e-6, "{}", limit(4096));
    }

    #[test]
    fn noise_alone_departs_as_seldom_as_promised() {
        let found: usize = (0..400).map(|seed| find(&frame(seed, 200.0), &vec![0.0; SIDE * SIDE]).count).sum();
        // 4 expected; more than 11 has a probability of 0.001.
        assert!(found <= 11, "{found} of 400 frames");
    }

    #[test]
    fn what_a_denoiser_takes_away_and_what_it_puts_there_are_found() {
        let (mut x, mut x_hat) = (frame(1, 200.0), vec![0.0; SIDE * SIDE]);
        x[700] = SCALING.scale(200.0 + 9.0 * 15.0);
        x_hat[900] = SCALING.scale(200.0 + 12.0 * 15.0);
        x[900] = SCALING.scale(200.0);
        let found = find(&x, &x_hat);
        assert_eq!((found.count, found.pixels), (2, vec![700, 900]));
        assert!((found.largest - 9.0).abs() < 0.01, "{}", found.largest);
    }
}
