//! The beta distribution where it is asked for far from its middle and with large parameters.

use statrs::function::beta::ln_beta;

/// Most terms of the continued fraction; it needs about the root of the larger parameter.
const MOST_TERMS: usize = 100_000;

/// P(Beta(a, b) <= x), the regularised incomplete beta function, for a > 0 and b > 0.
///
/// Continued fraction by Lentz's method (DLMF 8.17.22; Press et al., Numerical Recipes, 6.4). statrs stops after 140 terms,
/// which is too few from a, b of about 10,000.
pub(super) fn cdf(a: f64, b: f64, x: f64) -> f64 {
    if x <= 0.0 {
        return 0.0;
    }
    if x >= 1.0 {
        return 1.0;
    }
    let front = (a * x.ln() + b * (-x).ln_1p() - ln_beta(a, b)).exp();
    if x < (a + 1.0) / (a + b + 2.0) {
        (front * continued_fraction(a, b, x) / a).min(1.0)
    } else {
        (1.0 - front * continued_fraction(b, a, 1.0 - x) / b).max(0.0)
    }
}

/// P(Beta(a, b) > x), without the cancellation of 1 - cdf.
pub(super) fn survival(a: f64, b: f64, x: f64) -> f64 {
    cdf(b, a, 1.0 - x)
}

/// The x with P(Beta(a, b) <= x) = p, by bisection: slow and never wrong.
pub(super) fn quantile(a: f64, b: f64, p: f64) -> f64 {
    let (mut low, mut high) = (0.0, 1.0);
    while high - low > f64::EPSILON * high {
        let middle = 0.5 * (low + high);
        if middle <= low || middle >= high {
            break;
        }
        if cdf(a, b, middle) < p {
            low = middle;
        } else {
            high = middle;
        }
    }
    0.5 * (low + high)
}

fn continued_fraction(a: f64, b: f64, x: f64) -> f64 {
    let away_from_zero = |v: f64| if v.abs() < 1e-300 { 1e-300 } else { v };
    let mut c = 1.0;
    let mut d = 1.0 / away_from_zero(1.0 - (a + b) * x / (a + 1.0));
    let mut fraction = d;
    for term in 1..MOST_TERMS {
        let m = term as f64;
        let even = m * (b - m) * x / ((a + 2.0 * m - 1.0) * (a + 2.0 * m));
        let odd = -(a + m) * (a + b + m) * x / ((a + 2.0 * m) * (a + 2.0 * m + 1.0));
        let mut change = 1.0;
        for numerator in [even, odd] {
            d = 1.0 / away_from_zero(1.0 + numerator * d);
            c = away_from_zero(1.0 + numerator / c);
            change = c * d;
            fraction *= change;
        }
        if (change - 1.0).abs() < 1e-15 {
            break;
        }
    }
    fraction
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::fixtures::close;

    #[test]
    fn cdf_equals_scipy() {
        // scipy.special.betainc(a, b, x), SciPy 1.17.1
        for (a, b, x, expected) in [
            (1.0, 299.0, 0.01, 0.9504637433623375),
            (21.0, 2980.0, 0.01, 0.9653851025968521),
            (0.5, 0.5, 0.3, 0.36901011956554536),
            (9951.0, 990_050.0, 0.0101, 0.9328276439131483),
            (500_000.0, 500_001.0, 0.5005, 0.8415867166720655),
            (3.0, 4.0, 0.999, 0.999999999985024),
        ] {
            close(cdf(a, b, x), expected, 1e-8);
            close(survival(b, a, 1.0 - x), expected, 1e-8);
        }
    }

    #[test]
    fn quantile_inverts_cdf() {
        for (a, b) in [(1.0, 1.0), (0.5, 3.0), (12.0, 400.0), (3000.0, 2.0)] {
            for p in [1e-6, 0.025, 0.5, 0.975] {
                close(cdf(a, b, quantile(a, b, p)), p, 1e-9);
            }
        }
    }
}
