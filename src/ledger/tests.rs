use std::os::unix::fs::PermissionsExt;

use super::*;
use crate::report::schema::{self, RejectedRow};
use crate::report::writer::Store;
use crate::watch::Stat;

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
        stat: Stat { size: 1, mtime_ns: 2, inode: 3, ctime_ns: 4 },
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
        stat: Stat { size: 1, mtime_ns: 2, inode: 3, ctime_ns: 4 },
        identity: identity().into(),
    };
    store.stage(part, &mut schema::rejected(&[row]).unwrap()).unwrap();
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
    assert_eq!(reader.scoring(id, &[1; 32], b"x").unwrap(), Scoring::New);
    assert!(!reader.known(id).unwrap().contains(b"a", files[0].stat));
    ledger.commit(batch, &files).unwrap();
    assert!(matches!(reader.scoring(id, &[1; 32], b"x").unwrap(), Scoring::Done { .. }));
    assert_eq!(reader.scoring(id + 1, &[1; 32], b"x").unwrap(), Scoring::New);
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
        assert_eq!(
            reader.scoring(id, &[1; 32], b"x").unwrap(),
            Scoring::Partial { frames: total, first: b"cube".to_vec(), scored: true }
        );
    }
    let files = [file(id, "cube", 1, Outcome::Scored, 2)];
    let batch = ledger.prepare(&[], &files).unwrap();
    ledger.commit(batch, &files).unwrap();
    assert!(matches!(reader.scoring(id, &[1; 32], b"x").unwrap(), Scoring::Done { .. }));
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
    assert_eq!(reader.scoring(id, &[1; 32], b"x").unwrap(), Scoring::New);
    assert!(matches!(reader.scoring(id, &[2; 32], b"x").unwrap(), Scoring::Done { .. }));
    assert_eq!(std::fs::read_dir(state.path().join("staging")).unwrap().count(), 0);
}

/// A part with one row, committed and standing in the reports.
fn committed(ledger: &mut Ledger, store: &mut Store, batch: &str) -> Part {
    let part = part(batch, Table::Rejected);
    let id = ledger.prepare(std::slice::from_ref(&part), &[]).unwrap();
    stage(store, &part);
    store.publish(&part).unwrap();
    ledger.commit(id, &[]).unwrap();
    part
}

#[test]
fn a_replacement_is_settled_by_whether_the_new_part_stands() {
    let state = tempfile::tempdir().unwrap();
    let (mut ledger, mut store) = (Ledger::open(state.path()).unwrap(), Store::open(state.path()).unwrap());
    ledger.identity("digits", &identity()).unwrap();
    let old = ["1", "2"].map(|batch| committed(&mut ledger, &mut store, batch));
    let new = Part { rows: 2, ..part("c", Table::Rejected) };
    let news = std::slice::from_ref(&new);
    assert_eq!(ledger.prepare_replacement(&old[..1], news).unwrap_err().kind, Kind::Internal, "a row would go");
    let stranger = [old[0].clone(), part("9", Table::Rejected)];
    assert_eq!(ledger.prepare_replacement(&stranger, news).unwrap_err().kind, Kind::Internal);

    ledger.prepare_replacement(&old, news).unwrap();
    settle(&mut ledger, &mut store).unwrap();
    assert!(old.iter().all(|part| store.is_published(part)), "nothing had happened yet");

    ledger.prepare_replacement(&old, news).unwrap();
    let row = || RejectedRow {
        source: "a".into(),
        file_digest: None,
        frame_index: None,
        reason: "empty",
        detail: String::new(),
        received_at: Utc::now(),
        stat: Stat { size: 1, mtime_ns: 2, inode: 3, ctime_ns: 4 },
        identity: identity().into(),
    };
    store.stage(&new, &mut schema::rejected(&[row(), row()]).unwrap()).unwrap();
    store.publish(&new).unwrap();
    settle(&mut ledger, &mut store).unwrap();
    assert!(store.is_published(&new) && !old.iter().any(|part| store.is_published(part)));
    assert!(ledger.prepared().unwrap().is_empty());
    let reader = Reader::open(state.path()).unwrap();
    assert_eq!(reader.counts("digits").unwrap().rejected, 2, "counted once");
}

