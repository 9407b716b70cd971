//! The stages with a judge that needs no model: the score is the mean of the pixels.

mod copies;
mod faults;

use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use polars::prelude::*;

use super::*;
use crate::components::Component;
use crate::error::Result;
use crate::pipeline::Pipeline;
use crate::prepare::Prepared;
use crate::score::{Identity, Maps, Verdict};
use crate::settings::Settings;

/// Side of the test images.
const SIDE: usize = 8;
/// Set in the process that is killed: the folder it works in.
const VICTIM: &str = "ANOMALYD_TEST_VICTIM";

/// Flags frames whose mean is above 100; panics on a mean of 66, hangs on one of 98, aborts the process on one of 99.
struct Mean {
    identity: Identity,
    pause: Duration,
}

impl Judge for Mean {
    fn identity(&self) -> &Identity {
        &self.identity
    }

    fn score(&mut self, frames: &[Prepared]) -> Result<Vec<Verdict>> {
        std::thread::sleep(self.pause);
        Ok(frames.iter().map(verdict).collect())
    }
}

fn verdict(frame: &Prepared) -> Verdict {
    let score = frame.pixels.iter().map(|&value| f64::from(value)).sum::<f64>() / frame.pixels.len() as f64;
    assert!(score != 66.0, "a judge's panic, wanted here");
    if score == 99.0 {
        std::process::abort();
    }
    if score == 98.0 {
        loop {
            std::thread::park();
        }
    }
    let maps = Maps {
        width: frame.width,
        height: frame.height,
        channels: frame.channels,
        input: frame.pixels.clone(),
        denoised: frame.pixels.clone(),
        anomaly: vec![0.5; frame.width * frame.height],
    };
    let is_anomaly = score > 100.0;
    Verdict {
        components: std::array::from_fn(|index| (index == Component::ALL.len() - 1).then_some(score)),
        score,
        p_value: 0.5,
        threshold: 100.0,
        alpha: 0.01,
        is_anomaly,
        extrapolated: false,
        latent_mean: vec![score as f32, -1.0],
        tiles: Vec::new(),
        maps: is_anomaly.then_some(maps),
    }
}

fn plan(inbox: &Path, digest: &str, pause: Duration) -> Plan {
    let text = include_str!("../../pipelines/digits.toml").to_string();
    let mut pipeline = Pipeline::parse("mean", Path::new("mean.toml"), text).unwrap();
    pipeline.spec.inbox = Some(inbox.to_path_buf());
    pipeline.spec.input.size = SIDE;
    pipeline.spec.input.clip = false;
    pipeline.spec.input.scaling = crate::pipeline::Scaling::Linear { black: 0.0, white: 1.0 };
    pipeline.spec.watch.settle_ms = 60;
    let identity = Identity {
        model_version: "1".into(),
        model_digest: digest.into(),
        calibration_digest: "c".into(),
        pipeline_digest: "p".into(),
    };
    Plan { pipeline, judge: Box::new(Mean { identity, pause }) }
}

pub(super) struct House {
    pub root: tempfile::TempDir,
    pub settings: Settings,
}

impl House {
    pub fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir(root.path().join("inbox")).unwrap();
        let settings = settings(root.path());
        Self { root, settings }
    }

    pub fn inbox(&self) -> PathBuf {
        self.root.path().join("inbox")
    }

    pub fn drop_image(&self, name: &str, value: u16) {
        write_image(&self.inbox().join(name), value);
    }

    pub fn once(&self, digest: &str) -> Summary {
        once(&self.settings, &self.inbox(), digest, Duration::ZERO).unwrap()
    }

    fn rows(&self, table: &str) -> DataFrame {
        rows(&self.settings.state, table)
    }
}

fn settings(root: &Path) -> Settings {
    Settings { state: root.join("state"), flush_rows: 16, flush_ms: 50, decode_threads: 2, ..Settings::default() }
}

