//! The rank of a value among all before it, in bounded memory.

use serde::{Deserialize, Serialize};

/// Cells that values are kept in.
const CELLS: usize = 1024;

/// Values seen, as counts in cells. Ranks are exact among cells; within one the place is drawn at random, as for ties.
///
/// A cell holds the values that agree in the leading bits of their number: all bits at first, one less each time that more than
/// [`CELLS`] cells would be occupied. How coarse the cells are is a symmetric function of all values including the newest, which are
/// coarsened alike: the rank is that of the conformity measure "the value, to so many bits, as this bag of values has it", and the
/// smoothed p-value is uniform and independent of those before it, exactly, as for any such measure (Vovk, Gammerman, Shafer:
/// "Algorithmic Learning in a Random World", proposition 2.4 and theorem 8.1). What is lost is resolution, not validity.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Ranks {
    /// Low bits that are not looked at.
    dropped: u32,
    /// Cells and how many values each holds, ascending.
    cells: Vec<(u64, u64)>,
    count: u64,
}

impl Ranks {
    /// Takes in a value. Returns the share of all values including it that are larger, equal ones counted up to `tie`, a random
    /// number in [0, 1).
    pub fn p_value(&mut self, value: f64, tie: f64) -> f64 {
        self.insert(value);
        let cell = key(value) >> self.dropped;
        let place = self.cells.partition_point(|&(other, _)| other <= cell);
        let larger: u64 = self.cells[place..].iter().map(|&(_, count)| count).sum();
        let equal = place.checked_sub(1).map_or(0, |at| self.cells[at].1);
        (larger as f64 + tie * equal as f64) / self.count as f64
    }

    /// Takes in a value.
    pub fn insert(&mut self, value: f64) {
        let cell = key(value) >> self.dropped;
        match self.cells.binary_search_by_key(&cell, |&(other, _)| other) {
            Ok(at) => self.cells[at].1 += 1,
            Err(at) => self.cells.insert(at, (cell, 1)),
        }
        self.count += 1;
        while self.cells.len() > CELLS {
            self.coarsen();
        }
    }

    fn coarsen(&mut self) {
        self.dropped += 1;
        for (cell, _) in &mut self.cells {
            *cell >>= 1;
        }
        self.cells.dedup_by(|next, kept| {
            let same = next.0 == kept.0;
            kept.1 += if same { next.1 } else { 0 };
            same
        });
    }
}

/// The number's bits, so that they rise with the value; NaN stands at the ends, by its sign.
fn key(value: f64) -> u64 {
    // Minus zero is zero.
    let bits = (value + 0.0).to_bits();
    if bits >> 63 == 1 { !bits } else { bits | 1 << 63 }
}

#[cfg(test)]
mod tests {
    use rand::{Rng, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;

    #[test]
    fn keys_rise_with_their_values() {
        let values = [f64::NEG_INFINITY, -1e300, -2.0, -1e-300, 0.0, 1e-300, 1.0, 1.5, 1e300, f64::INFINITY, f64::NAN];
        assert!(values.windows(2).all(|pair| key(pair[0]) < key(pair[1])));
        assert_eq!(key(-0.0), key(0.0));
    }

    #[test]
    fn few_values_are_ranked_exactly_and_ties_at_random() {
        let mut ranks = Ranks::default();
        for value in [1.0, 3.0, 3.0, 7.0] {
            ranks.insert(value);
        }
        let p = |value, tie| ranks.clone().p_value(value, tie);
        assert_eq!(p(9.0, 0.25), 0.25 / 5.0);
        assert_eq!(p(3.0, 0.5), (1.0 + 0.5 * 3.0) / 5.0);
        assert_eq!(p(0.0, 0.0), 4.0 / 5.0);
        assert_eq!(Ranks::default().p_value(f64::NAN, 0.7), 0.7);
    }

    #[test]
    fn memory_is_bounded_and_ranks_stay_close() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        // A background: 1,000 counts, give or take two per cent.
        let mut draw = || 1000.0 + 40.0 * (rng.random::<f64>() + rng.random::<f64>() - 1.0);
        let values: Vec<f64> = (0..50_000).map(|_| draw()).collect();
        let mut ranks = Ranks::default();
        values.iter().for_each(|&value| ranks.insert(value));
        assert!(ranks.cells.len() <= CELLS && ranks.count == 50_000);
        for value in [965.0, 990.0, 1000.0, 1020.0] {
            let exact = values.iter().filter(|&&other| other > value).count() as f64 / 50_001.0;
            assert!((ranks.clone().p_value(value, 0.5) - exact).abs() < 0.003);
        }
        let mut wild = Ranks::default();
        (0..20_000).for_each(|_| wild.insert(f64::from_bits(rng.random())));
        assert!(wild.cells.len() <= CELLS);
        assert_eq!(wild.cells.iter().map(|&(_, count)| count).sum::<u64>(), 20_000);
    }
}
