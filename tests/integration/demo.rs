//! The demo from end to end: the real service, the shipped models, the shipped samples.

use std::fs;
use std::path::Path;

use assert_cmd::Command;

#[test]
fn the_demo_judges_every_sample_and_leaves_its_pictures_and_tables() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let needed = ["models/telescope/current", "models/detector/current", "samples/telescope/truth.csv"];
    if let Some(missing) = needed.iter().find(|path| !root.join(path).exists()) {
        eprintln!("SKIPPED: no {missing}");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::cargo_bin("anomalyd").unwrap();
    let output = command.current_dir(root).arg("demo").arg("--keep").arg(folder.path()).assert().success();
    let text = String::from_utf8_lossy(&output.get_output().stdout).into_owned();
    assert!(text.contains("FLAGGED") && text.contains("try next"), "{text}");
    assert!(fs::read(folder.path().join("flagged.png")).unwrap().starts_with(b"\x89PNG"));
    assert!(folder.path().join("state/reports/scores/pipeline=telescope").is_dir());
}
