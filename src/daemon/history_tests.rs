//! Random histories, a ledger made anew from their reports, and the same inbox once more.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use proptest::prelude::*;

use super::tests::{House, rows, spawn_victim, texts, touch};
use crate::ledger::{Lock, Rebuilt, check, rebuild};

/// Something that happens to an inbox.
#[derive(Debug, Clone)]
enum Event {
    /// A content appears under a name.
    Drop { name: u8, content: u8 },
    /// A file gets another time.
    Touch { name: u8 },
    /// A file is gone.
    Remove { name: u8 },
    /// The inbox is drained by a model.
    Drain { model: &'static str },
    /// A process is killed after so many milliseconds.
    Kill { after: u64 },
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        6 => (0..8u8, 0..8u8).prop_map(|(name, content)| Event::Drop { name, content }),
        1 => (0..8u8).prop_map(|name| Event::Touch { name }),
        1 => (0..8u8).prop_map(|name| Event::Remove { name }),
        2 => prop_oneof![Just("m"), Just("n")].prop_map(|model| Event::Drain { model }),
        2 => (30..120u64).prop_map(|after| Event::Kill { after }),
    ]
}

/// Frames, files that are no image, frames of which some or all are blank.
fn content(number: u8) -> Vec<u8> {
    match number {
        0..3 => super::tests::png(100 + u16::from(number)),
        3 => b"no image at all".to_vec(),
        4 => Vec::new(),
        5 => cube(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0]),
        6 => cube(&[1.0, f32::NAN, 103.0, f32::NAN, 5.0]),
        _ => cube(&[f32::NAN; 4]),
    }
}

/// A NumPy stack: every pixel of a frame has one value.
fn cube(values: &[f32]) -> Vec<u8> {
    let header = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({}, 8, 8), }}", values.len());
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    let length = (10 + header.len() + 1).next_multiple_of(64) - 10;
    bytes.extend((length as u16).to_le_bytes());
    bytes.extend(format!("{header:<width$}\n", width = length - 1).into_bytes());
    for value in values {
        bytes.extend(value.to_le_bytes().repeat(64));
    }
    bytes
}

fn happen(house: &House, event: &Event) {
    let place = |name: &u8| house.inbox().join(format!("{name}.npy"));
    match event {
        Event::Drop { name, content: number } => std::fs::write(place(name), content(*number)).unwrap(),
        Event::Touch { name } if place(name).exists() => touch(&place(name), 1_000_000 + u64::from(*name)),
        Event::Touch { .. } => {}
        Event::Remove { name } => drop(std::fs::remove_file(place(name))),
        Event::Drain { model } => drop(house.once(model)),
        Event::Kill { after } => {
            let mut child = spawn_victim(house);
            std::thread::sleep(std::time::Duration::from_millis(*after));
            let _ = child.kill();
            child.wait().unwrap();
            // A ledger made anew does not know what processes died over, and no file is to blame here.
            super::work::blame_nobody(&house.settings.state);
        }
    }
}

/// Every row of the tables by what identifies it, and how often it is there.
fn stock(state: &Path) -> BTreeMap<String, usize> {
    let mut stock = BTreeMap::new();
    let keys: [(&str, &[&str]); 3] = [
        ("scores", &["frame_id"]),
        ("rejected", &["source", "file_digest", "frame_index", "model_digest"]),
        ("duplicates", &["source", "file_digest", "model_digest"]),
    ];
    // Which of several names is scored and which are duplicates is a matter of who was first.
    let (mut names, mut scored) = (BTreeSet::new(), BTreeSet::new());
    for (table, columns) in keys {
        let frame = rows(state, table);
        for at in 0..frame.height() {
            let value = |name: &&str| frame.column(name).unwrap().get(at).unwrap().to_string();
            let mut key: Vec<String> = columns.iter().map(value).collect();
            let content = (value(&"file_digest"), value(&"model_digest"));
            if table == "scores" {
                scored.insert(content);
            } else if table == "rejected" && key[2] != "null" && scored.contains(&content) {
                key[0].clear();
            }
            *stock.entry(format!("{table}: {}", key.join(" "))).or_default() += 1;
            if table != "rejected" {
                let name: Vec<String> = keys[2].1.iter().map(value).collect();
                names.insert(format!("named: {}", name.join(" ")));
            }
        }
    }
    assert!(stock.iter().all(|(key, count)| *count == 1 || !key.starts_with("duplicates")), "twice: {stock:?}");
    stock.retain(|key, _| !key.starts_with("duplicates"));
    stock.extend(names.into_iter().map(|name| (name, 1)));
    stock
}

fn renew(house: &House) -> Rebuilt {
    let _lock = Lock::take(&house.settings.state).unwrap();
    rebuild(&house.settings.state).unwrap()
}

fn drain(house: &House) {
    for model in ["m", "n"] {
        house.once(model);
    }
}

