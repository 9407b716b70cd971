//! Networks: a network is lists of layers, run by one of two executors.
//!
//! ```text
//! pipeline::Model ─> Architecture ─> Network (lists of layers, parameters)
//! lenet, alexnet, unet ──────────┘       ├─> autograd: candle tensors, any device (reference, CUDA)
//!                                        └─> engine:   fused CPU kernels, NHWC, chunks that stay in cache
//! ```
//!
//! [`Autoencoder`] and [`FeedForward`] hide which of the two runs; [`Observation`] says what a pixel's value is worth
//! under an output.

pub mod alexnet;
pub mod architecture;
pub mod autoencoder;
pub mod device;
pub mod feedforward;
pub mod graph;
pub mod lenet;
pub mod likelihood;
pub mod masks;
pub mod network;
pub mod parameters;
pub mod prior;
pub mod scaling;
pub mod sobel;
pub mod supervised;
pub mod unet;
pub mod weights;

mod adamw;
mod autograd;
mod elementary;
mod engine;
mod pixels;

pub use adamw::Step;
pub use autoencoder::{Autoencoder, Inference, StepLoss};
pub use device::Device;
pub use feedforward::{FeedForward, Target};
pub use likelihood::Observation;
pub use prior::Prior;
pub use weights::Weights;

/// Bounds of the posterior's log-variance, in both executors: beyond them its exponential leaves f32.
pub(crate) const LOG_VAR_LIMIT: f32 = 20.0;

/// Added to the variance in every normalisation (PyTorch's default).
pub(crate) const NORM_EPS: f32 = 1e-5;

/// Height and slope of LeCun's hyperbolic tangent (LeCun et al. 1998, Proc. IEEE 86, appendix A).
pub(crate) const TANH_HEIGHT: f32 = 1.7159;
pub(crate) const TANH_SLOPE: f32 = 2.0 / 3.0;

#[cfg(test)]
mod tests;
