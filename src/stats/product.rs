//! Products of many vectors at once, the same bits whatever the company.

use nalgebra::DMatrix;

/// Rows a block: enough for the kernel, few enough that a block's results stay in cache.
pub(super) const BLOCK: usize = 64;
/// Fewest columns of a product. Below it nalgebra changes to another kernel, and a vector's result would depend on how many
/// others come with it.
const FEWEST_COLUMNS: usize = 8;

/// `rows` (`[n, dim]`, row-major) as columns `[dim, >= n]`, each mapped by `map(column index, value)`; padded with zeros.
pub(super) fn columns(rows: &[f32], dim: usize, map: impl Fn(usize, f32) -> f32) -> DMatrix<f32> {
    let n = rows.len() / dim;
    let mut columns = DMatrix::zeros(dim, n.max(FEWEST_COLUMNS));
    for (row, mut column) in rows.chunks_exact(dim).zip(columns.column_iter_mut()) {
        for (axis, (&value, place)) in row.iter().zip(column.iter_mut()).enumerate() {
            *place = map(axis, value);
        }
    }
    columns
}

/// Mean of each column of the rows (`[n, dim]`) in f64, rows that are not finite left out; and how many are in.
pub(super) fn column_means(rows: &[f32], dim: usize) -> (Vec<f64>, usize) {
    let mut sums = vec![0.0; dim];
    let mut count = 0;
    for row in finite_rows(rows, dim) {
        count += 1;
        sums.iter_mut().zip(row).for_each(|(sum, &value)| *sum += f64::from(value));
    }
    sums.iter_mut().for_each(|sum| *sum /= count.max(1) as f64);
    (sums, count)
}

/// The rows without NaN or infinity.
pub(super) fn finite_rows(rows: &[f32], dim: usize) -> impl Iterator<Item = &[f32]> {
    rows.chunks_exact(dim).filter(|row| row.iter().all(|value| value.is_finite()))
}
