//! The reference executor: the same list of layers on candle's tensors, on any device, differentiated by candle.

use candle_core::{D, DType, Device, Tensor, Var};
use candle_nn::{Conv2d, Conv2dConfig, ConvTranspose2d, ConvTranspose2dConfig, Linear, Module};

use super::adamw::{BETA1, BETA2, EPS, Step, Update};
use super::likelihood::{Law, Observation};
use super::network::{Layer, Network, Node, Window};
use super::pixels::Curve;
use super::vae::{Inference, Parts, StepLoss};
use super::{LOG_VAR_LIMIT, NORM_EPS};
use crate::error::Result;

/// Images that go to the device together.
const MICRO_BATCH: usize = 64;

/// The reference executor.
pub(super) struct Autograd {
    network: Network,
    device: Device,
    variables: Vec<Var>,
    /// First and second moment of each variable.
    moments: Vec<(Tensor, Tensor)>,
    t: i32,
}

impl Autograd {
    /// An executor of `network` with these weights, on this device.
    pub(super) fn new(network: Network, weights: &[f32], device: Device) -> Result<Self> {
        let tensor =
            |p: &super::parameters::Parameter| Tensor::from_slice(&weights[p.range()], p.shape.as_slice(), &device);
        let mut variables = Vec::new();
        let mut moments = Vec::new();
        for parameter in &network.parameters {
            let value = tensor(parameter)?;
            moments.push((value.zeros_like()?, value.zeros_like()?));
            variables.push(Var::from_tensor(&value)?);
        }
        Ok(Self { network, device, variables, moments, t: 0 })
    }

    /// The weights, laid out as on disk.
    pub(super) fn weights(&self) -> Result<Vec<f32>> {
        let mut all = Vec::with_capacity(self.network.parameter_count());
        for variable in &self.variables {
            all.extend(flat(variable)?);
        }
        Ok(all)
    }

    /// Replaces the weights by others, laid out as on disk.
    pub(super) fn set_weights(&mut self, weights: &[f32]) -> Result<()> {
        for (variable, parameter) in self.variables.iter().zip(&self.network.parameters) {
            variable.set(&Tensor::from_slice(
                &weights[parameter.range()],
                parameter.shape.as_slice(),
                &self.device,
            )?)?;
        }
        Ok(())
    }

    /// The fitted log-variances of the likelihood.
    pub(super) fn log_var(&self) -> Result<Vec<f32>> {
        self.network.log_var.map_or(Ok(Vec::new()), |index| flat(&self.variables[index]))
    }

    /// Encodes and decodes images; `features` asks for those too.
    pub(super) fn infer(&self, x: &[f32], features: bool) -> Result<Inference> {
        let mut result = Inference { mean: vec![], log_var: vec![], output: vec![], features: vec![] };
        if features {
            result.features = vec![Vec::new(); self.network.taps.len()];
        }
        let parameters: Vec<Tensor> = self.variables.iter().map(Var::as_detached_tensor).collect();
        for x in x.chunks(MICRO_BATCH * self.network.image.len()) {
            let mut taps = Vec::new();
            let (mean, log_var) = self.encode(&parameters, &self.images(x)?, &mut taps)?;
            let output = run(&self.network.decoder, &parameters, mean.clone(), |_, _| ())?;
            result.mean.extend(flat(&mean)?);
            result.log_var.extend(flat(&log_var)?);
            result.output.extend(flat(&output)?);
            for (stage, tap) in result.features.iter_mut().zip(taps) {
                stage.extend(flat(&tap.permute((0, 2, 3, 1))?)?); // [n, h, w, c]
            }
        }
        Ok(result)
    }

    /// Decodes latents `[N, latent]` to raw outputs `[N, C, S, S]`.
    pub(super) fn decode(&self, z: &[f32]) -> Result<Vec<f32>> {
        let parameters: Vec<Tensor> = self.variables.iter().map(Var::as_detached_tensor).collect();
        let mut outputs = Vec::new();
        for z in z.chunks(MICRO_BATCH * self.network.latent.len()) {
            let output = run(&self.network.decoder, &parameters, self.latents(z)?, |_, _| ())?;
            outputs.extend(flat(&output)?);
        }
        Ok(outputs)
    }

    /// One step of AdamW on a batch.
    pub(super) fn train_step(
        &mut self,
        x: &[f32],
        noise: &[f32],
        step: &Step,
        observation: &Observation,
    ) -> Result<StepLoss> {
        let (Parts { nll, kl }, gradients) = self.gradients(x, noise, step.beta, observation)?;
        let mut squares = 0.0;
        for gradient in &gradients {
            squares += f64::from(gradient.sqr()?.sum_all()?.to_scalar::<f32>()?);
        }
        let gradient_norm = squares.sqrt();
        if gradient_norm.is_finite() {
            self.update(&gradients, step, gradient_norm)?;
        }
        Ok(StepLoss { nll, kl, gradient_norm })
    }

