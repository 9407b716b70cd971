//! `classify` from the command line, and the kinds it gives to flagged frames of a tiled pipeline.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output};

use assert_cmd::cargo::cargo_bin;
use serde_json::Value;

const PIPELINE: &str = r#"
[input]
size = 64
channels = 1
scaling = { kind = "log", black = 0, white = 1000, scale = 5 }
clip = true
tile = { size = 64, stride = 64 }

[model]
kind = "dense"
channels = [32]
norm = "none"
latent = { kind = "vector", dim = 4 }
beta = 0.3
likelihood = { kind = "bernoulli" }

[training]
seed = 1
epochs = 2
batch_size = 16
learning_rate = 2e-3
weight_decay = 1e-4
clip_norm = 100.0
warmup_epochs = 1
patience = 4
split = [0.4, 0.2, 0.4]

[score]
components = ["excess_nll", "brightness"]

[calibration]
alpha = 0.2
delta = 0.2
"#;

/// A folder with a pipeline, its model, and frames of every kind of anomaly.
struct House(tempfile::TempDir);

impl House {
    fn new() -> Self {
        let house = Self(tempfile::tempdir().unwrap());
        fs::write(house.path("spots.toml"), PIPELINE).unwrap();
        house.simulate("data", "17", "100", "0");
        house.simulate("known", "18", "240", "1");
        house.simulate("new", "19", "24", "1");
        house.succeed(&["train", "./spots.toml", "--data", "data/normal"]);
        house
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn simulate(&self, out: &str, seed: &str, count: &str, anomalies: &str) {
        let size_and_place = ["--size", "128", "--split", "--out", out];
        let of = ["simulate", "detector", "--seed", seed, "--count", count, "--anomalies", anomalies];
        self.succeed(&[&of[..], &size_and_place].concat());
    }

    fn run(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(cargo_bin("anomalyd"));
        let folders = ["--models", "models", "--state", "state", "--pipelines", "."];
        command.args(folders).args(arguments).current_dir(self.0.path()).output().unwrap()
    }

    fn succeed(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    fn json(&self, arguments: &[&str]) -> Value {
        serde_json::from_str(&self.succeed(arguments)).unwrap()
    }

    fn query(&self, sql: &str) -> Vec<Value> {
        let lines = self.succeed(&["query", "--format", "json", sql]);
        match serde_json::from_str(&lines) {
            Ok(Value::Array(rows)) => rows,
            _ => lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect(),
        }
    }
}

#[test]
fn flagged_frames_of_known_kinds_are_named_and_older_rows_are_not() {
    let house = House::new();
    let missing = house.run(&["classify", "evaluate", "spots", "--data", "new/anomalous"]);
    assert_eq!(missing.status.code(), Some(4), "{}", String::from_utf8_lossy(&missing.stderr));
    house.succeed(&["score", "spots", "data/normal"]);

    let train = ["classify", "train", "spots", "--data", "known/anomalous", "--network", "lenet5"];
    let how = ["--epochs", "8", "--batch-size", "16", "--split", "0.6,0.2,0.2", "--precision", "0.5", "--json"];
    let card = house.json(&[&train[..], &how].concat());
    let classes: BTreeSet<&str> = card["classes"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    assert!(classes.contains("noisy_column") && classes.contains("dead_region"), "{classes:?}");
    let shares = ["train", "validation", "test"].map(|share| card["data"][share]["frames"].as_u64().unwrap());
    let unflagged = card["data"]["left_out"]["unflagged"].as_u64().unwrap();
    assert_eq!(shares.iter().sum::<u64>() + unflagged, 240);
    assert!(
        house.path("models/spots/classifier").join(card["version"].as_str().unwrap()).join("confusion.svg").exists()
    );

    let listed = house.succeed(&["models", "list", "spots"]);
    assert!(!listed.contains("classifier"), "{listed}");

    house.succeed(&["score", "spots", "new/anomalous"]);
    let rows = house.query("SELECT frame_id, source, kind, kind_probability, classifier_version FROM anomalies");
    let (new, old): (Vec<&Value>, Vec<&Value>) =
        rows.iter().partition(|row| row["source"].as_str().unwrap().contains("new/"));
    assert!(!new.is_empty() && !old.is_empty(), "{rows:?}");
    for row in old {
        assert!(row["kind"].is_null() && row["kind_probability"].is_null() && row["classifier_version"].is_null());
    }
    let floor = card["answer"]["floor"].as_f64().unwrap();
    for row in &new {
        assert_eq!(row["classifier_version"], card["version"]);
        let probability = row["kind_probability"].as_f64().unwrap();
        assert_eq!(row["kind"].as_str().is_some(), probability >= floor, "{row}");
        assert!(row["kind"].as_str().is_none_or(|kind| classes.contains(kind)), "{row}");
    }

    // The figures are those of the same frames in the report.
    let figures = house.json(&["classify", "evaluate", "spots", "--data", "new/anomalous", "--out", "out", "--json"]);
    assert_eq!(figures["frames"].as_u64().unwrap() as usize, new.len());
    let named = new.iter().filter(|row| row["kind"].is_string()).count() as f64;
    assert!((figures["named"].as_f64().unwrap() - named / new.len() as f64).abs() < 1e-9, "{figures}");
    assert!(fs::read_to_string(house.path("out/confusion.svg")).unwrap().contains("noisy_column"));
    house.succeed(&["show", new[0]["frame_id"].as_str().unwrap(), "--out", "shown.png"]);
}
