//! Decoding against astropy, Pillow and tifffile, and against a corpus of broken and hostile files.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anomalyd::image::{self, Frame, Limits, Reason, Rejection};
use serde_json::Value;

/// The folder of test data, `$ANOMALYD_DATA` where that is set; `None`, said aloud, where there is none.
fn data() -> Option<PathBuf> {
    let beside = concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/data");
    let folder = std::env::var_os("ANOMALYD_DATA").map_or_else(|| PathBuf::from(beside), PathBuf::from);
    if !folder.is_dir() {
        eprintln!("skipped: no test data at {}", folder.display());
        return None;
    }
    Some(folder)
}

fn reference() -> BTreeMap<String, Value> {
    serde_json::from_str(include_str!("../reference/decode_reference.json")).unwrap()
}

fn decode(path: &Path) -> Result<Vec<Frame>, Rejection> {
    image::frames(std::fs::read(path).unwrap(), &Limits::default())?.collect()
}

/// How one frame differs from its reference; `None` where it does not.
fn difference(frame: &Frame, expected: &Value) -> Option<String> {
    let mut shape = vec![frame.height, frame.width];
    if frame.channels > 1 {
        shape.insert(0, frame.channels);
    }
    if serde_json::json!(shape) != expected["shape"] {
        return Some(format!("shape {shape:?}, not {}", expected["shape"]));
    }
    let canonical = |value: &f32| if value.is_nan() { 0x7FC0_0000 } else { value.to_bits() };
    let bytes: Vec<u8> = frame.pixels.iter().flat_map(|value| canonical(value).to_le_bytes()).collect();
    if blake3::hash(&bytes).to_hex().as_str() == expected["blake3"] {
        return None;
    }
    let finite = || frame.pixels.iter().filter(|value| value.is_finite());
    let (low, high) = finite().fold((f32::MAX, f32::MIN), |(low, high), &value| (low.min(value), high.max(value)));
    let sum: f64 = finite().map(|&value| f64::from(value)).sum();
    Some(format!(
        "min {low} max {high} sum {sum}, not min {} max {} sum {}",
        expected["min"], expected["max"], expected["sum"]
    ))
}

/// `Ok` where every frame equals the reference.
fn compare(path: &Path, expected: &Value) -> Result<(), String> {
    let frames = decode(path).map_err(|rejection| rejection.to_string())?;
    let expected = expected.as_array().ok_or("the reference reader refuses it")?;
    if frames.len() != expected.len() {
        return Err(format!("{} frames, not {}", frames.len(), expected.len()));
    }
    frames.iter().zip(expected).find_map(|(frame, expected)| difference(frame, expected)).map_or(Ok(()), Err)
}

/// Compares every reference file under `part`; the files that differ, with how.
fn compare_all(part: &str) -> Option<(usize, BTreeMap<String, String>)> {
    let folder = data()?;
    let files: Vec<_> = reference().into_iter().filter(|(name, _)| name.starts_with(part)).collect();
    let outcomes = files.iter().map(|(name, expected)| (name.clone(), compare(&folder.join(name), expected)));
    Some((files.len(), outcomes.filter_map(|(name, outcome)| Some((name, outcome.err()?))).collect()))
}

#[test]
fn every_fits_file_equals_astropy_bit_for_bit() {
    let Some((files, different)) = compare_all("fits/") else { return };
    assert_eq!(files, 64);
    assert!(different.is_empty(), "{different:#?}");
}

#[test]
fn every_png_file_equals_pillow_bit_for_bit() {
    let Some((files, different)) = compare_all("formats/pngsuite/") else { return };
    assert_eq!(files, 80);
    assert!(different.is_empty(), "{different:#?}");
}

/// Variants that are refused, or read otherwise than tifffile reads them, and why.
const TIFF_EXCEPTIONS: &[(&str, &str)] = &[
    ("12bit.cropped.rgb.tiff", "unsupported: color type RGB(12)"),
    ("12bit.cropped.tiff", "unsupported: color type Gray(12)"),
    ("miniswhite-1c-12b.tiff", "unsupported: color type Gray(12)"),
    ("miniswhite-1c-3b.tiff", "unsupported"),
    ("miniswhite-1c-6b.tiff", "unsupported"),
    ("palette-1c-4b.tiff", "unsupported"),
    ("palette-1c-8b.tiff", "unsupported"),
    ("cmyk-3c-16b.tiff", "unsupported: a TIFF of CMYK"),
    ("cmyk-3c-32b-float.tiff", "unsupported: a TIFF of CMYK"),
    ("cmyk-4c-8b.tiff", "unsupported: a TIFF of CMYK"),
    ("logluv-3c-16b.tiff", "unsupported"),
    ("int16_zstd.tif", "unsupported: compression method ZSTD"),
    ("quad-tile.jpg.tiff", "unsupported: a TIFF of YCbCr"),
    ("tiled-jpeg-ycbcr.tif", "unsupported: a TIFF of YCbCr"),
    // Its second sample is declared as neither colour nor alpha.
    ("extra_bits_gray_8b.tiff", "unsupported: a TIFF of two bands"),
    // 65,537 strips of one pixel each: past the decoder's own limits.
    ("big_g4.tif", "corrupt: platform or format size limits"),
    // Another inverse cosine transform than libjpeg's: values differ by one here and there.
    ("tiled-jpeg-rgb-u8.tif", "min 0 max 255"),
];

