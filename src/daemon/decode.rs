//! The decode stage: a file is read whole, digested, decoded and prepared, frame by frame.

// A failed send hands its item back; it happens once, when the next stage has ended.
#![allow(clippy::result_large_err)]

use std::os::unix::ffi::OsStrExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use crossbeam_channel::{SendError, Sender};
use tracing::debug;

use super::budget::{Budget, Permit};
use super::flight::Flight;
use super::post::Doing;
use super::progress::Progress;
use super::queue::{Hold, Queue};
use super::reading::{Place, Reading, read, readings};
use super::space::Space;
use super::stages::{FileInfo, FrameInfo, Item, Job, Refusal, Stop, Told};
use super::work::Work;
use crate::drift::RawStatistics;
use crate::error::Result;
use crate::image::{self, Frame, Limits, Reason, Rejection};
use crate::ledger::{Outcome, Reader, Scoring};
use crate::prepare::{Prepared, prepare};
use crate::report::names::source_name;
use crate::watch::Found;

/// Bytes in memory for each value of a frame: what the model sees, and three maps.
const FRAME_FACTOR: u64 = 16;
/// Readings of a file that keeps changing or cannot be read, before it is rejected.
const READINGS: u32 = 3;
/// Pause between two of them, where no watcher will find the file again.
const PAUSE: Duration = Duration::from_millis(100);

/// One decoding thread.
pub struct Decoder {
    /// Work to do.
    pub jobs: Arc<Queue>,
    /// The next stage.
    pub items: Sender<Item>,
    /// What is under way.
    pub flight: Arc<Flight>,
    /// What is done.
    pub ledger: Reader,
    /// What files may ask for.
    pub limits: Limits,
    /// Bytes of files being decoded.
    pub files: Arc<Budget>,
    /// Bytes of frames on their way.
    pub frames: Arc<Budget>,
    /// This thread's note of what it holds.
    pub work: Work,
    /// Counters.
    pub progress: Arc<Progress>,
    /// When to end.
    pub stop: Arc<Stop>,
    /// When to wait.
    pub space: Arc<Space>,
    /// Whether a watcher finds a changed file again.
    pub watched: bool,
}

type Sent = std::result::Result<(), SendError<Item>>;

impl Decoder {
    /// Decodes until there are no more jobs, or nobody wants the frames any more.
    ///
    /// # Errors
    /// [`crate::error::Kind::Io`] for a broken ledger. A broken file is a row.
    pub fn run(mut self) -> Result<()> {
        self.work.post.take();
        while let Some((job, hold)) = self.jobs.take() {
            if self.stop.is_over() || !self.space.pass() {
                continue;
            }
            let progress = self.progress.clone();
            let _at_work = progress.decode.begin();
            self.work.begin(&[(&job.lane.name, job.name.as_os_str().as_bytes(), job.stat, 0, 0)]);
            let sent = self.file(job, hold);
            self.work.done();
            if sent?.is_err() {
                break;
            }
        }
        Ok(())
    }

    fn file(&mut self, mut job: Job, mut hold: Hold) -> Result<Sent> {
        if let Some(rejection) = job.rejected.take() {
            return Ok(self.refuse(job, None, rejection));
        }
        let (began, lane) = (Instant::now(), job.lane.clone());
        let reading = self.read(&job);
        let took = began.elapsed();
        // From here on the bytes count as those of a file that is decoded.
        self.work.post.say(Doing::Rest);
        hold.has_read();
        let mut memory = self.files.take(job.stat.size);
        drop(hold);
        match reading {
            Reading::Whole(bytes, stat) => {
                lane.tally.timings.read.record(took);
                lane.tally.read_bytes.fetch_add(stat.size, Relaxed);
                job.stat = stat;
                self.content(job, bytes, &mut memory)
            }
            Reading::Refused(rejection) => Ok(self.refuse(job, None, rejection)),
            Reading::Gone if !self.watched => {
                Ok(self.refuse(job, None, Rejection::new(Reason::Unreadable, "the file is gone")))
            }
            Reading::Later(error) if job.failures + 1 >= readings(&error) || !self.watched => {
                let times = if self.watched { readings(&error) } else { READINGS };
                let again = if self.watched { "; it is read again when its metadata change" } else { "" };
                let detail = format!("{error}, {times} times{again}");
                Ok(self.refuse(job, None, Rejection::new(Reason::Unreadable, detail)))
            }
            Reading::Later(error) => {
                debug!(pipeline = %job.lane.name, path = %job.path.display(), %error, "cannot be read now");
                let found = Found { name: job.name, stat: job.stat };
                job.ticket.tell(Told::Later(found, job.failures + 1));
                self.progress.add(&self.progress.ended, 1);
                lane.tally.ended.fetch_add(1, Relaxed);
                lane.tally.retries.fetch_add(1, Relaxed);
                Ok(Ok(()))
            }
            // What is gone may come back as it was.
            Reading::Gone | Reading::Changed => {
                job.ticket.tell(Told::Again(Found { name: job.name, stat: job.stat }));
                self.progress.add(&self.progress.ended, 1);
                lane.tally.ended.fetch_add(1, Relaxed);
                lane.tally.retries.fetch_add(1, Relaxed);
                Ok(Ok(()))
            }
        }
    }

