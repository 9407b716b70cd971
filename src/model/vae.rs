//! The variational autoencoder, whichever executor runs it (Kingma & Welling 2013, arXiv:1312.6114).
//!
//! Images are `[N, C, S, S]`, latents `[N, latent_len]` (`[N, dim]`, or `[N, dim, h, w]` for a map), all f32 slices.

use std::collections::HashMap;
use std::path::Path;

use super::adamw::Step;
use super::autograd::Autograd;
use super::device::Device;
use super::engine::Engine;
use super::likelihood::Observation;
use super::network::Network;
use super::weights::{self, Weights};
use crate::error::{Failure, Kind, Result};
use crate::pipeline;

/// A network, its weights, and what runs them.
pub struct Vae {
    network: Network,
    observation: Observation,
    executor: Executor,
}

enum Executor {
    Engine(Box<Engine>),
    Autograd(Box<Autograd>),
}

/// What a batch of images gives; `z = mean`, nothing is drawn.
#[derive(Debug, Clone, PartialEq)]
pub struct Inference {
    /// Posterior means, `[N, latent_len]`.
    pub mean: Vec<f32>,
    /// Posterior log-variances within +-20, `[N, latent_len]`.
    pub log_var: Vec<f32>,
    /// Raw decoder output, `[N, C, S, S]`: logits or means in scaled units, as the observation law has it.
    pub output: Vec<f32>,
    /// Each encoder stage's activations, `[N, h, w, c]`; none where they were not asked for.
    pub features: Vec<Vec<f32>>,
}

/// The losses of a training step before its update, in nats: means per image of the batch.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StepLoss {
    /// Reconstruction loss.
    pub nll: f64,
    /// KL of the posterior from the prior.
    pub kl: f64,
    /// Norm of the gradient of `nll + beta * kl` before clipping. Where it is not finite, no weight was changed.
    pub gradient_norm: f64,
}

/// The two terms of the loss.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Parts {
    pub nll: f64,
    pub kl: f64,
}

impl Vae {
    /// A network with initial weights, a function of the seed alone.
    ///
    /// # Errors
    /// [`Kind::Settings`] for a model and input that do not fit together.
    pub fn new(model: &pipeline::Model, input: &pipeline::Input, seed: u64, device: Device) -> Result<Self> {
        let network = Network::new(model, input)?;
        let weights = network.initial(seed);
        Self::with_weights(model, input, network, &weights, device)
    }

    /// A network with weights from a file.
    ///
    /// # Errors
    /// [`Kind::Model`] for a file that cannot be read or holds another network's weights, naming the tensor and both shapes.
    pub fn load(model: &pipeline::Model, input: &pipeline::Input, weights: &Path, device: Device) -> Result<Self> {
        let network = Network::new(model, input)?;
        let weights = weights::load(weights, &network)?;
        Self::with_weights(model, input, network, &weights, device)
    }

    fn with_weights(
        model: &pipeline::Model,
        input: &pipeline::Input,
        network: Network,
        weights: &[f32],
        device: Device,
    ) -> Result<Self> {
        let log_var = network.log_var.map_or(&[][..], |index| &weights[network.parameters[index].range()]);
        let observation = Observation::new(model.likelihood, input.scaling, input.channels, log_var);
        let executor = match device {
            Device::Cpu => Executor::Engine(Box::new(Engine::new(network.clone(), weights))),
            Device::Candle(device) => Executor::Autograd(Box::new(Autograd::new(network.clone(), weights, device)?)),
        };
        Ok(Self { network, observation, executor })
    }

    /// Writes the weights as safetensors; the same weights and metadata give the same bytes.
    ///
    /// # Errors
    /// [`Kind::Io`] when the file cannot be written.
    pub fn save(&self, path: &Path, metadata: HashMap<String, String>) -> Result<()> {
        weights::save(path, &self.network, &self.snapshot()?.0, metadata)
    }

    /// Encodes and decodes any number of images, with the encoder's features.
    ///
    /// # Errors
    /// [`Kind::Internal`] for a length that is no number of images, or when the device fails.
    pub fn infer(&mut self, x: &[f32]) -> Result<Inference> {
        self.run(x, true)
    }

    /// Encodes and decodes any number of images; leaves `features` empty, which saves their memory traffic.
    ///
    /// # Errors
    /// As [`Vae::infer`].
    pub fn reconstruct(&mut self, x: &[f32]) -> Result<Inference> {
        self.run(x, false)
    }

    fn run(&mut self, x: &[f32], features: bool) -> Result<Inference> {
        whole("x", x, self.network.image.len())?;
        match &self.executor {
            Executor::Engine(engine) => Ok(engine.infer(x, features)),
            Executor::Autograd(autograd) => autograd.infer(x, features),
        }
    }