#[test]
fn tiff_files_equal_tifffile_bit_for_bit_or_are_refused() {
    let Some((mut files, mut different)) = compare_all("formats/tiff/") else { return };
    let (more, others) = compare_all("formats/misc/").unwrap();
    files += more;
    different.extend(others);
    assert_eq!(files, 39);
    let unexpected: Vec<_> = different
        .iter()
        .filter(|(name, why)| !TIFF_EXCEPTIONS.iter().any(|(n, w)| name.ends_with(n) && why.starts_with(w)))
        .collect();
    assert!(unexpected.is_empty(), "{unexpected:#?}");
}

fn files_below(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
        if entry.path().is_dir() { files.extend(files_below(&entry.path())) } else { files.push(entry.path()) }
    }
    files.sort();
    files
}

#[test]
fn the_hostile_corpus_ends_as_frames_or_rejections() {
    let Some(folder) = data() else { return };
    let mut outcomes: BTreeMap<&str, usize> = BTreeMap::new();
    for path in files_below(&folder.join("hostile")).iter().filter(|path| !path.ends_with("reference_results.csv")) {
        let word = decode(path).map_or_else(|rejection| rejection.reason.as_str(), |_| "frames");
        *outcomes.entry(word).or_default() += 1;
    }
    eprintln!("{outcomes:?}");
}

/// 482 files, one process, 1 GiB of address space and a minute of processor time: an outcome for each.
#[test]
#[cfg(target_os = "linux")]
fn inspect_survives_the_hostile_corpus_in_one_gib_and_a_minute() {
    let Some(folder) = data() else { return };
    let files = files_below(&folder.join("hostile"));
    let limited = "ulimit -v 1048576; ulimit -t 60; exec \"$@\"";
    let out = std::process::Command::new("sh")
        .args(["-c", limited, "sh", env!("CARGO_BIN_EXE_anomalyd"), "inspect", "--json"])
        .args(&files)
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&out.stderr);
    assert_eq!(out.status.code(), Some(anomalyd::error::Kind::Data as i32), "{errors}");
    assert!(!errors.contains("panicked"), "{errors}");
    let reports: Vec<Value> =
        String::from_utf8(out.stdout).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(reports.len(), files.len());
    for (file, report) in files.iter().zip(&reports) {
        assert_eq!(report["file"], file.to_str().unwrap());
        let decoded = !report["frames"].as_array().unwrap().is_empty();
        assert!(decoded || report["rejection"]["reason"].is_string(), "{}", file.display());
    }
}

#[test]
fn inspect_reports_a_frame_and_writes_its_physical_values() {
    let Some(folder) = data() else { return };
    let out = tempfile::tempdir().unwrap();
    let file = folder.join("fits/astropy/scale.fits");
    let command = |args: &[&str]| {
        let run =
            std::process::Command::new(env!("CARGO_BIN_EXE_anomalyd")).arg("inspect").arg(&file).args(args).output();
        let run = run.unwrap();
        assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
        String::from_utf8(run.stdout).unwrap()
    };
    let report: Value = serde_json::from_str(&command(&["--json", "--npy", out.path().to_str().unwrap()])).unwrap();
    let expected = &reference()["fits/astropy/scale.fits"][0];
    let frame = &report["frames"][0];
    assert_eq!(report["format"], "fits");
    for key in ["min", "max"] {
        assert_eq!(frame[key].as_f64().unwrap() as f32, expected[key].as_f64().unwrap() as f32, "{key}");
    }
    let written = decode(&out.path().join("scale-0.npy")).unwrap();
    assert_eq!(difference(&written[0], expected), None);
    assert!(command(&[]).contains("frame 0: 20 x 21"));
}

