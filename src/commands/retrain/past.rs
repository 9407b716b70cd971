//! Frames that the service has scored, as far as their files can still be found.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::path::{Path, PathBuf};

use chrono::NaiveDate;

use crate::commands::cells::{flag, number, string};
use crate::error::Result;
use crate::labels::Label;
use crate::pipeline::Pipeline;
use crate::report::names::source_path;
use crate::report::query::Reports;
use crate::settings::Settings;
use crate::train::data::{self, Samples};

/// What names a frame among samples: BLAKE3 of its file's content and its position; `None` for what is no digest.
pub fn digest_of(file_digest: &str, frame_index: u32) -> Option<blake3::Hash> {
    let content = blake3::Hash::from_hex(file_digest).ok()?;
    Some(data::frame_digest(&content, frame_index as usize))
}

/// The frames of a pipeline that were scored since a day and never flagged, and those labelled normal whenever that was.
/// A file that has changed since it was scored is not used: content counts, not names.
///
/// # Errors
/// [`crate::error::Kind::Io`], [`crate::error::Kind::Internal`] where the reports cannot be read.
pub fn load(pipeline: &Pipeline, since: NaiveDate, normal: &[&Label], settings: &Settings) -> Result<Samples> {
    let (wanted, sources) = wanted(pipeline, since, normal, settings)?;
    let files: Vec<PathBuf> = sources.iter().filter_map(|source| place_of(source, pipeline)).collect();
    let mut samples =
        if files.is_empty() { Samples::default() } else { data::load(&files, &pipeline.spec.input, &settings.limits)? };
    samples.frames.retain(|sample| wanted.contains(&sample.digest));
    let found: HashSet<_> = samples.frames.iter().map(|sample| sample.digest).collect();
    let missing = wanted.len() - found.len();
    tracing::info!(frames = found.len(), missing, since = %since, "scored frames; the files of those that miss are gone");
    Ok(samples)
}

type Wanted = (HashSet<blake3::Hash>, BTreeSet<String>);

/// The digests of the frames, and the names of their files.
fn wanted(pipeline: &Pipeline, since: NaiveDate, normal: &[&Label], settings: &Settings) -> Result<Wanted> {
    let name = pipeline.name.replace('\'', "''");
    let rows = Reports::open(&settings.state)?.query(&format!(
        "SELECT file_digest, frame_index, source, is_anomaly FROM scores WHERE pipeline = '{name}' AND date >= '{since}'"
    ))?;
    let mut frames: HashMap<blake3::Hash, (BTreeSet<String>, bool)> = HashMap::new();
    for row in 0..rows.height() {
        let index = number(&rows, "frame_index", row).unwrap_or_default() as u32;
        let Some(digest) = digest_of(&string(&rows, "file_digest", row), index) else { continue };
        let flagged = flag(&rows, "is_anomaly", row);
        let frame = frames.entry(digest).or_default();
        frame.0.insert(string(&rows, "source", row));
        frame.1 |= flagged;
    }
    frames.retain(|_, (_, flagged)| !*flagged);
    for label in normal {
        if let Some(digest) = digest_of(&label.file_digest, label.frame_index) {
            frames.entry(digest).or_default().0.insert(label.source.clone());
        }
    }
    let sources = frames.values().flat_map(|(sources, _)| sources.clone()).collect();
    Ok((frames.into_keys().collect(), sources))
}

/// Where a file of the reports lies now: in the inbox, in an archive, or where it was given by its path.
fn place_of(source: &str, pipeline: &Pipeline) -> Option<PathBuf> {
    let name = source_path(source)?;
    let archives = pipeline.spec.after.archives().map(|(_, folder)| folder.as_path());
    let roots = pipeline.spec.inbox.as_deref().into_iter().chain(archives).chain([Path::new(""), Path::new("/")]);
    roots.map(|root| root.join(&name)).find(|path| path.is_file())
}