    /// Reads a file that does not change meanwhile.
    fn read(&self, job: &Job) -> Reading {
        let place = Place { path: &job.path, inside: job.inbox.as_deref().map(|inbox| (inbox, job.name.as_path())) };
        self.work.post.say(Doing::Reach { place: job.lane.place(), path: job.path.clone() });
        for reading in 1..=READINGS {
            match read(&place, &self.limits, &|| self.work.post.step()) {
                Reading::Whole(bytes, stat) if self.watched && stat != job.stat => {
                    drop(bytes);
                    return Reading::Changed;
                }
                Reading::Changed if !self.watched => {}
                Reading::Later(_) if !self.watched && reading < READINGS => std::thread::sleep(PAUSE),
                other => return other,
            }
        }
        Reading::Refused(Rejection::new(Reason::Unreadable, "the file keeps changing while it is read"))
    }

    /// Sends the frames of a content, unless that has been done.
    fn content(&mut self, job: Job, bytes: Vec<u8>, memory: &mut Permit) -> Result<Sent> {
        let digest = *blake3::hash(&bytes).as_bytes();
        let key = (job.lane.line_number, digest);
        let (file, ticket) = info(job, Some(digest));
        let path = file.name.as_os_str().as_bytes();
        // A name that has its row holds nobody else up.
        if self.ledger.scoring(key.0, &digest, path)? == Scoring::Known {
            return Ok(self.pass(Item::End(file, Outcome::Seen, Some(ticket))));
        }
        let Some(ticket) = self.flight.claim(key, &file, ticket) else { return Ok(Ok(())) };
        let (skip, ending) = match self.ledger.scoring(key.0, &digest, path)? {
            Scoring::New => (0, Outcome::Rejected),
            Scoring::Partial { frames, scored: false, .. } => (frames, Outcome::Rejected),
            Scoring::Partial { frames, first, .. } if first != path => (frames, Outcome::Resumed),
            Scoring::Partial { frames, .. } => (frames, Outcome::Scored),
            Scoring::Done { .. } => return Ok(self.pass(Item::End(file, Outcome::Alias, Some(ticket)))),
            Scoring::Known => {
                // Committed since it was asked above. Whoever waits here meanwhile may be new.
                for (other, ticket) in self.flight.release(&key) {
                    self.progress.add(&self.progress.ended, u64::from(self.watched));
                    ticket.tell(Told::Again(other.found()));
                }
                return Ok(self.pass(Item::End(file, Outcome::Seen, Some(ticket))));
            }
        };
        Ok(match self.send_frames(&file, bytes, skip, memory) {
            Ok(Some(Outcome::Scored)) if ending == Outcome::Rejected => {
                self.pass(Item::End(file, Outcome::Scored, Some(ticket)))
            }
            // What went before says how it ends, where nothing more has been scored.
            Ok(Some(_)) => self.pass(Item::End(file, ending, Some(ticket))),
            Ok(None) => Ok(()),
            Err(error) => Err(error),
        })
    }

