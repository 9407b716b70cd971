//! Models that learn from labels, from the command line: classes from folders and tables, draws from a class, classes in reports.

use std::fs;

use super::workshop::{House, SPOTS};

const PIPELINE: &str = r#"
[input]
size = 16
channels = 1
scaling = { kind = "linear", black = 0, white = 255 }
clip = true

[model]
kind = "dense"
channels = [32]
norm = "none"
latent = { kind = "vector", dim = 4 }
beta = 1.0
likelihood = { kind = "bernoulli" }

[model.labels]
head = 10.0
prior = true

[training]
seed = 1
epochs = 12
batch_size = 16
learning_rate = 5e-3
weight_decay = 1e-4
clip_norm = 100.0
warmup_epochs = 1
patience = 12
split = [0.5, 0.2, 0.3]

[score]
components = ["excess_nll", "latent_mahalanobis", "kl"]

[calibration]
alpha = 0.2
delta = 0.2
"#;

/// A frame with a bright left or upper half, no two the same.
fn half(class: &str, index: usize) -> Vec<u8> {
    let bright = |at: usize| if class == "left" { at % 16 < 8 } else { at / 16 < 8 };
    let value = |at: usize| if bright(at) { 150 + (at * 7 + index * 13) % 100 } else { (at * 3 + index * 11) % 60 };
    let pixels: Vec<f32> = (0..256).map(|at| value(at) as f32).collect();
    anomalyd::draw::png::png16(16, 16, 1, &pixels).bytes
}

/// Two folders of frames, some frames beside them, and a pipeline with labels.
fn house() -> House {
    let house = House::of("halves", PIPELINE);
    for (folder, class, count) in [("frames/left", "left", 60), ("frames/upper", "upper", 60), ("frames", "upper", 20)]
    {
        fs::create_dir_all(house.path(folder)).unwrap();
        for index in 0..count {
            let name = format!("{folder}/{class}-{index}.png");
            fs::write(house.path(&name), half(class, index + if folder == "frames" { 500 } else { 0 })).unwrap();
        }
    }
    house
}

#[test]
fn folders_are_classes_that_reports_and_draws_know() {
    let house = house();
    let manifest = house.json(&["train", "halves", "--data", "frames", "--json"]);
    let classes = &manifest["data"]["classes"];
    assert_eq!(classes["names"], serde_json::json!(["left", "upper"]));
    assert_eq!((&classes["frames"], &classes["unlabelled"]), (&serde_json::json!([60, 60]), &20.into()));
    let kept = &manifest["history"]["epochs"][manifest["history"]["best"].as_u64().unwrap() as usize - 1];
    assert!(kept["validation_head"]["accuracy"].as_f64().unwrap() > 0.9, "{kept}");

    house.succeed(&["score", "halves", "frames/left"]);
    let rows = house.query("SELECT class, class_probability FROM scores");
    let left = rows.iter().filter(|row| row["class"] == "left").count();
    assert!(rows.len() == 60 && left > 50, "{left} of {}", rows.len());
    assert!(rows[0]["class_probability"].as_f64().unwrap() > 0.5);

    let drawn = house.json(&["generate", "halves", "--label", "left", "--count", "4", "--out", "a.png", "--json"]);
    assert_eq!(drawn["drawn_from"], "the prior of class left");
    let all = house.succeed(&["generate", "halves", "--count", "4", "--out", "b.png"]);
    assert!(all.contains("the priors of 2 classes in turn"), "{all}");
    let plain = ["generate", "halves", "--from", "normal", "--count", "4", "--out", "n.png", "--json"];
    assert_eq!(house.json(&plain)["drawn_from"], "N(0, 1), which is no prior of this model");
    assert_ne!(fs::read(house.path("a.png")).unwrap(), fs::read(house.path("b.png")).unwrap());
    house.refuse(&["generate", "halves", "--label", "right", "--out", "c.png"], 2, "left, upper");
}

#[test]
fn a_retrain_keeps_the_classes_and_refuses_others() {
    let house = house();
    house.json(&["train", "halves", "--data", "frames", "--epochs", "2", "--json"]);
    let again = house.json(&["retrain", "halves", "--epochs", "1", "--json"]);
    assert_eq!(again["data"]["classes"]["unlabelled"], 20);
    fs::rename(house.path("frames/upper"), house.path("frames/top")).unwrap();
    house.refuse(&["retrain", "halves", "--epochs", "1"], 5, "the labels top are not among the classes");
    let fresh = house.json(&["retrain", "halves", "--epochs", "1", "--from", "scratch", "--json"]);
    assert_eq!(fresh["data"]["classes"]["names"], serde_json::json!(["left", "top"]));
}

#[test]
fn a_table_names_classes_and_labels_without_a_use_are_refused() {
    let house = house();
    let mut table = "file,label\n".to_string();
    (0..60).for_each(|index| table.push_str(&format!("left-{index}.png,L\nupper/upper-{index}.png,U\n")));
    fs::write(house.path("labels.csv"), table).unwrap();
    fs::write(house.path("spots.toml"), SPOTS).unwrap();
    let labelled = ["--data", "frames", "--labels", "labels.csv", "--epochs", "1", "--json"];
    let manifest = house.json(&[&["train", "halves"][..], &labelled].concat());
    assert_eq!(manifest["data"]["classes"]["names"], serde_json::json!(["L", "U"]));
    assert_eq!(manifest["data"]["classes"]["unlabelled"], 20);
    house.refuse(&[&["train", "spots"][..], &labelled].concat(), 2, "--labels without --normal-label");
    house.refuse(&["train", "halves", "--data", "frames/left"], 5, "all of one class, left");
    let test = ["--test", "frames", "--test-labels", "labels.csv"];
    house.refuse(
        &[&["train", "halves"], &labelled[..], &test].concat(),
        5,
        "60 of L, 60 of U would be sealed as anomalous",
    );
}
