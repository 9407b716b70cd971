//! What moves between the stages.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use chrono::{DateTime, Utc};
use tracing::{Span, info_span};

use super::budget::Permit;
use super::lane::Lane;
use crate::drift::RawStatistics;
use crate::image::Rejection;
use crate::ledger::Outcome;
use crate::prepare::Prepared;
use crate::score::Verdict;
use crate::watch::{Found, Stat};

/// A file to be read.
pub struct Job {
    /// Its pipeline.
    pub lane: Arc<Lane>,
    /// Where it is.
    pub path: PathBuf,
    /// The inbox it lies in, where it was found in one.
    pub inbox: Option<Arc<Path>>,
    /// What reports call it; its name in the inbox.
    pub name: PathBuf,
    /// What it was when it was found.
    pub stat: Stat,
    /// When it was found.
    pub received_at: DateTime<Utc>,
    /// Rejected before it was opened: it has killed too many processes.
    pub rejected: Option<Rejection>,
    /// A process has died over it: its frames go alone, so that only one can be blamed.
    pub alone: bool,
    /// Times it could not be read.
    pub failures: u32,
    /// Tells the intake when the file has been scored, or has to be looked at again.
    pub ticket: Ticket,
}

/// What the stages tell an intake.
#[derive(Debug, Default)]
pub struct Feedback {
    told: Mutex<Vec<Told>>,
    open: AtomicUsize,
}

/// What became of a version of a file. Another one may be under way by now: then nothing of this is said of it.
#[derive(Debug)]
pub enum Told {
    /// It changed while it was read, or is gone: look again.
    Again(Found),
    /// It could not be read, this many times by now: read it again in a while.
    Later(Found, u32),
    /// Its rows are committed, and what is to be done after that has not been done.
    Finished(Found, bool),
    /// It has been moved away or deleted after scoring.
    Forget(Found),
}

/// One file of an intake that has not been scored yet.
#[derive(Debug)]
pub struct Ticket(Arc<Feedback>);

impl Feedback {
    /// A ticket for one more file.
    pub fn ticket(self: &Arc<Self>) -> Ticket {
        self.open.fetch_add(1, Ordering::AcqRel);
        Ticket(self.clone())
    }

    /// Files sent and not yet scored.
    pub fn open(&self) -> usize {
        self.open.load(Ordering::Acquire)
    }

    /// Tells what became of a file.
    pub fn tell(&self, told: Told) {
        self.told.lock().unwrap_or_else(PoisonError::into_inner).push(told);
    }

    /// Whether every file that was sent has been scored, and nothing is left to be told.
    pub fn is_quiet(&self) -> bool {
        // What is told is told before the file's ticket is gone.
        self.open() == 0 && self.told.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }

    /// What became of files since the last call.
    pub fn told(&self) -> Vec<Told> {
        std::mem::take(&mut *self.told.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Ticket {
    /// Tells the intake what became of the file.
    pub fn tell(&self, told: Told) {
        self.0.tell(told);
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::AcqRel);
    }
}

/// A file that has been read.
pub struct FileInfo {
    /// Its pipeline.
    pub lane: Arc<Lane>,
    /// What reports call it.
    pub name: PathBuf,
    /// The same as text.
    pub source: Arc<str>,
    /// What it was when it was read.
    pub stat: Stat,
    /// When it was found.
    pub received_at: DateTime<Utc>,
    /// Its frames go alone.
    pub alone: bool,
    /// BLAKE3 of its content, and the same in hex, where it could be read.
    pub digest: Option<([u8; 32], Arc<str>)>,
}

impl FileInfo {
    /// The version that was read.
    pub fn found(&self) -> Found {
        Found { name: self.name.clone(), stat: self.stat }
    }

    /// What log lines about one of its frames, or about the file as a whole, stand in.
    pub fn span(&self, frame: Option<u32>) -> Span {
        let digest = self.digest.as_ref().map(|(_, hex)| &**hex);
        let (pipeline, source) = (self.lane.name.as_str(), &*self.source);
        match frame {
            Some(frame) => info_span!("frame", pipeline, source, frame, digest),
            None => info_span!("file", pipeline, source, digest),
        }
    }
}

impl std::fmt::Debug for FileInfo {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.source)
    }
}

/// What a frame is, beside its pixels.
pub struct FrameInfo {
    /// Its file.
    pub file: Arc<FileInfo>,
    /// Its position in the file.
    pub index: u32,
    /// Width, height and channels in the file.
    pub shape: [u32; 3],
    /// When it was taken, where the header says so.
    pub observed_at: Option<DateTime<Utc>>,
    /// What is said of it without a model.
    pub raw: RawStatistics,
    /// What log lines about it stand in.
    pub span: Span,
    /// Its share of the memory.
    pub _permit: Permit,
}

/// A file or frame that could not be scored.
pub struct Refusal {
    /// The file.
    pub file: Arc<FileInfo>,
    /// The frame, or the whole file.
    pub index: Option<u32>,
    /// Why.
    pub rejection: Rejection,
}

/// From decode to score. A file's end comes after all of its frames.
pub enum Item {
    /// A frame to be judged.
    Frame(FrameInfo, Prepared),
    /// A file or frame that could not be read.
    Refused(Refusal),
    /// No more frames of this file.
    End(Arc<FileInfo>, Outcome, Option<Ticket>),
}

/// From score to write, in the order of [`Item`].
pub enum Row {
    /// A frame judged.
    Scored(FrameInfo, Box<Verdict>, DateTime<Utc>),
    /// A file or frame that could not be read or judged.
    Refused(Refusal),
    /// No more rows of this file.
    End(Arc<FileInfo>, Outcome),
}

/// Whether and until when work goes on.
#[derive(Debug, Default)]
pub struct Stop {
    stopped: AtomicBool,
    born: Mutex<Option<Instant>>,
    drain_ms: AtomicU64,
}

impl Stop {
    /// Ends the intake now, and the reading of what is queued after this many milliseconds.
    pub fn stop(&self, drain_ms: u64) {
        *self.born.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
        self.drain_ms.store(drain_ms, Ordering::Release);
        self.stopped.store(true, Ordering::Release);
    }

    /// Whether nothing new is taken in.
    pub fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Acquire)
    }

    /// Whether what is queued is left for the next run.
    pub fn is_over(&self) -> bool {
        self.is_stopped()
            && self
                .born
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .is_some_and(|since| since.elapsed().as_millis() >= u128::from(self.drain_ms.load(Ordering::Acquire)))
    }
}
