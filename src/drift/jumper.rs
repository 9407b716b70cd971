//! The simple jumper: a martingale that bets on p-values that are not uniform.

use serde::{Deserialize, Serialize};

/// Share of the capital that is dealt out anew at each step: the jump rate J.
const JUMP: f64 = 0.01;
/// What is bet on: more small p-values than there should be, nothing, more large ones.
const BETS: [f64; 3] = [-1.0, 0.0, 1.0];

/// The simple jumper of Vovk, Petej, Nouretdinov, Ahlberg, Carlsson, Gammerman ("Retrain or not retrain: conformal test
/// martingales for change-point detection", arXiv:2102.10439, section 3), in log space.
///
/// A jumper that starts once loses about 0.01 of its logarithm at every frame on which nothing happens, and after a year would
/// need weeks of frames to notice anything. So that a change is noticed whenever it comes, this one is a mixture of jumpers that
/// start before each frame: `reserve(n)` of the capital of 1 is still in hand after n frames, what is taken out of it starts betting.
/// A mixture of martingales with fixed weights is a martingale again, and it never falls below the reserve.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Jumper {
    frames: u64,
    /// Natural logarithm of the capital that bets; none before the first frame.
    betting: Option<f64>,
    /// How it is dealt out among the bets.
    shares: [f64; 3],
}

impl Jumper {
    /// Bets on a p-value; the next one, each once.
    pub fn bet(&mut self, p: f64) {
        let fresh = (reserve(self.frames) - reserve(self.frames + 1)).ln();
        let betting = self.betting.map_or(fresh, |betting| log_sum(betting, fresh));
        let new = (fresh - betting).exp();
        let old = self.shares.map(|share| share * (1.0 - new) + new / 3.0);
        let won =
            std::array::from_fn::<f64, 3, _>(|at| ((1.0 - JUMP) * old[at] + JUMP / 3.0) * (1.0 + BETS[at] * (p - 0.5)));
        let growth: f64 = won.iter().sum();
        self.betting = Some(betting + growth.ln());
        self.shares = won.map(|share| share / growth);
        self.frames += 1;
    }

    /// Natural logarithm of the capital; 0 before the first frame.
    pub fn log(&self) -> f64 {
        let reserve = reserve(self.frames).ln();
        self.betting.map_or(reserve, |betting| log_sum(betting, reserve))
    }
}

/// What is not bet yet after `frames` frames: `ln 2 / ln(frames + 2)`. It falls so slowly that a jumper which starts at the millionth
/// frame has 3e-9 of the capital, and has to win no more than 20 in its logarithm to make up for that.
fn reserve(frames: u64) -> f64 {
    std::f64::consts::LN_2 / (frames as f64 + 2.0).ln()
}

fn log_sum(a: f64, b: f64) -> f64 {
    a.max(b) + (-(a - b).abs()).exp().ln_1p()
}

#[cfg(test)]
mod tests {
    use rand::{Rng, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;

    /// Algorithm 1 of arXiv:2102.10439, as printed there, over these p-values.
    fn published(p_values: &[f64]) -> f64 {
        let mut capitals = [1.0 / 3.0; 3];
        for p in p_values {
            let sum: f64 = capitals.iter().sum();
            for (capital, bet) in capitals.iter_mut().zip(BETS) {
                *capital = ((1.0 - JUMP) * *capital + JUMP / 3.0 * sum) * (1.0 + bet * (p - 0.5));
            }
        }
        capitals.iter().sum()
    }

    #[test]
    fn it_is_the_mixture_of_published_jumpers_that_start_before_each_frame() {
        let mut rng = ChaCha8Rng::seed_from_u64(3);
        let p_values: Vec<f64> = (0..200).map(|at| rng.random::<f64>() * if at < 100 { 1.0 } else { 0.6 }).collect();
        let mut jumper = Jumper::default();
        assert_eq!(jumper.log(), 0.0);
        for (at, &p) in p_values.iter().enumerate() {
            jumper.bet(p);
            let seen = &p_values[..=at];
            let started = (0..=at).map(|k| (reserve(k as u64) - reserve(k as u64 + 1)) * published(&seen[k..]));
            let expected: f64 = reserve(at as u64 + 1) + started.sum::<f64>();
            assert!((jumper.log() - expected.ln()).abs() < 1e-9, "{} is not {}", jumper.log(), expected.ln());
        }
        assert!(jumper.log() > 0.0);
    }

    #[test]
    fn capital_is_neither_lost_nor_made_up() {
        // The mean over all p of the next capital is the capital: a midpoint sum is exact for a line.
        let mut jumper = Jumper::default();
        for p in [0.1, 0.9, 0.3, 0.001, 0.0, 1.0] {
            let mean: f64 = (0..10)
                .map(|at| {
                    let mut next = jumper.clone();
                    next.bet((f64::from(at) + 0.5) / 10.0);
                    next.log().exp() / 10.0
                })
                .sum();
            assert!((mean - jumper.log().exp()).abs() < 1e-12);
            jumper.bet(p);
        }
    }

    #[test]
    fn a_year_without_a_change_does_not_make_it_deaf() {
        let mut rng = ChaCha8Rng::seed_from_u64(5);
        let mut jumper = Jumper::default();
        (0..1_000_000).for_each(|_| jumper.bet(rng.random()));
        let frames = (1..2000).find(|_| {
            jumper.bet(0.5 * rng.random::<f64>());
            jumper.log() > 20f64.ln()
        });
        assert!(frames.unwrap() < 400, "{frames:?}");
    }
}
