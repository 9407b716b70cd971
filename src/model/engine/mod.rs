//! The CPU executor: chunks of samples that stay in cache, forward and backward in one go, over fixed shards.
//!
//! A batch is cut into [`SHARDS`] shards whatever the number of threads, each summing its own gradient; the sums are
//! added in order. So the weights after a step are the same bit for bit on one thread and on many.

use std::sync::{Mutex, PoisonError};

use rayon::prelude::*;

use super::adamw::{AdamW, Step};
use super::likelihood::Observation;
use super::network::Network;
use super::vae::{Inference, Parts, StepLoss};

mod convolution;
mod kernels;
mod plan;
mod stack;
pub(crate) mod vectors;
mod windows;

use plan::{Plan, Workspace, slots};
use stack::Weights;

/// Parts of a batch that may run at the same time.
const SHARDS: usize = 8;
/// The CPU executor.
pub(super) struct Engine {
    plan: Plan,
    weights: Weights,
    optimiser: AdamW,
    /// Made when training starts.
    gradients: Vec<Vec<f32>>,
    spare: Spare,
}

/// Workspaces that no task holds.
#[derive(Default)]
struct Spare {
    inference: Mutex<Vec<Workspace>>,
    training: Mutex<Vec<Workspace>>,
}

impl Engine {
    /// An executor of `network` with weights laid out as on disk.
    pub(super) fn new(network: Network, weights: &[f32]) -> Self {
        let decays = network.parameters.iter().flat_map(|p| std::iter::repeat_n(p.decay, p.len())).collect();
        let plan = Plan::new(network);
        let weights = plan.prepare(weights);
        Self { plan, weights, optimiser: AdamW::new(decays), gradients: Vec::new(), spare: Spare::default() }
    }

    /// The weights, laid out as on disk.
    pub(super) fn weights(&self) -> Vec<f32> {
        self.plan.unpack(&self.weights.straight)
    }

    /// Replaces the weights by others, laid out as on disk.
    pub(super) fn set_weights(&mut self, weights: &[f32]) {
        self.weights = self.plan.prepare(weights);
    }

    /// The fitted log-variances of the likelihood.
    pub(super) fn log_var(&self) -> &[f32] {
        self.plan
            .network
            .log_var
            .map_or(&[], |index| &self.weights.straight[self.plan.network.parameters[index].range()])
    }

    /// Encodes and decodes whole images; `features` asks for those too.
    pub(super) fn infer(&self, x: &[f32], features: bool) -> Inference {
        let plan = &self.plan;
        let image = plan.network.image.len();
        let n = x.len() / image;
        let mut result = plan.room(n, features);
        let chunk = self.share(n);
        let slots = slots(&mut result, x, &plan.sizes(), chunk);
        spread(slots, |slot| self.with_workspace(false, |space| plan.infer(&self.weights, slot, space)));
        result
    }

    /// Decodes latents `[N, latent]` to raw outputs `[N, C, S, S]`.
    pub(super) fn decode(&self, z: &[f32]) -> Vec<f32> {
        let plan = &self.plan;
        let (latent, image) = (plan.network.latent.len(), plan.network.image.len());
        let n = z.len() / latent;
        let mut output = vec![0.0; n * image];
        let chunk = self.share(n);
        let tasks: Vec<_> = z.chunks(chunk * latent).zip(output.chunks_mut(chunk * image)).collect();
        spread(tasks, |(z, output)| self.with_workspace(false, |space| plan.decode(&self.weights, z, output, space)));
        output
    }

    /// Loss and gradient of a batch: means over its images.
    pub(super) fn gradients(&mut self, x: &[f32], noise: &[f32], beta: f32, observation: &Observation) -> Parts {
        let (image, latent) = (self.plan.network.image.len(), self.plan.network.latent.len());
        let n = x.len() / image;
        let per = n.div_ceil(SHARDS);
        let mut gradients = std::mem::take(&mut self.gradients);
        gradients.resize_with(SHARDS, || vec![0.0; self.weights.straight.len()]);
        let weight = 1.0 / n as f32;
        let tasks: Vec<_> = x.chunks(per * image).zip(noise.chunks(per * latent)).zip(&mut gradients).collect();
        let shards = tasks.len();
        let parts: Vec<Parts> = tasks
            .into_par_iter()
            .map(|((x, noise), gradient)| {
                gradient.fill(0.0);
                self.with_workspace(true, |space| {
                    self.plan.train(&self.weights, (x, noise), observation, (weight, beta), gradient, space)
                })
            })
            .collect();
        let (total, rest) = gradients.split_at_mut(1);
        total[0].par_chunks_mut(1 << 15).enumerate().for_each(|(i, sum)| {
            for other in &rest[..shards - 1] {
                vectors::add(sum, &other[i << 15..]);
            }
        });
        self.gradients = gradients;
        let scale = 1.0 / n as f64;
        let sum = |f: fn(&Parts) -> f64| parts.iter().map(f).sum::<f64>() * scale;
        Parts { nll: sum(|part| part.nll), kl: sum(|part| part.kl) }
    }

    /// The gradient that [`Engine::gradients`] left, laid out as on disk.
    #[cfg(test)]
    pub(super) fn last_gradient(&self) -> Vec<f32> {
        self.plan.unpack(&self.gradients[0])
    }

    /// One step of AdamW on a batch.
    pub(super) fn train_step(&mut self, x: &[f32], noise: &[f32], step: &Step, observation: &Observation) -> StepLoss {
        let Parts { nll, kl } = self.gradients(x, noise, step.beta, observation);
        let gradient_norm = self.optimiser.step(&mut self.weights.straight, &self.gradients[0], step);
        self.plan.transpose(&mut self.weights);
        StepLoss { nll, kl, gradient_norm }
    }

    /// Samples a task takes of `n`, so that every thread has one.
    fn share(&self, n: usize) -> usize {
        let threads = if n > 1 { rayon::current_num_threads() } else { 1 };
        n.div_ceil(threads).clamp(1, self.plan.chunk)
    }

    /// Runs `f` with a workspace of its own.
    fn with_workspace<T>(&self, train: bool, f: impl FnOnce(&mut Workspace) -> T) -> T {
        let spare = if train { &self.spare.training } else { &self.spare.inference };
        let taken = spare.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut space = taken.unwrap_or_else(|| self.plan.workspace(train));
        let result = f(&mut space);
        spare.lock().unwrap_or_else(PoisonError::into_inner).push(space);
        result
    }
}

/// Runs tasks on the pool; a single one here, without waking anyone.
fn spread<T: Send>(mut tasks: Vec<T>, run: impl Fn(T) + Sync + Send) {
    match tasks.len() {
        0 => (),
        1 => run(tasks.remove(0)),
        _ => tasks.into_par_iter().with_max_len(1).for_each(run),
    }
}