fn once(settings: &Settings, inbox: &Path, digest: &str, pause: Duration) -> Result<Summary> {
    let load = || Ok(vec![plan(inbox, digest, pause)]);
    run(settings, &Orders { intake: Intake::Watch { once: true }, load: &load, view: None })
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
        Ok(space::Room { free: seen.load(Ordering::Relaxed), all: u64::MAX, inodes: true })
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

/// Sources and scores of a table, sorted; no rows where there is no table.
pub(super) fn rows(state: &Path, table: &str) -> DataFrame {
    let folder = state.join("reports").join(table);
    let parts = walkdir::WalkDir::new(folder).into_iter().flatten().filter(|entry| entry.file_type().is_file());
    let frames: Vec<DataFrame> =
        parts.map(|part| ParquetReader::new(std::fs::File::open(part.path()).unwrap()).finish().unwrap()).collect();
    frames.into_iter().reduce(|all, part| all.vstack(&part).unwrap()).unwrap_or_default()
}

pub(super) fn texts(frame: &DataFrame, column: &str) -> Vec<String> {
    if frame.width() == 0 {
        return Vec::new();
    }
    let mut texts: Vec<String> =
        frame.column(column).unwrap().str().unwrap().iter().map(|text| text.unwrap().to_string()).collect();
    texts.sort();
    texts
}

pub(super) fn png(value: u16) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, SIDE as u32, SIDE as u32);
    encoder.set_color(png::ColorType::Grayscale);
    encoder.set_depth(png::BitDepth::Sixteen);
    let mut writer = encoder.write_header().unwrap();
    writer.write_image_data(&value.to_be_bytes().repeat(SIDE * SIDE)).unwrap();
    writer.finish().unwrap();
    bytes
}

fn write_image(path: &Path, value: u16) {
    std::fs::write(path, png(value)).unwrap();
}

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
fn the_same_content_is_scored_once_and_an_overwritten_file_anew() {
    let house = House::new();
    for name in ["a.png", "b.png", "c.png"] {
        house.drop_image(name, 7);
    }
    let summary = house.once("m");
    assert_eq!((summary.scored, summary.known, summary.unfinished), (1, 2, 0));
    house.drop_image("d.png", 7);
    let summary = house.once("m");
    assert_eq!((summary.scored, summary.known), (0, 1));
    let first = texts(&house.rows("scores"), "source").remove(0);
    let duplicates = house.rows("duplicates");
    let mut names = texts(&duplicates, "source");
    names.push(first.clone());
    names.sort();
    assert_eq!(names, ["a.png", "b.png", "c.png", "d.png"], "each name once");
    assert_eq!(texts(&duplicates, "first_source"), [&*first; 3]);
    house.drop_image("a.png", 8);
    assert_eq!(house.once("m").scored, 1);
    let scores = house.rows("scores");
    assert_eq!(scores.height(), 2);
    assert_eq!(house.once("m").files, 0);
    assert_eq!(house.once("n").scored, 2, "another model scores them anew");
    assert_eq!(house.rows("duplicates").height(), 3 + 2);
}

/// Gives a file another time, as `touch` does.
pub(super) fn touch(path: &Path, seconds: u64) {
    let time = std::time::SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
    std::fs::File::options().append(true).open(path).unwrap().set_modified(time).unwrap();
}

