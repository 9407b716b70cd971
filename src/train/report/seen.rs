//! What only the data can show: how the validation frames are judged, and where their tiles lie in the latent.

use crate::calibrate::Tails;
use crate::detector::Examined;
use crate::pipeline;
use crate::reference::Components;

/// Most tiles on the latent map.
const MAP_TILES: usize = 2000;

/// Tiles with their latent means, thinned as they come: all of them would take the memory of the frames.
#[derive(Debug)]
pub struct Latents {
    step: usize,
    count: usize,
    kept: Vec<(Components, Vec<f32>)>,
}

impl Latents {
    /// Of about this many tiles.
    pub fn of(tiles: usize) -> Self {
        Self { step: tiles.div_ceil(MAP_TILES).max(1), count: 0, kept: Vec::new() }
    }

    /// Keeps the tiles of a frame whose turn it is.
    pub fn take(&mut self, frame: &Examined) {
        for (tile, latent) in frame.tiles.iter().zip(&frame.latents) {
            if self.count.is_multiple_of(self.step) {
                self.kept.push((*tile, latent.clone()));
            }
            self.count += 1;
        }
    }
}

/// Validation frames under the finished model.
#[derive(Debug, Clone, Default)]
pub struct Seen {
    /// Score of each frame.
    pub scores: Vec<f64>,
    /// Latent means of some of their tiles, `[n, dim]`.
    pub latents: Vec<f32>,
    /// Scores of those tiles.
    pub tile_scores: Vec<f64>,
    /// Values of a latent.
    pub dim: usize,
}

impl Seen {
    /// From the tiles of every frame, and the latents of some.
    pub fn of(frames: &[Vec<Components>], latents: Latents, tails: &Tails, score: &pipeline::Score) -> Self {
        Self {
            scores: frames.iter().map(|tiles| tails.frame_score(tiles, score)).collect(),
            tile_scores: latents.kept.iter().map(|(tile, _)| tails.tile_score(tile, score)).collect(),
            dim: latents.kept.first().map_or(0, |(_, latent)| latent.len()),
            latents: latents.kept.into_iter().flat_map(|(_, latent)| latent).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tiles_are_thinned_evenly_over_all_frames() {
        let tile = Components::default();
        let frame = |at: usize| Examined { tiles: vec![tile; 100], latents: vec![vec![at as f32, 1.0]; 100] };
        let mut latents = Latents::of(6000);
        (0..60).for_each(|at| latents.take(&frame(at)));
        assert_eq!(latents.kept.len(), MAP_TILES);
        let of_first = latents.kept.iter().filter(|(_, latent)| latent[0] == 0.0).count();
        let of_last = latents.kept.iter().filter(|(_, latent)| latent[0] == 59.0).count();
        assert!(of_first.abs_diff(of_last) <= 1 && of_last > 30, "{of_first} {of_last}");
    }
}
