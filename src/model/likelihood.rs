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
#[path = "likelihood_tests.rs"]
mod tests;
