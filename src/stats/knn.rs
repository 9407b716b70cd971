//! Distance to the k-th nearest of the vectors seen in training.

use nalgebra::DMatrix;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

use super::product;

/// Kept rows a block: its products with a block of queries stay in cache.
const KEPT_BLOCK: usize = 1024;
/// Offers that are compared at once.
const GROUP: usize = 32;

/// How columns are weighed against each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Columns {
    /// As they are.
    AsGiven,
    /// Divided by their standard deviation in the fit; constant ones count as they are.
    Standardised,
}

/// Reference vectors for brute-force nearest neighbours.
#[derive(Debug, Clone)]
pub struct Neighbours {
    mean: Vec<f32>,
    scale: Vec<f32>,
    /// Kept rows, centred and scaled, `[n, dim]` row-major: exact distances come from here.
    rows: Vec<f32>,
    blocks: Vec<Block>,
}

/// Kept rows, made ready for products.
#[derive(Debug, Clone)]
struct Block {
    /// [rows, dim]
    rows: DMatrix<f32>,
    half_squares: Vec<f32>,
}

impl Neighbours {
    /// Keeps at most `keep` of `rows` (`[n, dim]`, row-major, dim > 0), drawn without replacement by `seed`; rows that are not
    /// finite are left out.
    pub fn fit(rows: &[f32], dim: usize, keep: usize, seed: u64, columns: Columns) -> Self {
        let (mean, n) = product::column_means(rows, dim);
        let scale = match columns {
            Columns::AsGiven => vec![1.0; dim],
            Columns::Standardised => deviations(rows, &mean, n),
        };
        let finite: Vec<&[f32]> = product::finite_rows(rows, dim).collect();
        let mut chosen: Vec<usize> = (0..n).collect();
        if n > keep {
            chosen = rand::seq::index::sample(&mut ChaCha8Rng::seed_from_u64(seed), n, keep).into_vec();
            chosen.sort_unstable();
        }
        let mean: Vec<f32> = mean.iter().map(|&m| m as f32).collect();
        let scaled = chosen.iter().flat_map(|&row| scaled(finite[row], &mean, &scale)).collect();
        Self::new(mean, scale, scaled)
    }

    /// The inverse of [`Self::mean`], [`Self::scale`] and [`Self::rows`]; `None` where the lengths disagree.
    pub fn from_parts(mean: Vec<f32>, scale: Vec<f32>, rows: Vec<f32>) -> Option<Self> {
        let dim = mean.len();
        (dim > 0 && scale.len() == dim && rows.len().is_multiple_of(dim)).then(|| Self::new(mean, scale, rows))
    }

    /// Euclidean distance from each of `queries` (`[m, dim]`, row-major) to its k-th nearest kept row (k from 1; the farthest
    /// where fewer are kept; 0 where none is). NaN for a query that is not finite. The result of a query does not depend on
    /// the others.
    pub fn kth_distance(&self, queries: &[f32], k: usize) -> Vec<f32> {
        let dim = self.dim();
        let k = k.clamp(1, self.len().max(1));
        queries
            .par_chunks(product::BLOCK * dim)
            .flat_map_iter(|block| {
                let nearest = self.nearest(block, k);
                let rows = block.chunks_exact(dim).zip(nearest);
                rows.map(|(query, nearest)| self.farthest(query, &nearest)).collect::<Vec<f32>>()
            })
            .collect()
    }

    /// Length of the vectors.
    pub fn dim(&self) -> usize {
        self.mean.len()
    }

    /// Vectors kept.
    pub fn len(&self) -> usize {
        self.rows.len() / self.dim()
    }

    /// Whether none is kept.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// What is taken off each column `[dim]`.
    pub fn mean(&self) -> &[f32] {
        &self.mean
    }

    /// What each column is divided by `[dim]`.
    pub fn scale(&self) -> &[f32] {
        &self.scale
    }

    /// The kept rows, centred and scaled, `[len, dim]` row-major.
    pub fn rows(&self) -> &[f32] {
        &self.rows
    }

    fn new(mean: Vec<f32>, scale: Vec<f32>, rows: Vec<f32>) -> Self {
        let dim = mean.len();
        let blocks = rows.chunks(KEPT_BLOCK * dim).map(|block| Block::new(block, dim)).collect();
        Self { mean, scale, rows, blocks }
    }

