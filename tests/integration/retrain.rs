//! `retrain`, `label` and the gate from the command line.

use std::collections::BTreeSet;
use std::fs;

use polars::prelude::*;
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
    let rows = house.query("SELECT frame_id, file_digest, is_anomaly FROM scores ORDER BY source");
    let quiet = rows.iter().filter(|row| row["is_anomaly"] == false).count();
    let plain = retrain(&house, &["--since", "2000-01-01"]);
    let digest = |row: &Value| {
        let content = blake3::Hash::from_hex(row["file_digest"].as_str().unwrap()).unwrap();
        let mut name = blake3::Hasher::new();
        name.update(content.as_bytes()).update(&0u64.to_le_bytes()).finalize().to_hex().to_string()
    };
    // One that was trained on, and is not sealed.
    let used = digests(&house, &plain["version"]);
    let odd_row = rows.iter().find(|row| row["is_anomaly"] == false && used.contains(&digest(row))).unwrap();
    let odd = odd_row["frame_id"].as_str().unwrap();
    let given = plain["data"]["given"].as_array().unwrap();
    assert!(
        given.iter().any(|given| given.as_str().unwrap().starts_with(&format!("{quiet} frames scored since"))),
        "{given:?}"
    );
    assert_eq!(plain["promotion"]["verdict"]["current"], first["version"]);
    assert!(plain["promotion"]["verdict"]["frames_of_current"].as_u64().unwrap() > 20);
    // Twice 120 frames would be wrong as well: the original ones are there once.
    let frames = |manifest: &Value| {
        ["train", "validation", "calibration"].iter().map(|part| manifest["data"][part].as_u64().unwrap()).sum::<u64>()
    };
    let base = frames(&first);
    assert!(frames(&plain) > base && frames(&plain) <= base + 30, "{} {base}", frames(&plain));
    let said = house.json(&["label", &odd[..12], "double_track", "--json"]);
    assert_eq!((&said[0]["label"], &said[0]["frame_id"]), (&"double_track".into(), &odd.into()));
    let fewer = retrain(&house, &["--since", "2000-01-01", "--from", "scratch"]);
    assert_eq!(frames(&fewer), frames(&plain) - 1, "an anomaly is not trained on");
    assert!(!digests(&house, &fewer["version"]).contains(&digest(odd_row)));
    // What a version was made from is on record, and found again without being asked for.
    house.json(&["models", "promote", "spots", fewer["version"].as_str().unwrap(), "--reason", "a test", "--json"]);
    let again = retrain(&house, &[]);
    assert_eq!(frames(&again), frames(&fewer));
    assert_eq!(digests(&house, &again["version"]), digests(&house, &fewer["version"]));
    assert!(again["data"]["given"][1].as_str().unwrap().contains("frames scored before"), "{}", again["data"]["given"]);
    house.refuse(&["label", odd, "two words"], 2, "two words");
    house.refuse(&["label", "ffffffffffff", "normal"], 5, "ffffffffffff");
}

/// The frames that a version was made from, less those that are sealed.
fn digests(house: &House, version: &Value) -> BTreeSet<String> {
    let path = house.path("models/spots").join(version.as_str().unwrap()).join("frames.parquet");
    let rows = ParquetReader::new(fs::File::open(path).unwrap()).finish().unwrap();
    let text = |name: &str| -> Vec<String> {
        rows.column(name).unwrap().str().unwrap().iter().flatten().map(ToString::to_string).collect()
    };
    text("digest").into_iter().zip(text("part")).filter(|(_, part)| part != "test").map(|(digest, _)| digest).collect()
}

