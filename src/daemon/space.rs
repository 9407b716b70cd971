//! The space on the disk of the state folder: below `min_free` nothing new is decoded, and who finds the disk full waits here.
//!
//! Only the way into the stages is shut: frames under way are finished and committed, so whoever waits for the stages to drain
//! (a stop, a reload) never waits for space. A stop opens it for nothing to pass, and a reload does not wait for what is queued.

use std::fmt;
use std::io;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crossbeam_channel::{RecvTimeoutError, Sender, bounded};
use tracing::{info, warn};

use super::condition::{Condition, Reason};
use super::stages::Stop;
use crate::disk::{Patience, Room};
use crate::error::{Failure, Kind, Result};

/// Time between two looks at the disk, and between two tries to write to a full one.
const PACE: Duration = Duration::from_secs(1);
/// Time between two looks at whether to stop.
const STOP_PACE: Duration = Duration::from_millis(50);

/// Measures a disk.
pub type Measure = Box<dyn Fn() -> io::Result<Room> + Send + Sync>;

/// Who waits for space, and why.
pub struct Space {
    min_free: u64,
    measure: Measure,
    condition: Arc<Condition>,
    stop: Arc<Stop>,
    now: Mutex<Now>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Now {
    /// What is known of a disk with less free than `min_free`.
    low: Option<String>,
    /// What was found by who waits for a full disk.
    full: Option<String>,
}

impl fmt::Debug for Space {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Space({:?})", self.lock())
    }
}

/// What `statvfs` says of the file system a folder lies on.
pub fn disk_of(folder: &Path) -> Measure {
    let folder = folder.to_path_buf();
    Box::new(move || Room::of(&folder))
}

/// Why nothing new is to be begun, where that is so.
fn lack(room: Room, needed: u64) -> Option<String> {
    match room {
        Room { inodes: false, .. } => Some("no inode is free for a new file".into()),
        Room { free, .. } => (free < needed).then(|| format!("{free} bytes free, {needed} needed (min_free)")),
    }
}

impl Space {
    /// A disk that is looked at now, and every second once [`Self::keep_looking`] is called.
    ///
    /// # Errors
    /// [`Kind::Settings`] for a disk that could never have `min_free` bytes free.
    pub fn new(min_free: u64, measure: Measure, condition: Arc<Condition>, stop: Arc<Stop>) -> Result<Arc<Self>> {
        if let Ok(Room { all, .. }) = measure()
            && (1..=min_free).contains(&all)
        {
            let message = format!("min_free = {min_free}, but the disk of the state folder has {all} bytes in all");
            return Err(Failure::new(Kind::Settings, message).hint("lower min_free, or move the state folder"));
        }
        let space = Self { min_free, measure, condition, stop, now: Mutex::default(), changed: Condvar::new() };
        space.look();
        Ok(Arc::new(space))
    }

    /// Looks every second, in a thread of its own, until what is returned is dropped.
    ///
    /// # Errors
    /// [`Kind::Internal`] where there is no thread.
    pub fn keep_looking(self: &Arc<Self>) -> Result<Sender<()>> {
        let (space, (sender, ended)) = (self.clone(), bounded::<()>(0));
        std::thread::Builder::new()
            .name("space".into())
            .spawn(move || {
                while ended.recv_timeout(PACE) == Err(RecvTimeoutError::Timeout) {
                    space.look();
                }
            })
            .map_err(|error| Failure::new(Kind::Internal, format!("cannot start a thread: {error}")))?;
        Ok(sender)
    }

    /// Looks whether intake is to pause or to go on; it goes on at a tenth more than `min_free`.
    pub fn look(&self) {
        let room = match (self.measure)() {
            Ok(room) => room,
            Err(error) => return warn!(%error, "cannot see how much of the disk is free"),
        };
        let mut now = self.lock();
        let needed = if now.low.is_some() { self.min_free.saturating_add(self.min_free / 10) } else { self.min_free };
        let was_low = now.low.is_some();
        now.low = lack(room, needed);
        let Room { free, inodes, .. } = room;
        match (was_low, now.low.is_some()) {
            (false, true) => warn!(free, inodes, min_free = self.min_free, "little space on the disk, intake pauses"),
            (true, false) => info!(free, inodes, min_free = self.min_free, "space on the disk again, intake goes on"),
            _ => {}
        }
        self.show(&now);
    }

    /// What ends the waiting.
    pub fn stop(&self) -> &Arc<Stop> {
        &self.stop
    }

    /// Whether intake pauses.
    pub fn is_low(&self) -> bool {
        self.lock().low.is_some()
    }

    /// Waits while intake pauses. False where a stop came meanwhile: then nothing new is begun.
    pub fn pass(&self) -> bool {
        let mut now = self.lock();
        while now.low.is_some() {
            if self.stop.is_stopped() {
                return false;
            }
            now = self.changed.wait_timeout(now, STOP_PACE).unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }

    fn show(&self, now: &Now) {
        match now.full.as_ref().or(now.low.as_ref()) {
            Some(detail) => {
                self.condition.set(Reason::DiskFull, detail.clone());
            }
            None => {
                self.condition.clear(&Reason::DiskFull);
            }
        }
        self.changed.notify_all();
    }

    /// Waits until the next try; a stop that is over makes it the failure of who waits.
    fn pause(&self, failure: Failure) -> Result<()> {
        let mut left = PACE;
        while !left.is_zero() && !self.stop.is_over() {
            std::thread::sleep(STOP_PACE);
            left = left.saturating_sub(STOP_PACE);
        }
        if self.stop.is_over() { Err(Failure { kind: Kind::Interrupted, ..failure }) } else { Ok(()) }
    }

    fn lock(&self) -> MutexGuard<'_, Now> {
        self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Patience for Space {
    fn wait(&self, full: Failure) -> Result<()> {
        let mut now = self.lock();
        if now.full.replace(full.message.clone()).is_none() {
            warn!(error = %full.message, "disk full, waiting for space");
        }
        self.show(&now);
        drop(now);
        self.pause(full)
    }

    fn over(&self) {
        let mut now = self.lock();
        if now.full.take().is_some() {
            info!("what waited for the disk goes on");
        }
        self.show(&now);
    }

    fn queue(&self, busy: Failure) -> Result<()> {
        warn!(error = %busy.message, "the ledger is held by somebody else, trying again");
        self.pause(busy)
    }
}

#[cfg(test)]
#[path = "space_tests.rs"]
mod tests;
