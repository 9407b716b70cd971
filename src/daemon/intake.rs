//! The intake: threads that find files and send them to the stages.

use std::collections::HashMap;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use chrono::Utc;
use crossbeam_channel::{SendTimeoutError, Sender};

use super::lane::Lane;
use super::progress::Progress;
use super::stages::{Feedback, Job, Stop};
use super::work::MOST_TRIES;
use crate::error::{Failure, Kind, Result};
use crate::image::{Reason, Rejection};
use crate::ledger::Suspect;
use crate::pipeline::WatchMode;
use crate::report::names::given_name;
use crate::watch::{Found, Hints, Inbox, Known, Stat, files_below, stat_of};

/// Time after which an idle intake looks whether it should stop.
const IDLE: Duration = Duration::from_millis(500);
/// Time between two looks at a full queue.
const PATIENCE: Duration = Duration::from_millis(50);
/// Files taken from an inbox between two looks at its hints.
const PORTION: usize = 1024;

/// Where files come from.
#[derive(Debug, Clone)]
pub enum Intake {
    /// The inboxes of the pipelines; until they are empty, or for ever.
    Watch {
        /// End when every inbox is drained.
        once: bool,
    },
    /// These files, and what is in these folders; one pipeline.
    Paths(Vec<PathBuf>),
}

/// Sends files of one lane.
pub struct Feeder {
    /// The lane.
    pub lane: Arc<Lane>,
    /// The decode stage.
    pub jobs: Sender<Job>,
    /// When to end; an own one for each set of lanes.
    pub stop: Arc<Stop>,
    /// Counters.
    pub progress: Arc<Progress>,
    /// What the stages tell.
    pub feedback: Arc<Feedback>,
    /// Files that processes died over: name to version and tries.
    pub suspects: HashMap<Vec<u8>, (Stat, u32)>,
}

impl Feeder {
    /// A feeder of a lane; `suspects` may name other pipelines' files too.
    pub fn new(
        lane: Arc<Lane>,
        jobs: Sender<Job>,
        stop: Arc<Stop>,
        progress: Arc<Progress>,
        suspects: &[Suspect],
    ) -> Self {
        let own = suspects.iter().filter(|suspect| suspect.pipeline == lane.name);
        let suspects = own.map(|suspect| (suspect.path.clone(), (suspect.stat, suspect.tries))).collect();
        Self { lane, jobs, stop, progress, feedback: Arc::default(), suspects }
    }

    /// Watches an inbox until told to stop, or with `once` until it is empty.
    pub fn watch(&self, mut inbox: Inbox, hints: &Hints, once: bool) {
        let rescan = Duration::from_secs(self.lane.watch.rescan_s.max(1));
        let mut scanned = Instant::now();
        inbox.scan();
        while !self.stop.is_stopped() {
            for name in self.feedback.again() {
                inbox.again(&name);
            }
            let portion = inbox.settled(PORTION);
            let mut left = inbox.waiting() + portion.len();
            self.lane.tally.waits(left, inbox.is_overfull());
            for found in portion {
                left -= 1;
                self.lane.tally.waits(left, inbox.is_overfull());
                let path = inbox.root().join(&found.name);
                if !self.send(path, found) {
                    return;
                }
            }
            if once && inbox.waiting() == 0 && self.feedback.open() == 0 {
                inbox.scan();
                if inbox.waiting() == 0 {
                    return;
                }
            }
            let busy = inbox.waiting() > 0 || once || self.feedback.open() > 0;
            let due = rescan.saturating_sub(scanned.elapsed());
            let mut hint = hints.next(due.min(if busy { inbox.pace() } else { IDLE }));
            let mut followed = 0;
            while let Some(next) = hint {
                inbox.follow(&next);
                followed += 1;
                hint = if followed < PORTION { hints.next(Duration::ZERO) } else { None };
            }
            if scanned.elapsed() >= rescan {
                inbox.scan();
                scanned = Instant::now();
            }
        }
    }

    /// Sends files and what is in folders, in order, less what is known and what lies in the state folder.
    pub fn paths(&self, paths: &[PathBuf], known: &Known, state: &Path) {
        for path in paths {
            let inside: Box<dyn Iterator<Item = PathBuf>> = if path.is_dir() {
                Box::new(files_below(path).map(|(path, _)| path).filter(|path| !path.starts_with(state)))
            } else {
                Box::new(std::iter::once(path.clone()))
            };
            for path in inside {
                let name = given_name(&path);
                // A file named by a link is the file it leads to.
                let target = path.canonicalize().unwrap_or(path);
                let Some(stat) = stat_of(&target) else { continue };
                if known.contains(name.as_os_str().as_bytes(), stat) {
                    self.progress.add(&self.progress.known, 1);
                } else if self.stop.is_stopped() || !self.send(target, Found { name, stat }) {
                    // Never sent, so never ended: the summary shows that the list was cut short.
                    self.progress.sent.fetch_add(1, Relaxed);
                    return;
                }
            }
        }
    }

    /// Sends one file; false where nobody wants it any more. A suspect goes alone, so that only it can be blamed.
    fn send(&self, path: PathBuf, found: Found) -> bool {
        let tries = match self.suspects.get(found.name.as_os_str().as_bytes()) {
            Some((stat, tries)) if *stat == found.stat => *tries,
            _ => 0,
        };
        if tries == 0 {
            return self.push(self.job(path, found, None));
        }
        let rejection = (tries >= MOST_TRIES).then(|| {
            Rejection::new(
                Reason::Poisonous,
                format!("{tries} processes died while they worked on it; please report the file"),
            )
        });
        self.quiet() && self.push(self.job(path, found, rejection)) && self.quiet()
    }

    fn job(&self, path: PathBuf, found: Found, rejected: Option<Rejection>) -> Job {
        let ticket = self.feedback.ticket();
        let received_at = Utc::now();
        Job { lane: self.lane.clone(), path, name: found.name, stat: found.stat, received_at, rejected, ticket }
    }

    fn push(&self, mut job: Job) -> bool {
        self.progress.sent.fetch_add(1, Relaxed);
        self.lane.tally.found.fetch_add(1, Relaxed);
        loop {
            match self.jobs.send_timeout(job, PATIENCE) {
                Ok(()) => return true,
                Err(SendTimeoutError::Timeout(back)) if !self.stop.is_stopped() => job = back,
                Err(_) => {
                    self.progress.sent.fetch_sub(1, Relaxed);
                    self.lane.tally.found.fetch_sub(1, Relaxed);
                    return false;
                }
            }
        }
    }

    /// Waits until every file sent has been scored.
    fn quiet(&self) -> bool {
        while self.feedback.open() > 0 {
            if self.stop.is_stopped() {
                return false;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        true
    }
}

/// The hints of an inbox.
pub fn hints(lane: &Lane, root: &Path) -> Hints {
    match lane.watch.mode {
        WatchMode::Auto => Hints::watch(root),
        WatchMode::Poll => Hints::none(),
    }
}

/// Checks that everything named is there, before any work.
///
/// # Errors
/// [`Kind::Io`] naming the path.
pub fn check_paths(paths: &[PathBuf]) -> Result<()> {
    match paths.iter().find(|path| !path.exists()) {
        Some(path) => Err(Failure::new(Kind::Io, format!("{}: no such file or folder", path.display()))),
        None => Ok(()),
    }
}
