//! An autoencoder on the CPU: what a task does with one chunk of samples.

use std::ops::Range;

use super::core::{Core, Workspace};
use super::image_loss;
use super::stack::Scratch;
use super::supervised::classes_of;
use super::{spread, to_channels_last, to_planar, vectors};
use crate::model::LOG_VAR_LIMIT;
use crate::model::adamw::Step;
use crate::model::architecture::Architecture;
use crate::model::autoencoder::{Inference, Parts, StepLoss};
use crate::model::likelihood::{Observation, kl_of_one};

const ENCODER: usize = 0;
const DECODER: usize = 1;
const HEAD: usize = 2;

/// The CPU executor of an autoencoder.
pub(in crate::model) struct AutoencoderEngine {
    architecture: Architecture,
    core: Core,
}

/// The part of an inference that one task writes.
struct Slot<'a> {
    x: &'a [f32],
    mean: &'a mut [f32],
    /// Empty where the encoder gives a point.
    log_var: &'a mut [f32],
    output: &'a mut [f32],
    features: Vec<&'a mut [f32]>,
}

/// A batch to train on: images, what they are to become, and standard normal noise for the latents.
#[derive(Clone, Copy)]
pub(in crate::model) struct Batch<'a> {
    pub x: &'a [f32],
    pub target: &'a [f32],
    /// `[N, latent]`; empty where the encoder gives a point.
    pub noise: &'a [f32],
    /// Of each image; empty where none is known.
    pub classes: &'a [Option<u32>],
}

impl AutoencoderEngine {
    /// An executor with weights laid out as on disk.
    pub(in crate::model) fn new(architecture: Architecture, weights: &[f32]) -> Self {
        let core = Core::new(&architecture.network, weights);
        Self { architecture, core }
    }

    /// The weights, laid out as on disk.
    pub(in crate::model) fn weights(&self) -> Vec<f32> {
        self.core.weights()
    }

    /// Replaces the weights by others, laid out as on disk.
    pub(in crate::model) fn set_weights(&mut self, weights: &[f32]) {
        self.core.set_weights(weights);
    }

    /// The fitted log-variances of the likelihood.
    pub(in crate::model) fn log_var(&self) -> &[f32] {
        self.architecture.log_var.map_or(&[], |parameter| self.core.values(parameter))
    }

    /// A parameter, laid out as on disk.
    pub(in crate::model) fn values(&self, parameter: usize) -> Vec<f32> {
        self.core.values_on_disk(parameter)
    }

    /// The head's logits `[N, classes]` of latent means `[N, latent]`.
    pub(in crate::model) fn answers(&self, mean: &[f32]) -> Vec<f32> {
        let (latent, head) = (self.architecture.latent, &self.core.stacks[HEAD]);
        let classes = self.architecture.supervised.as_ref().map_or(0, |supervised| supervised.classes);
        let mut logits = vec![0.0; mean.len() / latent.len() * classes];
        let chunk = self.core.chunk;
        for (mean, logits) in mean.chunks(chunk * latent.len()).zip(logits.chunks_mut(chunk * classes)) {
            let n = mean.len() / latent.len();
            self.core.with_workspace(false, |space| {
                for (from, to) in mean.chunks_exact(latent.len()).zip(space.mean.chunks_exact_mut(latent.len())) {
                    to_channels_last(from, to, latent.c, latent.pixels());
                }
                head.forward(&self.core.weights, &space.mean, n, &mut space.activations[HEAD], &mut space.scratch);
                logits.copy_from_slice(head.last(&space.activations[HEAD], n));
            });
        }
        logits
    }

    /// Encodes and decodes whole images; `features` asks for those too.
    pub(in crate::model) fn infer(&self, x: &[f32], features: bool) -> Inference {
        let n = x.len() / self.architecture.image.len();
        let mut result = self.room(n, features);
        let slots = self.slots(&mut result, x, self.core.share(n));
        spread(slots, |slot| self.core.with_workspace(false, |space| self.infer_chunk(slot, space)));
        result
    }

