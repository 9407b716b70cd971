//! Which frames of a sequence are anomalous, and how.

use rand::seq::SliceRandom;

use super::kind::Kind;
use super::random::plan_stream;

/// The kind of each of `count` frames: exactly `round(share * count)` are anomalous, at random places, `kinds` in rotation.
pub fn plan(count: usize, share: f64, seed: u64, kinds: &[Kind]) -> Vec<Option<Kind>> {
    let anomalous = ((share * count as f64).round() as usize).min(count);
    let mut places: Vec<usize> = (0..count).collect();
    places.shuffle(&mut plan_stream(seed));
    places.truncate(anomalous);
    places.sort_unstable();
    let mut plan = vec![None; count];
    for (place, kind) in places.into_iter().zip(kinds.iter().cycle()) {
        plan[place] = Some(*kind);
    }
    plan
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulate::Instrument;

    #[test]
    fn the_share_is_exact_and_kinds_rotate() {
        let kinds = Instrument::Telescope.kinds();
        for (count, share, expected) in [(100, 0.07, 7), (10, 0.25, 3), (10, 0.0, 0), (10, 1.0, 10), (0, 0.5, 0)] {
            let plan = plan(count, share, 3, kinds);
            assert_eq!(plan.len(), count);
            assert_eq!(plan.iter().flatten().count(), expected);
        }
        let plan = plan(70, 1.0, 3, kinds);
        for kind in kinds {
            assert_eq!(plan.iter().flatten().filter(|k| *k == kind).count(), 10);
        }
    }
}
