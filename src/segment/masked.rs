//! Frames whose anomalous pixels are known, as `anomalyd simulate --masks` writes them.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::{Path, PathBuf};

use crate::error::{Failure, Kind, Result};
use crate::image::Limits;
use crate::labels::NORMAL;
use crate::pipeline::{Input, Scaling};
use crate::simulate::folder::{MASKS, TRUTH};
use crate::train::data::{self, Labels, Sample};

/// A pixel is anomalous where at least this share of it is: it matters only where frames are resampled.
const LEAST: f32 = 0.25;
/// The word for a frame with a mask of which nobody says the kind.
const UNNAMED: &str = "anomalous";

/// Frames with their masks.
#[derive(Debug, Default)]
pub struct Masked {
    /// The frames.
    pub frames: Vec<Sample>,
    /// Of each, `[height, width]` as the model sees it: whether the pixel is anomalous.
    pub masks: Vec<Vec<bool>>,
    /// Of each, what is wrong with it, or `normal`.
    pub kinds: Vec<String>,
    /// The folders.
    pub sources: Vec<PathBuf>,
    /// Frames that could not be used.
    pub rejected: usize,
}

/// Which frames do what.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Parts {
    /// Learnt from.
    pub train: Vec<usize>,
    /// Stop the fit and give the threshold.
    pub validation: Vec<usize>,
    /// Give the figures.
    pub held: Vec<usize>,
}

impl Masked {
    /// Loads every frame that has a mask: `DIR/masks/a/b.png` is that of `DIR/a/b` of any extension. The kinds are those of
    /// `DIR/truth.csv`, where there is one. A content that is there twice counts once.
    ///
    /// # Errors
    /// [`Kind::Data`] naming a mask without a frame, or of another size; where no pixel of any mask is anomalous; those of
    /// [`data::load_files`].
    pub fn load(folders: &[PathBuf], input: &Input, limits: &Limits) -> Result<Self> {
        let mut all = Self::default();
        let mut known = HashSet::new();
        for folder in folders {
            all.add(folder, input, limits, &mut known)?;
            all.sources.push(std::path::absolute(folder).unwrap_or_else(|_| folder.clone()));
        }
        if all.masks.iter().flatten().any(|&inside| inside) {
            return Ok(all);
        }
        Err(Failure::new(Kind::Data, "no mask has an anomalous pixel").hint("make some: anomalyd simulate --masks"))
    }

    fn add(&mut self, folder: &Path, input: &Input, limits: &Limits, known: &mut HashSet<blake3::Hash>) -> Result<()> {
        let root = folder.join(MASKS);
        if !root.is_dir() {
            return Err(Failure::new(Kind::Data, format!("{}: no folder {MASKS} in it", folder.display()))
                .hint("give a folder as anomalyd simulate --masks writes it"));
        }
        let masks = data::load_files(std::slice::from_ref(&root), &of_masks(input), limits)?.frames;
        let frames = data::load_files(&twins(folder, &root, &masks)?, input, limits)?;
        let truth = folder.join(TRUTH);
        let labels = if truth.is_file() { Some(Labels::read(&truth)?) } else { None };
        let mut by_name: HashMap<(PathBuf, usize), Sample> =
            masks.into_iter().map(|mask| ((name(&mask.source, &root), mask.index), mask)).collect();
        for frame in frames.frames {
            let key = (name(&frame.source, folder), frame.index);
            let Some(mask) = by_name.remove(&key).filter(|_| known.insert(frame.digest)) else { continue };
            let sizes = [&frame, &mask].map(|sample| (sample.prepared.width, sample.prepared.height));
            if sizes[0] != sizes[1] {
                let ((width, height), (wide, high)) = (sizes[0], sizes[1]);
                let at = frame.source.display();
                return Err(Failure::new(Kind::Data, format!("{at}: {width}x{height}, its mask {wide}x{high} pixels")));
            }
            let inside: Vec<bool> = mask.prepared.pixels.iter().map(|&share| share >= LEAST).collect();
            self.kinds.push(kind(labels.as_ref(), &frame, &inside));
            self.masks.push(inside);
            self.frames.push(frame);
        }
        self.rejected += frames.rejected.len();
        Ok(())
    }

