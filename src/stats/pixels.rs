//! How well a map of scores finds the pixels of a mask: counts of very many pixels in little room.

/// Bits of an f32 that tell its bin: sign, exponent, and 7 of the mantissa.
const KEPT: u32 = 16;
/// Bins of the values at least 0.
const BINS: usize = 1 << (KEPT - 1);

/// Pixels by score, each inside or outside of a mask. Scores are at least 0, and told apart to 1 part in 128.
#[derive(Debug, Clone)]
pub struct PixelTally {
    /// Inside and outside, by bin.
    bins: Vec<[u64; 2]>,
}

impl Default for PixelTally {
    fn default() -> Self {
        Self { bins: vec![[0; 2]; BINS] }
    }
}

/// Pixels marked against a mask.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Marked {
    /// Marked, inside of the mask.
    pub right: u64,
    /// Marked, outside.
    pub wrong: u64,
    /// Not marked, inside.
    pub missed: u64,
}

impl Marked {
    /// Intersection over union (Jaccard 1912); `None` where nothing is marked and nothing was to be.
    pub fn iou(&self) -> Option<f64> {
        ratio(self.right, self.right + self.wrong + self.missed)
    }

    /// Twice the intersection over the sum of both (Dice 1945); `None` as for the IoU.
    pub fn dice(&self) -> Option<f64> {
        ratio(2 * self.right, 2 * self.right + self.wrong + self.missed)
    }

    /// Share of the mask that is marked; `None` without a mask.
    pub fn recall(&self) -> Option<f64> {
        ratio(self.right, self.right + self.missed)
    }
}

impl PixelTally {
    /// Counts a map against its mask.
    pub fn add(&mut self, scores: &[f32], mask: &[bool]) {
        for (&score, &inside) in scores.iter().zip(mask) {
            self.bins[bin(score)][usize::from(!inside)] += 1;
        }
    }

    /// Adds what another has counted.
    pub fn merge(&mut self, other: &Self) {
        for (own, other) in self.bins.iter_mut().zip(&other.bins) {
            own.iter_mut().zip(other).for_each(|(own, other)| *own += other);
        }
    }

    /// Pixels inside and outside.
    pub fn pixels(&self) -> [u64; 2] {
        self.bins.iter().fold([0; 2], |[inside, outside], bin| [inside + bin[0], outside + bin[1]])
    }

    /// Average precision, `sum (recall_i - recall_(i-1)) precision_i`; `None` where no pixel is inside.
    pub fn average_precision(&self) -> Option<f64> {
        let [inside, _] = self.pixels();
        let (mut right, mut marked, mut sum) = (0, 0, 0.0);
        for bin in self.bins.iter().rev().filter(|bin| bin[0] + bin[1] > 0) {
            right += bin[0];
            marked += bin[0] + bin[1];
            sum += bin[0] as f64 * right as f64 / marked as f64;
        }
        (inside > 0).then(|| sum / inside as f64)
    }

    /// What is marked where every score at least `threshold` is. The threshold is taken down to the edge of its bin.
    pub fn marked(&self, threshold: f32) -> Marked {
        let (below, above) = self.bins.split_at(bin(threshold));
        let sum = |bins: &[[u64; 2]], which: usize| bins.iter().map(|bin| bin[which]).sum();
        Marked { right: sum(above, 0), wrong: sum(above, 1), missed: sum(below, 0) }
    }

    /// The lowest threshold that marks at most this share of the pixels outside.
    pub fn threshold_of_false_rate(&self, rate: f64) -> f32 {
        let [_, outside] = self.pixels();
        let allowed = rate * outside as f64;
        let mut wrong = 0;
        for (at, bin) in self.bins.iter().enumerate().rev() {
            wrong += bin[1];
            if wrong as f64 > allowed {
                return edge(at + 1);
            }
        }
        0.0
    }
}

/// The threshold of the highest mean of the tallies' Dice coefficients, each counting the same however many pixels it has; `None`
/// where none has a pixel inside.
pub fn best_threshold<'a>(tallies: impl IntoIterator<Item = &'a PixelTally>) -> Option<f32> {
    let mut marked: Vec<(&PixelTally, Marked)> = tallies
        .into_iter()
        .map(|tally| (tally, Marked { missed: tally.pixels()[0], ..Marked::default() }))
        .filter(|(_, marked)| marked.missed > 0)
        .collect();
    let mut best: Option<(f64, usize)> = None;
    for at in (0..BINS).rev() {
        let mut sum = 0.0;
        for (tally, marked) in &mut marked {
            let [inside, outside] = tally.bins[at];
            marked.right += inside;
            marked.wrong += outside;
            marked.missed -= inside;
            sum += marked.dice().unwrap_or(0.0);
        }
        if sum > 0.0 && best.is_none_or(|(highest, _)| sum > highest) {
            best = Some((sum, at));
        }
    }
    best.map(|(_, at)| edge(at))
}