#[test]
fn what_was_sealed_stays_sealed() {
    let house = House::of_spots();
    let first = house.train(&["--test", "labelled"]);
    house.succeed(&["evaluate", "spots", "--test"]);
    let sealed = |version: &Value| -> BTreeSet<String> {
        let path = house.path("models/spots").join(version.as_str().unwrap()).join("test.csv");
        fs::read_to_string(path).unwrap().lines().skip(1).map(|line| line[..64].to_string()).collect()
    };
    // Test frames come in again among new ones, under other names; the pipeline gives no share to test any more.
    house.simulate("detector", "more", &["--seed", "23", "--count", "40", "--anomalies", "0", "--size", "64"]);
    for (number, file) in fs::read_dir(house.path("labelled/normal")).unwrap().enumerate() {
        fs::copy(file.unwrap().path(), house.path(&format!("more/normal/copy-{number}.png"))).unwrap();
    }
    let text = fs::read_to_string(house.path("spots.toml")).unwrap();
    fs::write(house.path("spots.toml"), text.replace("[0.4, 0.2, 0.3, 0.1]", "[0.4, 0.2, 0.4]")).unwrap();
    let second = retrain(&house, &["--data", "data/normal", "more/normal"]);
    assert_eq!(sealed(&second["version"]), sealed(&first["version"]));
    assert!(digests(&house, &second["version"]).is_disjoint(&sealed(&first["version"])));
    let test = &second["data"]["test"];
    assert_eq!((&test["digest"], test["openings"].as_array().unwrap().len()), (&first["data"]["test"]["digest"], 0));
    assert_eq!(test["earlier"][0]["version"], first["version"]);
    let version = second["version"].as_str().unwrap();
    let text = house.succeed(&["evaluate", "spots", "--test", "--model-version", version]);
    assert!(text.contains(&format!("with version {}", first["version"].as_str().unwrap())), "{text}");
}

#[test]
fn a_poisoned_folder_is_named_and_a_person_may_overrule() {
    let house = House::of_spots();
    house.json(&["train", "spots", "--data", "data/normal", "--epochs", "6", "--json"]);
    house.simulate("telescope", "stars", &["--seed", "5", "--count", "150", "--anomalies", "0", "--size", "64"]);
    let half = house.json(&["retrain", "spots", "--data", "data/normal", "stars/normal", "--epochs", "6", "--json"]);
    assert_eq!(half["promotion"]["event"], "refused", "{}", half["promotion"]);
    let reason = half["promotion"]["reason"].as_str().unwrap();
    assert!(reason.contains("stars/normal: 0001-") && reason.contains("the instrument has changed"), "{reason}");
    assert!(!reason.contains("on data/normal"), "{reason}");
    // What it was held out from is what it was made with, whatever the pipeline says by now.
    let text = fs::read_to_string(house.path("spots.toml")).unwrap();
    fs::write(house.path("spots.toml"), text.replace("[0.4, 0.2, 0.3, 0.1]", "[0.7, 0.1, 0.1, 0.1]")).unwrap();
    let judged = house.json(&["models", "judge", "spots", "2", "--json"]);
    fs::write(house.path("spots.toml"), text).unwrap();
    assert_eq!((&judged["event"], &judged["verdict"]), (&half["promotion"]["event"], &half["promotion"]["verdict"]));
    house.refuse(&["models", "judge", "spots", "1"], 2, "no other current version");
    // After a person's word the stars are the version's own, and nothing new.
    house.json(&["models", "promote", "spots", "2", "--reason", "a telescope as well", "--json"]);
    let again = house.json(&["retrain", "spots", "--epochs", "1", "--json"]);
    assert_eq!(again["promotion"]["verdict"]["others"].as_array().unwrap().len(), 0, "{}", again["promotion"]);
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
    let again = house.succeed(&["models", "promote", "spots", "2", "--reason", "once more"]);
    assert!(again.contains("is already the current version"), "{again}");
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
    assert!(!history.contains("once more"), "{history}");
    fs::rename(house.path("data"), house.path("elsewhere")).unwrap();
    house.refuse(&["retrain", "spots"], 5, "data/normal");
    // Whoever trains on data of their own need not have those of the version before.
    let output = house.run(&["train", "spots", "--data", "elsewhere/normal", "--epochs", "1"]);
    let log = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{log}");
    assert!(log.contains("data of the current version are not here") && !log.contains("are gone"), "{log}");
}
