//! The variational autoencoder: a network is a list of layers, run by one of two executors.
//!
//! ```text
//! pipeline::Model ─> Network (layers, shapes, parameter names)
//!                        ├─> autograd: candle tensors, any device (reference, CUDA)
//!                        └─> engine:   fused CPU kernels, NHWC, chunks that stay in cache
//! ```
