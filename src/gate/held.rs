//! The frames that a candidate and the current version are held against each other on: on calibration's side of both splits,
//! those of the current version's own data apart from those of every other origin.

use std::collections::HashSet;

use super::FEWEST;
use crate::error::Result;
use crate::image::Limits;
use crate::pipeline::Spec;
use crate::train::data::Sample;
use crate::train::group::Groups;
use crate::train::split::{split, split_groups};

/// Most frames of the current version's data, and most of all other origins: enough for errors well below what matters.
const MOST: usize = 1000;

/// Held-out normal frames, each once.
#[derive(Debug, Default)]
pub struct Held {
    /// Of the data that the current version was made from.
    pub own: Vec<Sample>,
    /// Of `own`: it did not give the candidate's threshold.
    pub fresh: Vec<bool>,
    /// What else the candidate was made from.
    pub others: Vec<Group>,
}

/// Frames of one origin that the current version was not made from.
#[derive(Debug)]
pub struct Group {
    /// The folder, or where else they are from.
    pub origin: String,
    /// A person said that they are normal, each of them.
    pub vouched: bool,
    /// The frames.
    pub frames: Vec<Sample>,
}

impl Held {
    /// Of the current version's frames and of the candidate's by origin, all on calibration's side of both splits already.
    pub fn new(own: Vec<Sample>, candidate: Vec<Group>) -> Self {
        let known: HashSet<_> = candidate.iter().flat_map(|group| &group.frames).map(|sample| sample.digest).collect();
        let mut seen: HashSet<_> = own.iter().map(|sample| sample.digest).collect();
        let own = some(own, MOST);
        let fresh = own.iter().map(|sample| !known.contains(&sample.digest)).collect();
        let mut others = candidate;
        for group in &mut others {
            group.frames.retain(|sample| seen.insert(sample.digest));
        }
        others.retain(|group| !group.frames.is_empty());
        let most = (MOST / others.len().max(1)).max(5 * FEWEST);
        for group in &mut others {
            group.frames = some(std::mem::take(&mut group.frames), most);
        }
        Self { own, fresh, others }
    }

    /// How many frames there are.
    pub fn count(&self) -> usize {
        self.own.len() + self.others.iter().map(|group| group.frames.len()).sum::<usize>()
    }
}

/// At most so many, each once, by digest: which ones does not depend on what they are.
fn some(mut samples: Vec<Sample>, most: usize) -> Vec<Sample> {
    samples.sort_by_key(|sample| {
        let mut key = *sample.digest.as_bytes();
        // The split goes by the beginning.
        key.reverse();
        key
    });
    samples.dedup_by_key(|sample| sample.digest);
    samples.truncate(most);
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
