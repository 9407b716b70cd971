//! Starts the stages, waits for signals, stops them.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use sd_notify::NotifyState;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tracing::{error, info, warn};

use super::changes;
use super::condition::Reason;
use super::crew::Crew;
use super::inboxes::check_inboxes;
use super::intake::{self, Intake};
use super::lane::{Lane, Plan};
use super::progress::{Progress, Summary};
use super::promoted::Promoted;
use super::pulse::{Pulse, notify, patience};
use super::space::{Measure, Space, disk_of};
use super::threads::Ended;
use super::upkeep::Upkeep;
use super::work;
use crate::error::{Failure, Kind, Result};
use crate::ledger::{Ledger, Lock, Reader, Suspect, settle};
use crate::observe::board::Board;
use crate::observe::flood;
use crate::observe::http::Server;
use crate::pipeline::Pipeline;
use crate::report::writer::Store;
use crate::settings::Settings;

/// Share of the grace in which files that are queued are still begun.
const DRAIN_SHARE: f64 = 0.5;
/// Time that stages have to say how they ended, once the last of them has.
const LAST_WORDS: Duration = Duration::from_millis(500);
/// The stages.
const STAGES: [&str; 3] = ["decode", "score", "write"];

/// What a run is to do.
pub struct Orders<'a> {
    /// Where files come from.
    pub intake: Intake,
    /// Loads the pipelines and their models: at the start, and again on SIGHUP.
    pub load: &'a dyn Fn() -> Result<Vec<Plan>>,
    /// Is shown the counters, ten times a second, where there is one.
    pub view: Option<&'a dyn Fn(&Progress)>,
}

/// Runs the stages until the intake ends or a signal comes. What had been begun by a process that died is settled first.
///
/// # Errors
/// [`Kind::Locked`] for a second process on a state folder; what [`Orders::load`] fails with; [`Kind::Io`] when an inbox, the disk
/// or the ledger fails; [`Kind::Internal`] when a device does; [`Kind::Hung`] when a worker hangs over a file.
pub fn run(settings: &Settings, orders: &Orders<'_>) -> Result<Summary> {
    run_on(settings, orders, disk_of(&settings.state))
}

/// The same, on a disk as it is measured.
///
/// # Errors
/// Those of [`run`].
pub fn run_on(settings: &Settings, orders: &Orders<'_>, disk: Measure) -> Result<Summary> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::new(Kind::Internal, format!("cannot wait for signals: {error}")))?;
    // A reload that is asked for while models are loaded comes when they are; unheard it would end the process, and for the service
    // manager that is a clean end. The other two may end it: nothing has been begun.
    let reload = runtime.block_on(async { listen(SignalKind::hangup()) })?;
    let watched = matches!(orders.intake, Intake::Watch { .. });
    let board = Arc::new(Board::new(&settings.state, patience(), watched)?);
    board.condition.set(Reason::Starting, "models are being loaded and inboxes opened");
    notify(&[NotifyState::Status("starting")]);
    let plans = load(orders)?;
    if let Intake::Paths(paths) = &orders.intake {
        intake::check_paths(paths)?;
    }
    check(settings, orders, &plans)?;
    let lock = Arc::new(Lock::take(&settings.state)?);
    let server = watched.then(|| Server::start(settings, board.clone())).transpose()?;
    let space = Space::new(settings.min_free, disk, board.condition.clone(), Arc::default())?;
    let mut ledger = Ledger::open_with(&settings.state, space.clone())?;
    let mut store = Store::open_with(&settings.state, space.clone())?;
    settle(&mut ledger, &mut store)?;
    ledger.blame(&work::left_behind(&settings.state)?)?;
    let suspects = ledger.suspects()?;
    let outcome = runtime.block_on(async {
        let (sender, events) = unbounded_channel();
        let (condition, progress) = (board.condition.clone(), board.progress.clone());
        let mut crew =
            Crew::start(settings, (store, lock.clone()), watched, &sender, condition, progress, space.clone())?;
        board.show(&crew.depths);
        let lanes = enter(plans, &mut ledger, &crew.progress)?;
        // From here on signals are heard by who must not be waiting for a disk.
        ledger.lose_patience();
        let _looking = space.keep_looking()?;
        remember(&settings.state, &crew.progress)?;
        crew.drift.follow(&mut ledger, &lanes)?;
        // Before the first file is in hand: an end that nobody hears leaves notes.
        let signals = [listen(SignalKind::terminate())?, listen(SignalKind::interrupt())?, reload];
        crew.feed(&lanes, &orders.intake, &suspects)?;
        let lasting = matches!(orders.intake, Intake::Watch { once: false });
        let _upkeep = lasting.then(|| Upkeep::start(settings, &crew.gate, &sender, &space)).transpose()?;
        board.condition.clear(&Reason::Starting);
        info!(models = %describe(&lanes), state = %settings.state.display(), "ready");
        notify(&[NotifyState::Ready]);
        let promoted = Promoted::new(&settings.models);
        Shift { settings, orders, crew, ledger, suspects, events, lanes, promoted, board, server }.wait(signals).await
    });
    if !outcome.as_ref().is_err_and(|failure| failure.kind == Kind::Hung) {
        work::blame_nobody(&settings.state);
    }
    outcome
}

