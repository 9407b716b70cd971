//! What a pixel's value is worth under the decoder's output: negative log-likelihoods in nats, and residuals.

use super::LOG_VAR_LIMIT;
use super::pixels::{self, Curve, Noise, Response};
use super::scaling::log_range;
use crate::pipeline::{Likelihood, Scaling};

/// Smallest signal whose shot noise counts, in the frame's units: keeps the variance of a dark pixel above zero.
pub(crate) const SIGNAL_FLOOR: f32 = 1e-3;
/// Smallest variance of the read-out, in squared frame units.
pub(crate) const READ_FLOOR: f32 = 1e-6;
/// Added to a Bernoulli pixel's variance p(1-p) where residuals are normalised. A pixel the model is sure of has almost
/// none, but grey levels differ from 0 and 1 by their rendering (about 0.14), which is no anomaly.
const BERNOULLI_FLOOR: f32 = 0.02;

/// The law of a pixel's value given the decoder's output.
///
/// Images and outputs are slices of one image, `[C, H, W]`, in the model's (scaled) units.
#[derive(Debug, Clone)]
pub struct Observation {
    law: Law,
    channels: usize,
}

#[derive(Debug, Clone)]
pub(crate) enum Law {
    /// Output is a logit.
    Bernoulli,
    /// Output is the mean; one log-variance a channel.
    Gaussian(Vec<f32>),
    /// Output is the mean; the variance follows from it in physical units.
    Counts(Response, Noise),
    /// The same as a weight alone.
    Deviance(Response, Noise),
}

impl Observation {
    /// The law a pipeline names. `log_var` holds the fitted log-variances, one a channel; the other laws ignore it.
    pub fn new(likelihood: Likelihood, scaling: Scaling, channels: usize, log_var: &[f32]) -> Self {
        let law = match likelihood {
            Likelihood::Bernoulli => Law::Bernoulli,
            Likelihood::Gaussian => Law::Gaussian(log_var.to_vec()),
            Likelihood::PoissonGaussian { gain, read_noise, offset, model_error } => {
                let read_variance = (read_noise * read_noise).max(READ_FLOOR);
                Law::Counts(response(scaling, offset), Noise { gain, floor: SIGNAL_FLOOR, read_variance, model_error })
            }
        };
        Self { law, channels }
    }

    /// The same for images that do not have the noise of the law, such as those without noise: what fits best is their mean,
    /// whatever spread they have. So it is under the other laws, but the likelihood of counts takes a small spread for a sign of a
    /// small variance, hence of a small mean: its best mean lies about `var'(mu) / 2` below that of images without noise. Counts
    /// are compared by the quasi-likelihood instead, whose slope `(mu - v) / var(mu)` has mean 0 at the mean (Wedderburn
    /// 1974, doi:10.1093/biomet/61.3.439, eq. 1); it is a Bregman divergence, and these alone have that property (Banerjee, Guo
    /// & Wang 2005, doi:10.1109/TIT.2005.850145).
    pub fn of_means(likelihood: Likelihood, scaling: Scaling, channels: usize, log_var: &[f32]) -> Self {
        let Self { law, channels } = Self::new(likelihood, scaling, channels, log_var);
        let law = match law {
            Law::Counts(response, noise) => Law::Deviance(response, noise),
            law => law,
        };
        Self { law, channels }
    }

    /// Replaces the fitted log-variances.
    pub(crate) fn set_log_var(&mut self, values: &[f32]) {
        if let Law::Gaussian(log_var) = &mut self.law {
            log_var.copy_from_slice(values);
        }
    }

    pub(crate) fn law(&self) -> &Law {
        &self.law
    }

    /// `-ln p(x | output)` in nats, summed over the image; of means the deviance, 0 where they are hit.
    pub fn nll(&self, x: &[f32], output: &[f32]) -> f64 {
        match &self.law {
            Law::Bernoulli => pixels::bernoulli_nll(x, output),
            Law::Gaussian(log_var) => self
                .planes(x, output, log_var)
                .map(|(x, y, log_var)| gaussian(pixels::squared_distance(x, y), x.len(), log_var))
                .sum(),
            Law::Counts(response, noise) => pixels::counts_nll(response, noise, x, output),
            Law::Deviance(response, noise) => pixels::deviance_of(response, noise, x, output),
        }
    }

