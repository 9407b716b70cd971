//! The write stage: rows become batches, a batch becomes Parquet files and an acknowledgement. See [`crate::ledger`].

use std::collections::HashSet;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use chrono::Utc;
use crossbeam_channel::{Receiver, RecvTimeoutError};
use tracing::{debug, warn};

use super::batch::{Batch, Ended, Flush, Open, address, bytes, file_row, key};
use super::drift::Drift;
use super::flight::{Flight, Waiting};
use super::progress::Progress;
use super::stages::{FileInfo, Refusal, Row, Told};
use crate::disk::is_given_up;
use crate::error::Result;
use crate::ledger::{FileRow, Ledger, Outcome, Scoring};
use crate::report::gate::Gate;
use crate::report::names::source_name;
use crate::report::writer::{Part, Store};

/// Pause between two looks whether somebody wants anything, while there are no rows.
const IDLE: Duration = Duration::from_secs(1);

/// The write stage.
pub struct Writer {
    /// Rows to write.
    pub rows: Receiver<Row>,
    /// The ledger.
    pub ledger: Ledger,
    /// The reports.
    pub store: Store,
    /// Keeps day folders from being swapped while a batch is on its way.
    pub gate: Gate,
    /// Looks whether frames still come as they did.
    pub drift: Arc<Drift>,
    /// When a batch is full.
    pub flush: Flush,
    /// What is under way.
    pub flight: Arc<Flight>,
    /// Counters.
    pub progress: Arc<Progress>,
    /// Whether a watcher finds a file again.
    pub watched: bool,
    /// The batch being gathered.
    pub batch: Batch,
}

impl Writer {
    /// Writes until there are no more rows, then what is left; or until a stop finds it waiting for a full disk.
    ///
    /// # Errors
    /// [`crate::error::Kind::Io`] when the disk or the ledger fails: nothing is acknowledged that is not there.
    pub fn run(mut self) -> Result<()> {
        match self.write_all() {
            Err(failure) if is_given_up(&failure) => {
                warn!(error = %failure.message, "stopped while the disk is full, the next start reads the rest again");
                Ok(())
            }
            other => other,
        }
    }

    fn write_all(&mut self) -> Result<()> {
        loop {
            match self.next() {
                Ok(row) => self.add(row)?,
                Err(RecvTimeoutError::Timeout) if self.batch.since.is_none() => {
                    self.drift.start_anew(&mut self.ledger)?
                }
                Err(RecvTimeoutError::Timeout) => self.commit()?,
                Err(RecvTimeoutError::Disconnected) => break,
            }
            if self.batch.is_full(&self.flush) {
                self.commit()?;
            }
        }
        // A commit may wake files that waited for its contents; they are a batch of their own.
        while !self.batch.is_empty() {
            self.commit()?;
        }
        Ok(())
    }

    fn next(&self) -> Result<Row, RecvTimeoutError> {
        match self.batch.since {
            Some(since) => self.rows.recv_deadline(since + self.flush.age),
            None => self.rows.recv_timeout(IDLE),
        }
    }

    fn add(&mut self, row: Row) -> Result<()> {
        self.progress.write.beat();
        match row {
            Row::Scored(frame, verdict, scored_at) => {
                let open = self.batch.open(&frame.file);
                (open.frames, open.scored) = (open.frames + 1, true);
                let lane = frame.file.lane.clone();
                let void = self.drift.see(&mut self.ledger, &frame, &verdict, scored_at)?;
                let bytes = self.batch.tables(&lane.name).score(frame, *verdict, scored_at, void);
                self.batch.bytes += bytes;
                Ok(())
            }
            Row::Refused(refusal) => self.refuse(&refusal),
            Row::End(file, outcome) => self.end(file, outcome).map(drop),
        }
    }

    fn refuse(&mut self, refusal: &Refusal) -> Result<()> {
        let Refusal { file, index, rejection } = refusal;
        if file.digest.is_none() && self.was_refused(file)? {
            return Ok(());
        }
        let (reason, detail) = (rejection.reason.as_str(), &rejection.detail);
        file.span(*index).in_scope(|| warn!(reason, %detail, "rejected"));
        let open = self.batch.open(file);
        open.frames += u64::from(index.is_some());
        open.keep(*index, rejection);
        // What is said of a whole file goes with its end: in a batch before it, it would be said again after a crash.
        if index.is_some() {
            self.refusal_row(refusal);
        }
        Ok(())
    }

    fn refusal_row(&mut self, refusal: &Refusal) {
        let bytes = self.batch.tables(&refusal.file.lane.name).refuse(refusal);
        self.batch.bytes += bytes;
    }

