//! An autoencoder, variational (Kingma & Welling 2013, arXiv:1312.6114) or not, whichever executor runs it.
//!
//! Images are `[N, C, S, S]`, latents `[N, latent_len]` (`[N, dim]`, or `[N, dim, h, w]` for a map), all f32 slices.

use std::collections::HashMap;
use std::path::Path;

use super::adamw::Step;
use super::architecture::Architecture;
use super::autograd::AutoencoderAutograd;
use super::device::Device;
use super::engine::{AutoencoderEngine, Batch};
use super::likelihood::Observation;
use super::prior::Prior;
use super::supervised;
use super::weights::{self, Weights};
use crate::error::{Failure, Kind, Result};
use crate::pipeline;

/// A network, its weights, and what runs them.
pub struct Autoencoder {
    pub(super) architecture: Architecture,
    observation: Observation,
    pub(super) prior: Prior,
    /// None without supervision.
    pub(super) classes: Vec<String>,
    pub(super) executor: Executor,
}

pub(super) enum Executor {
    Engine(Box<AutoencoderEngine>),
    Autograd(Box<AutoencoderAutograd>),
}

/// What a batch of images gives; `z = mean`, nothing is drawn.
#[derive(Debug, Clone, PartialEq)]
pub struct Inference {
    /// Posterior means, `[N, latent_len]`.
    pub mean: Vec<f32>,
    /// Posterior log-variances within +-20, `[N, latent_len]`; empty where the encoder gives a point.
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
    /// Cross-entropy of the head; an image without a class counts as 0.
    pub cross_entropy: f64,
    /// Norm of the gradient of the whole loss before clipping. Where it is not finite, no weight was changed.
    pub gradient_norm: f64,
}

/// The terms of the loss.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Parts {
    pub nll: f64,
    pub kl: f64,
    pub cross_entropy: f64,
}

impl Autoencoder {
    /// A network with initial weights, a function of the seed alone. Supervised where the model names its classes.
    ///
    /// # Errors
    /// [`Kind::Settings`] for a model and input that do not fit together.
    pub fn new(model: &pipeline::Model, input: &pipeline::Input, seed: u64, device: Device) -> Result<Self> {
        let architecture = Architecture::new(model, input)?;
        let weights = architecture.network.initial(seed);
        Self::with_weights(model, input, architecture, &weights, device)
    }

    /// A network with weights from a file, which also names the classes.
    ///
    /// # Errors
    /// [`Kind::Model`] for a file that cannot be read, holds another network's weights, naming the tensor and both shapes, or
    /// has other classes than the model names.
    pub fn load(model: &pipeline::Model, input: &pipeline::Input, weights: &Path, device: Device) -> Result<Self> {
        let model = &supervised::with_classes_of(model, weights)?;
        let architecture = Architecture::new(model, input)?;
        let weights = weights::load(weights, &architecture.network)?;
        Self::with_weights(model, input, architecture, &weights, device)
    }

    fn with_weights(
        model: &pipeline::Model,
        input: &pipeline::Input,
        architecture: Architecture,
        weights: &[f32],
        device: Device,
    ) -> Result<Self> {
        let parameters = &architecture.network.parameters;
        let log_var = architecture.log_var.map_or(&[][..], |index| &weights[parameters[index].range()]);
        let observation = Observation::new(model.likelihood, input.scaling, input.channels, log_var);
        let executor = match device {
            Device::Cpu => Executor::Engine(Box::new(AutoencoderEngine::new(architecture.clone(), weights))),
            Device::Candle(device) => {
                Executor::Autograd(Box::new(AutoencoderAutograd::new(architecture.clone(), weights, device)?))
            }
        };
        let classes = architecture.supervised.as_ref().and(model.labels.as_ref()).map(|labels| labels.classes.clone());
        let (prior, classes) = (Prior::Standard, classes.unwrap_or_default());
        let mut made = Self { architecture, observation, prior, classes, executor };
        made.refresh()?;
        Ok(made)
    }

