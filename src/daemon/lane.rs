//! What the stages need to know of one pipeline.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock};

use tracing::warn;

use super::after::Line;
use super::progress::Progress;
use super::stages::FileInfo;
use crate::drift::Setup;
use crate::error::{Failure, Kind, Result};
use crate::frame_size::Sizes;
use crate::ledger::Ledger;
use crate::observe::tally::Tally;
use crate::pipeline::{After, Input, Keep, Pipeline, Watch};
use crate::prepare::Prepared;
use crate::score::{Identity, Scorer, Verdict};

/// Judges prepared frames; the stages know no more of a model than this.
pub trait Judge: Send {
    /// By what frames are judged.
    fn identity(&self) -> &Identity;

    /// Scores of the frames that the verdicts are calibrated by; none where they are not.
    fn calibration(&self) -> &[f64] {
        &[]
    }

    /// Sizes of those frames; none where they are not known.
    fn sizes(&self) -> Option<Sizes> {
        None
    }

    /// The version of the classifier that names what is flagged; `None` where there is none.
    fn classifier(&self) -> Option<&str> {
        None
    }

    /// Judges frames, in order: one verdict a frame.
    ///
    /// # Errors
    /// [`Kind::Internal`] when the device fails.
    fn score(&mut self, frames: &[Prepared]) -> Result<Vec<Verdict>>;
}

impl Judge for Scorer {
    fn identity(&self) -> &Identity {
        self.identity()
    }

    fn calibration(&self) -> &[f64] {
        self.calibration().scores()
    }

    fn sizes(&self) -> Option<Sizes> {
        self.sizes()
    }

    fn classifier(&self) -> Option<&str> {
        self.classifier()
    }

    fn score(&mut self, frames: &[Prepared]) -> Result<Vec<Verdict>> {
        self.score(frames)
    }
}

/// A pipeline with its model loaded, before the ledger knows of it.
pub struct Plan {
    /// The pipeline.
    pub pipeline: Pipeline,
    /// Its model and calibration.
    pub judge: Box<dyn Judge>,
}

impl Plan {
    /// Loads the pipeline's model.
    ///
    /// # Errors
    /// Those of [`Scorer::load`].
    pub fn load(pipeline: Pipeline, models: &Path, device: &str) -> Result<Self> {
        let judge = Box::new(Scorer::load(&pipeline, models, device)?);
        Ok(Self { pipeline, judge })
    }
}

/// One pipeline in the stages. A reload makes new lanes; what is on its way finishes on the old one.
pub struct Lane {
    /// The pipeline's name.
    pub name: String,
    /// The pipeline's inbox, as written.
    pub inbox: Option<PathBuf>,
    /// From pixels to what the model sees.
    pub input: Input,
    /// Whose denoised images are kept.
    pub keep: Keep,
    /// How the inbox is watched.
    pub watch: Watch,
    /// What becomes of its files once they are scored.
    pub after: After,
    /// The way to the one who does that, where there is something to be done.
    pub line: OnceLock<Line>,
    /// By what frames are judged.
    pub identity: Arc<Identity>,
    /// The version of the classifier that names what is flagged; no part of the identity, since it changes no verdict.
    pub classifier: Option<String>,
    /// The identity's number in the ledger.
    pub number: i64,
    /// What its frames are held against in the long run.
    pub drift: Arc<Setup>,
    /// The line of identities that it belongs to: who scored a file in it has scored it for all of them.
    pub line_number: i64,
    /// What happens to its images.
    pub tally: Arc<Tally>,
    /// Locked by the score stage alone.
    pub judge: Mutex<Box<dyn Judge>>,
}

impl Lane {
    /// Enters a plan into the ledger.
    ///
    /// # Errors
    /// [`Kind::Settings`] for a name that cannot be a folder's; [`Kind::Io`].
    pub fn new(plan: Plan, ledger: &mut Ledger, progress: &Progress) -> Result<Self> {
        let Plan { pipeline, judge } = plan;
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
        if pipeline.name.is_empty() || pipeline.name.starts_with('.') || !pipeline.name.bytes().all(plain) {
            let message = format!("{}: {:?} cannot name a report folder", pipeline.path.display(), pipeline.name);
            return Err(
                Failure::new(Kind::Settings, message).hint("use letters, digits, '-' and '_' in the file's name")
            );
        }
        let identity = Arc::new(judge.identity().clone());
        if judge.sizes().is_none() {
            warn!(pipeline = pipeline.name, model = identity.model_version, "{}: train a new one", Sizes::UNKNOWN);
        }
        let number = ledger.identity(&pipeline.name, &identity)?;
        let line_number = ledger.line(&pipeline.name, number, pipeline.spec.watch.rejudge)?;
        let tally = progress.tally(&pipeline.name);
        tally.set_model(&identity.model_version, &identity.model_digest);
        let drift = Setup {
            calibration: judge.calibration().to_vec(),
            delta: pipeline.spec.calibration.delta,
            seed: pipeline.spec.training.seed,
        };
        let classifier = judge.classifier().map(ToString::to_string);
        Ok(Self {
            name: pipeline.name,
            inbox: pipeline.spec.inbox,
            input: pipeline.spec.input,
            keep: pipeline.spec.report.denoised,
            watch: pipeline.spec.watch,
            after: pipeline.spec.after,
            line: OnceLock::new(),
            identity,
            classifier,
            number,
            drift: Arc::new(drift),
            line_number,
            tally,
            judge: Mutex::new(judge),
        })
    }

    /// The inbox as it is named, for those who look whether it answers.
    pub fn place(&self) -> Arc<Path> {
        self.inbox.as_deref().unwrap_or(Path::new("")).into()
    }

    /// Says that the rows of a file are committed.
    pub fn committed(&self, file: &FileInfo, rejected: bool) {
        if let Some(line) = self.line.get() {
            line.committed(file, rejected);
        }
    }
}
