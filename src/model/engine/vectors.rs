//! Elementwise loops of the engine: rows of channels, normalisation, AdamW.
//!
//! Activations are channels-last, `[n, h, w, c]`. Widths that are multiples of sixteen take a path whose sums stay in registers.
#![allow(clippy::needless_range_loop)] // indexing arrays of sixteen in step is what the vectoriser understands

use multiversion::multiversion;

use crate::model::adamw::{BETA1, BETA2, EPS, Update};
use crate::model::elementary;
use crate::model::{NORM_EPS, TANH_HEIGHT, TANH_SLOPE};

const LANES: usize = 16;

/// `y += x m` for one row `x`, and `m` with rows of `y`'s length, a multiple of sixteen.
#[multiversion(targets("x86_64+avx512f+avx512bw+avx512dq+avx512vl+fma+bmi2", "x86_64+avx2+fma+bmi2"))]
pub(crate) fn add_row_product(x: &[f32], m: &[f32], y: &mut [f32]) {
    const CHAINS: usize = 4;
    let length = y.len();
    for (j, y) in y.as_chunks_mut::<LANES>().0.iter_mut().enumerate() {
        let mut sums = [[0f32; LANES]; CHAINS];
        let (fours, rest) = x.as_chunks::<CHAINS>();
        let rows = m.chunks_exact(CHAINS * length);
        let tail = rows.remainder();
        for (x, rows) in fours.iter().zip(rows) {
            for (k, sum) in sums.iter_mut().enumerate() {
                let row = &rows[k * length + j * LANES..][..LANES];
                for i in 0..LANES {
                    sum[i] += x[k] * row[i];
                }
            }
        }
        for (x, row) in rest.iter().zip(tail.chunks_exact(length)) {
            for i in 0..LANES {
                sums[0][i] += x * row[j * LANES + i];
            }
        }
        for i in 0..LANES {
            y[i] += (sums[0][i] + sums[1][i]) + (sums[2][i] + sums[3][i]);
        }
    }
}

/// Copies `bias` to every row.
#[multiversion(targets("x86_64+avx512f+avx512bw+avx512dq+avx512vl+fma+bmi2", "x86_64+avx2+fma+bmi2"))]
pub(crate) fn fill_rows(rows: &mut [f32], bias: &[f32]) {
    if let [value] = bias {
        rows.fill(*value);
        return;
    }
    rows.chunks_exact_mut(bias.len()).for_each(|row| row.copy_from_slice(bias));
}

/// Adds every row to `sums`.
#[multiversion(targets("x86_64+avx512f+avx512bw+avx512dq+avx512vl+fma+bmi2", "x86_64+avx2+fma+bmi2"))]
pub(crate) fn add_rows(rows: &[f32], sums: &mut [f32]) {
    if let [total] = sums {
        *total += moments(rows).0;
        return;
    }
    let c = sums.len();
    if !c.is_multiple_of(LANES) {
        rows.chunks_exact(c).for_each(|row| sums.iter_mut().zip(row).for_each(|(sum, value)| *sum += value));
        return;
    }
    for (j, sums) in sums.as_chunks_mut::<LANES>().0.iter_mut().enumerate() {
        let mut total = *sums;
        for row in lanes(rows, c, j) {
            for i in 0..LANES {
                total[i] += row[i];
            }
        }
        *sums = total;
    }
}

/// The `j`-th sixteen channels of every pixel.
#[inline(always)]
fn lanes(x: &[f32], c: usize, j: usize) -> impl Iterator<Item = &[f32; LANES]> {
    x.as_chunks::<LANES>().0[j..].iter().step_by(c / LANES)
}

/// The same, to write to.
#[inline(always)]
fn lanes_mut(x: &mut [f32], c: usize, j: usize) -> impl Iterator<Item = &mut [f32; LANES]> {
    x.as_chunks_mut::<LANES>().0[j..].iter_mut().step_by(c / LANES)
}

/// `max(x, 0)` in place.
#[multiversion(targets("x86_64+avx512f+avx512bw+avx512dq+avx512vl+fma+bmi2", "x86_64+avx2+fma+bmi2"))]
pub(crate) fn rectify(x: &mut [f32]) {
    x.iter_mut().for_each(|x| *x = if *x > 0.0 { *x } else { 0.0 });
}

