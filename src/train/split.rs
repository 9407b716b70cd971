//! Train, validation, calibration: by digest, so that a frame stands on the same side whatever else is there.

use super::data::Sample;

/// Indices of the three parts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Split {
    /// Fits the weights.
    pub train: Vec<usize>,
    /// Stops the training and fits the tails.
    pub validation: Vec<usize>,
    /// Gives the p-values; touched by nothing else.
    pub calibration: Vec<usize>,
}

/// Splits by the digest of each frame: its first 8 bytes are a uniform number in [0, 1).
/// Copies of a file share their digests and therefore a side.
pub fn split(samples: &[Sample], shares: [f64; 3]) -> Split {
    let mut parts = Split::default();
    for (index, sample) in samples.iter().enumerate() {
        let at = position(&sample.digest);
        let part = if at < shares[0] {
            &mut parts.train
        } else if at < shares[0] + shares[1] {
            &mut parts.validation
        } else {
            &mut parts.calibration
        };
        part.push(index);
    }
    parts
}

fn position(digest: &blake3::Hash) -> f64 {
    let mut head = [0; 8];
    head.copy_from_slice(&digest.as_bytes()[..8]);
    u64::from_be_bytes(head) as f64 / 2f64.powi(64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::Scaling;
    use crate::prepare::Prepared;

    fn sample(id: u32) -> Sample {
        let scaling = Scaling::Linear { black: 0.0, white: 1.0 };
        let prepared = Prepared { width: 1, height: 1, channels: 1, pixels: vec![0.0], tiles: vec![(0, 0)], scaling };
        Sample { source: "x".into(), index: 0, digest: blake3::hash(&id.to_le_bytes()), prepared }
    }

    #[test]
    fn parts_have_their_shares_and_share_nothing() {
        let samples: Vec<Sample> = (0..10_000).map(sample).collect();
        let parts = split(&samples, [0.6, 0.15, 0.25]);
        // Binomial standard deviation is below 50 of 10,000.
        for (part, expected) in [(&parts.train, 6000), (&parts.validation, 1500), (&parts.calibration, 2500)] {
            assert!(part.len().abs_diff(expected) < 250, "{} of {expected}", part.len());
        }
        let mut all = [parts.train, parts.validation, parts.calibration].concat();
        all.sort_unstable();
        assert_eq!(all, (0..10_000).collect::<Vec<_>>());
    }

    #[test]
    fn a_frame_keeps_its_side_whatever_else_is_there() {
        let many: Vec<Sample> = (0..100).map(sample).collect();
        let few: Vec<Sample> = (50..100).map(sample).collect();
        let shares = [0.5, 0.2, 0.3];
        let side = |parts: &Split, index: usize| {
            (parts.train.contains(&index), parts.validation.contains(&index), parts.calibration.contains(&index))
        };
        let (many, few) = (split(&many, shares), split(&few, shares));
        assert!((0..50).all(|index| side(&few, index) == side(&many, index + 50)));
    }
}
