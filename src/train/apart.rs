//! Sealed frames and the nights or runs they are of: no frame of those is trained on.

use std::collections::HashSet;

use super::data::Samples;
use super::group::Groups;
use super::seal::{Given, TestFrame};
use crate::error::Result;
use crate::image::Limits;
use crate::pipeline::Group;

/// Most sealed files without a group that are named.
const NAMED: usize = 10;

/// The frames given for test, each with the name of its group, where the pipeline keeps groups together. A name that was sealed with
/// the frame stays: its file may have moved.
///
/// # Errors
/// Those of [`Groups::find`].
pub fn named(given: &Given, group: Option<&Group>) -> Result<Vec<TestFrame>> {
    let mut frames = given.frames.clone();
    if given.grouped_by.as_ref() != group {
        frames.iter_mut().for_each(|frame| frame.group = None);
    }
    name(&mut frames, group)?;
    Ok(frames)
}

/// Names the groups of frames that have none yet.
///
/// # Errors
/// Those of [`Groups::find`].
pub fn name(frames: &mut [TestFrame], group: Option<&Group>) -> Result<()> {
    let Some(group) = group else { return Ok(()) };
    let nameless = frames.iter().filter(|frame| frame.group.is_none()).map(|frame| frame.file.as_path());
    let found = Groups::find(nameless, group, &Limits::default())?;
    for frame in frames.iter_mut().filter(|frame| frame.group.is_none()) {
        frame.group = found.get(&frame.file).map(str::to_string);
    }
    Ok(())
}

/// Takes frames of the groups that sealed ones are of out of the training data.
///
/// # Errors
/// Those of [`Groups::find`].
pub fn leave_out_groups(samples: &mut Samples, sealed: &[TestFrame], group: Option<&Group>) -> Result<()> {
    let Some(group) = group.filter(|_| !sealed.is_empty()) else { return Ok(()) };
    let without: Vec<&TestFrame> = sealed.iter().filter(|frame| frame.group.is_none()).collect();
    for frame in without.iter().take(NAMED) {
        tracing::warn!(file = %frame.file.display(), %group, "sealed for test, but in no group: is the file where it was?");
    }
    if !without.is_empty() {
        tracing::warn!(frames = without.len(), "training frames of the groups of these sealed frames are not left out");
    }
    let own = Groups::find(samples.frames.iter().map(|sample| sample.source.as_path()), group, &Limits::default())?;
    let sealed: HashSet<&str> = sealed.iter().filter_map(|frame| frame.group.as_deref()).collect();
    let before = samples.frames.len();
    samples.frames.retain(|sample| own.get(&sample.source).is_none_or(|group| !sealed.contains(group)));
    let left_out = before - samples.frames.len();
    if left_out > 0 {
        tracing::warn!(left_out, "training frames of groups that are sealed for test are left out");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};

    use super::*;
    use crate::pipeline::Scaling;
    use crate::prepare::Prepared;
    use crate::simulate::fits::{Exposure, encode};
    use crate::train::data::Sample;

    /// A FITS file observed in a minute, of one content or another.
    fn exposure(folder: &Path, minute: u64, value: u16) -> Sample {
        let source: PathBuf = folder.join(format!("{minute}-{value}.fits"));
        let exposure = Exposure { exposure_s: 60.0, gain: 1.0, read_noise: 5.0, saturation: 60000 };
        let bytes = encode(&[value; 64], 8, minute, &exposure);
        std::fs::write(&source, &bytes).unwrap();
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
        Sample { source, index: 0, digest: blake3::hash(&bytes), observed_at: None, prepared }
    }

    #[test]
    fn a_group_stays_out_after_its_sealed_file_has_moved() {
        let folder = tempfile::tempdir().unwrap();
        let group = Group::Fits("DATE-OBS".into());
        let sealed = exposure(folder.path(), 1, 7);
        let mut given = Given { frames: vec![TestFrame::new(&sealed, "normal")], ..Given::default() };
        let first = named(&given, Some(&group)).unwrap();
        assert_eq!(first[0].group.as_deref(), Some("2026-01-01T00:01:00.000"));
        std::fs::remove_file(&sealed.source).unwrap();
        (given.frames, given.grouped_by) = (first, Some(group.clone()));

        let left = |given: &Given| {
            let frames = vec![exposure(folder.path(), 1, 8), exposure(folder.path(), 2, 8)];
            let mut samples = Samples { frames, ..Samples::default() };
            let sealed = named(given, Some(&group)).unwrap();
            leave_out_groups(&mut samples, &sealed, Some(&group)).unwrap();
            samples.frames.len()
        };
        assert_eq!(left(&given), 1);
        // Under another rule the name means nothing.
        given.grouped_by = Some(Group::Fits("NIGHT".into()));
        assert_eq!(left(&given), 2);
    }
}
