//! The one training loop: shuffled batches, KL warm-up, cosine step size, early stopping, best weights kept.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::augment::Augmenter;
use super::data::Sample;
use crate::error::{Failure, Kind, Result};
use crate::measure::kl;
use crate::model::{Autoencoder, Step, Weights};
use crate::pipeline::{Spec, Training};

/// Images inferred at once.
const INFER_BATCH: usize = 64;
/// Most validation tiles an epoch is judged by: their loss moves by far less than epochs differ.
const VALIDATION_TILES: usize = 4096;
/// A latent unit is active when its posterior mean varies at least this much over the data (Burda et al. 2016).
const ACTIVE_VARIANCE: f64 = 0.01;
/// The step size ends at this share of its height.
const FINAL_RATE: f32 = 0.01;

/// A tile of a sample.
#[derive(Debug, Clone, Copy)]
pub struct TileRef {
    /// Which sample.
    pub sample: usize,
    /// Which of its tiles.
    pub tile: usize,
}

/// What one epoch came to; losses are means a tile, in nats.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Epoch {
    /// From 1.
    pub epoch: usize,
    /// Weight of the KL term at the epoch's end.
    pub beta: f32,
    /// Step size at the epoch's end.
    pub learning_rate: f32,
    /// Reconstruction loss on train, sampled latent.
    pub train_nll: f64,
    /// KL on train.
    pub train_kl: f64,
    /// Reconstruction loss on validation, latent at its mean.
    pub validation_nll: f64,
    /// KL on validation.
    pub validation_kl: f64,
    /// Latent units whose mean varies over the validation tiles.
    pub active_units: usize,
    /// Mean global norm of the gradient before clipping.
    pub gradient_norm: f64,
    /// Tiles trained a second.
    pub images_per_s: f64,
}

impl Epoch {
    /// What early stopping compares: the validation loss at the pipeline's full beta.
    pub fn validation_loss(&self, beta: f32) -> f64 {
        self.validation_nll + f64::from(beta) * self.validation_kl
    }
}

/// What happens during a fit, for progress bars and logs.
#[derive(Debug)]
pub enum Event<'a> {
    /// A step was made: steps done, steps of the whole fit at most, and its `-ELBO` a tile.
    Step(usize, usize, f64),
    /// An epoch ended.
    Epoch(&'a Epoch),
}

/// How a fit ended.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct History {
    /// Every epoch.
    pub epochs: Vec<Epoch>,
    /// The epoch whose weights were kept, from 1.
    pub best: usize,
    /// Why it stopped.
    pub end: End,
}

/// Why a fit stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum End {
    /// All epochs were run.
    Epochs,
    /// Validation did not improve for `patience` epochs.
    EarlyStop,
    /// The user interrupted.
    Interrupted,
}

/// Fits `model` to the tiles of `train`, augmented as the pipeline declares, judged by `validation`; leaves the best weights
/// in it.
///
/// The same seed gives the same weights, bit for bit, on the same machine.
///
/// # Errors
/// [`Kind::Data`] when the loss stops being a number; [`Kind::Interrupted`] when stopped before the first epoch ended.
pub fn fit(
    model: &mut Autoencoder,
    samples: &[Sample],
    (train, validation): (&[TileRef], &[TileRef]),
    spec: &Spec,
    stop: &AtomicBool,
    on: &mut dyn FnMut(Event),
) -> Result<History> {
    let (training, beta) = (&spec.training, spec.model.beta);
    let augmenter = Augmenter::new(spec);
    let mut random = ChaCha8Rng::seed_from_u64(training.seed);
    let mut order = train.to_vec();
    let per_epoch = training.tiles_per_epoch.unwrap_or(order.len()).min(order.len());
    let steps = per_epoch.div_ceil(training.batch_size);
    let judged = evenly(validation, VALIDATION_TILES);
    let mut best: Option<(usize, f64, Weights)> = None;
    let mut epochs = Vec::new();
    let mut end = End::Epochs;
    for epoch in 1..=training.epochs {
        order.shuffle(&mut random);
        let (start, mut sums) = (Instant::now(), [0.0; 3]);
        let mut last = Step { learning_rate: 0.0, weight_decay: 0.0, l1: 0.0, clip_norm: 0.0, beta };
        for (step, batch) in order[..per_epoch].chunks(training.batch_size).enumerate() {
            if stop.load(Ordering::Relaxed) {
                end = End::Interrupted;
                break;
            }
            let done = (epoch - 1) * steps + step;
            last = schedule(training, beta, done, steps);
            let x = match &augmenter {
                Some(augmenter) => augmented(augmenter, samples, batch, (done * training.batch_size) as u64, model),
                None => gather(samples, batch, model),
            };
            let noise: Vec<f32> =
                StandardNormal.sample_iter(&mut random).take(batch.len() * model.noise_len()).collect();
            let loss = model.train_step(&x, &x, &noise, &last)?;
            let total = loss.nll + f64::from(last.beta) * loss.kl;
            if !total.is_finite() {
                return Err(Failure::new(Kind::Data, format!("the loss is no number any more in epoch {epoch}")).hint(
                    "lower training.learning_rate or training.clip_norm, or check input.scaling against the data",
                ));
            }
            let share = batch.len() as f64 / per_epoch as f64;
            let terms = [loss.nll, loss.kl, loss.gradient_norm];
            sums.iter_mut().zip(terms).for_each(|(sum, term)| *sum += share * term);
            on(Event::Step(done + 1, steps * training.epochs, total));
        }
        if end == End::Interrupted {
            break;
        }
        let images_per_s = per_epoch as f64 / start.elapsed().as_secs_f64();
        let (validation_nll, validation_kl, active_units) = judge(model, samples, &judged)?;
        let entry = Epoch {
            epoch,
            beta: last.beta,
            learning_rate: last.learning_rate,
            train_nll: sums[0],
            train_kl: sums[1],
            validation_nll,
            validation_kl,
            active_units,
            gradient_norm: sums[2],
            images_per_s,
        };
        on(Event::Epoch(&entry));
        let loss = entry.validation_loss(beta);
        epochs.push(entry);
        // Before beta has risen, a low loss only says that the KL term was not asked for yet.
        let warm = epoch as f32 >= training.warmup_epochs;
        if best.as_ref().is_none_or(|(at, lowest, _)| loss < *lowest || (*at as f32) < training.warmup_epochs) {
            best = Some((epoch, loss, model.snapshot()?));
        }
        if warm && best.as_ref().is_some_and(|(at, ..)| epoch - at >= training.patience) {
            end = End::EarlyStop;
            break;
        }
    }
    let Some((best, _, weights)) = best else {
        return Err(Failure::new(Kind::Interrupted, "stopped before the first epoch ended; nothing to keep"));
    };
    model.restore(&weights)?;
    Ok(History { epochs, best, end })
}

