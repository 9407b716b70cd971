//! Starts the stages, waits for signals, stops them.

use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_channel::{Sender, bounded};
use sd_notify::NotifyState;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tracing::{error, info, warn};

use super::budget::Budget;
use super::decode::Decoder;
use super::flight::Flight;
use super::intake::{self, Feeder, Intake};
use super::judge::Bench;
use super::lane::{Lane, Plan};
use super::progress::{Progress, Summary};
use super::stages::{Job, Stop};
use super::work::{self, Work};
use super::write::{Batch, Flush, Writer};
use crate::error::{Failure, Kind, Result};
use crate::ledger::{Ledger, Lock, Reader, Suspect, settle};
use crate::report::writer::Store;
use crate::settings::Settings;
use crate::watch::{Inbox, check_inbox};

/// Share of the grace in which files that are queued are still begun.
const DRAIN_SHARE: f64 = 0.5;

/// What a run is to do.
pub struct Orders<'a> {
    /// Where files come from.
    pub intake: Intake,
    /// Loads the pipelines and their models: at the start, and again on SIGHUP.
    pub load: &'a dyn Fn() -> Result<Vec<Plan>>,
    /// Is shown the counters, ten times a second, where there is one.
    pub view: Option<&'a dyn Fn(&Progress)>,
}

/// A stage's message to the supervisor: it has ended, well or not.
struct Ended {
    stage: &'static str,
    outcome: Result<()>,
}

/// Runs the stages until the intake ends or a signal comes. What had been begun by a process that died is settled first.
///
/// # Errors
/// [`Kind::Locked`] for a second process on a state folder; what [`Orders::load`] fails with; [`Kind::Io`] when an inbox, the disk
/// or the ledger fails; [`Kind::Internal`] when a device does.
pub fn run(settings: &Settings, orders: &Orders<'_>) -> Result<Summary> {
    let plans = (orders.load)()?;
    if let Intake::Paths(paths) = &orders.intake {
        intake::check_paths(paths)?;
    }
    let roots = inboxes(settings, orders, &plans)?;
    let _lock = Lock::take(&settings.state)?;
    let mut ledger = Ledger::open(&settings.state)?;
    let mut store = Store::open(&settings.state)?;
    settle(&mut ledger, &mut store)?;
    ledger.blame(&work::left_behind(&settings.state)?)?;
    let suspects = ledger.suspects()?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::new(Kind::Internal, format!("cannot wait for signals: {error}")))?;
    runtime.block_on(async {
        let (sender, events) = unbounded_channel();
        let mut crew = Crew::start(settings, store, matches!(orders.intake, Intake::Watch { .. }), &sender)?;
        let lanes = enter(plans, &mut ledger)?;
        crew.feed(&lanes, &roots, &orders.intake, &suspects)?;
        info!(models = %describe(&lanes), state = %settings.state.display(), "ready");
        notify(&[NotifyState::Ready]);
        Shift { settings, orders, crew, ledger, suspects, events }.wait().await
    })
}

/// The canonical inboxes of the plans; none where paths are given.
fn inboxes(settings: &Settings, orders: &Orders<'_>, plans: &[Plan]) -> Result<Vec<PathBuf>> {
    if matches!(orders.intake, Intake::Paths(_)) {
        return Ok(Vec::new());
    }
    let mut roots: Vec<PathBuf> = Vec::new();
    for Plan { pipeline, .. } in plans {
        let inbox = pipeline.spec.inbox.as_ref().ok_or_else(|| {
            Failure::new(Kind::Settings, format!("{}: no inbox", pipeline.path.display()))
                .hint("add `inbox = \"DIR\"` at the top of the pipeline file, or give --inbox DIR")
        })?;
        roots.push(check_inbox(inbox, &settings.state)?);
    }
    Ok(roots)
}

fn enter(plans: Vec<Plan>, ledger: &mut Ledger) -> Result<Vec<Arc<Lane>>> {
    plans.into_iter().map(|plan| Ok(Arc::new(Lane::new(plan, ledger)?))).collect()
}

fn describe(lanes: &[Arc<Lane>]) -> String {
    let each: Vec<String> = lanes.iter().map(|lane| format!("{}@{}", lane.name, lane.identity.model_version)).collect();
    each.join(", ")
}

fn notify(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        warn!(%error, "cannot notify the service manager");
    }
}

/// The threads of a run.
struct Crew {
    state: PathBuf,
    jobs: Option<Sender<Job>>,
    feeders: Vec<JoinHandle<()>>,
    feeding: Arc<Stop>,
    stop: Arc<Stop>,
    progress: Arc<Progress>,
    started: Instant,
}

