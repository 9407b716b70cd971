//! `input.filters` through every command that runs a model.

use std::fs;

use serde_json::Value;

use super::workshop::{House, SPOTS, first_file};

/// The house's pipeline, seeing gradients, and `plain` without them.
fn house() -> House {
    let house = House::of_spots();
    let filtered = SPOTS.replace("clip = true\n", "clip = true\nfilters = [\"sobel\"]\n");
    assert_ne!(SPOTS, filtered);
    fs::write(house.path("spots.toml"), filtered).unwrap();
    fs::write(house.path("plain.toml"), SPOTS).unwrap();
    house
}

#[test]
fn a_model_that_sees_gradients_is_trained_stored_scored_and_retrained() {
    let house = house();
    let first = house.train(&[]);
    let plain = house.json(&["train", "plain", "--data", "data/normal", "--epochs", "1", "--json"]);
    // A dense layer of 32 sees four channels more of 64 x 64 pixels each.
    let count = |manifest: &Value| manifest["parameters"].as_u64().unwrap();
    assert_eq!(count(&first) - count(&plain), 4 * 64 * 64 * 32);
    let page = house.page(&first["version"]);
    assert!(page.with_file_name("filters.png").exists());
    assert!(fs::read_to_string(page).unwrap().contains("What the encoder sees"));

    let labelled = ["--normal", "labelled/normal", "--anomalous", "labelled/anomalous", "--json"];
    let figures = house.json(&[&["evaluate", "spots"], &labelled[..]].concat());
    assert!(figures["auroc"].as_f64().is_some(), "{figures}");
    house.succeed(&["score", "spots", "labelled/anomalous"]);
    assert_eq!(house.query("SELECT score FROM scores").len(), 8);
    let frame = first_file(&house.path("data/normal"));
    let other = first_file(&house.path("labelled/normal"));
    let [frame, other] = [&frame, &other].map(|path| path.to_str().unwrap());
    house.succeed(&["generate", "spots", "--count", "3", "--out", "drawn.png"]);
    house.succeed(&["interpolate", "spots", frame, other, "--frames", "3", "--out", "way.png"]);
    house.succeed(&["latent", "spots", "--data", "data/normal", "--out", "latent"]);
    let second = house.json(&["retrain", "spots", "--epochs", "1", "--json"]);
    assert_eq!(count(&second), count(&first));

    // The weights are of a network that sees them: without, it is another.
    fs::copy(house.path("plain.toml"), house.path("spots.toml")).unwrap();
    house.refuse(&["score", "spots", "labelled/normal"], 4, "another [input]");
}

#[test]
fn inspect_draws_what_the_encoder_sees() {
    let house = house();
    let frame = first_file(&house.path("data/normal"));
    let frame = frame.to_str().unwrap();
    let size = |pipeline: &str| {
        let report = house.json(&["inspect", frame, "--pipeline", pipeline, "--png", "seen", "--json"]);
        let file = house.path(report["frames"][0]["png"].as_str().unwrap());
        let picture = anomalyd::draw::png::decode(&fs::read(file).unwrap(), None).unwrap();
        (picture.width, picture.height)
    };
    let (with, without) = (size("spots"), size("plain"));
    assert!(with.0 > 5 * 256 && without.0 < 4 * 300, "{with:?} {without:?}");
    house.refuse(&["inspect", frame, "--png", "seen"], 2, "--pipeline");
}
