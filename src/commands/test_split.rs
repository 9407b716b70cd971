//! Frames that `train --test` seals.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::{Path, PathBuf};

use super::labelled::{ANOMALOUS, Selection, kind_by_folder, named};
use crate::error::{Failure, Kind, Result};
use crate::pipeline::Pipeline;
use crate::train::data::{Labels, Sample, Samples};
use crate::train::seal::{Given, NORMAL, TestFrame};

/// Kinds that are named in a message.
const NAMED: usize = 10;

/// [`named`] where `anomalous` holds a folder a kind.
fn test_kind(sample: &Sample, truth: &HashMap<PathBuf, String>, given: &[PathBuf]) -> Result<String> {
    let kind = named(sample, truth, given)?;
    if kind != ANOMALOUS {
        return Ok(kind);
    }
    let within: Vec<PathBuf> = given.iter().map(|path| path.join(ANOMALOUS)).collect();
    Ok(kind_by_folder(sample, &within).unwrap_or(kind))
}

/// Frames for test with their kinds: by `labels`, where `normal` counts as normal and so do the labels in `also_normal`; else by
/// the truth table of a simulation; else by folder, where the one named `normal` does and `anomalous` holds a folder a kind.
///
/// # Errors
/// [`Kind::Data`] when the labels cannot be read, or not one frame has one; for a file of which no folder names the kind.
pub fn given(samples: &Samples, paths: &[PathBuf], labels: Option<&Path>, also_normal: &[String]) -> Result<Given> {
    let kind_of = |kind: &str| if also_normal.iter().any(|normal| normal == kind) { NORMAL } else { kind }.to_string();
    let frames: Vec<TestFrame> = match labels {
        None => {
            let frame = |sample| Ok(TestFrame::new(sample, test_kind(sample, &samples.truth, paths)?));
            samples.frames.iter().map(frame).collect::<Result<_>>()?
        }
        Some(path) => {
            let read = Labels::read(path)?;
            read.check(path, &samples.frames)?;
            let frame = |sample| Some(TestFrame::new(sample, kind_of(read.of(sample)?)));
            samples.frames.iter().filter_map(frame).collect()
        }
    };
    let unlabelled = samples.frames.len() - frames.len();
    if unlabelled > 0 {
        tracing::warn!(unlabelled, "test frames without a label are left out");
    }
    if frames.is_empty() {
        let path = labels.unwrap_or(Path::new("")).display();
        return Err(Failure::new(Kind::Data, format!("{path}: not one test frame has a label")));
    }
    Ok(Given { frames, paths: paths.to_vec(), labels: labels.map(Path::to_path_buf), ..Given::default() })
}

/// Refuses, before anything is trained, frames whose figures nobody could tell once they are opened: none of them is normal, or
/// what the model learns as normal would count as anomalous.
///
/// # Errors
/// [`Kind::Data`] naming the kinds.
pub fn check(given: &Given, trained: &Samples, selection: &Selection, pipeline: &Pipeline) -> Result<()> {
    let mut kinds: BTreeMap<&str, usize> = BTreeMap::new();
    given.frames.iter().for_each(|frame| *kinds.entry(&frame.kind).or_default() += 1);
    let spec = &pipeline.spec;
    if spec.model.labels.is_some() && selection.normal_label.is_empty() {
        let classes: HashSet<&str> = trained.labels.values().map(String::as_str).collect();
        let learnt = kinds.iter().filter(|(kind, _)| **kind != NORMAL && classes.contains(*kind));
        let learnt: BTreeMap<&str, usize> = learnt.map(|(kind, count)| (*kind, *count)).collect();
        if !learnt.is_empty() {
            let message = format!(
                "--test: {} would be sealed as anomalous, and are classes of the normal frames",
                words(&learnt)
            );
            return Err(Failure::new(Kind::Data, message).hint(hint(given)));
        }
    }
    if !kinds.is_empty() && !kinds.contains_key(NORMAL) && spec.training.split.test == 0.0 {
        let message =
            format!("--test: no normal frame, but {}: neither AUROC nor false alarms could be told", words(&kinds));
        return Err(Failure::new(Kind::Data, message).hint(hint(given)));
    }
    Ok(())
}

fn words(kinds: &BTreeMap<&str, usize>) -> String {
    let named: Vec<String> = kinds.iter().take(NAMED).map(|(kind, count)| format!("{count} of {kind}")).collect();
    let more = if kinds.len() > NAMED { format!(" and {} kinds more", kinds.len() - NAMED) } else { String::new() };
    named.join(", ") + &more
}

fn hint(given: &Given) -> &'static str {
    match given.labels {
        Some(_) => "say which labels are normal: --labels FILE --normal-label LABEL,...; the label `normal` is anyway",
        None => "put the normal frames into a folder `normal` below --test, or say which they are with --test-labels",
    }
}
