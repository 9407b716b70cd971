//! The normal frames that a version was made from, as far as they can still be found.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use super::labelled::{Selection, select};
use crate::error::{Kind, Result};
use crate::image::Limits;
use crate::pipeline::{Input, Pipeline};
use crate::settings::Settings;
use crate::store::{self, FrameRow, Manifest, Source};
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

/// The frames that a version was made from but its sources do not hold: what the service had scored. Files that were moved between
/// inbox and archives since are found there; a file that has changed is not used.
///
/// # Errors
/// [`crate::error::Kind::Io`].
pub fn load_scored(listed: &[FrameRow], manifest: &Manifest, pipeline: &Pipeline, limits: &Limits) -> Result<Samples> {
    let sources = manifest.data.origin();
    let held = |file: &Path| sources.iter().flat_map(|source| &source.paths).any(|path| file.starts_with(path));
    let scored: Vec<&FrameRow> = listed.iter().filter(|row| !held(Path::new(&row.source))).collect();
    let files: HashSet<PathBuf> = scored.iter().filter_map(|row| found(Path::new(&row.source), pipeline)).collect();
    let wanted: HashSet<&str> = scored.iter().map(|row| row.digest.as_str()).collect();
    let files: Vec<PathBuf> = files.into_iter().collect();
    let mut samples = match data::load_files(&files, &pipeline.spec.input, limits) {
        // Not one of them is left, or not one decodes any more.
        Err(failure) if failure.kind == Kind::Data => Samples::default(),
        loaded => loaded?,
    };
    samples.frames.retain(|sample| wanted.contains(sample.digest.to_hex().as_str()));
    let there: HashSet<_> = samples.frames.iter().map(|sample| sample.digest).collect();
    // Two files may hold the same frame by now.
    let missing = wanted.len().saturating_sub(there.len());
    if missing > 0 {
        tracing::warn!(missing, "scored frames that the version was made from are gone");
    }
    Ok(samples)
}

/// The folders between which the service moves the files of a pipeline.
pub fn houses(pipeline: &Pipeline) -> impl Iterator<Item = &Path> {
    let archives = pipeline.spec.after.archives().map(|(_, folder)| folder.as_path());
    pipeline.spec.inbox.as_deref().into_iter().chain(archives)
}

/// Where a file is now.
fn found(file: &Path, pipeline: &Pipeline) -> Option<PathBuf> {
    let name = houses(pipeline).find_map(|house| file.strip_prefix(std::path::absolute(house).ok()?).ok());
    let moved = name.into_iter().flat_map(|name| houses(pipeline).map(move |house| house.join(name)));
    std::iter::once(file.to_path_buf()).chain(moved).find(|path| path.is_file())
}

/// The frames that a version was made from, without what cannot be read any more and without what was put into its folders since.
/// What is gone is a warning where the rest is there; of a version that came without its data it is none.
pub fn own(folder: &Path, manifest: &Manifest, pipeline: &Pipeline, settings: &Settings) -> Samples {
    let (mut all, mut gone) = (Samples::default(), Vec::new());
    let mut take = |loaded: Result<Origin>| match loaded {
        Ok(origin) => {
            gone.extend(origin.missing);
            merge(&mut all, origin.samples);
        }
        Err(failure) => tracing::warn!(error = failure.message, "data of the current version cannot be read"),
    };
    for source in manifest.data.origin() {
        take(load(&[source], &pipeline.spec.input, &settings.limits));
    }
    match store::read_frames(folder) {
        Ok(None) => {}
        Ok(Some(listed)) => {
            let scored = load_scored(&listed, manifest, pipeline, &settings.limits);
            take(scored.map(|samples| Origin { samples, missing: Vec::new() }));
            let known: HashSet<&str> = listed.iter().map(|row| row.digest.as_str()).collect();
            all.frames.retain(|sample| known.contains(sample.digest.to_hex().as_str()));
        }
        Err(failure) => {
            tracing::warn!(error = failure.message, "which frames the current version was made from is not known")
        }
    }
    for path in &gone {
        if all.frames.is_empty() {
            tracing::info!(path = %path.display(), "the data of the current version are not here");
        } else {
            tracing::warn!(path = %path.display(), "data of the current version are gone");
        }
    }
    all
}

/// Puts frames to others.
pub fn merge(all: &mut Samples, more: Samples) {
    all.frames.extend(more.frames);
    all.rejected.extend(more.rejected);
    all.labels.extend(more.labels);
    all.truth.extend(more.truth);
    all.digest = data::digest_of(&all.frames);
}

/// What the manifest keeps of paths that were given.
pub fn source(paths: &[PathBuf], selection: &Selection, clean: &[PathBuf]) -> Source {
    let absolute = |path: &PathBuf| std::path::absolute(path).unwrap_or_else(|_| path.clone());
    Source {
        paths: paths.iter().map(absolute).collect(),
        labels: selection.labels.as_ref().map(absolute),
        normal_label: selection.normal_label.clone(),
        clean: clean.iter().map(absolute).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Part;

    #[test]
    fn scored_frames_that_are_gone_or_damaged_are_none_and_copies_count_once() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let pipeline = Pipeline::load("digits", &root.join("pipelines")).unwrap();
        let manifest = store::read_manifest(&root.join("models/digits/0001-f8934809")).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let row = |name: &str, digest: &str| FrameRow {
            source: folder.path().join(name).display().to_string(),
            frame_index: 0,
            digest: digest.into(),
            part: Part::Train,
        };
        let load = |rows: &[FrameRow]| load_scored(rows, &manifest, &pipeline, &Limits::default()).unwrap();
        assert!(load(&[]).frames.is_empty() && load(&[row("gone.png", "00")]).frames.is_empty());
        std::fs::write(folder.path().join("torn.png"), "torn").unwrap();
        assert!(load(&[row("torn.png", "00")]).frames.is_empty());
        let bytes = crate::draw::png::png16(28, 28, 1, &[100.0; 28 * 28]).bytes;
        for name in ["one.png", "copy.png"] {
            std::fs::write(folder.path().join(name), &bytes).unwrap();
        }
        let one = data::load(&[folder.path().join("one.png")], &pipeline.spec.input, &Limits::default()).unwrap();
        let digest = one.frames[0].digest.to_hex().to_string();
        assert!(!load(&[row("one.png", &digest), row("copy.png", &digest)]).frames.is_empty());
    }
}
