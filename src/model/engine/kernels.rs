//! Matrix products: the one unsafe block of the crate.
#![allow(unsafe_code)]

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
