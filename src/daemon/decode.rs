//! The decode stage: a file is read whole, digested, decoded and prepared, frame by frame.

// A failed send hands its item back; it happens once, when the next stage has ended.
#![allow(clippy::result_large_err)]

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

use crossbeam_channel::{Receiver, SendError, Sender};
use rustix::fs::OFlags;

use super::budget::{Budget, Permit};
use super::flight::Flight;
use super::progress::Progress;
use super::space::Space;
use super::stages::{FileInfo, FrameInfo, Item, Job, Refusal, Stop};
use super::work::Work;
use crate::error::Result;
use crate::image::{self, Frame, Limits, Reason, Rejection};
use crate::ledger::{Outcome, Reader, Scoring};
use crate::prepare::{Prepared, prepare};
use crate::report::names::source_name;
use crate::watch::{Stat, stat_of};

/// Bytes in memory for each value of a frame: what the model sees, and three maps.
const FRAME_FACTOR: u64 = 16;
/// Readings of a file that keeps changing, where no watcher will find it again.
const READINGS: usize = 3;

/// One decoding thread.
pub struct Decoder {
    /// Work to do.
    pub jobs: Receiver<Job>,
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

/// How reading a file went.
enum Reading {
    Whole(Vec<u8>, Stat),
    Changed,
    Gone,
    Refused(Rejection),
}

type Sent = std::result::Result<(), SendError<Item>>;

impl Decoder {
    /// Decodes until there are no more jobs, or nobody wants the frames any more.
    ///
    /// # Errors
    /// [`crate::error::Kind::Io`] for a broken ledger. A broken file is a row.
    pub fn run(mut self) -> Result<()> {
        while let Ok(job) = self.jobs.recv() {
            if self.stop.is_over() || !self.space.pass() {
                continue;
            }
            let progress = self.progress.clone();
            let _at_work = progress.decode.begin();
            self.work.begin(std::iter::once((job.lane.name.as_str(), job.name.as_os_str().as_bytes(), job.stat)));
            let sent = self.file(job);
            self.work.done();
            if sent?.is_err() {
                break;
            }
        }
        Ok(())
    }

    fn file(&self, mut job: Job) -> Result<Sent> {
        if let Some(rejection) = job.rejected.take() {
            return Ok(self.refuse(job, None, rejection));
        }
        let mut memory = self.files.take(job.stat.size);
        let (began, lane) = (Instant::now(), job.lane.clone());
        match self.read(&job) {
            Reading::Whole(bytes, stat) => {
                lane.tally.timings.read.record(began.elapsed());
                lane.tally.read_bytes.fetch_add(stat.size, Relaxed);
                job.stat = stat;
                self.content(job, bytes, &mut memory)
            }
            Reading::Refused(rejection) => Ok(self.refuse(job, None, rejection)),
            Reading::Gone if !self.watched => {
                Ok(self.refuse(job, None, Rejection::new(Reason::Unreadable, "the file is gone")))
            }
            Reading::Gone => {
                self.progress.add(&self.progress.ended, 1);
                lane.tally.ended.fetch_add(1, Relaxed);
                Ok(Ok(()))
            }
            Reading::Changed => {
                self.progress.add(&self.progress.ended, 1);
                lane.tally.ended.fetch_add(1, Relaxed);
                lane.tally.retries.fetch_add(1, Relaxed);
                job.ticket.again(job.name);
                Ok(Ok(()))
            }
        }
    }

    /// Reads a file that does not change meanwhile.
    fn read(&self, job: &Job) -> Reading {
        for _ in 0..READINGS {
            match read_once(&job.path, &self.limits) {
                Reading::Whole(bytes, stat) if self.watched && stat != job.stat => {
                    drop(bytes);
                    return Reading::Changed;
                }
                Reading::Changed if !self.watched => {}
                other => return other,
            }
        }
        Reading::Refused(Rejection::new(Reason::Unreadable, "the file keeps changing while it is read"))
    }

