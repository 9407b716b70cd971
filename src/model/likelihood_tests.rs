//! The losses against PyTorch and SciPy.

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
        let x: Vec<f32> = (0..64).map(|at| scaling.scale(200.0 + if at % 2 == 0 { spread } else { -spread })).collect();
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