    /// Indices of the k nearest kept rows of each query, by `|b|^2 / 2 - a b`, which orders as the distance does.
    fn nearest(&self, queries: &[f32], k: usize) -> Vec<Vec<usize>> {
        let columns = product::columns(queries, self.dim(), |axis, value| (value - self.mean[axis]) / self.scale[axis]);
        let mut nearest = vec![Nearest::new(k); queries.len() / self.dim()];
        for (index, block) in self.blocks.iter().enumerate() {
            let half_squares = block.half_squares.repeat(columns.ncols());
            let mut order = DMatrix::from_vec(block.rows.nrows(), columns.ncols(), half_squares);
            order.gemm(-1.0, &block.rows, &columns, 1.0);
            for (nearest, order) in nearest.iter_mut().zip(order.column_iter()) {
                nearest.offer_all(order.as_slice(), index * KEPT_BLOCK);
            }
        }
        nearest.into_iter().map(|nearest| nearest.found.into_iter().map(|(_, row)| row).collect()).collect()
    }

    /// Largest distance from the query to the rows named, without the cancellation that their order suffers from.
    fn farthest(&self, query: &[f32], nearest: &[usize]) -> f32 {
        if nearest.is_empty() {
            return if self.is_empty() { 0.0 } else { f32::NAN };
        }
        let dim = self.dim();
        let query: Vec<f32> = scaled(query, &self.mean, &self.scale).collect();
        let square = |row: usize| -> f32 {
            let kept = &self.rows[row * dim..(row + 1) * dim];
            query.iter().zip(kept).map(|(a, b)| (a - b) * (a - b)).sum()
        };
        nearest.iter().map(|&row| square(row)).fold(0.0, f32::max).sqrt()
    }
}

impl Block {
    fn new(rows: &[f32], dim: usize) -> Self {
        let half_squares = rows.chunks_exact(dim).map(|row| 0.5 * row.iter().map(|v| v * v).sum::<f32>()).collect();
        Self { rows: DMatrix::from_row_slice(rows.len() / dim, dim, rows), half_squares }
    }
}

/// The k lowest offers so far, ascending.
#[derive(Debug, Clone)]
struct Nearest {
    k: usize,
    worst: f32,
    found: Vec<(f32, usize)>,
}

impl Nearest {
    fn new(k: usize) -> Self {
        Self { k, worst: f32::INFINITY, found: Vec::with_capacity(k + 1) }
    }

    /// Offers of the rows from `first` on. Nearly all are too high, which is seen for a group of them at once.
    fn offer_all(&mut self, orders: &[f32], first: usize) {
        for (index, group) in orders.chunks(GROUP).enumerate() {
            if group.iter().fold(false, |any, &order| any | (order < self.worst)) {
                let row = first + index * GROUP;
                group.iter().enumerate().for_each(|(offset, &order)| self.offer(order, row + offset));
            }
        }
    }

    fn offer(&mut self, order: f32, row: usize) {
        if order < self.worst {
            let place = self.found.partition_point(|&(found, _)| found <= order);
            self.found.insert(place, (order, row));
            self.found.truncate(self.k);
            if self.found.len() == self.k {
                self.worst = self.found[self.k - 1].0;
            }
        }
    }
}

fn scaled<'a>(row: &'a [f32], mean: &'a [f32], scale: &'a [f32]) -> impl Iterator<Item = f32> + 'a {
    row.iter().zip(mean).zip(scale).map(|((value, mean), scale)| (value - mean) / scale)
}

