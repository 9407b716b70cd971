//! `pipelines/<name>.toml`: everything about one instrument, checked once here and trusted everywhere else.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::components::Component;
use crate::error::{Failure, Kind, Result};

/// A pipeline file as it was read, with the name its results go by.
#[derive(Debug, Clone)]
pub struct Pipeline {
    /// The file's stem; results go by it.
    pub name: String,
    /// Where it was read from.
    pub path: PathBuf,
    /// BLAKE3 of the file's text, hex.
    pub digest: String,
    /// The file's text, kept for the manifest.
    pub text: String,
    /// The checked contents.
    pub spec: Spec,
}

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
    /// Largest share of blank (NaN) pixels in a frame; they are replaced by the frame's median.
    #[serde(default = "default_blank")]
    pub max_blank: f64,
}

fn default_blank() -> f64 {
    0.1
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
    /// `"vae"`.
    pub kind: ModelKind,
    /// Widths of the encoder's stages; each halves the side. The decoder mirrors them.
    pub channels: Vec<usize>,
    /// Normalisation after each convolution.
    pub norm: Norm,
    /// The latent space.
    pub latent: Latent,
    /// Weight of the KL term.
    pub beta: f32,
    /// What a pixel's value is worth.
    pub likelihood: Likelihood,
}

/// Kinds of model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ModelKind {
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

/// How the weights are fitted.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Training {
    /// Seed of weights, order and noise.
    pub seed: u64,
    /// Most epochs.
    pub epochs: usize,
    /// Images a step.
    pub batch_size: usize,
    /// AdamW's step size at its height (cosine decay to a hundredth).
    pub learning_rate: f32,
    /// Decoupled L2 (AdamW); biases and norms are exempt.
    pub weight_decay: f32,
    /// Largest global norm of the gradient.
    pub clip_norm: f32,
    /// Epochs over which beta rises from 0.
    pub warmup_epochs: f32,
    /// Epochs without a better validation loss before stopping.
    pub patience: usize,
    /// Shares of train, validation and calibration; they add up to 1.
    pub split: [f64; 3],
    /// Most tiles an epoch, drawn anew each epoch; all where absent.
    pub tiles_per_epoch: Option<usize>,
}

/// Which scores make up the verdict.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Score {
    /// The components of a tile's score, summed as `-ln p`.
    pub components: Vec<Component>,
    /// Components whose mean over the tiles counts too, two-sided: what is odd about a whole frame.
    #[serde(default)]
    pub frame_components: Vec<Component>,
    /// Weights of components in the sum; 1 where absent.
    #[serde(default)]
    pub weights: BTreeMap<Component, f64>,
    /// From tiles to frame.
    #[serde(default)]
    pub reduction: Reduction,
    /// How tails combine.
    #[serde(default)]
    pub combine: Combine,
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

/// How the inbox is watched.
#[derive(Debug, Clone, Copy, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Watch {
    /// Notifications plus a timed rescan, or the rescan alone (NFS, SMB).
    pub mode: WatchMode,
    /// Milliseconds a file must stay unchanged.
    pub settle_ms: u64,
    /// Seconds between rescans.
    pub rescan_s: u64,
}

impl Default for Watch {
    fn default() -> Self {
        Self { mode: WatchMode::Auto, settle_ms: 500, rescan_s: 30 }
    }
}

/// How changes are noticed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum WatchMode {
    /// inotify as a hint, and a timed rescan.
    Auto,
    /// The timed rescan alone.
    Poll,
}

impl Pipeline {
    /// Finds `given` (a name in `folder`, or a path to a TOML file), reads and checks it.
    ///
    /// # Errors
    /// [`Kind::Settings`] naming file, line and key.
    pub fn load(given: &str, folder: &Path) -> Result<Self> {
        let path = if given.ends_with(".toml") || given.contains('/') {
            PathBuf::from(given)
        } else {
            folder.join(format!("{given}.toml"))
        };
        let text = std::fs::read_to_string(&path).map_err(|error| {
            Failure::new(Kind::Settings, format!("cannot read pipeline {}: {error}", path.display()))
                .hint(format!("name one of {}/*.toml, or give the path of a pipeline file", folder.display()))
        })?;
        let name = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default().to_string();
        Self::parse(&name, &path, text)
    }

    /// Reads and checks the text of a pipeline file.
    ///
    /// # Errors
    /// [`Kind::Settings`] naming file, line and key.
    pub fn parse(name: &str, path: &Path, text: String) -> Result<Self> {
        let spec: Spec = toml::from_str(&text).map_err(|error| {
            let line = error.span().map_or(0, |span| line_of(&text, span.start));
            Failure::new(Kind::Settings, format!("{}:{line}: {}", path.display(), error.message()))
        })?;
        let digest = blake3::hash(text.as_bytes()).to_hex().to_string();
        let pipeline = Self { name: name.to_string(), path: path.to_path_buf(), digest, text, spec };
        pipeline.check()?;
        Ok(pipeline)
    }