    /// Whether a file without a digest has its row already. A digest is asked for before the file is decoded.
    fn was_refused(&mut self, file: &FileInfo) -> Result<bool> {
        let again = |ended: &Ended| {
            let row = &ended.row;
            row.digest.is_none() && row.identity == file.lane.number && row.path == bytes(file) && row.stat == file.stat
        };
        Ok(self.batch.ended.iter().any(again)
            || self.ledger.was_refused(file.lane.line_number, bytes(file), file.stat)?)
    }

    fn end(&mut self, file: Arc<FileInfo>, mut outcome: Outcome) -> Result<Outcome> {
        self.batch.since.get_or_insert_with(Instant::now);
        let open = self.batch.open.remove(&address(&file));
        let (frames, rejections) = open.map_or((0, Vec::new()), |open| (open.frames, open.rejections));
        for (index, rejection) in rejections.iter().filter(|(index, _)| index.is_none()) {
            self.refusal_row(&Refusal { file: file.clone(), index: *index, rejection: rejection.clone() });
        }
        if matches!(outcome, Outcome::Alias | Outcome::Resumed) && !self.note_duplicate(&file)? {
            outcome = if outcome == Outcome::Alias { Outcome::Seen } else { Outcome::Scored };
        }
        if outcome == Outcome::Rejected && file.digest.is_none() && rejections.is_empty() {
            outcome = Outcome::Seen;
        }
        let row = file_row(&file, outcome, frames);
        self.batch.ended.push(Ended { file, row, rejections });
        Ok(outcome)
    }

    /// A row in `duplicates`, where the content was scored or begun under another name and this one is new.
    fn note_duplicate(&mut self, file: &FileInfo) -> Result<bool> {
        let Some((identity, digest)) = key(file) else { return Ok(false) };
        let (Scoring::Done { first } | Scoring::Partial { first, .. }) =
            self.ledger.scoring(identity, &digest, bytes(file))?
        else {
            return Ok(false);
        };
        if first == bytes(file) {
            return Ok(false);
        }
        let first = source_name(Path::new(OsStr::from_bytes(&first)));
        self.batch.bytes += self.batch.tables(&file.lane.name).duplicate(file, first);
        Ok(true)
    }

    /// Commits the batch: prepared, staged, published, committed.
    fn commit(&mut self) -> Result<()> {
        let progress = self.progress.clone();
        let _at_work = progress.write.begin();
        let began = Instant::now();
        let mut batch = std::mem::take(&mut self.batch);
        let now = Utc::now();
        let (date, name) = (now.format("%Y-%m-%d").to_string(), now.format("%Y%m%dT%H%M%S%6fZ").to_string());
        let mut parts = Vec::new();
        for (pipeline, tables) in &mut batch.tables {
            for (table, frame) in tables.frames()? {
                let rows = frame.height();
                parts.push((
                    Part { table, pipeline: pipeline.clone(), date: date.clone(), batch: name.clone(), rows },
                    frame,
                ));
            }
        }
        let mut files: Vec<FileRow> = batch.ended.iter().map(|ended| ended.row.clone()).collect();
        for open in batch.open.values().filter(|open| open.frames > 0) {
            let outcome = if open.scored || self.is_begun(&open.file)? { Outcome::Partial } else { Outcome::Refused };
            files.push(file_row(&open.file, outcome, open.frames));
        }
        // Whose end is still to come goes on in the next batch, with what is to be said of those that have the same content.
        let rest = batch.open.drain().map(|(address, open)| (address, Open { frames: 0, scored: false, ..open }));
        self.batch.open = rest.collect();
        self.write(parts, &files)?;
        for pipeline in batch.tables.keys() {
            self.progress.tally(pipeline).committed(began.elapsed());
        }
        self.acknowledge(batch)
    }

    /// Whether frames of a file's content were scored before this batch.
    fn is_begun(&mut self, file: &FileInfo) -> Result<bool> {
        let Some((identity, digest)) = key(file) else { return Ok(false) };
        Ok(matches!(self.ledger.scoring(identity, &digest, bytes(file))?, Scoring::Partial { scored: true, .. }))
    }

    fn write(&mut self, mut parts: Vec<(Part, polars::prelude::DataFrame)>, files: &[FileRow]) -> Result<()> {
        let names: Vec<Part> = parts.iter().map(|(part, _)| part.clone()).collect();
        let id = self.ledger.prepare_seen(&names, files, &self.drift.changed()?)?;
        for (part, frame) in &mut parts {
            self.store.stage(part, frame)?;
            *frame = polars::prelude::DataFrame::empty();
            self.progress.write.beat();
        }
        if !names.is_empty() {
            self.store.sync_staging()?;
        }
        // Not before: who waits for space in staging must not keep retention from making some.
        let gate = self.gate.clone();
        let _held = gate.enter();
        for part in &names {
            self.store.publish(part)?;
        }
        self.ledger.commit(id, files)?;
        self.drift.committed();
        self.drift.start_anew(&mut self.ledger)?;
        debug!(batch = id, parts = names.len(), files = files.len(), "committed");
        Ok(())
    }

