//! How many frames a device is given at once: fewer when its memory runs out, more again after a while.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::PoisonError;

use tracing::{info, warn};

use super::lane::Lane;
use crate::error::{Failure, Kind, Result};
use crate::image::{Reason, Rejection};
use crate::prepare::Prepared;
use crate::score::Verdict;

/// Calls that must go well before a device is given twice as many frames.
const CALM: u32 = 64;

/// What came of a frame.
pub enum Judged {
    /// It was judged.
    Verdict(Box<Verdict>),
    /// It could not be judged.
    Not(Rejection),
}

/// Frames of one call, by lane.
#[derive(Debug)]
pub struct Portions {
    most: usize,
    reduced: HashMap<i64, Portion>,
}

/// A number of frames that is below what was asked for.
#[derive(Debug, Clone, Copy)]
struct Portion {
    frames: usize,
    calm: u32,
}

impl Portions {
    /// At most this many frames.
    pub fn new(most: usize) -> Self {
        Self { most, reduced: HashMap::new() }
    }

    /// Judges frames of a lane, in order: what came of each. `step` is called after each call of the device.
    ///
    /// # Errors
    /// [`Kind::Internal`] when the device fails otherwise than by its memory, and not because of one frame.
    pub fn judge(&mut self, lane: &Lane, mut frames: &[Prepared], step: &dyn Fn()) -> Result<Vec<Judged>> {
        let mut judged = Vec::with_capacity(frames.len());
        while !frames.is_empty() {
            let (portion, rest) = frames.split_at(self.portion(lane).min(frames.len()));
            let outcome = score(lane, portion);
            step();
            match outcome {
                Some(Ok(verdicts)) if verdicts.len() == portion.len() => {
                    judged.extend(verdicts.into_iter().map(|verdict| Judged::Verdict(Box::new(verdict))));
                    self.fitted(lane);
                }
                Some(Ok(verdicts)) => {
                    let message = format!("{} verdicts for {} frames of {}", verdicts.len(), portion.len(), lane.name);
                    return Err(Failure::new(Kind::Internal, message));
                }
                Some(Err(failure)) if failure.kind == Kind::DeviceMemory => {
                    if portion.len() > 1 {
                        self.halve(lane, portion.len(), &failure);
                        continue;
                    }
                    judged.push(Judged::Not(too_large(&failure)));
                }
                Some(Err(failure)) if portion.len() == 1 => {
                    judged.push(alone(lane, &portion[0], failure)?);
                    step();
                }
                // Something in the batch stopped the judge or failed the device: find out which frame.
                Some(Err(_)) | None if portion.len() > 1 => {
                    for one in portion {
                        judged.extend(self.judge(lane, std::slice::from_ref(one), step)?);
                    }
                }
                _ => judged.push(Judged::Not(stopped())),
            }
            frames = rest;
        }
        Ok(judged)
    }

    fn portion(&self, lane: &Lane) -> usize {
        self.reduced.get(&lane.number).map_or(self.most, |portion| portion.frames)
    }

    fn halve(&mut self, lane: &Lane, frames: usize, failure: &Failure) {
        warn!(
            pipeline = lane.name,
            frames,
            error = failure.message,
            "the device has no memory for so many frames, halving them"
        );
        self.reduced.insert(lane.number, Portion { frames: frames.div_ceil(2), calm: 0 });
    }

    /// Counts a call that went well.
    fn fitted(&mut self, lane: &Lane) {
        let Some(portion) = self.reduced.get_mut(&lane.number) else { return };
        portion.calm += 1;
        if portion.calm < CALM {
            return;
        }
        *portion = Portion { frames: portion.frames * 2, calm: 0 };
        info!(pipeline = lane.name, frames = portion.frames, "trying the device with more frames again");
        if portion.frames >= self.most {
            self.reduced.remove(&lane.number);
        }
    }
}

/// What came of a frame over which the device has failed. One that fails again, where the device judges another of its shape, is to
/// blame: it would be met again by each process that is started.
fn alone(lane: &Lane, frame: &Prepared, failure: Failure) -> Result<Judged> {
    if let Some(Ok(mut verdicts)) = score(lane, std::slice::from_ref(frame))
        && verdicts.len() == 1
    {
        return Ok(Judged::Verdict(Box::new(verdicts.remove(0))));
    }
    let blank = Prepared { pixels: vec![0.0; frame.pixels.len()], ..frame.clone() };
    match score(lane, &[blank]) {
        Some(Ok(_)) => Ok(Judged::Not(failed(&failure))),
        _ => Err(failure),
    }
}

/// Verdicts, or `None` where judging panicked.
fn score(lane: &Lane, prepared: &[Prepared]) -> Option<Result<Vec<Verdict>>> {
    let mut judge = lane.judge.lock().unwrap_or_else(PoisonError::into_inner);
    catch_unwind(AssertUnwindSafe(|| judge.score(prepared))).ok()
}

fn too_large(failure: &Failure) -> Rejection {
    let hint = "it does not fit the device's memory even alone; `device = \"cpu\"` has more";
    Rejection::new(Reason::TooLarge, format!("{}: {hint}", failure.message))
}

fn failed(failure: &Failure) -> Rejection {
    let what = "the device fails over it, and over no other; please report the file";
    Rejection::new(Reason::Poisonous, format!("{}: {what}", failure.message))
}

fn stopped() -> Rejection {
    Rejection::new(Reason::Poisonous, "judging it stopped the worker; please report the file")
}