/// Negative scores and those that are no numbers count as 0.
fn bin(score: f32) -> usize {
    if score > 0.0 { (score.to_bits() >> (32 - KEPT)) as usize } else { 0 }
}

/// Lowest score of a bin.
fn edge(bin: usize) -> f32 {
    f32::from_bits((bin as u32) << (32 - KEPT))
}

fn ratio(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::{close, normals};
    use super::super::metrics::average_precision;
    use super::*;

    /// Scores of pixels inside a mask that are higher, but not all of them.
    fn map() -> (Vec<f32>, Vec<bool>) {
        let mask: Vec<bool> = (0..20_000).map(|at| at % 17 == 0).collect();
        let scores = normals(mask.len(), 4).into_iter().zip(&mask);
        (scores.map(|(z, &inside)| (z + if inside { 2.5 } else { 0.0 }).exp() as f32).collect(), mask)
    }

    fn tally() -> PixelTally {
        let (scores, mask) = map();
        let [mut one, mut two] = [PixelTally::default(), PixelTally::default()];
        one.add(&scores[..7000], &mask[..7000]);
        two.add(&scores[7000..], &mask[7000..]);
        one.merge(&two);
        one
    }

    #[test]
    fn the_bins_cost_nothing_that_matters() {
        let (scores, mask) = map();
        let of = |wanted: bool| -> Vec<f64> {
            scores.iter().zip(&mask).filter(|(_, mask)| **mask == wanted).map(|(score, _)| f64::from(*score)).collect()
        };
        let exact = average_precision(&of(false), &of(true)).unwrap();
        close(tally().average_precision().unwrap(), exact, 2e-3);
        assert_eq!(PixelTally::default().average_precision(), None);
    }

    #[test]
    fn thresholds_do_what_they_promise() {
        let (scores, mask) = map();
        let tally = tally();
        let threshold = tally.threshold_of_false_rate(0.01);
        let marked = |threshold: f32| {
            let mut found = Marked::default();
            for (&score, &inside) in scores.iter().zip(&mask) {
                match (score >= threshold, inside) {
                    (true, true) => found.right += 1,
                    (true, false) => found.wrong += 1,
                    (false, true) => found.missed += 1,
                    (false, false) => {}
                }
            }
            found
        };
        let Marked { right, wrong, missed } = tally.marked(threshold);
        assert_eq!(tally.marked(threshold), marked(threshold));
        let [inside, outside] = tally.pixels();
        assert_eq!(right + missed, inside);
        assert!((0.009..=0.01).contains(&(wrong as f64 / outside as f64)), "{wrong} of {outside}");
        let best = best_threshold([&tally]).unwrap();
        let dice = |threshold: f32| marked(threshold).dice().unwrap();
        assert!([0.5, 0.8, 0.95, 1.05, 1.3, 2.0].iter().all(|by| dice(best) >= dice(by * best)), "{best}");
    }

    #[test]
    fn figures_by_hand() {
        let marked = Marked { right: 6, wrong: 2, missed: 4 };
        assert_eq!((marked.iou(), marked.dice(), marked.recall()), (Some(0.5), Some(12.0 / 18.0), Some(0.6)));
        assert_eq!((Marked::default().iou(), Marked::default().dice()), (None, None));
        let mut nothing = PixelTally::default();
        nothing.add(&[0.0, f32::NAN, -1.0], &[false; 3]);
        assert_eq!((best_threshold([&nothing]), nothing.marked(0.5)), (None, Marked::default()));
    }

    #[test]
    fn what_is_small_has_the_same_say_as_what_is_large() {
        let tally = |scores: &[f32], mask: &[bool], times: usize| {
            let mut tally = PixelTally::default();
            (0..times).for_each(|_| tally.add(scores, mask));
            tally
        };
        // Of the large kind all is found from 2 on; of the small one nothing else is only from 4 on.
        let large = tally(&[2.0, 4.0, 4.0, 4.0, 1.0], &[true, true, true, true, false], 1000);
        let small = tally(&[4.0, 2.0, 2.0, 2.0, 2.0], &[true, false, false, false, false], 1);
        assert_eq!(best_threshold([&large]), Some(2.0));
        assert_eq!(best_threshold([&large, &small]), Some(4.0));
        let mut both = large;
        both.merge(&small);
        assert_eq!(best_threshold([&both]), Some(2.0));
    }
}