    /// The loss of the explanation that hits every pixel, in nats: what no model could do better than by luck.
    ///
    /// Bernoulli: the entropy of `x` itself. Gaussian: residual zero at the fitted variance. Poisson-Gaussian: residual
    /// zero, and the variance of the observed signal. `nll - floor` then is half the sum of squared normalised residuals
    /// (for Poisson-Gaussian up to the variance's own change with the mean, by which it may fall below 0).
    pub fn floor(&self, x: &[f32]) -> f64 {
        match &self.law {
            Law::Bernoulli => x.iter().map(|&x| entropy(f64::from(x.clamp(0.0, 1.0)))).sum(),
            Law::Gaussian(log_var) => {
                self.planes(x, x, log_var).map(|(x, _, log_var)| gaussian(0.0, x.len(), log_var)).sum()
            }
            Law::Counts(response, noise) => pixels::counts_nll(response, noise, x, x),
            Law::Deviance(..) => 0.0,
        }
    }

    /// The reconstruction in scaled units: the mean of the law.
    pub fn reconstruct(&self, output: &[f32], x_hat: &mut [f32]) {
        match &self.law {
            Law::Bernoulli => pixels::sigmoid(output, x_hat),
            Law::Gaussian(_) => x_hat.copy_from_slice(output),
            Law::Counts(response, _) | Law::Deviance(response, _) => {
                let (low, high) = response.bounds;
                x_hat.iter_mut().zip(output).for_each(|(x_hat, y)| *x_hat = y.clamp(low, high));
            }
        }
    }

    /// Signed residuals in units of their expected standard deviation, `(x - x_hat) / sigma`.
    ///
    /// Poisson-Gaussian: in physical units, with the variance at the reconstructed mean.
    pub fn residual(&self, x: &[f32], output: &[f32], r: &mut [f32]) {
        match &self.law {
            Law::Bernoulli => {
                pixels::sigmoid(output, r);
                for (r, x) in r.iter_mut().zip(x) {
                    let p = *r;
                    *r = (x - p) / (p * (1.0 - p) + BERNOULLI_FLOOR).sqrt();
                }
            }
            Law::Gaussian(log_var) => {
                let size = x.len() / self.channels;
                for (r, (x, y, log_var)) in r.chunks_mut(size).zip(self.planes(x, output, log_var)) {
                    let inverse = (-0.5 * limited(log_var)).exp();
                    r.iter_mut().zip(x.iter().zip(y)).for_each(|(r, (x, y))| *r = (x - y) * inverse);
                }
            }
            Law::Counts(response, noise) | Law::Deviance(response, noise) => {
                for (r, (&x, &y)) in r.iter_mut().zip(x.iter().zip(output)) {
                    let (mu, _) = response.signal(y);
                    *r = (response.signal(x).0 - mu) / noise.variance(mu).0.sqrt();
                }
            }
        }
    }

    /// [`Observation::nll`] of one image; writes its gradient in the output, times `weight`, and adds that in the
    /// log-variances (times `weight` too) where they are fitted.
    pub(crate) fn gradient(
        &self,
        x: &[f32],
        output: &[f32],
        g: &mut [f32],
        weight: f32,
        log_var_gradient: &mut [f32],
    ) -> f64 {
        match &self.law {
            Law::Bernoulli => pixels::bernoulli_gradient(x, output, g, weight),
            Law::Counts(response, noise) => pixels::counts_gradient(response, noise, x, output, g, weight),
            Law::Deviance(response, noise) => pixels::deviance_gradient(response, noise, x, output, g, weight),
            Law::Gaussian(log_var) => {
                let size = x.len() / self.channels;
                let mut total = 0.0;
                let planes = self.planes(x, output, log_var).zip(g.chunks_mut(size)).zip(log_var_gradient);
                for (((x, y, log_var), g), slope) in planes {
                    let inverse = (-limited(log_var)).exp();
                    let distance = pixels::squared_distance_gradient(x, y, g, weight * inverse);
                    total += gaussian(distance, size, log_var);
                    if log_var.abs() <= LOG_VAR_LIMIT {
                        *slope += weight * 0.5 * (size as f64 - distance * f64::from(inverse)) as f32;
                    }
                }
                total
            }
        }
    }

