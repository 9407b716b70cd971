//! `classify` from the command line, and the kinds it gives to flagged frames of a tiled pipeline.

use std::collections::BTreeSet;
use std::fs;

use anomalyd::labels::{Label, Labels};
use chrono::DateTime;
use serde_json::Value;

use super::workshop::{House, SPOTS, first_file};

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
    fs::copy(first_file(&house.path("known/anomalous/noisy_column")), house.path("alone.png")).unwrap();
    let one = ["classify", "train", "spots", "--network", "lenet5", "--data", "alone.png"];
    house.refuse(&one, 5, "no folder names its kind");

    let train = ["classify", "train", "spots", "--data", "known/anomalous", "--network", "lenet5"];
    let how = ["--epochs", "8", "--batch-size", "16", "--split", "0.6,0.2,0.2", "--precision", "0.5", "--json"];
    let card = house.json(&[&train[..], &how].concat());
    let classes: BTreeSet<&str> = card["classes"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    assert!(classes.contains("noisy_column") && classes.contains("dead_region"), "{classes:?}");
    let shares = ["train", "validation", "test"].map(|share| card["data"][share]["frames"].as_u64().unwrap());
    let unflagged = card["data"]["left_out"]["unflagged"].as_u64().unwrap();
    assert_eq!(shares.iter().sum::<u64>() + unflagged, 240);
    let kept = card["data"]["left_out"]["kept"].as_object().unwrap();
    let lost = kept.values().map(|counts| counts[1].as_u64().unwrap() - counts[0].as_u64().unwrap()).sum::<u64>();
    assert!(unflagged > 0 && lost == unflagged, "{kept:?}");
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
    let taught = house.succeed(&["classify", "evaluate", "spots", "--data", "known/anomalous"]);
    assert!(taught.contains(&format!("warning      {} of the", shares[0] + shares[1])), "{taught}");
    let list = house.json(&["classify", "list", "spots", "--json"]);
    assert_eq!((&list[0]["version"], &list[0]["status"]), (&card["version"], &"current".into()));
    house.refuse(&["classify", "rollback", "spots", "--reason", "a test"], 4, "no version was in use before");
    house.succeed(&["show", new[0]["frame_id"].as_str().unwrap(), "--out", "shown.png"]);
}

/// Says of scored frames what they are: the kind that their folder is named after.
fn label_all(house: &House) -> Vec<Value> {
    let rows = house.query("SELECT frame_id, file_digest, frame_index, source FROM scores ORDER BY source");
    let labels = Labels::open(&house.path("state")).unwrap();
    let text = |row: &Value, column: &str| row[column].as_str().unwrap().to_string();
    for row in &rows {
        let source = text(row, "source");
        let label = source.rsplit('/').nth(1).unwrap().to_string();
        let (file_digest, frame_id) = (text(row, "file_digest"), text(row, "frame_id"));
        let at = DateTime::UNIX_EPOCH;
        let label = Label { pipeline: "spots".into(), file_digest, frame_index: 0, frame_id, source, label, at };
        labels.put(&label).unwrap();
    }
    rows
}

#[test]
fn what_people_said_is_learnt_where_its_content_is_still_found() {
    let house = House::of_spots();
    house.train(&[]);
    let how = ["--seed", "20", "--count", "60", "--anomalies", "1", "--size", "64", "--kind"];
    for kind in ["noisy_column", "alpha_blob"] {
        house.simulate("detector", kind, &[&how[..], &[kind]].concat());
        house.succeed(&["score", "spots", &format!("{kind}/anomalous")]);
    }
    house.refuse(&["classify", "train", "spots", "--network", "lenet5"], 2, "--data");
    let train = ["classify", "train", "spots", "--from-labels", "--network", "lenet5", "--epochs", "2", "--json"];
    house.refuse(&train, 5, "nobody has labelled a frame of pipeline spots");
    let rows = label_all(&house);
    house.succeed(&["label", rows[0]["frame_id"].as_str().unwrap(), "normal"]);
    let place = |at: usize| house.path(rows[at]["source"].as_str().unwrap());
    fs::remove_file(place(1)).unwrap();
    fs::create_dir(house.path("elsewhere")).unwrap();
    fs::rename(place(2), house.path("elsewhere/renamed.png")).unwrap();
    // The same name with another content is another frame.
    fs::copy(place(4), place(3)).unwrap();

    let given = ["--look-in", "elsewhere", "--split", "0.5,0.5,0", "--precision", "0.1"];
    let card = house.json(&[&train[..], &given].concat());
    let said = &card["data"]["said"];
    assert_eq!((&said["labelled"], &said["normal"]), (&119.into(), &1.into()));
    let missing: Vec<&Value> = said["missing"].as_array().unwrap().iter().map(|one| &one["source"]).collect();
    assert_eq!(missing, [&rows[1]["source"], &rows[3]["source"]]);
    let frames = ["train", "validation"].map(|share| card["data"][share]["frames"].as_u64().unwrap());
    assert_eq!(frames.iter().sum::<u64>(), 117);
    assert_eq!(card["classes"], serde_json::json!(["alpha_blob", "noisy_column"]));
    assert_eq!(card["promotion"]["event"], "promoted");

    let text = house.succeed(&["classify", "evaluate", "spots", "--from-labels"]);
    assert!(text.contains("116 of 119 frames that people gave a kind found"), "{text}");
    assert!(text.contains(&format!("not found: {}", rows[2]["source"].as_str().unwrap())), "{text}");
    // What a person said counts more than the folder's name.
    let figures = house.json(&["classify", "evaluate", "spots", "--data", "elsewhere", "--from-labels", "--json"]);
    assert_eq!((&figures["frames"], &figures["strangers"]), (&117.into(), &Value::Null));
}
