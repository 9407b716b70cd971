//! A network of one list of layers on candle's tensors.

use candle_core::{Device, Tensor};

use super::loss::{cross_entropy, mask_loss};
use super::{MICRO_BATCH, Variables, flat, nll, run, scalar};
use crate::error::Result;
use crate::model::adamw::Step;
use crate::model::feedforward::{Chain, Loss, Target};
use crate::model::graph::Shape;

/// The reference executor of a chain.
pub(in crate::model) struct FeedForwardAutograd {
    chain: Chain,
    variables: Variables,
}

impl FeedForwardAutograd {
    /// An executor with these weights, on this device.
    pub(in crate::model) fn new(chain: Chain, weights: &[f32], device: Device) -> Result<Self> {
        let variables = Variables::new(&chain.network, weights, device)?;
        Ok(Self { chain, variables })
    }

    /// The weights, laid out as on disk.
    pub(in crate::model) fn weights(&self) -> Result<Vec<f32>> {
        self.variables.weights()
    }

    /// Replaces the weights by others, laid out as on disk.
    pub(in crate::model) fn set_weights(&mut self, weights: &[f32]) -> Result<()> {
        self.variables.set(weights)
    }

    /// The outputs of whole images.
    pub(in crate::model) fn forward(&self, x: &[f32]) -> Result<Vec<f32>> {
        let parameters = self.variables.detached();
        let mut outputs = Vec::new();
        for x in x.chunks(MICRO_BATCH * self.chain.input.len()) {
            let x = self.images(x, self.chain.input)?;
            outputs.extend(flat(&run(&self.chain.network.lists[0], &parameters, x, None, |_, _| ())?)?);
        }
        Ok(outputs)
    }

    /// One step of AdamW on a batch.
    pub(in crate::model) fn train_step(&mut self, x: &[f32], target: Target, seed: u64, step: &Step) -> Result<Loss> {
        let (loss, gradients) = self.gradients(x, target, seed)?;
        Ok(Loss { loss, gradient_norm: self.variables.step(&gradients, step)? })
    }

    /// Loss and gradient of a batch: the mean over its images.
    pub(in crate::model) fn gradients(&self, x: &[f32], target: Target, seed: u64) -> Result<(f64, Vec<Tensor>)> {
        let n = (x.len() / self.chain.input.len()) as f64;
        let x = self.images(x, self.chain.input)?;
        let output = run(&self.chain.network.lists[0], &self.variables.tensors(), x, Some(seed), |_, _| ())?;
        let loss = match target {
            Target::Images(images, observation) => {
                nll(observation, &self.images(images, self.chain.output)?, &output, None)?
            }
            Target::Masks(masks, law) => mask_loss(law, &self.images(masks, self.chain.output)?, &output)?,
            Target::Classes(classes) => {
                cross_entropy(&output, &Tensor::from_slice(classes, classes.len(), &self.variables.device)?)?
            }
        };
        let loss = (loss / n)?;
        Ok((scalar(&loss)?, self.variables.gradients(&loss)?))
    }

    fn images(&self, x: &[f32], shape: Shape) -> Result<Tensor> {
        let shape = (x.len() / shape.len(), shape.c, shape.h, shape.w);
        Ok(Tensor::from_slice(x, shape, &self.variables.device)?)
    }
}