#[test]
fn parts_let_go_are_counted_still_and_removed_at_the_next_start() {
    let state = tempfile::tempdir().unwrap();
    let (mut ledger, mut store) = (Ledger::open(state.path()).unwrap(), Store::open(state.path()).unwrap());
    ledger.identity("digits", &identity()).unwrap();
    let parts = ["1", "2"].map(|batch| committed(&mut ledger, &mut store, batch));
    ledger.retire_parts(&parts[..1]).unwrap();
    settle(&mut ledger, &mut store).unwrap();
    assert!(!store.is_published(&parts[0]) && store.is_published(&parts[1]));
    assert_eq!(Reader::open(state.path()).unwrap().counts("digits").unwrap().rejected, 2);
    ledger.retire_parts(&parts[1..]).unwrap();
    settle(&mut ledger, &mut store).unwrap();
    let folder = store.reports().join("rejected/pipeline=digits/date=2026-01-02");
    assert!(!folder.exists(), "an empty folder goes too");
    committed(&mut ledger, &mut store, "3");
}

#[test]
fn a_ledger_of_the_first_version_is_brought_up() {
    let state = tempfile::tempdir().unwrap();
    let old = Connection::open(place(state.path())).unwrap();
    old.execute_batch(
        "CREATE TABLE batches (id INTEGER PRIMARY KEY AUTOINCREMENT, committed INTEGER NOT NULL, prepared_at INTEGER NOT NULL,
         committed_at INTEGER);
         CREATE TABLE parts (batch INTEGER NOT NULL REFERENCES batches, name TEXT NOT NULL, table_name TEXT NOT NULL,
         pipeline TEXT NOT NULL, date TEXT NOT NULL, rows INTEGER NOT NULL);
         INSERT INTO batches VALUES (1, 1, 0, 0); INSERT INTO parts VALUES (1, '1', 'scores', 'digits', '2026-01-02', 7);
         PRAGMA user_version = 1;",
    )
    .unwrap();
    drop(old);
    let mut ledger = Ledger::open(state.path()).unwrap();
    ledger.retire_parts(&[part("1", Table::Scores)]).unwrap();
    assert_eq!(ledger.retired().unwrap()[0].rows, 7);
    assert_eq!(Reader::open(state.path()).unwrap().counts("digits").unwrap().scored, 7);
}

#[test]
fn a_ledger_without_times_of_change_is_read_as_it_is_and_brought_up() {
    let state = tempfile::tempdir().unwrap();
    let old = Connection::open(place(state.path())).unwrap();
    old.execute_batch(include_str!("../../tests/reference/ledger-2.sql")).unwrap();
    drop(old);
    let stat = Stat { size: 1, mtime_ns: 2, inode: 3, ctime_ns: 4 };
    let reader = Reader::open(state.path()).unwrap();
    assert!(reader.known(1).unwrap().contains(b"a", stat), "status asks a ledger that no service has opened since");
    let mut ledger = Ledger::open(state.path()).unwrap();
    assert_eq!(ledger.identity("digits", &identity()).unwrap(), 1);
    assert!(reader.known(1).unwrap().contains(b"a", stat));
    assert_eq!(reader.scoring(1, &[1; 32], b"a").unwrap(), Scoring::Known);
    let suspect = ledger.suspects().unwrap().remove(0);
    assert_eq!((suspect.stat, suspect.tries), (stat.without_ctime(), 2));
    ledger.blame(&[Suspect { stat, ..suspect.clone() }]).unwrap();
    assert_eq!(ledger.suspects().unwrap(), [Suspect { stat, tries: 3, ..suspect }], "it is the same file");
    let files = [FileRow { stat: Stat { ctime_ns: 5, ..stat }, ..file(1, "a", 1, Outcome::Seen, 0) }];
    let batch = ledger.prepare(&[], &files).unwrap();
    ledger.commit(batch, &files).unwrap();
    let known = reader.known(1).unwrap();
    assert!(known.contains(b"a", files[0].stat) && !known.contains(b"a", stat));
    drop(ledger);
    Ledger::open(state.path()).unwrap();
}

