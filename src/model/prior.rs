//! The prior of the latents: a standard normal, or a Gaussian of unit variance a class.
//!
//! A latent whose class is not known is held against the mixture of all, each of the same weight. Its KL has no closed form;
//! in its place stands the least upper bound that a guess at the class can give,
//! `-ln mean_y exp(-KL(q || N(mu_y, I)))`: with it `-ELBO` still bounds `-ln p(x)`, as the bound of Kingma et al. 2014
//! (arXiv:1406.5298, eq. 7) with the best `q(y | x)` (also Hershey & Olsen 2007, eq. 20).

use super::likelihood::kl_of_one;

/// What latents are held close to.
#[derive(Debug, Clone, PartialEq)]
pub enum Prior {
    /// `N(0, I)`.
    Standard,
    /// `N(mu_y, I)` for each class `y`.
    Classes {
        /// The means, `[classes, latent_len]`.
        means: Vec<f32>,
        /// Values of a latent.
        latent_len: usize,
    },
}

impl Prior {
    /// KL of a posterior from the prior in nats: of its class where that is known, else the bound on the mixture's. Where
    /// there are no classes, Kingma & Welling 2013, eq. 10.
    pub fn kl(&self, mean: &[f32], log_var: &[f32], class: Option<u32>) -> f64 {
        match self {
            Self::Standard => super::likelihood::kl(mean, log_var),
            Self::Classes { means, latent_len } => {
                let mut shares = vec![0.0; means.len() / latent_len];
                let width: f64 = log_var.iter().map(|&log_var| kl_of_one(0.0, log_var)).sum();
                width + toward(mean, means, class, &mut shares)
            }
        }
    }

    /// KL of each value of a posterior from the same value of the prior that it is nearest to, in nats.
    pub fn kl_of_each(&self, mean: &[f32], log_var: &[f32], class: Option<u32>) -> Vec<f64> {
        let centre = match self {
            Self::Standard => None,
            Self::Classes { means, latent_len } => {
                let class = class.map_or_else(|| nearest(mean, means), |class| class as usize);
                means.get(class * latent_len..(class + 1) * latent_len)
            }
        };
        let of = |(at, (&mean, &log_var)): (usize, (&f32, &f32))| {
            kl_of_one(mean - centre.map_or(0.0, |centre| centre[at]), log_var)
        };
        mean.iter().zip(log_var).enumerate().map(of).collect()
    }

    /// `ln p(z)` of a latent, without the constant `-latent_len / 2 ln(2 pi)`.
    pub fn log_density(&self, z: &[f32]) -> f64 {
        match self {
            Self::Standard => -0.5 * z.iter().map(|&z| f64::from(z).powi(2)).sum::<f64>(),
            Self::Classes { means, latent_len } => -toward(z, means, None, &mut vec![0.0; means.len() / latent_len]),
        }
    }

    /// `ln p(z | y)` of a latent for each class, without the same constant; nothing where there are no classes.
    pub fn logits(&self, z: &[f32]) -> Vec<f32> {
        let Self::Classes { means, .. } = self else { return Vec::new() };
        let of = |mean: &[f32]| -0.5 * z.iter().zip(mean).map(|(z, mean)| (z - mean) * (z - mean)).sum::<f32>();
        means.chunks_exact(z.len()).map(of).collect()
    }

    /// Number of classes; 0 where there are none.
    pub fn count(&self) -> usize {
        match self {
            Self::Standard => 0,
            Self::Classes { means, latent_len } => means.len() / latent_len,
        }
    }

    /// The mean of a class; `None` where there are none.
    pub fn mean(&self, class: usize) -> Option<&[f32]> {
        match self {
            Self::Standard => None,
            Self::Classes { means, latent_len } => means.get(class * latent_len..(class + 1) * latent_len),
        }
    }
}

