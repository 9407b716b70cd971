//! The contents of a pipeline file, key by key.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

pub use super::filter::Filter;
pub use super::input::{Input, Scaling, Tile};
pub use super::labels::Supervision;
pub use super::model::{Backbone, Block, Downsample, Latent, Likelihood, Model, ModelKind, Norm, Upsample};
pub use super::training::{Augment, ExtraNoise, Group, Mask, Promotion, Shares, Training};
pub use super::unet::{Denoiser, Segmenter, Unet, UnetKind, Use};
pub use super::watching::{Action, After, Watch, WatchMode};
use crate::components::Component;

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
