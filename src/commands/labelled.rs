//! Frames chosen by label: which of the data given are normal, and which class each is of.

use std::collections::{HashMap, HashSet};
use std::ffi::OsString;
use std::path::PathBuf;

use crate::error::{Failure, Kind, Result};
use crate::pipeline::Pipeline;
use crate::train::data::{Labels, Sample, Samples};
use crate::train::seal::NORMAL;

/// The kind of frames of which nothing more is known, and the folder that holds a folder a kind.
pub const ANOMALOUS: &str = "anomalous";

/// Which frames count as normal, where the data are labelled.
#[derive(Debug, Clone, clap::Args)]
pub struct Selection {
    /// Labels of the data: CSV with columns `file` and `label` (or `kind`), or IDX (one label a frame, in order).
    #[arg(long, value_name = "FILE")]
    pub labels: Option<PathBuf>,
    /// Labels that count as normal (comma-separated); the others are anomalous. A pipeline that learns from labels
    /// (`[model.labels]`) takes all frames for normal without it.
    #[arg(long, value_delimiter = ',', value_name = "LABEL", requires = "labels")]
    pub normal_label: Vec<String>,
}

impl Selection {
    /// Refuses labels that nothing says how to use.
    ///
    /// # Errors
    /// [`Kind::Usage`] for `--labels` without `--normal-label`, unless the pipeline learns from them.
    pub fn check(&self, pipeline: &Pipeline) -> Result<()> {
        if pipeline.spec.model.labels.is_some() { Ok(()) } else { self.named() }
    }

    /// Refuses labels of which none is named as normal.
    ///
    /// # Errors
    /// [`Kind::Usage`] for `--labels` without `--normal-label`.
    pub fn named(&self) -> Result<()> {
        if self.labels.is_none() || !self.normal_label.is_empty() {
            return Ok(());
        }
        let hint = "say which labels are normal with --normal-label; all are for the training of a pipeline with [model.labels]";
        Err(Failure::new(Kind::Usage, "--labels without --normal-label").hint(hint))
    }
}

/// Keeps the normal frames of labelled data, with their labels: everything where no label is named as normal. Without labels a
/// frame's is its folder, the first below the path given, or else that path's own name, none where that path is a file; and of
/// simulations the normal frames are kept.
///
/// # Errors
/// [`Kind::Data`] when the labels cannot be read or no frame is normal.
pub fn select(mut samples: Samples, selection: &Selection, given: &[PathBuf]) -> Result<Samples> {
    let Some(path) = &selection.labels else {
        let mut samples = normal(samples)?;
        samples.labels = folders(&samples, given);
        return Ok(samples);
    };
    let labels = Labels::read(path)?;
    labels.check(path, &samples.frames)?;
    if !selection.normal_label.is_empty() {
        samples.frames.retain(|sample| is_normal(&labels, sample, selection) == Some(true));
    }
    let label = |sample: &Sample| Some((sample.digest, labels.of(sample)?.to_string()));
    samples.labels = samples.frames.iter().filter_map(label).collect();
    if samples.frames.is_empty() {
        let wanted = selection.normal_label.join(", ");
        return Err(Failure::new(Kind::Data, format!("{}: no frame has the label {wanted}", path.display())));
    }
    Ok(samples)
}

/// Leaves out the frames that the truth table of a simulation calls anomalous.
///
/// # Errors
/// [`Kind::Data`] where none is left.
pub fn normal(samples: Samples) -> Result<Samples> {
    keep(samples, |kind| kind == NORMAL, "anomalous")
}

/// Leaves out the frames that the truth table of a simulation calls normal.
///
/// # Errors
/// [`Kind::Data`] where none is left.
pub fn anomalous(samples: Samples) -> Result<Samples> {
    keep(samples, |kind| kind != NORMAL, "normal")
}

/// Leaves out what a truth table says not to keep.
fn keep(mut samples: Samples, wanted: fn(&str) -> bool, others: &str) -> Result<Samples> {
    let all = samples.frames.len();
    let is_wanted = |sample: &Sample| samples.truth.get(&sample.source).is_none_or(|kind| wanted(kind));
    samples.frames.retain(is_wanted);
    let left_out = all - samples.frames.len();
    if left_out == 0 {
        return Ok(samples);
    }
    tracing::warn!(left_out, of = all, "simulated frames that their truth table calls {others} are left out");
    if left_out == all {
        let message = format!("all {all} frames are {others}, says the truth table of their simulation");
        return Err(
            Failure::new(Kind::Data, message).hint("give frames of the other sort, or say what they are with --labels")
        );
    }
    Ok(samples)
}

/// The folders of frames. A frame that lies beside the folders of others has none, and neither has one whose file was given.
pub fn folders(samples: &Samples, given: &[PathBuf]) -> HashMap<blake3::Hash, String> {
    let root = |sample: &Sample| given.iter().find(|root| sample.source.starts_with(root));
    let lies_below = |sample: &Sample, root: &PathBuf| sample.source.parent().is_some_and(|folder| folder != root);
    let divided = |sample: &&Sample| root(sample).filter(|&root| root.is_dir() && lies_below(sample, root));
    let roots: HashSet<&PathBuf> = samples.frames.iter().filter_map(|sample| divided(&sample)).collect();
    let has_one = |sample: &&Sample| {
        root(sample).is_some_and(|at| at.is_dir() && (!roots.contains(at) || lies_below(sample, at)))
    };
    let with_one = samples.frames.iter().filter(has_one);
    with_one.filter_map(|sample| Some((sample.digest, kind_by_folder(sample, given)?))).collect()
}

