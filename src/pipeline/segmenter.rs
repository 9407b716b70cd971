//! `[segmenter]` of a pipeline file: a U-Net that says pixel by pixel what is anomalous, in place of the residual.

use serde::{Deserialize, Serialize};

use super::{Norm, Spec, Upsample};

/// A network of its own for the anomaly map.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Segmenter {
    /// `unet`.
    pub kind: SegmenterKind,
    /// Widths of its levels; each but the last halves the side.
    pub widths: Vec<usize>,
    /// How a level doubles the side.
    #[serde(default)]
    pub upsample: Upsample,
    /// Normalisation after each convolution.
    pub norm: Norm,
    /// Most epochs.
    pub epochs: usize,
    /// AdamW's step size at its height.
    pub learning_rate: f32,
    /// Tiles a step [default: `training.batch_size`].
    pub batch_size: Option<usize>,
    /// Most tiles an epoch [default: `training.tiles_per_epoch`].
    pub tiles_per_epoch: Option<usize>,
    /// What an anomalous pixel counts in the cross-entropy beside a normal one.
    #[serde(default = "default_weight")]
    pub positive_weight: f32,
    /// What the soft Dice loss counts beside the cross-entropy; 0 for none.
    #[serde(default = "default_dice")]
    pub dice: f32,
}

/// Kinds of segmenter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SegmenterKind {
    /// U-Net (arXiv:1505.04597).
    Unet,
}

fn default_weight() -> f32 {
    1.0
}

/// Without it what is small is not found: beside a trail of a thousand pixels a hot one costs the cross-entropy nothing.
fn default_dice() -> f32 {
    1.0
}

/// The keys that are wrong, and how.
pub(super) fn check(spec: &Spec, require: &mut impl FnMut(bool, &'static str, &str)) {
    let Some(segmenter) = &spec.segmenter else { return };
    let halvings = segmenter.widths.len().saturating_sub(1).min(30) as u32;
    let sane = !segmenter.widths.is_empty() && !segmenter.widths.contains(&0);
    require(sane, "segmenter.widths", "needs at least one width, all above 0");
    let divides = spec.input.size.is_multiple_of(1 << halvings);
    require(divides, "segmenter.widths", "halve input.size more often than it can be halved");
    require(segmenter.epochs > 0, "segmenter.epochs", "must be above 0");
    require(segmenter.learning_rate > 0.0, "segmenter.learning_rate", "must be above 0");
    require(segmenter.batch_size != Some(0), "segmenter.batch_size", "must be above 0");
    require(segmenter.tiles_per_epoch != Some(0), "segmenter.tiles_per_epoch", "must be above 0");
    let Segmenter { positive_weight, dice, .. } = *segmenter;
    require(positive_weight > 0.0 && positive_weight.is_finite(), "segmenter.positive_weight", "must be above 0");
    require(dice >= 0.0 && dice.is_finite(), "segmenter.dice", "must be 0 or more");
}
