//! `query` over Parquet written as the service writes it: partitions, growing schemas, torn parts, empty tables.

use std::fs::{self, File};
use std::path::Path;

use anomalyd::error::Kind;
use anomalyd::report::query::Reports;
use assert_cmd::Command;
use polars::prelude::*;

/// Writes one part of a table.
fn part(state: &Path, table: &str, pipeline: &str, date: &str, number: u32, mut rows: DataFrame) {
    let folder = state.join(format!("reports/{table}/pipeline={pipeline}/date={date}"));
    fs::create_dir_all(&folder).unwrap();
    let file = File::create(folder.join(format!("part-{number:06}.parquet"))).unwrap();
    ParquetWriter::new(file).finish(&mut rows).unwrap();
}

fn scores(first: i64, count: usize) -> DataFrame {
    let ids: Vec<String> = (0..count).map(|at| format!("frame{:04}", first as usize + at)).collect();
    let values: Vec<f64> = (0..count).map(|at| (first as usize + at) as f64 * 0.5).collect();
    let times: Vec<i64> = (0..count).map(|at| 1_795_440_000_000_000 + (first + at as i64) * 1_000_000).collect();
    let times = Column::new("scored_at".into(), times).cast(&DataType::Datetime(TimeUnit::Microseconds, None)).unwrap();
    let ids = Column::new("frame_id".into(), ids);
    DataFrame::new(count, vec![ids, Column::new("score".into(), values), times]).unwrap()
}

/// A state folder with two days of two pipelines; the second day's parts have a column more.
fn state() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    part(folder.path(), "scores", "digits", "2026-11-22", 1, scores(0, 3));
    let mut newer = scores(3, 2);
    newer.with_column(Column::new("kl".into(), [1.5f64, 2.5])).unwrap();
    newer.with_column(Column::new("input".into(), [&b"\x89PNG0123"[..], b"\x89PNG4567"])).unwrap();
    part(folder.path(), "scores", "telescope", "2026-11-23", 1, newer);
    folder
}

fn anomalyd(state: &Path, arguments: &[&str]) -> assert_cmd::assert::Assert {
    Command::cargo_bin("anomalyd").unwrap().arg("--state").arg(state).arg("query").args(arguments).assert()
}

#[test]
fn partitions_are_columns_and_missing_columns_are_null() {
    let state = state();
    let mut reports = Reports::open(state.path()).unwrap();
    let rows = reports.query("SELECT pipeline, date, kl FROM scores ORDER BY frame_id").unwrap();
    assert_eq!(rows.shape(), (5, 3));
    assert_eq!(rows.column("kl").unwrap().null_count(), 3);
    assert_eq!(rows.column("date").unwrap().dtype(), &DataType::Date);
    let rows =
        reports.query("SELECT frame_id FROM scores WHERE pipeline = 'telescope' AND date >= '2026-11-23'").unwrap();
    assert_eq!(rows.height(), 2);
    let rows = reports.query("SELECT pipeline, COUNT(*) AS n FROM scores GROUP BY pipeline ORDER BY n DESC").unwrap();
    assert_eq!(rows.column("n").unwrap().get(0).unwrap().extract::<i64>(), Some(3));
}

#[test]
fn parts_of_an_older_schema_alone_have_the_columns_of_the_newer_one() {
    let state = tempfile::tempdir().unwrap();
    part(state.path(), "scores", "digits", "2026-11-22", 1, scores(0, 3));
    let mut reports = Reports::open(state.path()).unwrap();
    let rows = reports.query("SELECT frame_id, file_size, file_modified_at FROM scores").unwrap();
    assert_eq!((rows.height(), rows.column("file_size").unwrap().null_count()), (3, 3));
    assert_eq!(rows.column("file_size").unwrap().dtype(), &DataType::UInt64);
    let rows = reports.query("SELECT frame_id FROM scores WHERE file_size > 5").unwrap();
    assert_eq!(rows.height(), 0);
}