/// Zeroes the gradient where the rectified output is zero.
#[multiversion(targets("x86_64+avx512f+avx512bw+avx512dq+avx512vl+fma+bmi2", "x86_64+avx2+fma+bmi2"))]
pub(crate) fn mask(gradient: &mut [f32], output: &[f32]) {
    gradient.iter_mut().zip(output).for_each(|(g, y)| *g = if *y > 0.0 { *g } else { 0.0 });
}

/// Sum and sum of squares.
#[inline(always)]
fn moments(x: &[f32]) -> (f32, f32) {
    let (mut sum, mut square) = ([0f32; LANES], [0f32; LANES]);
    let chunks = x.chunks_exact(LANES);
    for (i, v) in chunks.remainder().iter().enumerate() {
        sum[i] = *v;
        square[i] = v * v;
    }
    for chunk in chunks {
        for i in 0..LANES {
            sum[i] += chunk[i];
            square[i] += chunk[i] * chunk[i];
        }
    }
    (sum.iter().sum(), square.iter().sum())
}

/// Mean and inverse standard deviation.
#[inline(always)]
fn standard(x: &[f32]) -> (f32, f32) {
    let n = x.len() as f32;
    let (sum, square) = moments(x);
    let mean = sum / n;
    (mean, 1.0 / ((square / n - mean * mean).max(0.0) + NORM_EPS).sqrt())
}

/// Normalises groups of `size` values, then scales and shifts each channel, then rectifies where asked.
#[multiversion(targets("x86_64+avx512f+avx512bw+avx512dq+avx512vl+fma+bmi2", "x86_64+avx2+fma+bmi2"))]
pub(crate) fn normalise(x: &[f32], size: usize, scale: &[f32], shift: &[f32], relu: bool, y: &mut [f32]) {
    let floor = if relu { 0.0 } else { f32::NEG_INFINITY };
    let c = scale.len();
    for (x, y) in x.chunks_exact(size).zip(y.chunks_exact_mut(size)) {
        let (mean, inverse) = standard(x);
        let apply = |x: f32, scale: f32, shift: f32| {
            let value = (x - mean) * (inverse * scale) + shift;
            if value > floor { value } else { floor }
        };
        if !c.is_multiple_of(LANES) {
            for (x, y) in x.chunks_exact(c).zip(y.chunks_exact_mut(c)) {
                for ((y, x), (scale, shift)) in y.iter_mut().zip(x).zip(scale.iter().zip(shift)) {
                    *y = apply(*x, *scale, *shift);
                }
            }
            continue;
        }
        let affine = scale.as_chunks::<LANES>().0.iter().zip(shift.as_chunks::<LANES>().0);
        for (j, (scale, shift)) in affine.enumerate() {
            for (x, y) in lanes(x, c, j).zip(lanes_mut(y, c, j)) {
                for i in 0..LANES {
                    y[i] = apply(x[i], scale[i], shift[i]);
                }
            }
        }
    }
}

/// The gradients of [`normalise`]: `dx` from `dy` (masked already), and the channels' added to `dscale` and `dshift`.
/// `sums` is room for two rows of channels.
#[multiversion(targets("x86_64+avx512f+avx512bw+avx512dq+avx512vl+fma+bmi2", "x86_64+avx2+fma+bmi2"))]
pub(crate) fn normalise_gradient(
    x: &[f32],
    size: usize,
    scale: &[f32],
    dy: &[f32],
    dx: &mut [f32],
    (dscale, dshift): (&mut [f32], &mut [f32]),
    sums: &mut [f32],
) {
    let c = scale.len();
    let n = size as f32;
    let (by_scale, by_shift) = sums[..2 * c].split_at_mut(c);
    for ((x, dy), dx) in x.chunks_exact(size).zip(dy.chunks_exact(size)).zip(dx.chunks_exact_mut(size)) {
        let (mean, inverse) = standard(x);
        by_scale.fill(0.0);
        by_shift.fill(0.0);
        channel_sums(x, dy, mean, by_scale, by_shift);
        let (mut first, mut second) = (0.0, 0.0);
        for i in 0..c {
            by_scale[i] *= inverse;
            first += by_shift[i] * scale[i];
            second += by_scale[i] * scale[i];
            dscale[i] += by_scale[i];
            dshift[i] += by_shift[i];
        }
        let (first, second) = (inverse * first / n, inverse * inverse * second / n);
        let slope = |x: f32, dy: f32, scale: f32| dy * (inverse * scale) - first - (x - mean) * second;
        if !c.is_multiple_of(LANES) {
            for ((x, dy), dx) in x.chunks_exact(c).zip(dy.chunks_exact(c)).zip(dx.chunks_exact_mut(c)) {
                for ((dx, x), (dy, scale)) in dx.iter_mut().zip(x).zip(dy.iter().zip(scale)) {
                    *dx = slope(*x, *dy, *scale);
                }
            }
            continue;
        }
        for (j, scale) in scale.as_chunks::<LANES>().0.iter().enumerate() {
            for ((x, dy), dx) in lanes(x, c, j).zip(lanes(dy, c, j)).zip(lanes_mut(dx, c, j)) {
                for i in 0..LANES {
                    dx[i] = slope(x[i], dy[i], scale[i]);
                }
            }
        }
    }
}