    /// Sends the frames after the first `skip`; `None` where the work was stopped before the last.
    fn send_frames(
        &mut self,
        file: &Arc<FileInfo>,
        bytes: Vec<u8>,
        skip: u64,
        memory: &mut Permit,
    ) -> std::result::Result<Option<Outcome>, SendError<Item>> {
        let mut scored = false;
        self.work.advance(&file.source, 0);
        let post = self.work.post.clone();
        let mut hold = |bytes| post.wait_for(|| memory.resize(bytes));
        let mut frames = match guarded(|| image::open_within(bytes, &self.limits, &mut hold)) {
            Ok(file) => file.frames,
            Err(rejection) => {
                self.pass(Item::Refused(Refusal { file: file.clone(), index: None, rejection }))?;
                return Ok(Some(Outcome::Rejected));
            }
        };
        let (mut position, mut refused) = (0, None);
        let timings = &file.lane.tally.timings;
        loop {
            // Reads the next header, which is work; only what follows is waiting.
            let bytes = frames.next_bytes();
            self.work.post.wait_for(|| memory.resize(bytes));
            let began = Instant::now();
            let Some(frame) = guarded(|| Ok(frames.next())).unwrap_or_else(|rejection| Some(Err(rejection))) else {
                break;
            };
            position += 1;
            timings.decode.record(began.elapsed());
            // After a panic a decoder is not asked again, now or in a second reading.
            let stopped = matches!(&frame, Err(rejection) if rejection.reason == Reason::Poisonous);
            if position <= skip {
                refused = frame.err();
                if stopped {
                    break;
                }
                self.work.advance(&file.source, position as u32);
                continue;
            }
            if self.stop.is_over() {
                return Ok(None);
            }
            let index = frame.as_ref().map_or(position as usize - 1, |frame| frame.index) as u32;
            match frame.and_then(|frame| self.prepare(file, frame)) {
                Ok((info, prepared)) => {
                    scored = true;
                    self.pass(Item::Frame(info, prepared))?;
                }
                Err(rejection) => {
                    self.pass(Item::Refused(Refusal { file: file.clone(), index: Some(index), rejection }))?;
                }
            }
            if stopped {
                break;
            }
            self.progress.decode.beat();
            self.work.advance(&file.source, position as u32);
        }
        if let Some((index, rejection)) = unread(position, skip, refused) {
            self.pass(Item::Refused(Refusal { file: file.clone(), index, rejection }))?;
        }
        Ok(Some(if scored { Outcome::Scored } else { Outcome::Rejected }))
    }

    fn prepare(&self, file: &Arc<FileInfo>, frame: Frame) -> std::result::Result<(FrameInfo, Prepared), Rejection> {
        let permit = self.work.post.wait_for(|| self.frames.take(frame.pixels.len() as u64 * FRAME_FACTOR));
        let info = FrameInfo {
            file: file.clone(),
            index: frame.index as u32,
            shape: [frame.width as u32, frame.height as u32, frame.channels as u32],
            observed_at: frame.observed_at,
            raw: RawStatistics::of(&frame),
            span: file.span(Some(frame.index as u32)),
            _permit: permit,
        };
        let began = Instant::now();
        let prepared = info.span.in_scope(|| guarded(|| prepare(frame, &file.lane.input)))?;
        file.lane.tally.timings.prepare.record(began.elapsed());
        Ok((info, prepared))
    }

    /// Hands on an item; to wait for the next stage is not to work.
    fn pass(&self, item: Item) -> Sent {
        self.work.post.wait_for(|| self.items.send(item))
    }

    fn refuse(&self, job: Job, digest: Option<[u8; 32]>, rejection: Rejection) -> Sent {
        let (file, ticket) = info(job, digest);
        self.pass(Item::Refused(Refusal { file: file.clone(), index: None, rejection }))?;
        self.pass(Item::End(file, Outcome::Rejected, Some(ticket)))
    }
}

fn info(job: Job, digest: Option<[u8; 32]>) -> (Arc<FileInfo>, super::stages::Ticket) {
    let source = source_name(&job.name).into();
    let digest = digest.map(|digest| (digest, blake3::Hash::from(digest).to_hex().as_str().into()));
    let Job { lane, name, stat, received_at, alone, ticket, .. } = job;
    (Arc::new(FileInfo { lane, name, source, stat, received_at, alone, digest }), ticket)
}

/// What is to be said of frames that were not come to. A decoder may give up among those that have their rows from before a crash,
/// at one that went well then: the rest of the file would be missing, and nobody would say so. `refused` is the last of these.
fn unread(position: u64, skip: u64, refused: Option<Rejection>) -> Option<(Option<u32>, Rejection)> {
    match refused {
        Some(Rejection { reason, detail }) if position < skip || (position == skip && reason == Reason::TooSlow) => {
            let detail =
                format!("the file is not read from here on, since frame {} was refused: {detail}", position - 1);
            Some((Some(skip as u32), Rejection::new(reason, detail)))
        }
        None if position == 0 => Some((None, Rejection::new(Reason::NoImage, "the file has no frame"))),
        _ => None,
    }
}

/// A panic of a decoder is a fault of the file, until somebody mends the decoder.
fn guarded<T>(work: impl FnOnce() -> std::result::Result<T, Rejection>) -> std::result::Result<T, Rejection> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| {
        Err(Rejection::new(Reason::Poisonous, "decoding it stopped a worker; please report the file"))
    })
}
