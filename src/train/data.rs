//! Training and evaluation data: files and folders to prepared frames, with labels where there are any.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};
use rayon::prelude::*;

use crate::error::{Failure, Kind, Result};
use crate::image::{self, Limits, Rejection};
use crate::interrupt;
use crate::pipeline::Input;
use crate::prepare::{Prepared, prepare};
use crate::simulate::folder::{self, Truths};

/// One prepared frame and where it came from.
#[derive(Debug, Clone)]
pub struct Sample {
    /// The file, as it was given or found.
    pub source: PathBuf,
    /// Position in the file.
    pub index: usize,
    /// BLAKE3 of file content and index: what the split goes by.
    pub digest: blake3::Hash,
    /// When it was observed, where the file says so.
    pub observed_at: Option<DateTime<Utc>>,
    /// What the model sees.
    pub prepared: Prepared,
}

/// The frames of a set of files.
#[derive(Debug, Default)]
pub struct Samples {
    /// In the order of their files' paths.
    pub frames: Vec<Sample>,
    /// What could not be used, and why.
    pub rejected: Vec<(PathBuf, Rejection)>,
    /// BLAKE3 over the digests of all frames, in order.
    pub digest: String,
    /// The labels of frames, by their digests, where they are known.
    pub labels: HashMap<blake3::Hash, String>,
    /// What the truth tables of simulations say of files: `normal`, or the kind of the anomaly.
    pub truth: HashMap<PathBuf, String>,
}

/// Labels of frames: by file name (CSV) or by position (IDX).
#[derive(Debug, Clone)]
pub enum Labels {
    /// Column `label` (or `kind`) by column `file`.
    ByFile(HashMap<String, String>),
    /// The n-th label is the n-th frame's.
    ByIndex(Vec<String>),
}

impl Labels {
    /// Reads a CSV file with the columns `file` and `label` (or `kind`), or an IDX file of bytes.
    ///
    /// # Errors
    /// [`Kind::Data`] naming the file and what it lacks.
    pub fn read(path: &Path) -> Result<Self> {
        let bytes = std::fs::read(path).map_err(|error| Failure::io(path, error))?;
        if path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("csv")) {
            read_csv(path, &bytes)
        } else {
            let labels = image::idx_labels(bytes, &Limits::default())
                .map_err(|rejection| Failure::new(Kind::Data, format!("{}: {rejection}", path.display())))?;
            Ok(Self::ByIndex(labels.into_iter().map(|label| label.to_string()).collect()))
        }
    }

    /// Checks that the labels can be told apart for these frames.
    ///
    /// # Errors
    /// [`Kind::Data`] for labels by position with frames of several files, or with more frames than labels.
    pub fn check(&self, path: &Path, frames: &[Sample]) -> Result<()> {
        let Self::ByIndex(labels) = self else { return Ok(()) };
        let wrong = |what: String| Err(Failure::new(Kind::Data, format!("{}: {what}", path.display())));
        if frames.windows(2).any(|pair| pair[0].source != pair[1].source) {
            return wrong("labels by position go with one file of frames; for several files use a CSV".into());
        }
        match frames.iter().map(|frame| frame.index).max() {
            Some(last) if last >= labels.len() => wrong(format!("{} labels for {} frames", labels.len(), last + 1)),
            _ => Ok(()),
        }
    }

    /// The label of one frame.
    pub fn of(&self, sample: &Sample) -> Option<&str> {
        match self {
            Self::ByIndex(labels) => labels.get(sample.index).map(String::as_str),
            Self::ByFile(labels) => {
                let path = sample.source.to_string_lossy();
                let tails = path.match_indices('/').map(|(at, _)| &path[at + 1..]);
                std::iter::once(path.as_ref()).chain(tails).find_map(|tail| labels.get(tail)).map(String::as_str)
            }
        }
    }
}

fn read_csv(path: &Path, bytes: &[u8]) -> Result<Labels> {
    let wrong = |what: String| Failure::new(Kind::Data, format!("{}: {what}", path.display()));
    let mut reader = csv::Reader::from_reader(bytes);
    let headers = reader.headers().map_err(|error| wrong(error.to_string()))?.clone();
    let column = |names: &[&str]| {
        let found = headers.iter().position(|header| names.contains(&header));
        found.ok_or_else(|| wrong(format!("has no column {}", names.join(" or "))))
    };
    let (file, label) = (column(&["file"])?, column(&["label", "kind"])?);
    let mut labels = HashMap::new();
    for record in reader.records() {
        let record = record.map_err(|error| wrong(error.to_string()))?;
        labels.insert(record[file].to_string(), record[label].to_string());
    }
    Ok(Labels::ByFile(labels))
}

