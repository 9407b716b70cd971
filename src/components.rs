//! The components of a score: one number a tile each, higher (or, two-sided, lower) where something is odd.

use serde::{Deserialize, Serialize};

/// One component; its snake_case name is its column in `scores`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Component {
    /// Reconstruction loss, nats.
    ReconstructionNll,
    /// Reconstruction loss above its own floor, nats.
    ExcessNll,
    /// Log of the excess, minus what normal frames show at that place in latent space.
    ConditionalLoss,
    /// KL of the posterior from the prior, nats.
    Kl,
    /// Mahalanobis distance of the latent mean, shrunk covariance; where there are labels, from the nearest class.
    LatentMahalanobis,
    /// Distance to the k-th nearest training latent.
    LatentKnn,
    /// Mahalanobis distance in the pooled features of the encoder.
    FeatureMahalanobis,
    /// Distance to the k-th nearest training feature vector.
    FeatureKnn,
    /// Largest Mahalanobis distance of a local feature vector.
    PatchDistance,
    /// Mean of the top share of the smoothed, noise-normalised residuals.
    PeakResidual,
    /// Largest single noise-normalised residual.
    PixelResidual,
    /// Largest sum of the clipped residuals along a row or column, over the square root of its length.
    LineResidual,
    /// Low-frequency residual: a background that is not flat.
    BackgroundResidual,
    /// Mean scaled value of the input: how much is there at all (two-sided).
    Brightness,
    /// Largest sum of the input along a straight line at any angle, noise units (asinh scaling only).
    Trail,
    /// How unlike its neighbours among normal sources the oddest source's profile is (asinh scaling only).
    SourceShape,
}

impl Component {
    /// Every component, in the order of the report's columns.
    pub const ALL: [Self; 16] = [
        Self::ReconstructionNll,
        Self::ExcessNll,
        Self::ConditionalLoss,
        Self::Kl,
        Self::LatentMahalanobis,
        Self::LatentKnn,
        Self::FeatureMahalanobis,
        Self::FeatureKnn,
        Self::PatchDistance,
        Self::PeakResidual,
        Self::PixelResidual,
        Self::LineResidual,
        Self::BackgroundResidual,
        Self::Brightness,
        Self::Trail,
        Self::SourceShape,
    ];

    /// Whether it takes pixels in units of the noise, as `asinh` scaling gives them, of a single channel.
    pub fn needs_noise_units(self) -> bool {
        matches!(self, Self::Trail | Self::SourceShape)
    }

    /// The column's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::ReconstructionNll => "reconstruction_nll",
            Self::ExcessNll => "excess_nll",
            Self::ConditionalLoss => "conditional_loss",
            Self::Kl => "kl",
            Self::LatentMahalanobis => "latent_mahalanobis",
            Self::LatentKnn => "latent_knn",
            Self::FeatureMahalanobis => "feature_mahalanobis",
            Self::FeatureKnn => "feature_knn",
            Self::PatchDistance => "patch_distance",
            Self::PeakResidual => "peak_residual",
            Self::PixelResidual => "pixel_residual",
            Self::LineResidual => "line_residual",
            Self::BackgroundResidual => "background_residual",
            Self::Brightness => "brightness",
            Self::Trail => "trail",
            Self::SourceShape => "source_shape",
        }
    }
}
