//! Which frames are taken: of simulations the frames alone, and those that a version has met before not without a word.

use std::fs;

use serde_json::{Value, json};

use super::workshop::{House, SPOTS};

/// A house whose pipeline seals nothing by itself, with a simulation that has all there can be beside its frames.
fn house() -> House {
    let house = House::of("spots", &SPOTS.replace("[0.4, 0.2, 0.3, 0.1]", "[0.4, 0.2, 0.4]"));
    simulate(&house, "sim", "21", "100");
    house
}

fn simulate(house: &House, out: &str, seed: &str, count: &str) {
    let how =
        ["--anomalies", "0.4", "--size", "64", "--masks", "--clean", "--seed", seed, "--count", count, "--out", out];
    house.succeed(&[&["simulate", "detector"], &how[..]].concat());
}

fn kinds(found: &Value) -> Vec<&str> {
    found.as_object().unwrap().keys().map(String::as_str).collect()
}

const KINDS: [&str; 4] = ["alpha_blob", "dead_region", "double_track", "noisy_column"];

#[test]
fn of_a_simulation_its_frames_alone_are_taken_as_its_truth_table_says() {
    let house = house();
    simulate(&house, "other", "22", "20");
    let train = ["train", "spots", "--epochs", "1", "--json", "--data"];
    let trained = house.json(&[&train[..], &["sim", "--test", "other"]].concat());
    assert_eq!((&trained["data"]["frames"], &trained["data"]["rejected"]), (&60.into(), &0.into()));
    let sealed = &trained["data"]["test"];
    assert_eq!((&sealed["normal"], &sealed["anomalous"]), (&12.into(), &8.into()));
    assert_eq!(kinds(&sealed["kinds"]), KINDS);
    house.refuse(&[&train[..], &["other", "--test", "other"]].concat(), 5, "all 12 frames given are sealed for test");
    house.refuse(&[&train[..], &["sim/masks"]].concat(), 2, "masks of a simulation are no frames");
    house.refuse(&[&train[..], &["sim/frames", "sim/clean"]].concat(), 2, "--clean");

    simulate(&house, "third", "23", "30");
    let found = house.json(&["evaluate", "spots", "--normal", "third", "--anomalous", "third", "--json"]);
    assert_eq!((&found["normal"], &found["anomalous"]), (&18.into(), &12.into()));
    assert_eq!(kinds(&found["kinds"]), KINDS);
    let scored = house.json(&["score", "spots", "third", "--json"]);
    assert_eq!(scored["rejected"], 0, "the truth tables are no images: {scored}");
    let rows = house.query("SELECT source FROM scores");
    assert_eq!(rows.len(), 30);
    assert!(rows.iter().all(|row| row["source"].as_str().unwrap().contains("third/frames/")), "{rows:?}");
    house.refuse(&["score", "spots", "third/masks"], 2, "no frames");
}

#[test]
fn figures_of_frames_that_made_the_version_are_called_too_good() {
    let house = house();
    house.succeed(&["train", "spots", "--epochs", "1", "--data", "sim"]);
    simulate(&house, "other", "22", "20");
    let evaluate = |normal: &str| ["evaluate", "spots", "--normal", normal, "--anomalous", "other"].map(str::to_string);
    let run = |normal: &str, json: &[&str]| {
        let arguments = evaluate(normal);
        house.succeed(&[&arguments.each_ref().map(String::as_str)[..], json].concat())
    };
    let found: Value = serde_json::from_str(&run("sim", &["--json"])).unwrap();
    let count = |part: &str| found["overlap"][part].as_u64().unwrap();
    assert_eq!((count("frames"), count("train") + count("validation") + count("calibration")), (68, 60));
    assert!(count("train") > 10 && count("calibration") > 10, "{}", found["overlap"]);
    assert!(run("sim", &[]).contains("60 of the 68 frames are among those that the version was made from"));
    let other: Value = serde_json::from_str(&run("other", &["--json"])).unwrap();
    assert_eq!(other["overlap"], json!({ "frames": 20, "train": 0, "validation": 0, "calibration": 0 }));
    assert!(!run("other", &[]).contains("warning"));
    let denoise = |clean: &str| ["denoise", "spots", "--noisy", "sim", "--clean", clean].map(str::to_string);
    let said = house.succeed(&denoise("sim").each_ref().map(String::as_str));
    assert!(said.contains("warning: 60 of the 100 frames"), "{said}");
}

#[test]
fn figures_of_sealed_frames_are_told_on_record_alone() {
    let house = house();
    simulate(&house, "other", "22", "20");
    let trained = house.json(&["train", "spots", "--epochs", "1", "--json", "--data", "sim", "--test", "other"]);
    let look = ["evaluate", "spots", "--normal", "sim", "--anomalous", "other"];
    house.refuse(&look, 2, "sealed for test with version 0001-");
    let labelled = ["--data", "other", "--labels", "other/truth.csv", "--normal-label", "normal"];
    house.refuse(&[&["evaluate", "spots"], &labelled[..]].concat(), 2, "as 20 of the frames given");
    house.succeed(&["evaluate", "spots", "--test"]);
    house.refuse(&look, 2, "--reopen WHY");
    let sealed = &house.manifest(&trained["version"])["data"]["test"];
    assert_eq!(sealed["openings"].as_array().unwrap().len(), 1);
}

#[test]
fn sealed_anomalies_do_not_judge_and_it_is_said() {
    let house = house();
    simulate(&house, "large", "25", "160");
    simulate(&house, "other", "22", "20");
    let train = ["train", "spots", "--epochs", "1", "--json", "--data", "large", "--test", "other"];
    house.json(&train);
    house.refuse(&[&train[..], &["--gate-anomalous", "other"]].concat(), 5, "all 8 frames are sealed for test");
    simulate(&house, "known", "24", "60");
    let both = house.run(&[&train[..], &["--seed", "2", "--gate-anomalous", "other", "known"]].concat());
    let said = String::from_utf8_lossy(&both.stderr).into_owned();
    assert!(said.contains("what is sealed for test is left out; the others judge"), "{said}");
    let verdict = &serde_json::from_slice::<Value>(&both.stdout).unwrap()["promotion"]["verdict"];
    assert_eq!((&verdict["anomalies"], kinds(&verdict["kinds"])), (&"given".into(), KINDS.to_vec()));
    assert!(verdict["not_judged"].to_string().contains("8 known anomalies: they are sealed for test"), "{verdict}");
}

#[test]
fn a_test_split_without_normal_frames_is_refused_before_training_and_never_opened() {
    let house = house();
    simulate(&house, "other", "22", "20");
    house.simulate("detector", "odd", &["--seed", "5", "--count", "8", "--anomalies", "1", "--size", "64"]);
    let train = ["train", "spots", "--epochs", "1", "--json", "--data", "sim", "--test"];
    house.refuse(&[&train[..], &["odd"]].concat(), 5, "no normal frame, but 2 of alpha_blob");
    assert!(!house.path("models").exists());
    let trained = house.json(&[&train[..], &["other"]].concat());
    let version = house.path("models/spots").join(trained["version"].as_str().unwrap()).join("manifest.toml");
    let text = fs::read_to_string(&version).unwrap();
    fs::write(&version, text.replacen("normal = 12", "normal = 0", 1)).unwrap();
    house.refuse(&["evaluate", "spots", "--test"], 4, "no normal one");
    assert!(house.manifest(&trained["version"])["data"]["test"]["openings"].as_array().unwrap().is_empty());
}
