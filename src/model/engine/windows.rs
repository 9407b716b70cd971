//! Windows of an image as rows of a matrix, and back: a convolution is a product with it.
//!
//! Images are channels-last, `[n, h, w, c]`.

use std::ops::Range;

use multiversion::multiversion;

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
pub(super) fn gather(g: &Geometry, x: &[f32], rows: Range<usize>, columns: &mut [f32]) {
    match g.kernel * g.cin {
        3 => gather_wide::<3>(g, x, rows, columns),
        4 => gather_wide::<4>(g, x, rows, columns),
        5 => gather_wide::<5>(g, x, rows, columns),
        9 => gather_wide::<9>(g, x, rows, columns),
        12 => gather_wide::<12>(g, x, rows, columns),
        _ => gather_wide::<0>(g, x, rows, columns),
    }
}

/// Adds a matrix of windows back to the image: the transpose of [`gather`].
#[multiversion(targets("x86_64+avx512f+avx512bw+avx512dq+avx512vl+fma+bmi2", "x86_64+avx2+fma+bmi2"))]
pub(super) fn scatter(g: &Geometry, columns: &[f32], rows: Range<usize>, x: &mut [f32]) {
    match g.kernel * g.cin {
        3 => scatter_wide::<3>(g, columns, rows, x),
        4 => scatter_wide::<4>(g, columns, rows, x),
        9 => scatter_wide::<9>(g, columns, rows, x),
        12 => scatter_wide::<12>(g, columns, rows, x),
        _ => scatter_wide::<0>(g, columns, rows, x),
    }
}

/// `WIDTH`: the length of a window's row where it is known to the compiler, else 0.
#[inline(always)]
fn gather_wide<const WIDTH: usize>(g: &Geometry, x: &[f32], rows: Range<usize>, columns: &mut [f32]) {
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
fn scatter_wide<const WIDTH: usize>(g: &Geometry, columns: &[f32], rows: Range<usize>, x: &mut [f32]) {
    let c = g.cin;
    let width = if WIDTH == 0 { g.kernel * c } else { WIDTH };
    let window = width * g.kernel;
    for (row, line) in rows.zip(columns.chunks_exact(window * g.ow)) {
        for ky in 0..g.kernel {
            let Some(start) = g.input_row(row, ky) else { continue };
            let target = &mut x[start..start + g.iw * c];
            // Neighbouring windows overlap: leaping over them keeps a narrow sum from waiting for the store before it.
            let leap = if WIDTH == 0 { 1 } else { g.kernel.div_ceil(g.stride) };
            for ox in (0..leap).flat_map(|first| (first..g.ow).step_by(leap)) {
                let source = &line[ox * window + ky * width..][..width];
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
