//! What only the data can show: how the validation frames are judged, and where their tiles lie in the latent.

use crate::calibrate::Tails;
use crate::components::Component;
use crate::detector::Examined;
use crate::pipeline;
use crate::reference::Components;
use crate::score::frame_components;
use crate::train::data::Sample;

/// Most tiles on the latent map.
const MAP_TILES: usize = 2000;

/// Tiles with their latent means, thinned as they come: all of them would take the memory of the frames.
#[derive(Debug)]
pub struct Latents {
    step: usize,
    count: usize,
    /// Frame, tile within it, components, latent mean.
    kept: Vec<(usize, usize, Components, Vec<f32>)>,
}

impl Latents {
    /// Of about this many tiles.
    pub fn of(tiles: usize) -> Self {
        Self { step: tiles.div_ceil(MAP_TILES).max(1), count: 0, kept: Vec::new() }
    }

    /// Keeps the tiles whose turn it is of the frame at a place among the validation frames.
    pub fn take(&mut self, at: usize, frame: &Examined) {
        for (number, (tile, latent)) in frame.tiles.iter().zip(&frame.latents).enumerate() {
            if self.count.is_multiple_of(self.step) {
                self.kept.push((at, number, *tile, latent.clone()));
            }
            self.count += 1;
        }
    }
}

/// Validation frames under the finished model.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Seen {
    /// Each frame.
    pub frames: Vec<SeenFrame>,
    /// Some of their tiles.
    pub tiles: Vec<SeenTile>,
    /// Latent means of those tiles, `[n, dim]`.
    pub latents: Vec<f32>,
    /// Values of a latent.
    pub dim: usize,
}

/// A validation frame.
#[derive(Debug, Clone, PartialEq)]
pub struct SeenFrame {
    /// The file it came from.
    pub source: String,
    /// Position in the file.
    pub frame_index: u32,
    /// Its score.
    pub score: f64,
    /// Each component, reduced over its tiles as the `scores` table has it; `None` where it is not computed.
    pub components: [Option<f64>; Component::ALL.len()],
}

/// A tile of a validation frame.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SeenTile {
    /// Which of the frames.
    pub frame: u32,
    /// Which of its tiles.
    pub tile: u32,
    /// Its score.
    pub score: f64,
}

impl Seen {
    /// From the tiles of every frame, and the latents of some.
    pub fn of(
        samples: &[&Sample],
        examined: &[Vec<Components>],
        latents: Latents,
        tails: &Tails,
        score: &pipeline::Score,
    ) -> Self {
        let frame = |(sample, tiles): (&&Sample, &Vec<Components>)| SeenFrame {
            source: sample.source.display().to_string(),
            frame_index: sample.index as u32,
            score: tails.frame_score(tiles, score),
            components: frame_components(tiles, score.reduction),
        };
        let tile = |&(frame, tile, components, _): &(usize, usize, Components, Vec<f32>)| SeenTile {
            frame: frame as u32,
            tile: tile as u32,
            score: tails.tile_score(&components, score),
        };
        Self {
            frames: samples.iter().zip(examined).map(frame).collect(),
            tiles: latents.kept.iter().map(tile).collect(),
            dim: latents.kept.first().map_or(0, |(.., latent)| latent.len()),
            latents: latents.kept.into_iter().flat_map(|(.., latent)| latent).collect(),
        }
    }

    /// Scores of the frames.
    pub fn scores(&self) -> Vec<f64> {
        self.frames.iter().map(|frame| frame.score).collect()
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
        (0..60).for_each(|at| latents.take(at, &frame(at)));
        assert_eq!(latents.kept.len(), MAP_TILES);
        let of = |which: usize| latents.kept.iter().filter(|(frame, ..)| *frame == which).count();
        assert!(of(0).abs_diff(of(59)) <= 1 && of(59) > 30, "{} {}", of(0), of(59));
        assert!(latents.kept.iter().all(|(frame, _, _, latent)| latent[0] == *frame as f32));
    }
}
