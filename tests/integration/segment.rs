//! `train --masks`, `score` and `show`: a U-Net of simulated masks makes the anomaly map, and a retrain takes it over.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use assert_cmd::cargo::cargo_bin;
use serde_json::Value;

const PIPELINE: &str = r#"
[input]
size = 64
channels = 1
scaling = { kind = "asinh", black = 200, scale = 15 }

[model]
kind = "dense"
channels = [32]
norm = "none"
latent = { kind = "vector", dim = 4 }
beta = 0.3
likelihood = { kind = "poisson_gaussian", gain = 1, read_noise = 5, offset = 0, model_error = 0.1 }

[training]
seed = 1
epochs = 1
batch_size = 16
learning_rate = 2e-3
weight_decay = 1e-4
clip_norm = 1000.0
warmup_epochs = 1
patience = 4
split = [0.5, 0.2, 0.3]

[segmenter]
kind = "unet"
widths = [8, 16]
norm = "group"
epochs = 6
batch_size = 8
learning_rate = 1e-2
dice = 0.0

[score]
components = ["peak_residual"]

[calibration]
alpha = 0.2
delta = 0.2
"#;

fn anomalyd(folder: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(cargo_bin("anomalyd"));
    let command = command.args(["--models", "models", "--state", "state", "--pipelines", "."]).args(arguments);
    command.current_dir(folder).output().unwrap()
}

fn run(folder: &Path, arguments: &[&str]) -> String {
    let output = anomalyd(folder, arguments);
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn simulate(folder: &Path, count: &str, seed: &str, out: &str, more: &[&str]) {
    let base = ["simulate", "telescope", "--size", "64", "--count", count, "--seed", seed, "--out", out];
    run(folder, &[&base[..], more].concat());
}

#[test]
fn a_unet_of_simulated_masks_makes_the_anomaly_map() {
    let house = tempfile::tempdir().unwrap();
    let folder = house.path();
    fs::write(folder.join("sky.toml"), PIPELINE).unwrap();
    simulate(folder, "100", "1", "normal", &["--anomalies", "0"]);
    simulate(folder, "60", "2", "masked", &["--anomalies", "0.8", "--kind", "satellite_trail", "--masks"]);
    simulate(folder, "20", "3", "seen", &["--anomalies", "1", "--kind", "satellite_trail"]);

    let without = anomalyd(folder, &["train", "sky", "--data", "normal"]);
    let said = String::from_utf8_lossy(&without.stderr).into_owned();
    assert!(!without.status.success() && said.contains("--masks"), "{said}");
    let train = ["train", "sky", "--data", "normal", "--masks", "masked", "--json"];
    let manifest: Value = serde_json::from_str(&run(folder, &train)).unwrap();
    assert!(manifest["digests"]["segmenter.safetensors"].is_string(), "{:#}", manifest["digests"]);
    let record = &manifest["segmenter"];
    let all = &record["figures"][0];
    assert_eq!((all["kind"].as_str(), record["figures"].as_array().unwrap().len()), (Some("all"), 3), "{record:#}");
    let area = |of: &str| all[of]["average_precision"].as_f64().unwrap();
    assert!(area("segmenter") > area("residual"), "{record:#}");
    let version = folder.join("models/sky").join(manifest["version"].as_str().unwrap());
    assert!(fs::read(version.join("segmentation.png")).unwrap().starts_with(b"\x89PNG"));
    assert!(fs::read_to_string(version.join("report.html")).unwrap().contains("satellite trail"));

    run(folder, &["score", "sky", "seen"]);
    let sql = "SELECT frame_id, anomaly_map_by, mask_threshold, mask_area, mask_x, anomaly_map_scale FROM anomalies \
               ORDER BY mask_area DESC";
    let rows: Value = serde_json::from_str(&run(folder, &["query", sql, "--format", "json"])).unwrap();
    let first = &rows[0];
    assert_eq!(first["anomaly_map_by"], "unet", "{rows:#}");
    assert!(first["mask_area"].as_u64().unwrap() >= 16 && first["mask_x"].as_f64().is_some(), "{rows:#}");
    assert_eq!(first["mask_threshold"].as_f64().unwrap() as f32, record["threshold"].as_f64().unwrap() as f32);
    run(folder, &["show", first["frame_id"].as_str().unwrap(), "--out", "one.png"]);
    assert!(fs::read(folder.join("one.png")).unwrap().starts_with(b"\x89PNG"));

    // Found to be worse, it stays away unless it is wanted all the same.
    let text = fs::read_to_string(version.join("manifest.toml")).unwrap();
    let worse = text.replace("[segmenter]\nparameters", "[segmenter]\nworse = \"a test\"\nparameters");
    fs::write(version.join("manifest.toml"), worse).unwrap();
    let wanted = PIPELINE.replace("dice = 0.0", "dice = 0.0\nuse = \"always\"");
    for (seed, pipeline, made_by) in [("4", PIPELINE, "residual"), ("5", &wanted, "unet")] {
        fs::write(folder.join("sky.toml"), pipeline).unwrap();
        let name = format!("seen-{seed}");
        simulate(folder, "6", seed, &name, &["--anomalies", "1", "--kind", "saturation_bleed"]);
        run(folder, &["score", "sky", &name]);
        let sql = format!("SELECT DISTINCT anomaly_map_by FROM anomalies WHERE source LIKE '%{name}%'");
        let rows: Value = serde_json::from_str(&run(folder, &["query", &sql, "--format", "json"])).unwrap();
        assert_eq!(rows, serde_json::json!([{ "anomaly_map_by": made_by }]));
    }
    fs::write(version.join("manifest.toml"), text).unwrap();

    let again: Value = serde_json::from_str(&run(folder, &["retrain", "sky", "--json"])).unwrap();
    assert_eq!(again["segmenter"]["carried_from"], manifest["version"], "{:#}", again["segmenter"]);
    assert_eq!(again["digests"]["segmenter.safetensors"], manifest["digests"]["segmenter.safetensors"]);
}
