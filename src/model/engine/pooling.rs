//! Layers without weights that change the side: pooling, interpolation, pixel shuffle. Images are channels-last.

use super::windows::Geometry;
use crate::model::graph::{Interpolation, Shape};

/// Runs `f` over every output pixel and the pixels under its window: `(output pixel, input pixel)`, as offsets of their
/// first channels.
fn each_window(g: &Geometry, samples: usize, mut f: impl FnMut(usize, usize, bool)) {
    let c = g.cin;
    for (row, sample) in (0..samples * g.oh).map(|row| (row, row / g.oh)) {
        let top = row % g.oh * g.stride;
        for ox in 0..g.ow {
            let output = (row * g.ow + ox) * c;
            for ky in 0..g.kernel {
                let line = ((sample * g.ih + top + ky) * g.iw + ox * g.stride) * c;
                for kx in 0..g.kernel {
                    f(output, line + kx * c, ky + kx == 0);
                }
            }
        }
    }
}

fn samples(g: &Geometry, x: usize) -> usize {
    x / (g.ih * g.iw * g.cin)
}

/// The largest of each window.
pub(super) fn largest(g: &Geometry, x: &[f32], y: &mut [f32]) {
    let c = g.cin;
    each_window(g, samples(g, x.len()), |output, input, first| {
        let (y, x) = (&mut y[output..][..c], &x[input..][..c]);
        if first {
            return y.copy_from_slice(x);
        }
        y.iter_mut().zip(x).for_each(|(y, x)| *y = if *x > *y { *x } else { *y });
    });
}

/// The gradient of [`largest`]: it goes to the first of the largest.
pub(super) fn largest_gradient(g: &Geometry, x: &[f32], dy: &[f32], dx: &mut [f32]) {
    let (c, area) = (g.cin, g.kernel * g.kernel);
    dx.fill(0.0);
    // The windows of an output pixel come one after the other.
    let (mut best, mut seen) = (vec![0; c], 0);
    each_window(g, samples(g, x.len()), |output, input, first| {
        if first {
            best.fill(input);
            seen = 0;
        }
        for (k, best) in best.iter_mut().enumerate() {
            if x[input + k] > x[*best + k] {
                *best = input;
            }
        }
        seen += 1;
        if seen == area {
            for (k, best) in best.iter().enumerate() {
                dx[best + k] += dy[output + k];
            }
        }
    });
}

/// The mean of each window.
pub(super) fn mean(g: &Geometry, x: &[f32], y: &mut [f32]) {
    let (c, share) = (g.cin, 1.0 / (g.kernel * g.kernel) as f32);
    y.fill(0.0);
    each_window(g, samples(g, x.len()), |output, input, _| {
        y[output..][..c].iter_mut().zip(&x[input..][..c]).for_each(|(y, x)| *y += share * x);
    });
}

/// The gradient of [`mean`].
pub(super) fn mean_gradient(g: &Geometry, dy: &[f32], dx: &mut [f32]) {
    let (c, share) = (g.cin, 1.0 / (g.kernel * g.kernel) as f32);
    dx.fill(0.0);
    each_window(g, samples(g, dx.len()), |output, input, _| {
        dx[input..][..c].iter_mut().zip(&dy[output..][..c]).for_each(|(dx, dy)| *dx += share * dy);
    });
}

/// Runs `f` over every pixel of a doubled map and the pixels it comes from: `(output, input, weight)`, as offsets of their
/// first channels in a sample.
fn each_source(shape: Shape, interpolation: Interpolation, mut f: impl FnMut(usize, usize, f32)) {
    let Shape { c, h, w } = shape;
    let columns: Vec<_> = interpolation.sources(w).collect();
    for (oy, rows) in interpolation.sources(h).enumerate() {
        for (ox, columns) in columns.iter().enumerate() {
            let output = (oy * 2 * w + ox) * c;
            for (iy, a) in rows {
                for (ix, b) in columns {
                    if a * b > 0.0 {
                        f(output, (iy * w + ix) * c, a * b);
                    }
                }
            }
        }
    }
}

/// Doubles the side of maps of this shape.
pub(super) fn double(shape: Shape, interpolation: Interpolation, x: &[f32], y: &mut [f32]) {
    let c = shape.c;
    y.fill(0.0);
    for (x, y) in x.chunks_exact(shape.len()).zip(y.chunks_exact_mut(4 * shape.len())) {
        each_source(shape, interpolation, |output, input, weight| {
            y[output..][..c].iter_mut().zip(&x[input..][..c]).for_each(|(y, x)| *y += weight * x);
        });
    }
}

/// The gradient of [`double`].
pub(super) fn double_gradient(shape: Shape, interpolation: Interpolation, dy: &[f32], dx: &mut [f32]) {
    let c = shape.c;
    dx.fill(0.0);
    for (dx, dy) in dx.chunks_exact_mut(shape.len()).zip(dy.chunks_exact(4 * shape.len())) {
        each_source(shape, interpolation, |output, input, weight| {
            dx[input..][..c].iter_mut().zip(&dy[output..][..c]).for_each(|(dx, dy)| *dx += weight * dy);
        });
    }
}

/// For each value of a shuffled map of this shape, where it stood before.
fn shuffled(shape: Shape) -> impl Iterator<Item = usize> {
    let Shape { c, h, w } = shape;
    (0..h).flat_map(move |y| {
        (0..w).flat_map(move |x| {
            let pixel = (y / 2 * (w / 2) + x / 2) * 4 * c;
            (0..c).map(move |k| pixel + 4 * k + 2 * (y % 2) + x % 2)
        })
    })
}

/// Channels to pixels, to maps of this shape.
pub(super) fn shuffle(shape: Shape, x: &[f32], y: &mut [f32]) {
    for (x, y) in x.chunks_exact(shape.len()).zip(y.chunks_exact_mut(shape.len())) {
        y.iter_mut().zip(shuffled(shape)).for_each(|(y, from)| *y = x[from]);
    }
}

/// The gradient of [`shuffle`].
pub(super) fn shuffle_gradient(shape: Shape, dy: &[f32], dx: &mut [f32]) {
    for (dx, dy) in dx.chunks_exact_mut(shape.len()).zip(dy.chunks_exact(shape.len())) {
        dy.iter().zip(shuffled(shape)).for_each(|(dy, from)| dx[from] = *dy);
    }
}
