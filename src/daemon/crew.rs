//! The threads of a run: started from the sink backwards, ended by dropping the first sender.

use std::collections::{BTreeSet, HashMap};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_channel::{Sender, bounded};
use tokio::sync::mpsc::UnboundedSender;

use super::access::{Access, Accesses};
use super::after::{self, Line};
use super::batch::{Batch, Flush};
use super::budget::Budget;
use super::condition::Condition;
use super::decoders::Decoders;
use super::drift::Drift;
use super::flight::Flight;
use super::intake::{Feeder, Intake};
use super::judge::Bench;
use super::lane::Lane;
use super::lookout::Lookout;
use super::overseer::{Overseer, Patience};
use super::portions::Portions;
use super::post::Posts;
use super::progress::Progress;
use super::queue::{Bounds, Feed, Queue};
use super::space::Space;
use super::stages::Stop;
use super::starved;
use super::threads::{Ended, spawn, watchful};
use super::work::{self, Work};
use super::write::Writer;
use crate::error::Result;
use crate::ledger::{Ledger, Lock, Reader, Suspect};
use crate::observe::board::Depths;
use crate::report::gate::Gate;
use crate::report::writer::Store;
use crate::settings::Settings;

/// Time that feeders have to end before others take their place.
const FEEDERS_END: Duration = Duration::from_secs(5);

/// The threads of a run.
pub struct Crew {
    state: PathBuf,
    /// Where files go; `None` when no more will come than the feeders have.
    pub jobs: Option<Feed>,
    /// Starts more decoders; none once no more files come, since it holds the way to the next stage.
    decoders: Option<Decoders>,
    /// Threads of the stages that have not ended.
    pub at_work: usize,
    queue: Arc<Queue>,
    posts: Arc<Posts>,
    accesses: Accesses,
    /// Ends the overseer when it is dropped.
    _overseer: Sender<()>,
    /// Where a thread says that it has failed.
    events: UnboundedSender<Ended>,
    /// Held by the lane that has a suspect under way.
    alone: Arc<Mutex<()>>,
    feeders: Vec<JoinHandle<()>>,
    hands: Vec<(Line, JoinHandle<()>)>,
    feeding: Arc<Stop>,
    stop: Arc<Stop>,
    /// Counters.
    pub progress: Arc<Progress>,
    /// How full queues and budgets are.
    pub depths: Arc<Depths>,
    /// Why the service is not ready; anybody of the crew may say so.
    pub condition: Arc<Condition>,
    space: Arc<Space>,
    /// When the stages were started.
    pub started: Instant,
    /// Looks whether frames still come as they did.
    pub drift: Arc<Drift>,
    /// The writer's and the upkeep's.
    pub gate: Gate,
}

impl Crew {
    /// Starts the stages, the last one first. The writer holds the lock too: one that has to be left behind may still be at work.
    pub fn start(
        settings: &Settings,
        (store, lock): (Store, Arc<Lock>),
        watched: bool,
        events: &UnboundedSender<Ended>,
        condition: Arc<Condition>,
        progress: Arc<Progress>,
        space: Arc<Space>,
    ) -> Result<Self> {
        let (stop, flight) = (space.stop().clone(), Arc::<Flight>::default());
        let (posts, accesses) = (Arc::<Posts>::default(), Accesses::default());
        let bounds = Bounds { files: settings.queue_files, bytes: settings.queue_bytes / 2 };
        let (queue, jobs) = Queue::new(bounds);
        let (items, item_queue) = bounded(settings.queue_frames);
        let (rows, row_queue) = bounded(settings.queue_frames);
        let age = Duration::from_millis(settings.flush_ms);
        let mut depths = Depths::default();
        let (in_items, in_rows) = (item_queue.clone(), row_queue.clone());
        depths.add("items", move || in_items.len() as u64);
        depths.add("rows", move || in_rows.len() as u64);
        let flush = Flush { rows: settings.flush_rows, bytes: settings.flush_bytes, age };
        let (flight_too, progress_too) = (flight.clone(), progress.clone());
        let ledger = Ledger::open_with(&settings.state, space.clone())?;
        let (gate, drift) = (Gate::default(), Drift::new(condition.clone(), watched));
        let writer = Writer {
            rows: row_queue,
            ledger,
            store,
            gate: gate.clone(),
            drift: drift.clone(),
            flush,
            flight: flight_too,
            progress: progress_too,
            watched,
            batch: Batch::default(),
        };
        spawn("write", events, move || {
            let _lock = lock;
            writer.run()
        })?;
        let work = Work::new(&settings.state, work::SCORE, &posts)?;
        let (batch_frames, progress_too) = (settings.batch_frames, progress.clone());
        let portions = Portions::new(batch_frames);
        let bench = Bench { items: item_queue, rows, batch_frames, portions, work, progress: progress_too };
        spawn("score", events, move || bench.run())?;
        let (files, frames) = (Budget::new(settings.queue_bytes / 2), Budget::new(settings.queue_bytes));
        let (in_jobs, held_files, held_frames) = (queue.clone(), files.clone(), frames.clone());
        depths.add("jobs", move || in_jobs.len() as u64);
        depths.add("bytes_of_files", move || held_files.held());
        depths.add("bytes_of_frames", move || held_frames.held());
        let mut decoders = Decoders {
            count: 0,
            settings: settings.clone(),
            jobs: queue.clone(),
            items,
            flight,
            files,
            frames,
            posts: posts.clone(),
            progress: progress.clone(),
            stop: stop.clone(),
            space: space.clone(),
            watched,
            events: events.clone(),
        };
        decoders.grow(settings.decoders())?;
        let state = settings.state.clone();
        let (overseer_end, end) = bounded(0);
        let overseer = Overseer {
            posts: posts.clone(),
            accesses: accesses.clone(),
            condition: condition.clone(),
            patience: Patience { decode_s: settings.limits.decode_s as f64, score_s: settings.score_s as f64 },
            state: state.clone(),
            events: events.clone(),
            progress: progress.clone(),
            end,
            waited: starved::meter(),
            held: HashMap::new(),
            said: BTreeSet::new(),
        };
        watchful("overseer", "overseer", events, move || overseer.run())?;
        Ok(Self {
            state,
            queue,
            posts,
            accesses,
            _overseer: overseer_end,
            events: events.clone(),
            alone: Arc::default(),
            jobs: Some(jobs),
            decoders: Some(decoders),
            at_work: settings.decoders() + 2,
            feeders: Vec::new(),
            hands: Vec::new(),
            feeding: Arc::default(),
            stop,
            progress,
            depths: Arc::new(depths),
            condition,
            space,
            started: Instant::now(),
            drift,
            gate,
        })
    }

