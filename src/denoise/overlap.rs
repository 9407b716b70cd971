//! Tiles that overlap by half, each worth less towards its edges: there a convolution has seen padding in place of the frame.
//! The overlap-tile strategy of the U-Net's authors (arXiv:1505.04597, figure 2), with seams that fade.

use std::ops::Range;

use crate::prepare::{Prepared, starts};

/// Tiles `[C, size, size]` of a frame, put together.
pub struct Overlap {
    size: usize,
    columns: Vec<usize>,
    rows: Vec<usize>,
    /// Sums of the weights: corners form a grid, so a pixel's sum is the product.
    across: Vec<f32>,
    down: Vec<f32>,
    pixels: Vec<f32>,
}

impl Overlap {
    /// Of a frame at least `size` pixels wide and high.
    pub fn new(frame: &Prepared, size: usize) -> Self {
        let stride = (size / 2).max(1);
        let (columns, rows) = (starts(frame.width, size, stride), starts(frame.height, size, stride));
        let (across, down) = (sums(&columns, size, frame.width), sums(&rows, size, frame.height));
        Self { size, columns, rows, across, down, pixels: vec![0.0; frame.pixels.len()] }
    }

    /// Top-left corners of the tiles, `(x, y)`.
    pub fn corners(&self) -> Vec<(usize, usize)> {
        self.rows.iter().flat_map(|&y| self.columns.iter().map(move |&x| (x, y))).collect()
    }

    /// Adds the tile with this corner.
    pub fn add(&mut self, (x, y): (usize, usize), tile: &[f32]) {
        let (width, height, size) = (self.across.len(), self.down.len(), self.size);
        for (row, line) in tile.chunks_exact(size).enumerate() {
            let (channel, row) = (row / size, row % size);
            let start = (channel * height + y + row) * width + x;
            let sums = self.pixels[start..start + size].iter_mut();
            sums.zip(line)
                .enumerate()
                .for_each(|(at, (sum, value))| *sum += weight(row, size) * weight(at, size) * value);
        }
    }

    /// The frame, `[C, H, W]`.
    pub fn finish(mut self) -> Vec<f32> {
        let (width, height) = (self.across.len(), self.down.len());
        for (at, sum) in self.pixels.iter_mut().enumerate() {
            *sum /= self.across[at % width] * self.down[at / width % height];
        }
        self.pixels
    }
}

/// Pixels to the nearer edge, from the pixel's middle.
fn weight(at: usize, size: usize) -> f32 {
    at.min(size - 1 - at) as f32 + 0.5
}

fn sums(starts: &[usize], size: usize, length: usize) -> Vec<f32> {
    let mut sums = vec![0.0; length];
    for &start in starts {
        let tile: Range<usize> = start..start + size;
        sums[tile].iter_mut().enumerate().for_each(|(at, sum)| *sum += weight(at, size));
    }
    sums
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::Scaling;

    const SIZE: usize = 16;

    /// Tiles that are right but for their outermost pixels; the largest error away from the frame's own edge.
    fn error(width: usize, height: usize) -> f32 {
        let value = |at: usize| (at as f32 * 0.37).sin();
        let frame = Prepared {
            width,
            height,
            channels: 2,
            pixels: (0..2 * width * height).map(value).collect(),
            tiles: Vec::new(),
            in_file: [width, height],
            scaling: Scaling::Linear { black: 0.0, white: 1.0 },
        };
        let mut whole = Overlap::new(&frame, SIZE);
        for corner in whole.corners() {
            let mut tile = vec![0.0; 2 * SIZE * SIZE];
            frame.copy_tile(corner, SIZE, &mut tile);
            for (at, value) in tile.iter_mut().enumerate() {
                let (x, y) = (at % SIZE, at / SIZE % SIZE);
                *value += if x.min(y).min(SIZE - 1 - x).min(SIZE - 1 - y) == 0 { 1.0 } else { 0.0 };
            }
            whole.add(corner, &tile);
        }
        let inside = |at: &usize| {
            let (x, y) = (at % width, at / width % height);
            (1..width - 1).contains(&x) && (1..height - 1).contains(&y)
        };
        let found = whole.finish();
        (0..found.len()).filter(inside).map(|at| (found[at] - value(at)).abs()).fold(0.0, f32::max)
    }

    #[test]
    fn the_edges_of_tiles_hardly_show() {
        for (width, height) in [(32, 32), (45, 38), (16, 40)] {
            let error = error(width, height);
            assert!(error < 0.15, "{error} of 1 in {width}x{height}");
        }
        assert!(error(16, 16) < 1e-5);
    }
}
