//! `retrain`, `label` and the gate from the command line.

use std::fs;

use serde_json::Value;

use super::workshop::House;

fn retrain(house: &House, extra: &[&str]) -> Value {
    house.json(&[&["retrain", "spots", "--epochs", "2", "--json"], extra].concat())
}

#[test]
fn what_was_scored_and_what_people_said_goes_into_the_next_version() {
    let house = House::of_spots();
    let first = house.train(&[]);
    assert_eq!(first["promotion"]["event"], "promoted");
    assert_eq!(first["promotion"]["verdict"], Value::Null);
    house.simulate("detector", "night", &["--seed", "99", "--count", "30", "--anomalies", "0", "--size", "64"]);
    house.succeed(&["score", "spots", "night/normal"]);
    let rows = house.query("SELECT frame_id, is_anomaly FROM scores ORDER BY source");
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
    let said = house.json(&["label", &odd[..12], "double_track", "--json"]);
    assert_eq!((&said[0]["label"], &said[0]["frame_id"]), (&"double_track".into(), &odd.into()));
    let fewer = retrain(&house, &["--since", "2000-01-01", "--from", "scratch"]);
    assert_eq!(frames(&fewer), frames(&plain) - 1, "an anomaly is not trained on");
    house.refuse(&["label", odd, "two words"], 2, "two words");
    house.refuse(&["label", "ffffffffffff", "normal"], 5, "ffffffffffff");
}

#[test]
fn a_worse_version_is_kept_with_the_reason_and_may_be_promoted_and_rolled_back() {
    let house = House::of_spots();
    let good = house.json(&["train", "spots", "--data", "data/normal", "--json"]);
    // Another instrument altogether.
    house.simulate("telescope", "stars", &["--seed", "5", "--count", "150", "--anomalies", "0", "--size", "64"]);
    let bad = retrain(&house, &["--data", "stars/normal"]);
    assert_eq!(bad["promotion"]["event"], "refused", "{}", bad["promotion"]);
    assert!(bad["promotion"]["reason"].as_str().unwrap().contains("false alarms"), "{}", bad["promotion"]["reason"]);
    let status = |version: &Value| {
        let list = house.json(&["models", "list", "spots", "--json"]);
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
    let shown = house.json(&["models", "show", "spots", bad["version"].as_str().unwrap(), "--json"]);
    assert!(shown["history"][0]["verdict"]["false_alarms"]["outside"].as_bool().unwrap());
    let changes = house.json(&["models", "diff", "spots", "1", "2", "--json"]);
    assert!(changes.as_array().unwrap().iter().any(|change| change["key"] == "data.digest"));
    house.json(&["models", "promote", "spots", "2", "--reason", "a new camera", "--json"]);
    assert_eq!((status(&good["version"]), status(&bad["version"])), ("previous".into(), "current".into()));
    house.json(&["models", "rollback", "spots", "--reason", "the old one is back", "--json"]);
    assert_eq!(status(&good["version"]), "current");
    for said in ["a new camera", "outside the certificate", "Latent map", "validation, which the score was fitted on"] {
        assert!(page(&bad["version"]).contains(said), "{said}");
    }
    assert!(page(&good["version"]).contains("the old one is back"));
    assert_eq!(weights(&bad["version"]), before);
    let history = fs::read_to_string(house.path("models/spots/history.toml")).unwrap();
    assert!(history.contains("a new camera") && history.contains("the old one is back"), "{history}");
    fs::rename(house.path("data"), house.path("elsewhere")).unwrap();
    house.refuse(&["retrain", "spots"], 5, "data/normal");
}
