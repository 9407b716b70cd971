//! Where validation tiles lie in the latent space.

use super::chart::{Axis, Chart};
use super::figures::{figure, legend, mixed};
use super::html::Html;
use super::seen::Seen;
use crate::measure::describe_latent;
use crate::pipeline::Latent;
use crate::stats::pca::Pca;

/// Scores beyond this share at either end have the last colour of the map.
const COLOUR_ENDS: f64 = 0.02;

/// Validation tiles in the principal plane of their latent means, coloured by score.
pub fn map(html: &mut Html, latent: Latent, seen: &Seen) {
    let described = described(latent, seen);
    let pca = Pca::fit(&described, described.len() / seen.tiles.len().max(1));
    let places = pca.project(&described);
    let [first, second] = [0, 1].map(|axis| format!("{:.0} %", 100.0 * pca.share(axis)));
    let (x_name, y_name) =
        (format!("first component ({first} of the variance)"), format!("second component ({second})"));
    let (x, y) = (Axis::of(places.iter().map(|place| place.0)), Axis::of(places.iter().map(|place| place.1)));
    let chart = Chart { x, y, x_name: &x_name, y_name: &y_name };
    let tile_scores: Vec<f64> = seen.tiles.iter().map(|tile| tile.score).collect();
    let mut sorted: Vec<f64> = tile_scores.iter().copied().filter(|score| score.is_finite()).collect();
    sorted.sort_by(f64::total_cmp);
    let at = |share: f64| sorted.get(((sorted.len() as f64 - 1.0) * share).max(0.0) as usize).copied().unwrap_or(0.0);
    let (low, high) = (at(COLOUR_ENDS), at(1.0 - COLOUR_ENDS));
    let says = format!(
        "{} validation tiles: the means of their posteriors (of maps: each channel's mean, spread and largest magnitude) in the plane \
         along which they vary most, coloured by the score of the tile.",
        places.len()
    );
    figure(html, "Latent map", &says, |html| {
        chart.draw(html, |html| {
            // High scores last, so that they are not hidden.
            let mut order: Vec<usize> = (0..places.len()).collect();
            order.sort_by(|&a, &b| tile_scores[a].total_cmp(&tile_scores[b]));
            for index in order {
                let share = (tile_scores[index] - low) / (high - low).max(f64::MIN_POSITIVE);
                chart.dot(html, places[index], &format!("fill:{}", mixed(share)));
            }
        });
        let steps = [0.0, 0.5, 1.0].map(|share| (mixed(share), format!("{:.2}", low + share * (high - low))));
        let entries: Vec<(String, &str)> = steps.iter().map(|(colour, name)| (colour.clone(), name.as_str())).collect();
        legend(html, &entries);
    });
}

/// The tiles' latents, row by row, as `latent` maps them.
fn described(latent: Latent, seen: &Seen) -> Vec<f32> {
    let map = match latent {
        Latent::Vector { .. } => (seen.dim, 1, 1),
        Latent::Map { dim } => (dim, 1, seen.dim / dim.max(1)),
    };
    seen.latents.chunks_exact(seen.dim.max(1)).flat_map(|mean| describe_latent(mean, map)).collect()
}