/// `-ln sum_y w_y exp(-|z - mu_y|^2 / 2)`, where the weight is all the known class's, or the same for each. Writes each
/// class's share in it: `mean - sum_y share_y mu_y` is the gradient in `z`.
pub(super) fn toward(z: &[f32], means: &[f32], class: Option<u32>, shares: &mut [f32]) -> f64 {
    let halves = |mean: &[f32]| 0.5 * z.iter().zip(mean).map(|(z, mean)| (z - mean) * (z - mean)).sum::<f32>();
    if let Some(class) = class {
        shares.fill(0.0);
        shares[class as usize] = 1.0;
        return f64::from(halves(&means[class as usize * z.len()..][..z.len()]));
    }
    means.chunks_exact(z.len()).zip(shares.iter_mut()).for_each(|(mean, share)| *share = halves(mean));
    let least = shares.iter().copied().fold(f32::INFINITY, f32::min);
    shares.iter_mut().for_each(|share| *share = (least - *share).exp());
    let sum: f32 = shares.iter().sum();
    shares.iter_mut().for_each(|share| *share /= sum);
    f64::from(least) - f64::from(sum / shares.len() as f32).ln()
}

fn nearest(z: &[f32], means: &[f32]) -> usize {
    let distance = |mean: &[f32]| z.iter().zip(mean).map(|(z, mean)| (z - mean) * (z - mean)).sum::<f32>();
    let distances = means.chunks_exact(z.len()).map(distance).enumerate();
    distances.min_by(|a, b| a.1.total_cmp(&b.1)).map_or(0, |(class, _)| class)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn two() -> Prior {
        Prior::Classes { means: vec![2.0, 0.0, -2.0, 1.0], latent_len: 2 }
    }

    /// `kl_divergence(Normal(m, (0.5 * lv).exp()), Normal(mu, 1.)).sum()` in float64.
    #[test]
    fn kl_of_a_known_class_is_pytorchs() {
        let (mean, log_var) = ([0.5, -1.0], [0.2, -0.7]);
        let known = two().kl(&mean, &log_var, Some(1));
        assert!((known - 5.233_994).abs() < 1e-5, "{known}");
        let each = two().kl_of_each(&mean, &log_var, Some(1));
        assert!((each.iter().sum::<f64>() - known).abs() < 1e-5, "{each:?}");
    }

    #[test]
    fn the_bound_on_the_mixture_holds_and_is_tight_where_only_one_class_is_near() {
        // KL(q || mixture) by the trapezium rule over one latent, for a posterior between the classes and one inside of one.
        let prior = Prior::Classes { means: vec![1.0, -3.0], latent_len: 1 };
        for (mean, log_var, slack) in [(-1.0f32, 0.3f32, 1.3), (1.5, -2.0, 0.01)] {
            let normal = |z: f64, mean: f64, variance: f64| {
                (-0.5 * (z - mean).powi(2) / variance).exp() / (std::f64::consts::TAU * variance).sqrt()
            };
            let exact: f64 = (-12_000..12_000)
                .map(|step| f64::from(step) / 1000.0)
                .map(|z| {
                    let q = normal(z, f64::from(mean), f64::from(log_var).exp());
                    let p = 0.5 * (normal(z, 1.0, 1.0) + normal(z, -3.0, 1.0));
                    if q > 1e-300 { q * (q / p).ln() / 1000.0 } else { 0.0 }
                })
                .sum();
            let bound = prior.kl(&[mean], &[log_var], None);
            assert!(bound >= exact - 1e-6 && bound < exact + slack, "{bound} {exact}");
        }
    }

    #[test]
    fn density_is_that_of_the_mixture() {
        let z = [0.3f32, 0.4];
        let of = |mean: [f32; 2]| (-0.5 * f64::from((z[0] - mean[0]).powi(2) + (z[1] - mean[1]).powi(2))).exp();
        let wanted = (0.5 * (of([2.0, 0.0]) + of([-2.0, 1.0]))).ln();
        assert!((two().log_density(&z) - wanted).abs() < 1e-6);
        assert_eq!(Prior::Standard.log_density(&[3.0, 4.0]), -12.5);
        assert_eq!(two().mean(1), Some(&[-2.0, 1.0][..]));
        // Far from all classes nothing leaves the range of single precision.
        assert!((two().log_density(&[1e3, 0.0]) + 0.5 * 998.0f64.powi(2)).abs() < 2.0);
    }
}
