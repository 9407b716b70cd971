//! Frames that the service has scored and people have labelled, as far as their files can still be found.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::path::PathBuf;

use chrono::NaiveDate;

use crate::commands::cells::{flag, number, string};
use crate::commands::whereabouts;
use crate::error::Result;
use crate::gate::Kinds;
use crate::labels::{Label, NORMAL};
use crate::pipeline::Pipeline;
use crate::report::query::Reports;
use crate::settings::Settings;
use crate::train::data::{self, Samples};

/// The frames of a pipeline that were scored since a day and never flagged, and those labelled normal whenever that was.
/// A file that has changed since it was scored is not used: content counts, not names.
///
/// # Errors
/// [`crate::error::Kind::Io`], [`crate::error::Kind::Internal`] where the reports cannot be read.
pub fn load(pipeline: &Pipeline, since: NaiveDate, normal: &[&Label], settings: &Settings) -> Result<Samples> {
    let (wanted, sources) = wanted(pipeline, since, normal, settings)?;
    let files: Vec<PathBuf> = sources.iter().filter_map(|source| whereabouts::place_of(source, pipeline)).collect();
    let mut samples = if files.is_empty() {
        Samples::default()
    } else {
        data::load_files(&files, &pipeline.spec.input, &settings.limits)?
    };
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
        let Some(digest) = whereabouts::frame(&string(&rows, "file_digest", row), index) else { continue };
        let flagged = flag(&rows, "is_anomaly", row);
        let frame = frames.entry(digest).or_default();
        frame.0.insert(string(&rows, "source", row));
        frame.1 |= flagged;
    }
    frames.retain(|_, (_, flagged)| !*flagged);
    for label in normal {
        if let Some(digest) = whereabouts::digest_of(label) {
            frames.entry(digest).or_default().0.insert(label.source.clone());
        }
    }
    let sources = frames.values().flat_map(|(sources, _)| sources.clone()).collect();
    Ok((frames.into_keys().collect(), sources))
}

/// Frames that people called anomalous, by kind, as far as their files can still be found.
///
/// # Errors
/// [`crate::error::Kind::Io`].
pub fn load_odd(pipeline: &Pipeline, labels: &[Label], settings: &Settings) -> Result<Kinds> {
    let odd: Vec<&Label> =
        labels.iter().filter(|label| label.pipeline == pipeline.name && label.label != NORMAL).collect();
    let kinds: HashMap<blake3::Hash, &str> =
        odd.iter().filter_map(|label| Some((whereabouts::digest_of(label)?, label.label.as_str()))).collect();
    let mut found = Kinds::new();
    for sample in whereabouts::find(&odd, &[], pipeline, settings)?.samples.frames {
        if let Some(kind) = kinds.get(&sample.digest) {
            found.entry((*kind).to_string()).or_default().push(sample);
        }
    }
    Ok(found)
}