#[test]
fn a_file_touched_or_put_there_anew_with_the_same_content_gives_no_row() {
    let house = House::new();
    house.drop_image("a.png", 7);
    house.drop_image("b.png", 7);
    std::fs::write(house.inbox().join("junk"), b"no image at all").unwrap();
    house.once("m");
    let counts = || ["scores", "anomalies", "rejected", "duplicates"].map(|table| house.rows(table).height());
    let before = counts();
    assert_eq!(before, [1, 0, 1, 1]);
    for round in 1..3 {
        for name in ["a.png", "b.png", "junk"] {
            touch(&house.inbox().join(name), round * 1_000_000);
        }
        let summary = house.once("m");
        assert_eq!((summary.files, summary.known, summary.unfinished), (3, 3, 0));
        assert_eq!(counts(), before, "touched");
        for name in ["a.png", "b.png", "junk"] {
            let (fresh, place) = (house.root.path().join(name), house.inbox().join(name));
            std::fs::copy(&place, &fresh).unwrap();
            std::fs::rename(&fresh, &place).unwrap();
        }
        assert_eq!(house.once("m").known, 3);
        assert_eq!(counts(), before, "renamed over");
    }
    assert_eq!(house.once("m").files, 0);
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
fn what_cannot_be_scored_is_a_row_under_each_of_its_names() {
    let house = House::new();
    std::fs::write(house.inbox().join("empty"), b"").unwrap();
    for name in ["junk-1", "junk-2"] {
        std::fs::write(house.inbox().join(name), b"no image at all").unwrap();
    }
    let half = png(3);
    std::fs::write(house.inbox().join("half.png"), &half[..half.len() / 2]).unwrap();
    house.drop_image("poison.png", 66);
    house.drop_image("good.png", 5);
    let summary = house.once("m");
    assert_eq!((summary.scored, summary.rejected, summary.unfinished), (1, 5, 0));
    let rejected = house.rows("rejected");
    assert_eq!(texts(&rejected, "source"), ["empty", "half.png", "junk-1", "junk-2", "poison.png"]);
    assert!(texts(&rejected, "reason").contains(&"poisonous".to_string()));
    assert_eq!(house.once("m").files, 0, "a rejected file is not tried again");
}

/// A FITS file of one image HDU a value, each `SIDE` by `SIDE`; where there is no value, one too large.
fn fits(values: &[Option<u8>]) -> Vec<u8> {
    let header = |cards: &[&str]| {
        let cards: String = cards.iter().chain(&["END"]).map(|card| format!("{card:80}")).collect();
        format!("{cards:2880}").into_bytes()
    };
    let mut file = header(&["SIMPLE  = T", "BITPIX  = 8", "NAXIS   = 0"]);
    for value in values {
        let rows = SIDE + usize::from(value.is_none());
        let axes = [format!("NAXIS1  = {SIDE}"), format!("NAXIS2  = {rows}")];
        let start = ["XTENSION= 'IMAGE   '", "BITPIX  = 8", "NAXIS   = 2", &axes[0], &axes[1]];
        file.extend(header(&[&start[..], &["PCOUNT  = 0", "GCOUNT  = 1"]].concat()));
        file.extend([value.unwrap_or(0); 2880]);
    }
    file
}

#[test]
fn a_frame_that_cannot_be_decoded_is_a_row_and_the_file_goes_on() {
    let mut house = House::new();
    house.settings.limits.frame_pixels = (SIDE * SIDE) as u64;
    // A batch of one row, so that the file is committed in pieces.
    house.settings.flush_rows = 1;
    std::fs::write(house.inbox().join("many.fits"), fits(&[Some(5), None, Some(7), None])).unwrap();
    let summary = house.once("m");
    assert_eq!((summary.scored, summary.unfinished), (2, 0));
    let places = |table: &str| {
        let rows = house.rows(table);
        let mut places: Vec<u32> = rows.column("frame_index").unwrap().u32().unwrap().iter().flatten().collect();
        places.sort_unstable();
        places
    };
    assert_eq!((places("scores"), places("rejected")), (vec![0, 2], vec![1, 3]));
    assert_eq!(house.once("m").files, 0);
}

#[test]
fn what_is_said_of_a_whole_file_is_committed_with_its_end() {
    let house = House::new();
    for index in 0..5 {
        std::fs::write(house.inbox().join(format!("junk-{index}")), format!("junk {index}")).unwrap();
    }
    let settings = Settings { flush_rows: 1, ..settings(house.root.path()) };
    once(&settings, &house.inbox(), "m", Duration::ZERO).unwrap();
    assert_eq!(house.rows("rejected").height(), 5);
    let ledger = rusqlite::Connection::open(house.root.path().join("state/ledger.sqlite")).unwrap();
    let alone = "SELECT COUNT(*) FROM parts WHERE batch NOT IN (SELECT batch FROM files)";
    assert_eq!(
        ledger.query_row(alone, [], |row| row.get::<_, i64>(0)).unwrap(),
        0,
        "a crash now would refuse it again"
    );
}

#[test]
fn a_batch_that_ends_between_a_rejection_and_its_file_forgets_no_other_name() {
    let mut house = House::new();
    house.settings.flush_rows = 1;
    let names: Vec<String> = (0..6).map(|index| format!("empty-{index}")).collect();
    for name in &names {
        std::fs::write(house.inbox().join(name), b"").unwrap();
    }
    assert_eq!(house.once("m").unfinished, 0);
    assert_eq!(texts(&house.rows("rejected"), "source"), names);
}

#[test]
fn a_file_read_twice_while_it_is_under_way_keeps_no_other_name_waiting() {
    let house = House::new();
    let settings = Settings { flush_rows: 1, batch_frames: 1, queue_frames: 1, ..house.settings.clone() };
    let mut names = vec!["a.png".to_string(), "a.png".to_string()];
    names.extend((0..20).map(|index| format!("other-{index}.png")));
    names.push("b.png".into());
    for (index, name) in names.iter().enumerate() {
        house.drop_image(name, if name == "a.png" || name == "b.png" { 1 } else { 100 + index as u16 });
    }
    let load = || Ok(vec![plan(&house.inbox(), "m", Duration::from_millis(30))]);
    let paths = names.iter().map(|name| house.inbox().join(name)).collect();
    let summary = run(&settings, &Orders { intake: Intake::Paths(paths), load: &load, view: None }).unwrap();
    assert_eq!((summary.scored, summary.unfinished), (21, 0));
    let duplicates = texts(&house.rows("duplicates"), "source");
    assert!(duplicates.len() == 1 && duplicates[0].ends_with("b.png"), "{duplicates:?}");
}

#[test]
fn files_given_by_path_have_names_that_lead_nowhere_else() {
    let house = House::new();
    house.drop_image("a.png", 1);
    house.drop_image("b.png", 2);
    let load = || Ok(vec![plan(&house.inbox(), "m", Duration::ZERO)]);
    let paths = vec![house.inbox(), house.inbox().join("a.png")];
    let orders = Orders { intake: Intake::Paths(paths), load: &load, view: None };
    let summary = run(&house.settings, &orders).unwrap();
    assert_eq!((summary.scored, summary.unfinished), (2, 0));
    let name = house.inbox().join("a.png");
    assert_eq!(texts(&house.rows("scores"), "source")[0], name.strip_prefix("/").unwrap().display().to_string());
    let missing = Orders { intake: Intake::Paths(vec!["nowhere".into()]), load: &load, view: None };
    assert_eq!(run(&house.settings, &missing).unwrap_err().kind, crate::error::Kind::Io);
}

#[test]
fn a_slow_writer_is_not_read_half_way() {
    let house = House::new();
    let path = house.inbox().join("slow.png");
    let bytes = png(9);
    let writer = std::thread::spawn(move || {
        use std::io::Write;
        let mut file = std::fs::File::create(path).unwrap();
        for piece in bytes.chunks(8) {
            file.write_all(piece).unwrap();
            std::thread::sleep(Duration::from_millis(20));
        }
    });
    std::thread::sleep(Duration::from_millis(10));
    let summary = house.once("m");
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

/// No test of its own: what the next two run in a process of its own, to be killed.
#[test]
fn victim() {
    let Some(root) = std::env::var_os(VICTIM).map(PathBuf::from) else { return };
    // A machine with too much to do may keep a batch for a second; only what is to hang is found out soon.
    let score_s = if root.join("inbox/hangs.npy").exists() { 2 } else { 100 };
    let settings = Settings { batch_frames: 4, score_s, ..settings(&root) };
    once(&settings, &root.join("inbox"), "m", Duration::from_millis(4)).unwrap();
}

fn victim_command(house: &House) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "daemon::tests::victim", "--quiet"]).env(VICTIM, house.root.path());
    command.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null());
    command
}

