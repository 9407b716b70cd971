//! What changes the values of a tile and not their places: brightness, noise, hidden rectangles.

use rand::Rng;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, Poisson, StandardNormal};

use crate::pipeline::{ExtraNoise, Likelihood, Scaling};

/// The noise of a detector, physical units: `variance = gain * signal + read_noise^2` at a `signal` above `offset`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Instrument {
    pub gain: f32,
    pub read_noise: f32,
    pub offset: f32,
}

impl Instrument {
    /// The detector that a likelihood describes; none where it describes none.
    pub(super) fn of(likelihood: Likelihood) -> Option<Self> {
        match likelihood {
            Likelihood::PoissonGaussian { gain, read_noise, offset, .. } => Some(Self { gain, read_noise, offset }),
            Likelihood::Bernoulli | Likelihood::Gaussian => None,
        }
    }

    fn signal(&self, value: f32) -> f32 {
        (value - self.offset).max(0.0)
    }

    /// A deviate with this share of the noise's variance at `value`, Gaussian.
    pub(super) fn gaussian(&self, value: f32, share: f32, random: &mut ChaCha8Rng) -> f32 {
        let variance = self.gain * self.signal(value) + self.read_noise * self.read_noise;
        let z: f32 = StandardNormal.sample(random);
        (share * variance).sqrt() * z
    }

    /// A deviate of the noise at `value`: photons counted, then read out.
    fn deviate(&self, value: f32, random: &mut ChaCha8Rng) -> f32 {
        let expected = f64::from(self.signal(value) / self.gain);
        // No distribution has a mean of 0: then nothing is counted.
        let counted = Poisson::new(expected).map_or(expected, |counts| counts.sample(random));
        let z: f32 = StandardNormal.sample(random);
        (counted - expected) as f32 * self.gain + self.read_noise * z
    }
}

/// Multiplies the signal above `zero` by `factor`; `tile` in scaled units.
pub(super) fn brighten(tile: &mut [f32], scaling: Scaling, zero: f32, factor: f32) {
    for value in tile {
        *value = scaling.scale(zero + factor * (scaling.unscale(*value) - zero));
    }
}

/// The value that means no light: the detector's electronic zero, else the scaling's black.
pub(super) fn zero(instrument: Option<&Instrument>, scaling: Scaling) -> f32 {
    match (instrument, scaling) {
        (Some(instrument), _) => instrument.offset,
        (None, Scaling::Linear { black, .. } | Scaling::Asinh { black, .. } | Scaling::Log { black, .. }) => black,
        (None, Scaling::PerFrame) => 0.0,
    }
}

/// Adds noise in physical units; `tile` in scaled units.
pub(super) fn add_noise(
    tile: &mut [f32],
    scaling: Scaling,
    (noise, instrument): (ExtraNoise, Option<&Instrument>),
    random: &mut ChaCha8Rng,
) {
    for value in tile {
        let v = scaling.unscale(*value);
        let deviate = match (noise, instrument) {
            (ExtraNoise::Instrument(share), Some(instrument)) => share * instrument.deviate(v, random),
            (ExtraNoise::Instrument(_), None) => 0.0,
            (ExtraNoise::Gaussian(sigma), _) => sigma * Distribution::<f32>::sample(&StandardNormal, random),
        };
        *value = scaling.scale(v + deviate);
    }
}

/// Hides `count` rectangles with sides up to `side` behind the background: each channel's median.
pub(super) fn hide(
    tile: &mut [f32],
    (width, height): (usize, usize),
    count: usize,
    side: usize,
    random: &mut ChaCha8Rng,
) {
    let background: Vec<f32> = tile.chunks_exact(width * height).map(median).collect();
    for _ in 0..count {
        let (across, down) = (random.random_range(1..=side.min(width)), random.random_range(1..=side.min(height)));
        let (left, top) = (random.random_range(0..=width - across), random.random_range(0..=height - down));
        for (plane, background) in tile.chunks_exact_mut(width * height).zip(&background) {
            for row in top..top + down {
                plane[row * width + left..][..across].fill(*background);
            }
        }
    }
}

fn median(values: &[f32]) -> f32 {
    let mut values = values.to_vec();
    let middle = values.len() / 2;
    *values.select_nth_unstable_by(middle, f32::total_cmp).1
}
