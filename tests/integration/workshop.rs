//! What tests of training share: a folder with a small pipeline, simulated frames beside it, and the program run in it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use assert_cmd::cargo::cargo_bin;
use serde_json::Value;

/// The smallest model that learns something: whole detector frames of 64 pixels.
pub const SPOTS: &str = r#"
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

/// The folder of one test; the program runs in it, with `models` and `state` below it.
pub struct House(tempfile::TempDir);

impl House {
    /// With one pipeline.
    pub fn of(pipeline: &str, text: &str) -> Self {
        let house = Self(tempfile::tempdir().unwrap());
        fs::write(house.path(&format!("{pipeline}.toml")), text).unwrap();
        house
    }

    /// With [`SPOTS`], normal frames to train on in `data/normal`, and labelled ones in `labelled`.
    pub fn of_spots() -> Self {
        let house = Self::of("spots", SPOTS);
        house.simulate("detector", "data", &["--seed", "17", "--count", "120", "--anomalies", "0", "--size", "64"]);
        house.simulate(
            "detector",
            "labelled",
            &["--seed", "18", "--count", "20", "--anomalies", "0.4", "--size", "64"],
        );
        house
    }

    /// A version of [`SPOTS`] after one epoch; its manifest.
    pub fn train(&self, extra: &[&str]) -> Value {
        self.json(&[&["train", "spots", "--data", "data/normal", "--epochs", "1", "--json"], extra].concat())
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Simulates frames, normal and anomalous ones in folders of their own; `how` is what `simulate` takes besides.
    pub fn simulate(&self, instrument: &str, out: &str, how: &[&str]) {
        self.succeed(&[&["simulate", instrument, "--split", "--out", out], how].concat());
    }

    pub fn run(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(cargo_bin("anomalyd"));
        let folders = ["--models", "models", "--state", "state", "--pipelines", "."];
        command.args(folders).args(arguments).current_dir(self.0.path()).output().unwrap()
    }

    /// What a command says that must succeed.
    pub fn succeed(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// The same as JSON.
    pub fn json(&self, arguments: &[&str]) -> Value {
        let text = self.succeed(arguments);
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
    }

    /// The rows of a query.
    pub fn query(&self, sql: &str) -> Vec<Value> {
        self.json(&["query", "--format", "json", sql]).as_array().unwrap().clone()
    }

    /// A command must fail with this code and these words.
    pub fn refuse(&self, arguments: &[&str], code: i32, says: &str) {
        let output = self.run(arguments);
        let message = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {message}");
        assert!(message.contains(says), "{arguments:?}: {message}");
    }

    /// The report of a version of [`SPOTS`].
    pub fn page(&self, version: &Value) -> PathBuf {
        self.path("models/spots").join(version.as_str().unwrap()).join("report.html")
    }

    /// The manifest of a version of [`SPOTS`].
    pub fn manifest(&self, version: &Value) -> toml::Table {
        let path = self.path("models/spots").join(version.as_str().unwrap()).join("manifest.toml");
        toml::from_str(&fs::read_to_string(path).unwrap()).unwrap()
    }
}

/// The first file of a folder by name.
pub fn first_file(folder: &Path) -> PathBuf {
    let mut files: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files.swap_remove(0)
}
