//! The stages with a judge that needs no model: the score is the mean of the pixels.

mod after;
mod copies;
mod crash;
mod drift;
mod judges;
mod lanes;
mod names;
mod once;
mod rejected;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use polars::prelude::*;

pub(super) use self::crash::spawn_victim;
use super::*;
use crate::components::Component;
use crate::error::{Failure, Kind, Result};
use crate::ledger::Ledger;
use crate::pipeline::Pipeline;
use crate::prepare::Prepared;
use crate::score::{Identity, Maps, Verdict};
use crate::settings::Settings;

/// Side of the test images.
const SIDE: usize = 8;

/// Flags frames whose mean is above 100; panics on a mean of 66, hangs on one of 98, aborts the process on one of 99.
struct Mean {
    identity: Identity,
    pause: Duration,
    /// Frames it judges before it judges no more, and does not come back either.
    frames: usize,
}

impl Judge for Mean {
    fn identity(&self) -> &Identity {
        &self.identity
    }

    fn score(&mut self, frames: &[Prepared]) -> Result<Vec<Verdict>> {
        self.frames = self.frames.checked_sub(frames.len()).unwrap_or_else(|| hang());
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
        hang();
    }
    let maps = Maps {
        width: frame.width,
        height: frame.height,
        channels: frame.channels,
        input: frame.pixels.clone(),
        denoised: frame.pixels.clone(),
        denoised_by: crate::score::DenoisedBy::Model,
        departures: Default::default(),
        anomaly: vec![0.5; frame.width * frame.height],
        mark: None,
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
        other_size: None,
        latent_mean: vec![score as f32, -1.0],
        class: None,
        named: None,
        tiles: Vec::new(),
        maps: is_anomaly.then_some(maps),
    }
}

fn hang() -> ! {
    loop {
        std::thread::park();
    }
}

fn plan(inbox: &Path, digest: &str, pause: Duration) -> Plan {
    plan_of(inbox, digest, pause, usize::MAX)
}

fn plan_of(inbox: &Path, digest: &str, pause: Duration, frames: usize) -> Plan {
    let text = include_str!("../../pipelines/digits.toml").to_string();
    let mut pipeline = Pipeline::parse("mean", Path::new("mean.toml"), text).unwrap();
    pipeline.spec.inbox = Some(inbox.to_path_buf());
    pipeline.spec.input.size = SIDE;
    pipeline.spec.input.clip = false;
    pipeline.spec.input.scaling = crate::pipeline::Scaling::Linear { black: 0.0, white: 1.0 };
    pipeline.spec.watch.settle_ms = 60;
    // Each digest is another judge of the same files.
    pipeline.spec.watch.rejudge = true;
    let identity = Identity {
        model_version: "1".into(),
        model_digest: digest.into(),
        calibration_digest: "c".into(),
        pipeline_digest: "p".into(),
    };
    Plan { pipeline, judge: Box::new(Mean { identity, pause, frames }) }
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

/// Gives a file another time, as `touch` does.
pub(super) fn touch(path: &Path, seconds: u64) {
    let time = std::time::SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
    std::fs::File::options().append(true).open(path).unwrap().set_modified(time).unwrap();
}

/// Waits for something that must come, however little the machine lets us do.
fn wait_until(what: &str, mut there: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !there() {
        assert!(begun.elapsed() < Duration::from_secs(60), "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}