#[test]
fn inspect_lists_the_frames_before_and_after_one_that_is_refused() {
    let header =
        |cards: &[String]| format!("{:2880}", cards.iter().map(|card| format!("{card:80}")).collect::<String>());
    let hdu = |start: &[&str], width: usize| {
        let axes = [format!("NAXIS1  = {width}"), "NAXIS2  = 1".into()];
        let end = ["PCOUNT  = 0", "GCOUNT  = 1", "END"].map(String::from);
        header(&start.iter().map(|card| card.to_string()).chain(axes).chain(end).collect::<Vec<_>>())
            + &"A".repeat(2880)
    };
    let extension = ["XTENSION= 'IMAGE   '", "BITPIX  = 8", "NAXIS   = 2"];
    let file = hdu(&["SIMPLE  = T", "BITPIX  = 8", "NAXIS   = 2"], 4) + &hdu(&extension, 5) + &hdu(&extension, 3);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("three.fits");
    std::fs::write(&path, file).unwrap();
    let run = std::process::Command::new(env!("CARGO_BIN_EXE_anomalyd"))
        .args(["inspect", "--json"])
        .arg(&path)
        .env("ANOMALYD__LIMITS__FRAME_PIXELS", "4")
        .output()
        .unwrap();
    assert_eq!(run.status.code(), Some(anomalyd::error::Kind::Data as i32));
    let report: Value = serde_json::from_slice(&run.stdout).unwrap();
    let places = |list: &Value| list.as_array().unwrap().iter().map(|item| item["index"].as_u64()).collect::<Vec<_>>();
    assert_eq!((places(&report["frames"]), places(&report["refused"])), (vec![Some(0), Some(2)], vec![Some(1)]));
    assert_eq!(report["refused"][0]["reason"], "too_large");
    assert_eq!(report["rejection"]["reason"], "too_large");
}

#[test]
fn a_file_that_is_no_image_ends_with_its_reason_and_the_exit_code_of_data() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
    let run = std::process::Command::new(env!("CARGO_BIN_EXE_anomalyd")).args(["inspect", file]).output().unwrap();
    assert_eq!(run.status.code(), Some(anomalyd::error::Kind::Data as i32));
    assert!(String::from_utf8_lossy(&run.stderr).contains("unknown_format"));
}

#[test]
fn reasons_of_known_bad_files() {
    let Some(folder) = data() else { return };
    let reason = |name: &str| decode(&folder.join("hostile").join(name)).unwrap_err().reason;
    assert_eq!(reason("bombs/50K-gray.png"), Reason::TooLarge);
    assert_eq!(reason("fits/HorseHead_cut_in_data.fits"), Reason::Truncated);
    assert_eq!(reason("fits/HorseHead_cut_in_header.fits"), Reason::Truncated);
    assert_eq!(reason("fits/m13_rice_cut.fits"), Reason::Truncated);
    assert_eq!(reason("fits/not_actually_fits.fits"), Reason::UnknownFormat);
    assert_eq!(reason("fits/ztf_ZTF18aasnghx_516442330015015017_difference_badcrc.fits.gz"), Reason::Corrupt);
    assert_eq!(reason("idx/t10k-first100_of_10000"), Reason::Truncated);
    assert_eq!(reason("idx/t10k-images-idx3-ubyte_broken_download.gz"), Reason::Truncated);
    assert_eq!(reason("fits/verify.fits"), Reason::NoImage);
}

#[test]
fn tabs_in_fits_headers_are_tolerated() {
    let Some(folder) = data() else { return };
    let files = files_below(&folder.join("stamps/radio_mirabest"));
    let mut fits = files.iter().filter(|path| path.extension().is_some_and(|extension| extension == "fits")).peekable();
    assert!(fits.peek().is_some());
    for path in fits {
        let frames = decode(path).unwrap();
        assert_eq!((frames.len(), frames[0].width, frames[0].height), (1, 300, 300), "{}", path.display());
    }
}

#[test]
fn mnist_is_decoded_image_by_image() {
    let Some(folder) = data() else { return };
    let path = files_below(&folder.join("digits"))
        .into_iter()
        .find(|path| path.to_string_lossy().contains("t10k-images"))
        .unwrap();
    let frames = image::frames(std::fs::read(path).unwrap(), &Limits::default()).unwrap();
    let (count, sum) = frames.map(Result::unwrap).fold((0, 0.0), |(count, sum), frame| {
        assert_eq!((frame.width, frame.height, frame.channels), (28, 28, 1));
        (count + 1, sum + frame.pixels.iter().map(|&value| f64::from(value)).sum::<f64>())
    });
    // numpy.frombuffer(gzip.open(path).read()[16:], 'u1').sum()
    assert_eq!((count, sum), (10_000, 264_923_200.0));
}