#[test]
fn what_another_version_scored_and_this_one_saw_is_judged_anew_where_each_judges() {
    let state = tempfile::tempdir().unwrap();
    let mut ledger = Ledger::open(state.path()).unwrap();
    let next = Identity { model_digest: "next".into(), ..identity() };
    let ids = [identity(), next].map(|identity| ledger.identity("digits", &identity).unwrap());
    assert_eq!(ids.map(|id| ledger.line("digits", id, false).unwrap()), [ids[0]; 2]);
    for (id, outcome) in [(ids[0], Outcome::Scored), (ids[1], Outcome::Seen)] {
        let files = [file(id, "a", 1, outcome, 1)];
        let batch = ledger.prepare(&[], &files).unwrap();
        ledger.commit(batch, &files).unwrap();
    }
    let stat = file(ids[0], "a", 1, Outcome::Scored, 1).stat;
    let knows = |ledger: &mut Ledger, line: i64| {
        let known = Reader::open(state.path()).unwrap().known(line).unwrap().contains(b"a", stat);
        (known, ledger.scoring(line, &[1; 32], b"a").unwrap() == Scoring::Known)
    };
    assert_eq!(knows(&mut ledger, ids[0]), (true, true));
    ledger.line("digits", ids[1], true).unwrap();
    assert_eq!(knows(&mut ledger, ids[1]), (false, false));
    let mut say = |outcome| {
        let files = [file(ids[1], "a", 1, outcome, 1)];
        let batch = ledger.prepare(&[], &files).unwrap();
        ledger.commit(batch, &files).unwrap();
        knows(&mut ledger, ids[1])
    };
    assert_eq!(say(Outcome::Partial), (false, false), "the rest of its frames is still to come");
    assert_eq!(say(Outcome::Scored), (true, true));
}

#[test]
fn a_file_that_cannot_be_read_costs_no_row_a_start() {
    let state = tempfile::tempdir().unwrap();
    let mut ledger = Ledger::open(state.path()).unwrap();
    let id = ledger.identity("digits", &identity()).unwrap();
    for outcome in [Outcome::Rejected, Outcome::Seen, Outcome::Seen, Outcome::Seen] {
        let files = [FileRow { digest: None, ..file(id, "a", 1, outcome, 0) }];
        let batch = ledger.prepare(&[], &files).unwrap();
        ledger.commit(batch, &files).unwrap();
    }
    let count = |connection: &mut Connection| {
        connection.query_row("SELECT count(*) FROM files", [], |row| row.get::<_, i64>(0))
    };
    assert_eq!(ledger.run(count).unwrap(), 2, "what was said of it, and that it was seen again");
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
fn a_state_folder_is_not_for_others() {
    // In a process of its own: a umask is that of all its tests.
    const ALONE: &str = "ANOMALYD_TEST_UMASK";
    if std::env::var_os(ALONE).is_none() {
        let mut command = std::process::Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "ledger::tests::a_state_folder_is_not_for_others"]).env(ALONE, "");
        let output = command.output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && said.contains("1 passed"), "{said}");
        return;
    }
    let root = tempfile::tempdir().unwrap();
    let state = root.path().join("state");
    rustix::process::umask(rustix::fs::Mode::empty());
    let _lock = Lock::take(&state).unwrap();
    let (mut ledger, mut store) = (Ledger::open(&state).unwrap(), Store::open(&state).unwrap());
    committed(&mut ledger, &mut store, "1");
    let mut seen = 0;
    for entry in walkdir::WalkDir::new(&state).into_iter().map(std::result::Result::unwrap) {
        let (mode, most) = (
            entry.metadata().unwrap().permissions().mode() & 0o777,
            if entry.file_type().is_dir() { 0o750 } else { 0o640 },
        );
        assert_eq!(mode & !most, 0, "{}: {mode:o}", entry.path().display());
        seen += 1;
    }
    assert!(seen >= 9, "folder, lock, ledger, reports: {seen}");
    let open = root.path().join("open");
    std::fs::create_dir(&open).unwrap();
    std::fs::set_permissions(&open, std::fs::Permissions::from_mode(0o777)).unwrap();
    let failure = Lock::take(&open).unwrap_err();
    assert_eq!(failure.kind, Kind::Settings);
    assert!(failure.hint.unwrap().contains("chmod"));
}