/// The step after `done` of them: cosine step size, beta rising linearly over the warm-up.
fn schedule(training: &Training, beta: f32, done: usize, steps_an_epoch: usize) -> Step {
    let whole = (training.epochs * steps_an_epoch) as f32;
    let cosine = 0.5 * (1.0 + (std::f32::consts::PI * done as f32 / whole).cos());
    let warm = (done as f32 + 1.0) / (training.warmup_epochs * steps_an_epoch as f32).max(1.0);
    Step {
        learning_rate: training.learning_rate * (FINAL_RATE + (1.0 - FINAL_RATE) * cosine),
        weight_decay: training.weight_decay,
        l1: training.l1,
        clip_norm: training.clip_norm,
        beta: beta * warm.min(1.0),
    }
}

/// Mean reconstruction loss and KL a tile, and the number of active latent units.
fn judge(model: &mut Autoencoder, samples: &[Sample], tiles: &[TileRef]) -> Result<(f64, f64, usize)> {
    let latent = model.latent_len();
    let (mut nll, mut divergence) = (0.0, 0.0);
    let mut moments = vec![[0.0f64; 2]; latent];
    for batch in tiles.chunks(INFER_BATCH) {
        let x = gather(samples, batch, model);
        let inference = model.reconstruct(&x)?;
        let observation = model.observation();
        let image = x.len() / batch.len();
        for (x, output) in x.chunks_exact(image).zip(inference.output.chunks_exact(image)) {
            nll += observation.nll(x, output);
        }
        divergence += kl(&inference.mean, &inference.log_var);
        for mean in inference.mean.chunks_exact(latent) {
            moments.iter_mut().zip(mean).for_each(|(moment, &z)| {
                moment[0] += f64::from(z);
                moment[1] += f64::from(z).powi(2);
            });
        }
    }
    let count = tiles.len().max(1) as f64;
    let variance = |moment: &[f64; 2]| moment[1] / count - (moment[0] / count).powi(2);
    let active = moments.iter().filter(|moment| variance(moment) > ACTIVE_VARIANCE).count();
    Ok((nll / count, divergence / count, active))
}

/// Copies tiles into one batch, `[N, C, S, S]`.
pub fn gather(samples: &[Sample], tiles: &[TileRef], model: &Autoencoder) -> Vec<f32> {
    let size = model.size();
    let image = model.image_len();
    let mut batch = vec![0.0; tiles.len() * image];
    for (tile, out) in tiles.iter().zip(batch.chunks_exact_mut(image)) {
        let prepared = &samples[tile.sample].prepared;
        prepared.copy_tile(prepared.tiles[tile.tile], size, out);
    }
    batch
}

/// [`gather`] with every tile as it might as well have been taken; `number` is the first tile's.
fn augmented(
    augmenter: &Augmenter,
    samples: &[Sample],
    tiles: &[TileRef],
    number: u64,
    model: &Autoencoder,
) -> Vec<f32> {
    let image = model.image_len();
    let mut batch = vec![0.0; tiles.len() * image];
    batch.par_chunks_exact_mut(image).zip(tiles).enumerate().for_each(|(at, (out, tile))| {
        let prepared = &samples[tile.sample].prepared;
        augmenter.tile(prepared, prepared.tiles[tile.tile], number + at as u64, out);
    });
    batch
}

/// At most `count` of the tiles, evenly spread.
pub fn evenly(tiles: &[TileRef], count: usize) -> Vec<TileRef> {
    let step = tiles.len().div_ceil(count).max(1);
    tiles.iter().step_by(step).copied().collect()
}

/// All tiles of some samples.
pub fn tiles_of(samples: &[Sample], indices: &[usize]) -> Vec<TileRef> {
    let each = |&sample: &usize| (0..samples[sample].prepared.tiles.len()).map(move |tile| TileRef { sample, tile });
    indices.iter().flat_map(each).collect()
}
