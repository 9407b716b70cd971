//! The reference executor: the same lists of layers on candle's tensors, on any device, differentiated by candle.

use candle_core::{DType, Device, Tensor, Var};

use super::adamw::{BETA1, BETA2, EPS, Step, Update};
use super::network::Network;
use super::parameters::{Parameter, Trains};
use crate::error::Result;

mod autoencoder;
mod feedforward;
mod layers;
mod loss;
mod sobel;

pub(super) use autoencoder::AutoencoderAutograd;
pub(super) use feedforward::FeedForwardAutograd;
use layers::run;
use loss::nll;

/// Images that go to the device together.
const MICRO_BATCH: usize = 64;

/// A network's parameters on a device, and their optimiser.
struct Variables {
    values: Vec<Var>,
    device: Device,
    decays: Vec<bool>,
    /// Zero where a value is not trained; none where all are.
    trained: Vec<Option<Tensor>>,
    /// First and second moment of each variable.
    moments: Vec<(Tensor, Tensor)>,
    shapes: Vec<Parameter>,
    t: i32,
    /// Of the last step, in each variable; none before the first.
    gradient_norms: Vec<f64>,
}

impl Variables {
    fn new(network: &Network, weights: &[f32], device: Device) -> Result<Self> {
        let mut made = Self {
            values: Vec::new(),
            decays: network.parameters.iter().map(|parameter| parameter.decay).collect(),
            trained: Vec::new(),
            moments: Vec::new(),
            shapes: network.parameters.clone(),
            t: 0,
            gradient_norms: Vec::new(),
            device,
        };
        for parameter in &network.parameters {
            let tensor = |values: &[f32]| Tensor::from_slice(values, parameter.shape.as_slice(), &made.device);
            let value = tensor(&weights[parameter.range()])?;
            let mask: Vec<f32> = parameter.trained().map(|trained| f32::from(u8::from(trained))).collect();
            made.trained.push(if parameter.trains == Trains::Whole { None } else { Some(tensor(&mask)?) });
            made.moments.push((value.zeros_like()?, value.zeros_like()?));
            made.values.push(Var::from_tensor(&value)?);
        }
        Ok(made)
    }

    /// The values, laid out as on disk.
    fn weights(&self) -> Result<Vec<f32>> {
        let mut all = Vec::new();
        for variable in &self.values {
            all.extend(flat(variable)?);
        }
        Ok(all)
    }

    /// Replaces the values by others, laid out as on disk.
    fn set(&mut self, weights: &[f32]) -> Result<()> {
        for (variable, parameter) in self.values.iter().zip(&self.shapes) {
            variable.set(&Tensor::from_slice(
                &weights[parameter.range()],
                parameter.shape.as_slice(),
                &self.device,
            )?)?;
        }
        Ok(())
    }

    /// Tensors that are not differentiated.
    fn detached(&self) -> Vec<Tensor> {
        self.values.iter().map(Var::as_detached_tensor).collect()
    }

    /// Tensors that are.
    fn tensors(&self) -> Vec<Tensor> {
        self.values.iter().map(|variable| variable.as_tensor().clone()).collect()
    }

    /// The gradient of a loss in each variable.
    fn gradients(&self, loss: &Tensor) -> Result<Vec<Tensor>> {
        let store = loss.backward()?;
        let mut gradients = Vec::with_capacity(self.values.len());
        for (variable, trained) in self.values.iter().zip(&self.trained) {
            let gradient =
                store.get(variable).map_or_else(|| variable.zeros_like(), |gradient| Ok(gradient.clone()))?;
            gradients.push(trained.as_ref().map_or(Ok(gradient.clone()), |mask| gradient.mul(mask))?);
        }
        Ok(gradients)
    }

    /// One step of AdamW; returns the gradient's norm before clipping. One that is not finite changes nothing.
    fn step(&mut self, gradients: &[Tensor], step: &Step) -> Result<f64> {
        let mut squares = Vec::with_capacity(gradients.len());
        for gradient in gradients {
            squares.push(f64::from(gradient.sqr()?.sum_all()?.to_scalar::<f32>()?));
        }
        let norm = squares.iter().sum::<f64>().sqrt();
        self.gradient_norms = squares.into_iter().map(f64::sqrt).collect();
        if norm.is_finite() {
            self.update(gradients, step, norm)?;
        }
        Ok(norm)
    }

    fn update(&mut self, gradients: &[Tensor], step: &Step, norm: f64) -> Result<()> {
        self.t += 1;
        let update = Update::new(self.t, step, norm);
        let blend = |old: &Tensor, new: &Tensor, keep: f32| (old * f64::from(keep))? + (new * f64::from(1.0 - keep))?;
        for (i, (variable, gradient)) in self.values.iter().zip(gradients).enumerate() {
            let gradient = (gradient.detach() * f64::from(update.clip))?;
            let (first, second) = &self.moments[i];
            let first = blend(first, &gradient, BETA1)?;
            let second = blend(second, &gradient.sqr()?, BETA2)?;
            let scale = ((second.sqrt()? * f64::from(update.correction))? + f64::from(EPS))?;
            let keep = if self.decays[i] { update.keep } else { 1.0 };
            let kept = (variable.as_detached_tensor() * f64::from(keep))?;
            let moved = (kept - (first.div(&scale)? * f64::from(update.rate))?)?;
            let shrinks = self.decays[i] && update.shrink > 0.0;
            variable.set(&if shrinks { soft_threshold(&moved, update.shrink)? } else { moved })?;
            self.moments[i] = (first, second);
        }
        Ok(())
    }
}

/// `sign(w) max(|w| - shrink, 0)`.
fn soft_threshold(w: &Tensor, shrink: f32) -> Result<Tensor> {
    let shrink = f64::from(shrink);
    Ok(((w - shrink)?.maximum(0.0)? + (w + shrink)?.minimum(0.0)?)?)
}

fn scalar(x: &Tensor) -> Result<f64> {
    Ok(f64::from(x.to_dtype(DType::F32)?.to_scalar::<f32>()?))
}

fn flat(x: &Tensor) -> Result<Vec<f32>> {
    Ok(x.flatten_all()?.to_vec1::<f32>()?)
}
