//! The engine's inner loops: matrix products, windows of an image as rows of a matrix, normalisation, AdamW.
//!
//! Activations are channels-last: `[n, h, w, c]`. The one unsafe block of the crate is here: the call of `gemm`.
#![allow(unsafe_code)]

use std::ops::Range;

use multiversion::multiversion;

use crate::model::NORM_EPS;
use crate::model::adamw::{BETA1, BETA2, EPS, Update};

const LANES: usize = 16;

/// A matrix in a slice: element `(i, j)` at `i * row + j * column`.
#[derive(Clone, Copy)]
pub(crate) struct Matrix<'a> {
    pub data: &'a [f32],
    pub row: usize,
    pub column: usize,
}

impl<'a> Matrix<'a> {
    /// Rows of this length, one after the other.
    pub(crate) fn rows(data: &'a [f32], length: usize) -> Self {
        Self { data, row: length, column: 1 }
    }

    /// The transpose of rows of this length.
    pub(crate) fn transposed(data: &'a [f32], length: usize) -> Self {
        Self { data, row: 1, column: length }
    }

    fn holds(&self, rows: usize, columns: usize) -> bool {
        (rows - 1) * self.row + (columns - 1) * self.column < self.data.len()
    }
}

/// `c[m, n] (+)= a[m, k] b[k, n]`, `c` with rows of length `n`.
///
/// # Panics
/// When a matrix is larger than its slice.
pub(crate) fn product(m: usize, n: usize, k: usize, c: &mut [f32], a: Matrix, b: Matrix, accumulate: bool) {
    if m == 0 || n == 0 || k == 0 {
        return;
    }
    assert!(c.len() >= m * n && a.holds(m, k) && b.holds(k, n), "a matrix is larger than its slice");
    let stride = |s: usize| s as isize;
    // SAFETY: gemm reads a at i*row + j*column for i < m, j < k, b likewise for k x n, and writes c at i*n + j for
    // i < m, j < n; the assertion bounds the largest of each index by its slice's length. c is borrowed mutably, so it
    // overlaps neither a nor b. Slice lengths are at most isize::MAX, so no stride overflows its cast.
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            c.as_mut_ptr(),
            1,
            stride(n),
            accumulate,
            a.data.as_ptr(),
            stride(a.column),
            stride(a.row),
            b.data.as_ptr(),
            stride(b.column),
            stride(b.row),
            1.0,
            1.0,
            false,
            false,
            false,
            gemm::Parallelism::None,
        );
    }
}

/// The geometry of a convolution from `[ih, iw, cin]` to `[oh, ow, cout]`; a transposed convolution runs it backwards.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Geometry {
    pub ih: usize,
    pub iw: usize,
    pub cin: usize,
    pub oh: usize,
    pub ow: usize,
    pub cout: usize,
    pub kernel: usize,
    pub stride: usize,
    pub padding: usize,
}

impl Geometry {
    /// Values under one window.
    pub(crate) fn window(&self) -> usize {
        self.kernel * self.kernel * self.cin
    }

    /// Whether the matrix of windows is the image itself.
    pub(crate) fn is_pointwise(&self) -> bool {
        self.kernel == 1 && self.stride == 1 && self.padding == 0
    }

    /// Output row `row` (counted over all samples) as its sample, and per kernel row the input row or none.
    #[inline(always)]
    fn input_row(&self, row: usize, ky: usize) -> Option<usize> {
        let (sample, oy) = (row / self.oh, row % self.oh);
        let iy = (oy * self.stride + ky).checked_sub(self.padding)?;
        (iy < self.ih).then(|| (sample * self.ih + iy) * self.iw * self.cin)
    }

    /// The part of a window's row that lies inside the image: `(first, last, offset of the first in the image row)`.
    #[inline(always)]
    fn inside(&self, ox: usize) -> (usize, usize, usize) {
        let left = ox * self.stride;
        let first = self.padding.saturating_sub(left).min(self.kernel);
        let last = (self.iw + self.padding).saturating_sub(left).min(self.kernel).max(first);
        (first, last, left + first - self.padding.min(left + first))
    }
}

