//! Sobel's gradient of an image: what `input.filters = ["sobel"]` puts behind the channels that the encoder sees.
//!
//! Sobel & Feldman 1968, "A 3x3 isotropic gradient operator for image processing" (Stanford Artificial Intelligence
//! Project), as in Duda & Hart 1973, Pattern Classification and Scene Analysis, p. 271:
//!
//! ```text
//!           | -1 0 1 |              | -1 -2 -1 |
//! Gx = 1/8  | -2 0 2 | * x    Gy = 1/8  |  0  0  0 | * x    magnitude = sqrt(Gx^2 + Gy^2)
//!           | -1 0 1 |              |  1  2  1 |
//! ```
//!
//! - Divided by 8, `Gx` and `Gy` are slopes: scaled units a pixel, to the right and downwards. A step of 1 gives 1/2.
//! - Beyond its border the image goes on as its outermost pixels: a constant has no gradient anywhere. A tile is filtered
//!   by itself, so that it gives the same channels wherever it was cut, moved or turned to.
//! - The angle has to be one number for a direction, and a direction goes round: atan2 jumps by a whole turn where an edge
//!   looks left, and is noise where nothing slopes. The channel is the part of it that does neither: the angle from the
//!   vertical to the right, `asin(Gx / magnitude)`, in right angles from -1 (brighter to the left) to 1 (to the right).
//!   Up and down are both 0, and the sign of `Gy` tells them apart. It is weighted by `8 m / (1 + 8 m)` of the magnitude
//!   `m`: 0 in a flat image, a half at a slope of 1/8 a pixel, near 1 at any strong edge, however bright.

use std::f32::consts::FRAC_2_PI;

use super::engine;
use super::graph::Shape;

/// Channels that it adds to each of the image's.
pub(super) const CHANNELS: usize = 4;
/// What they are, in the order in which they follow the image's own, all channels of the image for each.
pub const NAMES: [&str; CHANNELS] = ["Gx", "Gy", "magnitude", "angle"];

/// The kernels' share of a sum of absolute weights of 8.
pub(super) const SHARE: f32 = 0.125;
/// Added to the square of the magnitude, so that it has a slope where the image is flat.
pub(super) const FLOOR: f32 = 1e-12;
/// Right angles in twice an arc of one radian.
pub(super) const TURN: f32 = 2.0 * FRAC_2_PI;

/// `arctan t = t (1 + c_0 t^2 + c_1 t^4 + ...)` for `|t| <= 1`, to 2e-8 (Abramowitz & Stegun 1964, 4.4.49): plain products,
/// which both executors can do on any device.
pub(super) const ARCTAN: [f32; 8] = [
    -0.333_331_45,
    0.199_935_51,
    -0.142_089,
    0.106_562_64,
    -0.075_289_64,
    0.042_909_61,
    -0.016_165_737,
    0.002_866_225_7,
];

#[inline(always)]
fn arctan(t: f32) -> f32 {
    let square = t * t;
    t + t * square * ARCTAN.iter().rev().fold(0.0, |sum, c| sum * square + c)
}

/// Magnitude and weighted angle of a gradient.
#[inline(always)]
pub(super) fn polar(gx: f32, gy: f32) -> (f32, f32) {
    let magnitude = (gx * gx + gy * gy + FLOOR).sqrt();
    // asin(gx / m) = 2 atan(gx / (m + |gy|)): the argument never leaves [-1, 1].
    let angle = TURN * arctan(gx / (magnitude + gy.abs()));
    let raw = magnitude / SHARE;
    (magnitude, angle * raw / (1.0 + raw))
}

/// Slopes in `gx` and `gy` of `a * magnitude + b * angle`, both as [`polar`] gives them.
#[inline(always)]
pub(super) fn polar_slopes(gx: f32, gy: f32, a: f32, b: f32) -> (f32, f32) {
    let magnitude = (gx * gx + gy * gy + FLOOR).sqrt();
    let (nx, ny) = (gx / magnitude, gy / magnitude);
    let reach = magnitude + gy.abs();
    let t = gx / reach;
    let raw = magnitude / SHARE;
    let (weight, gain) = (raw / (1.0 + raw), 1.0 / (SHARE * (1.0 + raw) * (1.0 + raw)));
    // Of the magnitude by itself and in the weight; of the angle under the weight.
    let outward = a + b * gain * TURN * arctan(t);
    let turning = b * weight * TURN / (1.0 + t * t) / reach;
    let sign = if gy < 0.0 { -1.0 } else { 1.0 };
    (outward * nx + turning * (1.0 - t * nx), outward * ny - turning * t * (ny + sign))
}

