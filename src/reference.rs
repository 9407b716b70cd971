//! What normal tiles look like to the model: fitted on the training split, it turns measurements into components.

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::components::Component;
use crate::measure::Measurement;
use crate::prepare::Prepared;
use crate::sources::{self, PROFILE};
use crate::stats::gaussian::Mahalanobis;
use crate::stats::knn::{Columns, Neighbours};
use crate::stats::outlier::LocalOutlier;
use crate::stats::regression::{Ridge, with_squares};
use crate::stats::tied::ClassGaussians;

/// The k of the k-nearest-neighbour distances.
const NEIGHBOUR: usize = 5;
/// Most training vectors kept for neighbour distances ...
const KEPT: usize = 10_000;
/// ... and most numbers they may take: 3 MiB on disk.
const KEPT_NUMBERS: usize = 3 << 18;
/// Most profiles of normal sources kept.
const KEPT_SOURCES: usize = 25_600;
/// Penalty of the conditional loss's regression.
const RIDGE: f64 = 1e-3;
/// Keeps the logarithm of a vanishing excess finite, nats.
const EXCESS_FLOOR: f64 = 1e-3;

/// One value a component.
pub type Components = [f64; Component::ALL.len()];

/// The distributions of latents and features of normal tiles.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(into = "Stored", try_from = "Stored")]
pub struct Reference {
    latent: Mahalanobis,
    /// Of the classes, where the model learnt from labels.
    classes: Option<ClassGaussians>,
    latent_neighbours: Neighbours,
    feature: Mahalanobis,
    feature_neighbours: Neighbours,
    patch: Mahalanobis,
    conditional: Ridge,
    sources: LocalOutlier,
}

impl Reference {
    /// Fits to the measurements of training tiles (at least two) with the classes of those that have one, and to the profiles
    /// of training frames' sources, `[n, PROFILE]`; none where the pipeline's pixels are not in units of the noise.
    pub fn fit(
        (tiles, classes): (&[Measurement], &[Option<u32>]),
        profiles: &[f32],
        channels: usize,
        seed: u64,
    ) -> Self {
        let latents = rows(tiles, |tile| &tile.latent);
        let pooled = rows(tiles, |tile| &tile.pooled);
        let grids = rows(tiles, |tile| &tile.grid);
        let [latent_dim, pooled_dim, grid_dim] =
            [&latents, &pooled, &grids].map(|rows| rows.len() / tiles.len().max(1));
        let patches = rows(tiles, |tile| &tile.patches);
        let targets: Vec<f64> = tiles.iter().map(log_excess).collect();
        Self {
            sources: LocalOutlier::fit(profiles, PROFILE, KEPT_SOURCES),
            latent: Mahalanobis::fit(&latents, latent_dim),
            classes: ClassGaussians::fit(&latents, latent_dim, classes),
            feature: Mahalanobis::fit(&pooled, pooled_dim),
            patch: Mahalanobis::fit(&patches, channels),
            conditional: Ridge::fit(&with_squares(&latents, latent_dim), 2 * latent_dim, &targets, RIDGE),
            latent_neighbours: Neighbours::fit(&latents, latent_dim, kept(latent_dim), seed, Columns::AsGiven),
            feature_neighbours: Neighbours::fit(&grids, grid_dim, kept(grid_dim), seed, Columns::Standardised),
        }
    }

    /// The latents of training tiles: vectors as they are; of maps each channel's mean, spread and largest magnitude.
    pub fn latents(&self) -> &Mahalanobis {
        &self.latent
    }

    /// How odd the oddest source of each tile is, in the tiles' order; 0 for a tile without one.
    pub fn source_shapes(&self, frame: &Prepared, size: usize) -> Vec<f64> {
        let sources = sources::find(&frame.pixels, frame.width, frame.height);
        let factors: Vec<f32> = sources.par_iter().map(|source| self.sources.factor(&source.profile)).collect();
        let inside = |start: usize, place: usize| (start..start + size).contains(&place);
        let oddest = |&(x, y): &(usize, usize)| {
            let mine = sources.iter().zip(&factors).filter(|(source, _)| inside(x, source.x) && inside(y, source.y));
            f64::from(mine.fold(0.0f32, |largest, (_, &factor)| largest.max(factor)))
        };
        frame.tiles.par_iter().map(oddest).collect()
    }

