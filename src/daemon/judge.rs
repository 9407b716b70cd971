//! The score stage: the one thread that owns the devices. It takes what is waiting, up to a bound, and never waits for more.

use std::collections::HashSet;
use std::os::unix::ffi::OsStrExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, PoisonError};
use std::time::Instant;

use chrono::Utc;
use crossbeam_channel::{Receiver, Sender};
use tracing::error;

use super::lane::Lane;
use super::progress::Progress;
use super::stages::{FrameInfo, Item, Refusal, Row};
use super::work::Work;
use crate::error::{Failure, Kind, Result};
use crate::image::{Reason, Rejection};
use crate::prepare::Prepared;
use crate::score::Verdict;

/// The score stage.
pub struct Bench {
    /// Frames to judge.
    pub items: Receiver<Item>,
    /// The next stage.
    pub rows: Sender<Row>,
    /// Most frames of one call.
    pub batch_frames: usize,
    /// This thread's note of what it holds.
    pub work: Work,
    /// Counters.
    pub progress: Arc<Progress>,
}

/// Frames of one lane, and where their rows go.
struct Group {
    lane: Arc<Lane>,
    places: Vec<usize>,
    frames: Vec<FrameInfo>,
    prepared: Vec<Prepared>,
}

impl Bench {
    /// Judges until there are no more items, or nobody wants the rows any more.
    ///
    /// # Errors
    /// [`Kind::Internal`] when a device fails.
    pub fn run(mut self) -> Result<()> {
        while let Ok(first) = self.items.recv() {
            let progress = self.progress.clone();
            let _at_work = progress.score.begin();
            let items = self.gather(first);
            for row in self.judge(items)? {
                if self.rows.send(row).is_err() {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// What is waiting, up to the bound.
    fn gather(&self, first: Item) -> Vec<Item> {
        let mut items = vec![first];
        let mut frames = usize::from(matches!(items[0], Item::Frame(..)));
        while frames < self.batch_frames && items.len() < 2 * self.batch_frames {
            match self.items.try_recv() {
                Ok(item) => {
                    frames += usize::from(matches!(item, Item::Frame(..)));
                    items.push(item);
                }
                Err(_) => break,
            }
        }
        items
    }

    /// Rows in the order of the items.
    fn judge(&mut self, items: Vec<Item>) -> Result<Vec<Row>> {
        let mut rows: Vec<Option<Row>> = Vec::with_capacity(items.len());
        let mut groups: Vec<Group> = Vec::new();
        let mut tickets = Vec::new();
        for item in items {
            rows.push(match item {
                Item::Frame(frame, prepared) => {
                    add(&mut groups, rows.len(), frame, prepared);
                    None
                }
                Item::Refused(refusal) => Some(Row::Refused(refusal)),
                Item::End(file, outcome, ticket) => {
                    tickets.push(ticket);
                    Some(Row::End(file, outcome))
                }
            });
        }
        for group in groups {
            let places = group.places.clone();
            for (place, row) in places.into_iter().zip(self.judge_group(group)?) {
                rows[place] = Some(row);
            }
        }
        drop(tickets);
        Ok(rows.into_iter().flatten().collect())
    }

    fn judge_group(&mut self, group: Group) -> Result<Vec<Row>> {
        let Group { lane, frames, prepared, .. } = group;
        let mut seen = HashSet::new();
        let files = frames.iter().filter(|frame| seen.insert(Arc::as_ptr(&frame.file)));
        self.work
            .begin(files.map(|frame| (lane.name.as_str(), frame.file.name.as_os_str().as_bytes(), frame.file.stat)));
        let began = Instant::now();
        let verdicts = match score(&lane, &prepared) {
            Some(verdicts) => verdicts?.into_iter().map(Some).collect(),
            // Something in the batch stopped the judge: find out which frame.
            None => prepared
                .iter()
                .map(|one| score(&lane, std::slice::from_ref(one)).map(|verdicts| Ok(verdicts?.into_iter().next())))
                .map(|verdict| verdict.map_or(Ok(None), |verdict| verdict))
                .collect::<Result<Vec<Option<Verdict>>>>()?,
        };
        self.work.done();
        let each = began.elapsed().as_secs_f64() / frames.len().max(1) as f64;
        lane.tally.timings.score.record_many(each, frames.len());
        drop(prepared);
        if verdicts.len() != frames.len() {
            let message = format!("{} verdicts for {} frames of {}", verdicts.len(), frames.len(), lane.name);
            return Err(Failure::new(Kind::Internal, message));
        }
        let scored_at = Utc::now();
        Ok(frames
            .into_iter()
            .zip(verdicts)
            .map(|(frame, verdict)| match verdict {
                Some(verdict) => Row::Scored(frame, Box::new(verdict), scored_at),
                None => Row::Refused(stopped(&frame)),
            })
            .collect())
    }
}

/// Verdicts, or `None` where judging panicked.
fn score(lane: &Lane, prepared: &[Prepared]) -> Option<Result<Vec<Verdict>>> {
    let mut judge = lane.judge.lock().unwrap_or_else(PoisonError::into_inner);
    catch_unwind(AssertUnwindSafe(|| judge.score(prepared))).ok()
}

fn stopped(frame: &FrameInfo) -> Refusal {
    let _inside = frame.span.enter();
    error!("judging this frame stopped the worker");
    let rejection = Rejection::new(Reason::Poisonous, "judging it stopped the worker; please report the file");
    Refusal { file: frame.file.clone(), index: Some(frame.index), rejection }
}

fn add(groups: &mut Vec<Group>, place: usize, frame: FrameInfo, prepared: Prepared) {
    let lane = &frame.file.lane;
    let index = groups.iter().position(|group| Arc::ptr_eq(&group.lane, lane)).unwrap_or_else(|| {
        groups.push(Group { lane: lane.clone(), places: Vec::new(), frames: Vec::new(), prepared: Vec::new() });
        groups.len() - 1
    });
    groups[index].places.push(place);
    groups[index].frames.push(frame);
    groups[index].prepared.push(prepared);
}
