//! The threads of a run: started from the sink backwards, ended by dropping the first sender.

use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_channel::{Sender, bounded};
use tokio::sync::mpsc::UnboundedSender;

use super::budget::Budget;
use super::condition::Condition;
use super::decode::Decoder;
use super::flight::Flight;
use super::intake::{self, Feeder, Intake};
use super::judge::Bench;
use super::lane::Lane;
use super::progress::Progress;
use super::space::Space;
use super::stages::{Job, Stop};
use super::work::Work;
use super::write::{Batch, Flush, Writer};
use crate::error::{Failure, Kind, Result};
use crate::ledger::{Ledger, Reader, Suspect};
use crate::observe::board::Depths;
use crate::report::gate::Gate;
use crate::report::writer::Store;
use crate::settings::Settings;
use crate::watch::Inbox;

/// A stage's message to the supervisor: it has ended, well or not.
pub struct Ended {
    /// Which stage.
    pub stage: &'static str,
    /// How.
    pub outcome: Result<()>,
}

/// The threads of a run.
pub struct Crew {
    state: PathBuf,
    /// Where files go; `None` when no more will come than the feeders have.
    pub jobs: Option<Sender<Job>>,
    feeders: Vec<JoinHandle<()>>,
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
    /// The writer's and the upkeep's.
    pub gate: Gate,
}

impl Crew {
    /// Starts the stages, the last one first.
    pub fn start(
        settings: &Settings,
        store: Store,
        watched: bool,
        events: &UnboundedSender<Ended>,
        condition: Arc<Condition>,
        progress: Arc<Progress>,
        space: Arc<Space>,
    ) -> Result<Self> {
        let (stop, flight) = (space.stop().clone(), Arc::<Flight>::default());
        let (jobs, job_queue) = bounded(settings.queue_files);
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
        let gate = Gate::default();
        let writer = Writer {
            rows: row_queue,
            ledger,
            store,
            gate: gate.clone(),
            flush,
            flight: flight_too,
            progress: progress_too,
            batch: Batch::default(),
        };
        spawn("write", events, move || writer.run())?;
        let work = Work::new(&settings.state, "score")?;
        let bench =
            Bench { items: item_queue, rows, batch_frames: settings.batch_frames, work, progress: progress.clone() };
        spawn("score", events, move || bench.run())?;
        let (files, frames) = (Budget::new(settings.queue_bytes / 2), Budget::new(settings.queue_bytes));
        let (in_jobs, held_files, held_frames) = (job_queue.clone(), files.clone(), frames.clone());
        depths.add("jobs", move || in_jobs.len() as u64);
        depths.add("bytes_of_files", move || held_files.held());
        depths.add("bytes_of_frames", move || held_frames.held());
        for worker in 0..settings.decoders() {
            let decoder = Decoder {
                jobs: job_queue.clone(),
                items: items.clone(),
                flight: flight.clone(),
                ledger: Reader::open(&settings.state)?,
                limits: settings.limits,
                files: files.clone(),
                frames: frames.clone(),
                work: Work::new(&settings.state, &format!("decode-{worker}"))?,
                progress: progress.clone(),
                stop: stop.clone(),
                space: space.clone(),
                watched,
            };
            spawn("decode", events, move || decoder.run())?;
        }
        let state = settings.state.clone();
        Ok(Self {
            state,
            jobs: Some(jobs),
            feeders: Vec::new(),
            feeding: Arc::default(),
            stop,
            progress,
            depths: Arc::new(depths),
            condition,
            space,
            started: Instant::now(),
            gate,
        })
    }

    /// Starts the intake: one thread a lane. The stages end when the last one does, unless a reload may bring others.
    pub fn feed(
        &mut self,
        lanes: &[Arc<Lane>],
        roots: &[PathBuf],
        intake: &Intake,
        suspects: &[Suspect],
    ) -> Result<()> {
        let Some(jobs) = self.jobs.clone() else { return Ok(()) };
        let reader = Reader::open(&self.state)?;
        self.feeding = Arc::default();
        for (index, lane) in lanes.iter().enumerate() {
            let feeder = Feeder::new(lane.clone(), jobs.clone(), self.feeding.clone(), self.progress.clone(), suspects);
            let known = reader.known(lane.number)?;
            let work: Box<dyn FnOnce() + Send> = match intake {
                Intake::Watch { once } => {
                    let (once, hints) = (*once, intake::hints(lane, &roots[index]));
                    let inbox = Inbox::new(roots[index].clone(), &lane.watch, known);
                    Box::new(move || feeder.watch(inbox, &hints, once))
                }
                Intake::Paths(paths) => {
                    let (paths, state) = (paths.clone(), self.state.clone());
                    Box::new(move || feeder.paths(&paths, &known, &state))
                }
            };
            let thread = std::thread::Builder::new().name(format!("in-{}", lane.name)).spawn(work);
            self.feeders
                .push(thread.map_err(|error| Failure::new(Kind::Internal, format!("cannot start a thread: {error}")))?);
        }
        if !matches!(intake, Intake::Watch { once: false }) {
            self.jobs = None;
        }
        Ok(())
    }

    /// Ends the intake; the stages drain and end after it.
    pub fn stop(&mut self, drain: Duration) {
        let drain_ms = drain.as_millis() as u64;
        self.feeding.stop(drain_ms);
        self.stop.stop(drain_ms);
        self.jobs = None;
    }

    /// Ends the intake alone, for others to take its place.
    pub fn stop_feeding(&mut self) {
        self.feeding.stop(0);
        for feeder in self.feeders.drain(..) {
            let _ = feeder.join();
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

fn spawn(
    stage: &'static str,
    events: &UnboundedSender<Ended>,
    work: impl FnOnce() -> Result<()> + Send + 'static,
) -> Result<()> {
    let events = events.clone();
    let guarded = move || {
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work))
            .unwrap_or_else(|_| Err(Failure::new(Kind::Internal, format!("the {stage} stage panicked"))));
        let _ = events.send(Ended { stage, outcome });
    };
    std::thread::Builder::new()
        .name(stage.into())
        .spawn(guarded)
        .map(drop)
        .map_err(|error| Failure::new(Kind::Internal, format!("cannot start a thread: {error}")))
}