    /// The components of some tiles, in order; a distance that is not wanted is not computed and stays NaN.
    pub fn components(&self, tiles: &[Measurement], wanted: &[Component]) -> Vec<Components> {
        use Component as C;
        let wants = |component| wanted.contains(&component);
        let missing = || vec![f32::NAN; tiles.len()];
        let latents = rows(tiles, |tile| &tile.latent);
        let latent = match &self.classes {
            _ if !wants(C::LatentMahalanobis) => missing(),
            Some(classes) => classes.distances(&latents),
            None => self.latent.distances(&latents),
        };
        let latent_near =
            if wants(C::LatentKnn) { self.latent_neighbours.kth_distance(&latents, NEIGHBOUR) } else { missing() };
        let feature = if wants(C::FeatureMahalanobis) {
            self.feature.distances(&rows(tiles, |tile| &tile.pooled))
        } else {
            missing()
        };
        let feature_near = if wants(C::FeatureKnn) {
            self.feature_neighbours.kth_distance(&rows(tiles, |tile| &tile.grid), NEIGHBOUR)
        } else {
            missing()
        };
        let patch =
            if wants(C::PatchDistance) { self.patch.distances(&rows(tiles, |tile| &tile.patches)) } else { missing() };
        let positions = patch.len() / tiles.len().max(1);
        let expected = self.conditional.predict(&with_squares(&latents, self.latent.dim()));
        let value = |index: usize, component| {
            let tile = &tiles[index];
            match component {
                Component::ReconstructionNll => tile.nll,
                Component::ExcessNll => tile.nll - tile.floor,
                Component::ConditionalLoss => log_excess(tile) - expected[index],
                Component::Kl => tile.kl,
                Component::LatentMahalanobis => f64::from(latent[index]),
                Component::LatentKnn => f64::from(latent_near[index]),
                Component::FeatureMahalanobis => f64::from(feature[index]),
                Component::FeatureKnn => f64::from(feature_near[index]),
                Component::PatchDistance => {
                    let patches = &patch[index * positions..][..positions];
                    f64::from(patches.iter().copied().fold(f32::NAN, f32::max))
                }
                Component::PeakResidual => tile.peak,
                Component::PixelResidual => tile.pixel,
                Component::LineResidual => tile.line,
                Component::BackgroundResidual => tile.background,
                Component::Brightness => tile.brightness,
                Component::Trail => tile.trail,
                // A source may stand across tiles: it is measured on the whole frame.
                Component::SourceShape => f64::NAN,
            }
        };
        (0..tiles.len()).map(|index| Component::ALL.map(|component| value(index, component))).collect()
    }
}

/// Profiles of the sources of a frame, row after row.
pub fn profiles(frame: &Prepared) -> Vec<f32> {
    sources::find(&frame.pixels, frame.width, frame.height).iter().flat_map(|source| source.profile).collect()
}

fn rows(tiles: &[Measurement], of: impl Fn(&Measurement) -> &Vec<f32>) -> Vec<f32> {
    tiles.iter().flat_map(|tile| of(tile).iter().copied()).collect()
}

fn log_excess(tile: &Measurement) -> f64 {
    (tile.nll - tile.floor).max(EXCESS_FLOOR).ln()
}

fn kept(dim: usize) -> usize {
    KEPT.min(KEPT_NUMBERS / dim.max(1)).max(1)
}

/// A reference on disk: arrays of little-endian f32 beside their small numbers.
#[derive(Serialize, Deserialize)]
struct Stored {
    latent: StoredGaussian,
    /// None without labels, and in versions from before them.
    #[serde(default)]
    classes: Option<StoredClasses>,
    latent_neighbours: StoredNeighbours,
    feature: StoredGaussian,
    feature_neighbours: StoredNeighbours,
    patch: StoredGaussian,
    conditional: Ridge,
    sources: StoredOutlier,
}

#[derive(Serialize, Deserialize)]
struct StoredClasses {
    within: StoredGaussian,
    centres: Floats,
}

#[derive(Serialize, Deserialize)]
struct StoredOutlier {
    dim: usize,
    rows: Floats,
    reach: Floats,
}

#[derive(Serialize, Deserialize)]
struct StoredGaussian {
    mean: Floats,
    whitening: Floats,
    shrinkage: f64,
}

#[derive(Serialize, Deserialize)]
struct StoredNeighbours {
    mean: Floats,
    scale: Floats,
    rows: Floats,
}