    /// Of ten frames of a kind, in the order of their digests, seven are learnt from, one is for validation, two are held out.
    ///
    /// # Errors
    /// [`Kind::Data`] where a part would be without an anomalous pixel.
    pub fn parts(&self) -> Result<Parts> {
        let mut kinds: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
        for (index, kind) in self.kinds.iter().enumerate() {
            kinds.entry(kind).or_default().push(index);
        }
        let mut parts = Parts::default();
        for frames in kinds.values_mut() {
            frames.sort_by_key(|&index| *self.frames[index].digest.as_bytes());
            for (rank, &index) in frames.iter().enumerate() {
                match rank % 10 {
                    2 => parts.validation.push(index),
                    1 | 6 => parts.held.push(index),
                    _ => parts.train.push(index),
                }
            }
        }
        let anomalous = |part: &[usize]| part.iter().any(|&index| self.masks[index].iter().any(|&inside| inside));
        for (part, what) in [(&parts.train, "train"), (&parts.validation, "validation"), (&parts.held, "held-out")] {
            if !anomalous(part) {
                let message =
                    format!("{} frames with masks: none with an anomaly is left for {what}", self.frames.len());
                return Err(Failure::new(Kind::Data, message).hint("make more: at least three of a kind are needed"));
            }
        }
        Ok(parts)
    }
}

/// The frames of the masks.
fn twins(folder: &Path, root: &Path, masks: &[Sample]) -> Result<Vec<PathBuf>> {
    let mut listed: HashMap<PathBuf, HashMap<PathBuf, PathBuf>> = HashMap::new();
    let mut twins = Vec::new();
    for mask in masks {
        let stem = name(&mask.source, root);
        let home = folder.join(stem.parent().unwrap_or(Path::new("")));
        if !listed.contains_key(&home) {
            listed.insert(home.clone(), list(&home, folder)?);
        }
        let missing = || {
            let message = format!("{}: no frame {} in {}", mask.source.display(), stem.display(), folder.display());
            Failure::new(Kind::Data, message).hint("the mask of DIR/a/b.fits is DIR/masks/a/b.png")
        };
        twins.push(listed.get(&home).and_then(|files| files.get(&stem)).ok_or_else(missing)?.clone());
    }
    Ok(twins)
}

/// Files of a folder by their name without extension.
fn list(home: &Path, folder: &Path) -> Result<HashMap<PathBuf, PathBuf>> {
    let entries = match std::fs::read_dir(home) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(HashMap::new()),
        entries => entries.map_err(|error| Failure::io(home, error))?,
    };
    let mut files = HashMap::new();
    for entry in entries {
        let path = entry.map_err(|error| Failure::io(home, error))?.path();
        if path.is_file() {
            files.insert(name(&path, folder), path);
        }
    }
    Ok(files)
}

/// A file's path in its folder, without extension.
fn name(path: &Path, folder: &Path) -> PathBuf {
    path.strip_prefix(folder).unwrap_or(path).with_extension("")
}

/// Masks are cut and resampled as frames are; white is 1.
fn of_masks(input: &Input) -> Input {
    let scaling = Scaling::Linear { black: 0.0, white: f32::from(u8::MAX) };
    Input { channels: 1, scaling, clip: true, ..input.clone() }
}

fn kind(labels: Option<&Labels>, frame: &Sample, mask: &[bool]) -> String {
    let told = labels.and_then(|labels| labels.of(frame)).map(str::to_string);
    told.unwrap_or_else(|| if mask.contains(&true) { UNNAMED } else { NORMAL }.to_string())
}
