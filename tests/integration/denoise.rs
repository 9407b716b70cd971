//! `train` and `denoise` from the command line: a U-Net of clean twins takes more noise away than it leaves, and says so.

use std::fs;

use super::workshop::House;

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

[denoiser]
kind = "unet"
widths = [8, 16]
norm = "none"
epochs = 6
batch_size = 8
learning_rate = 4e-3

[score]
components = ["excess_nll"]

[calibration]
alpha = 0.2
delta = 0.2

[report]
denoised = "all"
"#;

#[test]
fn a_unet_of_clean_twins_is_what_the_report_keeps() {
    let house = House::of("sky", PIPELINE);
    let simulate = ["simulate", "telescope", "--anomalies", "0", "--size", "64", "--clean", "--seed"];
    house.succeed(&[&simulate[..], &["1", "--count", "100", "--out", "data"]].concat());
    house.succeed(&[&simulate[..], &["2", "--count", "8", "--out", "held"]].concat());
    let train = ["train", "sky", "--data", "data/frames", "--clean", "data/clean", "--json"];
    let manifest = house.json(&train);
    assert_eq!(manifest["denoiser"]["pairs"], true, "{manifest:#}");
    assert!(manifest["digests"]["denoiser.safetensors"].is_string(), "{:#}", manifest["digests"]);
    let trained: Vec<&str> =
        manifest["denoising"]["figures"].as_array().unwrap().iter().map(|one| one["image"].as_str().unwrap()).collect();
    assert_eq!(trained, ["input", "median", "gaussian", "dense", "unet"]);
    let version = house.path("models/sky").join(manifest["version"].as_str().unwrap());
    let page = fs::read_to_string(version.join("report.html")).unwrap();
    assert!(page.contains("validation frames against their twins") && page.contains("<td>unet</td>"));
    assert!(fs::read(version.join("denoising.png")).unwrap().starts_with(b"\x89PNG"));

    let denoise = ["denoise", "sky", "--noisy", "held/frames", "--clean", "held/clean", "--out", "d.png", "--json"];
    let figures = house.json(&denoise);
    let names: Vec<&str> = figures.as_array().unwrap().iter().map(|one| one["image"].as_str().unwrap()).collect();
    assert_eq!(names, ["input", "median", "gaussian", "dense", "unet"]);
    for figure in ["psnr", "ssim"] {
        let [input, unet] = [0, 4].map(|which| figures[which][figure][0].as_f64().unwrap());
        assert!(unet > input, "{figure}: {unet} of the U-Net, {input} of the input");
    }
    assert!(fs::read(house.path("d.png")).unwrap().starts_with(b"\x89PNG"));

    house.succeed(&["score", "sky", "held/frames"]);
    let sql = "SELECT denoised_by, departures, departure_max, departed FROM denoised";
    let rows = house.query(sql);
    assert_eq!(rows.len(), 8);
    for row in &rows {
        assert_eq!(row["denoised_by"], "unet", "{row}");
        let listed = row["departed"].as_array().unwrap().len() as u64;
        assert_eq!(row["departures"].as_u64().unwrap().min(256), listed, "{row}");
        assert!(row["departure_max"].as_f64().unwrap() > 0.0, "{row}");
    }
}
