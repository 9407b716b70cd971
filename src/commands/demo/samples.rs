//! The samples and what is known about them.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::error::{Failure, Kind, Result};

/// One sample file.
#[derive(Debug, Clone)]
pub struct Sample {
    /// The instrument's pipeline.
    pub pipeline: String,
    /// Its name in the inbox.
    pub name: String,
    /// What is wrong with it; `None` for a normal frame.
    pub kind: Option<String>,
    path: PathBuf,
}

/// A row of a truth table, as far as it matters here.
#[derive(Debug, Deserialize)]
struct Row {
    file: String,
    kind: String,
}

/// The samples of these pipelines, from `<folder>/<pipeline>/truth.csv`, the instruments taking turns.
///
/// # Errors
/// [`Kind::Data`] when a truth table is missing, damaged or empty.
pub fn load(folder: &Path, pipelines: &[&str]) -> Result<Vec<Sample>> {
    let mut queues = Vec::new();
    for pipeline in pipelines {
        let queue = of_pipeline(&folder.join(pipeline), pipeline)?;
        if queue.is_empty() {
            return Err(missing(&folder.join(pipeline), "no rows"));
        }
        queues.push(queue.into_iter());
    }
    let mut turns = Vec::new();
    loop {
        let before = turns.len();
        turns.extend(queues.iter_mut().filter_map(Iterator::next));
        if turns.len() == before {
            return Ok(turns);
        }
    }
}

impl Sample {
    /// Puts a copy into its inbox below `root`, whole at once: written beside it, then renamed in.
    ///
    /// # Errors
    /// [`Kind::Io`] when it cannot be copied.
    pub fn drop_into(&self, root: &Path) -> Result<()> {
        let aside = root.join("arriving");
        let place = root.join("inbox").join(&self.pipeline).join(&self.name);
        fs::copy(&self.path, &aside).map_err(|error| Failure::io(&self.path, error))?;
        fs::rename(&aside, &place).map_err(|error| Failure::io(&place, error))
    }
}

fn of_pipeline(folder: &Path, pipeline: &str) -> Result<Vec<Sample>> {
    let table = folder.join("truth.csv");
    let mut reader = csv::Reader::from_path(&table).map_err(|error| missing(folder, error))?;
    let mut names = HashSet::new();
    let mut normal = Vec::new();
    let mut anomalous = Vec::new();
    for row in reader.deserialize() {
        let row: Row = row.map_err(|error| missing(folder, error))?;
        let path = folder.join(&row.file);
        let stem = path.file_name().map_or_else(|| row.file.clone(), |name| name.to_string_lossy().into_owned());
        // The folder says what is wrong with a frame, so it stays out of the name where it can.
        let name = if names.insert(stem.clone()) { stem } else { row.file.replace('/', "_") };
        let kind = (row.kind != "normal").then_some(row.kind);
        let queue = if kind.is_some() { &mut anomalous } else { &mut normal };
        queue.push(Sample { pipeline: pipeline.to_string(), name, kind, path });
    }
    Ok(mixed(normal, anomalous))
}

/// Two queues as one, each spread evenly over it.
fn mixed(normal: Vec<Sample>, anomalous: Vec<Sample>) -> Vec<Sample> {
    let spread = |samples: Vec<Sample>| {
        let count = samples.len() as f64;
        samples.into_iter().enumerate().map(move |(place, sample)| ((place as f64 + 0.5) / count, sample))
    };
    let mut all: Vec<(f64, Sample)> = spread(normal).chain(spread(anomalous)).collect();
    all.sort_by(|a, b| a.0.total_cmp(&b.0));
    all.into_iter().map(|(_, sample)| sample).collect()
}

fn missing(folder: &Path, error: impl std::fmt::Display) -> Failure {
    Failure::new(Kind::Data, format!("{}: cannot read the samples' truth: {error}", folder.join("truth.csv").display()))
        .hint("run the demo from the repository's root, or make samples: anomalyd simulate telescope --help")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instruments_take_turns_and_names_do_not_give_the_truth_away() {
        let folder = tempfile::tempdir().unwrap();
        for pipeline in ["a", "b"] {
            let place = folder.path().join(pipeline);
            fs::create_dir_all(&place).unwrap();
            let rows = "file,kind,seed\nnormal/1.png,normal,1\nanomalous/2.png,blob,1\nnormal/3.png,normal,1\n";
            fs::write(place.join("truth.csv"), rows).unwrap();
        }
        let samples = load(folder.path(), &["a", "b"]).unwrap();
        let order: Vec<&str> = samples.iter().map(|sample| sample.pipeline.as_str()).collect();
        assert_eq!(order, ["a", "b", "a", "b", "a", "b"]);
        assert_eq!(samples[2].name, "2.png");
        assert_eq!(samples[2].kind.as_deref(), Some("blob"));
        assert_eq!(load(folder.path(), &["c"]).unwrap_err().kind, Kind::Data);
    }
}
