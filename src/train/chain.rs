//! The training loop of chains (classifiers, denoisers, segmenters): seeded shuffled batches, cosine step size, early
//! stopping, best weights kept.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use super::fit::End;
use crate::error::{Failure, Kind, Result};
use crate::model::masks::MaskLoss;
use crate::model::{FeedForward, Observation, Step, Target, Weights};
use crate::pipeline::{Training, Unet};

/// The step size ends at this share of its height.
const FINAL_RATE: f32 = 0.01;

/// How a chain is fitted.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// Seed of the order of the items, of what a batch draws, and of what is dropped out.
    pub seed: u64,
    /// Most epochs, at least 1.
    pub epochs: usize,
    /// Items a step, at least 1.
    pub batch_size: usize,
    /// AdamW's step size at its height (cosine decay to a hundredth).
    pub learning_rate: f32,
    /// Decoupled L2; biases and norms are exempt.
    pub weight_decay: f32,
    /// Decoupled L1 on the same weights.
    pub l1: f32,
    /// Largest global norm of the gradient.
    pub clip_norm: f32,
    /// Epochs without a better validation loss before stopping.
    pub patience: usize,
    /// Most items an epoch, drawn anew each epoch; all where absent.
    pub items_per_epoch: Option<usize>,
}

impl Plan {
    /// Of a U-Net beside the model; what its table does not say is as the model's.
    pub fn of(unet: &Unet, training: &Training) -> Self {
        Self {
            seed: training.seed,
            epochs: unet.epochs,
            batch_size: unet.batch_size,
            learning_rate: unet.learning_rate,
            weight_decay: training.weight_decay,
            l1: training.l1,
            clip_norm: training.clip_norm,
            patience: training.patience,
            items_per_epoch: unet.tiles_per_epoch,
        }
    }
}

/// A batch of a lesson.
pub struct Batch<'a> {
    /// Inputs, `[N, C, S, S]`.
    pub x: Vec<f32>,
    /// What they are to become.
    pub goal: Goal<'a>,
}

/// What a batch's outputs are to become; see [`Target`].
pub enum Goal<'a> {
    /// Images, and the law of their pixels.
    Images(Vec<f32>, &'a Observation),
    /// Masks of 0 and 1, and what their pixels cost.
    Masks(Vec<f32>, MaskLoss),
    /// A class each.
    Classes(Vec<u32>),
}

impl Goal<'_> {
    fn target(&self) -> Target<'_> {
        match self {
            Self::Images(images, law) => Target::Images(images, law),
            Self::Masks(masks, law) => Target::Masks(masks, *law),
            Self::Classes(classes) => Target::Classes(classes),
        }
    }
}

/// What a network is worth on validation.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Judgement {
    /// Mean loss an item; the lowest wins.
    pub loss: f64,
    /// Share of items it has right, where that means anything.
    pub accuracy: Option<f64>,
}

/// What a chain is to learn.
pub trait Lesson {
    /// Number of items to learn from.
    fn count(&self) -> usize;

    /// The items with these numbers as a batch; what is random in it (noise, symmetries) is drawn from `random`.
    fn batch(&self, items: &[usize], random: &mut ChaCha8Rng) -> Batch<'_>;

    /// What the network is worth on items it does not learn from; the same each time for the same weights.
    ///
    /// # Errors
    /// As [`FeedForward::forward`].
    fn judge(&self, network: &FeedForward) -> Result<Judgement>;
}

/// What one epoch came to; losses are means an item, in nats.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Epoch {
    /// From 1.
    pub epoch: usize,
    /// Step size at the epoch's end.
    pub learning_rate: f32,
    /// Loss on the items learnt from, before each step.
    pub train_loss: f64,
    /// Loss on validation.
    pub validation_loss: f64,
    /// Share of validation items that are right, where that means anything.
    pub validation_accuracy: Option<f64>,
    /// Mean global norm of the gradient before clipping.
    pub gradient_norm: f64,
    /// Items trained a second.
    pub images_per_s: f64,
}

/// How a fit ended.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct History {
    /// The epoch whose weights were kept, from 1.
    pub best: usize,
    /// Why it stopped.
    pub end: End,
    /// Every epoch.
    pub epochs: Vec<Epoch>,
}

/// What happens during a fit, for progress bars and logs.
#[derive(Debug)]
pub enum Event<'a> {
    /// A step was made: steps done, steps of the whole fit at most, and its loss an item.
    Step(usize, usize, f64),
    /// An epoch ended.
    Epoch(&'a Epoch),
}

