//! The intake: threads that find files and send them to the stages.

use std::collections::HashMap;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, MutexGuard, TryLockError};
use std::time::{Duration, Instant};

use chrono::Utc;

use super::lane::Lane;
use super::progress::Progress;
use super::queue::{Feed, Refused};
use super::stages::{Feedback, Job, Stop};
use super::work::MOST_TRIES;
use crate::error::{Failure, Kind, Result};
use crate::image::{Reason, Rejection};
use crate::ledger::Suspect;
use crate::report::names::given_name;
use crate::simulate::folder::{is_truth, only_frames};
use crate::watch::{Found, Known, files_below, stat_of};

/// Time between two looks at a full queue.
const PATIENCE: Duration = Duration::from_millis(50);
/// Time that a suspect waits for that of another lane.
const SUSPECT_PATIENCE: Duration = Duration::from_secs(60);

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
    pub jobs: Feed,
    /// The inbox, once it has been opened; files given by path lie in none.
    pub inbox: Option<Arc<Path>>,
    /// When to end; an own one for each set of lanes.
    pub stop: Arc<Stop>,
    /// Counters.
    pub progress: Arc<Progress>,
    /// What the stages tell.
    pub feedback: Arc<Feedback>,
    /// Files that processes died over, by name.
    pub suspects: HashMap<Vec<u8>, Suspect>,
    /// Held by the lane that has a suspect under way.
    pub alone: Arc<Mutex<()>>,
}

impl Feeder {
    /// A feeder of a lane; `suspects` may name other pipelines' files too.
    pub fn new(
        lane: Arc<Lane>,
        jobs: Feed,
        stop: Arc<Stop>,
        progress: Arc<Progress>,
        suspects: &[Suspect],
        alone: Arc<Mutex<()>>,
    ) -> Self {
        let own = suspects.iter().filter(|suspect| suspect.pipeline == lane.name);
        let suspects = own.map(|suspect| (suspect.path.clone(), suspect.clone())).collect();
        Self { lane, jobs, inbox: None, stop, progress, feedback: Arc::default(), suspects, alone }
    }

    /// Sends files and what is in folders, in order, less what is known, what lies in the state folder, and the clean twins, masks
    /// and tables of simulations.
    pub fn paths(&self, paths: &[PathBuf], known: &Known, state: &Path) {
        for path in paths {
            let inside: Box<dyn Iterator<Item = PathBuf>> = if path.is_dir() {
                let is_frame = |path: &PathBuf| {
                    !path.starts_with(state) && !is_truth(path) && only_frames(std::slice::from_ref(path)).is_ok()
                };
                Box::new(files_below(path).map(|(path, _)| path).filter(is_frame))
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

    /// Whether processes have died over this version of a file.
    pub fn is_suspect(&self, found: &Found) -> bool {
        self.suspects.get(found.name.as_os_str().as_bytes()).is_some_and(|suspect| found.stat.is(suspect.stat))
    }

    /// Sends one file; false where nobody wants it any more. A suspect goes alone, so that only it can be blamed.
    pub fn send(&self, path: PathBuf, found: Found) -> bool {
        self.send_again(path, found, 0)
    }

    /// Sends a file that could not be read before, this many times.
    pub fn send_again(&self, path: PathBuf, found: Found, failures: u32) -> bool {
        let suspect = self.is_suspect(&found).then(|| self.suspects.get(found.name.as_os_str().as_bytes()));
        match suspect.flatten() {
            None => self.push(Job { failures, ..self.job(path, found) }),
            Some(suspect) => {
                let rejected = (suspect.tries >= MOST_TRIES).then(|| guilty(suspect));
                let _alone = self.wait_for_other_suspects();
                self.quiet()
                    && self.push(Job { failures, alone: true, rejected, ..self.job(path, found) })
                    && self.quiet()
            }
        }
    }

    fn job(&self, path: PathBuf, found: Found) -> Job {
        Job {
            lane: self.lane.clone(),
            path,
            inbox: self.inbox.clone(),
            name: found.name,
            stat: found.stat,
            received_at: Utc::now(),
            rejected: None,
            alone: false,
            failures: 0,
            ticket: self.feedback.ticket(),
        }
    }

    fn push(&self, mut job: Job) -> bool {
        self.progress.sent.fetch_add(1, Relaxed);
        self.lane.tally.found.fetch_add(1, Relaxed);
        loop {
            match self.jobs.push(job, PATIENCE) {
                Ok(()) => return true,
                Err(Refused::Full(back)) if !self.stop.is_stopped() => job = *back,
                Err(_) => {
                    self.progress.sent.fetch_sub(1, Relaxed);
                    self.lane.tally.found.fetch_sub(1, Relaxed);
                    return false;
                }
            }
        }
    }

    /// Waits until no other lane has a suspect under way; not for long, as its inbox may not answer.
    fn wait_for_other_suspects(&self) -> Option<MutexGuard<'_, ()>> {
        let begun = Instant::now();
        while begun.elapsed() < SUSPECT_PATIENCE && !self.stop.is_stopped() {
            match self.alone.try_lock() {
                Ok(guard) => return Some(guard),
                Err(TryLockError::Poisoned(poisoned)) => return Some(poisoned.into_inner()),
                Err(TryLockError::WouldBlock) => std::thread::sleep(PATIENCE),
            }
        }
        None
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

/// What is said of a file over which enough processes have died.
fn guilty(suspect: &Suspect) -> Rejection {
    let Suspect { frames: (first, last), tries, stalled, .. } = suspect;
    let place = if first == last { format!("frame {first}") } else { format!("frames {first} to {last}") };
    let (reason, what) = if *stalled {
        (Reason::Stalled, "times a worker hung over it")
    } else {
        (Reason::Poisonous, "processes died while they worked on it")
    };
    Rejection::new(reason, format!("{tries} {what}, the last at {place}; please report the file"))
}

/// Checks that everything named is there, and no masks of simulated frames, before any work.
///
/// # Errors
/// [`Kind::Io`] naming the path; those of [`only_frames`].
pub fn check_paths(paths: &[PathBuf]) -> Result<()> {
    only_frames(paths)?;
    match paths.iter().find(|path| !path.exists()) {
        Some(path) => Err(Failure::new(Kind::Io, format!("{}: no such file or folder", path.display()))),
        None => Ok(()),
    }
}