/// Decodes and prepares every frame of the files and folders given, in the order of their paths, in parallel. Of a simulation its
/// clean twins and masks are passed over, and its frames have what its truth table says of them.
///
/// # Errors
/// Those of [`load_files`]; [`Kind::Data`] where a truth table cannot be read, [`Kind::Usage`] for a path among the clean twins or
/// masks of a simulation.
pub fn load(paths: &[PathBuf], input: &Input, limits: &Limits) -> Result<Samples> {
    folder::only_frames(paths)?;
    let mut samples = decode_all(&list(paths, folder::is_beside_frames)?, input, limits)?;
    let mut truths = Truths::default();
    for sample in &samples.frames {
        if let Some(kind) = truths.kind_of(&sample.source)? {
            samples.truth.insert(sample.source.clone(), kind.to_string());
        }
    }
    Ok(samples)
}

/// The same of files that are known to be what is wanted, and of folders of whatever.
///
/// # Errors
/// [`Kind::Io`] when a path given cannot be read, [`Kind::Data`] when not one frame is usable, [`Kind::Interrupted`] where the user
/// stops it (see [`interrupt::flag`]).
pub fn load_files(paths: &[PathBuf], input: &Input, limits: &Limits) -> Result<Samples> {
    decode_all(&list(paths, |_| false)?, input, limits)
}

/// The same of frames' clean twins: of a simulation those alone.
///
/// # Errors
/// Those of [`load_files`]; [`Kind::Usage`] for a path to other parts of a simulation.
pub fn load_clean(paths: &[PathBuf], input: &Input, limits: &Limits) -> Result<Samples> {
    let twins = paths.iter().map(|path| folder::clean_twins(path)).collect::<Result<Vec<_>>>()?;
    load_files(&twins, input, limits)
}

fn decode_all(files: &[PathBuf], input: &Input, limits: &Limits) -> Result<Samples> {
    let read = files.par_iter().map(|file| {
        interrupt::check()?;
        Ok((file, decode(file, input, limits)))
    });
    let decoded = read.collect::<Result<Vec<_>>>()?;
    let mut samples = Samples::default();
    for (file, outcome) in decoded {
        match outcome {
            Ok(frames) => {
                for frame in frames {
                    match frame {
                        Ok(sample) => samples.frames.push(sample),
                        Err(rejection) => samples.rejected.push((file.clone(), rejection)),
                    }
                }
            }
            Err(rejection) => samples.rejected.push((file.clone(), rejection)),
        }
    }
    if samples.frames.is_empty() {
        let first = samples.rejected.first();
        let why = first.map_or("no file found".to_string(), |(file, why)| format!("{}: {why}", file.display()));
        return Err(Failure::new(Kind::Data, format!("not one usable frame in {} file(s); {why}", files.len()))
            .hint("see what the pipeline makes of a file: anomalyd inspect FILE --pipeline NAME"));
    }
    samples.digest = digest_of(&samples.frames);
    Ok(samples)
}

/// BLAKE3 over the digests of some frames, in order, hex.
pub fn digest_of(frames: &[Sample]) -> String {
    let mut hasher = blake3::Hasher::new();
    for frame in frames {
        hasher.update(frame.digest.as_bytes());
    }
    hasher.finalize().to_hex().to_string()
}

/// What names a frame: BLAKE3 of its file's digest and its position.
pub fn frame_digest(content: &blake3::Hash, index: usize) -> blake3::Hash {
    let mut hasher = blake3::Hasher::new();
    hasher.update(content.as_bytes()).update(&(index as u64).to_le_bytes());
    hasher.finalize()
}

/// All files under the paths given, sorted; hidden ones, tables beside images and folders to be left out are passed over.
fn list(paths: &[PathBuf], left_out: fn(&Path) -> bool) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for path in paths {
        if path.is_file() {
            files.push(path.clone());
            continue;
        }
        let entries = walkdir::WalkDir::new(path).follow_links(true).into_iter();
        for entry in entries.filter_entry(|entry| !(entry.file_type().is_dir() && left_out(entry.path()))) {
            let entry = entry.map_err(|error| Failure::io(path, error))?;
            let name = entry.file_name().to_string_lossy();
            let table = [".csv", ".parquet", ".txt", ".md"].iter().any(|end| name.ends_with(end));
            if entry.file_type().is_file() && !name.starts_with('.') && !table {
                files.push(entry.into_path());
            }
        }
    }
    files.sort();
    files.dedup();
    Ok(files)
}

fn decode(file: &Path, input: &Input, limits: &Limits) -> Result<Vec<Result<Sample, Rejection>>, Rejection> {
    let bytes = std::fs::read(file).map_err(|error| Rejection::new(image::Reason::Unreadable, error.to_string()))?;
    let content = blake3::hash(&bytes);
    let frames = image::frames(bytes, limits)?;
    let sample = |frame: image::Frame| {
        let index = frame.index;
        let (source, digest, observed_at) = (file.to_path_buf(), frame_digest(&content, index), frame.observed_at);
        Ok(Sample { source, index, digest, observed_at, prepared: prepare(frame, input)? })
    };
    Ok(frames.map(|frame| frame.and_then(sample)).collect())
}
