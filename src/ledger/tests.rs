use super::*;
use crate::report::schema::{self, RejectedRow};
use crate::report::writer::Store;

fn identity() -> Identity {
    Identity {
        model_version: "1".into(),
        model_digest: "m".into(),
        calibration_digest: "c".into(),
        pipeline_digest: "p".into(),
    }
}

fn part(batch: &str, table: Table) -> Part {
    Part { table, pipeline: "digits".into(), date: "2026-01-02".into(), batch: batch.into(), rows: 1 }
}

fn file(identity: i64, name: &str, digest: u8, outcome: Outcome, frames: u64) -> FileRow {
    FileRow {
        identity,
        pipeline: "digits".into(),
        path: name.into(),
        stat: Stat { size: 1, mtime_ns: 2, inode: 3 },
        digest: Some([digest; 32]),
        outcome,
        frames,
    }
}

fn stage(store: &Store, part: &Part) {
    let row = RejectedRow {
        source: "a".into(),
        file_digest: None,
        frame_index: None,
        reason: "empty",
        detail: String::new(),
        received_at: Utc::now(),
    };
    store.stage(part, &mut schema::rejected(&[row]).unwrap(), &|| {}).unwrap();
}

#[test]
fn only_committed_batches_count() {
    let state = tempfile::tempdir().unwrap();
    let mut ledger = Ledger::open(state.path()).unwrap();
    let reader = Reader::open(state.path()).unwrap();
    let id = ledger.identity("digits", &identity()).unwrap();
    assert_eq!(ledger.identity("digits", &identity()).unwrap(), id);
    let files = [file(id, "a", 1, Outcome::Scored, 1)];
    let batch = ledger.prepare(&[part("1", Table::Scores)], &files).unwrap();
    assert_eq!(reader.scoring(id, &[1; 32]).unwrap(), Scoring::New);
    assert!(!reader.known(id).unwrap().contains(b"a", files[0].stat));
    ledger.commit(batch, &files).unwrap();
    assert_eq!(reader.scoring(id, &[1; 32]).unwrap(), Scoring::Done);
    assert_eq!(reader.scoring(id + 1, &[1; 32]).unwrap(), Scoring::New);
    assert!(reader.known(id).unwrap().contains(b"a", files[0].stat));
    let counts = reader.counts("digits").unwrap();
    assert_eq!((counts.scored, counts.rejected, counts.model_version.as_deref()), (1, 0, Some("1")));
}

#[test]
fn frames_of_an_unfinished_file_are_remembered() {
    let state = tempfile::tempdir().unwrap();
    let mut ledger = Ledger::open(state.path()).unwrap();
    let reader = Reader::open(state.path()).unwrap();
    let id = ledger.identity("digits", &identity()).unwrap();
    for (frames, total) in [(3, 3), (4, 7)] {
        let files = [file(id, "cube", 1, Outcome::Partial, frames)];
        let batch = ledger.prepare(&[], &files).unwrap();
        ledger.commit(batch, &files).unwrap();
        assert_eq!(reader.scoring(id, &[1; 32]).unwrap(), Scoring::Partial(total));
    }
    let files = [file(id, "cube", 1, Outcome::Scored, 2)];
    let batch = ledger.prepare(&[], &files).unwrap();
    ledger.commit(batch, &files).unwrap();
    assert_eq!(reader.scoring(id, &[1; 32]).unwrap(), Scoring::Done);
    assert!(reader.known(id).unwrap().contains(b"cube", files[0].stat));
}

#[test]
fn batches_left_prepared_are_settled_by_what_stands_on_disk() {
    let state = tempfile::tempdir().unwrap();
    let mut ledger = Ledger::open(state.path()).unwrap();
    let mut store = Store::open(state.path()).unwrap();
    let id = ledger.identity("digits", &identity()).unwrap();
    let lost = part("1", Table::Rejected);
    ledger.prepare(std::slice::from_ref(&lost), &[file(id, "lost", 1, Outcome::Scored, 1)]).unwrap();
    stage(&store, &lost);
    let (first, second) = (part("2", Table::Rejected), part("2", Table::Scores));
    ledger.prepare(&[first.clone(), second.clone()], &[file(id, "kept", 2, Outcome::Scored, 1)]).unwrap();
    stage(&store, &first);
    stage(&store, &second);
    store.publish(&first).unwrap();
    settle(&mut ledger, &mut store).unwrap();
    assert!(store.is_published(&first) && store.is_published(&second) && !store.is_published(&lost));
    assert!(ledger.prepared().unwrap().is_empty());
    let reader = Reader::open(state.path()).unwrap();
    assert_eq!(reader.scoring(id, &[1; 32]).unwrap(), Scoring::New);
    assert_eq!(reader.scoring(id, &[2; 32]).unwrap(), Scoring::Done);
    assert_eq!(std::fs::read_dir(state.path().join("staging")).unwrap().count(), 0);
}

#[test]
fn a_second_holder_is_refused_with_the_pid_of_the_first() {
    let state = tempfile::tempdir().unwrap();
    let first = Lock::take(state.path()).unwrap();
    assert!(Lock::is_held(state.path()));
    let failure = Lock::take(state.path()).unwrap_err();
    assert_eq!(failure.kind, Kind::Locked);
    assert!(failure.message.contains(&std::process::id().to_string()), "{failure}");
    drop(first);
    assert!(!Lock::is_held(state.path()));
    Lock::take(state.path()).unwrap();
}

#[test]
fn tries_add_up_until_the_file_changes_or_ends() {
    let state = tempfile::tempdir().unwrap();
    let mut ledger = Ledger::open(state.path()).unwrap();
    let id = ledger.identity("digits", &identity()).unwrap();
    let mut suspect = Suspect {
        pipeline: "digits".into(),
        path: b"a".to_vec(),
        stat: Stat { size: 1, mtime_ns: 2, inode: 3 },
        tries: 0,
    };
    for tries in 1..=3 {
        ledger.blame(&[suspect.clone()]).unwrap();
        assert_eq!(ledger.suspects().unwrap()[0].tries, tries);
    }
    suspect.stat.size = 9;
    ledger.blame(&[suspect]).unwrap();
    assert_eq!(ledger.suspects().unwrap()[0].tries, 1);
    let files = [file(id, "a", 1, Outcome::Scored, 1)];
    let batch = ledger.prepare(&[], &files).unwrap();
    ledger.commit(batch, &files).unwrap();
    assert!(ledger.suspects().unwrap().is_empty());
}