/// Per channel, the sums over pixels of `dy (x - mean)` and of `dy`, added.
#[inline(always)]
fn channel_sums(x: &[f32], dy: &[f32], mean: f32, by_scale: &mut [f32], by_shift: &mut [f32]) {
    let c = by_scale.len();
    if !c.is_multiple_of(LANES) {
        for (x, dy) in x.chunks_exact(c).zip(dy.chunks_exact(c)) {
            for ((x, dy), (a, b)) in x.iter().zip(dy).zip(by_scale.iter_mut().zip(by_shift.iter_mut())) {
                *a += dy * (x - mean);
                *b += dy;
            }
        }
        return;
    }
    let (by_scale, by_shift) = (by_scale.as_chunks_mut::<LANES>().0, by_shift.as_chunks_mut::<LANES>().0);
    for (j, (by_scale, by_shift)) in by_scale.iter_mut().zip(by_shift).enumerate() {
        let (mut a, mut b) = (*by_scale, *by_shift);
        for (x, dy) in lanes(x, c, j).zip(lanes(dy, c, j)) {
            for i in 0..LANES {
                a[i] += dy[i] * (x[i] - mean);
                b[i] += dy[i];
            }
        }
        (*by_scale, *by_shift) = (a, b);
    }
}

/// Sum of squares, in double precision from every 4096 values on.
#[multiversion(targets("x86_64+avx512f+avx512bw+avx512dq+avx512vl+fma+bmi2", "x86_64+avx2+fma+bmi2"))]
pub(crate) fn sum_of_squares(x: &[f32]) -> f64 {
    x.chunks(4096).map(|x| f64::from(moments(x).1)).sum()
}

/// Adds a slice to another.
#[multiversion(targets("x86_64+avx512f+avx512bw+avx512dq+avx512vl+fma+bmi2", "x86_64+avx2+fma+bmi2"))]
pub(crate) fn add(sum: &mut [f32], x: &[f32]) {
    sum.iter_mut().zip(x).for_each(|(sum, x)| *sum += x);
}

/// Multiplies a slice by another.
#[multiversion(targets("x86_64+avx512f+avx512bw+avx512dq+avx512vl+fma+bmi2", "x86_64+avx2+fma+bmi2"))]
pub(crate) fn multiply(product: &mut [f32], x: &[f32]) {
    product.iter_mut().zip(x).for_each(|(product, x)| *product *= x);
}

/// `y = scale x + shift`, one of each a channel.
#[multiversion(targets("x86_64+avx512f+avx512bw+avx512dq+avx512vl+fma+bmi2", "x86_64+avx2+fma+bmi2"))]
pub(crate) fn scale_rows(x: &[f32], scale: &[f32], shift: &[f32], y: &mut [f32]) {
    let c = scale.len();
    for (x, y) in x.chunks_exact(c).zip(y.chunks_exact_mut(c)) {
        for i in 0..c {
            y[i] = scale[i] * x[i] + shift[i];
        }
    }
}

/// The gradients of [`scale_rows`]: `dx` where it is wanted, and the scales' added to `dscale`.
#[multiversion(targets("x86_64+avx512f+avx512bw+avx512dq+avx512vl+fma+bmi2", "x86_64+avx2+fma+bmi2"))]
pub(crate) fn scale_rows_gradient(x: &[f32], scale: &[f32], dy: &[f32], dx: Option<&mut [f32]>, dscale: &mut [f32]) {
    let c = scale.len();
    for (x, dy) in x.chunks_exact(c).zip(dy.chunks_exact(c)) {
        for i in 0..c {
            dscale[i] += x[i] * dy[i];
        }
    }
    for (dx, dy) in dx.into_iter().flat_map(|dx| dx.chunks_exact_mut(c)).zip(dy.chunks_exact(c)) {
        for i in 0..c {
            dx[i] = scale[i] * dy[i];
        }
    }
}

