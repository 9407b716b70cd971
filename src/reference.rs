//! What normal tiles look like to the model: fitted on the training split, it turns measurements into components.

use serde::{Deserialize, Serialize};

use crate::components::Component;
use crate::measure::Measurement;
use crate::stats::gaussian::Mahalanobis;
use crate::stats::knn::Neighbours;
use crate::stats::regression::Ridge;

/// The k of the k-nearest-neighbour distances.
const NEIGHBOUR: usize = 5;
/// Most training vectors kept for neighbour distances.
const KEPT: usize = 10_000;
/// Most local feature vectors the patch covariance is fitted on.
const PATCHES: usize = 50_000;
/// Penalty of the conditional loss's regression.
const RIDGE: f64 = 1e-3;
/// Keeps the logarithm of a vanishing excess finite, nats.
const EXCESS_FLOOR: f64 = 1e-3;

/// One value a component.
pub type Components = [f64; Component::ALL.len()];

/// The distributions of latents and features of normal tiles.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Reference {
    latent: Mahalanobis,
    latent_neighbours: Neighbours,
    feature: Mahalanobis,
    feature_neighbours: Neighbours,
    patch: Mahalanobis,
    conditional: Ridge,
}

impl Reference {
    /// Fits to the measurements of training tiles (at least two).
    pub fn fit(tiles: &[Measurement], channels: usize, seed: u64) -> Self {
        let latents = rows(tiles, |tile| &tile.latent);
        let pooled = rows(tiles, |tile| &tile.pooled);
        let grids = rows(tiles, |tile| &tile.grid);
        let [latent_dim, pooled_dim, grid_dim] =
            [&latents, &pooled, &grids].map(|rows| rows.len() / tiles.len().max(1));
        let patch_stride = (tiles.iter().map(|tile| tile.patches.len()).sum::<usize>() / channels).div_ceil(PATCHES);
        let patches: Vec<f32> = tiles
            .iter()
            .flat_map(|tile| tile.patches.chunks_exact(channels))
            .step_by(patch_stride.max(1))
            .flatten()
            .copied()
            .collect();
        let targets: Vec<f64> = tiles.iter().map(log_excess).collect();
        Self {
            latent: Mahalanobis::fit(&latents, latent_dim),
            feature: Mahalanobis::fit(&pooled, pooled_dim),
            patch: Mahalanobis::fit(&patches, channels),
            conditional: Ridge::fit(&conditions(tiles), &targets, RIDGE),
            latent_neighbours: Neighbours::fit(latents, latent_dim, KEPT, seed, false),
            feature_neighbours: Neighbours::fit(grids, grid_dim, KEPT, seed, true),
        }
    }

    /// The components of some tiles, in order; a distance that is not wanted is not computed and stays NaN.
    pub fn components(&self, tiles: &[Measurement], wanted: &[Component]) -> Vec<Components> {
        use Component as C;
        let wants = |component| wanted.contains(&component);
        let missing = || vec![f32::NAN; tiles.len()];
        let latents = rows(tiles, |tile| &tile.latent);
        let latent = if wants(C::LatentMahalanobis) { self.latent.distances(&latents) } else { missing() };
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
        let expected = self.conditional.predict(&conditions(tiles));
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
            }
        };
        (0..tiles.len()).map(|index| Component::ALL.map(|component| value(index, component))).collect()
    }
}

fn rows(tiles: &[Measurement], of: impl Fn(&Measurement) -> &Vec<f32>) -> Vec<f32> {
    tiles.iter().flat_map(|tile| of(tile).iter().copied()).collect()
}

fn log_excess(tile: &Measurement) -> f64 {
    (tile.nll - tile.floor).max(EXCESS_FLOOR).ln()
}

/// `[mean, mean^2]` of each tile's latent: what the expected loss is regressed on.
fn conditions(tiles: &[Measurement]) -> Vec<Vec<f64>> {
    let row = |tile: &Measurement| {
        let z = || tile.latent.iter().map(|&z| f64::from(z));
        z().chain(z().map(|z| z * z)).collect()
    };
    tiles.iter().map(row).collect()
}
