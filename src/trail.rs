//! Straight lines through a tile, at any angle: satellite trails, hot columns.

use std::f32::consts::PI;

/// Angles over half a turn.
const ANGLES: usize = 32;
/// Shorter lines (in pixels, for a tile of 64) say little.
const LEAST_SHARE: f32 = 40.0 / 64.0;
/// Values are clipped here (in units of the noise), so that stars do not outshine a faint trail.
const CLIP: f32 = 3.0;

/// For every angle, which line each pixel of a square tile belongs to.
#[derive(Debug, Clone)]
pub struct Lines {
    bins: usize,
    /// `[ANGLES, size * size]`
    line_of: Vec<u16>,
    /// `1 / sqrt(pixels)` of each line, 0 for those too short; `[ANGLES, bins]`
    scale: Vec<f32>,
}

impl Lines {
    /// The lines of tiles of this side (at most 1024 pixels).
    pub fn new(size: usize) -> Self {
        let bins = 2 * size;
        let centre = (size as f32 - 1.0) / 2.0;
        let mut line_of = Vec::with_capacity(ANGLES * size * size);
        let mut counts = vec![0u32; ANGLES * bins];
        for angle in 0..ANGLES {
            let (sine, cosine) = (PI * angle as f32 / ANGLES as f32).sin_cos();
            for pixel in 0..size * size {
                let (x, y) = ((pixel % size) as f32 - centre, (pixel / size) as f32 - centre);
                let line = (x * cosine + y * sine + 0.5).floor() as isize + size as isize;
                line_of.push(line as u16);
                counts[angle * bins + line as usize] += 1;
            }
        }
        let least = LEAST_SHARE * size as f32;
        let scale = |&count: &u32| if count as f32 >= least { 1.0 / (count as f32).sqrt() } else { 0.0 };
        Self { bins, line_of, scale: counts.iter().map(scale).collect() }
    }

    /// Largest sum of clipped values along a line, over the square root of its length: white noise of unit variance
    /// gives about 4. `tile` is in units of the noise, `[size, size]`.
    pub fn brightest(&self, tile: &[f32]) -> f64 {
        let mut sums = vec![0.0f32; self.bins];
        let mut largest = 0.0f32;
        for (lines, scales) in self.line_of.chunks_exact(tile.len()).zip(self.scale.chunks_exact(self.bins)) {
            sums.fill(0.0);
            for (&line, value) in lines.iter().zip(tile) {
                sums[usize::from(line)] += value.clamp(-CLIP, CLIP);
            }
            largest = sums.iter().zip(scales).fold(largest, |largest, (sum, scale)| largest.max(sum * scale));
        }
        f64::from(largest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_found_at_every_angle() {
        let lines = Lines::new(64);
        for degrees in [0.0f32, 13.0, 45.0, 77.0, 90.0, 140.0] {
            let (sine, cosine) = degrees.to_radians().sin_cos();
            let tile: Vec<f32> = (0..64 * 64)
                .map(|pixel| {
                    let (x, y) = ((pixel % 64) as f32 - 31.5, (pixel / 64) as f32 - 31.5);
                    if (x * cosine + y * sine).abs() < 1.5 { 2.0 } else { 0.0 }
                })
                .collect();
            // Two sigma a pixel over 64 pixels and more.
            assert!(lines.brightest(&tile) > 0.8 * 16.0, "{degrees} degrees: {}", lines.brightest(&tile));
        }
    }

    #[test]
    fn a_star_is_no_line() {
        let mut tile = vec![0.0; 64 * 64];
        for pixel in [30 * 64 + 30, 30 * 64 + 31, 31 * 64 + 30, 31 * 64 + 31] {
            tile[pixel] = 1e4;
        }
        assert!(Lines::new(64).brightest(&tile) < 1.2);
    }
}
