//! `compact` from the outside, and readers that read while days are swapped.

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anomalyd::ledger::{Ledger, Lock};
use anomalyd::report::query::Reports;
use anomalyd::report::schema::Table;
use anomalyd::report::writer::{Part, Store};
use polars::prelude::*;

/// A state folder with closed days of ten rows a part, and settings.
struct House {
    root: tempfile::TempDir,
}

impl House {
    fn new(days: usize, parts: usize, settings: &str) -> Self {
        let house = Self { root: tempfile::tempdir().unwrap() };
        std::fs::write(house.path("anomalyd.toml"), settings).unwrap();
        let (mut ledger, mut store) = (Ledger::open(&house.state()).unwrap(), Store::open(&house.state()).unwrap());
        for day in 0..days {
            for number in 0..parts {
                let part = Part {
                    table: Table::Scores,
                    pipeline: "digits".into(),
                    date: format!("2026-01-{:02}", day + 1),
                    batch: format!("{number:04}"),
                    rows: 10,
                };
                let keys: Vec<String> = (0..10).map(|row| format!("{day}/{number}/{row}")).collect();
                let mut frame = DataFrame::new(10, vec![Column::new("key".into(), keys)]).unwrap();
                let batch = ledger.prepare(std::slice::from_ref(&part), &[]).unwrap();
                store.stage(&part, &mut frame).unwrap();
                store.publish(&part).unwrap();
                ledger.commit(batch, &[]).unwrap();
            }
        }
        house
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    fn state(&self) -> PathBuf {
        let state = self.path("state");
        std::fs::create_dir_all(&state).unwrap();
        state
    }

    fn compact(&self, args: &[&str]) -> (i32, String, String) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_anomalyd"));
        command.arg("--config").arg(self.path("anomalyd.toml")).arg("--state").arg(self.state()).arg("compact");
        let output = command.args(args).output().unwrap();
        let [out, err] = [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
        (output.status.code().unwrap(), out, err)
    }

    fn parts(&self) -> usize {
        let tree = walkdir::WalkDir::new(self.state().join("reports")).into_iter().flatten();
        tree.filter(|entry| entry.file_type().is_file()).count()
    }
}

fn count(state: &Path) -> i64 {
    let rows = Reports::open(state).unwrap().query("SELECT COUNT(DISTINCT key) AS n FROM scores").unwrap();
    rows.column("n").unwrap().get(0).unwrap().extract().unwrap()
}

#[test]
fn a_day_becomes_one_part_and_what_is_said_can_be_read_by_programs() {
    let house = House::new(2, 5, "[compaction]\nquiet_s = 0\n");
    let (code, out, _) = house.compact(&["--dry-run", "--json"]);
    let plan: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!((code, plan.as_array().unwrap().len(), house.parts()), (0, 2, 10));
    assert_eq!((&plan[0]["outcome"], &plan[0]["date"]), (&"would_compact".into(), &"2026-01-01".into()));
    let (code, out, err) = house.compact(&["--table", "scores", "--pipeline", "digits", "--json"]);
    assert_eq!(code, 0, "{err}");
    let done: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(
        (&done[1]["outcome"], &done[1]["parts"], &done[1]["became"]),
        (&"compacted".into(), &5.into(), &1.into())
    );
    assert_eq!((house.parts(), count(&house.state())), (2, 100));
    assert_eq!(house.compact(&[]).1, "nothing to do\n");
    let (code, _, err) = house.compact(&["--table", "nosuch"]);
    assert_eq!(code, 2);
    assert!(err.contains("anomalies"), "{err}");
}

#[test]
fn what_retention_would_drop_is_said_before_it_is_dropped() {
    let house = House::new(2, 3, "[compaction]\nquiet_s = 0\n[retention.scores]\ndays = 1\n");
    let (code, out, _) = house.compact(&["--dry-run"]);
    assert!(code == 0 && out.contains("would drop 3 parts"), "{out}");
    assert_eq!(house.parts(), 6);
    let (code, out, err) = house.compact(&[]);
    assert!(code == 0 && out.contains("dropped 3 parts"), "{out}{err}");
    assert_eq!(house.parts(), 0);
}

#[test]
fn beside_a_service_the_service_does_it() {
    let house = House::new(1, 3, "");
    let lock = Lock::take(&house.state()).unwrap();
    let (code, _, err) = house.compact(&[]);
    assert!(code == 7 && err.contains("compacts by itself"), "{code}: {err}");
    assert_eq!(house.compact(&["--dry-run"]).0, 0, "looking is no work");
    drop(lock);
    let (code, _, err) = house.compact(&["--wait", "0", "--pipeline", "other"]);
    assert_eq!(code, 0, "{err}");
    assert_eq!(house.parts(), 3);
}

#[test]
fn our_own_query_is_exact_while_days_are_swapped_without_any_quiet() {
    let house = House::new(12, 8, "[compaction]\nquiet_s = 0\n");
    let (state, over) = (house.state(), AtomicBool::new(false));
    std::thread::scope(|scope| {
        let read = || {
            let mut rounds = 0;
            while !over.load(Ordering::Relaxed) {
                assert_eq!(count(&state), 960, "round {rounds}");
                rounds += 1;
            }
            rounds
        };
        let readers = [scope.spawn(read), scope.spawn(read)];
        // One that is held up hears of more readings than the kernel keeps, and puts off what it cannot be sure of.
        let begun = Instant::now();
        let (mut code, mut said) = (-1, String::new());
        while code != 0 && begun.elapsed() < Duration::from_secs(60) {
            let (ended, out, err) = house.compact(&[]);
            (code, said) = (ended, out + &err);
        }
        over.store(true, Ordering::Relaxed);
        let rounds: Vec<i32> = readers.map(|reader| reader.join().unwrap()).into();
        assert_eq!(code, 0, "{said}");
        println!("{rounds:?} rounds while 12 days were compacted");
    });
    assert_eq!((house.parts(), count(&state)), (12, 960));
}

#[test]
fn foreign_readers_see_every_row_once_at_every_moment() {
    let Some(python) = std::env::var_os("ANOMALYD_PYTHON") else {
        println!("ANOMALYD_PYTHON is not set: not read with DuckDB, polars and pyarrow during compaction");
        return;
    };
    // Long enough that a reader is not held up for longer between listing a folder and opening its files.
    let house = House::new(6, 30, "[compaction]\nquiet_s = 4\n");
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/python/read_on.py");
    let mut reader = Command::new(python);
    reader.arg(script).arg(house.state()).args(["1800", "6"]);
    let mut reader = reader.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut said = BufReader::new(reader.stdout.take().unwrap());
    let mut line = String::new();
    said.read_line(&mut line).unwrap();
    let (code, out, err) = house.compact(&[]);
    // It reads once more and ends.
    drop(reader.stdin.take());
    let mut wrong = String::new();
    reader.stderr.take().unwrap().read_to_string(&mut wrong).unwrap();
    said.read_to_string(&mut line).unwrap();
    assert!(reader.wait().unwrap().success(), "{wrong}");
    assert_eq!(code, 0, "{out}{err}");
    assert_eq!(house.parts(), 6);
    println!("{line}");
}