    /// Loss and gradient of a batch: means over its images.
    pub(super) fn gradients(
        &self,
        x: &[f32],
        noise: &[f32],
        beta: f32,
        observation: &Observation,
    ) -> Result<(Parts, Vec<Tensor>)> {
        let n = (x.len() / self.network.image.len()) as f64;
        let parameters: Vec<Tensor> = self.variables.iter().map(|v| v.as_tensor().clone()).collect();
        let x = self.images(x)?;
        let (mean, log_var) = self.encode(&parameters, &x, &mut Vec::new())?;
        let z = (&mean + (&log_var * 0.5)?.exp()?.mul(&self.latents(noise)?)?)?;
        let output = run(&self.network.decoder, &parameters, z, |_, _| ())?;
        let log_var_parameter = self.network.log_var.map(|index| &parameters[index]);
        let nll = (nll(observation, &x, &output, log_var_parameter)? / n)?;
        // Kingma & Welling 2013, eq. 10.
        let kl = ((((mean.sqr()? + log_var.exp()?)? - &log_var)? - 1.0)?.sum_all()? * (0.5 / n))?;
        let store = (&nll + (&kl * f64::from(beta))?)?.backward()?;
        let gradient = |v: &Var| store.get(v).map_or_else(|| v.zeros_like(), |g| Ok(g.clone()));
        let gradients = self.variables.iter().map(gradient).collect::<candle_core::Result<_>>()?;
        Ok((Parts { nll: scalar(&nll)?, kl: scalar(&kl)? }, gradients))
    }

    fn update(&mut self, gradients: &[Tensor], step: &Step, norm: f64) -> Result<()> {
        self.t += 1;
        let update = Update::new(self.t, step, norm);
        let blend = |old: &Tensor, new: &Tensor, keep: f32| (old * f64::from(keep))? + (new * f64::from(1.0 - keep))?;
        for (i, (variable, gradient)) in self.variables.iter().zip(gradients).enumerate() {
            let gradient = (gradient.detach() * f64::from(update.clip))?;
            let (first, second) = &self.moments[i];
            let first = blend(first, &gradient, BETA1)?;
            let second = blend(second, &gradient.sqr()?, BETA2)?;
            let scale = ((second.sqrt()? * f64::from(update.correction))? + f64::from(EPS))?;
            let keep = if self.network.parameters[i].decay { update.keep } else { 1.0 };
            let kept = (variable.as_detached_tensor() * f64::from(keep))?;
            variable.set(&(kept - (first.div(&scale)? * f64::from(update.rate))?)?)?;
            self.moments[i] = (first, second);
        }
        Ok(())
    }

    /// Mean and log-variance `[n, dim]` or `[n, dim, h, w]`; the stages' features go to `taps`.
    fn encode(&self, parameters: &[Tensor], x: &Tensor, taps: &mut Vec<Tensor>) -> Result<(Tensor, Tensor)> {
        let posterior = run(&self.network.encoder, parameters, x.clone(), |i, y| {
            if self.network.taps.contains(&i) {
                taps.push(y.clone());
            }
        })?;
        let dim = self.network.latent.c;
        let limit = LOG_VAR_LIMIT;
        Ok((posterior.narrow(1, 0, dim)?, posterior.narrow(1, dim, dim)?.clamp(-limit, limit)?))
    }

    fn images(&self, x: &[f32]) -> Result<Tensor> {
        let image = self.network.image;
        Ok(Tensor::from_slice(x, (x.len() / image.len(), image.c, image.h, image.w), &self.device)?)
    }

    /// `[n, dim]` for a vector, `[n, dim, h, w]` for a map.
    fn latents(&self, z: &[f32]) -> Result<Tensor> {
        let latent = self.network.latent;
        let n = z.len() / latent.len();
        let is_vector = matches!(self.network.decoder.first(), Some(Node { layer: Layer::Linear, .. }));
        Ok(if is_vector {
            Tensor::from_slice(z, (n, latent.c), &self.device)?
        } else {
            Tensor::from_slice(z, (n, latent.c, latent.h, latent.w), &self.device)?
        })
    }
}

/// Runs a list of layers; `see` gets each node's output.
fn run(
    nodes: &[Node],
    parameters: &[Tensor],
    x: Tensor,
    mut see: impl FnMut(usize, &Tensor),
) -> candle_core::Result<Tensor> {
    let mut x = x;
    for (i, node) in nodes.iter().enumerate() {
        x = apply(node, parameters, &x)?;
        see(i, &x);
    }
    Ok(x)
}

