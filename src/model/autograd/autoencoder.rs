//! An autoencoder on candle's tensors.

use candle_core::{Device, Tensor};

use super::loss::{cross_entropy_of_some, divergence_from_classes};
use super::{MICRO_BATCH, Variables, flat, nll, run, scalar};
use crate::error::Result;
use crate::model::LOG_VAR_LIMIT;
use crate::model::adamw::Step;
use crate::model::architecture::Architecture;
use crate::model::autoencoder::{Inference, Parts, StepLoss};
use crate::model::engine::Batch;
use crate::model::graph::{Layer, Node};
use crate::model::likelihood::Observation;

/// The head's place among the lists.
const HEAD: usize = 2;

/// The reference executor of an autoencoder.
pub(in crate::model) struct AutoencoderAutograd {
    architecture: Architecture,
    variables: Variables,
}

impl AutoencoderAutograd {
    /// An executor with these weights, on this device.
    pub(in crate::model) fn new(architecture: Architecture, weights: &[f32], device: Device) -> Result<Self> {
        let variables = Variables::new(&architecture.network, weights, device)?;
        Ok(Self { architecture, variables })
    }

    /// The weights, laid out as on disk.
    pub(in crate::model) fn weights(&self) -> Result<Vec<f32>> {
        self.variables.weights()
    }

    /// Replaces the weights by others, laid out as on disk.
    pub(in crate::model) fn set_weights(&mut self, weights: &[f32]) -> Result<()> {
        self.variables.set(weights)
    }

    /// The fitted log-variances of the likelihood.
    pub(in crate::model) fn log_var(&self) -> Result<Vec<f32>> {
        self.architecture.log_var.map_or(Ok(Vec::new()), |index| flat(&self.variables.values[index]))
    }

    /// A parameter, laid out as on disk.
    pub(in crate::model) fn values(&self, parameter: usize) -> Result<Vec<f32>> {
        flat(&self.variables.values[parameter])
    }

    /// The head's logits `[N, classes]` of latent means `[N, latent]`.
    pub(in crate::model) fn answers(&self, mean: &[f32]) -> Result<Vec<f32>> {
        let parameters = self.variables.detached();
        flat(&run(&self.architecture.network.lists[HEAD], &parameters, self.latents(mean)?, None, |_, _| ())?)
    }

    /// Encodes and decodes images; `features` asks for those too.
    pub(in crate::model) fn infer(&self, x: &[f32], features: bool) -> Result<Inference> {
        let mut result = Inference { mean: vec![], log_var: vec![], output: vec![], features: vec![] };
        if features {
            result.features = vec![Vec::new(); self.architecture.taps.len()];
        }
        let parameters = self.variables.detached();
        for x in x.chunks(MICRO_BATCH * self.architecture.image.len()) {
            let mut taps = Vec::new();
            let (mean, log_var) = self.encode(&parameters, &self.images(x)?, &mut taps)?;
            let output = run(self.architecture.decoder(), &parameters, mean.clone(), None, |_, _| ())?;
            result.mean.extend(flat(&mean)?);
            if let Some(log_var) = log_var {
                result.log_var.extend(flat(&log_var)?);
            }
            result.output.extend(flat(&output)?);
            for (stage, tap) in result.features.iter_mut().zip(taps) {
                // [n, h, w, c]; a vector is its own channels.
                stage.extend(flat(&if tap.rank() == 4 { tap.permute((0, 2, 3, 1))? } else { tap })?);
            }
        }
        Ok(result)
    }

    /// Decodes latents `[N, latent]` to raw outputs `[N, C, S, S]`.
    pub(in crate::model) fn decode(&self, z: &[f32]) -> Result<Vec<f32>> {
        let parameters = self.variables.detached();
        let mut outputs = Vec::new();
        for z in z.chunks(MICRO_BATCH * self.architecture.latent.len()) {
            let output = run(self.architecture.decoder(), &parameters, self.latents(z)?, None, |_, _| ())?;
            outputs.extend(flat(&output)?);
        }
        Ok(outputs)
    }

    /// Norm of the last step's gradient in each parameter; none before the first.
    pub(in crate::model) fn gradient_norms(&self) -> Vec<f64> {
        self.variables.gradient_norms.clone()
    }

    /// One step of AdamW on a batch.
    pub(in crate::model) fn train_step(
        &mut self,
        batch: Batch,
        step: &Step,
        observation: &Observation,
    ) -> Result<StepLoss> {
        let (Parts { nll, kl, cross_entropy }, gradients) = self.gradients(batch, step.beta, observation)?;
        Ok(StepLoss { nll, kl, cross_entropy, gradient_norm: self.variables.step(&gradients, step)? })
    }

