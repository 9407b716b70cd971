//! A folder of simulated frames and its truth table.

use std::fs;
use std::path::{Path, PathBuf};

use rayon::prelude::*;

use super::folder::{CLEAN, MASKS, TRUTH};
use super::kind::{Instrument, Kind};
use super::truth::{self, Row, Truth};
use super::{Simulated, detector, frame, plan, telescope};
use crate::error::{Failure, Kind as Fault, Result};

/// Smallest frame that holds every kind of anomaly, px a side.
pub const SMALLEST: usize = 64;
/// Largest frame that is made, px a side.
pub const LARGEST: usize = 16_384;

/// What to make.
#[derive(Debug, Clone)]
pub struct Request {
    /// Whose frames.
    pub instrument: Instrument,
    /// How many.
    pub count: usize,
    /// Seed of the sequence.
    pub seed: u64,
    /// Share of anomalous frames, 0 to 1.
    pub anomalies: f64,
    /// The kinds of anomaly, in rotation.
    pub kinds: Vec<Kind>,
    /// Pixels a side.
    pub size: usize,
    /// `normal/` and `anomalous/<kind>/` instead of one `frames/`.
    pub split: bool,
    /// Also the frames without the instrument's noise, under `clean/`.
    pub clean: bool,
    /// Also the pixels of each anomaly, white on black PNG, under `masks/`.
    pub masks: bool,
    /// The folder; must be empty or not exist.
    pub out: PathBuf,
}

/// What was made.
#[derive(Debug, Clone, Default)]
pub struct Summary {
    /// Normal frames.
    pub normal: usize,
    /// Anomalous frames of each kind made.
    pub anomalous: Vec<(Kind, usize)>,
}

/// Makes the frames, in parallel, then `truth.parquet` and `truth.csv` beside their folders; `done` is called after each frame.
///
/// # Errors
/// When the request makes no sense, the folder is not empty, or something cannot be written.
pub fn make(request: &Request, done: impl Fn() + Sync) -> Result<Summary> {
    check(request)?;
    let plan = plan::plan(request.count, request.anomalies, request.seed, &request.kinds);
    prepare_folders(request, &plan)?;
    let rows = plan
        .par_iter()
        .enumerate()
        .map(|(index, kind)| {
            let row = write_frame(request, index as u64, *kind)?;
            done();
            Ok(row)
        })
        .collect::<Result<Vec<Row>>>()?;
    truth::write_parquet(&rows, &request.out.join("truth.parquet"))?;
    truth::write_csv(&rows, &request.out.join(TRUTH))?;
    Ok(summary(&plan, &request.kinds))
}

fn check(request: &Request) -> Result<()> {
    let usage = |message: String| Err(Failure::new(Fault::Usage, message));
    if !(0.0..=1.0).contains(&request.anomalies) {
        return usage(format!("--anomalies {}: a share lies between 0 and 1", request.anomalies));
    }
    if !(SMALLEST..=LARGEST).contains(&request.size) {
        return usage(format!("--size {}: a frame has {SMALLEST} to {LARGEST} pixels a side", request.size));
    }
    if let Some(kind) = request.kinds.iter().find(|kind| !request.instrument.kinds().contains(kind)) {
        return usage(format!("a {:?} has no {}", request.instrument, kind.as_str()));
    }
    let mut entries = match fs::read_dir(&request.out) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        entries => entries.map_err(|error| Failure::io(&request.out, error))?,
    };
    match entries.next() {
        None => Ok(()),
        Some(_) => Err(Failure::new(Fault::Io, format!("{}: the folder is not empty", request.out.display()))
            .hint("name a new folder: frames of another run would contradict the truth table")),
    }
}

fn prepare_folders(request: &Request, plan: &[Option<Kind>]) -> Result<()> {
    let beside = [(request.clean, CLEAN), (request.masks, MASKS)];
    let roots = std::iter::once("").chain(beside.into_iter().filter(|(wanted, _)| *wanted).map(|(_, name)| name));
    let roots: Vec<PathBuf> = roots.map(|name| request.out.join(name)).collect();
    let each = |kind: &Option<Kind>| roots.iter().map(|root| root.join(folder(request, *kind))).collect::<Vec<_>>();
    let mut folders: Vec<PathBuf> = plan.iter().flat_map(each).collect();
    folders.push(request.out.clone());
    folders.sort_unstable();
    folders.dedup();
    folders.iter().try_for_each(|path| fs::create_dir_all(path).map_err(|error| Failure::io(path, error)))
}

/// The frame's folder, relative to the table's.
fn folder(request: &Request, kind: Option<Kind>) -> PathBuf {
    match (request.split, kind) {
        (false, _) => PathBuf::from("frames"),
        (true, None) => PathBuf::from("normal"),
        (true, Some(kind)) => Path::new("anomalous").join(kind.as_str()),
    }
}

fn write_frame(request: &Request, index: u64, kind: Option<Kind>) -> Result<Row> {
    let made: Simulated = frame(request.instrument, request.size, request.seed, index, kind);
    let encode = |made: &Simulated| match request.instrument {
        Instrument::Telescope => Ok(telescope::encode(made, index)),
        Instrument::Detector => detector::encode(made),
    };
    let write = |path: PathBuf, bytes: Vec<u8>| fs::write(&path, bytes).map_err(|error| Failure::io(&path, error));
    let file = folder(request, kind).join(format!("frame-{index:06}.{}", request.instrument.extension()));
    write(request.out.join(&file), encode(&made)?)?;
    let truth: Option<Truth> = made.truth;
    if request.masks {
        write(request.out.join(MASKS).join(file.with_extension("png")), truth::mask_png(&made.mask, made.size))?;
    }
    if request.clean {
        let clean = Simulated { pixels: made.clean.clone(), ..made };
        write(request.out.join(CLEAN).join(&file), encode(&clean)?)?;
    }
    Ok(Row { file: file.to_string_lossy().into_owned(), truth, seed: request.seed })
}

fn summary(plan: &[Option<Kind>], kinds: &[Kind]) -> Summary {
    let of = |kind: Kind| plan.iter().flatten().filter(|k| **k == kind).count();
    Summary {
        normal: plan.iter().filter(|kind| kind.is_none()).count(),
        anomalous: kinds.iter().map(|&kind| (kind, of(kind))).filter(|(_, count)| *count > 0).collect(),
    }
}
