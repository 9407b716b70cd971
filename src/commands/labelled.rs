//! Frames chosen by label: which of the data given are normal.

use std::path::PathBuf;

use crate::error::{Failure, Kind, Result};
use crate::train::data::{Labels, Sample, Samples};

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