fn copy(from: &Path, to: &Path) {
    for entry in walkdir::WalkDir::new(from).into_iter().map(Result::unwrap) {
        let place = to.join(entry.path().strip_prefix(from).unwrap());
        if entry.file_type().is_dir() {
            std::fs::create_dir_all(place).unwrap();
        } else if entry.file_type().is_file() {
            // A killed process leaves its control socket.
            std::fs::copy(entry.path(), place).unwrap();
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, max_shrink_iters: 40, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn a_ledger_made_anew_from_the_reports_scores_nothing_twice_and_misses_nothing(
        events in proptest::collection::vec(event(), 4..14)
    ) {
        let mut house = House::new();
        house.settings.flush_rows = 2;
        events.iter().for_each(|event| happen(&house, event));
        // The same moment twice: once with the ledger there is, once with one made anew.
        let (with, without) = (house.settings.state.clone(), house.root.path().join("anew"));
        if !with.exists() {
            return Ok(());
        }
        copy(&with, &without);
        drain(&house);
        let wanted = stock(&with);
        prop_assert!(wanted.values().all(|count| *count == 1), "twice: {wanted:?}");
        house.settings.state = without.clone();
        renew(&house);
        drain(&house);
        prop_assert_eq!(&stock(&without), &wanted, "from where the history ended");
        // And once more, from where everything has been done.
        renew(&house);
        drain(&house);
        prop_assert_eq!(&stock(&without), &wanted, "from the end");
        let audit = check(&without).unwrap();
        prop_assert!(audit.findings.is_empty(), "{:?}", audit.findings);
    }
}

#[test]
fn a_rebuilt_ledger_keeps_the_old_one_and_counts_the_same() {
    let house = House::new();
    for (name, number) in [("a", 1), ("b", 1), ("c", 3), ("d", 6)] {
        std::fs::write(house.inbox().join(name), content(number)).unwrap();
    }
    house.once("m");
    let state = &house.settings.state;
    let counts = || crate::ledger::Reader::open(state).unwrap().counts("mean").unwrap();
    let before = counts();
    let rebuilt = renew(&house);
    assert_eq!((rebuilt.contents, rebuilt.rejected, rebuilt.duplicates, rebuilt.holes), (2, 1, 1, 0));
    let kept = rebuilt.kept.unwrap();
    assert!(
        rusqlite::Connection::open(&kept)
            .unwrap()
            .query_row("SELECT count(*) FROM files", [], |row| row.get::<_, i64>(0))
            .unwrap()
            >= 4
    );
    let after = counts();
    assert_eq!(
        (before.scored, before.flagged, before.rejected, before.duplicates),
        (after.scored, after.flagged, after.rejected, after.duplicates)
    );
    let again = house.once("m");
    assert_eq!((again.scored, again.rejected, again.files), (0, 0, 4), "each file is read once more");
    assert_eq!(house.once("m").files, 0);
    // A ledger that is gone altogether.
    std::fs::remove_file(state.join("ledger.sqlite")).unwrap();
    assert!(renew(&house).kept.is_none());
    assert_eq!(house.once("m").scored, 0);
}

#[test]
fn a_second_name_of_what_an_earlier_process_rejected_is_read_for_itself() {
    let mut house = House::new();
    house.settings.flush_rows = 2;
    std::fs::write(house.inbox().join("a"), content(7)).unwrap();
    house.once("m");
    renew(&house);
    // Their names say that "a" comes first; its frames are passed over now.
    for name in ["b", "c", "d"] {
        std::fs::write(house.inbox().join(name), content(7)).unwrap();
    }
    assert_eq!(house.once("m").unfinished, 0);
    let sources = texts(&rows(&house.settings.state, "rejected"), "source");
    assert_eq!(sources, ["a", "b", "c", "d"].iter().flat_map(|name| [*name; 4]).collect::<Vec<_>>());
}

#[test]
fn a_rebuild_interrupted_between_its_renames_is_finished_by_the_next_start() {
    let house = House::new();
    house.drop_image("a.png", 7);
    house.once("m");
    let state = &house.settings.state;
    std::fs::copy(state.join("ledger.sqlite"), state.join("ledger.sqlite.ready")).unwrap();
    std::fs::write(state.join("ledger.sqlite-wal"), b"of the old one").unwrap();
    assert_eq!(house.once("m").files, 0);
    assert!(!state.join("ledger.sqlite.ready").exists());
    let old = std::fs::read_dir(state)
        .unwrap()
        .flatten()
        .filter(|entry| entry.file_name().to_string_lossy().contains(".old"));
    assert_eq!(old.count(), 2, "the old ledger and its write-ahead log");
}

#[test]
fn what_ledger_and_reports_do_not_agree_about_is_found() {
    let house = House::new();
    for index in 0..4 {
        house.drop_image(&format!("{index}.png"), 90 + index);
        house.once("m");
    }
    let state = &house.settings.state;
    assert!(check(state).unwrap().findings.is_empty());
    let mut parts: Vec<_> = walkdir::WalkDir::new(state.join("reports/scores"))
        .into_iter()
        .flatten()
        .filter(|entry| entry.file_type().is_file())
        .map(walkdir::DirEntry::into_path)
        .collect();
    parts.sort();
    std::fs::remove_file(&parts[0]).unwrap();
    std::fs::copy(&parts[1], parts[1].with_file_name("part-strange.parquet")).unwrap();
    std::fs::write(&parts[2], b"PAR1 torn").unwrap();
    std::fs::write(parts[3].with_file_name(".hidden"), b"").unwrap();
    let findings = serde_json::to_value(check(state).unwrap()).unwrap();
    let mut kinds: Vec<&str> =
        findings["findings"].as_array().unwrap().iter().map(|finding| finding["finding"].as_str().unwrap()).collect();
    kinds.sort_unstable();
    assert_eq!(kinds, ["missing", "stray", "twice", "unknown", "unreadable"]);
    let refused = {
        let _lock = Lock::take(state).unwrap();
        rebuild(state).unwrap_err()
    };
    assert!(refused.message.contains(parts[2].file_name().unwrap().to_str().unwrap()), "{refused}");
    assert_eq!(texts(&rows(state, "duplicates"), "source").len(), 0);
}