/// An image `[c, h, w]` with its gradient channels, `[5 c, h, w]`: as it is, then [`NAMES`].
pub fn channels(x: &[f32], shape: Shape) -> Vec<f32> {
    engine::filtered(x, shape)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn square(side: usize) -> Shape {
        Shape { c: 1, h: side, w: side }
    }

    #[test]
    #[rustfmt::skip]
    fn the_channels_are_those_of_scipy() {
        // x = numpy.arange(16).reshape(4, 4) ** 2 % 11 / 4
        // gx, gy = (scipy.ndimage.sobel(x, axis, mode="nearest") / 8 for axis in (1, 0))
        // m = numpy.hypot(gx, gy); numpy.arcsin(gx / m) * 2 / numpy.pi * 8 * m / (1 + 8 * m)
        let x: Vec<f32> = (0..16u16).map(|i| f32::from(i * i % 11) / 4.0).collect();
        let gx = [
            0.25, 2.5, 6.5, 4.25, -2.0, -2.0, 2.0, 2.0, -2.25, -2.5, -1.25, -1.0, 1.0, 4.0, -0.25, -3.25,
        ].map(|sum: f32| sum / 8.0);
        let gy = [
            4.25, 2.0, -1.0, -3.25, 7.5, 3.0, -3.0, -7.5, -2.75, 1.0, 3.25, 1.5, -6.0, 0.0, 5.25, 5.75,
        ].map(|sum: f32| sum / 8.0);
        let magnitude = [
            0.532168, 0.400195, 0.822059, 0.668779, 0.970261, 0.450694, 0.450694, 0.970261, 0.444146, 0.336573,
            0.435262, 0.225347, 0.760345, 0.5, 0.656994, 0.825615,
        ];
        let angle = [
            0.03029, 0.434676, 0.783659, 0.492359, -0.14697, -0.293055, 0.293055, 0.14697, -0.340671, -0.55255,
            -0.181598, -0.240776, 0.090293, 0.8, -0.02545, -0.284444,
        ];
        let y = channels(&x, square(4));
        for (found, expected) in y.chunks_exact(16).zip([x.as_slice(), &gx, &gy, &magnitude, &angle]) {
            assert!(found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 2e-6), "{found:?} {expected:?}");
        }
    }

    #[test]
    fn a_ramp_has_its_slope_and_a_constant_none() {
        let side = 6;
        let image = |of: fn(usize, usize) -> f32| -> Vec<f32> {
            channels(&(0..side * side).map(|i| of(i % side, i / side)).collect::<Vec<_>>(), square(side))
        };
        let inside = side * 2 + 2;
        let at = |y: &[f32], channel: usize| y[(channel + 1) * side * side + inside];
        let right = image(|x, _| 0.5 * x as f32);
        assert!((at(&right, 0) - 0.5).abs() < 1e-6 && at(&right, 1) == 0.0 && (at(&right, 2) - 0.5).abs() < 1e-6);
        // 8 m = 4: weight 4 / 5.
        assert!((at(&right, 3) - 0.8).abs() < 1e-6);
        assert!((at(&image(|x, _| -0.5 * x as f32), 3) + 0.8).abs() < 1e-6);
        let down = image(|_, y| 0.5 * y as f32);
        assert!(at(&down, 0) == 0.0 && (at(&down, 1) - 0.5).abs() < 1e-6 && at(&down, 3).abs() < 1e-6);
        let flat = image(|_, _| 7.0);
        assert!(flat[side * side..].iter().all(|value| value.abs() <= 1e-6));
    }

    #[test]
    fn the_angle_is_that_of_the_library_and_jumps_nowhere() {
        let weight = |m: f32| 8.0 * m / (1.0 + 8.0 * m);
        let mut last = polar(0.3, 0.0).1;
        for step in 0..=3600 {
            let (sin, cos) = (step as f32 * std::f32::consts::TAU / 3600.0).sin_cos();
            let (magnitude, angle) = polar(0.3 * cos, 0.3 * sin);
            let expected = weight(magnitude) * cos.clamp(-1.0, 1.0).asin() * FRAC_2_PI;
            assert!((magnitude - 0.3).abs() < 1e-6);
            assert!((angle - expected).abs() < 5e-4, "{step}: {angle} {expected}");
            assert!((angle - last).abs() < 2e-3, "{step}");
            last = angle;
        }
        assert_eq!(polar(0.0, 0.0).1, 0.0);
        assert!(polar(1e-9, -1e-9).1.abs() < 1e-5);
    }

    #[test]
    fn slopes_are_those_of_the_values() {
        for (gx, gy) in [(0.3, 0.2), (-0.4, 0.1), (0.05, -0.6), (-0.2, -0.02)] {
            let of = |gx, gy| {
                let (magnitude, angle) = polar(gx, gy);
                f64::from(0.7 * magnitude - 1.3 * angle)
            };
            let (sx, sy) = polar_slopes(gx, gy, 0.7, -1.3);
            let h = 1e-3;
            let measured = [(of(gx + h, gy) - of(gx - h, gy)) / 2e-3, (of(gx, gy + h) - of(gx, gy - h)) / 2e-3];
            assert!((f64::from(sx) - measured[0]).abs() < 2e-3, "{gx} {gy}: {sx} {measured:?}");
            assert!((f64::from(sy) - measured[1]).abs() < 2e-3, "{gx} {gy}: {sy} {measured:?}");
        }
    }
}