pub(super) fn spawn_victim(house: &House) -> std::process::Child {
    victim_command(house).spawn().unwrap()
}

#[test]
fn killed_at_any_moment_it_loses_nothing_and_doubles_nothing() {
    let house = House::new();
    let total = 600;
    for index in 0..total {
        house.drop_image(&format!("{index:03}.png"), 1000 + index);
    }
    for pause in [120, 150, 180, 210, 240, 270] {
        let mut child = spawn_victim(&house);
        std::thread::sleep(Duration::from_millis(pause));
        let _ = child.kill();
        child.wait().unwrap();
    }
    let before = house.rows("scores").height();
    house.once("m");
    let sources = texts(&house.rows("scores"), "source");
    let wanted: Vec<String> = (0..total).map(|index| format!("{index:03}.png")).collect();
    assert_eq!(sources, wanted);
    assert_eq!(texts(&house.rows("anomalies"), "source"), wanted);
    println!("{before} of {total} rows stood before the last run");
}

#[test]
fn a_file_that_kills_the_process_is_rejected_after_three_tries() {
    let house = House::new();
    house.drop_image("killer.png", 99);
    for index in 0..8 {
        house.drop_image(&format!("{index}.png"), 1 + index);
    }
    let mut deaths = 0;
    while spawn_victim(&house).wait().unwrap().signal().is_some() {
        deaths += 1;
        assert!(deaths < 6);
    }
    assert!(deaths >= 3, "{deaths}");
    assert_eq!(house.rows("scores").height(), 8);
    let rejected = house.rows("rejected");
    assert_eq!(
        (texts(&rejected, "source"), texts(&rejected, "reason")),
        (vec!["killer.png".into()], vec!["poisonous".into()])
    );
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