    /// Sends the frames of a content, unless that has been done.
    fn content(&self, job: Job, bytes: Vec<u8>, memory: &mut Permit) -> Result<Sent> {
        let digest = *blake3::hash(&bytes).as_bytes();
        let key = (job.lane.number, digest);
        let (file, ticket) = info(job, Some(digest));
        let path = file.name.as_os_str().as_bytes();
        // A name that has its row holds nobody else up.
        if self.ledger.scoring(key.0, &digest, path)? == Scoring::Known {
            return Ok(self.items.send(Item::End(file, Outcome::Seen, Some(ticket))));
        }
        let Some(ticket) = self.flight.claim(key, &file, ticket) else { return Ok(Ok(())) };
        let (skip, ending) = match self.ledger.scoring(key.0, &digest, path)? {
            Scoring::New => (0, Outcome::Rejected),
            Scoring::Partial { frames, scored: false, .. } => (frames, Outcome::Rejected),
            Scoring::Partial { frames, first, .. } if first != path => (frames, Outcome::Resumed),
            Scoring::Partial { frames, .. } => (frames, Outcome::Scored),
            Scoring::Done { .. } => return Ok(self.items.send(Item::End(file, Outcome::Alias, Some(ticket)))),
            Scoring::Known => {
                // Committed since it was asked above. Whoever waits here meanwhile may be new.
                for (other, ticket) in self.flight.release(&key) {
                    self.progress.add(&self.progress.ended, u64::from(self.watched));
                    ticket.again(other.name.clone());
                }
                return Ok(self.items.send(Item::End(file, Outcome::Seen, Some(ticket))));
            }
        };
        Ok(match self.send_frames(&file, bytes, skip, memory) {
            Ok(Some(Outcome::Scored)) if ending == Outcome::Rejected => {
                self.items.send(Item::End(file, Outcome::Scored, Some(ticket)))
            }
            // What went before says how it ends, where nothing more has been scored.
            Ok(Some(_)) => self.items.send(Item::End(file, ending, Some(ticket))),
            Ok(None) => Ok(()),
            Err(error) => Err(error),
        })
    }

    /// Sends the frames after the first `skip`; `None` where the work was stopped before the last.
    fn send_frames(
        &self,
        file: &Arc<FileInfo>,
        bytes: Vec<u8>,
        skip: u64,
        memory: &mut Permit,
    ) -> std::result::Result<Option<Outcome>, SendError<Item>> {
        let mut scored = false;
        let mut frames = match guarded(|| image::open_within(bytes, &self.limits, &mut |bytes| memory.resize(bytes))) {
            Ok(file) => file.frames,
            Err(rejection) => {
                self.items.send(Item::Refused(Refusal { file: file.clone(), index: None, rejection }))?;
                return Ok(Some(Outcome::Rejected));
            }
        };
        let mut position = 0;
        let timings = &file.lane.tally.timings;
        loop {
            memory.resize(frames.next_bytes());
            let began = Instant::now();
            let Some(frame) = guarded(|| Ok(frames.next())).unwrap_or_else(|rejection| Some(Err(rejection))) else {
                break;
            };
            position += 1;
            timings.decode.record(began.elapsed());
            // After a panic a decoder is not asked again, now or in a second reading.
            let stopped = matches!(&frame, Err(rejection) if rejection.reason == Reason::Poisonous);
            if position <= skip {
                if stopped {
                    break;
                }
                continue;
            }
            if self.stop.is_over() {
                return Ok(None);
            }
            let index = frame.as_ref().map_or(position as usize - 1, |frame| frame.index) as u32;
            match frame.and_then(|frame| self.prepare(file, frame)) {
                Ok((info, prepared)) => {
                    scored = true;
                    self.items.send(Item::Frame(info, prepared))?;
                }
                Err(rejection) => {
                    self.items.send(Item::Refused(Refusal { file: file.clone(), index: Some(index), rejection }))?;
                }
            }
            if stopped {
                break;
            }
            self.progress.decode.beat();
        }
        if position == 0 {
            let rejection = Rejection::new(Reason::NoImage, "the file has no frame");
            self.items.send(Item::Refused(Refusal { file: file.clone(), index: None, rejection }))?;
        }
        Ok(Some(if scored { Outcome::Scored } else { Outcome::Rejected }))
    }