    /// Writes the weights as safetensors; the same weights and metadata give the same bytes.
    ///
    /// # Errors
    /// [`Kind::Io`] when the file cannot be written.
    pub fn save(&self, path: &Path, mut metadata: HashMap<String, String>) -> Result<()> {
        metadata.extend(self.class_names());
        weights::save(path, &self.architecture.network, &self.snapshot()?.0, metadata)
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
    /// As [`Autoencoder::infer`].
    pub fn reconstruct(&mut self, x: &[f32]) -> Result<Inference> {
        self.run(x, false)
    }

    fn run(&mut self, x: &[f32], features: bool) -> Result<Inference> {
        whole("x", x, self.architecture.image.len())?;
        match &self.executor {
            Executor::Engine(engine) => Ok(engine.infer(x, features)),
            Executor::Autograd(autograd) => autograd.infer(x, features),
        }
    }

    /// Decodes latents `[N, latent_len]` to raw decoder outputs `[N, C, S, S]`.
    ///
    /// # Errors
    /// As [`Autoencoder::infer`].
    pub fn decode(&mut self, z: &[f32]) -> Result<Vec<f32>> {
        whole("z", z, self.architecture.latent.len())?;
        match &self.executor {
            Executor::Engine(engine) => Ok(engine.decode(z)),
            Executor::Autograd(autograd) => autograd.decode(z),
        }
    }

    /// One step of AdamW on the mean over the batch of `nll + beta * kl`, with `z = mean + exp(log_var / 2) * noise`.
    /// `target` is what the images `x` are to become, `[N, C, S, S]`: themselves, or what they were before noise was
    /// added. `noise` is standard normal, `[N, noise_len]`.
    ///
    /// # Errors
    /// As [`Autoencoder::infer`]; also for an empty batch.
    pub fn train_step(&mut self, x: &[f32], target: &[f32], noise: &[f32], step: &Step) -> Result<StepLoss> {
        self.step((x, &[]), target, noise, step)
    }

    pub(super) fn step(
        &mut self,
        x: (&[f32], &[Option<u32>]),
        target: &[f32],
        noise: &[f32],
        step: &Step,
    ) -> Result<StepLoss> {
        let batch = self.batch(x, target, noise)?;
        let loss = match &mut self.executor {
            Executor::Engine(engine) => engine.train_step(batch, step, &self.observation),
            Executor::Autograd(autograd) => autograd.train_step(batch, step, &self.observation)?,
        };
        self.refresh()?;
        Ok(loss)
    }

    fn batch<'a>(
        &self,
        (x, classes): (&'a [f32], &'a [Option<u32>]),
        target: &'a [f32],
        noise: &'a [f32],
    ) -> Result<Batch<'a>> {
        let n = whole("x", x, self.architecture.image.len())?;
        if n == 0 || target.len() != x.len() || noise.len() != n * self.noise_len() {
            let (target, noise) = (target.len(), noise.len());
            let message = format!("a training step on {n} images with {target} target values and {noise} of noise");
            return Err(Failure::new(Kind::Internal, message));
        }
        Ok(Batch { x, target, noise, classes })
    }

    /// Loss and gradient of a batch, the gradient laid out as on disk.
    #[cfg(test)]
    pub(super) fn gradients(
        &mut self,
        x: (&[f32], &[Option<u32>]),
        noise: &[f32],
        beta: f32,
    ) -> Result<(Parts, Vec<f32>)> {
        let batch = self.batch(x, x.0, noise)?;
        match &mut self.executor {
            Executor::Engine(engine) => {
                let parts = engine.gradients(batch, beta, &self.observation);
                Ok((parts, engine.last_gradient()))
            }
            Executor::Autograd(autograd) => {
                let (parts, gradients) = autograd.gradients(batch, beta, &self.observation)?;
                let mut all = Vec::new();
                for gradient in gradients {
                    all.extend(gradient.flatten_all()?.to_vec1::<f32>()?);
                }
                Ok((parts, all))
            }
        }
    }

    /// Norm of the last step's gradient in each layer's weights, before clipping, under the layer's name and in the order of
    /// the network; norms, biases and variances are left out. None before the first step.
    pub fn layer_gradients(&self) -> Vec<(String, f64)> {
        let norms = match &self.executor {
            Executor::Engine(engine) => engine.gradient_norms(),
            Executor::Autograd(autograd) => autograd.gradient_norms(),
        };
        let layers = self.architecture.network.parameters.iter().zip(norms).filter(|(parameter, _)| parameter.decay);
        layers.map(|(parameter, norm)| (parameter.name.trim_end_matches(".weight").to_string(), norm)).collect()
    }

    /// Channels of an image.
    pub fn channels(&self) -> usize {
        self.architecture.image.c
    }

    /// Side of an image in pixels.
    pub fn size(&self) -> usize {
        self.architecture.image.h
    }

    /// Number of values of an image.
    pub fn image_len(&self) -> usize {
        self.architecture.image.len()
    }

    /// Number of values of a latent.
    pub fn latent_len(&self) -> usize {
        self.architecture.latent.len()
    }

    /// Number of values of noise that a training image needs: as many as the latent's, or none for a point.
    pub fn noise_len(&self) -> usize {
        if self.architecture.is_variational { self.latent_len() } else { 0 }
    }

    /// Whether the encoder gives a distribution.
    pub fn is_variational(&self) -> bool {
        self.architecture.is_variational
    }

    /// Channels, rows and columns of the latent; a vector is `(dim, 1, 1)`.
    pub fn latent_map(&self) -> (usize, usize, usize) {
        let latent = self.architecture.latent;
        (latent.c, latent.h, latent.w)
    }

    /// Channels, rows and columns of each encoder stage after its activation.
    pub fn stages(&self) -> Vec<(usize, usize, usize)> {
        let shapes = self.architecture.taps.iter().map(|&tap| self.architecture.encoder()[tap].output);
        shapes.map(|shape| (shape.c, shape.h, shape.w)).collect()
    }

    /// Number of trained values.
    pub fn parameter_count(&self) -> usize {
        self.architecture.network.parameter_count()
    }

    /// Share of the weights that are exactly zero; see [`super::network::Network::sparsity`].
    ///
    /// # Errors
    /// [`Kind::Internal`] when the device fails.
    pub fn sparsity(&self) -> Result<f64> {
        Ok(self.architecture.network.sparsity(&self.snapshot()?.0))
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
        let wanted = self.architecture.network.len();
        if weights.0.len() != wanted {
            let message = format!("{} weights for a network of {wanted}", weights.0.len());
            return Err(Failure::new(Kind::Internal, message));
        }
        match &mut self.executor {
            Executor::Engine(engine) => engine.set_weights(&weights.0),
            Executor::Autograd(autograd) => autograd.set_weights(&weights.0)?,
        }
        self.refresh()
    }

    /// What follows from the weights: the observation's variances and the prior's means.
    fn refresh(&mut self) -> Result<()> {
        let prior = self.architecture.supervised.as_ref().and_then(|supervised| supervised.prior);
        if let Some(parameter) = prior {
            let means = match &self.executor {
                Executor::Engine(engine) => engine.values(parameter),
                Executor::Autograd(autograd) => autograd.values(parameter)?,
            };
            self.prior = Prior::Classes { means, latent_len: self.latent_len() };
        }
        match &self.executor {
            Executor::Engine(engine) => self.observation.set_log_var(engine.log_var()),
            Executor::Autograd(autograd) => self.observation.set_log_var(&autograd.log_var()?),
        }
        Ok(())
    }
}

/// The number of samples in a slice.
pub(super) fn whole(name: &str, values: &[f32], size: usize) -> Result<usize> {
    if values.len().is_multiple_of(size) {
        return Ok(values.len() / size);
    }
    Err(Failure::new(Kind::Internal, format!("{name} holds {} values, which is no multiple of {size}", values.len())))
}
