//! Versions made of nothing but a manifest.

use super::*;

/// Puts a version of digits whose files hold a word each.
pub fn put(root: &Path, version: &str) {
    let shipped = include_str!("../../models/digits/0001-f8934809/manifest.toml");
    let folder = root.join("digits").join(version);
    fs::create_dir_all(&folder).unwrap();
    let mut manifest: toml::Table = toml::from_str(shipped).unwrap();
    let mut digests = toml::Table::new();
    for file in ["weights.safetensors", "reference.msgpack", "calibration.parquet"] {
        fs::write(folder.join(file), version).unwrap();
        digests.insert(file.into(), blake3::hash(version.as_bytes()).to_hex().to_string().into());
    }
    manifest.insert("version".into(), version.into());
    manifest.insert("digests".into(), digests.into());
    fs::write(folder.join("manifest.toml"), toml::to_string(&manifest).unwrap()).unwrap();
}

fn shelf(root: &Path, versions: &[&str]) -> Shelf {
    versions.iter().for_each(|version| put(root, version));
    Shelf::open(root, "digits").unwrap()
}

#[test]
fn promotion_and_the_way_back_are_recorded() {
    let root = tempfile::tempdir().unwrap();
    let shelf = shelf(root.path(), &["0001-aaaa", "0002-bbbb", "0010-bbcc"]);
    let now = || current(root.path(), "digits").unwrap();
    assert_eq!(now(), None);
    shelf.promote("0001-aaaa", Event::Promoted, "the first", None).unwrap();
    shelf.promote(&shelf.find("2").unwrap(), Event::Promoted, "better", None).unwrap();
    assert_eq!(now().as_deref(), Some("0002-bbbb"));
    assert!(!shelf.promote("0002-bbbb", Event::Promoted, "once more", None).unwrap(), "it is the current one");
    assert_eq!(shelf.roll_back("worse at night").unwrap(), "0001-aaaa");
    assert_eq!(now().as_deref(), Some("0001-aaaa"));
    assert_eq!(shelf.roll_back("again").unwrap_err().kind, Kind::Model);
    let entries = History::read(&root.path().join("digits")).unwrap().entries;
    let told: Vec<_> = entries.iter().map(|entry| (entry.event, &*entry.version, entry.before.as_deref())).collect();
    assert_eq!(
        told,
        [
            (Event::Promoted, "0001-aaaa", None),
            (Event::Promoted, "0002-bbbb", Some("0001-aaaa")),
            (Event::RolledBack, "0001-aaaa", Some("0002-bbbb")),
        ]
    );
    assert_eq!(entries[2].reason, "worse at night");
}

#[test]
fn a_name_may_be_cut_short_but_not_guessed() {
    let root = tempfile::tempdir().unwrap();
    let shelf = shelf(root.path(), &["0001-aaaa", "0010-bbcc", "0010-bbdd"]);
    assert_eq!(shelf.find("1").unwrap(), "0001-aaaa");
    assert_eq!(shelf.find("0010-bbd").unwrap(), "0010-bbdd");
    assert!(shelf.find("10").unwrap_err().message.contains("several"));
    assert!(shelf.find("7").unwrap_err().hint.unwrap().contains("0010-bbcc"));
}

#[test]
fn what_is_no_version_is_not_promoted() {
    let root = tempfile::tempdir().unwrap();
    let shelf = shelf(root.path(), &["0001-aaaa"]);
    fs::create_dir(root.path().join("digits/0002-empty")).unwrap();
    put(root.path(), "0003-torn");
    fs::write(root.path().join("digits/0003-torn/weights.safetensors"), "torn").unwrap();
    for (version, file) in [("0002-empty", "manifest.toml"), ("0003-torn", "weights.safetensors")] {
        let failure = shelf.promote(version, Event::Promoted, "why", None).unwrap_err();
        assert!(failure.kind == Kind::Model && failure.message.contains(file), "{failure}");
    }
    assert_eq!(current(root.path(), "digits").unwrap(), None);
}

#[test]
fn what_is_pruned_is_gone_and_recorded() {
    let root = tempfile::tempdir().unwrap();
    let shelf = shelf(root.path(), &["0001-aaaa", "0002-bbbb"]);
    shelf.remove("0001-aaaa", "old").unwrap();
    assert_eq!(names(&root.path().join("digits")).unwrap(), ["0002-bbbb"]);
    let history = History::read(&root.path().join("digits")).unwrap();
    assert_eq!(history.last_of("0001-aaaa").unwrap().event, Event::Pruned);
}
