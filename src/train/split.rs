//! Train, validation, calibration, test: by digest, so that a frame stands on the same side whatever else is there.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::data::Sample;
use super::group::Groups;
use crate::pipeline::Shares;
use crate::store::{FrameRow, Part};

/// Indices of the parts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Split {
    /// Fits the weights.
    pub train: Vec<usize>,
    /// Stops the training and fits the tails.
    pub validation: Vec<usize>,
    /// Gives the p-values; touched by nothing else.
    pub calibration: Vec<usize>,
    /// Sealed until somebody asks for its figures; empty where the pipeline gives it no share.
    pub test: Vec<usize>,
}

impl Split {
    /// What each frame was for, in the order of the frames.
    pub fn rows(&self, frames: &[Sample]) -> Vec<FrameRow> {
        let each = [
            (Part::Train, &self.train),
            (Part::Validation, &self.validation),
            (Part::Calibration, &self.calibration),
            (Part::Test, &self.test),
        ];
        let mut of: Vec<(usize, Part)> =
            each.into_iter().flat_map(|(part, indices)| indices.iter().map(move |&index| (index, part))).collect();
        of.sort_by_key(|&(index, _)| index);
        let row = |(index, part): (usize, Part)| {
            let Sample { source, index: frame_index, digest, .. } = &frames[index];
            let source = std::path::absolute(source).unwrap_or_else(|_| source.clone()).display().to_string();
            FrameRow { source, frame_index: *frame_index as u32, digest: digest.to_hex().to_string(), part }
        };
        of.into_iter().map(row).collect()
    }
}

/// How many groups each part has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupCounts {
    /// Groups that fit the weights.
    pub train: usize,
    /// Groups that stop the training and fit the tails.
    pub validation: usize,
    /// Groups that give the p-values.
    pub calibration: usize,
    /// Groups that are sealed.
    pub test: usize,
}

/// Splits by the digest of each frame: its first 8 bytes are a uniform number in [0, 1).
/// Copies of a file share their digests and therefore a side.
pub fn split(samples: &[Sample], shares: impl Into<Shares>) -> Split {
    by(samples, shares.into(), |sample| sample.digest)
}

/// Splits by the digest of each frame's group: a group is never divided. A frame without one goes by its own digest.
pub fn split_groups(samples: &[Sample], shares: Shares, groups: &Groups) -> Split {
    by(samples, shares, |sample| {
        groups.get(&sample.source).map_or(sample.digest, |group| blake3::hash(group.as_bytes()))
    })
}

/// How many groups stand in each part.
pub fn count_groups(samples: &[Sample], parts: &Split, groups: &Groups) -> GroupCounts {
    let count = |part: &[usize]| {
        part.iter().filter_map(|&index| groups.get(&samples[index].source)).collect::<BTreeSet<_>>().len()
    };
    GroupCounts {
        train: count(&parts.train),
        validation: count(&parts.validation),
        calibration: count(&parts.calibration),
        test: count(&parts.test),
    }
}

fn by(samples: &[Sample], shares: Shares, key: impl Fn(&Sample) -> blake3::Hash) -> Split {
    let mut parts = Split::default();
    for (index, sample) in samples.iter().enumerate() {
        let at = position(&key(sample));
        let part = if at < shares.train {
            &mut parts.train
        } else if at < shares.train + shares.validation {
            &mut parts.validation
        } else if shares.test == 0.0 || at < shares.train + shares.validation + shares.calibration {
            &mut parts.calibration
        } else {
            &mut parts.test
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
    use std::path::Path;

    use super::*;
    use crate::image::Limits;
    use crate::pipeline::{Group, Scaling};
    use crate::prepare::Prepared;

    fn sample(id: u32) -> Sample {
        let scaling = Scaling::Linear { black: 0.0, white: 1.0 };
        let prepared = Prepared {
            width: 1,
            height: 1,
            channels: 1,
            pixels: vec![0.0],
            tiles: vec![(0, 0)],
            in_file: [1, 1],
            scaling,
        };
        let source = format!("night-{}/{id}.fits", id / 10).into();
        Sample { source, index: 0, digest: blake3::hash(&id.to_le_bytes()), observed_at: None, prepared }
    }

    fn shares(shares: &[f64]) -> Shares {
        shares.to_vec().try_into().unwrap()
    }

    #[test]
    fn parts_have_their_shares_and_share_nothing() {
        let samples: Vec<Sample> = (0..10_000).map(sample).collect();
        let parts = split(&samples, shares(&[0.5, 0.15, 0.25, 0.1]));
        // Binomial standard deviation is 50 of 10,000 or less.
        for (part, expected) in
            [(&parts.train, 5000), (&parts.validation, 1500), (&parts.calibration, 2500), (&parts.test, 1000)]
        {
            assert!(part.len().abs_diff(expected) < 250, "{} of {expected}", part.len());
        }
        let mut all = [parts.train, parts.validation, parts.calibration, parts.test].concat();
        all.sort_unstable();
        assert_eq!(all, (0..10_000).collect::<Vec<_>>());
        assert!(split(&samples, shares(&[0.6, 0.15, 0.25])).test.is_empty());
    }

    #[test]
    fn a_frame_keeps_its_side_whatever_else_is_there() {
        let many: Vec<Sample> = (0..100).map(sample).collect();
        let few: Vec<Sample> = (50..100).map(sample).collect();
        let shares = shares(&[0.5, 0.2, 0.3]);
        let side = |parts: &Split, index: usize| {
            (parts.train.contains(&index), parts.validation.contains(&index), parts.calibration.contains(&index))
        };
        let (many, few) = (split(&many, shares), split(&few, shares));
        assert!((0..50).all(|index| side(&few, index) == side(&many, index + 50)));
    }

    #[test]
    fn a_group_stands_on_one_side() {
        let samples: Vec<Sample> = (0..1000).map(sample).collect();
        let files = samples.iter().map(|sample| sample.source.as_path());
        let groups = Groups::of(files, &Group::Path(r"night-\d+".into()), &Limits::default()).unwrap();
        let parts = split_groups(&samples, shares(&[0.4, 0.2, 0.2, 0.2]), &groups);
        let nights = |part: &[usize]| part.iter().map(|index| index / 10).collect::<BTreeSet<_>>();
        let sides = [&parts.train, &parts.validation, &parts.calibration, &parts.test].map(|part| nights(part));
        assert_eq!(sides.iter().map(BTreeSet::len).sum::<usize>(), 100);
        assert!(sides.iter().all(|side| side.len() > 5), "{sides:?}");
        let counts = count_groups(&samples, &parts, &groups);
        assert_eq!([counts.train, counts.validation, counts.calibration, counts.test], sides.map(|side| side.len()));
        assert_eq!(groups.get(Path::new("night-3/31.fits")), Some("night-3"));
    }
}
