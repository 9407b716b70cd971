//! What one tile shows, before it is compared with normal tiles: losses, residual statistics, descriptors.

use std::f32::consts::PI;

use crate::model::likelihood::Observation;
use crate::model::{Inference, Prior};
use crate::trail::Lines;

/// Side of the residual statistics' low-frequency corner: cosines 0..3 in each direction.
const COSINES: usize = 4;
/// Residuals are clipped here (in sigma) before they are summed along a line or over the tile, so that one bright pixel is no line.
const CLIP: f32 = 5.0;
/// Share of the pixels that make up the peak residual.
const PEAK_SHARE: f64 = 0.01;
/// The feature grid's side: where in the tile a feature stands, coarsely.
const GRID: usize = 2;

/// The measurements of one tile.
#[derive(Debug, Clone)]
pub struct Measurement {
    /// Reconstruction loss, nats.
    pub nll: f64,
    /// Loss that no model can avoid, nats.
    pub floor: f64,
    /// KL of the posterior from the prior, nats, of whatever class; NaN where the encoder gives a point.
    pub kl: f64,
    /// Mean of the top 1 % of the smoothed absolute residuals, sigma.
    pub peak: f64,
    /// Largest absolute residual, sigma.
    pub pixel: f64,
    /// Largest absolute sum of clipped residuals along a row or column, over sqrt(length).
    pub line: f64,
    /// Norm of the clipped residuals' lowest 4 x 4 cosine coefficients.
    pub background: f64,
    /// Mean scaled value.
    pub brightness: f64,
    /// Brightest straight line, units of the noise; NaN where it is not wanted.
    pub trail: f64,
    /// Latent mean; of a latent map its mean, spread and largest magnitude a channel.
    pub latent: Vec<f32>,
    /// Mean and spread of each channel of the encoder's last stage.
    pub pooled: Vec<f32>,
    /// Means of the encoder's last stage on a 2 x 2 grid.
    pub grid: Vec<f32>,
    /// The encoder's last stage itself, `[positions, channels]`.
    pub patches: Vec<f32>,
}

/// The shapes a [`Measurement`] is made from.
#[derive(Debug, Clone)]
pub struct Shapes {
    /// Channels of the input.
    pub channels: usize,
    /// Side of the input in pixels.
    pub size: usize,
    /// Latent `(channels, height, width)`; a vector is `(dim, 1, 1)`.
    pub latent: (usize, usize, usize),
    /// The encoder's last stage, `(channels, height, width)`.
    pub stage: (usize, usize, usize),
    /// The lines to sum along, where they are wanted.
    pub lines: Option<Lines>,
}

impl Shapes {
    /// Values of one input image.
    pub fn image_len(&self) -> usize {
        self.channels * self.size * self.size
    }

    /// Values of one latent.
    pub fn latent_len(&self) -> usize {
        self.latent.0 * self.latent.1 * self.latent.2
    }
}

/// Measures image `index` of a batch: `x` is the batch `[N, C, S, S]` that `inference` saw.
pub fn measure(
    index: usize,
    x: &[f32],
    inference: &Inference,
    (observation, prior): (&Observation, &Prior),
    shapes: &Shapes,
) -> Measurement {
    let (image, latent) = (shapes.image_len(), shapes.latent_len());
    let x = &x[index * image..][..image];
    let output = &inference.output[index * image..][..image];
    let mean = &inference.mean[index * latent..][..latent];
    // A point in latent space has no distribution, and no divergence.
    let log_var = inference.log_var.get(index * latent..(index + 1) * latent);
    let kl = log_var.map_or(f64::NAN, |log_var| prior.kl(mean, log_var, None));
    let (c, h, w) = shapes.stage;
    let empty = Vec::new();
    let stage = inference.features.last().unwrap_or(&empty);
    let patches = &stage[index * c * h * w..][..c * h * w];

    let mut residual = vec![0.0; image];
    observation.residual(x, output, &mut residual);
    let plane = collapse(&residual, shapes.channels);
    let nll = observation.nll(x, output);
    // A reconstruction that is no number is no normal one: maxima would pass over it.
    let checked = |value: f64| if nll.is_finite() { value } else { f64::NAN };
    Measurement {
        nll,
        floor: observation.floor(x),
        kl,
        peak: peak(&smooth(&plane.iter().map(|r| r.abs()).collect::<Vec<_>>(), shapes.size)),
        pixel: checked(f64::from(residual.iter().fold(0.0f32, |largest, r| largest.max(r.abs())))),
        line: checked(line(&plane, shapes.size)),
        background: background(&plane, shapes.size),
        brightness: x.iter().map(|&value| f64::from(value)).sum::<f64>() / image as f64,
        trail: shapes
            .lines
            .as_ref()
            .map_or(f64::NAN, |lines| lines.brightest(&x.iter().map(|value| value.sinh()).collect::<Vec<f32>>())),
        latent: describe_latent(mean, shapes.latent),
        pooled: pool(patches, c),
        grid: grid(patches, shapes.stage),
        patches: patches.to_vec(),
    }
}

