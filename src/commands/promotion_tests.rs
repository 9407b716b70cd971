//! Promotion where another version came first, and labels that cannot be read.

use std::fs;
use std::path::Path;

use super::*;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");
const SHIPPED: &str = "0001-f8934809";

/// A models folder of its own with the shipped version of digits, which is not the current one yet.
fn shipped(root: &Path) -> (Settings, Pipeline, Manifest) {
    let (from, to) = (Path::new(ROOT).join("models/digits").join(SHIPPED), root.join("digits").join(SHIPPED));
    fs::create_dir_all(&to).unwrap();
    for file in fs::read_dir(&from).unwrap().flatten() {
        fs::copy(file.path(), to.join(file.file_name())).unwrap();
    }
    let settings =
        Settings { models: root.to_path_buf(), state: root.join("state"), device: "cpu".into(), ..Settings::default() };
    let pipeline = Pipeline::load("digits", &Path::new(ROOT).join("pipelines")).unwrap();
    (settings, pipeline, store::read_manifest(&to).unwrap())
}

#[test]
fn who_was_held_against_another_version_than_the_current_one_waits() {
    let root = tempfile::tempdir().unwrap();
    let (settings, pipeline, manifest) = shipped(root.path());
    let settle = |rival: Option<&str>, pipeline: &Pipeline| {
        let rival = rival.map(|name| Rival { name: name.into(), bout: None });
        super::settle(pipeline, &manifest, rival, &Known::default(), &settings).unwrap()
    };
    let put = |name: &str| fs::write(root.path().join("digits/current"), name).unwrap();
    let current = || store::current(&settings.models, "digits").unwrap().unwrap();
    assert_eq!((settle(None, &pipeline).event, current()), (Event::Promoted, SHIPPED.into()));
    put("0002-other");
    for before in [None, Some("0000-older")] {
        let outcome = settle(before, &pipeline);
        assert_eq!((outcome.event, current()), (Event::Waits, "0002-other".into()));
        assert!(outcome.reason.contains("0002-other has become the current version since"), "{}", outcome.reason);
    }
    // The current one does not load: who wants to decide is asked all the same.
    let mut manual = pipeline.clone();
    manual.spec.training.promote = Promotion::Manual;
    assert_eq!((settle(Some("0002-other"), &manual).event, current()), (Event::Waits, "0002-other".into()));
    assert_eq!((settle(Some("0002-other"), &pipeline).event, current()), (Event::Promoted, SHIPPED.into()));
}

#[test]
fn labels_that_cannot_be_read_stop_no_training() {
    let root = tempfile::tempdir().unwrap();
    let (settings, pipeline, _) = shipped(root.path());
    fs::create_dir_all(&settings.state).unwrap();
    fs::write(settings.state.join("labels.sqlite"), "no database").unwrap();
    fs::write(root.path().join("digits/current"), SHIPPED).unwrap();
    let rival = Rival::find(&pipeline, &pipeline.spec, &Material::default(), &settings).unwrap();
    assert!(rival.as_ref().is_some_and(|rival| rival.bout.is_some()));
    let args = GateArgs { gate_anomalous: Vec::new() };
    for rival in [None, rival.as_ref()] {
        let known = known(&pipeline, rival, &args, &Given::default(), &settings).unwrap();
        assert!(known.given.is_empty() && known.labelled.is_empty());
    }
}
