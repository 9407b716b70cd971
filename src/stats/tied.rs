//! Distance from the nearest of several Gaussians with one covariance (Lee et al. 2018, arXiv:1807.03888, eqs. 1 and 2).

use super::gaussian::Mahalanobis;

/// A Gaussian a class; all have the covariance of the classes' members about their own centres.
#[derive(Debug, Clone)]
pub struct ClassGaussians {
    /// Of the members about their centres.
    within: Mahalanobis,
    /// `[classes, dim]`.
    centres: Vec<f32>,
}

impl ClassGaussians {
    /// Fits `rows` (`[n, dim]`, row-major, dim > 0); those without a class, or that are not finite, are left out, and so are
    /// classes without a member. `None` where no row has a class.
    pub fn fit(rows: &[f32], dim: usize, classes: &[Option<u32>]) -> Option<Self> {
        let members: Vec<(usize, &[f32])> = rows
            .chunks_exact(dim)
            .zip(classes)
            .filter(|(row, _)| row.iter().all(|value| value.is_finite()))
            .filter_map(|(row, class)| Some(((*class)? as usize, row)))
            .collect();
        let count = 1 + members.iter().map(|(class, _)| *class).max()?;
        let (mut sums, mut counts) = (vec![0.0f64; count * dim], vec![0usize; count]);
        for (class, row) in &members {
            counts[*class] += 1;
            sums[class * dim..][..dim].iter_mut().zip(*row).for_each(|(sum, value)| *sum += f64::from(*value));
        }
        let centre = |class: usize| -> Vec<f32> {
            sums[class * dim..][..dim].iter().map(|sum| (sum / counts[class] as f64) as f32).collect()
        };
        let all: Vec<Vec<f32>> = (0..count).map(centre).collect();
        let about = members.iter().flat_map(|(class, row)| row.iter().zip(&all[*class]).map(|(x, centre)| x - centre));
        let within = Mahalanobis::fit(&about.collect::<Vec<f32>>(), dim);
        let centres =
            all.into_iter().zip(counts).filter(|(_, count)| *count > 0).flat_map(|(centre, _)| centre).collect();
        Some(Self { within, centres })
    }

    /// The inverse of [`Self::within`] and [`Self::centres`]; `None` where the lengths disagree.
    pub fn from_parts(within: Mahalanobis, centres: Vec<f32>) -> Option<Self> {
        let fits = !centres.is_empty() && centres.len().is_multiple_of(within.dim());
        fits.then_some(Self { within, centres })
    }

    /// The Gaussian of the members about their centres.
    pub fn within(&self) -> &Mahalanobis {
        &self.within
    }

    /// The centres `[classes, dim]`.
    pub fn centres(&self) -> &[f32] {
        &self.centres
    }

    /// Mahalanobis distance of each of `rows` (`[n, dim]`, row-major) from the nearest class; NaN for a row that is not finite.
    pub fn distances(&self, rows: &[f32]) -> Vec<f32> {
        let dim = self.within.dim();
        let mut nearest = vec![f32::NAN; rows.len() / dim];
        for centre in self.centres.chunks_exact(dim) {
            let about: Vec<f32> = rows.iter().enumerate().map(|(at, value)| value - centre[at % dim]).collect();
            let each = self.within.distances(&about);
            nearest.iter_mut().zip(each).for_each(|(nearest, distance)| *nearest = nearest.min(distance));
        }
        nearest
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;
    use rand_distr::{Distribution, StandardNormal};

    use super::*;

    #[test]
    fn the_nearest_class_counts_and_its_spread_is_the_unit() {
        let e: Vec<f32> = StandardNormal.sample_iter(ChaCha8Rng::seed_from_u64(1)).take(8000).collect();
        // Two classes at (-10, 0) and (10, 0), spread 2 and 0.5 along the axes; every fifth row is unlabelled and elsewhere.
        let class = |n: usize| (!n.is_multiple_of(5)).then_some(2 * (n as u32 % 2));
        let place = |(n, e): (usize, &[f32])| {
            let x = class(n).map_or(100.0, |class| if class == 0 { -10.0 } else { 10.0 });
            [x + 2.0 * e[0], 0.5 * e[1]]
        };
        let rows: Vec<f32> = e.chunks(2).enumerate().flat_map(place).collect();
        let classes: Vec<Option<u32>> = (0..4000).map(class).collect();
        let fitted = ClassGaussians::fit(&rows, 2, &classes).unwrap();
        // Class 1 has no member.
        assert_eq!(fitted.centres().len(), 4);
        let found = fitted.distances(&[-10.0, 0.0, 10.0, 1.0, 0.0, 0.0, 14.0, 0.0]);
        for (found, wanted) in found.iter().zip([0.0, 2.0, 5.0, 2.0]) {
            assert!((found - wanted).abs() < 0.15, "{found} {wanted}");
        }
        // One Gaussian for both would call the empty middle the most normal place of all.
        let one = Mahalanobis::fit(&rows, 2).distances(&[0.0, 0.0, 10.0, 0.0]);
        assert!(one[0] < 1.0 && found[2] > 4.0);
        assert!(fitted.distances(&[f32::NAN, 0.0])[0].is_nan());
        let again = ClassGaussians::from_parts(fitted.within().clone(), fitted.centres().to_vec()).unwrap();
        assert_eq!(again.distances(&rows), fitted.distances(&rows));
        assert!(ClassGaussians::from_parts(fitted.within().clone(), vec![0.0; 3]).is_none());
    }

    #[test]
    fn without_a_class_there_is_nothing() {
        assert!(ClassGaussians::fit(&[1.0, 2.0], 1, &[None, None]).is_none());
        assert!(ClassGaussians::fit(&[1.0, 2.0], 1, &[]).is_none());
    }
}