/// Fits `network` to a lesson; leaves the best weights in it.
///
/// The same plan and lesson give the same weights, bit for bit, on the same machine.
///
/// # Errors
/// [`Kind::Data`] without items, or when the loss stops being a number; [`Kind::Interrupted`] when stopped before the
/// first epoch ended.
pub fn fit(
    network: &mut FeedForward,
    plan: &Plan,
    lesson: &dyn Lesson,
    stop: &AtomicBool,
    on: &mut dyn FnMut(Event),
) -> Result<History> {
    if lesson.count() == 0 {
        return Err(Failure::new(Kind::Data, "nothing to learn from: not one item"));
    }
    let mut course = Course::new(plan, lesson.count());
    let (mut epochs, mut end) = (Vec::new(), End::Epochs);
    let mut best: Option<(usize, f64, Weights)> = None;
    for epoch in 1..=plan.epochs {
        let start = Instant::now();
        let Some([train_loss, gradient_norm]) = course.epoch(network, lesson, epoch, stop, on)? else {
            end = End::Interrupted;
            break;
        };
        let images_per_s = course.per_epoch as f64 / start.elapsed().as_secs_f64();
        let judged = lesson.judge(network)?;
        let learning_rate = course.rate(epoch * course.steps() - 1);
        let (validation_loss, validation_accuracy) = (judged.loss, judged.accuracy);
        epochs.push(Epoch {
            epoch,
            learning_rate,
            train_loss,
            validation_loss,
            validation_accuracy,
            gradient_norm,
            images_per_s,
        });
        epochs.last().into_iter().for_each(|entry| on(Event::Epoch(entry)));
        if best.as_ref().is_none_or(|(_, lowest, _)| judged.loss < *lowest) {
            best = Some((epoch, judged.loss, network.snapshot()?));
        }
        if best.as_ref().is_some_and(|(at, ..)| epoch - at >= plan.patience) {
            end = End::EarlyStop;
            break;
        }
    }
    let Some((best, _, weights)) = best else {
        return Err(Failure::new(Kind::Interrupted, "stopped before the first epoch ended; nothing to keep"));
    };
    network.restore(&weights)?;
    Ok(History { best, end, epochs })
}

/// Where a fit stands: the order of its items, and its randomness.
struct Course<'a> {
    plan: &'a Plan,
    random: ChaCha8Rng,
    order: Vec<usize>,
    per_epoch: usize,
}

impl<'a> Course<'a> {
    fn new(plan: &'a Plan, count: usize) -> Self {
        let per_epoch = plan.items_per_epoch.unwrap_or(count).clamp(1, count);
        Self { plan, random: ChaCha8Rng::seed_from_u64(plan.seed), order: (0..count).collect(), per_epoch }
    }

    /// Steps an epoch.
    fn steps(&self) -> usize {
        self.per_epoch.div_ceil(self.plan.batch_size)
    }

    /// Step size after `done` steps.
    fn rate(&self, done: usize) -> f32 {
        let whole = (self.plan.epochs * self.steps()) as f32;
        let cosine = 0.5 * (1.0 + (std::f32::consts::PI * done as f32 / whole).cos());
        self.plan.learning_rate * (FINAL_RATE + (1.0 - FINAL_RATE) * cosine)
    }

    /// One epoch: mean loss and mean norm of the gradient; nothing when it was stopped.
    fn epoch(
        &mut self,
        network: &mut FeedForward,
        lesson: &dyn Lesson,
        epoch: usize,
        stop: &AtomicBool,
        on: &mut dyn FnMut(Event),
    ) -> Result<Option<[f64; 2]>> {
        self.order.shuffle(&mut self.random);
        let (plan, steps) = (self.plan, self.steps());
        let mut means = [0.0; 2];
        for step in 0..steps {
            if stop.load(Ordering::Relaxed) {
                return Ok(None);
            }
            let done = (epoch - 1) * steps + step;
            let start = step * plan.batch_size;
            let items = &self.order[start..(start + plan.batch_size).min(self.per_epoch)];
            let batch = lesson.batch(items, &mut self.random);
            let (learning_rate, dropped) = (self.rate(done), self.random.random());
            let Plan { weight_decay, l1, clip_norm, .. } = *plan;
            let step = Step { learning_rate, weight_decay, l1, clip_norm, beta: 0.0 };
            let loss = network.train_step(&batch.x, batch.goal.target(), dropped, &step)?;
            if !loss.loss.is_finite() {
                return Err(Failure::new(Kind::Data, format!("the loss is no number any more in epoch {epoch}"))
                    .hint("lower its learning_rate or clip_norm, or check input.scaling against the data"));
            }
            let share = items.len() as f64 / self.per_epoch as f64;
            means[0] += share * loss.loss;
            means[1] += share * loss.gradient_norm;
            on(Event::Step(done + 1, steps * plan.epochs, loss.loss));
        }
        Ok(Some(means))
    }
}

#[cfg(test)]
#[path = "chain_tests.rs"]
mod tests;
