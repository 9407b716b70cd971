//! The normal frames that a version was made from, as far as they can still be found.

use std::path::PathBuf;

use super::labelled::{Selection, select};
use crate::error::Result;
use crate::image::Limits;
use crate::pipeline::Input;
use crate::store::Source;
use crate::train::data::{self, Samples};

/// What was found of a version's data.
#[derive(Debug, Default)]
pub struct Origin {
    /// Its frames.
    pub samples: Samples,
    /// Paths that are gone.
    pub missing: Vec<PathBuf>,
}

/// Loads what is there of some sources.
///
/// # Errors
/// [`crate::error::Kind::Data`] where what is there cannot serve, [`crate::error::Kind::Io`].
pub fn load(sources: &[Source], input: &Input, limits: &Limits) -> Result<Origin> {
    let mut origin = Origin::default();
    for source in sources {
        let (there, missing): (Vec<PathBuf>, Vec<PathBuf>) =
            source.paths.iter().chain(&source.labels).cloned().partition(|path| path.exists());
        let labels_there = source.labels.as_ref().is_none_or(|labels| there.contains(labels));
        origin.missing.extend(missing);
        let files: Vec<PathBuf> = there.into_iter().filter(|path| source.labels.as_ref() != Some(path)).collect();
        // Without its labels nobody can tell which of the frames are normal.
        if labels_there && !files.is_empty() {
            let selection = Selection { labels: source.labels.clone(), normal_label: source.normal_label.clone() };
            merge(&mut origin.samples, select(data::load(&files, input, limits)?, &selection, &files)?);
        }
    }
    Ok(origin)
}

/// Puts frames to others.
pub fn merge(all: &mut Samples, more: Samples) {
    all.frames.extend(more.frames);
    all.rejected.extend(more.rejected);
    all.labels.extend(more.labels);
    all.digest = data::digest_of(&all.frames);
}

/// What the manifest keeps of paths that were given.
pub fn source(paths: &[PathBuf], selection: &Selection) -> Source {
    let absolute = |path: &PathBuf| std::path::absolute(path).unwrap_or_else(|_| path.clone());
    Source {
        paths: paths.iter().map(absolute).collect(),
        labels: selection.labels.as_ref().map(absolute),
        normal_label: selection.normal_label.clone(),
    }
}
