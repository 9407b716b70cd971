//! From the model's units to what a classifier sees: the ordinary pixel at zero, and its scatter for the unit.
//!
//! Zero is also what convolutions pad with, so that an image's border is no edge (LeCun et al. 1998, section II.B, put the
//! background at -0.1 of a unit for the same reason). A few saturated pixels are no part of the scatter of a noisy background;
//! far beyond it values grow as their logarithm, so that a squashing function sees more of them than that they are bright. Where most
//! pixels are equal (ink on paper), the unit is the standard deviation, and nothing is compressed.

use serde::{Deserialize, Serialize};

/// Most pixels of a channel that are looked at.
const LOOKED_AT: usize = 1 << 20;
/// Standard deviation of a Gaussian over its median absolute deviation.
const SIGMA_OF_MAD: f32 = 1.4826;

/// What is done to each channel: `(x - offset) / spread`, and `asinh` of it where it is compressed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lens {
    /// Median of the training pixels.
    pub offset: Vec<f32>,
    /// Their scatter about it, by the median absolute deviation; by the standard one where that is 0; 1 where all are equal.
    pub spread: Vec<f32>,
    /// Whether the median absolute deviation is above 0.
    pub compressed: Vec<bool>,
}

impl Lens {
    /// Fits to training tiles, `[N, channels, size, size]`.
    pub fn fit(tiles: &[f32], channels: usize, size: usize) -> Self {
        let plane = size * size;
        let mut lens = Self { offset: Vec::new(), spread: Vec::new(), compressed: Vec::new() };
        for channel in 0..channels {
            let step = (tiles.len() / channels).div_ceil(LOOKED_AT).max(1);
            let all = tiles.chunks_exact(plane).skip(channel).step_by(channels).flatten();
            let mut pixels: Vec<f32> = all.step_by(step).copied().collect();
            let middle = median(&mut pixels);
            let deviation = deviation(&pixels);
            pixels.iter_mut().for_each(|value| *value = (*value - middle).abs());
            let robust = SIGMA_OF_MAD * median(&mut pixels);
            lens.offset.push(middle);
            lens.spread.push([robust, deviation].into_iter().find(|&spread| spread > 0.0).unwrap_or(1.0));
            lens.compressed.push(robust > 0.0);
        }
        lens
    }

    /// Applies it to tiles `[N, channels, size, size]`.
    pub fn apply(&self, tiles: &mut [f32], size: usize) {
        let channels = self.offset.len().max(1);
        for (at, plane) in tiles.chunks_exact_mut(size * size).enumerate() {
            let (offset, spread) = (self.offset[at % channels], self.spread[at % channels]);
            plane.iter_mut().for_each(|value| *value = (*value - offset) / spread);
            if self.compressed[at % channels] {
                plane.iter_mut().for_each(|value| *value = value.asinh());
            }
        }
    }
}

/// The middle value, after sorting; 0 of none.
fn median(values: &mut [f32]) -> f32 {
    let middle = values.len() / 2;
    if values.is_empty() { 0.0 } else { *values.select_nth_unstable_by(middle, f32::total_cmp).1 }
}

fn deviation(values: &[f32]) -> f32 {
    let count = values.len().max(1) as f64;
    let mean = values.iter().map(|&value| f64::from(value)).sum::<f64>() / count;
    (values.iter().map(|&value| (f64::from(value) - mean).powi(2)).sum::<f64>() / count).sqrt() as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_channel_has_its_median_at_zero_and_its_scatter_for_a_unit() {
        let tile = [vec![0.0, 0.0, 0.0, 8.0], vec![5.0; 4]].concat();
        let lens = Lens::fit(&[tile.clone(), tile.clone()].concat(), 2, 2);
        // Variance of 0, 0, 0, 8.
        assert_eq!((lens.offset.clone(), lens.spread.clone()), (vec![0.0, 5.0], vec![12f32.sqrt(), 1.0]));
        let mut seen = [tile.clone(), tile].concat();
        lens.apply(&mut seen, 2);
        assert_eq!(seen[..8], [0.0, 0.0, 0.0, 8.0 / 12f32.sqrt(), 0.0, 0.0, 0.0, 0.0]);
        assert_eq!(seen[..8], seen[8..]);
    }

    #[test]
    fn a_saturated_pixel_hides_nothing() {
        let mut tile: Vec<f32> = (0..256).map(|at| 200.0 + (at % 9) as f32 * 4.0).collect();
        tile[17] = 65535.0;
        let lens = Lens::fit(&tile, 1, 16);
        lens.apply(&mut tile, 16);
        assert!(tile[8] > 0.8 && tile[0] < -0.8, "the sky keeps its unit: {} {}", tile[0], tile[8]);
        assert!((5.0..12.0).contains(&tile[17]), "{}", tile[17]);
    }
}