impl Crew {
    /// Starts the stages, the last one first.
    fn start(settings: &Settings, store: Store, watched: bool, events: &UnboundedSender<Ended>) -> Result<Self> {
        let (progress, stop, flight) = (Arc::<Progress>::default(), Arc::<Stop>::default(), Arc::<Flight>::default());
        let (jobs, job_queue) = bounded(settings.queue_files);
        let (items, item_queue) = bounded(settings.queue_frames);
        let (rows, row_queue) = bounded(settings.queue_frames);
        let age = Duration::from_millis(settings.flush_ms);
        let flush = Flush { rows: settings.flush_rows, bytes: settings.flush_bytes, age };
        let (flight_too, progress_too) = (flight.clone(), progress.clone());
        let ledger = Ledger::open(&settings.state)?;
        let writer = Writer {
            rows: row_queue,
            ledger,
            store,
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
            started: Instant::now(),
        })
    }

    /// Starts the intake: one thread a lane. The stages end when the last one does, unless a reload may bring others.
    fn feed(&mut self, lanes: &[Arc<Lane>], roots: &[PathBuf], intake: &Intake, suspects: &[Suspect]) -> Result<()> {
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
    fn stop(&mut self, drain: Duration) {
        let drain_ms = drain.as_millis() as u64;
        self.feeding.stop(drain_ms);
        self.stop.stop(drain_ms);
        self.jobs = None;
    }

    /// Ends the intake alone, for others to take its place.
    fn stop_feeding(&mut self) {
        self.feeding.stop(0);
        for feeder in self.feeders.drain(..) {
            let _ = feeder.join();
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

/// A run under way.
struct Shift<'a> {
    settings: &'a Settings,
    orders: &'a Orders<'a>,
    crew: Crew,
    ledger: Ledger,
    suspects: Vec<Suspect>,
    events: UnboundedReceiver<Ended>,
}

impl Shift<'_> {
    async fn wait(mut self) -> Result<Summary> {
        let [mut terminate, mut interrupt, mut reload] =
            [listen(SignalKind::terminate())?, listen(SignalKind::interrupt())?, listen(SignalKind::hangup())?];
        let pace = Duration::from_millis(if self.orders.view.is_some() { 100 } else { 1000 });
        let mut tick = tokio::time::interval(pace);
        let (mut stopping, mut failure): (Option<Instant>, Option<Failure>) = (None, None);
        let mut pulse = Pulse::new();
        loop {
            tokio::select! {
                Some(Ended { stage, outcome }) = self.events.recv() => {
                    if let Err(error) = outcome {
                        failure.get_or_insert(error);
                        self.crew.stop(Duration::ZERO);
                    }
                    if stage == "write" {
                        break;
                    }
                }
                _ = terminate.recv() => self.signalled(&mut stopping),
                _ = interrupt.recv() => self.signalled(&mut stopping),
                _ = reload.recv() => self.reload(),
                _ = tick.tick() => {
                    self.orders.view.inspect(|view| view(&self.crew.progress));
                    pulse.beat(&self.crew.progress);
                    if stopping.is_some_and(|since| since.elapsed() >= Duration::from_secs(self.settings.grace_s)) {
                        warn!(unfinished = self.crew.progress.under_way(), "grace is over, the next start reads the rest again");
                        break;
                    }
                }
            }
        }
        notify(&[NotifyState::Stopping]);
        failure.map_or_else(|| Ok(self.summary()), Err)
    }

    fn summary(&self) -> Summary {
        self.crew.progress.summary(self.crew.started.elapsed())
    }

    /// The first signal drains, the second ends the process: whatever is lost, the next start finds it again.
    fn signalled(&mut self, stopping: &mut Option<Instant>) {
        if stopping.is_some() {
            warn!("second signal, ending at once");
            std::process::exit(i32::from(Failure::new(Kind::Interrupted, "").exit_code()));
        }
        info!(unfinished = self.crew.progress.under_way(), grace_s = self.settings.grace_s, "draining");
        notify(&[NotifyState::Stopping]);
        *stopping = Some(Instant::now());
        self.crew.stop(Duration::from_secs(self.settings.grace_s).mul_f64(DRAIN_SHARE));
    }

    /// New pipelines and models where they are good, the old ones where they are not.
    fn reload(&mut self) {
        if self.crew.jobs.is_none() {
            return;
        }
        info!("reloading pipelines and models");
        let fresh = (self.orders.load)().and_then(|plans| {
            let roots = inboxes(self.settings, self.orders, &plans)?;
            Ok((enter(plans, &mut self.ledger)?, roots))
        });
        let outcome = fresh.and_then(|(lanes, roots)| {
            self.crew.stop_feeding();
            self.crew.feed(&lanes, &roots, &self.orders.intake, &self.suspects)?;
            info!(models = %describe(&lanes), "ready");
            Ok(())
        });
        if let Err(error) = outcome {
            error!(%error, "reload failed, going on with the old pipelines and models");
        }
    }
}

fn listen(kind: SignalKind) -> Result<Signal> {
    signal(kind).map_err(|error| Failure::new(Kind::Internal, format!("cannot listen for signals: {error}")))
}

/// Tells the service manager that something moves, or that there is nothing to do; silence when the stages are stuck.
struct Pulse {
    beats: u64,
    watchdog: bool,
}

impl Pulse {
    fn new() -> Self {
        Self { beats: 0, watchdog: sd_notify::watchdog_enabled().is_some() }
    }

    fn beat(&mut self, progress: &Progress) {
        let beats = progress.beats.load(std::sync::atomic::Ordering::Relaxed);
        let moved = std::mem::replace(&mut self.beats, beats) != beats;
        if self.watchdog && (moved || progress.under_way() == 0) {
            notify(&[NotifyState::Watchdog]);
        }
        if moved {
            let summary = progress.summary(Duration::from_secs(1));
            let text = format!(
                "{} waiting, {} scored, {} flagged, {} rejected",
                summary.unfinished, summary.scored, summary.flagged, summary.rejected
            );
            notify(&[NotifyState::Status(&text)]);
        }
    }
}