    /// Starts the intake: one thread a lane. The stages end when the last one does, unless a reload may bring others.
    pub fn feed(&mut self, lanes: &[Arc<Lane>], intake: &Intake, suspects: &[Suspect]) -> Result<()> {
        let Some(jobs) = self.jobs.clone() else { return Ok(()) };
        let reader = Reader::open(&self.state)?;
        self.feeding = Arc::default();
        self.accesses.lock().unwrap_or_else(PoisonError::into_inner).clear();
        self.queue.expect(lanes.iter().map(|lane| lane.name.as_str()));
        if let Some(decoders) = &mut self.decoders {
            // One more than there are inboxes: each that stalls holds one.
            self.at_work += decoders.grow(lanes.len() + 1)?;
        }
        for lane in lanes {
            let (stop, progress, alone) = (self.feeding.clone(), self.progress.clone(), self.alone.clone());
            let feeder = Feeder::new(lane.clone(), jobs.clone(), stop, progress, suspects, alone);
            let mut known = reader.known(lane.line_number)?;
            // What stood in the way of those that could not be read may be gone.
            known.forget_unread();
            let work: Box<dyn FnOnce() + Send> = match intake {
                Intake::Watch { once } => {
                    self.lend_a_hand(lane, &feeder)?;
                    let lookout = self.lookout(feeder, lane.inbox.clone().unwrap_or_default(), *once);
                    Box::new(move || lookout.run(known))
                }
                Intake::Paths(paths) => {
                    let (paths, state) = (paths.clone(), self.state.clone());
                    Box::new(move || feeder.paths(&paths, &known, &state))
                }
            };
            self.feeders.push(watchful("intake", &format!("in-{}", lane.name), &self.events, work)?);
        }
        if !matches!(intake, Intake::Watch { once: false }) {
            self.expect_no_more();
        }
        Ok(())
    }

    /// Ends the intake; the stages drain and end after it.
    pub fn stop(&mut self, drain: Duration) {
        let drain_ms = drain.as_millis() as u64;
        self.feeding.stop(drain_ms);
        self.stop.stop(drain_ms);
        self.expect_no_more();
        // Also for those who wait for an inbox that does not answer.
        self.queue.close();
    }

    fn expect_no_more(&mut self) {
        (self.jobs, self.decoders) = (None, None);
    }

    /// Ends the intake alone, for others to take its place. A feeder whose inbox does not answer ends when it does.
    pub fn stop_feeding(&mut self) {
        self.feeding.stop(0);
        let asked = Instant::now();
        while !self.feeders.iter().all(JoinHandle::is_finished) && asked.elapsed() < FEEDERS_END {
            std::thread::sleep(Duration::from_millis(5));
        }
        self.feeders.clear();
    }

    /// Starts the one who does what is to be done after scoring, where there is something.
    fn lend_a_hand(&mut self, lane: &Arc<Lane>, feeder: &Feeder) -> Result<()> {
        if let Some((hand, line)) = after::line(lane, &feeder.feedback, &self.posts) {
            let _ = lane.line.set(line.clone());
            self.need(hand.access());
            let thread = watchful("after", &format!("after-{}", lane.name), &self.events, move || hand.run())?;
            self.hands.push((line, thread));
        }
        Ok(())
    }

    /// Lets those end who act after scoring; what they do not come to is done at the next start.
    pub fn finish(&mut self, patience: Duration) {
        let asked = Instant::now();
        let left = || patience.saturating_sub(asked.elapsed());
        for (line, hand) in self.hands.drain(..) {
            line.end(left());
            while !hand.is_finished() && !left().is_zero() {
                std::thread::sleep(Duration::from_millis(2));
            }
        }
    }

    /// Has the overseer look whether places can be used.
    fn need(&self, access: Arc<Access>) {
        self.accesses.lock().unwrap_or_else(PoisonError::into_inner).push(access);
    }

    /// Who watches the inbox of a lane.
    fn lookout(&self, feeder: Feeder, folder: PathBuf, once: bool) -> Lookout {
        let access = Access::inbox(&feeder.lane.name, &folder);
        self.need(access.clone());
        let post = self.posts.post(&format!("in-{}", feeder.lane.name));
        Lookout {
            feeder,
            folder,
            state: self.state.clone(),
            post,
            access,
            once,
            later: Vec::new(),
            suspects: Vec::new(),
            started: Instant::now(),
        }
    }

    /// Waits until what is under way has been committed, so that new feeders do not find it again. What waits for space is not
    /// waited for: what is found twice is seen to have been.
    pub fn settle_down(&self, patience: Duration) {
        let asked = Instant::now();
        while self.progress.under_way() > 0 && asked.elapsed() < patience && !self.space.is_low() {
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}
