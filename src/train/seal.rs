//! The test split: sealed when a version is made, opened once, every opening on record.
//!
//! Figures that were looked at while choosing a model say too much good of it. So the frames are named in the version's folder
//! (`test.csv`: file, place, digest, kind), the manifest has their digest, and each look at their figures is written into the
//! manifest before the first frame is scored.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::data::{self, Sample};
use crate::error::{Failure, Kind, Result};
use crate::image::Limits;
use crate::pipeline::{Group, Input};
use crate::store::Manifest;

/// The kind of a frame that is not anomalous.
pub const NORMAL: &str = "normal";

const FRAMES: &str = "test.csv";

/// A frame of the test split.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct TestFrame {
    /// BLAKE3 of file content and place in the file, hex.
    pub digest: String,
    /// [`NORMAL`], or the kind of anomaly.
    pub kind: String,
    /// The file, an absolute path.
    pub file: PathBuf,
    /// Place in the file.
    pub frame: usize,
    /// The group it is of, where the pipeline keeps groups together.
    #[serde(default)]
    pub group: Option<String>,
}

impl TestFrame {
    /// A frame and its kind.
    pub fn new(sample: &Sample, kind: impl Into<String>) -> Self {
        Self {
            digest: sample.digest.to_hex().to_string(),
            kind: kind.into(),
            file: absolute(&sample.source),
            frame: sample.index,
            group: None,
        }
    }
}

/// Labelled frames given for test, beside the share that the pipeline keeps of the normal ones.
#[derive(Debug, Clone, Default)]
pub struct Given {
    /// The frames.
    pub frames: Vec<TestFrame>,
    /// The paths they were found under.
    pub paths: Vec<PathBuf>,
    /// The file that labels them.
    pub labels: Option<PathBuf>,
    /// Looks at their figures with earlier versions.
    pub earlier: Vec<Opening>,
    /// What the names of their groups go by, where they have any.
    pub grouped_by: Option<Group>,
}

/// What the manifest says of the test split.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Sealed {
    /// BLAKE3 over digests and kinds of its frames, hex.
    pub digest: String,
    /// Its normal frames.
    pub normal: usize,
    /// Its anomalous frames.
    pub anomalous: usize,
    /// The paths given, absolute; the share of the training data comes from its own.
    pub paths: Vec<String>,
    /// The file that labels them.
    pub labels: Option<String>,
    /// Frames by kind of anomaly.
    pub kinds: BTreeMap<String, usize>,
    /// Every look at its figures.
    #[serde(default)]
    pub openings: Vec<Opening>,
    /// Looks at the figures of frames of it with earlier versions, which it was taken over from.
    #[serde(default)]
    pub earlier: Vec<Opening>,
}

impl Sealed {
    /// Every look at figures of its frames, with whichever version; the oldest first.
    pub fn looks(&self) -> Vec<Opening> {
        self.earlier.iter().chain(&self.openings).cloned().collect()
    }
}

/// A look at the figures of a test split.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Opening {
    /// When.
    pub at: DateTime<Utc>,
    /// Why it was opened once more; none the first time.
    pub why: Option<String>,
    /// The earlier version it was opened with; none for the one whose manifest this is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// What was seen; none where the evaluation did not end.
    pub figures: Option<TestFigures>,
}

/// What a look at the test split showed.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct TestFigures {
    /// Area under the ROC curve of the combined score; none where one kind is missing.
    pub auroc: Option<f64>,
    /// Its average precision.
    pub average_precision: Option<f64>,
    /// Share of the anomalous frames flagged at the certified alpha.
    pub recall_at_alpha: Option<f64>,
    /// Share of the normal frames flagged.
    pub false_alarm_rate: Option<f64>,
}

impl std::fmt::Display for Opening {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.at.format("%Y-%m-%d %H:%M:%S UTC"))?;
        if let Some(version) = &self.version {
            write!(f, ", with version {version}")?;
        }
        match &self.why {
            Some(why) => write!(f, ", once more: {why}"),
            None => Ok(()),
        }
    }
}

/// Says, before anything is trained, where a look at the figures of frames will not show all of them.
pub fn tell(frames: &[TestFrame]) {
    let normal = frames.iter().filter(|frame| frame.kind == NORMAL).count();
    let anomalous = frames.len() - normal;
    match (normal, anomalous) {
        (0, 1..) => tracing::warn!(anomalous, "no normal frame is sealed for test: it cannot be opened"),
        (1.., 0) => {
            tracing::warn!(normal, "no anomalous frame is sealed for test: opened, it gives the false-alarm rate alone")
        }
        _ => {}
    }
}

/// Seals frames: writes `test.csv` into the version's folder, and returns what its manifest is to say. `None` without frames.
///
/// # Errors
/// [`Kind::Io`] naming the file.
pub fn seal(folder: &Path, mut frames: Vec<TestFrame>, given: &Given) -> Result<Option<Sealed>> {
    frames.sort();
    frames.dedup_by(|a, b| a.digest == b.digest);
    if frames.is_empty() {
        return Ok(None);
    }
    let path = folder.join(FRAMES);
    let mut writer = csv::Writer::from_path(&path).map_err(|error| Failure::io(&path, error))?;
    for frame in &frames {
        writer.serialize(frame).map_err(|error| Failure::io(&path, error))?;
    }
    writer.flush().map_err(|error| Failure::io(&path, error))?;
    let mut kinds: BTreeMap<String, usize> = BTreeMap::new();
    for frame in frames.iter().filter(|frame| frame.kind != NORMAL) {
        *kinds.entry(frame.kind.clone()).or_default() += 1;
    }
    let anomalous = kinds.values().sum();
    let shown = |path: &PathBuf| absolute(path).display().to_string();
    Ok(Some(Sealed {
        digest: digest_of(&frames),
        normal: frames.len() - anomalous,
        anomalous,
        paths: given.paths.iter().map(shown).collect(),
        labels: given.labels.as_ref().map(shown),
        kinds,
        openings: Vec::new(),
        earlier: given.earlier.clone(),
    }))
}