    /// Decodes latents `[N, latent]` to raw outputs `[N, C, S, S]`.
    pub(in crate::model) fn decode(&self, z: &[f32]) -> Vec<f32> {
        let (latent, image) = (self.architecture.latent.len(), self.architecture.image.len());
        let n = z.len() / latent;
        let mut output = vec![0.0; n * image];
        let chunk = self.core.share(n);
        let tasks: Vec<_> = z.chunks(chunk * latent).zip(output.chunks_mut(chunk * image)).collect();
        spread(tasks, |(z, output)| self.core.with_workspace(false, |space| self.decode_chunk(z, output, space)));
        output
    }

    /// Loss and gradient of a batch: means over its images.
    pub(in crate::model) fn gradients(&mut self, batch: Batch, beta: f32, observation: &Observation) -> Parts {
        let Self { architecture, core } = self;
        let n = batch.x.len() / architecture.image.len();
        let weight = 1.0 / n as f32;
        let parts = core.gradients(n, |core, range, gradient, space| {
            let task = Task { architecture, core, observation, beta, weight };
            task.train(batch, range, gradient, space)
        });
        let scale = 1.0 / n as f64;
        let sum = |f: fn(&Parts) -> f64| parts.iter().map(f).sum::<f64>() * scale;
        Parts { nll: sum(|part| part.nll), kl: sum(|part| part.kl), cross_entropy: sum(|part| part.cross_entropy) }
    }

    /// The gradient that [`AutoencoderEngine::gradients`] left, laid out as on disk.
    #[cfg(test)]
    pub(in crate::model) fn last_gradient(&self) -> Vec<f32> {
        self.core.last_gradient()
    }

    /// Norm of the last gradient in each parameter; none before the first.
    pub(in crate::model) fn gradient_norms(&self) -> Vec<f64> {
        self.core.gradient_norms()
    }

    /// One step of AdamW on a batch.
    pub(in crate::model) fn train_step(&mut self, batch: Batch, step: &Step, observation: &Observation) -> StepLoss {
        let Parts { nll, kl, cross_entropy } = self.gradients(batch, step.beta, observation);
        StepLoss { nll, kl, cross_entropy, gradient_norm: self.core.step(step) }
    }

    /// Values a sample takes in each stage's features.
    fn tap_lengths(&self) -> impl Iterator<Item = usize> {
        let encoder = self.architecture.encoder();
        self.architecture.taps.iter().map(|&tap| encoder[tap].output.len())
    }

    /// Room for the result of `n` images.
    fn room(&self, n: usize, features: bool) -> Inference {
        let latent = n * self.architecture.latent.len();
        Inference {
            mean: vec![0.0; latent],
            log_var: vec![0.0; if self.architecture.is_variational { latent } else { 0 }],
            output: vec![0.0; n * self.architecture.image.len()],
            features: self.tap_lengths().filter(|_| features).map(|length| vec![0.0; n * length]).collect(),
        }
    }

    /// Cuts images and room for their results into the parts of tasks of `chunk` samples.
    fn slots<'a>(&self, result: &'a mut Inference, x: &'a [f32], chunk: usize) -> Vec<Slot<'a>> {
        let (image, latent) = (self.architecture.image.len() * chunk, self.architecture.latent.len() * chunk);
        let Inference { mean, log_var, output, features } = result;
        let mut log_vars = log_var.chunks_mut(latent);
        let mut slots: Vec<Slot> = x
            .chunks(image)
            .zip(output.chunks_mut(image))
            .zip(mean.chunks_mut(latent))
            .map(|((x, output), mean)| {
                let log_var = log_vars.next().unwrap_or_default();
                Slot { x, mean, log_var, output, features: Vec::new() }
            })
            .collect();
        for (stage, length) in features.iter_mut().zip(self.tap_lengths()) {
            for (slot, part) in slots.iter_mut().zip(stage.chunks_mut(length * chunk)) {
                slot.features.push(part);
            }
        }
        slots
    }