    fn prepare(&self, file: &Arc<FileInfo>, frame: Frame) -> std::result::Result<(FrameInfo, Prepared), Rejection> {
        let permit = self.frames.take(frame.pixels.len() as u64 * FRAME_FACTOR);
        let info = FrameInfo {
            file: file.clone(),
            index: frame.index as u32,
            shape: [frame.width as u32, frame.height as u32, frame.channels as u32],
            observed_at: frame.observed_at,
            span: file.span(Some(frame.index as u32)),
            _permit: permit,
        };
        let began = Instant::now();
        let prepared = info.span.in_scope(|| guarded(|| prepare(frame, &file.lane.input)))?;
        file.lane.tally.timings.prepare.record(began.elapsed());
        Ok((info, prepared))
    }

    fn refuse(&self, job: Job, digest: Option<[u8; 32]>, rejection: Rejection) -> Sent {
        let (file, ticket) = info(job, digest);
        self.items.send(Item::Refused(Refusal { file: file.clone(), index: None, rejection }))?;
        self.items.send(Item::End(file, Outcome::Rejected, Some(ticket)))
    }
}

fn info(job: Job, digest: Option<[u8; 32]>) -> (Arc<FileInfo>, super::stages::Ticket) {
    let source = source_name(&job.name).into();
    let digest = digest.map(|digest| (digest, blake3::Hash::from(digest).to_hex().as_str().into()));
    let Job { lane, name, stat, received_at, ticket, .. } = job;
    (Arc::new(FileInfo { lane, name, source, stat, received_at, digest }), ticket)
}

/// A panic of a decoder is a fault of the file, until somebody mends the decoder.
fn guarded<T>(work: impl FnOnce() -> std::result::Result<T, Rejection>) -> std::result::Result<T, Rejection> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| {
        Err(Rejection::new(Reason::Poisonous, "decoding it stopped a worker; please report the file"))
    })
}

/// Reads a file whole, and looks whether it is still the same afterwards.
fn read_once(path: &Path, limits: &Limits) -> Reading {
    let refuse = |error: std::io::Error| match error.kind() {
        ErrorKind::NotFound => Reading::Gone,
        _ => Reading::Refused(Rejection::new(Reason::Unreadable, error.to_string())),
    };
    // A pipe put in place of the file must not be waited for, nor a link followed.
    let flags = (OFlags::NONBLOCK | OFlags::NOFOLLOW).bits() as i32;
    let opened = OpenOptions::new().read(true).custom_flags(flags).open(path).and_then(|file| {
        let meta = file.metadata()?;
        Ok((file, meta))
    });
    let (file, meta) = match opened {
        Ok((file, meta)) if meta.is_file() => (file, meta),
        Ok(_) => return Reading::Gone,
        Err(error) => return refuse(error),
    };
    let before = Stat::from(&meta);
    if before.size > limits.file_bytes {
        let detail = format!("{} bytes, over the limit of {} (limits.file_bytes)", before.size, limits.file_bytes);
        return Reading::Refused(Rejection::new(Reason::TooLarge, detail));
    }
    match read_bytes(file, before.size) {
        Ok(bytes) if bytes.len() as u64 == before.size && stat_of(path) == Some(before) => {
            Reading::Whole(bytes, before)
        }
        Ok(_) => Reading::Changed,
        Err(error) => refuse(error),
    }
}

/// The file's bytes, and one more where it has grown.
fn read_bytes(file: File, size: u64) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(size as usize + 1);
    file.take(size + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}
