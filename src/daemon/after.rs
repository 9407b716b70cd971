//! What becomes of a file when its rows are committed: its pipeline's `[after]`. One thread a lane, so that a slow archive stops
//! nobody; what fails, or was not done before the process ended, is done at the next rescan.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, TrySendError, bounded};
use tracing::{debug, warn};

use super::access::Access;
use super::inboxes::reach_archive;
use super::lane::Lane;
use super::owed::Owed;
use super::post::{Doing, Post, Posts};
use super::stages::{Feedback, FileInfo, Told};
use crate::pipeline::{Action, After};
use crate::watch::{Found, Outcome, Scored, Stat};

/// Files that may wait for the thread; what is more waits for the next rescan.
const MOST_WAITING: usize = 4096;

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

impl Finished {
    fn found(self) -> Found {
        Found { name: self.name, stat: self.stat }
    }
}

/// The way to the thread of a lane.
#[derive(Debug, Clone)]
pub struct Line {
    after: After,
    files: Sender<Option<Finished>>,
    feedback: Arc<Feedback>,
    /// What has not been done yet.
    pub owed: Arc<Owed>,
}

/// The thread of a lane.
pub struct Hand {
    pipeline: String,
    inbox: PathBuf,
    /// The ending of markers.
    marker: Option<String>,
    after: After,
    files: Receiver<Option<Finished>>,
    feedback: Arc<Feedback>,
    owed: Arc<Owed>,
    post: Arc<Post>,
    /// Pause between two looks for an archive that is lost.
    pause: Duration,
}

/// A thread's work and the way to it; `None` where every file is left as it is.
pub fn line(lane: &Lane, feedback: &Arc<Feedback>, posts: &Posts) -> Option<(Hand, Line)> {
    if lane.after == After::default() {
        return None;
    }
    let (sender, files) = bounded(MOST_WAITING);
    let owed = Owed::new(lane.tally.clone());
    let line = Line { after: lane.after.clone(), files: sender, feedback: feedback.clone(), owed: owed.clone() };
    let hand = Hand {
        pipeline: lane.name.clone(),
        inbox: lane.inbox.clone().unwrap_or_default(),
        marker: lane.watch.done_marker.clone(),
        after: lane.after.clone(),
        files,
        feedback: feedback.clone(),
        owed,
        post: posts.post(&format!("after-{}", lane.name)),
        pause: Duration::from_secs(lane.watch.rescan_s.max(1)),
    };
    Some((hand, line))
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
        // Before it is sent: the thread may have done it by then.
        self.owed.wait(&file.name, true);
        if let Err(TrySendError::Full(Some(file)) | TrySendError::Disconnected(Some(file))) =
            self.files.try_send(Some(file))
        {
            self.owed.wait(&file.name, false);
            let rejected = file.rejected;
            self.feedback.tell(Told::Finished(file.found(), rejected));
        }
    }

    /// Ends the thread when it has done what waits.
    pub fn end(&self, patience: Duration) {
        let _ = self.files.send_timeout(None, patience);
    }
}

impl Hand {
    /// The places it needs.
    pub fn access(&self) -> Arc<Access> {
        let place = |rejected| (After::key(rejected), self.place(rejected).into());
        let acts = [false, true].into_iter().filter(|&rejected| *self.after.of(rejected) != Action::Leave);
        Access::after(&self.pipeline, acts.map(place).collect(), self.owed.clone())
    }

    /// Works until told to end.
    pub fn run(self) {
        self.look();
        while let Some(file) = self.next() {
            let outcome = self.act(&file);
            self.post.say(Doing::Rest);
            let told = match outcome {
                Ok(Outcome::Done) => {
                    self.owed.end(&file.name);
                    if self.owed.is_lost() {
                        self.look();
                    }
                    Told::Forget(file.found())
                }
                Ok(Outcome::Changed) => {
                    debug!(pipeline = self.pipeline, source = %file.name.display(), "changed since it was scored, left where it is");
                    self.owed.end(&file.name);
                    Told::Again(file.found())
                }
                Err(error) => {
                    self.fail(&file, &error);
                    let rejected = file.rejected;
                    Told::Finished(file.found(), rejected)
                }
            };
            self.feedback.tell(told);
        }
        if let Some(detail) = self.owed.failing() {
            let waiting = self.owed.waiting();
            warn!(
                pipeline = self.pipeline,
                waiting, detail, "[after] is not done, these files stay in the inbox until it is tried again"
            );
        }
    }

    /// The next file; until it comes, an archive that is lost is looked for again and again.
    fn next(&self) -> Option<Finished> {
        while self.owed.is_lost() {
            match self.files.recv_timeout(self.pause) {
                Ok(file) => return file,
                Err(RecvTimeoutError::Timeout) => self.look(),
                Err(RecvTimeoutError::Disconnected) => return None,
            }
        }
        self.files.recv().ok().flatten()
    }

    /// Looks whether files could be moved, so that it is known before the first of them.
    fn look(&self) {
        let lost = self.after.archives().find_map(|(key, archive)| {
            self.post.say(Doing::Reach { place: archive.as_path().into(), path: archive.clone() });
            let error = reach_archive(archive).err()?;
            Some(format!("{key}: cannot move files to {}: {error}", archive.display()))
        });
        self.post.say(Doing::Rest);
        self.owed.lose(lost);
    }

    fn act(&self, file: &Finished) -> std::io::Result<Outcome> {
        let Finished { name, stat, digest, rejected } = file;
        let place = self.place(*rejected);
        self.post.say(Doing::Reach { place: place.into(), path: place.join(name) });
        let step = || self.post.step();
        let marker = self.marker.as_deref();
        let scored = Scored { inbox: &self.inbox, name, stat: *stat, digest: *digest, marker, step: &step };
        match self.after.of(*rejected) {
            Action::Leave => Ok(Outcome::Done),
            Action::Delete => scored.delete(),
            Action::Move(archive) => scored.move_to(archive),
        }
    }

    /// The folder that is written: the archive, or the inbox where files are deleted.
    fn place(&self, rejected: bool) -> &Path {
        match self.after.of(rejected) {
            Action::Move(archive) => archive,
            Action::Leave | Action::Delete => &self.inbox,
        }
    }

    /// Keeps why; the overseer says it when it begins and when it ends.
    fn fail(&self, file: &Finished, error: &std::io::Error) {
        let (key, name) = (After::key(file.rejected), file.name.display());
        let detail = match self.after.of(file.rejected) {
            Action::Move(archive) => format!("{key}: cannot move {name} to {}: {error}", archive.display()),
            Action::Leave | Action::Delete => format!("{key}: cannot delete {name}: {error}"),
        };
        debug!(pipeline = self.pipeline, source = %name, detail, "[after] failed");
        self.owed.fail(&file.name, detail);
    }
}