    /// The planes of two images, each with its channel's log-variance.
    fn planes<'a>(
        &self,
        x: &'a [f32],
        y: &'a [f32],
        log_var: &'a [f32],
    ) -> impl Iterator<Item = (&'a [f32], &'a [f32], f32)> {
        let size = x.len() / self.channels;
        x.chunks(size).zip(y.chunks(size)).zip(log_var).map(|((x, y), &log_var)| (x, y, log_var))
    }
}

/// KL of the posterior from the standard normal prior in nats, summed over the latent (Kingma & Welling 2013, eq. 10).
pub(super) fn kl(mean: &[f32], log_var: &[f32]) -> f64 {
    mean.iter().zip(log_var).map(|(&mean, &log_var)| kl_of_one(mean, log_var)).sum()
}

/// [`kl`] of one dimension.
pub(crate) fn kl_of_one(mean: f32, log_var: f32) -> f64 {
    0.5 * f64::from(mean * mean + log_var.exp_m1() - log_var)
}

/// The signal `v - offset` as a function of the model's units.
fn response(scaling: Scaling, offset: f32) -> Response {
    let (shift, factor, curve) = match scaling {
        Scaling::Linear { black, white } => (black - offset, white - black, Curve::Linear),
        Scaling::Asinh { black, scale } => (black - offset, scale, Curve::Sinh),
        Scaling::Log { black, white, scale } => (black - offset, scale, Curve::Exp(log_range(black, white, scale))),
        Scaling::PerFrame => (-offset, 1.0, Curve::Linear),
    };
    Response { bounds: scaling.bounds(), shift, factor, curve }
}

fn limited(log_var: f32) -> f32 {
    log_var.clamp(-LOG_VAR_LIMIT, LOG_VAR_LIMIT)
}

/// Loss of `n` pixels with this sum of squared residuals: `1/2 (sum / var + n ln(2 pi var))`.
fn gaussian(squares: f64, n: usize, log_var: f32) -> f64 {
    let log_var = f64::from(limited(log_var));
    0.5 * (squares * (-log_var).exp() + n as f64 * (log_var + std::f64::consts::TAU.ln()))
}

fn entropy(x: f64) -> f64 {
    let term = |p: f64| if p > 0.0 { -p * p.ln() } else { 0.0 };
    term(x) + term(1.0 - x)
}

#[cfg(test)]
mod tests {
    use super::*;

    const UNIT: Scaling = Scaling::Linear { black: 0.0, white: 1.0 };

    fn near(a: &[f32], b: &[f64]) {
        assert_eq!(a.len(), b.len());
        for (a, b) in a.iter().zip(b) {
            assert!((f64::from(*a) - b).abs() <= 2e-5 * b.abs().max(1e-2), "{a} is not {b}");
        }
    }

    /// `F.binary_cross_entropy_with_logits(y, x, reduction="sum")` in float64, and its gradient in y.
    #[test]
    fn bernoulli_is_pytorchs() {
        let (x, y) = ([0.0, 0.25, 0.9, 1.0], [-30.0, 0.5, 2.0, 25.0]);
        let law = Observation::new(Likelihood::Bernoulli, UNIT, 1, &[]);
        let mut g = [0.0; 4];
        let nll = law.gradient(&x, &y, &mut g, 1.0, &mut []);
        assert!((nll - 1.176_004_995_237).abs() < 1e-6, "{nll}");
        assert_eq!(nll, law.nll(&x, &y));
        let slopes = [9.357_622_968_8e-14, 0.372_459_331_201_854_6, -0.019_202_922_022_117_708, -1.388_800_185_9e-11];
        g.iter().zip(slopes).for_each(|(g, slope)| assert!((f64::from(*g) - slope).abs() < 1e-7, "{g} {slope}"));
    }

