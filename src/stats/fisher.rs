//! Whether one rate is above another by more than chance explains.

use statrs::function::factorial::ln_binomial;

/// Probability of `a` or more of `n` where all `a + b` of `n + m` are spread by chance: Fisher's exact test, one-sided (Fisher 1935,
/// J. R. Statist. Soc. 98, 39). 1 where nothing was seen.
pub fn exceeds_by_chance((a, n): (usize, usize), (b, m): (usize, usize)) -> f64 {
    let (marked, all) = ((a + b) as u64, (n + m) as u64);
    let rest = all.saturating_sub(marked);
    let ways = ln_binomial(all, n as u64);
    let of = |seen: u64| match (n as u64).checked_sub(seen) {
        Some(others) if seen <= marked && others <= rest => {
            (ln_binomial(marked, seen) + ln_binomial(rest, others) - ways).exp()
        }
        _ => 0.0,
    };
    (a as u64..=marked.min(n as u64)).map(of).sum::<f64>().min(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::fixtures::close;

    #[test]
    fn it_is_the_count_of_the_ways() {
        // sum(comb(a + b, x) * comb(n + m - a - b, n - x) for x in range(a, ...)) / comb(n + m, n) in exact fractions of Python
        for ((a, n), (b, m), p) in [
            ((17, 460), (4, 486), 0.002241657586668189),
            ((3, 454), (4, 486), 0.7454127770808013),
            ((9, 40), (1, 40), 0.007157772366817517),
            ((100, 100), (0, 1000), 7.027569001852001e-145),
        ] {
            close(exceeds_by_chance((a, n), (b, m)), p, 1e-9);
        }
        assert_eq!(exceeds_by_chance((0, 50), (0, 60)), 1.0);
        assert_eq!(exceeds_by_chance((0, 0), (3, 10)), 1.0);
    }
}
