//! From values to grey levels for the eye: a stretch between percentiles, and fitting a picture to a size.
//!
//! For pictures only. The model never sees any of this: its scaling is the pipeline's, fixed by the instrument.

use super::Values;
use super::canvas::Picture;
use crate::pipeline::Scaling;

/// Share of pixels below black and above white.
const BLACK_PERCENTILE: f64 = 0.005;
const WHITE_PERCENTILE: f64 = 0.998;
/// Scale of the median absolute deviation of a Gaussian.
const MAD_TO_SIGMA: f32 = 1.4826;
/// An asinh stretch helps where the brightest is this many times the noise; below it the stretch stays linear.
const LINEAR_BELOW: f32 = 12.0;

/// A monotone map of values to [0, 1]: black to white, softened by an asinh where the range is much wider than the noise.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Stretch {
    /// Value that is drawn black.
    pub black: f32,
    /// Value that is drawn white.
    pub white: f32,
    /// Where the asinh takes over from the straight line, in the values' units; `None` for a linear stretch.
    pub softening: Option<f32>,
}

impl Stretch {
    /// A stretch for these values: black and white at the 0.5 and 99.8 percentiles (the extremes, where most pixels are
    /// equal), softened at three times the noise.
    pub fn of(pixels: &[f32]) -> Self {
        let mut sorted: Vec<f32> = pixels.iter().copied().filter(|value| value.is_finite()).collect();
        if sorted.is_empty() {
            return Self { black: 0.0, white: 1.0, softening: None };
        }
        sorted.sort_unstable_by(f32::total_cmp);
        let at = |share: f64| sorted[((sorted.len() - 1) as f64 * share).round() as usize];
        let (mut black, mut white) = (at(BLACK_PERCENTILE), at(WHITE_PERCENTILE));
        let (median, sigma) = (at(0.5), noise(&sorted));
        let sparse = sigma == 0.0;
        if sparse || white <= black {
            (black, white) = (sorted[0], sorted[sorted.len() - 1]);
        }
        if white <= black {
            return Self { black, white: black + 1.0, softening: None };
        }
        let range = white - black;
        let softening = if sparse {
            // Most pixels are equal (photon-counting detectors): lift the single hits out of the black.
            (median == black).then_some(range / 10.0)
        } else {
            (range > LINEAR_BELOW * sigma).then_some(3.0 * sigma)
        };
        Self { black, white, softening }
    }

    /// The same for values in the units of a pipeline's frames: a straight line where its scaling is one, as the model sees them.
    pub fn under(scaling: Scaling, pixels: &[f32]) -> Self {
        match scaling {
            Scaling::Linear { .. } | Scaling::PerFrame => Self::linear(pixels),
            Scaling::Asinh { .. } | Scaling::Log { .. } => Self::of(pixels),
        }
    }

    /// The same without softening, for values in the model's units: its scaling has been softened already where it is to be.
    pub fn linear(pixels: &[f32]) -> Self {
        Self { softening: None, ..Self::of(pixels) }
    }

    /// The level of a value, in [0, 1]; a blank (NaN) is 0.
    pub fn apply(&self, value: f32) -> f32 {
        if value.is_nan() {
            return 0.0;
        }
        let offset = value - self.black;
        let level = match self.softening {
            Some(scale) => (offset / scale).asinh() / ((self.white - self.black) / scale).asinh(),
            None => offset / (self.white - self.black),
        };
        level.clamp(0.0, 1.0)
    }

    /// What a caption says about it, such as `asinh, 190 to 1.2e4`.
    pub fn caption(&self) -> String {
        let kind = if self.softening.is_some() { "asinh" } else { "linear" };
        format!("{kind}, {} to {}", short(self.black), short(self.white))
    }

    /// The picture of these values: grey, or colour for three channels.
    pub fn picture(&self, values: Values<'_>) -> Picture {
        let plane = values.width * values.height;
        let level = |channel: usize, place: usize| {
            let value = values.pixels.get(channel * plane + place).copied().unwrap_or(f32::NAN);
            (255.0 * self.apply(value)).round() as u8
        };
        let colour = values.channels == 3;
        let rgb = (0..plane)
            .flat_map(|place| if colour { std::array::from_fn(|c| level(c, place)) } else { [level(0, place); 3] })
            .collect();
        Picture { width: values.width, height: values.height, rgb }
    }
}

/// How several pixels become one when a picture is made smaller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shrink {
    /// Their mean: what an eye at a distance sees.
    Mean,
    /// Their highest: a defect of one pixel stays visible.
    Max,
}

/// Values brought to about `side` pixels: each repeated a whole number of times, or blocks of them joined.
/// Returns `(width, height, pixels, pixels of the result a pixel of the input)`.
pub fn fit(values: Values<'_>, side: usize, shrink: Shrink) -> (usize, usize, Vec<f32>, f64) {
    let longest = values.width.max(values.height).max(1);
    if longest > side {
        let block = longest.div_ceil(side);
        let (width, height, pixels) = join_blocks(values, block, shrink);
        return (width, height, pixels, 1.0 / block as f64);
    }
    let zoom = (side / longest).max(1);
    let (width, height) = (values.width * zoom, values.height * zoom);
    let mut pixels = Vec::with_capacity(width * height * values.channels);
    for channel in 0..values.channels {
        for y in 0..height {
            let row = (channel * values.height + y / zoom) * values.width;
            pixels.extend((0..width).map(|x| values.pixels[row + x / zoom]));
        }
    }
    (width, height, pixels, zoom as f64)
}

