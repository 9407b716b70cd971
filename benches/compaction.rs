//! Makes a closed day of many small parts, and times our query over it. See `compaction.sh`.
//!
//! usage: compaction make STATE PARTS ROWS PICTURE | compaction query STATE

use std::path::Path;
use std::time::Instant;

use anomalyd::ledger::Ledger;
use anomalyd::report::query::Reports;
use anomalyd::report::schema::Table;
use anomalyd::report::writer::{Part, Store};
use polars::prelude::*;

/// As many numbers a row as `scores` has.
const COLUMNS: usize = 30;
/// Timings; the fastest counts.
const TRIES: usize = 3;

fn main() {
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
    match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["make", state, parts, rows, picture] => {
            make(Path::new(state), [parts, rows, picture].map(|number| number.parse().expect("a number")))
        }
        ["query", state] => query(Path::new(state)),
        _ => println!("usage: compaction make STATE PARTS ROWS PICTURE | compaction query STATE"),
    }
}

/// One batch of the ledger with all the parts.
fn make(state: &Path, [parts, rows, picture]: [usize; 3]) {
    std::fs::create_dir_all(state).expect("state folder");
    let (mut ledger, mut store) = (Ledger::open(state).expect("ledger"), Store::open(state).expect("reports"));
    let part = |number: usize| Part {
        table: Table::Scores,
        pipeline: "bench".into(),
        date: "2026-01-01".into(),
        batch: format!("20260101T{number:06}"),
        rows,
    };
    let parts: Vec<Part> = (0..parts).map(part).collect();
    let batch = ledger.prepare(&parts, &[]).expect("ledger");
    for (number, part) in parts.iter().enumerate() {
        store.stage(part, &mut frame(number, rows, picture)).expect("part");
        store.publish(part).expect("part");
    }
    ledger.commit(batch, &[]).expect("ledger");
}

fn frame(part: usize, rows: usize, picture: usize) -> DataFrame {
    let names: Vec<String> = (0..rows).map(|row| format!("night/{part:05}/{row:05}.fits")).collect();
    let mut columns = vec![Column::new("source".into(), names)];
    for column in 0..COLUMNS {
        let name = if column == 0 { "score".to_string() } else { format!("component_{column}") };
        let values: Vec<f64> = (0..rows).map(|row| noise((part * rows + row) * COLUMNS + column)).collect();
        columns.push(Column::new(name.into(), values));
    }
    if picture > 0 {
        // As dense as a PNG: nothing to be gained by compressing it.
        let dense = |row: usize| {
            let mut bytes = vec![0; picture];
            blake3::Hasher::new().update(&(part * rows + row).to_le_bytes()).finalize_xof().fill(&mut bytes);
            bytes
        };
        columns.push(Column::new("png".into(), (0..rows).map(dense).collect::<Vec<_>>()));
    }
    DataFrame::new(rows, columns).expect("columns of one length")
}

/// A number between 0 and 1 that does not compress, as scores do not (SplitMix64).
fn noise(seed: usize) -> f64 {
    let mut bits = (seed as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (bits >> 11) as f64 / (1u64 << 53) as f64
}

/// Prints milliseconds from listing to the answer.
fn query(state: &Path) {
    let once = || {
        let begun = Instant::now();
        let mut reports = Reports::open(state).expect("reports");
        reports.query("SELECT COUNT(*) AS n, MAX(score) AS highest FROM scores").expect("answer");
        begun.elapsed().as_secs_f64() * 1e3
    };
    println!("{:.1}", (0..TRIES).map(|_| once()).fold(f64::INFINITY, f64::min));
}