/// LeCun's `A tanh(B x)`.
#[multiversion(targets("x86_64+avx512f+avx512bw+avx512dq+avx512vl+fma+bmi2", "x86_64+avx2+fma+bmi2"))]
pub(crate) fn tanh(x: &[f32], y: &mut [f32]) {
    y.iter_mut().zip(x).for_each(|(y, x)| *y = TANH_HEIGHT * elementary::tanh(TANH_SLOPE * x));
}

/// Its gradient, from its output.
#[multiversion(targets("x86_64+avx512f+avx512bw+avx512dq+avx512vl+fma+bmi2", "x86_64+avx2+fma+bmi2"))]
pub(crate) fn tanh_gradient(y: &[f32], dy: &[f32], dx: &mut [f32]) {
    const HEIGHT: f32 = 1.0 / TANH_HEIGHT;
    for ((dx, dy), y) in dx.iter_mut().zip(dy).zip(y) {
        let unit = y * HEIGHT;
        *dx = dy * TANH_HEIGHT * TANH_SLOPE * (1.0 - unit * unit);
    }
}

/// Rows of `a` values and rows of `b` values, one behind the other.
pub(crate) fn join(x: &[f32], a: usize, other: &[f32], b: usize, y: &mut [f32]) {
    for ((x, other), y) in x.chunks_exact(a).zip(other.chunks_exact(b)).zip(y.chunks_exact_mut(a + b)) {
        y[..a].copy_from_slice(x);
        y[a..].copy_from_slice(other);
    }
}

/// The gradient of [`join`]: the first part is set, the second added.
pub(crate) fn part(dy: &[f32], a: usize, dx: &mut [f32], b: usize, other: &mut [f32]) {
    for ((dx, other), dy) in dx.chunks_exact_mut(a).zip(other.chunks_exact_mut(b)).zip(dy.chunks_exact(a + b)) {
        dx.copy_from_slice(&dy[..a]);
        add(other, &dy[a..]);
    }
}

/// Transposes a matrix with rows of `from.len() / rows` values, in square blocks that stay in the nearest cache.
pub(crate) fn transpose(from: &[f32], rows: usize, to: &mut [f32]) {
    const SIDE: usize = 16;
    let columns = from.len() / rows;
    for top in (0..rows).step_by(SIDE) {
        for left in (0..columns).step_by(SIDE) {
            for column in left..(left + SIDE).min(columns) {
                let line = &mut to[column * rows + top..column * rows + (top + SIDE).min(rows)];
                line.iter_mut()
                    .zip(from[top * columns + column..].iter().step_by(columns))
                    .for_each(|(to, from)| *to = *from);
            }
        }
    }
}

/// One update of AdamW.
#[multiversion(targets("x86_64+avx512f+avx512bw+avx512dq+avx512vl+fma+bmi2", "x86_64+avx2+fma+bmi2"))]
pub(crate) fn adamw(w: &mut [f32], g: &[f32], decays: &[bool], m: &mut [f32], v: &mut [f32], update: &Update) {
    for (((w, g), decays), (m, v)) in w.iter_mut().zip(g).zip(decays).zip(m.iter_mut().zip(v)) {
        let g = g * update.clip;
        *m = BETA1 * *m + (1.0 - BETA1) * g;
        *v = BETA2 * *v + (1.0 - BETA2) * g * g;
        let kept = if *decays { *w * update.keep } else { *w };
        *w = kept - update.rate * *m / (v.sqrt() * update.correction + EPS);
    }
}

/// `w = sign(w) max(|w| - shrink, 0)` where a weight decays.
#[multiversion(targets("x86_64+avx512f+avx512bw+avx512dq+avx512vl+fma+bmi2", "x86_64+avx2+fma+bmi2"))]
pub(crate) fn soft_threshold(w: &mut [f32], decays: &[bool], shrink: f32) {
    for (w, decays) in w.iter_mut().zip(decays) {
        let shrunk = (*w - shrink).max(0.0) + (*w + shrink).min(0.0);
        *w = if *decays { shrunk } else { *w };
    }
}