/// Loads the plans. Files that are named are judged, whoever has judged them before.
fn load(orders: &Orders<'_>) -> Result<Vec<Plan>> {
    let mut plans = (orders.load)()?;
    if matches!(orders.intake, Intake::Paths(_)) {
        plans.iter_mut().for_each(|plan| plan.pipeline.spec.watch.rejudge = true);
    }
    Ok(plans)
}

/// Checks the inboxes of the plans, where they are watched.
fn check(settings: &Settings, orders: &Orders<'_>, plans: &[Plan]) -> Result<()> {
    match orders.intake {
        Intake::Watch { once } => {
            let pipelines: Vec<&Pipeline> = plans.iter().map(|plan| &plan.pipeline).collect();
            check_inboxes(&pipelines, &settings.state, once)
        }
        Intake::Paths(_) => Ok(()),
    }
}

fn enter(plans: Vec<Plan>, ledger: &mut Ledger, progress: &Progress) -> Result<Vec<Arc<Lane>>> {
    plans.into_iter().map(|plan| Ok(Arc::new(Lane::new(plan, ledger, progress)?))).collect()
}

/// Has `status` count what earlier processes did too.
fn remember(state: &Path, progress: &Progress) -> Result<()> {
    let reader = Reader::open(state)?;
    for tally in progress.tallies() {
        tally.set_before(|pipeline| reader.counts(pipeline))?;
    }
    Ok(())
}

fn describe(lanes: &[Arc<Lane>]) -> String {
    let each: Vec<String> = lanes.iter().map(|lane| format!("{}@{}", lane.name, lane.identity.model_version)).collect();
    each.join(", ")
}

/// A run under way.
struct Shift<'a> {
    settings: &'a Settings,
    orders: &'a Orders<'a>,
    crew: Crew,
    ledger: Ledger,
    suspects: Vec<Suspect>,
    events: UnboundedReceiver<Ended>,
    lanes: Vec<Arc<Lane>>,
    promoted: Promoted,
    board: Arc<Board>,
    server: Option<Server>,
}

