//! Makes a closed day of many small parts, and times our query over it. See `compaction.sh`.
//!
//! usage: compaction make STATE PARTS ROWS | compaction query STATE

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
        ["make", state, parts, rows] => {
            make(Path::new(state), parts.parse().expect("PARTS"), rows.parse().expect("ROWS"))
        }
        ["query", state] => query(Path::new(state)),
        _ => println!("usage: compaction make STATE PARTS ROWS | compaction query STATE"),
    }
}

/// One batch of the ledger with all the parts.
fn make(state: &Path, parts: usize, rows: usize) {
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
        store.stage(part, &mut frame(number, rows), &|| {}).expect("part");
        store.publish(part).expect("part");
    }
    ledger.commit(batch, &[]).expect("ledger");
}

fn frame(part: usize, rows: usize) -> DataFrame {
    let names: Vec<String> = (0..rows).map(|row| format!("night/{part:05}/{row:05}.fits")).collect();
    let mut columns = vec![Column::new("source".into(), names)];
    for column in 0..COLUMNS {
        let name = if column == 0 { "score".to_string() } else { format!("component_{column}") };
        let values: Vec<f64> = (0..rows).map(|row| ((part * rows + row) * (column + 7) % 1009) as f64 * 0.37).collect();
        columns.push(Column::new(name.into(), values));
    }
    DataFrame::new(rows, columns).expect("columns of one length")
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
