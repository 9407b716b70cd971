//! Looks once a second at what every thread does: a place that does not answer is said in the condition, a thread that hangs over
//! a file ends the process, so that the next start counts a try against the file.

use std::collections::{BTreeSet, HashMap};
use std::path::PathBuf;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError};
use tokio::sync::mpsc::UnboundedSender;
use tracing::error;

use super::access::{Accesses, Stalled, release};
use super::condition::{Condition, Reason};
use super::post::{Doing, Post, Posts};
use super::progress::Progress;
use super::threads::Ended;
use super::work;
use crate::error::{Failure, Kind};

/// Time between two looks.
const TICK: Duration = Duration::from_secs(1);
/// Seconds after which an inbox or an archive that has not answered counts as unreachable.
const STALL_S: f64 = 30.0;
/// Processor seconds a decoder may go on beyond the time it is given: it looks at the clock between two frames only.
const MARGIN_S: f64 = 15.0;
/// A decoder that hangs without computing, and a worker on a machine that gives it no processor, are found out after this many times
/// the time they are given.
const ASLEEP: f64 = 10.0;

/// Seconds after which a thread hangs.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// Between two frames of a file that is decoded.
    pub decode_s: f64,
    /// For one batch of frames, less what was spent waiting for a processor.
    pub score_s: f64,
}

/// The one who looks.
pub struct Overseer {
    /// The threads.
    pub posts: Arc<Posts>,
    /// The places that the lanes need.
    pub accesses: Accesses,
    /// Where it is said that they cannot be used.
    pub condition: Arc<Condition>,
    /// When a thread hangs.
    pub patience: Patience,
    /// The state folder, for the notes.
    pub state: PathBuf,
    /// The supervisor.
    pub events: UnboundedSender<Ended>,
    /// Is told that a stage moves as long as none of its threads hangs: whether one does is decided here, not by the watchdog.
    pub progress: Arc<Progress>,
    /// Ends the thread when its other end is dropped.
    pub end: Receiver<()>,
    /// Seconds that threads of this process waited for a processor since the last call.
    pub waited: Box<dyn FnMut() -> f64 + Send>,
    /// What each thread was found at.
    pub held: HashMap<usize, Held>,
    /// What was said of them in the last look.
    pub said: BTreeSet<Reason>,
}

/// A piece of work that a thread was found at.
#[derive(Debug)]
pub struct Held {
    turn: u64,
    /// Seconds it has been seen at it. Time in which this thread did not run either, as in a machine that sleeps, does not count.
    seconds: f64,
    /// How many of them threads of this process waited for a processor.
    waited: f64,
    cpu_s: Option<f64>,
}

impl Overseer {
    /// Looks until the run ends.
    pub fn run(mut self) {
        let mut last = Instant::now();
        while let Err(RecvTimeoutError::Timeout) = self.end.recv_timeout(TICK) {
            let elapsed = last.elapsed().min(2 * TICK).as_secs_f64();
            last = Instant::now();
            self.look(elapsed);
        }
    }

    /// One look, `elapsed` seconds after the last.
    fn look(&mut self, elapsed: f64) {
        let posts = self.posts.all();
        let is_work = |post: &Arc<Post>| matches!(post.doing().1, Doing::Work { .. });
        let waited = if posts.iter().any(is_work) { (self.waited)() } else { 0.0 };
        let mut stalled = Stalled::new();
        for post in &posts {
            let (turn, doing) = post.doing();
            let seconds = self.hold(post, turn, [elapsed, waited]);
            match doing {
                Doing::Rest => {}
                Doing::Reach { place, path } if seconds >= STALL_S => {
                    stalled.insert(place, format!("{} has not answered for {seconds:.0} s", path.display()));
                    self.excuse(post);
                }
                Doing::Reach { .. } => self.excuse(post),
                Doing::Work { source, frame } if self.hangs(post, seconds) => self.end_over(post, turn, &source, frame),
                Doing::Work { .. } if post.worker == work::SCORE => self.progress.score.beat(),
                Doing::Work { .. } => self.progress.decode.beat(),
            }
        }
        self.held.retain(|&key, _| posts.iter().any(|post| address(post) == key));
        self.tell(&stalled);
    }

    /// Seconds that the thread has been seen at this piece.
    fn hold(&mut self, post: &Arc<Post>, turn: u64, [elapsed, waited]: [f64; 2]) -> f64 {
        match self.held.get_mut(&address(post)).filter(|held| held.turn == turn) {
            Some(held) => {
                held.seconds += elapsed;
                held.waited += waited;
                held.seconds
            }
            None => {
                self.held.insert(address(post), Held { turn, seconds: 0.0, waited: 0.0, cpu_s: post.cpu_s() });
                0.0
            }
        }
    }

    /// Who waits for a filesystem does not hang, even where no lane needs the place any more.
    fn excuse(&self, post: &Post) {
        if post.worker.starts_with("decode-") {
            self.progress.decode.beat();
        }
    }

    fn hangs(&self, post: &Arc<Post>, seconds: f64) -> bool {
        let held = self.held.get(&address(post));
        if post.worker == work::SCORE {
            // Others compute for it, or a device does: its own processor time says nothing.
            let allowed = self.patience.score_s;
            return seconds - held.map_or(0.0, |held| held.waited) >= allowed || seconds >= ASLEEP * allowed;
        }
        let allowed = self.patience.decode_s + MARGIN_S;
        let before = held.and_then(|held| held.cpu_s);
        let computed = before.and_then(|before| Some(post.cpu_s()? - before)).unwrap_or(0.0);
        // Between the looks of one second; a machine with too much to do gives it less.
        seconds >= allowed && (computed >= allowed || seconds >= ASLEEP * allowed)
    }

    /// Ends the run: a thread cannot be ended by itself. One that has gone on meanwhile did not hang.
    fn end_over(&self, post: &Post, turn: u64, source: &str, frame: u32) {
        if post.held_at(turn, || work::blame_alone(&self.state, &post.worker)).is_none() {
            return;
        }
        error!(worker = post.worker, source, frame, "a worker hangs over this frame, ending the process");
        let message = format!("{} hangs over frame {frame} of {source}", post.worker);
        let hint = "start again: a file over which this happens three times is rejected as stalled";
        let outcome = Err(Failure::new(Kind::Hung, message).hint(hint));
        let _ = self.events.send(Ended { stage: "overseer", outcome });
    }

    /// Says which places cannot be used, and which can again.
    fn tell(&mut self, stalled: &Stalled) {
        let accesses = self.accesses.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut held = BTreeSet::new();
        for access in &accesses {
            if let Some(detail) = access.trouble(stalled) {
                access.hold(&self.condition, &detail);
                held.insert(access.reason());
            }
        }
        self.said.difference(&held).for_each(|reason| release(&self.condition, reason));
        self.said = held;
    }
}

/// Tells posts apart while they are held.
fn address(post: &Arc<Post>) -> usize {
    Arc::as_ptr(post).addr()
}

#[cfg(test)]
#[path = "overseer/tests.rs"]
mod tests;