    fn infer_chunk(&self, slot: Slot, space: &mut Workspace) {
        let (image, latent) = (self.architecture.image.len(), self.architecture.latent);
        let n = slot.x.len() / image;
        let (dim, positions) = (latent.c, latent.pixels());
        let moments = self.architecture.moments();
        encode(&self.architecture, &self.core, slot.x, space);
        let posterior = self.core.stacks[ENCODER].last(&space.activations[ENCODER], n);
        for (row, posterior) in posterior.chunks_exact(moments * dim).enumerate() {
            let start = row / positions * dim * positions + row % positions;
            for d in 0..dim {
                slot.mean[start + d * positions] = posterior[d];
                if let Some(log_var) = posterior.get(dim + d) {
                    slot.log_var[start + d * positions] = log_var.clamp(-LOG_VAR_LIMIT, LOG_VAR_LIMIT);
                }
            }
        }
        for (&tap, target) in self.architecture.taps.iter().zip(slot.features) {
            target.copy_from_slice(self.core.stacks[ENCODER].output(&space.activations[ENCODER], tap, n));
        }
        self.decode_chunk(slot.mean, slot.output, space);
    }

    fn decode_chunk(&self, z: &[f32], output: &mut [f32], space: &mut Workspace) {
        let (image, latent) = (self.architecture.image, self.architecture.latent);
        let n = z.len() / latent.len();
        for (from, to) in z.chunks_exact(latent.len()).zip(space.latent.chunks_exact_mut(latent.len())) {
            to_channels_last(from, to, latent.c, latent.pixels());
        }
        decode(&self.core, n, space);
        let decoded = self.core.stacks[DECODER].last(&space.activations[DECODER], n);
        for (from, to) in decoded.chunks_exact(image.len()).zip(output.chunks_exact_mut(image.len())) {
            to_planar(from, to, image.c, image.pixels());
        }
    }
}

/// Runs the encoder on images `[n, C, S, S]`.
fn encode(architecture: &Architecture, core: &Core, x: &[f32], space: &mut Workspace) {
    let image = architecture.image;
    for (from, to) in x.chunks_exact(image.len()).zip(space.image.chunks_exact_mut(image.len())) {
        to_channels_last(from, to, image.c, image.pixels());
    }
    let n = x.len() / image.len();
    let activations = &mut space.activations[ENCODER];
    core.stacks[ENCODER].forward(&core.weights, &space.image, n, activations, &mut space.scratch);
}

/// Runs the decoder on the workspace's latents.
fn decode(core: &Core, n: usize, space: &mut Workspace) {
    let activations = &mut space.activations[DECODER];
    core.stacks[DECODER].forward(&core.weights, &space.latent, n, activations, &mut space.scratch);
}

/// What the shards of one step share.
pub(super) struct Task<'a> {
    pub architecture: &'a Architecture,
    pub core: &'a Core,
    observation: &'a Observation,
    pub beta: f32,
    /// One over the number of images of the batch.
    pub weight: f32,
}

