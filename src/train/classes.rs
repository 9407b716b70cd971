//! Which class each training frame belongs to, where the model learns from labels.

use std::collections::{BTreeMap, HashMap};

use serde::{Deserialize, Serialize};

use super::data::{Sample, Samples};
use crate::error::{Failure, Kind, Result};

/// The classes, and the frames that are known to belong to one.
#[derive(Debug, Clone, Default)]
pub struct Classes {
    /// Their names, in the order of the head's logits; none without supervision.
    pub names: Vec<String>,
    of: HashMap<blake3::Hash, u32>,
}

/// Where the names come from.
#[derive(Debug, Clone, Copy)]
pub enum Names<'a> {
    /// The labels themselves, sorted.
    Labels,
    /// The pipeline: other labels count as none.
    Declared(&'a [String]),
    /// Weights to start from: a label beside them is an error.
    Kept(&'a [String]),
}

/// What the manifest says of the classes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Names, in the order of the head's logits.
    pub names: Vec<String>,
    /// Frames of each.
    pub frames: Vec<usize>,
    /// Frames of none.
    pub unlabelled: usize,
}

impl Classes {
    /// The classes of some frames, by their labels.
    ///
    /// # Errors
    /// [`Kind::Data`] for fewer than two classes, or a label that kept weights do not know.
    pub fn of(samples: &Samples, names: Names) -> Result<Self> {
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        let labels = || samples.frames.iter().filter_map(|frame| samples.labels.get(&frame.digest));
        labels().for_each(|label| *counts.entry(label).or_default() += 1);
        let names: Vec<String> = match names {
            Names::Labels => sorted(counts.keys().copied()),
            Names::Declared(names) => names.to_vec(),
            Names::Kept(names) => kept(names, &counts)?,
        };
        check(&names, &counts)?;
        let place = |label: &String| names.iter().position(|name| name == label);
        let of = samples
            .frames
            .iter()
            .filter_map(|frame| Some((frame.digest, place(samples.labels.get(&frame.digest)?)? as u32)));
        Ok(Self { of: of.collect(), names })
    }

    /// The class of a frame; `None` where it is not known.
    pub fn class(&self, sample: &Sample) -> Option<u32> {
        self.of.get(&sample.digest).copied()
    }

    /// Whether there is supervision.
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// Frames of each class; `None` without supervision.
    pub fn count(&self, frames: &[Sample]) -> Option<Counts> {
        let mut counts = Counts { names: self.names.clone(), frames: vec![0; self.names.len()], unlabelled: 0 };
        for frame in frames {
            match self.class(frame) {
                Some(class) => counts.frames[class as usize] += 1,
                None => counts.unlabelled += 1,
            }
        }
        (!self.is_empty()).then_some(counts)
    }
}

/// Refuses what tells no classes apart.
fn check(names: &[String], counts: &BTreeMap<&str, usize>) -> Result<()> {
    let found: Vec<&str> = names.iter().map(String::as_str).filter(|name| counts.contains_key(name)).collect();
    if found.len() > 1 {
        return Ok(());
    }
    let message = match found.first() {
        Some(only) => format!("the training frames are all of one class, {only}: [model.labels] needs two or more"),
        None => "no training frame has a class: [model.labels] needs two or more".to_string(),
    };
    Err(Failure::new(Kind::Data, message)
        .hint("label them with --labels FILE (CSV or IDX), or give a folder a class: DIR/CLASS/frame"))
}

/// The names that weights were trained with, where the labels are among them.
fn kept(names: &[String], counts: &BTreeMap<&str, usize>) -> Result<Vec<String>> {
    let others: Vec<&str> = counts.keys().filter(|name| !names.iter().any(|own| own == *name)).copied().collect();
    if others.is_empty() {
        return Ok(names.to_vec());
    }
    let message = format!(
        "the labels {} are not among the classes of the weights to start from ({})",
        others.join(", "),
        names.join(", ")
    );
    Err(Failure::new(Kind::Data, message)
        .hint("start with fresh weights (retrain --from scratch), or list in model.labels.classes those that count"))
}

/// Numbers by their value, else by the alphabet.
fn sorted<'a>(names: impl Iterator<Item = &'a str>) -> Vec<String> {
    let mut names: Vec<String> = names.map(str::to_string).collect();
    if names.iter().all(|name| name.parse::<u64>().is_ok()) {
        names.sort_by_key(|name| name.parse::<u64>().unwrap_or(0));
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::Scaling;
    use crate::prepare::Prepared;

    fn samples(labels: &[Option<&str>]) -> Samples {
        let mut samples = Samples::default();
        for (id, label) in labels.iter().enumerate() {
            let scaling = Scaling::Linear { black: 0.0, white: 1.0 };
            let prepared = Prepared {
                width: 1,
                height: 1,
                channels: 1,
                pixels: vec![0.0],
                tiles: vec![(0, 0)],
                in_file: [1, 1],
                scaling,
            };
            let digest = blake3::hash(&id.to_le_bytes());
            let source = format!("{id}.png").into();
            samples.frames.push(Sample { source, index: 0, digest, observed_at: None, prepared });
            samples.labels.extend(label.map(|label| (digest, label.to_string())));
        }
        samples
    }

    #[test]
    fn classes_are_those_of_the_labels_and_some_frames_have_none() {
        let samples = samples(&[Some("10"), None, Some("9"), Some("10")]);
        let classes = Classes::of(&samples, Names::Labels).unwrap();
        assert_eq!(classes.names, ["9", "10"]);
        let each: Vec<Option<u32>> = samples.frames.iter().map(|frame| classes.class(frame)).collect();
        assert_eq!(each, [Some(1), None, Some(0), Some(1)]);
        let counts = classes.count(&samples.frames).unwrap();
        assert_eq!((counts.frames, counts.unlabelled), (vec![1, 2], 1));
        assert_eq!(Classes::default().count(&samples.frames), None);
    }

    #[test]
    fn declared_names_leave_others_out_and_kept_ones_refuse_them() {
        let samples = samples(&[Some("a"), Some("b"), Some("c")]);
        let names = ["c", "a", "d"].map(String::from);
        let classes = Classes::of(&samples, Names::Declared(&names)).unwrap();
        assert_eq!(
            samples.frames.iter().map(|frame| classes.class(frame)).collect::<Vec<_>>(),
            [Some(1), None, Some(0)]
        );
        let failure = Classes::of(&samples, Names::Kept(&names)).unwrap_err();
        assert!(failure.kind == Kind::Data && failure.message.contains("labels b are not among"), "{failure}");
        let all = ["a", "b", "c", "d"].map(String::from);
        assert_eq!(Classes::of(&samples, Names::Kept(&all)).unwrap().names, all);
    }

    #[test]
    fn one_class_is_none() {
        for labels in [&[Some("a"), None, Some("a")][..], &[None, None]] {
            assert_eq!(Classes::of(&samples(labels), Names::Labels).unwrap_err().kind, Kind::Data);
        }
    }
}
