//! Loops over pixels for the likelihoods: each value once, sixteen at a time, with exponentials that vectorise.
#![allow(clippy::needless_range_loop)] // indexing arrays of sixteen in step is what the vectoriser understands

use multiversion::multiversion;

use super::elementary::{exp, ln};

/// Values summed in single precision before the sum goes over to double.
const BLOCK: usize = 2048;
const LANES: usize = 16;

/// Sums `f(x, y)` over two slices.
#[inline(always)]
fn sum(x: &[f32], y: &[f32], f: impl Fn(f32, f32) -> f32) -> f64 {
    let mut total = 0.0;
    for (x, y) in x.chunks(BLOCK).zip(y.chunks(BLOCK)) {
        let mut lanes = [0f32; LANES];
        let (xs, ys) = (x.chunks_exact(LANES), y.chunks_exact(LANES));
        let rest = xs.remainder().iter().zip(ys.remainder());
        for (lane, (&x, &y)) in lanes.iter_mut().zip(rest) {
            *lane = f(x, y);
        }
        for (x, y) in xs.zip(ys) {
            for i in 0..LANES {
                lanes[i] += f(x[i], y[i]);
            }
        }
        total += f64::from(lanes.iter().sum::<f32>());
    }
    total
}

/// Sums the loss that `f(x, y) = (loss, slope)` gives, and writes `weight * slope` to `g`.
#[inline(always)]
fn sum_and_slope(x: &[f32], y: &[f32], g: &mut [f32], weight: f32, f: impl Fn(f32, f32) -> (f32, f32)) -> f64 {
    let mut total = 0.0;
    for ((x, y), g) in x.chunks(BLOCK).zip(y.chunks(BLOCK)).zip(g.chunks_mut(BLOCK)) {
        let mut lanes = [0f32; LANES];
        let whole = x.len() / LANES * LANES;
        for i in whole..x.len() {
            let (loss, slope) = f(x[i], y[i]);
            lanes[i - whole] = loss;
            g[i] = weight * slope;
        }
        let rows = x.chunks_exact(LANES).zip(y.chunks_exact(LANES)).zip(g.chunks_exact_mut(LANES));
        for ((x, y), g) in rows {
            for i in 0..LANES {
                let (loss, slope) = f(x[i], y[i]);
                lanes[i] += loss;
                g[i] = weight * slope;
            }
        }
        total += f64::from(lanes.iter().sum::<f32>());
    }
    total
}

/// `max(y, 0) - y x + ln(1 + exp(-|y|))` and the sigmoid of `y`: the form that no logit overflows.
#[inline(always)]
fn bernoulli(x: f32, y: f32) -> (f32, f32) {
    let e = exp(-y.abs());
    let loss = y.max(0.0) - y * x + ln(1.0 + e);
    let positive = 1.0 / (1.0 + e);
    (loss, if y >= 0.0 { positive } else { 1.0 - positive })
}

/// Binary cross-entropy of targets `x` in [0, 1] under logits `y`.
#[multiversion(targets("x86_64+avx512f+avx512bw+avx512dq+avx512vl+fma+bmi2", "x86_64+avx2+fma+bmi2"))]
pub(crate) fn bernoulli_nll(x: &[f32], y: &[f32]) -> f64 {
    sum(x, y, |x, y| bernoulli(x, y).0)
}

/// The same with its gradient, times `weight`.
#[multiversion(targets("x86_64+avx512f+avx512bw+avx512dq+avx512vl+fma+bmi2", "x86_64+avx2+fma+bmi2"))]
pub(crate) fn bernoulli_gradient(x: &[f32], y: &[f32], g: &mut [f32], weight: f32) -> f64 {
    sum_and_slope(x, y, g, weight, |x, y| {
        let (loss, p) = bernoulli(x, y);
        (loss, p - x)
    })
}

/// Sigmoid.
#[multiversion(targets("x86_64+avx512f+avx512bw+avx512dq+avx512vl+fma+bmi2", "x86_64+avx2+fma+bmi2"))]
pub(crate) fn sigmoid(y: &[f32], p: &mut [f32]) {
    for (p, &y) in p.iter_mut().zip(y) {
        *p = bernoulli(0.0, y).1;
    }
}

/// Sum of squared differences.
#[multiversion(targets("x86_64+avx512f+avx512bw+avx512dq+avx512vl+fma+bmi2", "x86_64+avx2+fma+bmi2"))]
pub(crate) fn squared_distance(x: &[f32], y: &[f32]) -> f64 {
    sum(x, y, |x, y| (x - y) * (x - y))
}

/// Sum of squared differences, and `weight * (y - x)`.
#[multiversion(targets("x86_64+avx512f+avx512bw+avx512dq+avx512vl+fma+bmi2", "x86_64+avx2+fma+bmi2"))]
pub(crate) fn squared_distance_gradient(x: &[f32], y: &[f32], g: &mut [f32], weight: f32) -> f64 {
    sum_and_slope(x, y, g, weight, |x, y| ((x - y) * (x - y), y - x))
}

/// From model units to signal: `v - offset = shift + factor * curve(u)`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Response {
    /// The range of `u` that means anything.
    pub bounds: (f32, f32),
    /// Signal where the curve is 0.
    pub shift: f32,
    /// Signal a unit of the curve.
    pub factor: f32,
    /// Its form.
    pub curve: Curve,
}

