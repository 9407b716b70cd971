//! Augmentation declared by physical symmetry: a training tile as the instrument might as well have taken it.
//!
//! ```text
//! frame ─motion→ tile ─light→ tile        motion.rs: shift, mirror, turn, magnify, interpolated once
//!                                         light.rs:  brightness, noise, hidden rectangles
//! ```
//!
//! A tile's draw depends on the seed and its number alone, whichever thread makes it. Only batches that fit weights are
//! augmented: never validation, calibration or test.

mod light;
mod motion;

#[cfg(test)]
mod tests;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::pipeline::{Augment, ExtraNoise, Likelihood, Scaling, Spec};
use crate::prepare::Prepared;
use light::Instrument;
pub use motion::Motion;

/// What a pipeline declares, and what is needed to do it.
#[derive(Debug, Clone)]
pub struct Augmenter {
    augment: Augment,
    instrument: Option<Instrument>,
    clip: bool,
    size: usize,
    seed: u64,
    /// Never leaves a tile as it is where a mirror or a quarter turn is declared.
    always: bool,
}

/// Adds noise to a tile in scaled units: the instrument's, as the likelihood describes it, or Gaussian.
pub fn noisy(tile: &mut [f32], scaling: Scaling, (noise, law): (ExtraNoise, Likelihood), random: &mut ChaCha8Rng) {
    light::add_noise(tile, scaling, (noise, Instrument::of(law).as_ref()), random);
}

impl Augmenter {
    /// The pipeline's augmentation; `None` where it declares nothing.
    pub fn new(spec: &Spec) -> Option<Self> {
        Self::of(&spec.training.augment, spec)
    }

    /// One declared transformation alone, done to every frame: to see what it does.
    pub(super) fn examining(augment: &Augment, spec: &Spec) -> Option<Self> {
        Self::of(augment, spec).map(|augmenter| Self { always: true, ..augmenter })
    }

    /// Another augmentation than the pipeline's, on its input; `None` where it declares nothing.
    pub fn of(augment: &Augment, spec: &Spec) -> Option<Self> {
        (*augment != Augment::default()).then(|| Self {
            augment: *augment,
            always: false,
            instrument: Instrument::of(spec.model.likelihood),
            clip: spec.input.clip,
            size: spec.input.size,
            seed: spec.training.seed,
        })
    }

    /// The tile at `corner` as it might as well have been taken: `[channels, size, size]` to `out`, scaled units. Its
    /// surroundings in a larger frame move into it. `number` tells draws of one seed apart.
    pub fn tile(&self, frame: &Prepared, corner: (usize, usize), number: u64, out: &mut [f32]) {
        let mut random = self.random(number);
        let motion = Motion::draw(&self.augment, self.always, &mut random);
        if motion == Motion::NONE {
            frame.copy_tile(corner, self.size, out);
        } else {
            let window = (corner.0, corner.1, self.size, self.size);
            motion::warp(frame, window, &motion, self.instrument.as_ref(), &mut random, out);
        }
        self.light((self.size, self.size), 1, frame, &mut random, out);
    }

    /// A whole frame as it might as well have been taken; quarter turns take its tiles with it.
    pub fn frame(&self, frame: &Prepared, number: u64) -> Prepared {
        let mut random = self.random(number);
        let quarters = if self.augment.rotate90 { random.random_range(u8::from(self.always)..4) } else { 0 };
        let motion = Motion::draw(&Augment { rotate90: false, ..self.augment }, self.always, &mut random);
        let turned = motion::turned(frame, quarters, self.size);
        let (width, height) = (turned.width, turned.height);
        let mut moved = turned.clone();
        if motion != Motion::NONE {
            let window = (0, 0, width, height);
            motion::warp(&turned, window, &motion, self.instrument.as_ref(), &mut random, &mut moved.pixels);
        }
        self.light((width, height), turned.tiles.len(), frame, &mut random, &mut moved.pixels);
        moved
    }

    /// Brightness, noise and hidden rectangles, `tiles` times as many of these as in a tile.
    fn light(&self, size: (usize, usize), tiles: usize, frame: &Prepared, random: &mut ChaCha8Rng, pixels: &mut [f32]) {
        let (augment, instrument, scaling) = (&self.augment, self.instrument.as_ref(), frame.scaling);
        if augment.gain > 0.0 {
            let factor = random.random_range(1.0 - augment.gain..=1.0 + augment.gain);
            light::brighten(pixels, scaling, light::zero(instrument, scaling), factor);
        }
        if let Some(noise) = augment.noise {
            light::add_noise(pixels, scaling, (noise, instrument), random);
        }
        if let Some(mask) = augment.mask {
            light::hide(pixels, size, mask.count * tiles, mask.side, random);
        }
        if self.clip {
            pixels.iter_mut().for_each(|value| *value = value.clamp(0.0, 1.0));
        }
    }

    /// Stream 0 of the seed is the training loop's.
    fn random(&self, number: u64) -> ChaCha8Rng {
        let mut random = ChaCha8Rng::seed_from_u64(self.seed);
        random.set_stream(number.wrapping_add(1));
        random
    }
}
