//! What can be said of a frame without a model.

use crate::image::Frame;

/// Pixels that median and deviation are taken from, at most: every n-th of a larger frame.
const SAMPLED: usize = 1 << 16;
/// A pixel is hot when it stands this many times the noise above the background.
const HOT: f32 = 5.0;
/// Standard deviation of a normal distribution, in units of its median absolute deviation.
const DEVIATION: f32 = 1.482_602_2;

/// Statistics of a frame as it lies in the file, all channels together; NaN where it has no finite pixel.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RawStatistics {
    /// Median, physical units.
    pub background: f64,
    /// 1.4826 times the median absolute deviation from it, physical units.
    pub noise: f64,
    /// Pixels more than five times the noise above the background; stars and tracks are among them.
    pub hot_pixels: f64,
}

impl RawStatistics {
    /// How many there are.
    pub const COUNT: usize = 3;

    /// Of a frame.
    pub fn of(frame: &Frame) -> Self {
        let step = frame.pixels.len().div_ceil(SAMPLED).max(1);
        // A step that shares a factor with the width would look at a few columns only.
        let step = if step > 1 && frame.width.is_multiple_of(step) { step + 1 } else { step };
        let mut sample: Vec<f32> = frame.pixels.iter().step_by(step).copied().filter(|v| v.is_finite()).collect();
        let Some(background) = median(&mut sample) else {
            return Self { background: f64::NAN, noise: f64::NAN, hot_pixels: f64::NAN };
        };
        sample.iter_mut().for_each(|value| *value = (*value - background).abs());
        let noise = DEVIATION * median(&mut sample).unwrap_or(0.0);
        let hot = frame.pixels.iter().filter(|&&value| value > background + HOT * noise).count();
        Self { background: f64::from(background), noise: f64::from(noise), hot_pixels: hot as f64 }
    }

    /// In the order of the fields.
    pub fn values(&self) -> [f64; Self::COUNT] {
        [self.background, self.noise, self.hot_pixels]
    }
}

/// The upper median, where there is one.
fn median(values: &mut [f32]) -> Option<f32> {
    let middle = values.len() / 2;
    (!values.is_empty()).then(|| *values.select_nth_unstable_by(middle, f32::total_cmp).1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::Depth;
    use crate::simulate::{Instrument, frame};

    fn of(width: usize, pixels: Vec<f32>) -> RawStatistics {
        let (height, depth) = (pixels.len() / width, Depth::Unsigned(16));
        RawStatistics::of(&Frame {
            index: 0,
            width,
            height,
            channels: 1,
            pixels,
            depth,
            observed_at: None,
            exposure_s: None,
        })
    }

    #[test]
    fn background_noise_and_hot_pixels_of_a_sky() {
        for side in [128, 512] {
            let mut pixels: Vec<f32> =
                frame(Instrument::Telescope, side, 3, 0, None).pixels.into_iter().map(f32::from).collect();
            let before = of(side, pixels.clone());
            assert!((before.background / 200.0 - 1.0).abs() < 0.1, "{before:?}");
            // Photons of the sky and read noise.
            assert!((before.noise / 225f64.sqrt() - 1.0).abs() < 0.1, "{before:?}");
            let dark: Vec<usize> = (0..pixels.len()).filter(|&at| pixels[at] < 190.0).take(7).collect();
            dark.into_iter().for_each(|at| pixels[at] = 20_000.0);
            let after = of(side, pixels);
            assert_eq!(after.hot_pixels, before.hot_pixels + 7.0);
            assert!((after.background - before.background).abs() < 0.5);
        }
    }

    #[test]
    fn blank_pixels_are_left_out_and_blank_frames_have_none() {
        let seen = of(2, vec![1.0, f32::NAN, 3.0, 2.0]);
        assert_eq!(seen.values(), [2.0, f64::from(DEVIATION), 0.0]);
        assert!(of(1, vec![f32::NAN]).values().iter().all(|value| value.is_nan()));
        assert_eq!(of(2, vec![0.0, 0.0, 0.0, 9.0]).values(), [0.0, 0.0, 1.0]);
    }
}