    /// `F.gaussian_nll_loss(y, x, lv.exp().expand(4), full=True, reduction="sum")`, gradients in y and in lv = -1.5.
    #[test]
    fn gaussian_is_pytorchs() {
        let (x, y) = ([0.0, 0.25, 0.9, 1.0], [0.1, 0.2, 1.5, 0.4]);
        let law = Observation::new(Likelihood::Gaussian, UNIT, 1, &[-1.5]);
        let (mut g, mut by_log_var) = ([0.0; 4], [0.0]);
        let nll = law.gradient(&x, &y, &mut g, 1.0, &mut by_log_var);
        assert!((nll - 2.317_172_754_830_006_7).abs() < 1e-6, "{nll}");
        assert!((nll - law.nll(&x, &y)).abs() < 1e-9);
        near(&g, &[0.448_168_907_033_8, -0.224_084_453_516_9, 2.689_013_442_202_8, -2.689_013_442_202_8]);
        near(&by_log_var, &[0.358_581_377_988_683_9]);
        let mut r = [0.0; 4];
        law.residual(&x, &y, &mut r);
        let half_squares: f64 = r.iter().map(|r| 0.5 * f64::from(r * r)).sum();
        assert!((nll - law.floor(&x) - half_squares).abs() < 1e-5);
    }

    /// With `un = lambda u: 200 + 5 * torch.sinh(u)`, `v, mu = un(x), un(y)`, `s = mu - 100`,
    /// `var = 1.5 * s.clamp(min=1e-3) + 25 + (0.05 * s) ** 2`: `F.gaussian_nll_loss(mu, v, var, full=True, reduction="sum")`.
    #[test]
    fn poisson_gaussian_is_pytorchs() {
        let (x, y) = ([-1.0, 0.3, 2.5, 6.0], [0.2, -7.0, 2.0, 6.2]);
        let likelihood = Likelihood::PoissonGaussian { gain: 1.5, read_noise: 5.0, offset: 100.0, model_error: 0.05 };
        let law = Observation::new(likelihood, Scaling::Asinh { black: 200.0, scale: 5.0 }, 1, &[]);
        let mut g = [0.0; 4];
        let nll = law.gradient(&x, &y, &mut g, 1.0, &mut []);
        assert!((nll / 237.982_322_730_730_83 - 1.0).abs() < 1e-6, "{nll}");
        assert_eq!(nll, law.nll(&x, &y));
        near(&g, &[0.193_144_019_627_268_7, 14.868_356_597_166_69, -0.929_770_978_314_204, 37.367_331_138_401_18]);
        let mut r = [0.0; 4];
        law.residual(&x, &y, &mut r);
        near(&r, &[-0.484_245_045_695_2, 20.753_783_865_665_66, 0.786_914_943_180_6, -2.778_821_226_531_3]);
    }

    /// With `un`, `v`, `mu` and `var` of above: the slope `(mu - v) / var * 5 * cosh(y)`, 0 outside the bounds of asinh; the value
    /// `scipy.integrate.quad(lambda t: (t - v) / var(t), v, mu)`, for means nearby.
    #[test]
    fn deviance_is_scipys() {
        let (x, y) = ([-1.0, 0.3, 2.5, 6.0], [0.2, -7.0, 2.0, 6.2]);
        let likelihood = Likelihood::PoissonGaussian { gain: 1.5, read_noise: 5.0, offset: 100.0, model_error: 0.05 };
        let law = Observation::of_means(likelihood, Scaling::Asinh { black: 200.0, scale: 5.0 }, 1, &[]);
        let mut g = [0.0; 4];
        let value = law.gradient(&x, &y, &mut g, 1.0, &mut []);
        near(&g, &[0.173_768_485_132_1, -430.481_183_174_88, -0.961_350_786_028, 42.598_733_645_543]);
        assert_eq!(value, law.nll(&x, &y));
        for (at, expected) in [(0, 0.119_999_042_023_68), (2, 0.299_073_716_010_44), (3, 4.267_937_677_59)] {
            let value = law.nll(&x[at..=at], &y[at..=at]);
            assert!((value / expected - 1.0).abs() < 5e-5, "{value} is not {expected}");
        }
        assert_eq!((law.nll(&x, &x), law.floor(&x)), (0.0, 0.0));
    }

