//! Each kind of layer on candle's tensors, differentiable by candle.

use candle_core::{D, Device, Tensor};
use candle_nn::{Conv2d, Conv2dConfig, ConvTranspose2d, ConvTranspose2dConfig, Linear, Module};

use super::sobel;
use crate::model::graph::{Interpolation, Layer, Node, Window, keeps};
use crate::model::{NORM_EPS, TANH_HEIGHT, TANH_SLOPE};

/// Runs a list of layers; `see` gets each node's output. `dropouts`: the step's seed, in training.
pub(super) fn run(
    nodes: &[Node],
    parameters: &[Tensor],
    x: Tensor,
    dropouts: Option<u64>,
    mut see: impl FnMut(usize, &Tensor),
) -> candle_core::Result<Tensor> {
    let shared = |index: usize| nodes.iter().any(|node| node.layer == Layer::Concat(index));
    let mut kept: Vec<Option<Tensor>> = Vec::with_capacity(nodes.len());
    let mut x = x;
    for (index, node) in nodes.iter().enumerate() {
        x = match (node.layer, dropouts) {
            (Layer::Concat(from), _) => match &kept[from] {
                Some(other) => Tensor::cat(&[&x, other], 1)?,
                None => candle_core::bail!("node {from} was not kept"),
            },
            (Layer::Dropout(rate), Some(seed)) => x.mul(&dropout(rate, seed, index, &x)?)?,
            _ => apply(node, parameters, &x)?,
        };
        see(index, &x);
        kept.push(shared(index).then(|| x.clone()));
    }
    Ok(x)
}

/// What dropout multiplies by: zero, or the inverse of the share that it keeps.
fn dropout(rate: f32, seed: u64, node: usize, x: &Tensor) -> candle_core::Result<Tensor> {
    let (n, scale) = (x.dim(0)?, 1.0 / (1.0 - rate));
    let length = x.elem_count() / n;
    let values = (0..n).flat_map(|sample| (0..length).map(move |index| (sample, index)));
    let values: Vec<f32> =
        values.map(|(sample, index)| if keeps(rate, seed, node, sample, index) { scale } else { 0.0 }).collect();
    Tensor::from_vec(values, x.shape(), x.device())
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
            let y = standardise(&x.flatten_from(1)?, D::Minus1)?.reshape(x.shape())?;
            y.broadcast_mul(&channels(weight, x)?)?
        }
        (Layer::LayerNorm, Some(weight)) => {
            let axis = if x.rank() == 4 { D::Minus(3) } else { D::Minus1 };
            standardise(x, axis)?.broadcast_mul(&channels(weight, x)?)?
        }
        (Layer::Scale, Some(weight)) => x.broadcast_mul(&channels(weight, x)?)?,
        (Layer::Relu, _) => x.relu()?,
        (Layer::Sobel, _) => sobel::filter(x)?,
        (Layer::Tanh, _) => ((x * f64::from(TANH_SLOPE))?.tanh()? * f64::from(TANH_HEIGHT))?,
        (Layer::MaxPool2d(window), _) => pool(x, window, |a, b| a.maximum(&b))?,
        (Layer::AvgPool2d(window), _) => {
            (pool(x, window, |a, b| a + b)? * (1.0 / (window.kernel * window.kernel) as f64))?
        }
        (Layer::Upsample(interpolation), _) => double(x, interpolation)?,
        (Layer::PixelShuffle, _) => candle_nn::ops::pixel_shuffle(x, 2)?,
        (Layer::Flatten, _) => x.flatten_from(1)?,
        (Layer::Unflatten, _) => x.reshape((x.dim(0)?, node.output.c, node.output.h, node.output.w))?,
        (Layer::Dropout(_), _) => x.clone(),
        (layer, _) => candle_core::bail!("layer {layer:?} cannot be run by itself"),
    };
    bias.map_or(Ok(y.clone()), |bias| y.broadcast_add(&channels(bias, &y)?))
}

/// Joins the pixels under each window: candle's own pooling has a gradient only where windows do not overlap.
fn pool(
    x: &Tensor,
    window: Window,
    join: impl Fn(Tensor, Tensor) -> candle_core::Result<Tensor>,
) -> candle_core::Result<Tensor> {
    let (_, _, h, w) = x.dims4()?;
    let every = |first: usize, length: usize| -> candle_core::Result<Tensor> {
        let last = (first + (window.side(length) - 1) * window.stride) as u32;
        let indices: Vec<u32> = (first as u32..=last).step_by(window.stride).collect();
        Tensor::new(indices, x.device())
    };
    let mut joined: Option<Tensor> = None;
    for ky in 0..window.kernel {
        let rows = x.index_select(&every(ky, h)?, 2)?;
        for kx in 0..window.kernel {
            let part = rows.index_select(&every(kx, w)?, 3)?;
            joined = Some(match joined {
                Some(before) => join(before, part)?,
                None => part,
            });
        }
    }
    joined.ok_or_else(|| candle_core::Error::Msg("a window of no pixels".into()))
}

/// Doubles both sides as products with matrices of weights: candle's own interpolations lack gradients or lose them.
fn double(x: &Tensor, interpolation: Interpolation) -> candle_core::Result<Tensor> {
    let (n, c, h, w) = x.dims4()?;
    let rows = weights(interpolation, h, x.device())?;
    let columns = weights(interpolation, w, x.device())?.t()?.contiguous()?;
    let y = rows.broadcast_matmul(&x.reshape((n * c, h, w))?)?.broadcast_matmul(&columns)?;
    y.reshape((n, c, 2 * h, 2 * w))
}

/// The matrix `[2 length, length]` of an interpolation.
fn weights(interpolation: Interpolation, length: usize, device: &Device) -> candle_core::Result<Tensor> {
    let mut matrix = vec![0f32; 2 * length * length];
    for (row, sources) in matrix.chunks_exact_mut(length).zip(interpolation.sources(length)) {
        sources.iter().for_each(|&(from, weight)| row[from] += weight);
    }
    Tensor::from_vec(matrix, (2 * length, length), device)
}

/// Zero mean and unit variance along one axis.
fn standardise(x: &Tensor, axis: D) -> candle_core::Result<Tensor> {
    let centred = x.broadcast_sub(&x.mean_keepdim(axis)?)?;
    let variance = centred.sqr()?.mean_keepdim(axis)?;
    centred.broadcast_div(&(variance + f64::from(NORM_EPS))?.sqrt()?)
}

/// `[c]` as `[1, c, 1, 1]`, or `[1, c]` for vectors.
pub(super) fn channels(values: &Tensor, like: &Tensor) -> candle_core::Result<Tensor> {
    let c = values.elem_count();
    if like.rank() == 4 { values.reshape((1, c, 1, 1)) } else { values.reshape((1, c)) }
}