#[test]
fn a_torn_part_hides_nothing_else() {
    let state = state();
    let folder = state.path().join("reports/scores/pipeline=digits/date=2026-11-22");
    fs::write(folder.join("part-000009.parquet"), b"PAR1 torn").unwrap();
    fs::write(folder.join("notes.txt"), b"not a part").unwrap();
    let rows = Reports::open(state.path()).unwrap().query("SELECT COUNT(*) AS n FROM scores").unwrap();
    assert_eq!(rows.column("n").unwrap().get(0).unwrap().extract::<i64>(), Some(5));
}

#[test]
fn a_state_below_a_folder_with_an_equals_sign_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("run=7");
    part(&state, "scores", "digits", "2026-11-22", 1, scores(0, 3));
    let rows = Reports::open(&state).unwrap().query("SELECT pipeline FROM scores").unwrap();
    assert_eq!(rows.height(), 3);
}

#[test]
fn wrong_sql_names_the_tables_and_columns() {
    let state = state();
    let failure = Reports::open(state.path()).unwrap().query("SELECT scroe FROM scores").unwrap_err();
    assert_eq!(failure.kind, Kind::Usage);
    assert!(
        failure.to_string().contains("scroe") && failure.to_string().contains("scores: frame_id, score"),
        "{failure}"
    );
    assert!(failure.message.contains("scroe") && !failure.message.contains("frame_id"), "{failure}");
    let failure = Reports::open(state.path()).unwrap().query("SELEC 1").unwrap_err();
    assert_eq!(failure.kind, Kind::Usage);
    anomalyd(state.path(), &["SELECT * FROM nothing"]).code(2);
}

#[test]
fn json_has_utc_times_and_pictures_in_base64() {
    let state = state();
    let sql = "SELECT frame_id, score, scored_at, input FROM scores ORDER BY frame_id DESC LIMIT 2";
    let output = anomalyd(state.path(), &[sql, "--format", "json"]).success().get_output().stdout.clone();
    let rows: serde_json::Value = serde_json::from_slice(&output).unwrap();
    assert_eq!(rows.as_array().unwrap().len(), 2);
    assert_eq!(rows[0]["frame_id"], "frame0004");
    assert_eq!(rows[0]["score"], 2.0);
    assert_eq!(rows[0]["scored_at"], "2026-11-23T13:20:04Z");
    assert_eq!(rows[0]["input"], "iVBORzQ1Njc=");
    let none = anomalyd(state.path(), &["SELECT * FROM scores WHERE score > 1e9", "--format", "json"]).success();
    assert_eq!(none.get_output().stdout, b"[]\n");
}

#[test]
fn csv_and_parquet_hold_every_row_and_the_table_says_what_it_leaves_out() {
    let state = tempfile::tempdir().unwrap();
    part(state.path(), "scores", "digits", "2026-11-22", 1, scores(0, 120));
    let csv = anomalyd(state.path(), &["SELECT frame_id FROM scores", "--format", "csv"]).success();
    assert_eq!(csv.get_output().stdout.iter().filter(|byte| **byte == b'\n').count(), 121);
    let table = anomalyd(state.path(), &["SELECT * FROM scores"]).success().get_output().stdout.clone();
    assert!(String::from_utf8(table).unwrap().contains("… 70 more rows (120 in all)"));
    let file = state.path().join("rows.parquet");
    anomalyd(state.path(), &["SELECT * FROM scores", "--format", "parquet", "--out", file.to_str().unwrap()]).success();
    assert_eq!(ParquetReader::new(File::open(&file).unwrap()).finish().unwrap().height(), 120);
}

#[test]
fn a_table_never_written_to_is_empty_and_says_so() {
    let state = state();
    let output = anomalyd(state.path(), &["SELECT source, pipeline FROM rejected WHERE date > '2026-01-01'"]).success();
    assert!(String::from_utf8_lossy(&output.get_output().stdout).contains("0 rows"));
    assert!(String::from_utf8_lossy(&output.get_output().stderr).contains("rejected has no rows yet"));
    let rows = Reports::open(state.path()).unwrap().query("SELECT * FROM anomalies").unwrap();
    assert!(rows.column("input_png").is_ok() && rows.column("tiles").is_ok() && rows.column("date").is_ok());
}