/// Whether a labelled frame is normal; `None` where it has no label.
pub fn is_normal(labels: &Labels, sample: &Sample, selection: &Selection) -> Option<bool> {
    labels.of(sample).map(|label| selection.normal_label.iter().any(|normal| normal == label))
}

/// The kind of a frame by its folder: the first below the path given, else that path's own name. None where the file itself was
/// given: no folder names its kind.
pub fn kind_by_folder(sample: &Sample, given: &[PathBuf]) -> Option<String> {
    let root = given.iter().find(|&root| sample.source.starts_with(root) && sample.source != *root)?;
    let below = sample.source.strip_prefix(root).ok()?.parent()?.iter().next().map(OsString::from);
    let name = below.or_else(|| Some(std::path::absolute(root).ok()?.file_name()?.to_os_string()));
    name.map(|name| name.to_string_lossy().into_owned())
}

/// The kind of a frame: of a simulated one what the truth table says, else [`kind_by_folder`].
pub fn kind_of(sample: &Sample, truth: &HashMap<PathBuf, String>, given: &[PathBuf]) -> Option<String> {
    truth.get(&sample.source).cloned().or_else(|| kind_by_folder(sample, given))
}

/// The same for whoever cannot do without a kind.
///
/// # Errors
/// [`Kind::Data`] naming a file of which no folder names the kind.
pub fn named(sample: &Sample, truth: &HashMap<PathBuf, String>, given: &[PathBuf]) -> Result<String> {
    kind_of(sample, truth, given).ok_or_else(|| {
        let message =
            format!("{}: the file itself was given, so that no folder names its kind", sample.source.display());
        Failure::new(Kind::Data, message).hint("give its folder, whose name is the kind, or a table of labels")
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::Scaling;
    use crate::prepare::Prepared;

    fn samples(files: &[PathBuf]) -> Samples {
        let sample = |file: &PathBuf| {
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
            let digest = blake3::hash(file.as_os_str().as_encoded_bytes());
            Sample { source: file.clone(), index: 0, digest, observed_at: None, prepared }
        };
        Samples { frames: files.iter().map(sample).collect(), ..Samples::default() }
    }

    #[test]
    fn a_folder_is_a_class_and_a_frame_beside_folders_has_none() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        std::fs::create_dir_all(at("all/cat")).unwrap();
        std::fs::create_dir_all(at("dog")).unwrap();
        let files = ["all/cat/1.png", "all/2.png", "all/cat/deep/3.png", "dog/4.png"].map(at);
        let found = select(samples(&files), &Selection { labels: None, normal_label: vec![] }, &[at("all"), at("dog")]);
        let found = found.unwrap();
        let labels: Vec<Option<&str>> =
            found.frames.iter().map(|frame| found.labels.get(&frame.digest).map(String::as_str)).collect();
        assert_eq!(labels, [Some("cat"), None, Some("cat"), Some("dog")]);
        let each = select(samples(&files), &Selection { labels: None, normal_label: vec![] }, &files).unwrap();
        assert!(each.labels.is_empty(), "a file is no class: {:?}", each.labels);
    }

    #[test]
    fn a_file_by_itself_names_no_kind() {
        let file = PathBuf::from("/known/trail/1.png");
        let sample = &samples(std::slice::from_ref(&file)).frames[0];
        let kind = |given: &[&str]| kind_by_folder(sample, &given.iter().map(PathBuf::from).collect::<Vec<_>>());
        assert_eq!([kind(&["/known"]), kind(&["/known/trail"])], ["trail", "trail"].map(|kind| Some(kind.into())));
        assert_eq!(kind(&["/known/trail/1.png"]), None);
        assert_eq!(kind(&["/known/trail/1.png", "/known"]).as_deref(), Some("trail"), "its folder was given too");
        let failure = named(sample, &HashMap::new(), &[file]).unwrap_err();
        assert!(failure.kind == Kind::Data && failure.message.contains("/known/trail/1.png"), "{failure}");
    }

    #[test]
    fn frames_keep_their_labels_and_all_are_normal_where_none_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let table = folder.path().join("labels.csv");
        std::fs::write(&table, "file,label\n1.png,a\n2.png,b\n").unwrap();
        let of = |normal: &[&str]| {
            let normal_label = normal.iter().map(|label| label.to_string()).collect();
            let files = ["1.png", "2.png", "3.png"].map(PathBuf::from);
            select(samples(&files), &Selection { labels: Some(table.clone()), normal_label }, &[]).unwrap()
        };
        let (all, some) = (of(&[]), of(&["b"]));
        assert_eq!((all.frames.len(), all.labels.len()), (3, 2));
        assert_eq!((some.frames.len(), some.labels.len()), (1, 1));
        assert_eq!(some.labels[&some.frames[0].digest], "b");
    }
}