impl From<Reference> for Stored {
    fn from(reference: Reference) -> Self {
        Self {
            latent: (&reference.latent).into(),
            classes: reference.classes.as_ref().map(StoredClasses::from),
            latent_neighbours: (&reference.latent_neighbours).into(),
            feature: (&reference.feature).into(),
            feature_neighbours: (&reference.feature_neighbours).into(),
            patch: (&reference.patch).into(),
            conditional: reference.conditional,
            sources: (&reference.sources).into(),
        }
    }
}

impl TryFrom<Stored> for Reference {
    type Error = &'static str;

    fn try_from(stored: Stored) -> Result<Self, Self::Error> {
        Ok(Self {
            latent: stored.latent.try_into()?,
            classes: stored.classes.map(ClassGaussians::try_from).transpose()?,
            latent_neighbours: stored.latent_neighbours.try_into()?,
            feature: stored.feature.try_into()?,
            feature_neighbours: stored.feature_neighbours.try_into()?,
            patch: stored.patch.try_into()?,
            conditional: stored.conditional,
            sources: stored.sources.try_into()?,
        })
    }
}

impl From<&ClassGaussians> for StoredClasses {
    fn from(from: &ClassGaussians) -> Self {
        Self { within: from.within().into(), centres: from.centres().into() }
    }
}

impl TryFrom<StoredClasses> for ClassGaussians {
    type Error = &'static str;

    fn try_from(stored: StoredClasses) -> Result<Self, Self::Error> {
        Self::from_parts(stored.within.try_into()?, stored.centres.try_into()?)
            .ok_or("the lengths of the classes' centres disagree")
    }
}

impl From<&LocalOutlier> for StoredOutlier {
    fn from(from: &LocalOutlier) -> Self {
        let (dim, rows, reach) = from.parts();
        Self { dim, rows: rows.into(), reach: reach.into() }
    }
}

impl TryFrom<StoredOutlier> for LocalOutlier {
    type Error = &'static str;

    fn try_from(stored: StoredOutlier) -> Result<Self, Self::Error> {
        let lengths_fit = stored.dim == PROFILE;
        Self::from_parts(stored.dim, stored.rows.try_into()?, stored.reach.try_into()?)
            .filter(|_| lengths_fit)
            .ok_or("the lengths of source profiles disagree")
    }
}

impl From<&Mahalanobis> for StoredGaussian {
    fn from(from: &Mahalanobis) -> Self {
        Self { mean: from.mean().into(), whitening: from.whitening()[..].into(), shrinkage: from.shrinkage() }
    }
}

impl TryFrom<StoredGaussian> for Mahalanobis {
    type Error = &'static str;

    fn try_from(stored: StoredGaussian) -> Result<Self, Self::Error> {
        Self::from_parts(stored.mean.try_into()?, &Vec::try_from(stored.whitening)?, stored.shrinkage)
            .ok_or("the lengths of a covariance disagree")
    }
}

impl From<&Neighbours> for StoredNeighbours {
    fn from(from: &Neighbours) -> Self {
        Self { mean: from.mean().into(), scale: from.scale().into(), rows: from.rows().into() }
    }
}

impl TryFrom<StoredNeighbours> for Neighbours {
    type Error = &'static str;

    fn try_from(stored: StoredNeighbours) -> Result<Self, Self::Error> {
        Self::from_parts(stored.mean.try_into()?, stored.scale.try_into()?, stored.rows.try_into()?)
            .ok_or("the lengths of neighbour vectors disagree")
    }
}

/// Numbers as one run of bytes: four bytes each, where a sequence would take five and a call.
#[derive(Serialize, Deserialize)]
#[serde(transparent)]
struct Floats(#[serde(with = "serde_bytes")] Vec<u8>);

impl From<&[f32]> for Floats {
    fn from(values: &[f32]) -> Self {
        Self(values.iter().flat_map(|value| value.to_le_bytes()).collect())
    }
}

impl TryFrom<Floats> for Vec<f32> {
    type Error = &'static str;

    fn try_from(Floats(bytes): Floats) -> Result<Self, Self::Error> {
        let (values, rest) = bytes.as_chunks::<4>();
        if rest.is_empty() {
            Ok(values.iter().map(|&value| f32::from_le_bytes(value)).collect())
        } else {
            Err("an array is cut off in the middle of a number")
        }
    }
}
