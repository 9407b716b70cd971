//! The score stage: the one thread that owns the devices. It takes what is waiting, up to a bound, and never waits for more.

use std::collections::HashMap;
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;
use std::time::Instant;

use chrono::Utc;
use crossbeam_channel::{Receiver, Sender};
use tracing::error;

use super::lane::Lane;
use super::portions::{Judged, Portions};
use super::post::Doing;
use super::progress::Progress;
use super::stages::{FileInfo, FrameInfo, Item, Refusal, Row};
use super::work::{InHand, Work};
use crate::error::Result;
use crate::image::Rejection;
use crate::prepare::Prepared;

/// The score stage.
pub struct Bench {
    /// Frames to judge.
    pub items: Receiver<Item>,
    /// The next stage.
    pub rows: Sender<Row>,
    /// Most frames of one call.
    pub batch_frames: usize,
    /// Frames of one call to a device.
    pub portions: Portions,
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
    /// [`crate::error::Kind::Internal`] when a device fails.
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

    /// Notes the frames of a group, by file.
    fn take_in_hand(&mut self, frames: &[FrameInfo]) {
        let mut files: Vec<InHand<'_>> = Vec::new();
        let mut place: HashMap<*const FileInfo, usize> = HashMap::new();
        for FrameInfo { file, index, .. } in frames {
            let at = *place.entry(Arc::as_ptr(file)).or_insert_with(|| {
                files.push((&file.lane.name, file.name.as_os_str().as_bytes(), file.stat, *index, *index));
                files.len() - 1
            });
            files[at].3 = files[at].3.min(*index);
            files[at].4 = files[at].4.max(*index);
        }
        self.work.begin(&files);
        if let Some(frame) = frames.first() {
            self.work.post.say(Doing::Work { source: frame.file.source.clone(), frame: frame.index });
        }
    }

    fn judge_group(&mut self, group: Group) -> Result<Vec<Row>> {
        let Group { lane, frames, prepared, .. } = group;
        self.take_in_hand(&frames);
        let began = Instant::now();
        let (post, progress) = (self.work.post.clone(), self.progress.clone());
        let step = || {
            post.step();
            progress.score.beat();
        };
        let judged = self.portions.judge(&lane, &prepared, &step)?;
        self.work.done();
        let each = began.elapsed().as_secs_f64() / frames.len().max(1) as f64;
        lane.tally.timings.score.record_many(each, frames.len());
        drop(prepared);
        let scored_at = Utc::now();
        Ok(frames
            .into_iter()
            .zip(judged)
            .map(|(frame, judged)| match judged {
                Judged::Verdict(verdict) => Row::Scored(frame, verdict, scored_at),
                Judged::Not(rejection) => Row::Refused(refusal(&frame, rejection)),
            })
            .collect())
    }
}

fn refusal(frame: &FrameInfo, rejection: Rejection) -> Refusal {
    error!(source = %frame.file.source, frame = frame.index, reason = rejection.reason.as_str(), "this frame cannot be judged");
    Refusal { file: frame.file.clone(), index: Some(frame.index), rejection }
}

fn add(groups: &mut Vec<Group>, place: usize, frame: FrameInfo, prepared: Prepared) {
    let lane = &frame.file.lane;
    let alone = frame.file.alone;
    let same = |group: &Group| Arc::ptr_eq(&group.lane, lane) && !alone && !group.frames[0].file.alone;
    let index = groups.iter().position(same).unwrap_or_else(|| {
        groups.push(Group { lane: lane.clone(), places: Vec::new(), frames: Vec::new(), prepared: Vec::new() });
        groups.len() - 1
    });
    groups[index].places.push(place);
    groups[index].frames.push(frame);
    groups[index].prepared.push(prepared);
}
