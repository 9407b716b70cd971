//! The variational autoencoder: a network is a list of layers, run by one of two executors.
//!
//! ```text
//! pipeline::Model ─> Network (layers, shapes, parameter names)
//!                        ├─> autograd: candle tensors, any device (reference, CUDA)
//!                        └─> engine:   fused CPU kernels, NHWC, chunks that stay in cache
//! ```
//!
//! [`Vae`] hides which of the two runs; [`Observation`] says what a pixel's value is worth under the decoder's output.

pub mod device;
pub mod likelihood;
pub mod network;
pub mod parameters;
pub mod scaling;
pub mod vae;
pub mod weights;

mod adamw;
mod autograd;
mod engine;
mod pixels;

pub use adamw::Step;
pub use device::Device;
pub use likelihood::Observation;
pub use network::Network;
pub use vae::{Inference, StepLoss, Vae};
pub use weights::Weights;

/// Bounds of the posterior's log-variance, in both executors: beyond them its exponential leaves f32.
pub(crate) const LOG_VAR_LIMIT: f32 = 20.0;

/// Added to the variance in every normalisation (PyTorch's default).
pub(crate) const NORM_EPS: f32 = 1e-5;

#[cfg(test)]
mod tests;
