//! The last ablation of a pipeline, kept beside its versions: `models/<pipeline>/ablation.json`.
//!
//! It is of a pipeline, not of a version, and says what it was run on: a reader holds that against the version.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::record::Row;
use crate::error::{Failure, Kind, Result};
use crate::pipeline::{Pipeline, Spec, Training};
use crate::store::{self, Manifest};

/// Its name in the folder of a pipeline's versions.
pub const FILE: &str = "ablation.json";
/// Keys that two trainings of one and the same worth may differ in.
const OF_NO_WEIGHT: [&str; 2] = ["training.seed", "training.promote"];

/// An ablation that was run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Ablation {
    /// When it ended.
    pub made_at: DateTime<Utc>,
    /// `anomalyd` and its version.
    pub software: String,
    /// The command that ran it.
    pub command: String,
    /// What it was run on.
    pub basis: Basis,
    /// Every value of every option.
    pub rows: Vec<Row>,
}

/// What an ablation was run on: figures of two that differ in it are not to be held against each other.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Basis {
    /// BLAKE3 over the digests of all normal frames, hex, as manifests have it.
    pub data: String,
    /// Normal frames.
    pub frames: usize,
    /// The same of the anomalous frames; `None` without any.
    pub anomalous_data: Option<String>,
    /// Anomalous frames.
    pub anomalous: usize,
    /// Trainings of each value that were asked for.
    pub seeds: u64,
    /// How the weights were fitted where the option is another, with what the command line overrode.
    pub training: Training,
    /// The pipeline file's text.
    pub pipeline: String,
}

impl Basis {
    /// BLAKE3 of the pipeline file's text, hex.
    pub fn pipeline_digest(&self) -> String {
        blake3::hash(self.pipeline.as_bytes()).to_hex().to_string()
    }

    /// How it differs from what a version was made from, in words; nothing where it does not.
    ///
    /// # Errors
    /// [`Kind::Data`] for a pipeline text that this program does not take.
    pub fn differences(&self, manifest: &Manifest, spec: &Spec) -> Result<Vec<String>> {
        let mut differences = Vec::new();
        if self.data != manifest.data.digest {
            let (frames, own) = (self.frames, manifest.data.frames);
            differences.push(format!("other frames: {frames}, the version was made from {own}"));
        }
        if spec.model.labels.is_some() {
            differences.push("options are compared without labels, the version learnt from them".to_string());
        }
        let path = Path::new(FILE);
        let mut run = Pipeline::parse("ablation", path, self.pipeline.clone())
            .map_err(|failure| Failure::new(Kind::Data, format!("the pipeline in {FILE}: {}", failure.message)))?
            .spec;
        run.training = self.training.clone();
        let (run, own) = (keys(&run)?, keys(spec)?);
        // Those of the file that was run on had no part in it.
        let of_labels = |name: &str| name.starts_with("model.labels.");
        let mut names: Vec<&String> = run.keys().chain(own.keys()).collect();
        names.sort();
        names.dedup();
        let shown = |value: Option<&String>| value.map_or("absent", String::as_str).to_string();
        for name in names.into_iter().filter(|name| !OF_NO_WEIGHT.contains(&name.as_str()) && !of_labels(name)) {
            let (run, own) = (run.get(name), own.get(name));
            if run != own {
                differences.push(format!("{name} = {}, the version has {}", shown(run), shown(own)));
            }
        }
        Ok(differences)
    }
}

/// What decides about weights and scores, by dotted key.
fn keys(spec: &Spec) -> Result<BTreeMap<String, String>> {
    let fail = |error| Failure::new(Kind::Internal, format!("cannot compare pipelines: {error}"));
    let table = toml::Table::try_from(spec).map_err(fail)?;
    let mut keys = BTreeMap::new();
    for section in ["input", "model", "training", "score"] {
        table.get(section).into_iter().for_each(|value| flatten(section, value, &mut keys));
    }
    Ok(keys)
}

fn flatten(key: &str, value: &toml::Value, keys: &mut BTreeMap<String, String>) {
    match value {
        toml::Value::Table(table) => {
            table.iter().for_each(|(inner, value)| flatten(&format!("{key}.{inner}"), value, keys));
        }
        other => {
            keys.insert(key.to_string(), other.to_string());
        }
    }
}