/// Windows of the output rows `rows` (counted over all samples) as rows of a matrix: `columns[pixel, ky, kx, c]`.
#[multiversion(targets("x86_64+avx512f+avx512bw+avx512dq+avx512vl+fma+bmi2", "x86_64+avx2+fma+bmi2"))]
pub(crate) fn windows(g: &Geometry, x: &[f32], rows: Range<usize>, columns: &mut [f32]) {
    match g.kernel * g.cin {
        3 => copy_windows::<3>(g, x, rows, columns),
        4 => copy_windows::<4>(g, x, rows, columns),
        9 => copy_windows::<9>(g, x, rows, columns),
        12 => copy_windows::<12>(g, x, rows, columns),
        _ => copy_windows::<0>(g, x, rows, columns),
    }
}

/// Adds a matrix of windows back to the image: the transpose of [`windows`].
#[multiversion(targets("x86_64+avx512f+avx512bw+avx512dq+avx512vl+fma+bmi2", "x86_64+avx2+fma+bmi2"))]
pub(crate) fn add_windows(g: &Geometry, columns: &[f32], rows: Range<usize>, x: &mut [f32]) {
    match g.kernel * g.cin {
        3 => scatter_windows::<3>(g, columns, rows, x),
        4 => scatter_windows::<4>(g, columns, rows, x),
        9 => scatter_windows::<9>(g, columns, rows, x),
        12 => scatter_windows::<12>(g, columns, rows, x),
        _ => scatter_windows::<0>(g, columns, rows, x),
    }
}

/// `WIDTH`: the length of a window's row where it is known to the compiler, else 0.
#[inline(always)]
fn copy_windows<const WIDTH: usize>(g: &Geometry, x: &[f32], rows: Range<usize>, columns: &mut [f32]) {
    let c = g.cin;
    let width = if WIDTH == 0 { g.kernel * c } else { WIDTH };
    let window = width * g.kernel;
    for (row, line) in rows.zip(columns.chunks_exact_mut(window * g.ow)) {
        for ky in 0..g.kernel {
            let Some(start) = g.input_row(row, ky) else {
                line.chunks_exact_mut(window).for_each(|pixel| pixel[ky * width..][..width].fill(0.0));
                continue;
            };
            let source = &x[start..start + g.iw * c];
            for (ox, pixel) in line.chunks_exact_mut(window).enumerate() {
                let target = &mut pixel[ky * width..][..width];
                let (first, last, offset) = g.inside(ox);
                if last - first == g.kernel {
                    target.copy_from_slice(&source[offset * c..][..width]);
                } else {
                    target.fill(0.0);
                    target[first * c..last * c].copy_from_slice(&source[offset * c..][..(last - first) * c]);
                }
            }
        }
    }
}

#[inline(always)]
fn scatter_windows<const WIDTH: usize>(g: &Geometry, columns: &[f32], rows: Range<usize>, x: &mut [f32]) {
    let c = g.cin;
    let width = if WIDTH == 0 { g.kernel * c } else { WIDTH };
    let window = width * g.kernel;
    for (row, line) in rows.zip(columns.chunks_exact(window * g.ow)) {
        for ky in 0..g.kernel {
            let Some(start) = g.input_row(row, ky) else { continue };
            let target = &mut x[start..start + g.iw * c];
            for (ox, pixel) in line.chunks_exact(window).enumerate() {
                let source = &pixel[ky * width..][..width];
                let (first, last, offset) = g.inside(ox);
                if last - first == g.kernel {
                    target[offset * c..][..width].iter_mut().zip(source).for_each(|(x, s)| *x += s);
                } else {
                    let target = &mut target[offset * c..][..(last - first) * c];
                    target.iter_mut().zip(&source[first * c..]).for_each(|(x, s)| *x += s);
                }
            }
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
