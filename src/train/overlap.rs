//! Which of the frames at hand a version has met before: figures of those that it was made from are too good, and those of sealed
//! ones are a look at its test split.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use serde::Serialize;

use super::data::Sample;
use super::seal;
use crate::error::{Failure, Kind, Result};
use crate::store::{self, Manifest, Part};

/// How many of some frames a version was made from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Overlap {
    /// All of the frames.
    pub frames: usize,
    /// Those that fitted its weights.
    pub train: usize,
    /// Those that stopped the training and fitted the tails.
    pub validation: usize,
    /// Those that gave the p-values.
    pub calibration: usize,
}

impl Overlap {
    /// Of some frames with those that the version in a folder was made from, and a warning where there are any; `None` where it did
    /// not record them.
    ///
    /// # Errors
    /// [`Kind::Model`] for a list of frames that cannot be read.
    pub fn find<'a>(folder: &Path, frames: impl IntoIterator<Item = &'a Sample>) -> Result<Option<Self>> {
        let Some(rows) = store::read_frames(folder)? else { return Ok(None) };
        let parts: HashMap<String, Part> = rows.into_iter().map(|row| (row.digest, row.part)).collect();
        let mut overlap = Self::default();
        for frame in frames {
            overlap.frames += 1;
            match parts.get(frame.digest.to_hex().as_str()) {
                Some(Part::Train) => overlap.train += 1,
                Some(Part::Validation) => overlap.validation += 1,
                Some(Part::Calibration) => overlap.calibration += 1,
                Some(Part::Test) | None => {}
            }
        }
        if let Some(warning) = overlap.warning() {
            tracing::warn!("{warning}");
        }
        Ok(Some(overlap))
    }

    /// That the figures are too good, where there are any such frames.
    pub fn warning(&self) -> Option<String> {
        let Self { frames, train, validation, calibration } = self;
        let met = train + validation + calibration;
        (met > 0).then(|| {
            format!(
                "{met} of the {frames} frames are among those that the version was made from ({train} train, {validation} \
                 validation, {calibration} calibration): the figures are too good"
            )
        })
    }
}

/// Refuses frames that are sealed for test with a version: their figures are a look that would be on no record.
///
/// # Errors
/// [`Kind::Usage`] naming one of them; [`Kind::Model`] for a list of sealed frames that is not the one that was sealed.
pub fn refuse_sealed<'a>(
    folder: &Path,
    manifest: &Manifest,
    frames: impl IntoIterator<Item = &'a Sample>,
) -> Result<()> {
    let sealed = seal::carried(folder, manifest)?;
    let sealed: HashSet<&str> = sealed.frames.iter().map(|frame| frame.digest.as_str()).collect();
    let met: Vec<&Sample> =
        frames.into_iter().filter(|frame| sealed.contains(frame.digest.to_hex().as_str())).collect();
    let Some(first) = met.first() else { return Ok(()) };
    let (version, file) = (&manifest.version, first.source.display());
    let message = format!("{file}: sealed for test with version {version}, as {} of the frames given", met.len());
    Err(Failure::new(Kind::Usage, message)
        .hint("open the test split on record (evaluate --test, once more with --reopen WHY), or give frames that are not in it"))
}
