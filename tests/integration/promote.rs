//! A promotion while the service runs: it takes the new version between two batches, or goes on with the old one and says so.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use polars::prelude::*;

use super::watch::{House, has_model, image, wait_until};

const FIRST: &str = "0001-f8934809";
const SECOND: &str = "0002-f8934809";

/// A house with two versions of the shipped model: the second knows one calibration frame less.
fn house() -> House {
    let mut house = House::new();
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/digits");
    house.models = house.path("models");
    let home = house.models.join("digits");
    for version in [FIRST, SECOND] {
        fs::create_dir_all(home.join(version)).unwrap();
        for file in fs::read_dir(shipped.join(FIRST)).unwrap() {
            let file = file.unwrap();
            fs::copy(file.path(), home.join(version).join(file.file_name())).unwrap();
        }
    }
    fs::write(home.join("current"), FIRST).unwrap();
    let calibration = home.join(SECOND).join("calibration.parquet");
    let old = blake3::hash(&fs::read(&calibration).unwrap()).to_hex().to_string();
    let rows = ParquetReader::new(fs::File::open(&calibration).unwrap()).finish().unwrap();
    let mut fewer = rows.head(Some(rows.height() - 1));
    ParquetWriter::new(fs::File::create(&calibration).unwrap()).finish(&mut fewer).unwrap();
    let new = blake3::hash(&fs::read(&calibration).unwrap()).to_hex().to_string();
    let manifest = home.join(SECOND).join("manifest.toml");
    let text = fs::read_to_string(&manifest).unwrap();
    assert!(text.contains(&old));
    fs::write(manifest, text.replace(&old, &new).replace(FIRST, SECOND)).unwrap();
    house
}

fn promote(house: &House, version: &str) {
    let output = house.run(&["models", "promote", "digits", version, "--reason", "a test"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// Images with contents of their own.
fn drop_images(house: &House, numbers: std::ops::Range<usize>) {
    for number in numbers {
        let mut pixels = vec![0.0; 28 * 28];
        for bit in 0..11 {
            pixels[300 + 2 * bit] = if number >> bit & 1 == 1 { 250.0 } else { 90.0 };
        }
        let bytes = anomalyd::draw::png::png16(28, 28, 1, &pixels).bytes;
        fs::write(house.path("new.tmp"), bytes).unwrap();
        fs::rename(house.path("new.tmp"), house.path(&format!("inbox/{number}.png"))).unwrap();
    }
}

/// The versions that scored each file.
fn scored(house: &House) -> BTreeMap<String, Vec<String>> {
    let output = house.run(&["query", "SELECT source, model_version FROM scores", "--format", "csv"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let mut files: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for line in String::from_utf8(output.stdout).unwrap().lines().skip(1) {
        let (source, version) = line.split_once(',').unwrap();
        files.entry(source.into()).or_default().push(version.into());
    }
    files
}

#[test]
fn a_promotion_in_the_middle_loses_no_frame_and_scores_none_twice() {
    if !has_model() {
        return;
    }
    let house = house();
    let mut daemon = house.start();
    drop_images(&house, 0..1000);
    house.wait_for_some();
    promote(&house, "2");
    drop_images(&house, 1000..1800);
    daemon.wait_for(&format!("digits@{SECOND}"));
    drop_images(&house, 1800..2000);
    house.wait_for(2000);
    let files = scored(&house);
    assert_eq!(files.len(), 2000);
    assert!(files.values().all(|versions| versions.len() == 1), "each has one row");
    for version in [FIRST, SECOND] {
        assert!(files.values().any(|versions| versions[0] == version), "{version} scored none");
    }
    assert!((1800..2000).all(|number| files[&format!("{number}.png")] == [SECOND]));
    daemon.signal(rustix::process::Signal::TERM);
    assert!(daemon.child.wait().unwrap().success());
    // The next start knows what the version before has scored, too; who asks for it is judged again.
    assert!(house.run(&["watch", "--once"]).status.success());
    assert_eq!(scored(&house), files);
    house.write_pipeline("rejudge = true");
    assert!(house.run(&["watch", "--once"]).status.success());
    assert!(scored(&house).values().all(|versions| versions.iter().filter(|version| *version == SECOND).count() == 1));
}

/// Images of two kinds, a folder each.
fn write_kinds(house: &House) {
    for number in 0..60 {
        let (kind, step) = if number % 2 == 0 { ("columns", 28) } else { ("rows", 1) };
        let mut pixels = vec![0.0; 28 * 28];
        (0..28).for_each(|at| pixels[at * step + (number / 2 % 28) * (29 - step)] = 255.0);
        pixels[0] = number as f32;
        fs::create_dir_all(house.path(&format!("kinds/{kind}"))).unwrap();
        let bytes = anomalyd::draw::png::png16(28, 28, 1, &pixels).bytes;
        fs::write(house.path(&format!("kinds/{kind}/{number}.png")), bytes).unwrap();
    }
}

#[test]
fn a_classifier_is_taken_by_a_service_that_runs() {
    if !has_model() {
        return;
    }
    let house = house();
    write_kinds(&house);
    let daemon = house.start();
    let train = ["classify", "train", "digits", "--data", "kinds", "--network", "lenet5", "--epochs", "1", "--json"];
    let output = house.run(&[&train[..], &["--split", "0.5,0.5,0", "--precision", "0.1"]].concat());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let card: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let version = card["version"].as_str().unwrap();
    daemon.wait_for(&format!("classifier {version} instead of none"));
    drop_images(&house, 0..20);
    house.wait_for(20);
    let sql = "SELECT DISTINCT classifier_version FROM anomalies";
    let named = house.run(&["query", sql, "--format", "csv"]);
    assert_eq!(String::from_utf8(named.stdout).unwrap(), format!("classifier_version\n{version}\n"));
}

#[test]
fn a_version_that_does_not_load_is_said_and_the_old_one_goes_on() {
    if !has_model() {
        return;
    }
    let house = house();
    let daemon = house.start();
    let weights = house.models.join("digits").join(SECOND).join("weights.safetensors");
    let whole = fs::read(&weights).unwrap();
    fs::write(&weights, b"torn").unwrap();
    let refused = house.run(&["models", "promote", "digits", SECOND, "--reason", "a test"]);
    assert_eq!(refused.status.code(), Some(4), "a damaged version is not promoted");
    // Damaged after its promotion, or named by hand.
    fs::write(house.models.join("digits/current"), SECOND).unwrap();
    let held = |house: &House| house.status()["conditions"].as_array().unwrap().clone();
    wait_until("the reload is refused", || held(&house).iter().any(|held| held["reason"] == "reload_failed"));
    daemon.wait_for("going on with the old pipelines and models");
    fs::write(house.path("inbox/a.png"), image(1)).unwrap();
    house.wait_for(1);
    assert_eq!(scored(&house)["a.png"], [FIRST]);
    promote(&house, FIRST);
    wait_until("the way back is seen", || held(&house).is_empty());
    // Damaged once more, and promoted anew when it is mended.
    fs::write(&weights, b"torn").unwrap();
    fs::write(house.models.join("digits/current"), SECOND).unwrap();
    wait_until("the reload is refused again", || held(&house).iter().any(|held| held["reason"] == "reload_failed"));
    fs::write(&weights, whole).unwrap();
    promote(&house, SECOND);
    wait_until("it is taken", || held(&house).is_empty());
    daemon.wait_for(&format!("digits@{SECOND}"));
}