/// Only root can make a folder somebody else's.
#[test]
fn a_state_folder_of_another_user_is_left_alone() {
    const NOBODY: u32 = 65_534;
    let state = tempfile::tempdir().unwrap();
    if std::os::unix::fs::chown(state.path(), Some(NOBODY), None).is_err() {
        return;
    }
    let failure = Lock::take(state.path()).unwrap_err();
    assert_eq!(failure.kind, Kind::Settings);
    assert!(failure.hint.unwrap().contains("sudo -u '#65534'"));
    assert_eq!(std::fs::read_dir(state.path()).unwrap().count(), 0, "nothing of this user's is in it");
}

#[test]
fn tries_add_up_until_the_file_changes_or_ends() {
    let state = tempfile::tempdir().unwrap();
    let mut ledger = Ledger::open(state.path()).unwrap();
    let id = ledger.identity("digits", &identity()).unwrap();
    let mut suspect = Suspect {
        pipeline: "digits".into(),
        path: b"a".to_vec(),
        stat: Stat { size: 1, mtime_ns: 2, inode: 3, ctime_ns: 4 },
        frames: (3, 9),
        stalled: false,
        tries: 0,
    };
    for tries in 1..=3 {
        ledger.blame(&[suspect.clone()]).unwrap();
        assert_eq!(ledger.suspects().unwrap()[0].tries, tries);
    }
    suspect.frames = (10, 12);
    suspect.stalled = true;
    ledger.blame(&[suspect.clone()]).unwrap();
    assert_eq!(ledger.suspects().unwrap(), [Suspect { tries: 1, ..suspect.clone() }], "it had come further");
    ledger.blame(&[suspect.clone()]).unwrap();
    suspect.stat.size = 9;
    ledger.blame(&[suspect]).unwrap();
    assert_eq!(ledger.suspects().unwrap()[0].tries, 1);
    let files = [file(id, "a", 1, Outcome::Scored, 1)];
    let batch = ledger.prepare(&[], &files).unwrap();
    ledger.commit(batch, &files).unwrap();
    assert!(ledger.suspects().unwrap().is_empty());
}

fn suspect(frames: (u32, u32), stalled: bool) -> Suspect {
    let stat = Stat { size: 1, mtime_ns: 2, inode: 3, ctime_ns: 4 };
    Suspect { pipeline: "digits".into(), path: b"a".to_vec(), stat, frames, stalled, tries: 0 }
}

#[test]
fn only_frames_that_were_in_hand_at_every_death_are_suspected() {
    let state = tempfile::tempdir().unwrap();
    let mut ledger = Ledger::open(state.path()).unwrap();
    for (frames, left, tries) in [
        ((0, 70), (0, 70), 1),
        ((60, 90), (60, 70), 2),
        // It moves on: no frame was in hand three times.
        ((85, 120), (85, 120), 1),
        ((100, 300), (100, 120), 2),
        ((110, 110), (110, 110), 3),
    ] {
        ledger.blame(&[suspect(frames, false)]).unwrap();
        assert_eq!(ledger.suspects().unwrap(), [Suspect { tries, ..suspect(left, false) }], "{frames:?}");
    }
}

#[test]
fn rows_of_other_frames_do_not_acquit_those_a_worker_hung_over() {
    for (stalled, rows, is_forgotten) in [(true, 2, false), (true, 3, true), (false, 1, true)] {
        let state = tempfile::tempdir().unwrap();
        let mut ledger = Ledger::open(state.path()).unwrap();
        let id = ledger.identity("digits", &identity()).unwrap();
        ledger.blame(&[suspect((0, 2), stalled)]).unwrap();
        let files = [file(id, "a", 1, Outcome::Partial, rows)];
        let batch = ledger.prepare(&[], &files).unwrap();
        ledger.commit(batch, &files).unwrap();
        assert_eq!(ledger.suspects().unwrap().is_empty(), is_forgotten, "stalled: {stalled}, rows: {rows}");
    }
}
