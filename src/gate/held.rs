//! The frames that a candidate and the current version are held against each other on: on calibration's side of both splits.

use std::collections::HashSet;

use crate::error::Result;
use crate::image::Limits;
use crate::pipeline::Spec;
use crate::train::data::Sample;
use crate::train::group::Groups;
use crate::train::split::{split, split_groups};

/// Most frames of the current version's data, and most others: enough for errors well below what matters.
const MOST: usize = 1000;

/// Held-out normal frames.
#[derive(Debug, Default)]
pub struct Held {
    /// Each once.
    pub frames: Vec<HeldFrame>,
}

/// A held-out frame.
#[derive(Debug)]
pub struct HeldFrame {
    /// The frame.
    pub sample: Sample,
    /// It is of the data that the current version was made from.
    pub of_current: bool,
    /// It did not give the candidate's threshold.
    pub fresh: bool,
}

impl Held {
    /// Of the candidate's frames and of those of the current version, both on calibration's side of both splits already.
    pub fn new(candidate: Vec<Sample>, current: Vec<Sample>) -> Self {
        let known: HashSet<_> = candidate.iter().map(|sample| sample.digest).collect();
        let own: HashSet<_> = current.iter().map(|sample| sample.digest).collect();
        let mut frames = Vec::new();
        let others = candidate.into_iter().filter(|sample| !own.contains(&sample.digest)).collect();
        for (samples, of_current) in [(current, true), (others, false)] {
            let held = |sample: Sample| HeldFrame { fresh: !known.contains(&sample.digest), of_current, sample };
            frames.extend(some(samples).into_iter().map(held));
        }
        Self { frames }
    }
}

/// At most [`MOST`], each once, by digest: which ones does not depend on what they are.
fn some(mut samples: Vec<Sample>) -> Vec<Sample> {
    samples.sort_by_key(|sample| {
        let mut key = *sample.digest.as_bytes();
        // The split goes by the beginning.
        key.reverse();
        key
    });
    samples.dedup_by_key(|sample| sample.digest);
    samples.truncate(MOST);
    samples
}

/// The frames on calibration's side of both splits.
///
/// # Errors
/// Those of reading a group.
pub fn side_of_both(frames: &[Sample], specs: [&Spec; 2]) -> Result<Vec<Sample>> {
    let [one, other] = [side(frames, specs[0])?, side(frames, specs[1])?];
    Ok(one.into_iter().filter(|index| other.contains(index)).map(|index| frames[index].clone()).collect())
}

/// Indices on calibration's side.
fn side(frames: &[Sample], spec: &Spec) -> Result<HashSet<usize>> {
    let shares = spec.training.split;
    let parts = match &spec.training.group {
        None => split(frames, shares),
        Some(group) => {
            let files = frames.iter().map(|frame| frame.source.as_path());
            split_groups(frames, shares, &Groups::of(files, group, &Limits::default())?)
        }
    };
    Ok(parts.calibration.into_iter().collect())
}
