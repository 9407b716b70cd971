//! A network of one list of layers on the CPU.

use std::ops::Range;

use super::core::{Core, Workspace};
use super::stack::Dropouts;
use super::{image_loss, spread, to_channels_last, to_planar};
use crate::model::adamw::Step;
use crate::model::feedforward::{Chain, Loss, Target};

/// The CPU executor of a chain.
pub(in crate::model) struct FeedForwardEngine {
    chain: Chain,
    core: Core,
}

impl FeedForwardEngine {
    /// An executor with weights laid out as on disk.
    pub(in crate::model) fn new(chain: Chain, weights: &[f32]) -> Self {
        let core = Core::new(&chain.network, weights);
        Self { chain, core }
    }

    /// The weights, laid out as on disk.
    pub(in crate::model) fn weights(&self) -> Vec<f32> {
        self.core.weights()
    }

    /// Replaces the weights by others, laid out as on disk.
    pub(in crate::model) fn set_weights(&mut self, weights: &[f32]) {
        self.core.set_weights(weights);
    }

    /// The outputs of whole images, channels first.
    pub(in crate::model) fn forward(&self, x: &[f32]) -> Vec<f32> {
        let (input, output) = (self.chain.input.len(), self.chain.output);
        let n = x.len() / input;
        let mut y = vec![0.0; n * output.len()];
        let chunk = self.core.share(n);
        let tasks: Vec<_> = x.chunks(chunk * input).zip(y.chunks_mut(chunk * output.len())).collect();
        spread(tasks, |(x, y)| {
            self.core.with_workspace(false, |space| {
                space.scratch.dropouts = None;
                let last = run(&self.chain, &self.core, x, space);
                for (from, to) in last.chunks_exact(output.len()).zip(y.chunks_exact_mut(output.len())) {
                    to_planar(from, to, output.c, output.pixels());
                }
            });
        });
        y
    }

    /// Loss of a batch, the mean over its images; leaves the gradient in the core.
    pub(in crate::model) fn gradients(&mut self, x: &[f32], target: Target, seed: u64) -> f64 {
        let Self { chain, core } = self;
        let n = x.len() / chain.input.len();
        let losses = core.gradients(n, |core, range, gradient, space| {
            let task = Task { chain, core, target, seed, weight: 1.0 / n as f32 };
            task.train(x, range, gradient, space)
        });
        losses.iter().sum::<f64>() / n as f64
    }

    /// The gradient that [`FeedForwardEngine::gradients`] left, laid out as on disk.
    #[cfg(test)]
    pub(in crate::model) fn last_gradient(&self) -> Vec<f32> {
        self.core.last_gradient()
    }

    /// One step of AdamW on a batch.
    pub(in crate::model) fn train_step(&mut self, x: &[f32], target: Target, seed: u64, step: &Step) -> Loss {
        Loss { loss: self.gradients(x, target, seed), gradient_norm: self.core.step(step) }
    }
}

/// Runs the list on images `[n, C, S, S]`; returns its output, channels last.
fn run<'a>(chain: &Chain, core: &Core, x: &[f32], space: &'a mut Workspace) -> &'a [f32] {
    let (input, n) = (chain.input, x.len() / chain.input.len());
    for (from, to) in x.chunks_exact(input.len()).zip(space.image.chunks_exact_mut(input.len())) {
        to_channels_last(from, to, input.c, input.pixels());
    }
    core.stacks[0].forward(&core.weights, &space.image, n, &mut space.activations[0], &mut space.scratch);
    core.stacks[0].last(&space.activations[0], n)
}

/// What the shards of one step share.
struct Task<'a> {
    chain: &'a Chain,
    core: &'a Core,
    target: Target<'a>,
    seed: u64,
    /// One over the number of images of the batch.
    weight: f32,
}

impl Task<'_> {
    /// Loss of a shard (summed over its images), and its gradient (times `weight`) added to `gradient`.
    fn train(&self, x: &[f32], range: Range<usize>, gradient: &mut [f32], space: &mut Workspace) -> f64 {
        let (input, core) = (self.chain.input.len(), self.core);
        let mut total = 0.0;
        for start in range.clone().step_by(core.chunk) {
            let chunk = start..(start + core.chunk).min(range.end);
            space.scratch.dropouts = Some(Dropouts { seed: self.seed, first: start });
            run(self.chain, core, &x[chunk.start * input..chunk.end * input], space);
            total += self.loss(chunk.clone(), space);
            let Workspace { image, activations, scratch, .. } = space;
            let x = (&image[..], chunk.len());
            core.stacks[0].backward(&core.weights, x, &mut activations[0], scratch, gradient, false);
        }
        total
    }

    /// Loss of a chunk; leaves its gradient in the output in `scratch.upper`.
    fn loss(&self, chunk: Range<usize>, space: &mut Workspace) -> f64 {
        let output = self.chain.output;
        let y = self.core.stacks[0].last(&space.activations[0], chunk.len());
        let upper = &mut space.scratch.upper;
        match self.target {
            Target::Images(images, observation) => {
                let images = &images[chunk.start * output.len()..chunk.end * output.len()];
                image_loss((images, y, output), observation, self.weight, &mut [], upper)
            }
            Target::Masks(masks, law) => {
                let masks = masks[chunk.start * output.len()..chunk.end * output.len()].chunks_exact(output.len());
                let rows = y.chunks_exact(output.len()).zip(upper.chunks_exact_mut(output.len()));
                rows.zip(masks).map(|((y, slope), mask)| law.gradient(mask, y, slope, self.weight)).sum()
            }
            Target::Classes(classes) => {
                let rows = y.chunks_exact(output.len()).zip(upper.chunks_exact_mut(output.len()));
                rows.zip(&classes[chunk]).map(|((y, slope), &class)| cross_entropy(y, class, self.weight, slope)).sum()
            }
        }
    }
}

/// Cross-entropy of the softmax of logits, nats; its gradient times `weight` goes to `slope`.
pub(super) fn cross_entropy(logits: &[f32], class: u32, weight: f32, slope: &mut [f32]) -> f64 {
    let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let sum: f32 = logits.iter().map(|logit| (logit - largest).exp()).sum();
    for (index, (slope, logit)) in slope.iter_mut().zip(logits).enumerate() {
        let p = (logit - largest).exp() / sum;
        *slope = weight * (p - f32::from(u8::from(index == class as usize)));
    }
    f64::from(sum.ln() + largest - logits[class as usize])
}