impl Ablation {
    /// Reads that of a pipeline; `None` where none was run.
    ///
    /// # Errors
    /// [`Kind::Io`]; [`Kind::Data`] for a file that is none.
    pub fn read(home: &Path) -> Result<Option<Self>> {
        let path = home.join(FILE);
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(Failure::io(&path, error)),
        };
        let wrong = |error| {
            Failure::new(Kind::Data, format!("{}: {error}", path.display()))
                .hint("remove the file, or run `anomalyd ablate` again: versions do not depend on it")
        };
        serde_json::from_str(&text).map(Some).map_err(wrong)
    }

    /// This one, with what an `earlier` one on the same basis has of other values, or of seeds that this one did not come to.
    pub fn after(mut self, earlier: Option<Self>) -> Self {
        let earlier = earlier.filter(|earlier| earlier.basis == self.basis && earlier.software == self.software);
        for other in earlier.into_iter().flat_map(|earlier| earlier.rows) {
            match self.rows.iter_mut().find(|row| row.variant == other.variant) {
                Some(row) => row.complete(other, self.basis.seeds),
                None => self.rows.push(other),
            }
        }
        self
    }

    /// Writes it into the folder of the pipeline's versions; a reader finds the old one or the new one.
    ///
    /// # Errors
    /// [`Kind::Io`] naming the file.
    pub fn write(&self, home: &Path) -> Result<PathBuf> {
        std::fs::create_dir_all(home).map_err(|error| Failure::io(home, error))?;
        let fail = |error| Failure::new(Kind::Internal, format!("cannot serialise the ablation: {error}"));
        let text = serde_json::to_string_pretty(self).map_err(fail)?;
        store::replace(home, FILE, &text)?;
        Ok(home.join(FILE))
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::super::record::tests::{row, run};
    use super::super::variants::Choice;
    use super::*;
    use crate::pipeline::Supervision;

    /// An ablation of the shipped pipeline of digits.
    pub fn ablation() -> Ablation {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let pipeline = Pipeline::load("digits", &root.join("pipelines")).unwrap();
        let rows = vec![
            row(Choice::Norm, "none", false, vec![run(1, 120.0, None), run(2, 122.0, None)]),
            row(Choice::Norm, "group", true, vec![run(1, 100.0, None), run(2, 101.0, None)]),
        ];
        Ablation {
            made_at: DateTime::UNIX_EPOCH,
            software: "anomalyd 0".into(),
            command: "anomalyd ablate digits".into(),
            basis: Basis {
                data: "d1".into(),
                frames: 100,
                anomalous_data: None,
                anomalous: 0,
                seeds: 2,
                training: pipeline.spec.training,
                pipeline: pipeline.text,
            },
            rows,
        }
    }

    #[test]
    fn what_is_written_is_read_and_other_options_on_the_same_basis_stay() {
        let folder = tempfile::tempdir().unwrap();
        let home = folder.path().join("digits");
        assert_eq!(Ablation::read(&home).unwrap(), None);
        let first = ablation();
        first.write(&home).unwrap();
        let read = Ablation::read(&home).unwrap();
        assert_eq!(read.as_ref(), Some(&first));
        let second =
            Ablation { rows: vec![row(Choice::L1, "0.001", false, vec![run(1, 99.0, None)])], ..first.clone() };
        assert_eq!(second.clone().after(read.clone()).rows.len(), 3);
        assert_eq!(first.clone().after(read.clone()), first, "run again, replaced");
        let rows = vec![
            row(Choice::Norm, "none", false, vec![run(1, 130.0, None)]),
            row(Choice::Norm, "group", true, vec![]),
            row(Choice::Norm, "batch", false, vec![]),
        ];
        let rows = Ablation { rows, ..first.clone() }.after(read.clone()).rows;
        assert_eq!(rows[0].runs, [run(1, 130.0, None), run(2, 122.0, None)], "what was interrupted keeps the rest");
        assert_eq!((&rows[1], rows[2].runs.len(), rows.len()), (&first.rows[1], 0, 3));
        let mut elsewhere = second;
        elsewhere.basis.training.epochs += 1;
        assert_eq!(elsewhere.after(read).rows.len(), 1, "other trainings are not to be held against these");
        std::fs::write(home.join(FILE), "{").unwrap();
        assert!(Ablation::read(&home).unwrap_err().message.contains(FILE));
    }

    #[test]
    fn what_differs_from_a_version_is_named_by_its_key() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let spec = Pipeline::load("digits", &root.join("pipelines")).unwrap().spec;
        let folder = store::home(&root.join("models"), "digits");
        let current = store::current(&root.join("models"), "digits").unwrap().unwrap();
        let mut manifest = store::read_manifest(&folder.join(current)).unwrap();
        manifest.data.digest = "d1".into();
        let mut basis = ablation().basis;
        basis.training.seed += 1;
        assert_eq!(basis.differences(&manifest, &spec).unwrap(), Vec::<String>::new(), "a seed is of no weight");
        let mut learns = spec.clone();
        learns.model.labels = Some(Supervision { head: 1.0, ..Supervision::default() });
        let told = basis.differences(&manifest, &learns).unwrap();
        assert!(told.len() == 1 && told[0].contains("without labels"), "{told:?}");
        basis.training.epochs = 3;
        basis.training.augment.flip_x = true;
        manifest.data.digest = "d2".into();
        let told = basis.differences(&manifest, &spec).unwrap();
        assert_eq!(told.len(), 3, "{told:?}");
        assert_eq!(told[1], "training.augment.flip_x = true, the version has false");
        assert!(
            told[0].starts_with("other frames: 100") && told[2] == "training.epochs = 3, the version has 20",
            "{told:?}"
        );
    }
}
