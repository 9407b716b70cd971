//! Where a pixel comes from: shifts, mirrors, turns and magnification as one map of the plane, so that a tile is
//! interpolated once.

use rand::Rng;
use rand_chacha::ChaCha8Rng;

use super::light::Instrument;
use crate::pipeline::Augment;
use crate::prepare::Prepared;

/// `source = centre + linear (target - centre) + shift`, pixels, y downwards.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Motion {
    linear: [[f64; 2]; 2],
    shift: [f64; 2],
}

impl Motion {
    /// Leaves everything where it is.
    pub const NONE: Self = Self { linear: [[1.0, 0.0], [0.0, 1.0]], shift: [0.0; 2] };

    /// One of the motions that are declared, each with the same chance; with `always`, mirrors and quarter turns are done.
    pub(super) fn draw(augment: &Augment, always: bool, random: &mut ChaCha8Rng) -> Self {
        let mut motion = Self::NONE;
        if augment.flip_x && (always || random.random()) {
            motion = motion.then([[-1.0, 0.0], [0.0, 1.0]]);
        }
        if augment.flip_y && (always || random.random()) {
            motion = motion.then([[1.0, 0.0], [0.0, -1.0]]);
        }
        if augment.rotate90 {
            motion = motion.turned(random.random_range(u8::from(always)..4));
        }
        if augment.rotate > 0.0 {
            motion = motion.rotated(random.random_range(-augment.rotate..=augment.rotate));
        }
        if augment.scale > 0.0 {
            let reach = augment.scale.ln_1p();
            motion = motion.magnified(random.random_range(-reach..=reach).exp());
        }
        if augment.translate > 0.0 {
            let mut along = || random.random_range(-augment.translate..=augment.translate);
            motion = motion.shifted(along(), along());
        }
        motion
    }

    fn then(self, [a, b]: [[f64; 2]; 2]) -> Self {
        let [p, q] = self.linear;
        let row = |row: [f64; 2]| [row[0] * a[0] + row[1] * b[0], row[0] * a[1] + row[1] * b[1]];
        Self { linear: [row(p), row(q)], ..self }
    }

    /// Moves the content by `x` to the right and `y` downwards.
    pub fn shifted(self, x: f64, y: f64) -> Self {
        let [[a, b], [c, d]] = self.linear;
        let [sx, sy] = self.shift;
        Self { shift: [sx - a * x - b * y, sy - c * x - d * y], ..self }
    }

    /// Turns the content by `quarters` of a circle, clockwise on the screen; exact.
    pub fn turned(self, quarters: u8) -> Self {
        (0..quarters % 4).fold(self, |motion, _| motion.then([[0.0, 1.0], [-1.0, 0.0]]))
    }

    /// Turns the content by `degrees`, clockwise on the screen.
    pub fn rotated(self, degrees: f64) -> Self {
        let (sin, cos) = degrees.to_radians().sin_cos();
        self.then([[cos, sin], [-sin, cos]])
    }

    /// Magnifies the content by `factor`; its surface brightness stays.
    pub fn magnified(self, factor: f64) -> Self {
        self.then([[1.0 / factor, 0.0], [0.0, 1.0 / factor]])
    }

    /// The place in the source of the pixel `(x, y)` of a window with this centre.
    fn source(&self, (x, y): (usize, usize), (cx, cy): (f64, f64)) -> (f64, f64) {
        let [[a, b], [c, d]] = self.linear;
        let (x, y) = (x as f64 - cx, y as f64 - cy);
        (cx + a * x + b * y + self.shift[0], cy + c * x + d * y + self.shift[1])
    }
}

/// A part of a frame: left, top, width, height.
pub(super) type Window = (usize, usize, usize, usize);

/// The window's pixels after `motion` about its centre, `[channels, height, width]` to `out`, scaled units.
///
/// A place between pixels is interpolated bilinearly in physical units; what lies outside the window is taken from the frame,
/// what lies outside the frame is its mirror image. Interpolation averages the noise of up to four pixels: where the
/// instrument's noise is known, what it takes off the variance is added again.
pub(super) fn warp(
    frame: &Prepared,
    window: Window,
    motion: &Motion,
    noise: Option<&Instrument>,
    random: &mut ChaCha8Rng,
    out: &mut [f32],
) {
    let (left, top, width, height) = window;
    let centre = ((width as f64 - 1.0) / 2.0, (height as f64 - 1.0) / 2.0);
    let plane = frame.width * frame.height;
    for (at, out) in out.iter_mut().enumerate() {
        let (channel, row, column) = (at / (width * height), at / width % height, at % width);
        let (x, y) = motion.source((column, row), centre);
        let pixels = &frame.pixels[channel * plane..(channel + 1) * plane];
        *out = sample(frame, pixels, (x + left as f64, y + top as f64), noise, random);
    }
}

fn sample(
    frame: &Prepared,
    pixels: &[f32],
    (x, y): (f64, f64),
    noise: Option<&Instrument>,
    random: &mut ChaCha8Rng,
) -> f32 {
    let (left, top) = (x.floor(), y.floor());
    let (right, down) = ((x - left) as f32, (y - top) as f32);
    let value = |dx: i64, dy: i64| {
        let (column, row) = (mirrored(left as i64 + dx, frame.width), mirrored(top as i64 + dy, frame.height));
        pixels[row * frame.width + column]
    };
    if right == 0.0 && down == 0.0 {
        return value(0, 0);
    }
    let weights = [(1.0 - right) * (1.0 - down), right * (1.0 - down), (1.0 - right) * down, right * down];
    let values = [value(0, 0), value(1, 0), value(0, 1), value(1, 1)].map(|value| frame.scaling.unscale(value));
    let mut mean: f32 = weights.iter().zip(values).map(|(weight, value)| weight * value).sum();
    if let Some(noise) = noise {
        let kept: f32 = weights.iter().map(|weight| weight * weight).sum();
        mean += noise.gaussian(mean, (1.0 - kept).max(0.0), random);
    }
    frame.scaling.scale(mean)
}

/// The index within `0..length` that an index outside is the mirror image of; the edge's own pixel is the mirror.
fn mirrored(index: i64, length: usize) -> usize {
    let last = length as i64 - 1;
    if last == 0 {
        return 0;
    }
    let at = index.rem_euclid(2 * last);
    (if at > last { 2 * last - at } else { at }) as usize
}

/// A frame turned by quarters of a circle, clockwise on the screen, its tiles with it; exact.
pub(super) fn turned(frame: &Prepared, quarters: u8, size: usize) -> Prepared {
    let mut frame = frame.clone();
    for _ in 0..quarters % 4 {
        let (width, height) = (frame.height, frame.width);
        let plane = width * height;
        let pixels = (0..frame.channels * plane).map(|at| {
            let (channel, row, column) = (at / plane, at / width % height, at % width);
            frame.pixels[channel * plane + (width - 1 - column) * height + row]
        });
        let pixels = pixels.collect();
        let tiles = frame.tiles.iter().map(|&(x, y)| (width - size - y, x)).collect();
        frame = Prepared { width, height, pixels, tiles, ..frame };
    }
    frame
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mirror_image_goes_on_for_ever() {
        let seen: Vec<usize> = (-4..8).map(|index| mirrored(index, 4)).collect();
        assert_eq!(seen, [2, 3, 2, 1, 0, 1, 2, 3, 2, 1, 0, 1]);
        assert_eq!(mirrored(-3, 1), 0);
    }
}