/// The forms of a [`Response`].
#[derive(Debug, Clone, Copy)]
pub(crate) enum Curve {
    /// `u`.
    Linear,
    /// `sinh u`.
    Sinh,
    /// `exp(range u) - 1`.
    Exp(f32),
}

/// The variance of detector counts with signal `s`: `gain * max(s, floor) + read_variance + (model_error * s)^2`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Noise {
    /// Variance a unit of signal.
    pub gain: f32,
    /// Smallest signal whose shot noise counts.
    pub floor: f32,
    /// Variance of the read-out.
    pub read_variance: f32,
    /// Relative error of the best reconstruction.
    pub model_error: f32,
}

impl Response {
    /// Signal and its slope in `u`; the slope is 0 outside the bounds.
    #[inline(always)]
    pub fn signal(&self, u: f32) -> (f32, f32) {
        let inside = u.clamp(self.bounds.0, self.bounds.1);
        let (value, slope) = match self.curve {
            Curve::Linear => (inside, 1.0),
            Curve::Sinh => {
                let (up, down) = (exp(inside), exp(-inside));
                (0.5 * (up - down), 0.5 * (up + down))
            }
            Curve::Exp(range) => {
                let up = exp(range * inside);
                (up - 1.0, range * up)
            }
        };
        let slope = if inside == u { self.factor * slope } else { 0.0 };
        (self.shift + self.factor * value, slope)
    }
}

impl Noise {
    /// Variance and its slope in the signal.
    #[inline(always)]
    pub fn variance(&self, s: f32) -> (f32, f32) {
        let square = self.model_error * self.model_error;
        let shot = if s > self.floor { self.gain } else { 0.0 };
        (self.gain * s.max(self.floor) + self.read_variance + square * s * s, shot + 2.0 * square * s)
    }
}

/// `1/2 ((v - mu)^2 / var + ln(2 pi var))` and its slope in the decoder's output `y`, through mean and variance.
#[inline(always)]
fn counts(response: &Response, noise: &Noise, x: f32, y: f32) -> (f32, f32) {
    let (v, _) = response.signal(x);
    let (mu, slope) = response.signal(y);
    let (variance, variance_slope) = noise.variance(mu);
    let inverse = 1.0 / variance;
    let r = mu - v;
    let square = r * r * inverse;
    let loss = 0.5 * (square + ln(std::f32::consts::TAU * variance));
    (loss, slope * inverse * (r + 0.5 * variance_slope * (1.0 - square)))
}

/// `integral from v to mu of (t - v) / var(t) dt` and its slope in the network's output `y`.
///
/// The slope is exact; the value by Gauss's rule of two nodes for the weight `t` on [0, 1].
#[inline(always)]
fn deviance(response: &Response, noise: &Noise, x: f32, y: f32) -> (f32, f32) {
    let (v, _) = response.signal(x);
    let (mu, slope) = response.signal(y);
    let d = mu - v;
    let [near, far] = DEVIANCE_NODES.map(|(node, weight)| weight / noise.variance(v + node * d).0);
    (d * d * (near + far), slope * d / noise.variance(mu).0)
}

/// Nodes and weights that integrate `t f(t)` over [0, 1]: `(6 -+ sqrt 6) / 10` and `1/4 -+ sqrt(6) / 36`.
pub(crate) const DEVIANCE_NODES: [(f32, f32); 2] = [(0.355_051_03, 0.181_958_62), (0.844_948_97, 0.318_041_38)];

/// Loss of detector counts `x` under the reconstruction `y`, both in model units.
#[multiversion(targets("x86_64+avx512f+avx512bw+avx512dq+avx512vl+fma+bmi2", "x86_64+avx2+fma+bmi2"))]
pub(crate) fn counts_nll(response: &Response, noise: &Noise, x: &[f32], y: &[f32]) -> f64 {
    sum(x, y, |x, y| counts(response, noise, x, y).0)
}

/// The same with its gradient, times `weight`.
#[multiversion(targets("x86_64+avx512f+avx512bw+avx512dq+avx512vl+fma+bmi2", "x86_64+avx2+fma+bmi2"))]
pub(crate) fn counts_gradient(
    response: &Response,
    noise: &Noise,
    x: &[f32],
    y: &[f32],
    g: &mut [f32],
    weight: f32,
) -> f64 {
    sum_and_slope(x, y, g, weight, |x, y| counts(response, noise, x, y))
}

/// Deviance of the mean `y` from `x`, both in model units.
#[multiversion(targets("x86_64+avx512f+avx512bw+avx512dq+avx512vl+fma+bmi2", "x86_64+avx2+fma+bmi2"))]
pub(crate) fn deviance_of(response: &Response, noise: &Noise, x: &[f32], y: &[f32]) -> f64 {
    sum(x, y, |x, y| deviance(response, noise, x, y).0)
}

/// The same with its gradient, times `weight`.
#[multiversion(targets("x86_64+avx512f+avx512bw+avx512dq+avx512vl+fma+bmi2", "x86_64+avx2+fma+bmi2"))]
pub(crate) fn deviance_gradient(
    response: &Response,
    noise: &Noise,
    x: &[f32],
    y: &[f32],
    g: &mut [f32],
    weight: f32,
) -> f64 {
    sum_and_slope(x, y, g, weight, |x, y| deviance(response, noise, x, y))
}