    /// Loss and gradient of a batch: means over its images.
    pub(in crate::model) fn gradients(
        &self,
        batch: Batch,
        beta: f32,
        observation: &Observation,
    ) -> Result<(Parts, Vec<Tensor>)> {
        let n = (batch.x.len() / self.architecture.image.len()) as f64;
        let parameters = self.variables.tensors();
        let (x, target) = (self.images(batch.x)?, self.images(batch.target)?);
        let (mean, log_var) = self.encode(&parameters, &x, &mut Vec::new())?;
        let z = match &log_var {
            Some(log_var) => (&mean + (log_var * 0.5)?.exp()?.mul(&self.latents(batch.noise)?)?)?,
            None => mean.clone(),
        };
        let output = run(self.architecture.decoder(), &parameters, z, None, |_, _| ())?;
        let variances = self.architecture.log_var.map(|index| &parameters[index]);
        let nll = (nll(observation, &target, &output, variances)? / n)?;
        let (mut loss, kl) = match &log_var {
            Some(log_var) => {
                let kl = (self.divergence(&parameters, &mean, log_var, batch.classes)? / n)?;
                ((&nll + (&kl * f64::from(beta))?)?, scalar(&kl)?)
            }
            None => (nll.clone(), 0.0),
        };
        let mut parts = Parts { nll: scalar(&nll)?, kl, cross_entropy: 0.0 };
        if let Some(head) = self.architecture.supervised.as_ref().and_then(|supervised| supervised.head) {
            let logits = run(&self.architecture.network.lists[HEAD], &parameters, mean, None, |_, _| ())?;
            let cross_entropy = (cross_entropy_of_some(&logits, batch.classes)? / n)?;
            parts.cross_entropy = scalar(&cross_entropy)?;
            loss = (loss + (cross_entropy * f64::from(head))?)?;
        }
        Ok((parts, self.variables.gradients(&loss)?))
    }

    /// KL of the posteriors from the prior, summed: of their classes where it has any.
    fn divergence(
        &self,
        parameters: &[Tensor],
        mean: &Tensor,
        log_var: &Tensor,
        classes: &[Option<u32>],
    ) -> Result<Tensor> {
        let width = ((log_var.exp()? - log_var)? - 1.0)?;
        Ok(match self.architecture.supervised.as_ref().and_then(|supervised| supervised.prior) {
            // Kingma & Welling 2013, eq. 10.
            None => ((mean.sqr()? + width)?.sum_all()? * 0.5)?,
            Some(parameter) => {
                let means = parameters[parameter].flatten_from(1)?;
                ((width.sum_all()? * 0.5)? + divergence_from_classes(&mean.flatten_from(1)?, &means, classes)?)?
            }
        })
    }

    /// Mean and log-variance, `[n, dim]` or `[n, dim, h, w]`; the stages' features go to `taps`.
    fn encode(&self, parameters: &[Tensor], x: &Tensor, taps: &mut Vec<Tensor>) -> Result<(Tensor, Option<Tensor>)> {
        let posterior = run(self.architecture.encoder(), parameters, x.clone(), None, |i, y| {
            if self.architecture.taps.contains(&i) {
                taps.push(y.clone());
            }
        })?;
        if !self.architecture.is_variational {
            return Ok((posterior, None));
        }
        let dim = self.architecture.latent.c;
        let limit = LOG_VAR_LIMIT;
        Ok((posterior.narrow(1, 0, dim)?, Some(posterior.narrow(1, dim, dim)?.clamp(-limit, limit)?)))
    }

    fn images(&self, x: &[f32]) -> Result<Tensor> {
        let image = self.architecture.image;
        let shape = (x.len() / image.len(), image.c, image.h, image.w);
        Ok(Tensor::from_slice(x, shape, &self.variables.device)?)
    }

    /// `[n, dim]` for a vector, `[n, dim, h, w]` for a map.
    fn latents(&self, z: &[f32]) -> Result<Tensor> {
        let latent = self.architecture.latent;
        let n = z.len() / latent.len();
        let is_vector = matches!(self.architecture.decoder().first(), Some(Node { layer: Layer::Linear, .. }));
        let device = &self.variables.device;
        Ok(if is_vector {
            Tensor::from_slice(z, (n, latent.c), device)?
        } else {
            Tensor::from_slice(z, (n, latent.c, latent.h, latent.w), device)?
        })
    }
}