/// Smoothed absolute residual of an image, `[S, S]`: the anomaly map's values.
pub fn anomaly_map(residual: &[f32], channels: usize, size: usize) -> Vec<f32> {
    let plane: Vec<f32> = collapse(residual, channels).iter().map(|r| r.abs()).collect();
    smooth(&plane, size)
}

/// Root mean square over channels with the sign of their sum: one plane of residuals.
fn collapse(residual: &[f32], channels: usize) -> Vec<f32> {
    if channels == 1 {
        return residual.to_vec();
    }
    let plane = residual.len() / channels;
    (0..plane)
        .map(|pixel| {
            let values = || (0..channels).map(|channel| residual[channel * plane + pixel]);
            let square: f32 = values().map(|r| r * r).sum();
            (square / channels as f32).sqrt().copysign(values().sum())
        })
        .collect()
}

/// 3 x 3 box mean; at the edges over what is there.
fn smooth(plane: &[f32], size: usize) -> Vec<f32> {
    let blur = |at: &dyn Fn(usize) -> f32, position: usize| {
        let (from, to) = (position.saturating_sub(1), (position + 1).min(size - 1));
        (from..=to).map(at).sum::<f32>() / (to - from + 1) as f32
    };
    let rows: Vec<f32> =
        (0..plane.len()).map(|pixel| blur(&|x| plane[pixel / size * size + x], pixel % size)).collect();
    (0..plane.len()).map(|pixel| blur(&|y| rows[y * size + pixel % size], pixel / size)).collect()
}

/// Mean of the top share of the values.
fn peak(values: &[f32]) -> f64 {
    let count = ((values.len() as f64 * PEAK_SHARE).ceil() as usize).clamp(1, values.len());
    let mut values = values.to_vec();
    let at = values.len() - count;
    values.select_nth_unstable_by(at, f32::total_cmp);
    values[at..].iter().map(|&value| f64::from(value)).sum::<f64>() / count as f64
}

/// Largest absolute sum along a row or column, in units of white noise's own.
fn line(plane: &[f32], size: usize) -> f64 {
    let clipped = |pixel: usize| plane[pixel].clamp(-CLIP, CLIP);
    let row = |y: usize| (0..size).map(|x| clipped(y * size + x)).sum::<f32>();
    let column = |x: usize| (0..size).map(|y| clipped(y * size + x)).sum::<f32>();
    let largest = (0..size).flat_map(|i| [row(i), column(i)]).fold(0.0f32, |largest, sum| largest.max(sum.abs()));
    f64::from(largest) / (size as f64).sqrt()
}

/// Norm of the lowest cosine coefficients (orthonormal DCT-II): white noise gives about `COSINES`.
fn background(plane: &[f32], size: usize) -> f64 {
    let cosine = |k: usize, i: usize| {
        let scale = if k == 0 { 1.0 } else { 2.0f32.sqrt() };
        scale * (PI * k as f32 * (i as f32 + 0.5) / size as f32).cos() / (size as f32).sqrt()
    };
    let table: Vec<f32> = (0..COSINES).flat_map(|k| (0..size).map(move |i| cosine(k, i))).collect();
    let mut coefficients = [0.0f32; COSINES * COSINES];
    for (y, row) in plane.chunks_exact(size).enumerate() {
        for kx in 0..COSINES {
            let along: f32 = row.iter().zip(&table[kx * size..]).map(|(r, cos)| r.clamp(-CLIP, CLIP) * cos).sum();
            for ky in 0..COSINES {
                coefficients[ky * COSINES + kx] += along * table[ky * size + y];
            }
        }
    }
    f64::from(coefficients.iter().map(|c| c * c).sum::<f32>()).sqrt()
}

