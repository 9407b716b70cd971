//! `show`: a flagged frame as a picture, from the tables alone.

use std::fs::{self, File};
use std::path::Path;

use anomalyd::draw::png::{decode, png16};
use assert_cmd::Command;
use polars::prelude::*;

/// A state folder with two flagged frames and one that was passed.
fn state() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let ids = ["aa11", "aa22", "bb33"];
    write(folder.path(), "scores", df!("frame_id" => ids, "score" => [9.0, 8.0, 1.0]).unwrap());
    let values: Vec<f32> = (0..64 * 64).map(|at| (at % 64) as f32).collect();
    let picture = png16(64, 64, 1, &values);
    let mut rows = df!(
        "frame_id" => &ids[..2],
        "source" => ["night/a.fits", "night/b.fits"],
        "score" => [9.0, 8.0],
        "threshold" => [5.0, 5.0],
        "p_value" => [0.001, 0.002],
        "alpha" => [0.01, 0.01],
        "scored_at" => [1_795_440_000_000_000i64, 1_795_440_001_000_000],
    )
    .unwrap();
    for name in ["input", "denoised", "anomaly_map"] {
        let files = [&picture.bytes[..], &picture.bytes[..]];
        rows.with_column(Column::new(format!("{name}_png").into(), files)).unwrap();
        rows.with_column(Column::new(format!("{name}_offset").into(), [picture.offset; 2])).unwrap();
        rows.with_column(Column::new(format!("{name}_scale").into(), [picture.scale; 2])).unwrap();
    }
    let tile = df!("x" => [0u32], "y" => [0u32], "score" => [9.0], "tail" => [0.001]).unwrap();
    let tile = tile.into_struct("tile".into()).into_series();
    rows.with_column(Column::new("tiles".into(), [tile.clone(), tile])).unwrap();
    write(folder.path(), "anomalies", rows);
    folder
}

fn write(state: &Path, table: &str, mut rows: DataFrame) {
    let folder = state.join(format!("reports/{table}/pipeline=telescope/date=2026-11-23"));
    fs::create_dir_all(&folder).unwrap();
    ParquetWriter::new(File::create(folder.join("part-1.parquet")).unwrap()).finish(&mut rows).unwrap();
}

fn show(state: &Path, arguments: &[&str]) -> assert_cmd::assert::Assert {
    let mut command = Command::cargo_bin("anomalyd").unwrap();
    command.current_dir(state).arg("--state").arg(state).arg("show").args(arguments).assert()
}

#[test]
fn a_flagged_frame_becomes_a_picture_with_its_tiles_outlined() {
    let state = state();
    let output = show(state.path(), &["aa1"]).success().get_output().stdout.clone();
    assert_eq!(output, b"aa11.png\n");
    let picture = decode(&fs::read(state.path().join("aa11.png")).unwrap(), None).unwrap();
    let plane = picture.width * picture.height;
    let orange = |at: usize| [230.0, 159.0, 0.0].iter().enumerate().all(|(c, v)| picture.pixels[c * plane + at] == *v);
    assert!((0..plane).filter(|at| orange(*at)).count() > 1000, "the outline of the one tile");
}

#[test]
fn what_cannot_be_shown_says_why() {
    let state = state();
    let says = |arguments: &[&str], code: i32, words: &str| {
        let output = show(state.path(), arguments).code(code).get_output().stderr.clone();
        assert!(String::from_utf8_lossy(&output).contains(words), "{}", String::from_utf8_lossy(&output));
    };
    says(&["aa"], 2, "2 flagged frames begin with aa");
    says(&["bb33"], 5, "was scored but not flagged");
    says(&["cc"], 5, "no frame in");
    says(&["a' OR 1=1 --"], 2, "is no frame id");
}