    /// Images of mean 200 with any spread: the constant with the least loss is their mean. The likelihood's lies below by
    /// `var' / 2 (1 - spread^2 / var)`.
    #[test]
    fn the_best_constant_is_the_mean_whatever_the_spread() {
        let likelihood = Likelihood::PoissonGaussian { gain: 1.0, read_noise: 5.0, offset: 0.0, model_error: 0.1 };
        let scaling = Scaling::Asinh { black: 200.0, scale: 15.0 };
        for spread in [0.0, 5.0, 15.0] {
            let x: Vec<f32> =
                (0..64).map(|at| scaling.scale(200.0 + if at % 2 == 0 { spread } else { -spread })).collect();
            let best = |law: &Observation| {
                let slope = |mean: f32| {
                    let (y, mut g) = (vec![scaling.scale(mean); 64], vec![0.0; 64]);
                    law.gradient(&x, &y, &mut g, 1.0, &mut []);
                    g.iter().map(|&g| f64::from(g)).sum::<f64>()
                };
                let (mut low, mut high) = (150.0, 250.0);
                for _ in 0..40 {
                    let middle = 0.5 * (low + high);
                    if slope(middle) > 0.0 { high = middle } else { low = middle }
                }
                low
            };
            let mean = best(&Observation::of_means(likelihood, scaling, 1, &[]));
            assert!((mean - 200.0).abs() < 0.01, "{mean} at a spread of {spread}");
            let biased = best(&Observation::new(likelihood, scaling, 1, &[]));
            let expected = 200.0 - 2.5 * (1.0 - spread * spread / 625.0);
            assert!((biased - expected).abs() < 0.1, "{biased} at a spread of {spread}, not {expected}");
        }
    }

    /// `kl_divergence(Normal(m, (0.5 * lv).exp()), Normal(0., 1.)).sum()` in float64.
    #[test]
    fn kl_is_pytorchs() {
        let value = kl(&[0.5, -1.0, 2.0], &[0.0, -2.0, 0.7]);
        assert!((value - 3.349_543_995_353_544).abs() < 1e-6, "{value}");
    }

    #[test]
    fn floor_is_below_every_loss() {
        let x: Vec<f32> = (0..64).map(|i| i as f32 / 63.0).collect();
        let law = Observation::new(Likelihood::Bernoulli, UNIT, 1, &[]);
        let best: Vec<f32> =
            x.iter().map(|x| (x.clamp(1e-6, 1.0 - 1e-6) / (1.0 - x.clamp(1e-6, 1.0 - 1e-6))).ln()).collect();
        assert!((law.nll(&x, &best) - law.floor(&x)).abs() < 1e-4);
        let mut x_hat = vec![0.0; 64];
        law.reconstruct(&best, &mut x_hat);
        assert!(x.iter().zip(&x_hat).all(|(a, b)| (a - b).abs() < 1e-5));
    }

    #[test]
    fn nothing_overflows() {
        let likelihood = Likelihood::PoissonGaussian { gain: 1.0, read_noise: 0.0, offset: 0.0, model_error: 0.0 };
        for scaling in
            [UNIT, Scaling::Asinh { black: 0.0, scale: 10.0 }, Scaling::Log { black: 0.0, white: 65535.0, scale: 1.0 }]
        {
            for likelihood in [likelihood, Likelihood::Gaussian, Likelihood::Bernoulli] {
                let law = Observation::new(likelihood, scaling, 1, &[-30.0]);
                for y in [-1e9, -3.0, 0.0, 1e9] {
                    let mut g = [0.0];
                    let nll = law.gradient(&[0.5], &[y], &mut g, 1.0, &mut [0.0]);
                    assert!(nll.is_finite() && g[0].is_finite(), "{likelihood:?} at {y}: {nll} {g:?}");
                }
            }
        }
    }
}
