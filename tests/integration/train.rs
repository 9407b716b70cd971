//! `train` and `evaluate` from the command line: overrides on record, the sealed test split and its openings.

use std::fs;

use serde_json::Value;

use super::workshop::{House, first_file};

fn evaluate(house: &House, extra: &[&str]) -> Value {
    house.json(&[&["evaluate", "spots", "--json"], extra].concat())
}

/// An evaluation is refused with these words.
fn refused(house: &House, extra: &[&str], code: i32, says: &str) {
    house.refuse(&[&["evaluate", "spots"], extra].concat(), code, says);
}

fn openings(manifest: &toml::Table) -> Vec<toml::Value> {
    manifest["data"]["test"].get("openings").map_or(Vec::new(), |openings| openings.as_array().unwrap().clone())
}

#[test]
fn what_the_command_line_overrides_is_on_record() {
    let house = House::of_spots();
    let manifest = house.train(&["--l1", "20", "--weight-decay", "0.5", "--augment", "flip_x=true", "--seed", "9"]);
    let training = &manifest["training"];
    assert_eq!((training["seed"].as_u64(), training["epochs"].as_u64()), (Some(9), Some(1)));
    assert_eq!((training["weight_decay"].as_f64(), training["l1"].as_f64()), (Some(0.5), Some(20.0)));
    assert_eq!(training["augment"]["flip_x"], true);
    assert!(manifest["sparsity"].as_f64().unwrap() > 0.1, "{}", manifest["sparsity"]);
    assert_eq!(manifest["symmetries"][0]["transformation"], "flip_x");
    // The fourth share is sealed without anything said on the command line.
    assert!(manifest["data"]["test"]["normal"].as_u64().unwrap() > 0);
    house.refuse(&["train", "spots", "--data", "data/normal", "--augment", "spin=1"], 2, "spin");
    house.refuse(&["train", "spots", "--data", "data/normal", "--l1=-1"], 3, "training.l1");
}

#[test]
fn a_test_split_is_opened_once_and_every_look_is_on_record() {
    let house = House::of_spots();
    let trained = house.train(&["--test", "labelled"]);
    let sealed = &trained["data"]["test"];
    assert_eq!(sealed["anomalous"], 8);
    assert_eq!(sealed["kinds"]["alpha_blob"], 2);
    assert!(sealed["normal"].as_u64().unwrap() > 12, "twelve were given, and a share of the data beside");
    assert!(openings(&house.manifest(&trained["version"])).is_empty());
    refused(&house, &["--test", "--reopen", "early"], 2, "never opened");

    let first = evaluate(&house, &["--test"]);
    assert_eq!((&first["normal"], &first["anomalous"]), (&sealed["normal"], &sealed["anomalous"]));
    let recorded = openings(&house.manifest(&trained["version"]));
    assert_eq!(recorded.len(), 1);
    assert_eq!(recorded[0]["figures"]["auroc"].as_float(), first["auroc"].as_f64());
    refused(&house, &["--test"], 2, "was opened 1 time(s)");

    // Another version has a seal of its own; the first is found by its number.
    let second = house.train(&["--test", "labelled", "--seed", "3"]);
    refused(&house, &["--test", "--model-version", "1"], 2, "was opened 1 time(s)");
    assert!(openings(&house.manifest(&second["version"])).is_empty());
    fs::write(house.path("models/spots/current"), trained["version"].as_str().unwrap()).unwrap();

    evaluate(&house, &["--test", "--reopen", "the labels were wrong"]);
    house.simulate("detector", "new", &["--seed", "19", "--count", "20", "--anomalies", "0.4", "--size", "64"]);
    let given = ["--normal", "new/normal", "--anomalous", "new/anomalous"];
    let text = house.succeed(&[&["evaluate", "spots"], &given[..]].concat());
    assert!(text.contains("once more: the labels were wrong"), "{text}");
    assert_eq!(openings(&house.manifest(&trained["version"])).len(), 2);
    let page = fs::read_to_string(house.page(&trained["version"])).unwrap();
    assert!(page.contains("2 times: only the first") && page.contains("the labels were wrong"));
}

#[test]
fn a_test_frame_that_changed_is_named_and_the_split_stays_sealed() {
    let house = House::of_spots();
    let trained = house.train(&["--test", "labelled"]);
    let frame = first_file(&house.path("labelled/normal"));
    let bytes = fs::read(&frame).unwrap();
    fs::copy(first_file(&house.path("data/normal")), &frame).unwrap();
    let name = frame.file_name().unwrap().to_str().unwrap();
    refused(&house, &["--test"], 5, name);
    fs::write(&frame, bytes).unwrap();
    let list = house.path("models/spots").join(trained["version"].as_str().unwrap()).join("test.csv");
    let text = fs::read_to_string(&list).unwrap();
    fs::write(&list, text.replacen("normal", "alpha_blob", 1)).unwrap();
    refused(&house, &["--test"], 4, "test.csv");
    fs::write(&list, text).unwrap();
    assert!(openings(&house.manifest(&trained["version"])).is_empty());
    evaluate(&house, &["--test"]);
}

#[test]
fn a_frame_sealed_for_test_is_not_trained_on() {
    let house = House::of_spots();
    let alone = house.train(&[]);
    fs::copy(first_file(&house.path("labelled/normal")), house.path("data/normal/copy.png")).unwrap();
    let with_test = house.train(&["--test", "labelled"]);
    let frames = |manifest: &Value| manifest["data"]["frames"].as_u64().unwrap();
    assert_eq!(frames(&alone), frames(&with_test));
}