/// A latent vector as it is; of a map `[c, h, w]` each channel's mean, spread and largest magnitude, wherever it stands.
pub fn describe_latent(mean: &[f32], (_, h, w): (usize, usize, usize)) -> Vec<f32> {
    if h * w == 1 {
        return mean.to_vec();
    }
    let moments = mean.chunks_exact(h * w).map(|plane| {
        let (average, spread) = moments(plane.iter().copied());
        [average, spread, plane.iter().fold(0.0f32, |largest, z| largest.max(z.abs()))]
    });
    moments.flatten().collect()
}

/// Mean and spread of each channel of `[positions, channels]`.
fn pool(patches: &[f32], channels: usize) -> Vec<f32> {
    let each = (0..channels).map(|channel| moments(patches.iter().skip(channel).step_by(channels).copied()));
    each.flat_map(|(mean, spread)| [mean, spread]).collect()
}

/// Means of `[h, w, c]` on a coarse grid, `[GRID, GRID, c]`.
fn grid(patches: &[f32], (c, h, w): (usize, usize, usize)) -> Vec<f32> {
    let mut sums = vec![0.0; GRID * GRID * c];
    let mut counts = [0.0f32; GRID * GRID];
    for (position, values) in patches.chunks_exact(c).enumerate() {
        let cell = (position / w * GRID / h) * GRID + position % w * GRID / w;
        counts[cell] += 1.0;
        sums[cell * c..][..c].iter_mut().zip(values).for_each(|(sum, value)| *sum += value);
    }
    for (cell, count) in counts.iter().enumerate() {
        sums[cell * c..][..c].iter_mut().for_each(|sum| *sum /= count.max(1.0));
    }
    sums
}

fn moments(values: impl Iterator<Item = f32> + Clone) -> (f32, f32) {
    let count = values.clone().count().max(1) as f32;
    let mean = values.clone().sum::<f32>() / count;
    let variance = values.map(|value| (value - mean).powi(2)).sum::<f32>() / count;
    (mean, variance.sqrt())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bright_column_is_a_line_and_a_gradient_is_a_background() {
        let size = 16;
        let column: Vec<f32> = (0..size * size).map(|pixel| if pixel % size == 3 { 2.0 } else { 0.0 }).collect();
        let gradient: Vec<f32> = (0..size * size).map(|pixel| (pixel / size) as f32 / 16.0 - 0.5).collect();
        assert!((line(&column, size) - 2.0 * 4.0).abs() < 1e-5);
        assert!(background(&gradient, size) > 3.0 * line(&gradient, size) / 4.0);
        // A constant c has the single coefficient c * size.
        assert!((background(&vec![0.5; size * size], size) - 8.0).abs() < 1e-4);
    }

    #[test]
    fn one_hot_pixel_does_not_make_a_line() {
        let mut plane = vec![0.0; 64 * 64];
        plane[100] = 1000.0;
        assert!(line(&plane, 64) <= f64::from(CLIP) / 8.0 + 1e-6);
    }

    #[test]
    fn peak_is_the_mean_of_the_top() {
        let values: Vec<f32> = (0..200).map(|value| value as f32).collect();
        assert_eq!(peak(&values), 198.5);
        assert_eq!(peak(&[3.0]), 3.0);
    }

    #[test]
    fn smoothing_keeps_a_constant_and_spreads_a_point() {
        assert!(smooth(&[2.0; 25], 5).iter().all(|value| (value - 2.0).abs() < 1e-6));
        let mut point = vec![0.0; 25];
        point[12] = 9.0;
        let smoothed = smooth(&point, 5);
        assert!((smoothed[6] - 1.0).abs() < 1e-6 && smoothed[0] == 0.0);
    }

    #[test]
    fn the_grid_knows_left_from_right() {
        let patches: Vec<f32> = (0..16).map(|position| if position % 4 < 2 { 1.0 } else { 5.0 }).collect();
        assert_eq!(grid(&patches, (1, 4, 4)), [1.0, 5.0, 1.0, 5.0]);
    }
}
