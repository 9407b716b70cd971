//! Watches one inbox: finds its files, and finds the inbox again when it goes away. All that asks its filesystem runs in this one
//! thread, so that an inbox that does not answer holds up nobody else.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::access::Access;
use super::after::Finished;
use super::intake::Feeder;
use super::post::{Doing, Post};
use super::stages::Told;
use crate::pipeline::WatchMode;
use crate::watch::{Found, Hints, Inbox, Known, check_inbox};

/// Time after which an idle intake looks whether it should stop.
const IDLE: Duration = Duration::from_millis(500);
/// Files taken from an inbox between two looks at its hints.
const PORTION: usize = 1024;
/// First and longest pause before an inbox that is gone is looked for again.
const PAUSES: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(30)];
/// First and longest pause before a file that could not be read is read again; each is four times the last.
const READ_PAUSES: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(240)];
/// Time that suspects wait for the others.
const SUSPECTS_WAIT: Duration = Duration::from_secs(10);
/// A rescan takes at most this share of the time.
const RESCAN_SHARE: u32 = 20;

/// Watches one inbox.
pub struct Lookout {
    /// Sends what is found.
    pub feeder: Feeder,
    /// The inbox as it is named.
    pub folder: PathBuf,
    /// The state folder, which must lie elsewhere.
    pub state: PathBuf,
    /// Where this thread says what it does.
    pub post: Arc<Post>,
    /// Where it says whether the inbox can be reached.
    pub access: Arc<Access>,
    /// End when the inbox is drained.
    pub once: bool,
    /// Files that could not be read, and when to read them again.
    pub later: Vec<(Instant, Found, u32)>,
    /// Files that processes died over. They come last: whatever ends this process, the others have come through before.
    pub suspects: Vec<Found>,
    /// When this thread was started.
    pub started: Instant,
}

/// Why the inbox is no longer watched.
enum Left {
    /// Nobody wants its files any more, or there are none.
    Done,
    /// It cannot be reached.
    Lost(String),
}

impl Lookout {
    /// Watches until told to stop, or with `once` until the inbox is empty. `known` are the files that are done.
    pub fn run(mut self, known: Known) {
        self.reach();
        let mut inbox = Inbox::new(self.folder.clone(), &self.feeder.lane.watch, known);
        if self.feeder.lane.line.get().is_some() {
            inbox.keep_finished();
        }
        let mut pause = PAUSES[0];
        while !self.feeder.stop.is_stopped() {
            let lost = match self.open(&mut inbox) {
                Ok(hints) => {
                    self.access.say(None);
                    pause = PAUSES[0];
                    match self.attend(&mut inbox, &hints) {
                        Left::Done => return,
                        Left::Lost(error) => error,
                    }
                }
                Err(error) => error,
            };
            self.access.say(Some(lost));
            self.rest(pause);
            pause = (pause * 2).min(PAUSES[1]);
        }
    }

    /// Finds the inbox where it is named, and asks for notifications.
    fn open(&mut self, inbox: &mut Inbox) -> Result<Hints, String> {
        self.reach();
        let root = check_inbox(&self.folder, &self.state).map_err(|failure| failure.message)?;
        let mode = self.feeder.lane.watch.mode;
        inbox.open(root, mode).map_err(|error| format!("{}: {error}", self.folder.display()))?;
        self.feeder.inbox = Some(inbox.root().into());
        Ok(match mode {
            WatchMode::Auto => Hints::watch(inbox.root()),
            WatchMode::Poll => Hints::none(),
        })
    }

    /// Sends what the inbox holds, as long as it can be reached.
    fn attend(&mut self, inbox: &mut Inbox, hints: &Hints) -> Left {
        let mut due = self.scan(inbox);
        while !self.feeder.stop.is_stopped() {
            self.reach();
            self.listen(inbox);
            if let Err(error) = inbox.check() {
                return Left::Lost(format!("{}: {error}", inbox.root().display()));
            }
            if !self.send(inbox) {
                return Left::Done;
            }
            self.finish(inbox);
            if self.once && self.is_drained(inbox) {
                self.scan(inbox);
                if inbox.expected() == 0 {
                    return Left::Done;
                }
            }
            let busy = inbox.waiting() > 0 || self.once || !self.suspects.is_empty() || self.feeder.feedback.open() > 0;
            let idle = if busy { inbox.pace() } else { IDLE };
            self.post.say(Doing::Rest);
            let hint = hints.next(idle.min(due.saturating_duration_since(Instant::now())));
            self.reach();
            let more = std::iter::from_fn(|| hints.next(Duration::ZERO));
            for hint in hint.into_iter().chain(more).take(PORTION) {
                self.follow(inbox, |inbox, step| inbox.follow(&hint, step));
            }
            if Instant::now() >= due {
                due = self.scan(inbox);
            }
        }
        Left::Done
    }

