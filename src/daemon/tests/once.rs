//! An inbox that is drained, once and again.

use std::io::Write;
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};

use super::*;

#[test]
fn once_drains_the_inbox_and_the_second_time_there_is_nothing_to_do() {
    let house = House::new();
    for index in 0..40 {
        house.drop_image(&format!("{index:02}.png"), 200 - index);
    }
    let summary = house.once("m");
    assert_eq!((summary.scored, summary.flagged, summary.rejected, summary.unfinished), (40, 40, 0, 0));
    let scores = house.rows("scores");
    assert_eq!(scores.height(), 40);
    assert_eq!(house.rows("anomalies").height(), 40);
    assert_eq!(house.rows("denoised").height(), 40);
    let mut ids = texts(&scores, "frame_id");
    ids.dedup();
    assert_eq!(ids.len(), 40);
    let again = house.once("m");
    assert_eq!((again.files, again.scored), (0, 0));
    let other_model = house.once("n");
    assert_eq!(other_model.scored, 40, "another model is another scoring");
}

#[test]
fn nothing_new_is_decoded_below_min_free_until_there_is_space() {
    let house = House::new();
    for index in 0..20 {
        house.drop_image(&format!("{index:02}.png"), 100 + index);
    }
    let free = Arc::new(AtomicU64::new(1));
    let (seen, looks) = (free.clone(), Arc::new(AtomicU64::new(0)));
    let counted = looks.clone();
    let disk = Box::new(move || {
        counted.fetch_add(1, Ordering::Relaxed);
        Ok(crate::disk::Room { free: seen.load(Ordering::Relaxed), all: u64::MAX, inodes: true })
    });
    let settings = Settings { min_free: 1000, ..house.settings.clone() };
    let inbox = house.inbox();
    let run = std::thread::spawn(move || {
        let load = || Ok(vec![plan(&inbox, "m", Duration::ZERO)]);
        let orders = Orders { intake: Intake::Watch { once: true }, load: &load, view: None };
        supervise::run_on(&settings, &orders, disk)
    });
    // Two looks and more: the files have long settled, and wait.
    while looks.load(Ordering::Relaxed) < 4 {
        assert!(!run.is_finished());
        std::thread::sleep(Duration::from_millis(10));
    }
    assert_eq!(house.rows("scores").height(), 0);
    free.store(5000, Ordering::Relaxed);
    let summary = run.join().unwrap().unwrap();
    assert_eq!((summary.scored, summary.unfinished), (20, 0));
    assert_eq!(house.rows("scores").height(), 20);
}

#[test]
fn what_a_version_of_a_file_was_stands_in_its_row() {
    let house = House::new();
    let names = ["a.png", "b.png", "junk"];
    house.drop_image("a.png", 107);
    house.drop_image("b.png", 107);
    std::fs::write(house.inbox().join("junk"), b"no image at all").unwrap();
    for name in names {
        touch(&house.inbox().join(name), 1_700_000_000);
    }
    house.once("m");
    let bytes = png(107).len() as u64;
    for (table, size) in [("scores", bytes), ("anomalies", bytes), ("duplicates", bytes), ("rejected", 15)] {
        let rows = house.rows(table);
        assert_eq!(rows.column("file_size").unwrap().u64().unwrap().get(0), Some(size), "{table}");
        let modified = rows.column("file_modified_at").unwrap();
        assert_eq!(modified.dtype(), &DataType::Datetime(TimeUnit::Microseconds, Some(TimeZone::UTC)));
        let micros = modified.cast(&DataType::Int64).unwrap();
        assert_eq!(micros.i64().unwrap().get(0), Some(1_700_000_000_000_000), "{table}");
        for (column, value) in [("model_version", "1"), ("model_digest", "m"), ("calibration_digest", "c")] {
            assert_eq!(texts(&rows, column), [value], "{table}");
        }
    }
}

#[test]
fn a_slow_writer_is_not_read_half_way() {
    let house = House::new();
    let path = house.inbox().join("slow.png");
    let bytes = png(9);
    let mut file = std::fs::File::create(path).unwrap();
    file.write_all(&bytes[..8]).unwrap();
    let pieces = bytes.len() as u64 / 8;
    // All of it takes longer than a file must rest, each pause is far shorter, on a machine with too much to do as well.
    let (rest, pause) = (Duration::from_millis(2500), Duration::from_millis(3500 / pieces));
    let writer = std::thread::spawn(move || {
        for piece in bytes[8..].chunks(8) {
            std::thread::sleep(pause);
            file.write_all(piece).unwrap();
        }
    });
    let load = || {
        let mut plan = plan(&house.inbox(), "m", Duration::ZERO);
        plan.pipeline.spec.watch.settle_ms = rest.as_millis() as u64;
        Ok(vec![plan])
    };
    let orders = Orders { intake: Intake::Watch { once: true }, load: &load, view: None };
    let summary = run(&house.settings, &orders).unwrap();
    writer.join().unwrap();
    assert_eq!((summary.scored, summary.rejected), (1, 0));
    assert_eq!(house.rows("scores").height(), 1);
}

#[test]
fn a_second_process_is_refused() {
    let house = House::new();
    let _lock = crate::ledger::Lock::take(&house.settings.state).unwrap();
    let failure = once(&house.settings, &house.inbox(), "m", Duration::ZERO).unwrap_err();
    assert_eq!(failure.kind, crate::error::Kind::Locked);
}

#[test]
fn other_readers_see_the_same() {
    let Some(python) = std::env::var_os("ANOMALYD_PYTHON") else {
        println!("ANOMALYD_PYTHON is not set: not checked with DuckDB and pandas");
        return;
    };
    let house = House::new();
    for index in 0..30 {
        house.drop_image(&format!("{index}.png"), 100 + index);
    }
    std::fs::write(house.inbox().join("junk"), b"junk").unwrap();
    house.drop_image("again.png", 100);
    house.once("m");
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/python/check_reports.py");
    let output = Command::new(python)
        .arg(script)
        .arg(&house.settings.state)
        .args(["scores=30", "anomalies=29", "denoised=29", "rejected=1", "duplicates=1"])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