impl Shift<'_> {
    async fn wait(mut self, [mut terminate, mut interrupt, mut reload]: [Signal; 3]) -> Result<Summary> {
        let pace = Duration::from_millis(if self.orders.view.is_some() { 100 } else { 1000 });
        let mut tick = tokio::time::interval(pace);
        let (mut stopping, mut failure): (Option<Instant>, Option<Failure>) = (None, None);
        let mut pulse = Pulse::new(self.board.clone());
        loop {
            tokio::select! {
                Some(Ended { stage, outcome }) = self.events.recv() => {
                    self.crew.at_work -= usize::from(STAGES.contains(&stage) && self.crew.at_work > 0);
                    if let Err(error) = outcome {
                        let hung = error.kind == Kind::Hung;
                        failure.get_or_insert(error);
                        if hung {
                            // Whoever waits for space on a disk must not be waited for.
                            self.crew.stop(Duration::ZERO);
                            break;
                        }
                        // A decoder may be held by an inbox that does not answer.
                        stopping.get_or_insert_with(Instant::now);
                        self.crew.stop(Duration::ZERO);
                    }
                    if stage == "write" {
                        failure = failure.or(self.last_words().await);
                        break;
                    }
                }
                _ = terminate.recv() => self.signalled(&mut stopping),
                _ = interrupt.recv() => self.signalled(&mut stopping),
                _ = reload.recv() => {
                    if let Err(error) = self.reload() {
                        failure.get_or_insert(error);
                        stopping.get_or_insert_with(Instant::now);
                        self.crew.stop(Duration::ZERO);
                    }
                }
                _ = tick.tick() => {
                    if self.crew.jobs.is_some() && self.promoted.look(&self.lanes) && let Err(error) = self.reload() {
                        failure.get_or_insert(error);
                        stopping.get_or_insert_with(Instant::now);
                        self.crew.stop(Duration::ZERO);
                    }
                    self.orders.view.inspect(|view| view(&self.crew.progress));
                    flood::sweep();
                    pulse.beat();
                    if stopping.is_some_and(|since| since.elapsed() >= Duration::from_secs(self.settings.grace_s)) {
                        warn!(unfinished = self.crew.progress.under_way(), "grace is over, the next start reads the rest again");
                        break;
                    }
                }
            }
        }
        notify(&[NotifyState::Stopping]);
        let grace = Duration::from_secs(self.settings.grace_s);
        self.crew.finish(stopping.map_or(grace, |since| grace.saturating_sub(since.elapsed())));
        failure.map_or_else(|| Ok(self.summary()), Err)
    }

    /// How the other stages ended: one that fails lets go of its successor before it says so.
    async fn last_words(&mut self) -> Option<Failure> {
        let until = tokio::time::Instant::now() + LAST_WORDS;
        while self.crew.at_work > 0 {
            let Ok(Some(Ended { stage, outcome })) = tokio::time::timeout_at(until, self.events.recv()).await else {
                return None;
            };
            if let Err(failure) = outcome {
                return Some(failure);
            }
            self.crew.at_work -= usize::from(STAGES.contains(&stage));
        }
        None
    }

    fn summary(&self) -> Summary {
        self.crew.progress.summary(self.crew.started.elapsed())
    }

    /// The first signal drains, the second ends the process: whatever is lost, the next start finds it again.
    fn signalled(&mut self, stopping: &mut Option<Instant>) {
        if stopping.is_some() {
            warn!("second signal, ending at once");
            work::blame_nobody(&self.settings.state);
            std::process::exit(i32::from(Failure::new(Kind::Interrupted, "").exit_code()));
        }
        info!(unfinished = self.crew.progress.under_way(), grace_s = self.settings.grace_s, "draining");
        notify(&[NotifyState::Stopping]);
        work::stops(&self.settings.state);
        self.crew.condition.set(Reason::Draining, "told to stop");
        *stopping = Some(Instant::now());
        self.crew.stop(Duration::from_secs(self.settings.grace_s).mul_f64(DRAIN_SHARE));
    }

    /// New pipelines and models where they are good, the old ones where they are not. An error leaves nobody who watches: the old
    /// intake has ended and the new one could not be started.
    fn reload(&mut self) -> Result<()> {
        if self.crew.jobs.is_none() {
            info!("told to stop, not reloading");
            return Ok(());
        }
        info!("reloading pipelines and models");
        let token = self.server.iter().try_for_each(Server::reload);
        let fresh = load(self.orders).and_then(|plans| {
            check(self.settings, self.orders, &plans)?;
            let lanes = enter(plans, &mut self.ledger, &self.crew.progress)?;
            remember(&self.settings.state, &self.crew.progress)?;
            self.crew.drift.follow(&mut self.ledger, &lanes)?;
            Ok(lanes)
        });
        let lanes = match fresh {
            Ok(lanes) => lanes,
            Err(error) => {
                self.board.reloads.fail(&error);
                let hint = error.hint;
                error!(error = error.message, hint, "reload failed, going on with the old pipelines and models");
                return Ok(());
            }
        };
        self.crew.stop_feeding();
        self.crew.settle_down(Duration::from_secs(10));
        self.crew.finish(Duration::from_secs(1));
        self.crew.feed(&lanes, &self.orders.intake, &self.suspects)?;
        let names: Vec<&str> = lanes.iter().map(|lane| lane.name.as_str()).collect();
        self.crew.progress.keep(&names);
        info!(models = %describe(&lanes), changes = %changes::between(&self.lanes, &lanes), "ready");
        self.lanes = lanes;
        match token {
            Ok(()) => self.board.reloads.succeed(),
            Err(error) => {
                self.board.reloads.fail(&error);
                error!(error = error.message, hint = error.hint, "going on with the old token");
            }
        }
        Ok(())
    }
}

fn listen(kind: SignalKind) -> Result<Signal> {
    signal(kind).map_err(|error| Failure::new(Kind::Internal, format!("cannot listen for signals: {error}")))
}
