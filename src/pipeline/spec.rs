//! The contents of a pipeline file, key by key.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

pub use super::denoiser::{Denoiser, DenoiserKind};
pub use super::filter::Filter;
pub use super::labels::Supervision;
pub use super::segmenter::{Segmenter, SegmenterKind};
pub use super::training::{Augment, ExtraNoise, Group, Mask, Promotion, Shares, Training};
pub use super::watching::{Action, After, Watch, WatchMode};
use crate::components::Component;
use crate::model::graph::Window;

/// The contents of a pipeline file.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Spec {
    /// What this pipeline looks at, for people.
    #[serde(default)]
    pub description: String,
    /// The folder `watch` reads; `watch` refuses a pipeline without one.
    pub inbox: Option<PathBuf>,
    /// From pixels to what the model sees.
    pub input: Input,
    /// The network.
    pub model: Model,
    /// How the weights are fitted.
    pub training: Training,
    /// What makes the denoised image [default: the model's reconstruction].
    #[serde(default)]
    pub denoiser: Option<Denoiser>,
    /// What makes the anomaly map [default: the residual, in units of the noise].
    #[serde(default)]
    pub segmenter: Option<Segmenter>,
    /// Which scores make up the verdict.
    pub score: Score,
    /// What the verdict promises.
    pub calibration: Calibration,
    /// What is kept in the reports.
    #[serde(default)]
    pub report: Report,
    /// How the inbox is watched.
    #[serde(default)]
    pub watch: Watch,
    /// What becomes of its files once they are scored.
    #[serde(default)]
    pub after: After,
}

/// From pixels to what the model sees.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Input {
    /// Side of the square the model takes, in pixels.
    pub size: usize,
    /// Channels the model takes: 1 or 3. A colour frame is averaged for a grey model; a grey frame is refused by a colour model.
    pub channels: usize,
    /// Physical units to the model's units; fixed by the instrument, never by the frame.
    pub scaling: Scaling,
    /// Frames of another size are resampled to `size` x `size` first (area average). Excludes `tile`.
    #[serde(default)]
    pub resize: bool,
    /// Scaled values are clipped to [0, 1]; `bernoulli` needs it.
    #[serde(default)]
    pub clip: bool,
    /// Frames larger than `size` are scored in tiles of `size`.
    pub tile: Option<Tile>,
    /// What the encoder sees beside the image: `sobel` adds four channels to each. The decoder still gives the image.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub filters: Vec<Filter>,
    /// Largest share of blank (NaN) pixels in a frame; they are replaced by the frame's median.
    #[serde(default = "default_blank")]
    pub max_blank: f64,
}

fn default_blank() -> f64 {
    0.1
}

impl Input {
    /// Whether a scaled pixel is asinh of its value in units of the noise.
    pub fn in_noise_units(&self) -> bool {
        matches!(self.scaling, Scaling::Asinh { .. }) && self.channels == 1
    }
}

/// How a large frame is cut: tiles at every `stride`, the last of each row and column shifted inwards to the edge.
#[derive(Debug, Clone, Copy, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Tile {
    /// Side of a tile in pixels; equals `input.size`.
    pub size: usize,
    /// Step between tiles in pixels, at most `size`.
    pub stride: usize,
}

/// Physical units `v` to the model's units `u`.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Scaling {
    /// `u = (v - black) / (white - black)`.
    Linear {
        /// The value that becomes 0.
        black: f32,
        /// The value that becomes 1.
        white: f32,
    },
    /// `u = asinh((v - black) / scale)`: linear near the sky, logarithmic in the stars.
    Asinh {
        /// The value that becomes 0: the sky.
        black: f32,
        /// The noise there, in the frame's units.
        scale: f32,
    },
    /// `u = ln(1 + max(v - black, 0) / scale) / ln(1 + (white - black) / scale)`.
    Log {
        /// The value that becomes 0.
        black: f32,
        /// The value that becomes 1.
        white: f32,
        /// Where the logarithm takes over from the straight line.
        scale: f32,
    },
    /// `u = (v - min) / (max - min)` of each frame by itself. Destroys photometry; for pictures only.
    PerFrame,
}

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

/// Which scores make up the verdict.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Score {
    /// The components of a tile's score, summed as `-ln p`.
    pub components: Vec<Component>,
    /// Components whose mean over the tiles counts too, two-sided: what is odd about a whole frame.
    #[serde(default)]
    pub frame_means: Vec<Component>,
    /// Components whose standard deviation over the tiles counts too, two-sided: a frame unlike itself.
    #[serde(default)]
    pub frame_spreads: Vec<Component>,
    /// Weight of the frame's means and spreads beside its reduced tile score: below 1 where only extreme ones should count.
    #[serde(default = "one")]
    pub frame_weight: f64,
    /// Weights of a tile's components in the combination; 1 where absent.
    #[serde(default)]
    pub weights: BTreeMap<Component, f64>,
    /// From tiles to frame.
    #[serde(default)]
    pub reduction: Reduction,
    /// How tails combine.
    #[serde(default)]
    pub combine: Combine,
}

fn one() -> f64 {
    1.0
}

/// From the tiles' scores to the frame's.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Reduction {
    /// The highest.
    #[default]
    Max,
    /// The mean of the highest n.
    TopMean(usize),
}

/// How tail probabilities of several components combine.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Combine {
    /// Sum of `-ln p` (Fisher): many weak signs.
    #[default]
    Sum,
    /// Largest `-ln p` (Tippett): one strong sign.
    Max,
}

/// What the verdict promises.
#[derive(Debug, Clone, Copy, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Calibration {
    /// False-alarm rate asked for.
    pub alpha: f64,
    /// One minus the confidence of its certificate.
    pub delta: f64,
}

/// What is kept in the reports.
#[derive(Debug, Clone, Copy, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Report {
    /// Whose denoised image is kept.
    pub denoised: Keep,
}

impl Default for Report {
    fn default() -> Self {
        Self { denoised: Keep::Flagged }
    }
}

/// Whose images are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Keep {
    /// Every frame's.
    All,
    /// The flagged frames'.
    Flagged,
    /// Nobody's.
    None,
}

impl Score {
    /// Every component that the score needs.
    pub fn wanted(&self) -> Vec<Component> {
        let mut wanted = [&self.components[..], &self.frame_means, &self.frame_spreads].concat();
        wanted.sort_unstable();
        wanted.dedup();
        wanted
    }
}
