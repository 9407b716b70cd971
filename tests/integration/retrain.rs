//! `retrain`, `label` and the gate from the command line.

use std::fs;

use serde_json::Value;

use super::train::{House, refused, succeed};

fn json(house: &House, arguments: &[&str]) -> Value {
    let text = succeed(house.run(&[&["--state", "state"], arguments].concat()));
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

fn retrain(house: &House, extra: &[&str]) -> Value {
    json(house, &[&["retrain", "./spots.toml", "--epochs", "2", "--json"], extra].concat())
}

#[test]
fn what_was_scored_and_what_people_said_goes_into_the_next_version() {
    let house = House::new();
    let first = house.train(&[]);
    assert_eq!(first["promotion"]["event"], "promoted");
    assert_eq!(first["promotion"]["verdict"], Value::Null);
    house.simulate("night", "99", "30", "0");
    succeed(house.run(&["--state", "state", "score", "./spots.toml", "night/normal"]));
    let rows = json(&house, &["query", "SELECT frame_id, is_anomaly FROM scores ORDER BY source", "--format", "json"]);
    let rows = rows.as_array().unwrap();
    let quiet = rows.iter().filter(|row| row["is_anomaly"] == false).count();
    let odd = rows.iter().find(|row| row["is_anomaly"] == false).unwrap()["frame_id"].as_str().unwrap();
    let plain = retrain(&house, &["--since", "2000-01-01"]);
    let given = plain["data"]["given"].as_array().unwrap();
    assert!(
        given.iter().any(|given| given.as_str().unwrap().starts_with(&format!("{quiet} frames scored since"))),
        "{given:?}"
    );
    assert_eq!(plain["promotion"]["verdict"]["current"], first["version"]);
    assert!(plain["promotion"]["verdict"]["frames_of_current"].as_u64().unwrap() > 20);
    // Twice 120 frames would be wrong as well: the original ones are there once.
    let frames = |manifest: &Value| manifest["data"]["frames"].as_u64().unwrap();
    let base = frames(&first);
    assert!(frames(&plain) > base && frames(&plain) <= base + 30, "{} {base}", frames(&plain));
    let said = json(&house, &["label", &odd[..12], "double_track", "--json"]);
    assert_eq!((&said[0]["label"], &said[0]["frame_id"]), (&"double_track".into(), &odd.into()));
    let fewer = retrain(&house, &["--since", "2000-01-01", "--from", "scratch"]);
    assert_eq!(frames(&fewer), frames(&plain) - 1, "an anomaly is not trained on");
    refused(&house.run(&["--state", "state", "label", odd, "two words"]), 2, "two words");
    refused(&house.run(&["--state", "state", "label", "ffffffffffff", "normal"]), 5, "ffffffffffff");
}

#[test]
fn a_worse_version_is_kept_with_the_reason_and_may_be_promoted_and_rolled_back() {
    let house = House::new();
    let good = json(&house, &["train", "./spots.toml", "--data", "data/normal", "--json"]);
    // Another instrument altogether.
    let size = ["--seed", "5", "--anomalies", "0", "--size", "64", "--split", "--out", "stars"];
    succeed(house.run(&[&["simulate", "telescope", "--count", "150"], &size[..]].concat()));
    let bad = retrain(&house, &["--data", "stars/normal"]);
    assert_eq!(bad["promotion"]["event"], "refused", "{}", bad["promotion"]);
    assert!(bad["promotion"]["reason"].as_str().unwrap().contains("false alarms"), "{}", bad["promotion"]["reason"]);
    let status = |version: &Value| {
        let list = json(&house, &["models", "list", "spots", "--json"]);
        let line = list.as_array().unwrap().iter().find(|line| line["version"] == *version).unwrap().clone();
        line["status"].as_str().unwrap().to_string()
    };
    assert_eq!((status(&good["version"]), status(&bad["version"])), ("current".into(), "refused".into()));
    let page = |version: &Value| fs::read_to_string(house.page(version)).unwrap();
    let weights = |version: &Value| fs::read(house.page(version).with_file_name("weights.safetensors")).unwrap();
    assert!(page(&good["version"]).contains("the first version that fits"));
    let verdict = ["outside the certificate", "held-out frames that neither was trained on", "Latent map"];
    assert!(verdict.iter().all(|words| page(&bad["version"]).contains(words)), "the page is written after the gate");
    let before = weights(&bad["version"]);
    let shown = json(&house, &["models", "show", "spots", bad["version"].as_str().unwrap(), "--json"]);
    assert!(shown["history"][0]["verdict"]["false_alarms"]["outside"].as_bool().unwrap());
    let changes = json(&house, &["models", "diff", "spots", "1", "2", "--json"]);
    assert!(changes.as_array().unwrap().iter().any(|change| change["key"] == "data.digest"));
    json(&house, &["models", "promote", "spots", "2", "--reason", "a new camera", "--json"]);
    assert_eq!((status(&good["version"]), status(&bad["version"])), ("previous".into(), "current".into()));
    json(&house, &["models", "rollback", "spots", "--reason", "the old one is back", "--json"]);
    assert_eq!(status(&good["version"]), "current");
    for said in ["a new camera", "outside the certificate", "Latent map", "validation, which the score was fitted on"] {
        assert!(page(&bad["version"]).contains(said), "{said}");
    }
    assert!(page(&good["version"]).contains("the old one is back"));
    assert_eq!(weights(&bad["version"]), before);
    let history = fs::read_to_string(house.path("models/spots/history.toml")).unwrap();
    assert!(history.contains("a new camera") && history.contains("the old one is back"), "{history}");
    fs::rename(house.path("data"), house.path("elsewhere")).unwrap();
    refused(&house.run(&["--state", "state", "retrain", "./spots.toml"]), 5, "data/normal");
}
