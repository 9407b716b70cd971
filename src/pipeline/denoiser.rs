//! `[denoiser]` of a pipeline file: a U-Net whose image is kept as the denoised one, in place of the model's reconstruction.

use serde::{Deserialize, Serialize};

use super::{ExtraNoise, Likelihood, Norm, Spec, Upsample};

/// A network of its own for the denoised image.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Denoiser {
    /// `unet`.
    pub kind: DenoiserKind,
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
    /// What is added to a frame to learn from where no clean frames are given [default: the noise that `poisson_gaussian`
    /// describes, once more].
    pub noise: Option<ExtraNoise>,
}

/// Kinds of denoiser.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum DenoiserKind {
    /// U-Net (arXiv:1505.04597).
    Unet,
}

impl Denoiser {
    /// What is added to a frame to learn from; none where nothing says what the noise is.
    pub fn noise(&self, likelihood: Likelihood) -> Option<ExtraNoise> {
        let counts = matches!(likelihood, Likelihood::PoissonGaussian { .. });
        self.noise.or(counts.then_some(ExtraNoise::Instrument(1.0)))
    }
}

/// The keys that are wrong, and how.
pub(super) fn check(spec: &Spec, require: &mut impl FnMut(bool, &'static str, &str)) {
    let Some(denoiser) = &spec.denoiser else { return };
    let halvings = denoiser.widths.len().saturating_sub(1).min(30) as u32;
    let sane = !denoiser.widths.is_empty() && !denoiser.widths.contains(&0);
    require(sane, "denoiser.widths", "needs at least one width, all above 0");
    let divides = spec.input.size.is_multiple_of(1 << halvings);
    require(divides, "denoiser.widths", "halve input.size more often than it can be halved");
    require(denoiser.epochs > 0, "denoiser.epochs", "must be above 0");
    require(denoiser.learning_rate > 0.0, "denoiser.learning_rate", "must be above 0");
    require(denoiser.batch_size != Some(0), "denoiser.batch_size", "must be above 0");
    require(denoiser.tiles_per_epoch != Some(0), "denoiser.tiles_per_epoch", "must be above 0");
    let (ExtraNoise::Instrument(size) | ExtraNoise::Gaussian(size)) =
        denoiser.noise.unwrap_or(ExtraNoise::Instrument(1.0));
    require(size > 0.0 && size.is_finite(), "denoiser.noise", "must be above 0");
    let counts = matches!(spec.model.likelihood, Likelihood::PoissonGaussian { .. });
    let known = counts || !matches!(denoiser.noise, Some(ExtraNoise::Instrument(_)));
    require(known, "denoiser.noise", "is the instrument's only where model.likelihood is poisson_gaussian");
}
