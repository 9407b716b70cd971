//! The labelled frames that `classify` is given: by folder, by a table, or by what people said.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::path::PathBuf;

use crate::classify::set::{Labelled, Missing, Said};
use crate::commands::labelled::{anomalous, named};
use crate::commands::{origin, whereabouts};
use crate::error::{Failure, Kind, Result};
use crate::labels::{self, Label, NORMAL};
use crate::pipeline::Pipeline;
use crate::score::Scorer;
use crate::settings::Settings;
use crate::store;
use crate::train::data::{self, Labels, Samples};

/// Missing frames that are named one by one.
const NAMED: usize = 10;

/// Labelled frames. Of a tiled pipeline only those count that its model flags, by a window around what is odd, as in use.
#[derive(Debug, clap::Args)]
pub struct Given {
    /// A pipeline's name, or the path of its TOML file.
    pub pipeline: String,
    /// Frames: files and folders. Without --labels the first folder below each path names the kind; of a simulation
    /// its truth table does, and normal frames are left out.
    #[arg(long, required_unless_present = "from_labels", num_args = 1.., value_name = "PATH")]
    pub data: Vec<PathBuf>,
    /// Kinds of the frames: CSV with columns `file` and `kind` (or `label`), or IDX (one label a frame, in order).
    #[arg(long, value_name = "FILE", requires = "data")]
    pub labels: Option<PathBuf>,
    /// Besides, the frames that people gave a kind (`anomalyd label`, in the folder of --state), where their content is still found:
    /// in the inbox, an archive, by their path, or under --look-in. What a person said counts more than --data.
    #[arg(long)]
    from_labels: bool,
    /// Where else those frames may be, by content, whatever their names are now.
    #[arg(long, num_args = 1.., value_name = "PATH", requires = "from_labels")]
    look_in: Vec<PathBuf>,
}

impl Given {
    /// Loads the frames, gives each its kind, and chooses the tiles.
    ///
    /// # Errors
    /// [`Kind::Data`] where there are none, or no labels, or a file of which nothing names the kind; [`Kind::Model`] of a tiled pipeline without a model; [`Kind::Io`].
    pub fn gather(&self, pipeline: &Pipeline, settings: &Settings) -> Result<Labelled> {
        let table = self.labels.as_deref().map(Labels::read).transpose()?;
        let mut scorer = match pipeline.spec.input.tile {
            Some(_) => Some(Scorer::of(pipeline, store::load(&settings.models, pipeline)?, &settings.device)?),
            None => None,
        };
        let mut samples = self.load(table.as_ref(), pipeline, settings)?;
        let spoken = if self.from_labels { Some(self.spoken(&mut samples, pipeline, settings)?) } else { None };
        for (file, rejection) in samples.rejected.iter().take(NAMED) {
            tracing::warn!(file = %file.display(), %rejection, "not used");
        }
        let (spoken, said) = spoken.unzip();
        let mut kinds: Kinds = spoken.unwrap_or_default();
        for sample in &samples.frames {
            let Entry::Vacant(entry) = kinds.entry(sample.digest) else { continue };
            let kind = match &table {
                Some(table) => table.of(sample).filter(|label| !label.is_empty()).map(ToString::to_string),
                None => Some(named(sample, &samples.truth, &self.data)?),
            };
            if let Some(kind) = kind {
                entry.insert(kind);
            }
        }
        let labelled = Labelled::gather(samples, &|sample| kinds.get(&sample.digest).cloned(), scorer.as_mut())?;
        Ok(Labelled { said, ..labelled })
    }

    /// The frames of --data.
    fn load(&self, table: Option<&Labels>, pipeline: &Pipeline, settings: &Settings) -> Result<Samples> {
        if self.data.is_empty() {
            return Ok(Samples::default());
        }
        let samples = data::load(&self.data, &pipeline.spec.input, &settings.limits)?;
        match (&self.labels, table) {
            (Some(path), Some(table)) => table.check(path, &samples.frames).map(|()| samples),
            _ => anomalous(samples),
        }
    }

    /// Adds the frames that people gave a kind, takes away those they found to be normal, and says which is which.
    fn spoken(&self, samples: &mut Samples, pipeline: &Pipeline, settings: &Settings) -> Result<(Kinds, Said)> {
        let state = &settings.state;
        let own: Vec<Label> =
            labels::read(state)?.into_iter().filter(|label| label.pipeline == pipeline.name).collect();
        if own.is_empty() {
            let message = format!("{}: nobody has labelled a frame of pipeline {}", state.display(), pipeline.name);
            return Err(Failure::new(Kind::Data, message).hint(
                "say what flagged frames are: anomalyd label FRAME_ID KIND, or name another folder with --state",
            ));
        }
        let (normal, odd): (Vec<&Label>, Vec<&Label>) = own.iter().partition(|label| label.label == NORMAL);
        let mut found = whereabouts::find(&odd, &self.look_in, pipeline, settings)?;
        let given: HashSet<_> = samples.frames.iter().map(|sample| sample.digest).collect();
        let is_there = |label: &&&Label| {
            found.has(label) || whereabouts::digest_of(label).is_some_and(|digest| given.contains(&digest))
        };
        let mut missing: Vec<Missing> =
            odd.iter().filter(|label| !is_there(label)).map(|label| missing(label)).collect();
        missing.sort_by(|a, b| a.source.cmp(&b.source));
        tell(&missing, odd.len());
        let normal: Vec<_> = normal.iter().filter_map(|label| whereabouts::digest_of(label)).collect();
        samples.frames.retain(|sample| !normal.contains(&sample.digest));
        // Theirs first: of two copies the first counts.
        std::mem::swap(samples, &mut found.samples);
        origin::merge(samples, found.samples);
        let said = Said { state: state.display().to_string(), labelled: odd.len(), normal: normal.len(), missing };
        let kinds =
            odd.iter().filter_map(|label| Some((whereabouts::digest_of(label)?, label.label.clone()))).collect();
        Ok((kinds, said))
    }
}

/// Kinds by the frame's digest.
type Kinds = HashMap<blake3::Hash, String>;

fn missing(label: &Label) -> Missing {
    Missing { frame_id: label.frame_id.clone(), source: label.source.clone(), kind: label.label.clone() }
}

fn tell(missing: &[Missing], all: usize) {
    for Missing { frame_id, source, kind } in missing.iter().take(NAMED) {
        tracing::warn!(frame_id, source, kind, "labelled, but its content is nowhere to be found");
    }
    if missing.len() > NAMED {
        tracing::warn!(
            missing = missing.len(),
            labelled = all,
            "labelled frames that are not found, the rest not named here"
        );
    }
}