fn apply(node: &Node, parameters: &[Tensor], x: &Tensor) -> candle_core::Result<Tensor> {
    let (weight, bias) = node.parameters.map_or((None, None), |(w, b)| (Some(&parameters[w]), Some(&parameters[b])));
    let y = match (node.layer, weight) {
        (Layer::Conv2d(Window { padding, stride, .. }), Some(weight)) => {
            let config = Conv2dConfig { padding, stride, ..Conv2dConfig::default() };
            return Conv2d::new(weight.clone(), bias.cloned(), config).forward(x);
        }
        (Layer::ConvTranspose2d(Window { padding, stride, .. }), Some(weight)) => {
            let config = ConvTranspose2dConfig { padding, stride, ..ConvTranspose2dConfig::default() };
            return ConvTranspose2d::new(weight.clone(), bias.cloned(), config).forward(x);
        }
        (Layer::Linear, Some(weight)) => return Linear::new(weight.clone(), bias.cloned()).forward(x),
        (Layer::GroupNorm, Some(weight)) => {
            let (n, c, h, w) = x.dims4()?;
            let y = standardise(&x.reshape((n, c * h * w))?, D::Minus1)?.reshape((n, c, h, w))?;
            y.broadcast_mul(&channels(weight)?)?
        }
        (Layer::LayerNorm, Some(weight)) => standardise(x, D::Minus(3))?.broadcast_mul(&channels(weight)?)?,
        (Layer::Relu, _) => x.relu()?,
        (Layer::Flatten, _) => x.flatten_from(1)?,
        (Layer::Unflatten, _) => x.reshape((x.dim(0)?, node.output.c, node.output.h, node.output.w))?,
        (layer, None) => candle_core::bail!("layer {layer:?} has no weight"),
    };
    match bias {
        Some(bias) if y.rank() == 2 => y.broadcast_add(bias),
        Some(bias) => y.broadcast_add(&channels(bias)?),
        None => Ok(y),
    }
}

/// Zero mean and unit variance along one axis.
fn standardise(x: &Tensor, axis: D) -> candle_core::Result<Tensor> {
    let centred = x.broadcast_sub(&x.mean_keepdim(axis)?)?;
    let variance = centred.sqr()?.mean_keepdim(axis)?;
    centred.broadcast_div(&(variance + f64::from(NORM_EPS))?.sqrt()?)
}

/// `[c]` as `[1, c, 1, 1]`.
fn channels(x: &Tensor) -> candle_core::Result<Tensor> {
    x.reshape((1, x.elem_count(), 1, 1))
}

/// Negative log-likelihood of a batch, summed.
fn nll(observation: &Observation, x: &Tensor, y: &Tensor, log_var: Option<&Tensor>) -> candle_core::Result<Tensor> {
    let log_two_pi = f64::from(std::f32::consts::TAU).ln();
    let pixels = match observation.law() {
        Law::Bernoulli => {
            let tail = (y.abs()?.neg()?.exp()? + 1.0)?.log()?;
            ((y.relu()? - y.mul(x)?)? + tail)?
        }
        Law::Gaussian(_) => {
            let log_var = match log_var {
                Some(log_var) => channels(&log_var.clamp(-LOG_VAR_LIMIT, LOG_VAR_LIMIT)?)?,
                None => candle_core::bail!("the Gaussian likelihood has no variance"),
            };
            let squares = (x - y)?.sqr()?.broadcast_mul(&log_var.neg()?.exp()?)?;
            ((squares.broadcast_add(&log_var)? + log_two_pi)? * 0.5)?
        }
        Law::Counts(response, noise) => {
            let signal = |u: &Tensor| -> candle_core::Result<Tensor> {
                let u = u.clamp(response.bounds.0, response.bounds.1)?;
                let value = match response.curve {
                    Curve::Linear => u,
                    Curve::Sinh => ((u.exp()? - u.neg()?.exp()?)? * 0.5)?,
                    Curve::Exp(range) => ((u * f64::from(range))?.exp()? - 1.0)?,
                };
                value.affine(f64::from(response.factor), f64::from(response.shift))
            };
            let (v, mu) = (signal(x)?, signal(y)?);
            let shot = mu.maximum(noise.floor)?.affine(f64::from(noise.gain), f64::from(noise.read_variance))?;
            let variance = (shot + (&mu * f64::from(noise.model_error))?.sqr()?)?;
            (((v - mu)?.sqr()?.div(&variance)? + (variance.log()? + log_two_pi)?)? * 0.5)?
        }
    };
    pixels.sum_all()
}

fn scalar(x: &Tensor) -> Result<f64> {
    Ok(f64::from(x.to_dtype(DType::F32)?.to_scalar::<f32>()?))
}

fn flat(x: &Tensor) -> Result<Vec<f32>> {
    Ok(x.flatten_all()?.to_vec1::<f32>()?)
}
