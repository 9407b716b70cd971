//! Frames chosen by label: which of the data given are normal.

use std::path::{Path, PathBuf};

use crate::error::{Failure, Kind, Result};
use crate::train::data::{Labels, Sample, Samples};
use crate::train::seal::{Given, NORMAL, TestFrame};

/// Which frames count as normal, where the data are labelled.
#[derive(Debug, Clone, clap::Args)]
pub struct Selection {
    /// Labels of the data: CSV with columns `file` and `label` (or `kind`), or IDX (one label a frame, in order).
    #[arg(long, value_name = "FILE", requires = "normal_label")]
    pub labels: Option<PathBuf>,
    /// Labels that count as normal (comma-separated); the others are anomalous.
    #[arg(long, value_delimiter = ',', value_name = "LABEL", requires = "labels")]
    pub normal_label: Vec<String>,
}

/// Keeps the normal frames of labelled data; everything where no labels are given.
///
/// # Errors
/// [`Kind::Data`] when the labels cannot be read or no frame is normal.
pub fn select(mut samples: Samples, selection: &Selection) -> Result<Samples> {
    let Some(path) = &selection.labels else { return Ok(samples) };
    let labels = Labels::read(path)?;
    labels.check(path, &samples.frames)?;
    samples.frames.retain(|sample| is_normal(&labels, sample, selection) == Some(true));
    if samples.frames.is_empty() {
        let wanted = selection.normal_label.join(", ");
        return Err(Failure::new(Kind::Data, format!("{}: no frame has the label {wanted}", path.display())));
    }
    Ok(samples)
}

/// Whether a labelled frame is normal; `None` where it has no label.
pub fn is_normal(labels: &Labels, sample: &Sample, selection: &Selection) -> Option<bool> {
    labels.of(sample).map(|label| selection.normal_label.iter().any(|normal| normal == label))
}

/// The kind of a frame by its folder: the first below the path given, else that path's own name.
pub fn kind_by_folder(sample: &Sample, given: &[PathBuf]) -> String {
    let root = given.iter().find(|root| sample.source.starts_with(root));
    let below = root.and_then(|root| sample.source.strip_prefix(root).ok()?.parent()?.iter().next());
    let name = below.or_else(|| root.and_then(|root| root.file_name()));
    name.map_or("anomalous".into(), |name| name.to_string_lossy().into_owned())
}

/// [`kind_by_folder`] where `anomalous` holds a folder a kind.
fn test_kind(sample: &Sample, given: &[PathBuf]) -> String {
    let kind = kind_by_folder(sample, given);
    if kind != "anomalous" {
        return kind;
    }
    let within: Vec<PathBuf> = given.iter().map(|path| path.join("anomalous")).collect();
    kind_by_folder(sample, &within)
}

/// Frames for test with their kinds: by `labels`, where `normal` counts as normal and so do the labels in `also_normal`; else by
/// folder, where the one named `normal` does and `anomalous` holds a folder a kind.
///
/// # Errors
/// [`Kind::Data`] when the labels cannot be read, or not one frame has one.
pub fn for_test(samples: &Samples, paths: &[PathBuf], labels: Option<&Path>, also_normal: &[String]) -> Result<Given> {
    let kind_of = |kind: &str| if also_normal.iter().any(|normal| normal == kind) { NORMAL } else { kind }.to_string();
    let frames: Vec<TestFrame> = match labels {
        None => samples.frames.iter().map(|sample| TestFrame::new(sample, test_kind(sample, paths))).collect(),
        Some(path) => {
            let read = Labels::read(path)?;
            read.check(path, &samples.frames)?;
            let frame = |sample| Some(TestFrame::new(sample, kind_of(read.of(sample)?)));
            samples.frames.iter().filter_map(frame).collect()
        }
    };
    let unlabelled = samples.frames.len() - frames.len();
    if unlabelled > 0 {
        tracing::warn!(unlabelled, "test frames without a label are left out");
    }
    if frames.is_empty() {
        let path = labels.unwrap_or(Path::new("")).display();
        return Err(Failure::new(Kind::Data, format!("{path}: not one test frame has a label")));
    }
    Ok(Given { frames, paths: paths.to_vec(), labels: labels.map(Path::to_path_buf) })
}
