//! The one training loop: shuffled batches, KL warm-up, cosine step size, early stopping, best weights kept.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};
use rayon::prelude::*;

use super::augment::Augmenter;
use super::chain;
use super::classes::Classes;
use super::data::Sample;
use super::diagnosis::diagnose;
pub use super::history::{End, Epoch, History};
use super::judge::{Latent, judge};
use crate::error::{Failure, Kind, Result};
use crate::model::{Autoencoder, Step, StepLoss, Weights};
use crate::pipeline::{Spec, Training};

/// Most validation tiles an epoch is judged by: their loss moves by far less than epochs differ.
const VALIDATION_TILES: usize = 4096;
/// Most training tiles that are judged as validation is, for the gap between the two.
const TRAIN_TILES: usize = 1024;
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

/// What happens during a fit, for progress bars and logs.
#[derive(Debug)]
pub enum Event<'a> {
    /// A step was made: steps done, steps of the whole fit at most, and its `-ELBO` a tile.
    Step(usize, usize, f64),
    /// An epoch ended.
    Epoch(&'a Epoch),
    /// Of a network of that name which is fitted beside the model.
    Beside(&'static str, chain::Event<'a>),
}

/// Fits `model` to the tiles of `train` and to their classes, augmented as the pipeline declares, judged by `validation`;
/// leaves the best weights in it.
///
/// The same seed gives the same weights, bit for bit, on the same machine.
///
/// # Errors
/// [`Kind::Data`] when the loss stops being a number; [`Kind::Interrupted`] when stopped before the first epoch ended.
pub fn fit(
    model: &mut Autoencoder,
    (samples, classes): (&[Sample], &Classes),
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
    let compared = evenly(train, TRAIN_TILES);
    let mut best: Option<Best> = None;
    let mut epochs: Vec<Epoch> = Vec::new();
    let mut end = End::Epochs;
    for epoch in 1..=training.epochs {
        order.shuffle(&mut random);
        let (start, mut course) = (Instant::now(), Course::of(model.head()));
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
            let known: Vec<Option<u32>> = batch.iter().map(|tile| classes.class(&samples[tile.sample])).collect();
            let loss = model.train_labelled((&x, &known), &x, &noise, &last)?;
            let total = loss.nll + f64::from(last.beta) * loss.kl;
            if !total.is_finite() {
                return Err(Failure::new(Kind::Data, format!("the loss is no number any more in epoch {epoch}")).hint(
                    "lower training.learning_rate or training.clip_norm, or check input.scaling against the data",
                ));
            }
            course.add(&loss, batch.len(), training.clip_norm);
            on(Event::Step(done + 1, steps * training.epochs, total));
        }
        if end == End::Interrupted {
            break;
        }
        let images_per_s = per_epoch as f64 / start.elapsed().as_secs_f64();
        let (validation, latent) = judge(model, (samples, classes), &judged, beta)?;
        let entry = Epoch {
            beta: last.beta,
            learning_rate: last.learning_rate,
            validation_nll: validation.nll,
            validation_kl: validation.kl,
            validation_error: validation.error,
            validation_head: validation.head,
            train_judged: Some(judge(model, (samples, classes), &compared, beta)?.0),
            active_units: latent.active(),
            layer_gradients: model.layer_gradients().into_iter().map(|(_, norm)| norm).collect(),
            images_per_s,
            ..course.epoch(epoch)
        };
        on(Event::Epoch(&entry));
        let loss = entry.validation_loss(beta);
        epochs.push(entry);
        // Before beta has risen, a low loss only says that the KL term was not asked for yet.
        let warm = epoch as f32 >= training.warmup_epochs;
        if best.as_ref().is_none_or(|best| loss < best.loss || (best.epoch as f32) < training.warmup_epochs) {
            best = Some(Best { epoch, loss, weights: model.snapshot()?, latent });
        }
        if warm && best.as_ref().is_some_and(|best| epoch - best.epoch >= training.patience) {
            end = End::EarlyStop;
            break;
        }
    }
    let Some(best) = best else {
        return Err(Failure::new(Kind::Interrupted, "stopped before the first epoch ended; nothing to keep"));
    };
    model.restore(&best.weights)?;
    let layers = model.layer_gradients().into_iter().map(|(layer, _)| layer).collect();
    let history = History { epochs, best: best.epoch, end, layers, latent: best.latent, diagnosis: Vec::new() };
    Ok(History { diagnosis: diagnose(&history, spec), ..history })
}

/// The epoch with the lowest validation loss so far.
struct Best {
    epoch: usize,
    loss: f64,
    weights: Weights,
    latent: Latent,
}

/// What an epoch's steps came to, as they go by.
#[derive(Default)]
struct Course {
    tiles: f64,
    /// Weight of the head's cross-entropy; 0 without a head.
    head: f64,
    /// Over tiles.
    sums: [f64; 4],
    steps: usize,
    clipped: usize,
    lost: usize,
    largest: f64,
}

impl Course {
    fn of(head: Option<f32>) -> Self {
        Self { head: f64::from(head.unwrap_or(0.0)), ..Self::default() }
    }

    fn add(&mut self, loss: &StepLoss, tiles: usize, clip_norm: f32) {
        let norm = if loss.gradient_norm.is_finite() { loss.gradient_norm } else { 0.0 };
        self.tiles += tiles as f64;
        let terms = [loss.nll, loss.kl, norm, self.head * loss.cross_entropy];
        self.sums.iter_mut().zip(terms).for_each(|(sum, term)| *sum += tiles as f64 * term);
        self.steps += 1;
        self.clipped += usize::from(norm > f64::from(clip_norm));
        self.lost += usize::from(!loss.gradient_norm.is_finite());
        self.largest = self.largest.max(norm);
    }

    /// The epoch, as far as its steps tell.
    fn epoch(&self, epoch: usize) -> Epoch {
        let [train_nll, train_kl, gradient_norm, train_head] = self.sums.map(|sum| sum / self.tiles.max(1.0));
        let clipped = self.clipped as f64 / self.steps.max(1) as f64;
        let (largest_gradient, lost_steps) = (self.largest, self.lost);
        Epoch {
            epoch,
            train_nll,
            train_kl,
            train_head,
            gradient_norm,
            largest_gradient,
            clipped,
            lost_steps,
            ..Epoch::default()
        }
    }
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

/// At most `count` of the items, evenly spread.
pub fn evenly<T: Copy>(items: &[T], count: usize) -> Vec<T> {
    let step = items.len().div_ceil(count).max(1);
    items.iter().step_by(step).copied().collect()
}

/// All tiles of some samples.
pub fn tiles_of(samples: &[Sample], indices: &[usize]) -> Vec<TileRef> {
    let each = |&sample: &usize| (0..samples[sample].prepared.tiles.len()).map(move |tile| TileRef { sample, tile });
    indices.iter().flat_map(each).collect()
}
