//! `[model]` of a pipeline file: the network, and what a pixel's value is worth to it.

use serde::{Deserialize, Serialize};

use super::labels::Supervision;
use crate::model::graph::Window;

/// The network.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Model {
    /// `dense`, `ae` or `vae`.
    pub kind: ModelKind,
    /// Widths of the encoder's stages: convolutions of kernel 3 that halve the side, or fully connected layers where the
    /// model is dense. The decoder mirrors them. Excludes `blocks`.
    #[serde(default)]
    pub channels: Vec<usize>,
    /// The encoder's stages one by one, where they are to differ. Excludes `channels`.
    #[serde(default)]
    pub blocks: Vec<Block>,
    /// A published encoder instead of stages. Excludes `channels` and `blocks`; its latent is a vector.
    pub backbone: Option<Backbone>,
    /// How the decoder doubles the side.
    #[serde(default)]
    pub upsample: Upsample,
    /// Normalisation after each convolution.
    pub norm: Norm,
    /// Whether convolutions and products have biases.
    #[serde(default = "yes")]
    pub biases: bool,
    /// Whether a dense model is variational.
    #[serde(default = "yes")]
    pub variational: bool,
    /// The latent space.
    pub latent: Latent,
    /// Weight of the KL term.
    pub beta: f32,
    /// What a pixel's value is worth.
    pub likelihood: Likelihood,
    /// What the classes of the training frames do to the latent space [default: nothing].
    #[serde(default)]
    pub labels: Option<Supervision>,
}

fn yes() -> bool {
    true
}

impl Model {
    /// Whether the encoder gives a distribution, with a KL term in the loss, or a point.
    pub fn is_variational(&self) -> bool {
        match self.kind {
            ModelKind::Vae => true,
            ModelKind::Ae => false,
            ModelKind::Dense => self.variational,
        }
    }

    /// The same with these classes, where it learns from labels.
    pub fn named(&self, classes: &[String]) -> Self {
        let labels = self.labels.clone().map(|labels| Supervision { classes: classes.to_vec(), ..labels });
        Self { labels, ..self.clone() }
    }

    /// The encoder's stages.
    pub fn blocks(&self) -> Vec<Block> {
        if self.blocks.is_empty() {
            self.channels.iter().map(|&channels| Block { channels, ..Block::default() }).collect()
        } else {
            self.blocks.clone()
        }
    }
}

/// One stage of a convolutional encoder: convolution, normalisation, `max(x, 0)`, and pooling where it is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Block {
    /// Width: how many filters.
    pub channels: usize,
    /// Side of the kernel in pixels.
    pub kernel: usize,
    /// What the side is divided by: 1, 2 or 4.
    pub stride: usize,
    /// Zeros added on each side [default: half the kernel].
    pub padding: Option<usize>,
    /// What divides the side.
    pub downsample: Downsample,
}

impl Default for Block {
    fn default() -> Self {
        Self { channels: 0, kernel: 3, stride: 2, padding: None, downsample: Downsample::Stride }
    }
}

impl Block {
    /// Zeros added on each side.
    pub fn padding(&self) -> usize {
        self.padding.unwrap_or(self.kernel / 2)
    }

    /// The window of its convolution: pooling leaves it a step of 1.
    pub fn convolution(&self) -> Window {
        let stride = if self.downsample == Downsample::Stride { self.stride } else { 1 };
        Window { kernel: self.kernel, stride, padding: self.padding() }
    }
}

/// Published networks whose convolutions can be an encoder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Backbone {
    /// LeNet-5 (1998).
    Lenet5,
    /// AlexNet (2012), scaled to the input, a quarter as wide.
    Alexnet,
}

/// What divides the side in a stage.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Downsample {
    /// The convolution's own step.
    #[default]
    Stride,
    /// The largest of each window, after the activation.
    MaxPool,
    /// The mean of each window, after the activation.
    AvgPool,
}

/// How the decoder doubles the side.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Upsample {
    /// Transposed convolution of kernel 4 and step 2.
    #[default]
    Transposed,
    /// Each pixel four times, then a convolution of kernel 3.
    Nearest,
    /// Bilinear interpolation, then a convolution of kernel 3.
    Bilinear,
    /// A convolution of kernel 3 to four times the channels, which become pixels.
    PixelShuffle,
}

/// Kinds of model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ModelKind {
    /// Fully connected autoencoder, variational or not: the baseline.
    Dense,
    /// Convolutional autoencoder: a point in latent space, no KL term.
    Ae,
    /// Convolutional variational autoencoder.
    Vae,
}

/// Normalisation after each convolution.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Norm {
    /// GroupNorm with one group: mean and variance over channels and pixels, affine per channel.
    Group,
    /// LayerNorm over the channels of each pixel, affine per channel.
    Layer,
    /// None.
    None,
}

/// The latent space.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Latent {
    /// One vector a tile.
    Vector {
        /// Its dimension.
        dim: usize,
    },
    /// A map with the encoder's last resolution.
    Map {
        /// Channels a position.
        dim: usize,
    },
}

/// What a pixel's value is worth: the negative log-likelihood that is the reconstruction loss.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Likelihood {
    /// Binary cross-entropy on logits; the scaled values lie in [0, 1].
    Bernoulli,
    /// One variance a channel, fitted with the weights, in scaled units.
    Gaussian,
    /// Detector counts: `variance = gain * max(mean - offset, eps) + read_noise^2 + (model_error * (mean - offset))^2`, in physical units.
    PoissonGaussian {
        /// Variance a unit of signal (1 when the unit is the electron).
        gain: f32,
        /// Standard deviation of the read-out, in the frame's units.
        read_noise: f32,
        /// The electronic zero (bias), in the frame's units.
        offset: f32,
        /// Relative error of the best reconstruction of a bright source (0 for the pure law).
        model_error: f32,
    },
}