/// The sealed frames of a version, decoded and prepared anew, by kind; the normal ones under [`NORMAL`].
///
/// # Errors
/// [`Kind::Model`] when the list is not the one that was sealed; [`Kind::Io`] or [`Kind::Data`] naming a frame that is gone or
/// is not what it was.
pub fn load(folder: &Path, sealed: &Sealed, input: &Input, limits: &Limits) -> Result<BTreeMap<String, Vec<Sample>>> {
    let frames = read(folder, sealed)?;
    let files: HashSet<&PathBuf> = frames.iter().map(|frame| &frame.file).collect();
    let files: Vec<PathBuf> = files.into_iter().cloned().collect();
    let loaded = data::load_files(&files, input, limits)?.frames;
    let mut found: HashMap<String, Sample> =
        loaded.into_iter().map(|sample| (sample.digest.to_hex().to_string(), sample)).collect();
    let mut kinds: BTreeMap<String, Vec<Sample>> = BTreeMap::new();
    for frame in frames {
        let sample = found.remove(&frame.digest).ok_or_else(|| {
            let message = format!(
                "{} (frame {}) is not what it was when the test split was sealed",
                frame.file.display(),
                frame.frame
            );
            Failure::new(Kind::Data, message)
                .hint("bring the file back, or train another version with the frames at hand")
        })?;
        kinds.entry(frame.kind).or_default().push(sample);
    }
    Ok(kinds)
}

/// What was sealed with a version, to be sealed with the next one as well: none of it may be trained on, wherever its files are
/// now. Nothing where there is no test split.
///
/// # Errors
/// [`Kind::Model`] when the list is not the one that was sealed.
pub fn carried(folder: &Path, manifest: &Manifest) -> Result<Given> {
    let Some(sealed) = &manifest.data.test else { return Ok(Given::default()) };
    let named = |opening: Opening| {
        let version = opening.version.clone().or_else(|| Some(manifest.version.clone()));
        Opening { version, ..opening }
    };
    Ok(Given {
        frames: read(folder, sealed)?,
        paths: sealed.paths.iter().map(PathBuf::from).collect(),
        labels: sealed.labels.as_ref().map(PathBuf::from),
        earlier: sealed.looks().into_iter().map(named).collect(),
        grouped_by: manifest.training.as_ref().and_then(|training| training.group.clone()),
    })
}

fn read(folder: &Path, sealed: &Sealed) -> Result<Vec<TestFrame>> {
    let path = folder.join(FRAMES);
    let wrong = |error: &dyn std::fmt::Display| Failure::new(Kind::Model, format!("{}: {error}", path.display()));
    let mut reader = csv::Reader::from_path(&path).map_err(|error| wrong(&error))?;
    let frames: Vec<TestFrame> =
        reader.deserialize().collect::<Result<_, csv::Error>>().map_err(|error| wrong(&error))?;
    let digest = digest_of(&frames);
    if digest != sealed.digest {
        return Err(wrong(&format!("its frames have digest {digest}, the manifest says {}", sealed.digest)));
    }
    Ok(frames)
}

/// BLAKE3 over digest and kind of each frame; nothing else about them matters.
fn digest_of(frames: &[TestFrame]) -> String {
    let mut hasher = blake3::Hasher::new();
    for frame in frames {
        hasher.update(format!("{} {}\n", frame.digest, frame.kind).as_bytes());
    }
    hasher.finalize().to_hex().to_string()
}

fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_sealed_before_groups_had_names_is_read_on() {
        let folder = tempfile::tempdir().unwrap();
        let frame = |name: &str, group: Option<&str>| TestFrame {
            digest: blake3::hash(name.as_bytes()).to_hex().to_string(),
            kind: NORMAL.into(),
            file: PathBuf::from("/data").join(name),
            frame: 0,
            group: group.map(str::to_string),
        };
        let mut frames = vec![frame("a.fits", Some("night 7")), frame("b.fits", None)];
        frames.sort();
        let sealed = seal(folder.path(), frames.clone(), &Given::default()).unwrap().unwrap();
        assert_eq!(read(folder.path(), &sealed).unwrap(), frames);
        let old: Vec<String> =
            frames.iter().map(|frame| format!("{},normal,{},0", frame.digest, frame.file.display())).collect();
        std::fs::write(folder.path().join(FRAMES), format!("digest,kind,file,frame\n{}\n", old.join("\n"))).unwrap();
        let nameless: Vec<TestFrame> = frames.into_iter().map(|frame| TestFrame { group: None, ..frame }).collect();
        assert_eq!(read(folder.path(), &sealed).unwrap(), nameless);
    }
}
