//! The CPU executor: chunks of samples that stay in cache, forward and backward in one go, over fixed shards.
//!
//! A batch is cut into [`SHARDS`] shards whatever the number of threads, each summing its own gradient; the sums are
//! added in order. So the weights after a step are the same bit for bit on one thread and on many.
//!
//! ```text
//! autoencoder.rs, feedforward.rs   what a chunk of samples goes through
//!     ├─ supervised.rs            what labels add to it
//!     └─ core.rs                   weights, gradients, optimiser, shards, workspaces
//!          └─ stack.rs             a list of layers compiled: operations, skips
//!               └─ convolution, windows, pooling, sobel, vectors, kernels
//! ```

mod autoencoder;
mod convolution;
mod core;
mod feedforward;
mod kernels;
mod pooling;
mod sobel;
mod stack;
mod supervised;
pub(crate) mod vectors;
mod windows;

use super::graph::Shape;
use super::likelihood::Observation;

pub(super) use autoencoder::{AutoencoderEngine, Batch};
pub(super) use feedforward::FeedForwardEngine;
pub(super) use sobel::filtered;

/// `[c, pixels]` to `[pixels, c]`.
fn to_channels_last(from: &[f32], to: &mut [f32], channels: usize, pixels: usize) {
    if channels == 1 || pixels == 1 {
        return to.copy_from_slice(from);
    }
    for (c, plane) in from.chunks_exact(pixels).enumerate() {
        to[c..].iter_mut().step_by(channels).zip(plane).for_each(|(to, from)| *to = *from);
    }
}

/// `[pixels, c]` to `[c, pixels]`.
fn to_planar(from: &[f32], to: &mut [f32], channels: usize, pixels: usize) {
    if channels == 1 || pixels == 1 {
        return to.copy_from_slice(from);
    }
    for (c, plane) in to.chunks_exact_mut(pixels).enumerate() {
        plane.iter_mut().zip(from[c..].iter().step_by(channels)).for_each(|(to, from)| *to = *from);
    }
}

/// Loss of the images `target`, `[n, C, S, S]`, under the outputs of a list, channels last, summed; its gradient in those
/// outputs (times `weight`) goes to `upper`, that in the likelihood's variances is added to `log_var_gradient`.
fn image_loss(
    (target, output, image): (&[f32], &[f32], Shape),
    observation: &Observation,
    weight: f32,
    log_var_gradient: &mut [f32],
    upper: &mut [f32],
) -> f64 {
    let size = image.len();
    let images = target.chunks_exact(size).zip(output.chunks_exact(size)).zip(upper.chunks_exact_mut(size));
    let mut room = vec![0.0; if image.c == 1 { 0 } else { 2 * size }];
    let (planar, slope) = room.split_at_mut(if image.c == 1 { 0 } else { size });
    images
        .map(|((x, output), upper)| {
            if image.c == 1 {
                return observation.gradient(x, output, upper, weight, log_var_gradient);
            }
            to_planar(output, planar, image.c, image.pixels());
            let nll = observation.gradient(x, planar, slope, weight, log_var_gradient);
            to_channels_last(slope, upper, image.c, image.pixels());
            nll
        })
        .sum()
}

/// Runs tasks on the pool; a single one here, without waking anyone.
fn spread<T: Send>(mut tasks: Vec<T>, run: impl Fn(T) + Sync + Send) {
    use rayon::prelude::*;
    match tasks.len() {
        0 => (),
        1 => run(tasks.remove(0)),
        _ => tasks.into_par_iter().with_max_len(1).for_each(run),
    }
}