/// A number as a caption has it: three significant digits.
pub fn short(value: f32) -> String {
    let size = value.abs();
    match size {
        _ if value == 0.0 => "0".into(),
        _ if !value.is_finite() => value.to_string(),
        _ if !(0.01..100_000.0).contains(&size) => format!("{value:.1e}"),
        _ if size >= 100.0 || value.fract() == 0.0 => format!("{value:.0}"),
        _ if size >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

/// Standard deviation of the bulk, from the median absolute deviation of sorted values.
fn noise(sorted: &[f32]) -> f32 {
    let median = sorted[sorted.len() / 2];
    let mut deviations: Vec<f32> = sorted.iter().map(|value| (value - median).abs()).collect();
    deviations.sort_unstable_by(f32::total_cmp);
    MAD_TO_SIGMA * deviations[deviations.len() / 2]
}

fn join_blocks(values: Values<'_>, block: usize, shrink: Shrink) -> (usize, usize, Vec<f32>) {
    let (width, height) = (values.width.div_ceil(block), values.height.div_ceil(block));
    let mut pixels = Vec::with_capacity(width * height * values.channels);
    for channel in 0..values.channels {
        for y in 0..height {
            for x in 0..width {
                pixels.push(join(values, channel, (x * block, y * block), block, shrink));
            }
        }
    }
    (width, height, pixels)
}

/// One block's value; blanks are passed over, a block of blanks is blank.
fn join(values: Values<'_>, channel: usize, corner: (usize, usize), block: usize, shrink: Shrink) -> f32 {
    let (mut sum, mut highest, mut count) = (0.0f64, f32::NEG_INFINITY, 0u32);
    for y in corner.1..(corner.1 + block).min(values.height) {
        let row = (channel * values.height + y) * values.width;
        for value in &values.pixels[row + corner.0..row + (corner.0 + block).min(values.width)] {
            if !value.is_nan() {
                sum += f64::from(*value);
                highest = highest.max(*value);
                count += 1;
            }
        }
    }
    match (count, shrink) {
        (0, _) => f32::NAN,
        (_, Shrink::Mean) => (sum / f64::from(count)) as f32,
        (_, Shrink::Max) => highest,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stretch_is_monotone_and_spans_black_to_white() {
        let pixels: Vec<f32> = (0..1000).map(|i| 200.0 + (i % 17) as f32 + if i == 3 { 9e4 } else { 0.0 }).collect();
        let stretch = Stretch::of(&pixels);
        assert_eq!(stretch.apply(stretch.black), 0.0);
        assert_eq!(stretch.apply(stretch.white), 1.0);
        assert!(stretch.apply(205.0) < stretch.apply(210.0));
        assert_eq!(stretch.apply(f32::NAN), 0.0);
    }

    #[test]
    fn a_linear_scaling_is_drawn_linear() {
        // Most pixels are equal: by themselves they would be softened.
        let pixels: Vec<f32> = (0..784).map(|i| if i % 5 == 0 { (i % 256) as f32 } else { 0.0 }).collect();
        let under = |scaling| Stretch::under(scaling, &pixels);
        assert_eq!(under(Scaling::Linear { black: 0.0, white: 255.0 }).caption(), "linear, 0 to 255");
        assert_eq!(under(Scaling::PerFrame), Stretch::linear(&pixels));
        assert_eq!(under(Scaling::Asinh { black: 0.0, scale: 1.0 }), Stretch::of(&pixels));
        assert!(Stretch::of(&pixels).softening.is_some());
    }

    #[test]
    fn degenerate_values_still_give_a_stretch() {
        for pixels in [&[][..], &[f32::NAN], &[5.0; 9], &[0.0, 0.0, 0.0, 0.0, 0.0, 7.0]] {
            let stretch = Stretch::of(pixels);
            assert!(stretch.white > stretch.black, "{pixels:?} {stretch:?}");
        }
    }

    #[test]
    fn one_bad_pixel_survives_shrinking_by_the_highest() {
        let mut pixels = vec![0.0; 64 * 64];
        pixels[64 * 33 + 7] = 9.0;
        let (width, height, small, scale) = fit(Values::grey(64, 64, &pixels), 16, Shrink::Max);
        assert_eq!((width, height, scale), (16, 16, 0.25));
        assert_eq!(small[16 * 8 + 1], 9.0);
        let (width, _, large, scale) = fit(Values::grey(2, 2, &[1.0, 2.0, 3.0, 4.0]), 4, Shrink::Mean);
        assert_eq!((width, scale), (4, 2.0));
        assert_eq!(&large[..4], &[1.0, 1.0, 2.0, 2.0]);
    }
}