    /// Tells everybody what has been committed.
    fn acknowledge(&mut self, batch: Batch) -> Result<()> {
        for (pipeline, tables) in &batch.tables {
            let [scored, flagged, rejected] = tables.counts();
            self.progress.add(&self.progress.scored, scored);
            self.progress.add(&self.progress.flagged, flagged);
            self.progress.add(&self.progress.rejected, rejected);
            self.progress.add(&self.progress.other_sizes, tables.other_sizes());
            let tally = self.progress.tally(pipeline);
            tally.add_rows(scored, flagged, tables.reasons());
            tally.other_sizes.fetch_add(tables.other_sizes(), Relaxed);
            if let Some(message) = tables.last_rejection() {
                self.ledger.note_error(pipeline, &message)?;
                tally.set_error(message);
            }
        }
        self.progress.add(&self.progress.ended, batch.ended.len() as u64);
        for ended in batch.ended {
            let is_duplicate = matches!(ended.row.outcome, Outcome::Alias | Outcome::Resumed);
            ended.file.lane.tally.end(ended.file.received_at, is_duplicate);
            if ended.file.lane.line.get().is_some() {
                ended.file.lane.committed(&ended.file, self.is_rejected(&ended)?);
            }
            if matches!(ended.row.outcome, Outcome::Alias | Outcome::Seen) {
                self.progress.add(&self.progress.known, 1);
            }
            // What is merely seen again was never under way.
            if ended.row.outcome != Outcome::Seen
                && let Some(key) = key(&ended.file)
            {
                // Until one comes whose own commit looks here again, or nobody waits.
                loop {
                    let waiting = self.flight.committed(&key);
                    if waiting.is_empty() || self.follow(&ended, waiting)? {
                        break;
                    }
                }
            }
        }
        Ok(())
    }

    /// Whether a file that has ended was rejected, now or when it was seen before.
    fn is_rejected(&mut self, ended: &Ended) -> Result<bool> {
        match (ended.row.outcome, key(&ended.file)) {
            (Outcome::Seen, Some((identity, digest))) => {
                self.ledger.was_rejected(identity, &digest, bytes(&ended.file))
            }
            (outcome, _) => Ok(outcome == Outcome::Rejected),
        }
    }

    /// Ends the files that waited for a content, now that it is committed; they are a batch of their own. Whether one of them has
    /// a row of its own to be committed, and is not merely seen again.
    fn follow(&mut self, first: &Ended, waiting: Vec<Waiting>) -> Result<bool> {
        let (mut names, mut follows) = (HashSet::new(), false);
        for (file, ticket) in waiting {
            let Some((identity, digest)) = key(&file) else { continue };
            let standing = self.ledger.scoring(identity, &digest, bytes(&file))?;
            let outcome = match standing {
                Scoring::Done { .. } if names.insert(bytes(&file).to_vec()) => Outcome::Alias,
                // What is rejected is rejected under each of its names: less what an earlier process said of this one.
                Scoring::New | Scoring::Partial { scored: false, .. }
                    if first.tells_all() && names.insert(bytes(&file).to_vec()) =>
                {
                    self.refuse_as(first, &file, &standing)?;
                    Outcome::Rejected
                }
                // Some of the rows of the first may be those of an earlier process: it is read for itself.
                Scoring::New | Scoring::Partial { .. } if self.watched && !names.contains(bytes(&file)) => {
                    ticket.tell(Told::Again(file.found()));
                    self.progress.add(&self.progress.ended, 1);
                    file.lane.tally.ended.fetch_add(1, Relaxed);
                    continue;
                }
                // Left unfinished, for the next run to read.
                Scoring::New | Scoring::Partial { .. } if !names.contains(bytes(&file)) => continue,
                _ => Outcome::Seen,
            };
            follows |= self.end(file, outcome)? != Outcome::Seen;
        }
        Ok(follows)
    }

    /// Rejects a file by the words of another with its content, less those that were committed by an earlier process.
    fn refuse_as(&mut self, first: &Ended, file: &Arc<FileInfo>, standing: &Scoring) -> Result<()> {
        let said = if let Scoring::Partial { frames, .. } = standing { *frames } else { 0 };
        let new = first.rejections.iter().filter(|(index, _)| index.is_none_or(|index| u64::from(index) >= said));
        new.map(|(index, rejection)| Refusal { file: file.clone(), index: *index, rejection: rejection.clone() })
            .try_for_each(|refusal| self.refuse(&refusal))
    }
}