impl Task<'_> {
    /// Loss of a shard (summed over its images), and its gradient (times `weight`) added to `gradient`.
    fn train(&self, batch: Batch, range: Range<usize>, gradient: &mut [f32], space: &mut Workspace) -> Parts {
        let (image, latent) = (self.architecture.image.len(), self.architecture.latent.len());
        let noise_length = if self.architecture.is_variational { latent } else { 0 };
        let core = self.core;
        let mut total = Parts { nll: 0.0, kl: 0.0, cross_entropy: 0.0 };
        for start in range.clone().step_by(core.chunk) {
            let end = (start + core.chunk).min(range.end);
            let n = end - start;
            let (x, target) = (&batch.x[start * image..end * image], &batch.target[start * image..end * image]);
            let noise = &batch.noise[start * noise_length..end * noise_length];
            encode(self.architecture, core, x, space);
            if let Some(supervised) = &self.architecture.supervised {
                let classes = classes_of(batch.classes, start..end);
                let (divergence, cross_entropy) = self.guide(supervised, &classes, gradient, space);
                total.kl += divergence;
                total.cross_entropy += cross_entropy;
            }
            total.kl += self.sample(noise, space, n);
            decode(core, n, space);
            total.nll += self.reconstruction(target, n, gradient, space);
            let (weights, stacks) = (&core.weights, &core.stacks);
            let Workspace { latent, activations, scratch, .. } = space;
            stacks[DECODER].backward(weights, (latent, n), &mut activations[DECODER], scratch, gradient, true);
            self.posterior_gradient(noise, n, space);
            let Workspace { image, activations, scratch, .. } = space;
            stacks[ENCODER].backward(weights, (image, n), &mut activations[ENCODER], scratch, gradient, false);
        }
        total
    }

    /// `z = mean + exp(log_var / 2) noise`; returns the KL from the prior, summed (Kingma & Welling 2013, eq. 10), of the
    /// log-variances alone where the means are held against classes. Where the encoder gives a point, `z` is it.
    fn sample(&self, noise: &[f32], space: &mut Workspace, n: usize) -> f64 {
        let latent = self.architecture.latent;
        let (dim, positions) = (latent.c, latent.pixels());
        let posterior = self.core.stacks[ENCODER].last(&space.activations[ENCODER], n);
        if !self.architecture.is_variational {
            space.latent[..posterior.len()].copy_from_slice(posterior);
            return 0.0;
        }
        let centred = self.architecture.supervised.as_ref().is_none_or(|supervised| supervised.prior.is_none());
        let mut kl = 0.0;
        for (row, (posterior, z)) in posterior.chunks_exact(2 * dim).zip(space.latent.chunks_exact_mut(dim)).enumerate()
        {
            let start = row / positions * dim * positions + row % positions;
            for (d, z) in z.iter_mut().enumerate() {
                let (mean, log_var) = (posterior[d], posterior[dim + d].clamp(-LOG_VAR_LIMIT, LOG_VAR_LIMIT));
                *z = mean + (0.5 * log_var).exp() * noise[start + d * positions];
                kl += kl_of_one(if centred { mean } else { 0.0 }, log_var);
            }
        }
        kl
    }

    /// Reconstruction loss of a chunk; leaves its gradient in the decoder's output in `scratch.upper`.
    fn reconstruction(&self, target: &[f32], n: usize, gradient: &mut [f32], space: &mut Workspace) -> f64 {
        let fitted = self.architecture.log_var.map_or(0..0, |parameter| self.core.range(parameter));
        let output = self.core.stacks[DECODER].last(&space.activations[DECODER], n);
        image_loss(
            (target, output, self.architecture.image),
            self.observation,
            self.weight,
            &mut gradient[fitted],
            &mut space.scratch.upper,
        )
    }

    /// From the gradient in `z` (in `scratch.upper`) to that in mean and log-variance, the KL term's included.
    fn posterior_gradient(&self, noise: &[f32], n: usize, space: &mut Workspace) {
        let latent = self.architecture.latent;
        // Where there are labels, the whole pull on the means is known.
        let pull = self.architecture.supervised.as_ref().map(|_| &space.pull[..n * latent.len()]);
        if !self.architecture.is_variational {
            if let Some(pull) = pull {
                vectors::add(&mut space.scratch.upper[..n * latent.len()], pull);
            }
            return;
        }
        let (dim, positions) = (latent.c, latent.pixels());
        let kl_weight = self.weight * self.beta;
        let posterior = self.core.stacks[ENCODER].last(&space.activations[ENCODER], n);
        let Scratch { upper, lower, .. } = &mut space.scratch;
        let rows = posterior.chunks_exact(2 * dim).zip(upper.chunks_exact(dim)).zip(lower.chunks_exact_mut(2 * dim));
        for (row, ((posterior, dz), target)) in rows.enumerate() {
            let start = row / positions * dim * positions + row % positions;
            for d in 0..dim {
                let (mean, raw) = (posterior[d], posterior[dim + d]);
                let log_var = raw.clamp(-LOG_VAR_LIMIT, LOG_VAR_LIMIT);
                let sampled = dz[d] * 0.5 * (0.5 * log_var).exp() * noise[start + d * positions];
                target[d] = dz[d] + pull.map_or(kl_weight * mean, |pull| pull[row * dim + d]);
                target[dim + d] = if log_var == raw { sampled + kl_weight * 0.5 * log_var.exp_m1() } else { 0.0 };
            }
        }
        std::mem::swap(upper, lower);
    }
}
