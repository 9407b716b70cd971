//! What becomes of a file when its rows are committed: its pipeline's `[after]`. One thread a lane, so that a slow archive stops
//! nobody; what fails, or was not done before the process ended, is done at the next rescan.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};
use tracing::{debug, warn};

use super::stages::{Feedback, FileInfo, Told};
use crate::pipeline::{Action, After};
use crate::watch::{Outcome, Scored, Stat};

/// Files that may wait for the thread; what is more waits for the next rescan.
const MOST_WAITING: usize = 4096;
/// Time between two warnings of a pipeline.
const WARN_EVERY: Duration = Duration::from_secs(60);

/// A file whose rows are committed.
#[derive(Debug)]
pub struct Finished {
    /// Its name in the inbox.
    pub name: PathBuf,
    /// What it was.
    pub stat: Stat,
    /// BLAKE3 of its content, where that is at hand.
    pub digest: Option<[u8; 32]>,
    /// Whether it was rejected.
    pub rejected: bool,
}

/// The way to the thread of a lane.
#[derive(Debug, Clone)]
pub struct Line {
    after: After,
    files: Sender<Option<Finished>>,
    feedback: Arc<Feedback>,
}

/// The thread of a lane.
pub struct Hand {
    /// The pipeline.
    pub lane: String,
    /// Its inbox.
    pub inbox: PathBuf,
    /// The ending of its markers.
    pub marker: Option<String>,
    after: After,
    files: Receiver<Option<Finished>>,
    feedback: Arc<Feedback>,
    warned: Option<Instant>,
}

/// A thread's work and the way to it; `None` where every file is left as it is.
pub fn line(
    lane: &str,
    inbox: PathBuf,
    marker: Option<String>,
    after: &After,
    feedback: &Arc<Feedback>,
) -> Option<(Hand, Line)> {
    if *after == After::default() {
        return None;
    }
    let (sender, files) = bounded(MOST_WAITING);
    let line = Line { after: after.clone(), files: sender, feedback: feedback.clone() };
    let (after, feedback) = (after.clone(), feedback.clone());
    Some((Hand { lane: lane.into(), inbox, marker, after, files, feedback, warned: None }, line))
}

impl Line {
    /// Passes on a file whose rows are committed. One that was never read stays where it is.
    pub fn committed(&self, file: &FileInfo, rejected: bool) {
        let Some((digest, _)) = file.digest else { return };
        self.pass(Finished { name: file.name.clone(), stat: file.stat, digest: Some(digest), rejected });
    }

    /// Passes on a file; where too many wait, it is met again by the next rescan.
    pub fn pass(&self, file: Finished) {
        if *self.after.of(file.rejected) == Action::Leave {
            return;
        }
        if let Err(TrySendError::Full(Some(file)) | TrySendError::Disconnected(Some(file))) =
            self.files.try_send(Some(file))
        {
            self.feedback.tell(Told::Finished(file.name, file.stat, file.rejected));
        }
    }

    /// Ends the thread when it has done what waits.
    pub fn end(&self, patience: Duration) {
        let _ = self.files.send_timeout(None, patience);
    }
}

impl Hand {
    /// Works until told to end.
    pub fn run(mut self) {
        while let Ok(Some(file)) = self.files.recv() {
            let outcome = self.act(&file);
            let told = match outcome {
                Ok(Outcome::Done) => Told::Forget(file.name),
                Ok(Outcome::Changed) => {
                    debug!(pipeline = self.lane, source = %file.name.display(), "changed since it was scored, left where it is");
                    Told::Again(file.name)
                }
                Err(error) => {
                    self.warn(&file, &error);
                    Told::Finished(file.name, file.stat, file.rejected)
                }
            };
            self.feedback.tell(told);
        }
    }

    fn act(&self, file: &Finished) -> std::io::Result<Outcome> {
        let Finished { name, stat, digest, rejected } = file;
        let scored = Scored { inbox: &self.inbox, name, stat: *stat, digest: *digest, marker: self.marker.as_deref() };
        match self.after.of(*rejected) {
            Action::Leave => Ok(Outcome::Done),
            Action::Delete => scored.delete(),
            Action::Move(archive) => scored.move_to(archive),
        }
    }

    fn warn(&mut self, file: &Finished, error: &std::io::Error) {
        if self.warned.is_none_or(|since| since.elapsed() >= WARN_EVERY) {
            self.warned = Some(Instant::now());
            warn!(pipeline = self.lane, source = %file.name.display(), %error, "cannot do what is to be done after scoring, it is tried again");
        }
    }
}