    /// Decodes latents `[N, latent_len]` to raw decoder outputs `[N, C, S, S]`.
    ///
    /// # Errors
    /// As [`Vae::infer`].
    pub fn decode(&mut self, z: &[f32]) -> Result<Vec<f32>> {
        whole("z", z, self.network.latent.len())?;
        match &self.executor {
            Executor::Engine(engine) => Ok(engine.decode(z)),
            Executor::Autograd(autograd) => autograd.decode(z),
        }
    }

    /// One step of AdamW on the mean over the batch of `nll + beta * kl`, with `z = mean + exp(log_var / 2) * noise`.
    /// `noise` is standard normal, `[N, latent_len]`.
    ///
    /// # Errors
    /// As [`Vae::infer`]; also for an empty batch.
    pub fn train_step(&mut self, x: &[f32], noise: &[f32], step: &Step) -> Result<StepLoss> {
        let n = whole("x", x, self.network.image.len())?;
        if n == 0 || whole("noise", noise, self.network.latent.len())? != n {
            let message = format!("a training step on {n} images with {} values of noise", noise.len());
            return Err(Failure::new(Kind::Internal, message));
        }
        let loss = match &mut self.executor {
            Executor::Engine(engine) => engine.train_step(x, noise, step, &self.observation),
            Executor::Autograd(autograd) => autograd.train_step(x, noise, step, &self.observation)?,
        };
        self.refresh_observation()?;
        Ok(loss)
    }

    /// Loss and gradient of a batch, the gradient laid out as on disk.
    #[cfg(test)]
    pub(super) fn gradients(&mut self, x: &[f32], noise: &[f32], beta: f32) -> Result<(Parts, Vec<f32>)> {
        match &mut self.executor {
            Executor::Engine(engine) => {
                let parts = engine.gradients(x, noise, beta, &self.observation);
                Ok((parts, engine.last_gradient()))
            }
            Executor::Autograd(autograd) => {
                let (parts, gradients) = autograd.gradients(x, noise, beta, &self.observation)?;
                let mut all = Vec::new();
                for gradient in gradients {
                    all.extend(gradient.flatten_all()?.to_vec1::<f32>()?);
                }
                Ok((parts, all))
            }
        }
    }

    /// Channels of an image.
    pub fn channels(&self) -> usize {
        self.network.image.c
    }

    /// Side of an image in pixels.
    pub fn size(&self) -> usize {
        self.network.image.h
    }

    /// Number of values of an image.
    pub fn image_len(&self) -> usize {
        self.network.image.len()
    }

    /// Number of values of a latent.
    pub fn latent_len(&self) -> usize {
        self.network.latent.len()
    }

    /// Channels, rows and columns of the latent; a vector is `(dim, 1, 1)`.
    pub fn latent_map(&self) -> (usize, usize, usize) {
        let latent = self.network.latent;
        (latent.c, latent.h, latent.w)
    }

    /// Channels, rows and columns of each encoder stage after its activation.
    pub fn stages(&self) -> Vec<(usize, usize, usize)> {
        let shapes = self.network.taps.iter().map(|&tap| self.network.encoder[tap].output);
        shapes.map(|shape| (shape.c, shape.h, shape.w)).collect()
    }

    /// Number of trained values.
    pub fn parameter_count(&self) -> usize {
        self.network.parameter_count()
    }

    /// What a pixel's value is worth under the present weights.
    pub fn observation(&self) -> Observation {
        self.observation.clone()
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
        if weights.0.len() != self.network.parameter_count() {
            let message = format!("{} weights for a network of {}", weights.0.len(), self.network.parameter_count());
            return Err(Failure::new(Kind::Internal, message));
        }
        match &mut self.executor {
            Executor::Engine(engine) => engine.set_weights(&weights.0),
            Executor::Autograd(autograd) => autograd.set_weights(&weights.0)?,
        }
        self.refresh_observation()
    }

    fn refresh_observation(&mut self) -> Result<()> {
        match &self.executor {
            Executor::Engine(engine) => self.observation.set_log_var(engine.log_var()),
            Executor::Autograd(autograd) => self.observation.set_log_var(&autograd.log_var()?),
        }
        Ok(())
    }
}

/// The number of samples in a slice.
fn whole(name: &str, values: &[f32], size: usize) -> Result<usize> {
    if values.len().is_multiple_of(size) {
        return Ok(values.len() / size);
    }
    Err(Failure::new(Kind::Internal, format!("{name} holds {} values, which is no multiple of {size}", values.len())))
}
