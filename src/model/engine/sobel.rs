//! [`crate::model::sobel`] on channels-last images, forward and backward, a row at a time.

use multiversion::multiversion;

use super::{to_channels_last, to_planar};
use crate::model::graph::Shape;
use crate::model::sobel::{CHANNELS, SHARE, polar, polar_slopes};

/// Values a channel of the image becomes.
const ALL: usize = 1 + CHANNELS;

/// What the rows of an image need on the way.
struct Room {
    /// The three rows joined by 1, 2, 1, and the last less the first; a pixel more at either end.
    smooth: Vec<f32>,
    step: Vec<f32>,
    /// A row of each channel that is added.
    rows: [Vec<f32>; CHANNELS],
}

impl Room {
    fn new(shape: Shape) -> Self {
        let line = shape.w * shape.c;
        let wide = || vec![0.0; line + 2 * shape.c];
        Self { smooth: wide(), step: wide(), rows: std::array::from_fn(|_| vec![0.0; line]) }
    }
}

/// The rows above, at and below a row; the image goes on as its outermost ones.
fn around(row: usize, rows: usize) -> [usize; 3] {
    [row.saturating_sub(1), row, (row + 1).min(rows - 1)]
}

/// The image and its gradient channels, `[h, w, c]` to `[h, w, 5 c]`, for any number of images.
pub(super) fn filter(shape: Shape, x: &[f32], y: &mut [f32]) {
    let (c, line) = (shape.c, shape.w * shape.c);
    let mut room = Room::new(shape);
    for (x, y) in x.chunks_exact(shape.len()).zip(y.chunks_exact_mut(ALL * shape.len())) {
        for (row, y) in y.chunks_exact_mut(ALL * line).enumerate() {
            slopes(x, row, shape, &mut room);
            let [gx, gy, magnitude, angle] = &mut room.rows;
            turn(gx, gy, magnitude, angle);
            weave(&x[row * line..][..line], &room.rows, c, y);
        }
    }
}

/// `Gx` and `Gy` of a row, into the first two rows of `room`.
fn slopes(x: &[f32], row: usize, shape: Shape, room: &mut Room) {
    let (c, line) = (shape.c, shape.w * shape.c);
    let [above, here, below] = around(row, shape.h).map(|row| &x[row * line..][..line]);
    let Room { smooth, step, rows } = room;
    for i in 0..line {
        smooth[c + i] = above[i] + 2.0 * here[i] + below[i];
        step[c + i] = below[i] - above[i];
    }
    for wide in [&mut *smooth, &mut *step] {
        wide.copy_within(c..2 * c, 0);
        wide.copy_within(line..line + c, line + c);
    }
    for i in 0..line {
        rows[0][i] = SHARE * (smooth[i + 2 * c] - smooth[i]);
        rows[1][i] = SHARE * (step[i] + 2.0 * step[i + c] + step[i + 2 * c]);
    }
}

#[multiversion(targets("x86_64+avx512f+avx512bw+avx512dq+avx512vl+fma+bmi2", "x86_64+avx2+fma+bmi2"))]
fn turn(gx: &[f32], gy: &[f32], magnitude: &mut [f32], angle: &mut [f32]) {
    for ((gx, gy), (magnitude, angle)) in gx.iter().zip(gy).zip(magnitude.iter_mut().zip(angle)) {
        (*magnitude, *angle) = polar(*gx, *gy);
    }
}

/// A row of the image and of each added channel, pixel by pixel.
fn weave(x: &[f32], rows: &[Vec<f32>; CHANNELS], c: usize, y: &mut [f32]) {
    if c == 1 {
        let [gx, gy, magnitude, angle] = rows;
        let pixels = y.as_chunks_mut::<ALL>().0.iter_mut().enumerate();
        return pixels.for_each(|(i, y)| *y = [x[i], gx[i], gy[i], magnitude[i], angle[i]]);
    }
    for (pixel, y) in y.chunks_exact_mut(ALL * c).enumerate() {
        let sources = std::iter::once(x).chain(rows.iter().map(Vec::as_slice));
        for (source, y) in sources.zip(y.chunks_exact_mut(c)) {
            y.copy_from_slice(&source[pixel * c..][..c]);
        }
    }
}

/// The gradient of [`filter`].
pub(super) fn filter_gradient(shape: Shape, x: &[f32], dy: &[f32], dx: &mut [f32]) {
    let line = shape.w * shape.c;
    let mut room = Room::new(shape);
    dx.fill(0.0);
    let images = x.chunks_exact(shape.len()).zip(dy.chunks_exact(ALL * shape.len()));
    for ((x, dy), dx) in images.zip(dx.chunks_exact_mut(shape.len())) {
        for (row, dy) in dy.chunks_exact(ALL * line).enumerate() {
            slopes(x, row, shape, &mut room);
            gather(dy, shape.c, &mut dx[row * line..][..line], &mut room.rows);
            spread(row, shape, &mut room, dx);
        }
    }
}

/// Adds the gradient in the image's own channels to `dx`, and puts those in `Gx` and `Gy` in their place.
fn gather(dy: &[f32], c: usize, dx: &mut [f32], rows: &mut [Vec<f32>; CHANNELS]) {
    for (pixel, dy) in dy.chunks_exact(ALL * c).enumerate() {
        for k in 0..c {
            let i = pixel * c + k;
            dx[i] += dy[k];
            let (sx, sy) = polar_slopes(rows[0][i], rows[1][i], dy[3 * c + k], dy[4 * c + k]);
            rows[0][i] = dy[c + k] + sx;
            rows[1][i] = dy[2 * c + k] + sy;
        }
    }
}

/// From the gradients in `Gx` and `Gy` of a row to those in the three rows of the image that gave them.
fn spread(row: usize, shape: Shape, room: &mut Room, dx: &mut [f32]) {
    let (c, line) = (shape.c, shape.w * shape.c);
    let Room { smooth, step, rows } = room;
    smooth.fill(0.0);
    step.fill(0.0);
    for i in 0..line {
        let (gx, gy) = (SHARE * rows[0][i], SHARE * rows[1][i]);
        smooth[i + 2 * c] += gx;
        smooth[i] -= gx;
        step[i] += gy;
        step[i + c] += 2.0 * gy;
        step[i + 2 * c] += gy;
    }
    for wide in [&mut *smooth, &mut *step] {
        for k in 0..c {
            wide[c + k] += wide[k];
            wide[line + k] += wide[line + c + k];
        }
    }
    let [above, here, below] = around(row, shape.h);
    for (target, weights) in [(above, (1.0, -1.0)), (here, (2.0, 0.0)), (below, (1.0, 1.0))] {
        let values = smooth[c..].iter().zip(&step[c..]);
        let target = &mut dx[target * line..][..line];
        target.iter_mut().zip(values).for_each(|(dx, (smooth, step))| *dx += weights.0 * smooth + weights.1 * step);
    }
}

/// [`filter`] of one image whose channels are planes.
pub(in crate::model) fn filtered(x: &[f32], shape: Shape) -> Vec<f32> {
    let (mut pixels, mut all) = (vec![0.0; x.len()], vec![0.0; ALL * x.len()]);
    to_channels_last(x, &mut pixels, shape.c, shape.pixels());
    filter(shape, &pixels, &mut all);
    let mut planes = vec![0.0; all.len()];
    to_planar(&all, &mut planes, ALL * shape.c, shape.pixels());
    planes
}
