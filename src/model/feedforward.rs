//! A network of one list of layers, whichever executor runs it: a classifier, a denoiser, a segmenter.
//!
//! Images are `[N, C, S, S]`, outputs `[N, output_len]`, all f32 slices.

use std::collections::HashMap;
use std::path::Path;

use super::adamw::Step;
use super::autograd::FeedForwardAutograd;
use super::device::Device;
use super::engine::FeedForwardEngine;
use super::graph::Shape;
use super::likelihood::Observation;
use super::masks::MaskLoss;
use super::network::Network;
use super::weights::{self, Weights};
use crate::error::{Failure, Kind, Result};

/// A list of layers and its ends.
#[derive(Debug, Clone)]
pub struct Chain {
    /// One list.
    pub network: Network,
    /// What it takes.
    pub input: Shape,
    /// What it gives: a map, or a vector of logits.
    pub output: Shape,
}

/// What a batch's outputs are to become.
#[derive(Clone, Copy)]
pub enum Target<'a> {
    /// Images `[N, C, S, S]`, under the law that says what their pixels are worth.
    Images(&'a [f32], &'a Observation),
    /// Masks `[N, 1, S, S]` of 0 and 1; the outputs are logits.
    Masks(&'a [f32], MaskLoss),
    /// A class each, under the cross-entropy of the softmax.
    Classes(&'a [u32]),
}

/// The loss of a step before its update.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Loss {
    /// Mean per image of the batch, nats.
    pub loss: f64,
    /// Norm of its gradient before clipping. Where it is not finite, no weight was changed.
    pub gradient_norm: f64,
}

/// A list of layers, its weights, and what runs them.
pub struct FeedForward {
    chain: Chain,
    executor: Executor,
}

enum Executor {
    Engine(Box<FeedForwardEngine>),
    Autograd(Box<FeedForwardAutograd>),
}

impl FeedForward {
    /// A network with initial weights, a function of the seed alone.
    ///
    /// # Errors
    /// [`Kind::Internal`] when the device fails.
    pub fn new(chain: Chain, seed: u64, device: Device) -> Result<Self> {
        let weights = chain.network.initial(seed);
        Self::with_weights(chain, &weights, device)
    }

    /// A network with weights from a file.
    ///
    /// # Errors
    /// [`Kind::Model`] for a file that cannot be read or holds another network's weights, naming the tensor and both shapes.
    pub fn load(chain: Chain, weights: &Path, device: Device) -> Result<Self> {
        let weights = weights::load(weights, &chain.network)?;
        Self::with_weights(chain, &weights, device)
    }

    fn with_weights(chain: Chain, weights: &[f32], device: Device) -> Result<Self> {
        let executor = match device {
            Device::Cpu => Executor::Engine(Box::new(FeedForwardEngine::new(chain.clone(), weights))),
            Device::Candle(device) => {
                Executor::Autograd(Box::new(FeedForwardAutograd::new(chain.clone(), weights, device)?))
            }
        };
        Ok(Self { chain, executor })
    }

    /// Writes the weights as safetensors; the same weights and metadata give the same bytes.
    ///
    /// # Errors
    /// [`Kind::Io`] when the file cannot be written.
    pub fn save(&self, path: &Path, metadata: HashMap<String, String>) -> Result<()> {
        weights::save(path, &self.chain.network, &self.snapshot()?.0, metadata)
    }

    /// What any number of images give, `[N, output_len]`; nothing is dropped out.
    ///
    /// # Errors
    /// [`Kind::Internal`] for a length that is no number of images, or when the device fails.
    pub fn forward(&self, x: &[f32]) -> Result<Vec<f32>> {
        self.count(x)?;
        match &self.executor {
            Executor::Engine(engine) => Ok(engine.forward(x)),
            Executor::Autograd(autograd) => autograd.forward(x),
        }
    }

    /// One step of AdamW on the mean loss of a batch; `seed` decides what is dropped out.
    ///
    /// # Errors
    /// As [`FeedForward::forward`]; also for an empty batch, or a target of another size.
    pub fn train_step(&mut self, x: &[f32], target: Target, seed: u64, step: &Step) -> Result<Loss> {
        self.check(x, target)?;
        match &mut self.executor {
            Executor::Engine(engine) => Ok(engine.train_step(x, target, seed, step)),
            Executor::Autograd(autograd) => autograd.train_step(x, target, seed, step),
        }
    }

    /// Loss and gradient of a batch, the gradient laid out as on disk.
    #[cfg(test)]
    pub(super) fn gradients(&mut self, x: &[f32], target: Target, seed: u64) -> Result<(f64, Vec<f32>)> {
        self.check(x, target)?;
        match &mut self.executor {
            Executor::Engine(engine) => Ok((engine.gradients(x, target, seed), engine.last_gradient())),
            Executor::Autograd(autograd) => {
                let (loss, gradients) = autograd.gradients(x, target, seed)?;
                let mut all = Vec::new();
                for gradient in gradients {
                    all.extend(gradient.flatten_all()?.to_vec1::<f32>()?);
                }
                Ok((loss, all))
            }
        }
    }

    fn count(&self, x: &[f32]) -> Result<usize> {
        let image = self.chain.input.len();
        if x.len().is_multiple_of(image) {
            return Ok(x.len() / image);
        }
        Err(Failure::new(Kind::Internal, format!("{} values are no multiple of an image's {image}", x.len())))
    }

    fn check(&self, x: &[f32], target: Target) -> Result<()> {
        let n = self.count(x)?;
        let fits = match target {
            Target::Images(images, _) => images.len() == n * self.chain.output.len(),
            Target::Masks(masks, _) => self.chain.output.c == 1 && masks.len() == n * self.chain.output.len(),
            Target::Classes(classes) => {
                classes.len() == n && classes.iter().all(|&class| (class as usize) < self.chain.output.len())
            }
        };
        if n > 0 && fits {
            return Ok(());
        }
        Err(Failure::new(Kind::Internal, format!("a training step on {n} images with a target that does not fit them")))
    }

    /// What it takes and what it gives.
    pub fn shapes(&self) -> (Shape, Shape) {
        (self.chain.input, self.chain.output)
    }

    /// Number of trained values.
    pub fn parameter_count(&self) -> usize {
        self.chain.network.parameter_count()
    }

    /// Share of the weights that are exactly zero; see [`Network::sparsity`].
    ///
    /// # Errors
    /// [`Kind::Internal`] when the device fails.
    pub fn sparsity(&self) -> Result<f64> {
        Ok(self.chain.network.sparsity(&self.snapshot()?.0))
    }

    /// A copy of the weights.
    ///
    /// # Errors
    /// [`Kind::Internal`] when the device fails.
    pub fn snapshot(&self) -> Result<Weights> {
        Ok(Weights(match &self.executor {
            Executor::Engine(engine) => engine.weights(),
            Executor::Autograd(autograd) => autograd.weights()?,
        }))
    }

    /// Puts weights back; the optimiser's moments stay.
    ///
    /// # Errors
    /// [`Kind::Internal`] for another network's weights, or when the device fails.
    pub fn restore(&mut self, weights: &Weights) -> Result<()> {
        let wanted = self.chain.network.len();
        if weights.0.len() != wanted {
            return Err(Failure::new(Kind::Internal, format!("{} weights for a network of {wanted}", weights.0.len())));
        }
        match &mut self.executor {
            Executor::Engine(engine) => engine.set_weights(&weights.0),
            Executor::Autograd(autograd) => autograd.set_weights(&weights.0)?,
        }
        Ok(())
    }
}
