//! Frames that the service has scored, as far as their content can still be found.

use std::collections::{BTreeSet, HashSet};
use std::path::{Path, PathBuf};

use super::origin;
use crate::error::{Kind, Result};
use crate::labels::Label;
use crate::pipeline::Pipeline;
use crate::report::names::source_path;
use crate::settings::Settings;
use crate::train::data::{self, Samples, frame_digest};

/// Labelled frames whose content was found.
#[derive(Debug, Default)]
pub struct Found {
    /// The frames, each once.
    pub samples: Samples,
    digests: HashSet<blake3::Hash>,
}

impl Found {
    /// Whether the frame of a label is among them.
    pub fn has(&self, label: &Label) -> bool {
        digest_of(label).is_some_and(|digest| self.digests.contains(&digest))
    }
}

/// Looks for labelled frames where their files lay when they were scored, and among other files and folders. A file that has changed
/// since is not used: content counts, not names.
///
/// # Errors
/// [`crate::error::Kind::Io`] for a path of `others` that cannot be read.
pub fn find(labels: &[&Label], others: &[PathBuf], pipeline: &Pipeline, settings: &Settings) -> Result<Found> {
    let wanted: HashSet<_> = labels.iter().filter_map(|label| digest_of(label)).collect();
    let names: BTreeSet<&str> = labels.iter().map(|label| label.source.as_str()).collect();
    let named: Vec<PathBuf> = names.into_iter().filter_map(|name| place_of(name, pipeline)).collect();
    let mut found = Found::default();
    for places in [named, others.to_vec()].iter().filter(|places| !places.is_empty()) {
        let mut samples = match data::load_files(places, &pipeline.spec.input, &settings.limits) {
            Err(failure) if failure.kind == Kind::Data => continue,
            loaded => loaded?,
        };
        samples.frames.retain(|sample| wanted.contains(&sample.digest) && found.digests.insert(sample.digest));
        samples.rejected.clear();
        origin::merge(&mut found.samples, samples);
    }
    Ok(found)
}

/// What names a label's frame among samples; `None` for what is no digest.
pub fn digest_of(label: &Label) -> Option<blake3::Hash> {
    frame(&label.file_digest, label.frame_index)
}

/// What names a frame among samples: BLAKE3 of its file's content and its position; `None` for what is no digest.
pub fn frame(file_digest: &str, frame_index: u32) -> Option<blake3::Hash> {
    let content = blake3::Hash::from_hex(file_digest).ok()?;
    Some(frame_digest(&content, frame_index as usize))
}

/// Where a file of the reports lies now: in the inbox, in an archive, or where it was given by its path.
pub fn place_of(source: &str, pipeline: &Pipeline) -> Option<PathBuf> {
    let name = source_path(source)?;
    let archives = pipeline.spec.after.archives().map(|(_, folder)| folder.as_path());
    let roots = pipeline.spec.inbox.as_deref().into_iter().chain(archives).chain([Path::new(""), Path::new("/")]);
    roots.map(|root| root.join(&name)).find(|path| path.is_file())
}
