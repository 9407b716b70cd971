//! `train` and `evaluate` from the command line: overrides on record, the sealed test split and its openings.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use assert_cmd::cargo::cargo_bin;
use serde_json::Value;

pub const PIPELINE: &str = r#"
[input]
size = 64
channels = 1
scaling = { kind = "log", black = 0, white = 1000, scale = 5 }
clip = true

[model]
kind = "dense"
channels = [32]
norm = "none"
latent = { kind = "vector", dim = 4 }
beta = 0.3
likelihood = { kind = "bernoulli" }

[training]
seed = 1
epochs = 20
batch_size = 16
learning_rate = 2e-3
weight_decay = 1e-4
clip_norm = 100.0
warmup_epochs = 1
patience = 4
split = [0.4, 0.2, 0.3, 0.1]

[score]
components = ["excess_nll", "brightness"]

[calibration]
alpha = 0.2
delta = 0.2
"#;

/// A folder with a pipeline, frames to train on, and labelled ones for test.
pub struct House(tempfile::TempDir);

impl House {
    pub fn new() -> Self {
        let house = Self(tempfile::tempdir().unwrap());
        fs::write(house.path("spots.toml"), PIPELINE).unwrap();
        house.simulate("data", "17", "120", "0");
        house.simulate("labelled", "18", "20", "0.4");
        house
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub fn simulate(&self, out: &str, seed: &str, count: &str, anomalies: &str) {
        let size_and_place = ["--size", "64", "--split", "--out", out];
        let of = ["simulate", "detector", "--seed", seed, "--count", count, "--anomalies", anomalies];
        succeed(self.run(&[&of[..], &size_and_place].concat()));
    }

    pub fn run(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(cargo_bin("anomalyd"));
        command.args(["--models", "models"]).args(arguments).current_dir(self.0.path()).output().unwrap()
    }

    pub fn train(&self, extra: &[&str]) -> Value {
        let base = ["train", "./spots.toml", "--data", "data/normal", "--epochs", "1", "--json"];
        serde_json::from_str(&succeed(self.run(&[&base, extra].concat()))).unwrap()
    }

    fn evaluate(&self, extra: &[&str]) -> Output {
        self.run(&[&["evaluate", "./spots.toml"], extra].concat())
    }

    pub fn page(&self, version: &Value) -> PathBuf {
        self.path("models/spots").join(version.as_str().unwrap()).join("report.html")
    }

    pub fn manifest(&self, version: &Value) -> toml::Table {
        let path = self.path("models/spots").join(version.as_str().unwrap()).join("manifest.toml");
        toml::from_str(&fs::read_to_string(path).unwrap()).unwrap()
    }
}

pub fn succeed(output: Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

pub fn refused(output: &Output, code: i32, says: &str) {
    let message = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{message}");
    assert!(message.contains(says), "{message}");
}

fn openings(manifest: &toml::Table) -> Vec<toml::Value> {
    manifest["data"]["test"].get("openings").map_or(Vec::new(), |openings| openings.as_array().unwrap().clone())
}

#[test]
fn what_the_command_line_overrides_is_on_record() {
    let house = House::new();
    let manifest = house.train(&["--l1", "20", "--weight-decay", "0.5", "--augment", "flip_x=true", "--seed", "9"]);
    let training = &manifest["training"];
    assert_eq!((training["seed"].as_u64(), training["epochs"].as_u64()), (Some(9), Some(1)));
    assert_eq!((training["weight_decay"].as_f64(), training["l1"].as_f64()), (Some(0.5), Some(20.0)));
    assert_eq!(training["augment"]["flip_x"], true);
    assert!(manifest["sparsity"].as_f64().unwrap() > 0.1, "{}", manifest["sparsity"]);
    assert_eq!(manifest["symmetries"][0]["transformation"], "flip_x");
    // The fourth share is sealed without anything said on the command line.
    assert!(manifest["data"]["test"]["normal"].as_u64().unwrap() > 0);
    refused(&house.run(&["train", "./spots.toml", "--data", "data/normal", "--augment", "spin=1"]), 2, "spin");
    refused(&house.run(&["train", "./spots.toml", "--data", "data/normal", "--l1=-1"]), 3, "training.l1");
}

#[test]
fn a_test_split_is_opened_once_and_every_look_is_on_record() {
    let house = House::new();
    let trained = house.train(&["--test", "labelled"]);
    let sealed = &trained["data"]["test"];
    assert_eq!(sealed["anomalous"], 8);
    assert_eq!(sealed["kinds"]["alpha_blob"], 2);
    assert!(sealed["normal"].as_u64().unwrap() > 12, "twelve were given, and a share of the data beside");
    assert!(openings(&house.manifest(&trained["version"])).is_empty());
    refused(&house.evaluate(&["--test", "--reopen", "early"]), 2, "never opened");

    let first: Value = serde_json::from_str(&succeed(house.evaluate(&["--test", "--json"]))).unwrap();
    assert_eq!((&first["normal"], &first["anomalous"]), (&sealed["normal"], &sealed["anomalous"]));
    let recorded = openings(&house.manifest(&trained["version"]));
    assert_eq!(recorded.len(), 1);
    assert_eq!(recorded[0]["figures"]["auroc"].as_float(), first["auroc"].as_f64());
    refused(&house.evaluate(&["--test"]), 2, "was opened 1 time(s)");

    // Another version has a seal of its own; the first is found by its number.
    let second = house.train(&["--test", "labelled", "--seed", "3"]);
    refused(&house.evaluate(&["--test", "--model-version", "1"]), 2, "was opened 1 time(s)");
    assert!(openings(&house.manifest(&second["version"])).is_empty());
    fs::write(house.path("models/spots/current"), trained["version"].as_str().unwrap()).unwrap();

    succeed(house.evaluate(&["--test", "--reopen", "the labels were wrong"]));
    let text = succeed(house.evaluate(&["--normal", "data/normal", "--anomalous", "labelled/anomalous"]));
    assert!(text.contains("once more: the labels were wrong"), "{text}");
    assert_eq!(openings(&house.manifest(&trained["version"])).len(), 2);
    let page = fs::read_to_string(house.page(&trained["version"])).unwrap();
    assert!(page.contains("2 times: only the first") && page.contains("the labels were wrong"));
}

#[test]
fn a_test_frame_that_changed_is_named_and_the_split_stays_sealed() {
    let house = House::new();
    let trained = house.train(&["--test", "labelled"]);
    let frame = first_file(&house.path("labelled/normal"));
    let bytes = fs::read(&frame).unwrap();
    fs::copy(first_file(&house.path("data/normal")), &frame).unwrap();
    let name = frame.file_name().unwrap().to_str().unwrap();
    refused(&house.evaluate(&["--test"]), 5, name);
    fs::write(&frame, bytes).unwrap();
    let list = house.path("models/spots").join(trained["version"].as_str().unwrap()).join("test.csv");
    let text = fs::read_to_string(&list).unwrap();
    fs::write(&list, text.replacen("normal", "alpha_blob", 1)).unwrap();
    refused(&house.evaluate(&["--test"]), 4, "test.csv");
    fs::write(&list, text).unwrap();
    assert!(openings(&house.manifest(&trained["version"])).is_empty());
    succeed(house.evaluate(&["--test"]));
}

#[test]
fn a_frame_sealed_for_test_is_not_trained_on() {
    let house = House::new();
    let alone = house.train(&[]);
    fs::copy(first_file(&house.path("labelled/normal")), house.path("data/normal/copy.png")).unwrap();
    let with_test = house.train(&["--test", "labelled"]);
    let frames = |manifest: &Value| manifest["data"]["frames"].as_u64().unwrap();
    assert_eq!(frames(&alone), frames(&with_test));
}

fn first_file(folder: &Path) -> PathBuf {
    let mut files: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files.swap_remove(0)
}
