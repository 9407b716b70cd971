//! `anomalyd simulate` from the command line: determinism, truth, and files that others can read.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use assert_cmd::cargo::cargo_bin;

fn simulate(instrument: &str, out: &Path, threads: &str, extra: &[&str]) {
    let status = Command::new(cargo_bin("anomalyd"))
        .args(["simulate", instrument, "--seed", "17", "--out"])
        .arg(out)
        .args(extra)
        .env("RAYON_NUM_THREADS", threads)
        .output()
        .expect("the program runs");
    assert!(status.status.success(), "{}", String::from_utf8_lossy(&status.stderr));
}

/// Every file below the folder, with its bytes.
fn contents(root: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut files = BTreeMap::new();
    for entry in walkdir::WalkDir::new(root).into_iter().flatten().filter(|e| e.file_type().is_file()) {
        let name = entry.path().strip_prefix(root).expect("below the root").to_string_lossy().into_owned();
        files.insert(name, fs::read(entry.path()).expect("readable"));
    }
    files
}

#[test]
fn the_same_seed_gives_the_same_bytes_with_any_number_of_threads() {
    let temporary = tempfile::tempdir().expect("a folder");
    for instrument in ["telescope", "detector"] {
        let (one, two) =
            (temporary.path().join(format!("{instrument}-1")), temporary.path().join(format!("{instrument}-2")));
        let arguments = ["--count", "12", "--anomalies", "0.6", "--size", "128"];
        simulate(instrument, &one, "1", &arguments);
        simulate(instrument, &two, "2", &arguments);
        let files = contents(&one);
        assert_eq!(files.len(), 14);
        assert!(files == contents(&two), "{instrument}: bytes differ");
    }
}

#[test]
fn truth_names_every_frame_and_the_exact_share() {
    let temporary = tempfile::tempdir().expect("a folder");
    let out = temporary.path().join("out");
    simulate("detector", &out, "2", &["--count", "40", "--anomalies", "0.3", "--split"]);
    let mut kinds: BTreeMap<String, usize> = BTreeMap::new();
    for row in csv::Reader::from_path(out.join("truth.csv")).expect("a table").records() {
        let row = row.expect("a row");
        assert!(out.join(&row[0]).is_file(), "{}", &row[0]);
        *kinds.entry(row[1].to_owned()).or_default() += 1;
    }
    let expected = [("alpha_blob", 3), ("dead_region", 3), ("double_track", 3), ("noisy_column", 3), ("normal", 28)];
    assert_eq!(kinds, expected.map(|(kind, count)| (kind.to_owned(), count)).into());
    assert!(out.join("truth.parquet").is_file());
}

#[test]
fn a_wrong_request_is_refused_before_any_work() {
    let temporary = tempfile::tempdir().expect("a folder");
    let refused = |arguments: &[&str], code: i32, says: &str| {
        let output = Command::new(cargo_bin("anomalyd"))
            .args(["simulate", "telescope", "--seed", "1", "--count", "2"])
            .args(arguments)
            .output()
            .expect("the program runs");
        let message = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{message}");
        assert!(message.contains(says), "{message}");
    };
    let new = temporary.path().join("new");
    let new = new.to_str().expect("a plain path");
    refused(&["--anomalies", "1.5", "--out", new], 2, "between 0 and 1");
    refused(&["--anomalies", "nan", "--out", new], 2, "between 0 and 1");
    refused(&["--anomalies", "1", "--kind", "alpha_blob", "--out", new], 2, "satellite_trail");
    refused(&["--anomalies", "1", "--size", "8", "--out", new], 2, "pixels a side");
    assert!(!Path::new(new).exists());
    fs::write(temporary.path().join("mine"), "").expect("writable");
    refused(&["--anomalies", "0", "--out", temporary.path().to_str().expect("a plain path")], 6, "not empty");
}

#[test]
fn astropy_and_pillow_read_the_frames() {
    let python = std::env::var("ANOMALYD_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let has = Command::new(&python).args(["-c", "import astropy, PIL, polars, numpy"]).output();
    if !has.is_ok_and(|output| output.status.success()) {
        println!("skipped: {python} has no astropy, Pillow, polars");
        return;
    }
    let temporary = tempfile::tempdir().expect("a folder");
    simulate("telescope", &temporary.path().join("t"), "2", &["--count", "2", "--anomalies", "1", "--size", "128"]);
    simulate("detector", &temporary.path().join("d"), "2", &["--count", "2", "--anomalies", "0.5"]);
    let output = Command::new(&python)
        .args(["-W", "error", "-c", READ])
        .current_dir(temporary.path())
        .output()
        .expect("python runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// Reads one frame of each instrument and both truth tables, with warnings as errors.
const READ: &str = r#"
import numpy, polars
from astropy.io import fits
from astropy.time import Time
from PIL import Image
with fits.open("t/frames/frame-000001.fits") as file:
    file.verify("exception")
    data, header = file[0].data, file[0].header
assert data.dtype == numpy.uint16 and data.shape == (128, 128), data.dtype
assert 170 < numpy.median(data) < 230, numpy.median(data)
assert Time(header["DATE-OBS"]).isot == "2026-01-01T00:01:00.000"
assert header["GAIN"] == 1.0 and header["RDNOISE"] == 5.0 and header["EXPTIME"] == 30.0
image = Image.open("d/frames/frame-000001.png")
assert image.mode.startswith("I;16") and image.size == (256, 256), image.mode
for name, size in (("t", 2), ("d", 2)):
    table = polars.read_parquet(f"{name}/truth.parquet")
    assert table.columns == ["file", "kind", "x", "y", "width", "height", "strength", "seed"]
    assert len(table) == size
    normal = table.filter(polars.col("kind") == "normal")
    assert normal["x"].null_count() == len(normal)
"#;

#[test]
fn a_reader_who_closes_the_pipe_is_no_failure_and_a_full_disk_is_one() {
    let temporary = tempfile::tempdir().expect("a folder");
    let simulate = |out: &str| {
        let mut command = Command::new(cargo_bin("anomalyd"));
        command.args("simulate detector --seed 1 --count 1 --anomalies 0 --size 64 --out".split(' '));
        command.arg(temporary.path().join(out)).stderr(Stdio::piped());
        command
    };
    let mut completions = Command::new(cargo_bin("anomalyd"));
    completions.args(["completions", "bash"]);
    for mut command in [simulate("closed"), completions] {
        let (read, write) = std::io::pipe().expect("a pipe");
        drop(read);
        let closed = command.stdout(write).output().expect("the program runs");
        assert!(closed.status.success(), "{}", String::from_utf8_lossy(&closed.stderr));
    }

    let full = fs::OpenOptions::new().write(true).open("/dev/full").expect("the device");
    let full = simulate("full").stdout(full).output().expect("the program runs");
    let said = String::from_utf8_lossy(&full.stderr);
    assert_eq!(full.status.code(), Some(6), "{said}");
    assert!(said.contains("cannot print the result: No space left on device"), "{said}");
}
