//! Losses on candle's tensors.

use candle_core::Tensor;

use super::layers::channels;
use crate::model::LOG_VAR_LIMIT;
use crate::model::likelihood::{Law, Observation};
use crate::model::masks::MaskLoss;
use crate::model::pixels::{Curve, DEVIANCE_NODES, Noise, Response};

/// Negative log-likelihood of a batch, summed.
pub(super) fn nll(
    observation: &Observation,
    x: &Tensor,
    y: &Tensor,
    log_var: Option<&Tensor>,
) -> candle_core::Result<Tensor> {
    let log_two_pi = f64::from(std::f32::consts::TAU).ln();
    let pixels = match observation.law() {
        Law::Bernoulli => {
            let tail = (y.abs()?.neg()?.exp()? + 1.0)?.log()?;
            ((y.relu()? - y.mul(x)?)? + tail)?
        }
        Law::Gaussian(_) => {
            let log_var = match log_var {
                Some(log_var) => channels(&log_var.clamp(-LOG_VAR_LIMIT, LOG_VAR_LIMIT)?, y)?,
                None => candle_core::bail!("the Gaussian likelihood has no variance"),
            };
            let squares = (x - y)?.sqr()?.broadcast_mul(&log_var.neg()?.exp()?)?;
            ((squares.broadcast_add(&log_var)? + log_two_pi)? * 0.5)?
        }
        Law::Counts(response, noise) => {
            let (v, mu) = (signal(response, x)?, signal(response, y)?);
            let variance = variance(noise, &mu)?;
            (((v - mu)?.sqr()?.div(&variance)? + (variance.log()? + log_two_pi)?)? * 0.5)?
        }
        Law::Deviance(response, noise) => {
            let (v, mu) = (signal(response, x)?, signal(response, y)?);
            let d = (&mu - &v)?;
            // The variance is a weight: its own slope is no part of the loss's.
            let sloped = (d.sqr()?.div(&variance(noise, &mu)?.detach())? * 0.5)?;
            let mut value = sloped.zeros_like()?;
            for (node, weight) in DEVIANCE_NODES {
                let at = variance(noise, &(&v + (&d * f64::from(node))?)?)?;
                value = (value + (d.sqr()? * f64::from(weight))?.div(&at)?)?;
            }
            (value.detach() + (&sloped - sloped.detach())?)?
        }
    };
    pixels.sum_all()
}

/// From model units to signal; see [`Response::signal`].
fn signal(response: &Response, u: &Tensor) -> candle_core::Result<Tensor> {
    let u = u.clamp(response.bounds.0, response.bounds.1)?;
    let value = match response.curve {
        Curve::Linear => u,
        Curve::Sinh => ((u.exp()? - u.neg()?.exp()?)? * 0.5)?,
        Curve::Exp(range) => ((u * f64::from(range))?.exp()? - 1.0)?,
    };
    value.affine(f64::from(response.factor), f64::from(response.shift))
}

/// See [`Noise::variance`].
fn variance(noise: &Noise, signal: &Tensor) -> candle_core::Result<Tensor> {
    let shot = signal.maximum(noise.floor)?.affine(f64::from(noise.gain), f64::from(noise.read_variance))?;
    shot + (signal * f64::from(noise.model_error))?.sqr()?
}

/// Cross-entropy of logits `[n, classes]` against labels `[n]`, summed, nats.
pub(super) fn cross_entropy(logits: &Tensor, labels: &Tensor) -> candle_core::Result<Tensor> {
    let log_p = candle_nn::ops::log_softmax(logits, 1)?;
    log_p.gather(&labels.unsqueeze(1)?, 1)?.sum_all()?.neg()
}

/// Loss of logits against masks, both `[n, 1, S, S]`, summed; see [`MaskLoss`].
pub(super) fn mask_loss(law: MaskLoss, masks: &Tensor, logits: &Tensor) -> candle_core::Result<Tensor> {
    let tail = (logits.abs()?.neg()?.exp()? + 1.0)?.log()?;
    let inside = (masks * (logits.neg()?.relu()? + &tail)?)?;
    let outside = (masks.affine(-1.0, 1.0)? * (logits.relu()? + &tail)?)?;
    let entropy = ((inside * f64::from(law.positive_weight))? + outside)?.sum_all()?;
    let p = candle_nn::ops::sigmoid(logits)?;
    let each = |x: Tensor| x.flatten_from(1)?.sum(1);
    let (both, squares) = (each((&p * masks)?)?, each((p.sqr()? + masks.sqr()?)?)?);
    let dice = both.affine(2.0, 1.0)?.div(&squares.affine(1.0, 1.0)?)?;
    let pixels = masks.elem_count() as f64 / masks.dim(0)?.max(1) as f64;
    entropy + (dice.affine(-1.0, 1.0)?.sum_all()? * (f64::from(law.dice) * pixels))?
}

/// The same of the images whose classes are known.
pub(super) fn cross_entropy_of_some(logits: &Tensor, classes: &[Option<u32>]) -> candle_core::Result<Tensor> {
    let n = logits.dim(0)?;
    let known = |index: usize| classes.get(index).copied().flatten();
    let labels = Tensor::from_iter((0..n).map(|index| known(index).unwrap_or(0)), logits.device())?;
    let counts = (0..n).map(|index| f32::from(u8::from(known(index).is_some())));
    let log_p = candle_nn::ops::log_softmax(logits, 1)?.gather(&labels.unsqueeze(1)?, 1)?.squeeze(1)?;
    log_p.mul(&Tensor::from_iter(counts, logits.device())?)?.sum_all()?.neg()
}

/// `-ln sum_y w_y exp(-|z - mu_y|^2 / 2)` of latents `[n, latent]` and means `[classes, latent]`, summed: the weight is all the
/// known class's, or the same for each.
pub(super) fn divergence_from_classes(
    z: &Tensor,
    means: &Tensor,
    classes: &[Option<u32>],
) -> candle_core::Result<Tensor> {
    let (n, count) = (z.dim(0)?, means.dim(0)?);
    // The weight of a class that it is not: nothing, without an infinity to differentiate.
    const NEVER: f32 = -1e9;
    let uniform = -(count as f32).ln();
    let weight = |at: usize| match classes.get(at / count).copied().flatten() {
        Some(class) if class as usize == at % count => 0.0,
        Some(_) => NEVER,
        None => uniform,
    };
    let weights = Tensor::from_iter((0..n * count).map(weight), z.device())?.reshape((n, count))?;
    let squares = z.unsqueeze(1)?.broadcast_sub(&means.unsqueeze(0)?)?.sqr()?.sum(2)?;
    let exponents = (weights - (squares * 0.5)?)?;
    let largest = exponents.max_keepdim(1)?.detach();
    let sum = exponents.broadcast_sub(&largest)?.exp()?.sum_keepdim(1)?.log()?;
    (sum + largest)?.sum_all()?.neg()
}