    /// Everything serde cannot see: ranges, and keys that must agree with each other.
    fn check(&self) -> Result<()> {
        for (key, wrong) in faults(&self.spec) {
            let line = locate(&self.text, key).map_or(String::new(), |line| format!(":{line}"));
            return Err(Failure::new(Kind::Settings, format!("{}{line}: {key} {wrong}", self.path.display())));
        }
        Ok(())
    }
}

/// The keys that are wrong, and how.
fn faults(spec: &Spec) -> Vec<(&'static str, String)> {
    let mut faults = Vec::new();
    let mut require = |holds: bool, key: &'static str, wrong: &str| {
        if !holds {
            faults.push((key, wrong.to_string()));
        }
    };
    let Spec { input, model, training, score, calibration, .. } = spec;
    let halvings = 1usize.checked_shl(model.channels.len() as u32).unwrap_or(usize::MAX);
    require((4..=1024).contains(&input.size), "input.size", "must lie between 4 and 1024 pixels");
    require(matches!(input.channels, 1 | 3), "input.channels", "must be 1 or 3");
    require((0.0..1.0).contains(&input.max_blank), "input.max_blank", "must lie in [0, 1)");
    match input.scaling {
        Scaling::Linear { black, white } => require(white != black, "input.scaling", "needs black and white to differ"),
        Scaling::Asinh { scale, .. } => require(scale > 0.0, "input.scaling", "needs scale above 0"),
        Scaling::Log { black, white, scale } => {
            require(white > black && scale > 0.0, "input.scaling", "needs white above black and scale above 0");
        }
        Scaling::PerFrame => {}
    }
    if let Some(tile) = input.tile {
        require(tile.size == input.size, "input.tile", "must have the size of input.size");
        require((1..=tile.size).contains(&tile.stride), "input.tile", "needs a stride between 1 and its size");
        require(!input.resize, "input.resize", "excludes input.tile");
    }
    require(!model.channels.is_empty() && !model.channels.contains(&0), "model.channels", "needs one width above 0 a stage");
    require(input.size.is_multiple_of(halvings), "model.channels", "has more stages than input.size can be halved");
    let (Latent::Vector { dim } | Latent::Map { dim }) = model.latent;
    require(dim > 0, "model.latent", "needs dim above 0");
    require(model.beta >= 0.0 && model.beta.is_finite(), "model.beta", "must be 0 or more");
    match model.likelihood {
        Likelihood::Bernoulli => require(input.clip, "input.clip", "must be true: bernoulli takes values in [0, 1] only"),
        Likelihood::PoissonGaussian { gain, read_noise, model_error, .. } => {
            let sane = gain > 0.0 && read_noise > 0.0 && model_error >= 0.0;
            require(sane, "model.likelihood", "needs gain and read_noise above 0, model_error 0 or more");
            let fixed = !matches!(input.scaling, Scaling::PerFrame) && !input.clip && !input.resize;
            require(fixed, "model.likelihood", "counts photons: no per_frame scaling, clip or resize before it");
        }
        Likelihood::Gaussian => {}
    }
    require(training.epochs > 0, "training.epochs", "must be above 0");
    require(training.batch_size > 0, "training.batch_size", "must be above 0");
    require(training.learning_rate > 0.0, "training.learning_rate", "must be above 0");
    require(training.weight_decay >= 0.0, "training.weight_decay", "must be 0 or more");
    require(training.clip_norm > 0.0, "training.clip_norm", "must be above 0");
    require(training.warmup_epochs >= 0.0, "training.warmup_epochs", "must be 0 or more");
    require(training.tiles_per_epoch != Some(0), "training.tiles_per_epoch", "must be above 0");
    let whole = (training.split.iter().sum::<f64>() - 1.0).abs() < 1e-9 && training.split.iter().all(|&share| share > 0.0);
    require(whole, "training.split", "needs three shares above 0 that add up to 1");
    require(!score.components.is_empty(), "score.components", "needs at least one component");
    require(score.weights.values().all(|&weight| weight > 0.0), "score.weights", "must be above 0");
    require(score.reduction != Reduction::TopMean(0), "score.reduction", "needs top_mean above 0");
    let open = |value: f64| value > 0.0 && value < 1.0;
    require(open(calibration.alpha), "calibration.alpha", "must lie in (0, 1)");
    require(open(calibration.delta), "calibration.delta", "must lie in (0, 1)");
    faults
}

/// 1-based line of a dotted key.
fn locate(text: &str, key: &str) -> Option<usize> {
    let mut table = &toml::de::DeTable::parse(text).ok()?.into_inner();
    let mut line = None;
    for part in key.split('.') {
        let (name, value) = table.iter().find(|(name, _)| name.get_ref().as_ref() == part)?;
        line = Some(line_of(text, name.span().start));
        match value.get_ref() {
            toml::de::DeValue::Table(inner) => table = inner,
            _ => break,
        }
    }
    line
}

/// 1-based line of a byte offset.
fn line_of(text: &str, offset: usize) -> usize {
    1 + text.as_bytes()[..offset.min(text.len())].iter().filter(|&&byte| byte == b'\n').count()
}
