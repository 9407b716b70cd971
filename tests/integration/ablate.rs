//! `ablate` from the command line: every value with every seed, the pipeline's own trained once, nothing published.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use assert_cmd::cargo::cargo_bin;
use serde_json::Value;

const PIPELINE: &str = r#"
[input]
size = 64
channels = 1
scaling = { kind = "log", black = 0, white = 1000, scale = 5 }
clip = true

[model]
kind = "dense"
channels = [16]
norm = "none"
latent = { kind = "vector", dim = 4 }
beta = 0.3
likelihood = { kind = "bernoulli" }

[training]
seed = 1
epochs = 1
batch_size = 16
learning_rate = 2e-3
weight_decay = 1e-4
clip_norm = 100.0
warmup_epochs = 1
patience = 4
split = [0.4, 0.3, 0.3]

[score]
components = ["excess_nll", "kl"]

[calibration]
alpha = 0.2
delta = 0.2
"#;

fn run(folder: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(cargo_bin("anomalyd"));
    let output = command.args(["--models", "models"]).args(arguments).current_dir(folder).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output
}

#[test]
fn every_value_is_trained_with_every_seed_and_nothing_is_published() {
    let house = tempfile::tempdir().unwrap();
    let folder = house.path();
    fs::write(folder.join("spots.toml"), PIPELINE).unwrap();
    for (out, seed, anomalies) in [("data", "17", "0"), ("odd", "18", "0.5")] {
        let of = ["simulate", "detector", "--seed", seed, "--count", "90", "--anomalies", anomalies];
        run(folder, &[&of[..], &["--size", "64", "--split", "--out", out]].concat());
    }
    let base = ["ablate", "./spots.toml", "--data", "data/normal", "--anomalous", "odd/anomalous"];
    let asked = ["--options", "kind,biases,upsample", "--seeds", "2"];
    let arguments = [&base[..], &asked].concat();
    let output = run(folder, &[&arguments[..], &["--json"]].concat());
    let ablation: Value = serde_json::from_slice(&output.stdout).unwrap();
    let rows = ablation["rows"].as_array().unwrap();
    let row = |option: &str, value: &str| rows.iter().find(|row| row["option"] == option && row["value"] == value);
    let own = row("kind", "dense").unwrap();
    assert_eq!((&own["own"], &own["runs"]), (&Value::Bool(true), &row("biases", "true").unwrap()["runs"]));
    let bare = row("biases", "false").unwrap();
    for row in [own, bare, row("kind", "vae").unwrap(), row("kind", "ae").unwrap()] {
        let runs = row["runs"].as_array().unwrap();
        assert_eq!(runs.iter().map(|run| run["seed"].as_u64().unwrap()).collect::<Vec<_>>(), [1, 2], "{row}");
        assert!(runs.iter().all(|run| (0.0..=1.0).contains(&run["auroc"].as_f64().unwrap())), "{row}");
        assert_ne!(runs[0]["validation_loss"], runs[1]["validation_loss"]);
    }
    assert!(bare["runs"][0]["parameters"].as_u64() < own["runs"][0]["parameters"].as_u64());
    assert!(row("upsample", "nearest").unwrap()["refused"].is_string());
    assert!(fs::read_to_string(folder.join("spots-ablation.svg")).unwrap().contains("biases false"));
    let kept = fs::read_to_string(folder.join("models/spots/ablation.json")).unwrap();
    assert_eq!(serde_json::from_str::<Value>(&kept).unwrap(), ablation);
    assert_eq!(fs::read_dir(folder.join("models/spots")).unwrap().count(), 1, "no version");
    // What would lose the results is refused before anything is loaded.
    let loads = |folder: &str, arguments: &[&str]| {
        let mut command = Command::new(cargo_bin("anomalyd"));
        let output = command.args(["--models", folder]).args(arguments).current_dir(house.path()).output().unwrap();
        (output.status.success(), String::from_utf8(output.stderr).unwrap().contains("data loaded"))
    };
    let quick = [&base[..], &["--options", "biases", "--seeds", "1"]].concat();
    assert_eq!(loads("others", &quick), (true, true));
    assert_eq!(loads("others", &[&quick[..], &["--out", "none/plot.svg"]].concat()), (false, false));
    fs::write(folder.join("others/spots/ablation.json"), "{").unwrap();
    assert_eq!(loads("others", &quick), (false, false));
    // A version made afterwards shows it, and so does a page that is written anew.
    run(folder, &["train", "./spots.toml", "--data", "data/normal"]);
    run(folder, &["report", "spots", "--out", "page.html"]);
    let version = fs::read_to_string(folder.join("models/spots/current")).unwrap();
    for page in [format!("models/spots/{}/report.html", version.trim()), "page.html".into()] {
        let page = fs::read_to_string(folder.join(page)).unwrap();
        assert!(page.contains("Run on the frames and the pipeline that this version was made from"));
        assert!(page.contains("biases false") && page.contains("the first version that fits"));
    }
}
