//! `classify` from the command line, and the kinds it gives to flagged frames of a tiled pipeline.

use std::collections::BTreeSet;
use std::fs;

use serde_json::Value;

use super::workshop::{House, SPOTS};

/// A folder with a tiled pipeline, its model, and frames of every kind of anomaly.
fn house() -> House {
    let tiled = SPOTS.replace("[model]", "tile = { size = 64, stride = 64 }\n\n[model]");
    let house = House::of("spots", &tiled);
    let how = |seed, count, anomalies| ["--seed", seed, "--count", count, "--anomalies", anomalies, "--size", "128"];
    house.simulate("detector", "data", &how("17", "100", "0"));
    house.simulate("detector", "known", &how("18", "240", "1"));
    house.simulate("detector", "new", &how("19", "24", "1"));
    house.succeed(&["train", "spots", "--data", "data/normal", "--epochs", "2"]);
    house
}

#[test]
fn flagged_frames_of_known_kinds_are_named_and_older_rows_are_not() {
    let house = house();
    house.refuse(&["classify", "evaluate", "spots", "--data", "new/anomalous"], 4, "no classifier");
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