/// Standard deviation of each column (divided by n); 1 where it is 0.
fn deviations(rows: &[f32], mean: &[f64], n: usize) -> Vec<f32> {
    let mut squares = vec![0.0; mean.len()];
    for row in product::finite_rows(rows, mean.len()) {
        squares.iter_mut().zip(row).zip(mean).for_each(|((sum, &v), m)| *sum += (f64::from(v) - m).powi(2));
    }
    squares.iter().map(|sum| (sum / n.max(1) as f64).sqrt() as f32).map(|d| if d > 0.0 { d } else { 1.0 }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::fixtures::normals;

    fn single(values: Vec<f64>) -> Vec<f32> {
        values.into_iter().map(|v| v as f32).collect()
    }

    fn brute_force(rows: &[f32], queries: &[f32], dim: usize, k: usize) -> Vec<f64> {
        let kth = |query: &[f32]| {
            let square = |row: &[f32]| row.iter().zip(query).map(|(a, b)| f64::from(a - b).powi(2)).sum::<f64>();
            let mut squares: Vec<f64> = rows.chunks_exact(dim).map(square).collect();
            squares.sort_unstable_by(f64::total_cmp);
            squares[k - 1].sqrt()
        };
        queries.chunks_exact(dim).map(kth).collect()
    }

    #[test]
    fn equals_brute_force() {
        for (n, dim, k) in [(7, 3, 1), (2500, 16, 5), (1025, 5, 3), (300, 70, 300)] {
            // Far from the origin, where single precision would cancel.
            let rows: Vec<f32> = single(normals(n * dim, 1)).into_iter().map(|v| v + 100.0).collect();
            let queries: Vec<f32> = single(normals(130 * dim, 2)).into_iter().map(|v| v + 100.0).collect();
            let neighbours = Neighbours::fit(&rows, dim, 10_000, 0, Columns::AsGiven);
            let expected = brute_force(&rows, &queries, dim, k);
            let got = neighbours.kth_distance(&queries, k);
            for (got, expected) in got.iter().zip(expected) {
                assert!((f64::from(*got) - expected).abs() < 1e-4 * expected + 1e-4, "{got} is not {expected}");
            }
            let alone: Vec<f32> = queries.chunks(dim).flat_map(|query| neighbours.kth_distance(query, k)).collect();
            assert_eq!(got, alone);
        }
    }

    #[test]
    fn kept_rows_are_at_distance_zero() {
        let rows = single(normals(200 * 8, 3));
        let neighbours = Neighbours::fit(&rows, 8, 1000, 0, Columns::Standardised);
        assert!(neighbours.kth_distance(&rows, 1).iter().all(|&distance| distance == 0.0));
    }

    #[test]
    fn keeps_what_it_is_told_by_seed() {
        let rows = single(normals(500 * 4, 3));
        let fit = |seed| Neighbours::fit(&rows, 4, 100, seed, Columns::AsGiven);
        assert_eq!((fit(1).len(), fit(1).dim()), (100, 4));
        assert_eq!(fit(1).rows(), fit(1).rows());
        assert_ne!(fit(1).rows(), fit(2).rows());
    }

    #[test]
    fn standardised_columns_weigh_the_same() {
        let rows: Vec<f32> = normals(400, 3).chunks(2).flat_map(|v| [v[0] as f32, 1000.0 * v[1] as f32]).collect();
        let neighbours = Neighbours::fit(&rows, 2, 1000, 0, Columns::Standardised);
        let scaled: Vec<f32> =
            rows.chunks(2).flat_map(|row| [row[0] / neighbours.scale()[0], row[1] / neighbours.scale()[1]]).collect();
        let expected = brute_force(&scaled, &scaled, 2, 5);
        for (got, expected) in neighbours.kth_distance(&rows, 5).into_iter().zip(expected) {
            assert!((f64::from(got) - expected).abs() < 1e-4, "{got} is not {expected}");
        }
    }

    #[test]
    fn degenerate_sets() {
        assert_eq!(Neighbours::fit(&[], 2, 10, 0, Columns::Standardised).kth_distance(&[1.0, 2.0], 5), [0.0]);
        let one = Neighbours::fit(&[3.0, 4.0, f32::NAN, 0.0], 2, 10, 0, Columns::Standardised);
        assert_eq!(one.kth_distance(&[0.0, 0.0], 5), [5.0]);
        assert!(one.kth_distance(&[f32::NAN, 0.0], 1)[0].is_nan());
    }

    #[test]
    fn parts_make_the_same() {
        let rows = single(normals(100 * 4, 3));
        let fitted = Neighbours::fit(&rows, 4, 50, 9, Columns::Standardised);
        let back =
            Neighbours::from_parts(fitted.mean().to_vec(), fitted.scale().to_vec(), fitted.rows().to_vec()).unwrap();
        assert_eq!(back.kth_distance(&rows, 5), fitted.kth_distance(&rows, 5));
        assert!(Neighbours::from_parts(vec![0.0; 2], vec![1.0; 2], vec![0.0; 3]).is_none());
    }
}
