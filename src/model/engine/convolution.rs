//! Convolutions and their gradients as matrix products, block of windows by block of windows.

use std::ops::Range;

use super::kernels::{Matrix, product};
use super::vectors;
use super::windows::{self, Geometry};
use crate::model::graph::{Shape, Window};

/// Bytes of a matrix of windows: half a core's level-2 cache at most.
const WINDOWS_BYTES: usize = 256 << 10;

/// The geometry of a convolution between two shapes.
pub(super) fn geometry(input: Shape, output: Shape, window: Window) -> Geometry {
    let Window { kernel, stride, padding } = window;
    let (ih, iw, cin) = (input.h, input.w, input.c);
    Geometry { ih, iw, cin, oh: output.h, ow: output.w, cout: output.c, kernel, stride, padding }
}

/// Output rows whose windows fit [`WINDOWS_BYTES`].
pub(super) fn block_rows(g: &Geometry, rows: usize) -> usize {
    (WINDOWS_BYTES / (g.ow * g.window() * size_of::<f32>())).clamp(1, rows.max(1))
}

/// Blocks of output rows, counted over all samples.
fn blocks(g: &Geometry, outputs: usize) -> impl Iterator<Item = Range<usize>> {
    let rows = outputs / (g.ow * g.cout);
    let step = block_rows(g, rows);
    (0..rows).step_by(step).map(move |start| start..(start + step).min(rows))
}

/// The matrix of windows of these output rows.
fn gather<'a>(g: &Geometry, x: &'a [f32], rows: &Range<usize>, room: &'a mut [f32]) -> &'a [f32] {
    let window = g.window();
    if g.is_pointwise() {
        return &x[rows.start * g.ow * window..rows.end * g.ow * window];
    }
    let room = &mut room[..rows.len() * g.ow * window];
    windows::gather(g, x, rows.clone(), room);
    room
}

/// The pixels of these output rows.
fn pixels(g: &Geometry, rows: &Range<usize>) -> Range<usize> {
    rows.start * g.ow * g.cout..rows.end * g.ow * g.cout
}

pub(super) fn conv(g: &Geometry, transposed: &[f32], bias: &[f32], x: &[f32], y: &mut [f32], room: &mut [f32]) {
    let window = g.window();
    for rows in blocks(g, y.len()) {
        let y = &mut y[pixels(g, &rows)];
        vectors::fill_rows(y, bias);
        let a = Matrix::rows(gather(g, x, &rows, room), window);
        product(rows.len() * g.ow, g.cout, window, y, a, Matrix::rows(transposed, g.cout), true);
    }
}

/// Adds the transposed convolution of `y` to `x`.
pub(super) fn conv_transpose(g: &Geometry, weight: &[f32], y: &[f32], x: &mut [f32], room: &mut [f32]) {
    let window = g.window();
    for rows in blocks(g, y.len()) {
        let m = rows.len() * g.ow;
        let y = Matrix::rows(&y[pixels(g, &rows)], g.cout);
        let room = &mut room[..m * window];
        product(m, window, g.cout, room, y, Matrix::rows(weight, window), false);
        windows::scatter(g, room, rows, x);
    }
}

pub(super) fn conv_backward(
    g: &Geometry,
    weight: &[f32],
    x: &[f32],
    dy: &[f32],
    dx: Option<&mut [f32]>,
    dw: &mut [f32],
    room: &mut [f32],
) {
    let window = g.window();
    for rows in blocks(g, dy.len()) {
        let dy = Matrix::transposed(&dy[pixels(g, &rows)], g.cout);
        let windows = Matrix::rows(gather(g, x, &rows, room), window);
        product(g.cout, window, rows.len() * g.ow, dw, dy, windows, true);
    }
    if let Some(dx) = dx {
        dx.fill(0.0);
        conv_transpose(g, weight, dy, dx, room);
    }
}

/// The geometry's input is the layer's output: `dy` has its shape, `x` and `dx` that of its output.
pub(super) fn conv_transpose_backward(
    g: &Geometry,
    transposed: &[f32],
    x: &[f32],
    dy: &[f32],
    mut dx: Option<&mut [f32]>,
    dw: &mut [f32],
    room: &mut [f32],
) {
    let window = g.window();
    for rows in blocks(g, x.len()) {
        let m = rows.len() * g.ow;
        let windows = Matrix::rows(gather(g, dy, &rows, room), window);
        product(g.cout, window, m, dw, Matrix::transposed(&x[pixels(g, &rows)], g.cout), windows, true);
        if let Some(dx) = &mut dx {
            product(m, g.cout, window, &mut dx[pixels(g, &rows)], windows, Matrix::rows(transposed, g.cout), false);
        }
    }
}
