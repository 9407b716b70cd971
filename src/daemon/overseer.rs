//! Looks once a second at what every thread does: an inbox that does not answer is said in the condition, a thread that hangs over
//! a file ends the process, so that the next start counts a try against the file.

use std::collections::{BTreeSet, HashMap};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError};
use tokio::sync::mpsc::UnboundedSender;
use tracing::{error, info, warn};

use super::condition::{Condition, Reason};
use super::crew::Ended;
use super::post::{Doing, Post, Posts};
use super::progress::Progress;
use super::work;
use crate::error::{Failure, Kind};

/// Time between two looks.
const TICK: Duration = Duration::from_secs(1);
/// Seconds after which an inbox that has not answered counts as unreachable.
const STALL_S: f64 = 30.0;
/// Processor seconds a decoder may go on beyond the time it is given: it looks at the clock between two frames only.
const MARGIN_S: f64 = 15.0;
/// A decoder that hangs without computing, and a worker on a machine that gives it no processor, are found out after this many times
/// the time they are given.
const ASLEEP: f64 = 10.0;

/// Whether the inbox of a lane can be reached, as its intake says.
#[derive(Debug)]
pub struct Access {
    /// The pipeline.
    pub lane: Arc<str>,
    lost: Mutex<Option<String>>,
}

/// The inboxes of the lanes that are fed.
pub type Inboxes = Arc<Mutex<Vec<Arc<Access>>>>;

impl Access {
    /// Of a lane.
    pub fn new(lane: &str) -> Arc<Self> {
        Arc::new(Self { lane: lane.into(), lost: Mutex::default() })
    }

    /// Says why the inbox cannot be reached, or that it can.
    pub fn say(&self, lost: Option<String>) {
        *self.lost.lock().unwrap_or_else(PoisonError::into_inner) = lost;
    }

    /// Why it cannot be reached.
    pub fn lost(&self) -> Option<String> {
        self.lost.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

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
    /// The inboxes.
    pub inboxes: Inboxes,
    /// Where unreachable inboxes are said.
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
    /// The lanes said to be unreachable.
    pub said: BTreeSet<Arc<str>>,
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
        let mut stalled: HashMap<Arc<str>, String> = HashMap::new();
        let is_work = |post: &Arc<Post>| matches!(post.doing().1, Doing::Work { .. });
        let waited = if posts.iter().any(is_work) { (self.waited)() } else { 0.0 };
        for post in &posts {
            let (turn, doing) = post.doing();
            let seconds = self.hold(post, turn, [elapsed, waited]);
            match doing {
                Doing::Rest => {}
                Doing::Reach { lane, path } if seconds >= STALL_S => {
                    stalled.insert(lane, format!("{} has not answered for {seconds:.0} s", path.display()));
                }
                Doing::Reach { .. } => {}
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

    /// Says which inboxes cannot be reached, and which can again.
    fn tell(&mut self, stalled: &HashMap<Arc<str>, String>) {
        let inboxes = self.inboxes.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut unreachable = BTreeSet::new();
        for inbox in &inboxes {
            let Some(detail) = inbox.lost().or_else(|| stalled.get(&inbox.lane).cloned()) else { continue };
            if self.condition.set(Reason::InboxUnreachable(inbox.lane.to_string()), detail.as_str()) {
                warn!(pipeline = %inbox.lane, detail, "the inbox cannot be reached, it is tried again");
            }
            unreachable.insert(inbox.lane.clone());
        }
        for lane in self.said.difference(&unreachable) {
            if self.condition.clear(&Reason::InboxUnreachable(lane.to_string())) {
                info!(pipeline = %lane, "the inbox can be reached again");
            }
        }
        self.said = unreachable;
    }
}

/// Tells posts apart while they are held.
fn address(post: &Arc<Post>) -> usize {
    Arc::as_ptr(post).addr()
}

#[cfg(test)]
#[path = "overseer/tests.rs"]
mod tests;
