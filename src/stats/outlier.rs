//! Local outlier factor: how much farther a vector is from its neighbours than they are from theirs.

use rayon::prelude::*;

/// Neighbours that count.
const NEIGHBOURS: usize = 10;
/// Added to the neighbours' own distances: duplicates are no infinitely dense place.
const DISTANCE_FLOOR: f32 = 0.05;

/// Normal vectors with the distance of each to its own k-th neighbour (Breunig et al. 2000, SIGMOD, without their smoothing
/// of reach distances).
#[derive(Debug, Clone, PartialEq)]
pub struct LocalOutlier {
    dim: usize,
    rows: Vec<f32>,
    reach: Vec<f32>,
}

impl LocalOutlier {
    /// Keeps at most `keep` of `rows` (`[n, dim]`, row-major, dim > 0), evenly spread.
    pub fn fit(rows: &[f32], dim: usize, keep: usize) -> Self {
        let step = (rows.len() / dim).div_ceil(keep.max(1)).max(1);
        let rows: Vec<f32> = rows.chunks_exact(dim).step_by(step).flatten().copied().collect();
        let mut fitted = Self { dim, rows, reach: Vec::new() };
        // A row is its own nearest neighbour, so the k-th other is the (k + 1)-th.
        fitted.reach = fitted
            .rows
            .par_chunks_exact(dim)
            .map(|row| fitted.nearest(row, NEIGHBOURS + 1).last().map_or(0.0, |&(distance, _)| distance))
            .collect();
        fitted
    }

    /// The inverse of [`Self::parts`]; `None` where the lengths disagree.
    pub fn from_parts(dim: usize, rows: Vec<f32>, reach: Vec<f32>) -> Option<Self> {
        (dim > 0 && rows.len() == dim * reach.len()).then_some(Self { dim, rows, reach })
    }

    /// Length of a vector, the vectors kept, and the distance of each to its k-th neighbour.
    pub fn parts(&self) -> (usize, &[f32], &[f32]) {
        (self.dim, &self.rows, &self.reach)
    }

    /// Distance to the k-th neighbour over the mean of the neighbours' own: about 1 amid normal vectors, more outside; 0
    /// where nothing was kept.
    pub fn factor(&self, row: &[f32]) -> f32 {
        let nearest = self.nearest(row, NEIGHBOURS);
        let Some(&(distance, _)) = nearest.last() else { return 0.0 };
        let typical = nearest.iter().map(|&(_, index)| self.reach[index]).sum::<f32>() / nearest.len() as f32;
        distance / (typical + DISTANCE_FLOOR)
    }

    /// The k nearest kept rows, nearest first: Euclidean distance and index.
    fn nearest(&self, row: &[f32], k: usize) -> Vec<(f32, usize)> {
        let square = |other: &[f32]| row.iter().zip(other).map(|(a, b)| (a - b) * (a - b)).sum::<f32>();
        let mut all: Vec<(f32, usize)> =
            self.rows.chunks_exact(self.dim).map(square).enumerate().map(|(index, square)| (square, index)).collect();
        if all.len() > k {
            all.select_nth_unstable_by(k - 1, |a, b| a.0.total_cmp(&b.0));
            all.truncate(k);
        }
        all.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
        all.into_iter().map(|(square, index)| (square.sqrt(), index)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A line of points 1 apart.
    fn line() -> LocalOutlier {
        let rows: Vec<f32> = (0..100).flat_map(|x| [x as f32, 0.0]).collect();
        LocalOutlier::fit(&rows, 2, 1000)
    }

    #[test]
    fn amid_the_others_the_factor_is_about_one() {
        // The 10 nearest of 50.5 reach 4.5 to either side; those of a kept point reach 5.
        assert!((line().factor(&[50.5, 0.0]) - 4.5 / 5.05).abs() < 1e-3);
    }

    #[test]
    fn outside_it_grows_with_the_distance() {
        let fitted = line();
        assert!(fitted.factor(&[50.0, 30.0]) > 5.0);
        assert!(fitted.factor(&[50.0, 60.0]) > fitted.factor(&[50.0, 30.0]));
    }

    #[test]
    fn degenerate_fits_stay_finite() {
        assert_eq!(LocalOutlier::fit(&[], 2, 10).factor(&[1.0, 1.0]), 0.0);
        assert!(LocalOutlier::fit(&[3.0; 40], 2, 10).factor(&[1.0, 1.0]).is_finite());
    }
}
