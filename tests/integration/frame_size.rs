//! Frames of another size than a model was calibrated on: they are scored, and nothing is certified for them. Takes the shipped model of
//! `telescope`, which knows frames of 512 x 512 pixels.

use std::path::Path;
use std::process::Output;

use super::watch::{House, has_model};

const CALIBRATED: &str = "8x8 tiles (512x512 pixels)";

/// What a command says, which must end well.
fn said(output: Output) -> (String, String) {
    let [out, err] = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap());
    assert!(output.status.success(), "{out}{err}");
    (out, err)
}

/// A house with the telescope's pipeline, and `count` frames without anomalies of each size in folders of their own.
fn house(sizes: &[(&str, usize)], count: &str) -> House {
    let house = House::new();
    let text = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("pipelines/telescope.toml")).unwrap();
    let text = format!("inbox = {:?}\n{text}\n[watch]\nsettle_ms = 100\n", house.path("inbox"));
    std::fs::write(house.path("pipelines/telescope.toml"), text).unwrap();
    for (name, size) in sizes {
        let (out, size) = (house.path(name), size.to_string());
        let seed = ["--seed", &size, "--size", &size, "--anomalies", "0"];
        let arguments =
            [&["simulate", "telescope", "--count", count, "--out", out.to_str().unwrap()], &seed[..]].concat();
        said(house.run(&arguments));
    }
    house
}

fn rows(house: &House) -> Vec<String> {
    let sql = "SELECT width, certificate_void, void_reason, COUNT(*) AS frames FROM scores \
               GROUP BY width, certificate_void, void_reason ORDER BY width";
    said(house.run(&["query", sql, "--format", "csv"])).0.lines().skip(1).map(ToString::to_string).collect()
}

#[test]
fn rows_the_log_and_the_figures_say_so() {
    if !has_model() {
        return;
    }
    let house = house(&[("small", 128), ("calibrated", 512)], "3");
    let (out, err) = said(house.run(&["score", "telescope", "small/frames", "calibrated/frames", "--json"]));
    let summary: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!((&summary["scored"], &summary["other_sizes"]), (&6.into(), &3.into()));
    let detail = format!("the frame is 2x2 tiles (128x128 pixels), the model is calibrated on {CALIBRATED}");
    let is_warning =
        |line: &&str| ["no certificate", &detail, ".fits", "train a version"].iter().all(|word| line.contains(word));
    assert_eq!(err.lines().filter(is_warning).count(), 3, "{err}");
    assert_eq!(rows(&house), ["128,true,frame_size,3", "512,false,,3"]);

    // Their truth table would call them normal.
    std::fs::remove_file(house.path("calibrated/truth.csv")).unwrap();
    let evaluate = ["evaluate", "telescope", "--normal", "small/frames", "--anomalous"];
    let figures = said(house.run(&[&evaluate[..], &["calibrated/frames", "--json"]].concat())).0;
    let figures: serde_json::Value = serde_json::from_str(&figures).unwrap();
    assert_eq!(figures["other_sizes"], 3);
    let text = said(house.run(&[&evaluate[..], &["calibrated/frames"]].concat())).0;
    assert!(text.contains(&format!("3 of them are of other sizes than those calibrated on, {CALIBRATED}")), "{text}");
    let text = said(house.run(&["check", "telescope"])).0;
    assert!(text.contains(&format!("alpha 0.01 is certified for frames of {CALIBRATED}")), "{text}");
}

#[test]
fn they_are_no_evidence_of_drift() {
    if !has_model() {
        return;
    }
    let house = house(&[("small", 64), ("calibrated", 512)], "4");
    for folder in ["small", "calibrated"] {
        for entry in std::fs::read_dir(house.path(folder).join("frames")).unwrap().flatten() {
            let name = format!("inbox/{folder}-{}", entry.file_name().to_str().unwrap());
            std::fs::copy(entry.path(), house.path(&name)).unwrap();
        }
    }
    said(house.run(&["watch", "telescope", "--once"]));
    assert_eq!(rows(&house), ["64,true,frame_size,4", "512,false,,4"]);
    assert_eq!(house.status()["pipelines"]["telescope"]["drift"]["frames"], 4);
}

#[test]
fn of_a_version_that_did_not_record_its_sizes_nothing_is_said_but_that() {
    if !has_model() {
        return;
    }
    let mut house = house(&[("small", 128)], "1");
    let shipped = house.models.join("telescope");
    house.models = house.path("models");
    let version = std::fs::read_to_string(shipped.join("current")).unwrap();
    let (from, to) = (shipped.join(version.trim()), house.models.join("telescope").join(version.trim()));
    std::fs::create_dir_all(&to).unwrap();
    std::fs::copy(shipped.join("current"), house.models.join("telescope/current")).unwrap();
    for entry in std::fs::read_dir(&from).unwrap().flatten() {
        std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
    let manifest = to.join("manifest.toml");
    let mut old: toml::Table = std::fs::read_to_string(&manifest).unwrap().parse().unwrap();
    assert!(old["data"].as_table_mut().unwrap().remove("sizes").is_some());
    std::fs::write(&manifest, old.to_string()).unwrap();
    let (out, err) = said(house.run(&["score", "telescope", "small/frames", "--json"]));
    let summary: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!((&summary["scored"], &summary["other_sizes"]), (&1.into(), &0.into()));
    let unknown = "does not say on frames of which sizes it was calibrated";
    assert_eq!(err.matches(unknown).count(), 1, "{err}");
    assert_eq!(rows(&house), ["128,false,,1"]);
    let text = said(house.run(&["check", "telescope"])).0;
    assert!(text.lines().any(|line| line.starts_with("warning: ") && line.contains(unknown)), "{text}");
}

#[test]
fn what_is_trained_records_its_sizes_and_says_what_they_make_of_the_score() {
    let mut house = house(&[("one", 64), ("four", 128)], "200");
    house.models = house.path("models");
    let pipeline = house.path("pipelines/telescope.toml");
    let text = std::fs::read_to_string(&pipeline).unwrap();
    let quick = text.replace("alpha = 0.01", "alpha = 0.05").replace("epochs = 12", "epochs = 1");
    std::fs::write(&pipeline, quick).unwrap();
    let (out, err) = said(house.run(&["train", "telescope", "--data", "one/frames"]));
    assert!(out.contains("certified    for frames of 1 tile (64x64 pixels)\n"), "{out}");
    assert!(err.contains("every frame is one tile") && err.contains("score.frame_spreads"), "{err}");
    let out = said(house.run(&["score", "telescope", "four/frames"])).0;
    assert!(out.contains("uncovered 200 of other sizes"), "{out}");
}