    /// Looks at everything; when to do it again.
    fn scan(&self, inbox: &mut Inbox) -> Instant {
        let begun = Instant::now();
        self.feeder.lane.line.get().inspect(|line| line.owed.recount());
        self.follow(inbox, Inbox::scan);
        let pause = Duration::from_secs(self.feeder.lane.watch.rescan_s.max(1));
        Instant::now() + pause.max(begun.elapsed() * RESCAN_SHARE)
    }

    /// Lets the inbox look at files, which ends early when this thread is to end.
    fn follow(&self, inbox: &mut Inbox, look: impl FnOnce(&mut Inbox, &dyn Fn() -> bool)) {
        look(inbox, &|| self.go_on());
    }

    /// What became of the files that were sent.
    fn listen(&mut self, inbox: &mut Inbox) {
        for told in self.feeder.feedback.told() {
            match told {
                Told::Again(found) => inbox.again(&found),
                Told::Later(found, failures) if inbox.is_current(&found) => {
                    let pause = (READ_PAUSES[0] * 4u32.saturating_pow(failures - 1)).min(READ_PAUSES[1]);
                    self.later.push((Instant::now() + pause, found, failures));
                }
                Told::Later(..) => {}
                Told::Finished(found, rejected) => inbox.finish(&found, rejected),
                Told::Forget(found) => inbox.forget(&found),
            }
        }
    }

    /// Sends what is complete, and what is to be read again; false where nobody wants it any more.
    fn send(&mut self, inbox: &mut Inbox) -> bool {
        let now = Instant::now();
        let (due, later): (Vec<_>, Vec<_>) = self.later.drain(..).partition(|(when, ..)| *when <= now);
        self.later = later;
        let again = due.into_iter().map(|(_, found, failures)| (found, failures));
        let found = inbox.settled(PORTION, &|| self.go_on());
        self.post.say(Doing::Rest);
        self.feeder.lane.tally.set_held(inbox.held());
        let (suspects, fresh): (Vec<_>, Vec<_>) = found.into_iter().partition(|found| self.feeder.is_suspect(found));
        self.suspects.extend(suspects);
        let mut all: Vec<(Found, u32)> = fresh.into_iter().map(|found| (found, 0)).chain(again).collect();
        let rest_is_done = all.is_empty() && inbox.waiting() == 0 && self.feeder.feedback.is_quiet();
        if rest_is_done || self.started.elapsed() >= SUSPECTS_WAIT {
            all.extend(self.suspects.drain(..).map(|found| (found, 0)));
        }
        let (root, tally) = (inbox.root(), &self.feeder.lane.tally);
        let mut left = inbox.waiting() + self.suspects.len() + self.later.len() + all.len();
        tally.waits(left, inbox.is_overfull());
        all.into_iter().all(|(found, failures)| {
            left -= 1;
            tally.waits(left, inbox.is_overfull());
            self.feeder.send_again(root.join(&found.name), found, failures)
        })
    }

    /// Passes on the finished files that still lie there.
    fn finish(&self, inbox: &mut Inbox) {
        let Some(line) = self.feeder.lane.line.get() else { return };
        for (Found { name, stat }, rejected) in inbox.finished() {
            line.pass(Finished { name, stat, digest: None, rejected });
        }
    }

    fn is_drained(&self, inbox: &Inbox) -> bool {
        inbox.expected() == 0 && self.later.is_empty() && self.suspects.is_empty() && self.feeder.feedback.is_quiet()
    }

    /// The filesystem has answered; whether to ask it more.
    fn go_on(&self) -> bool {
        self.post.step();
        !self.feeder.stop.is_stopped()
    }

    /// Says that the inbox's filesystem is asked something now.
    fn reach(&self) {
        self.post.say(Doing::Reach { place: self.access.place(), path: self.folder.clone() });
    }

    /// Waits, unless told to stop.
    fn rest(&self, pause: Duration) {
        self.post.say(Doing::Rest);
        let until = Instant::now() + pause;
        while Instant::now() < until && !self.feeder.stop.is_stopped() {
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}
