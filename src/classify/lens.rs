//! From the model's units to what a classifier sees: the ordinary pixel at zero, unit spread.
//!
//! Zero is also what convolutions pad with, so that an image's border is no edge (LeCun et al. 1998, section II.B, put the
//! background at -0.1 of a unit for the same reason).

use serde::{Deserialize, Serialize};

/// Most pixels of a channel that are looked at.
const LOOKED_AT: usize = 1 << 20;

/// Offset and scale of each channel.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lens {
    /// Median of the training pixels.
    pub offset: Vec<f32>,
    /// Their standard deviation; 1 where they do not vary.
    pub scale: Vec<f32>,
}

impl Lens {
    /// Fits to training tiles, `[N, channels, size, size]`.
    pub fn fit(tiles: &[f32], channels: usize, size: usize) -> Self {
        let plane = size * size;
        let (mut offset, mut scale) = (Vec::new(), Vec::new());
        for channel in 0..channels {
            let step = (tiles.len() / channels).div_ceil(LOOKED_AT).max(1);
            let all = tiles.chunks_exact(plane).skip(channel).step_by(channels).flatten();
            let mut pixels: Vec<f32> = all.step_by(step).copied().collect();
            let count = pixels.len().max(1) as f64;
            let mean = pixels.iter().map(|&value| f64::from(value)).sum::<f64>() / count;
            let variance = pixels.iter().map(|&value| (f64::from(value) - mean).powi(2)).sum::<f64>() / count;
            let middle = pixels.len() / 2;
            offset.push(if pixels.is_empty() { 0.0 } else { *pixels.select_nth_unstable_by(middle, f32::total_cmp).1 });
            scale.push(if variance > 0.0 { variance.sqrt() as f32 } else { 1.0 });
        }
        Self { offset, scale }
    }

    /// Applies it to tiles `[N, channels, size, size]`.
    pub fn apply(&self, tiles: &mut [f32], size: usize) {
        let channels = self.offset.len().max(1);
        for (at, plane) in tiles.chunks_exact_mut(size * size).enumerate() {
            let (offset, scale) = (self.offset[at % channels], self.scale[at % channels]);
            plane.iter_mut().for_each(|value| *value = (*value - offset) / scale);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_channel_has_its_median_at_zero_and_unit_spread() {
        let tile = [vec![0.0, 0.0, 0.0, 8.0], vec![5.0; 4]].concat();
        let lens = Lens::fit(&[tile.clone(), tile.clone()].concat(), 2, 2);
        assert_eq!((lens.offset.clone(), lens.scale[1]), (vec![0.0, 5.0], 1.0));
        let mut seen = [tile.clone(), tile].concat();
        lens.apply(&mut seen, 2);
        let spread = 12f32.sqrt(); // variance of 0, 0, 0, 8
        assert_eq!(seen[..8], [0.0, 0.0, 0.0, 8.0 / spread, 0.0, 0.0, 0.0, 0.0]);
        assert_eq!(seen[..8], seen[8..]);
    }
}
