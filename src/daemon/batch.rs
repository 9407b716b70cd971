//! Rows that are gathered to be committed together, and the files they are of.

use std::collections::{BTreeMap, HashMap};
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::flight::Key;
use super::stages::FileInfo;
use super::tables::Tables;
use crate::image::Rejection;
use crate::ledger::{FileRow, Outcome};

/// Rejections of one file that are kept for the files with the same content.
const KEPT: usize = 256;

/// When a batch is full.
#[derive(Debug, Clone, Copy)]
pub struct Flush {
    /// Rows.
    pub rows: usize,
    /// Bytes.
    pub bytes: usize,
    /// Age of its first row.
    pub age: Duration,
}

/// Rows that will be committed together.
#[derive(Default)]
pub struct Batch {
    /// By pipeline.
    pub tables: BTreeMap<String, Tables>,
    /// Files whose end is still to come, by their address.
    pub open: HashMap<usize, Open>,
    /// Files that end with it.
    pub ended: Vec<Ended>,
    /// Bytes of its rows.
    pub bytes: usize,
    /// Since when it has been waiting.
    pub since: Option<Instant>,
}

/// A file whose end has not come yet.
pub struct Open {
    /// The file.
    pub file: Arc<FileInfo>,
    /// Its frames in this batch.
    pub frames: u64,
    /// Whether one of them was scored.
    pub scored: bool,
    /// The first of its rejections, in this batch or before.
    pub rejections: Vec<(Option<u32>, Rejection)>,
}

/// A file whose end is in the batch.
pub struct Ended {
    /// The file.
    pub file: Arc<FileInfo>,
    /// What the ledger is told of it.
    pub row: FileRow,
    /// The first of its rejections, for those that have the same content.
    pub rejections: Vec<(Option<u32>, Rejection)>,
}

impl Open {
    /// Keeps a rejection, as long as there is room.
    pub fn keep(&mut self, index: Option<u32>, rejection: &Rejection) {
        if index.is_none() || self.rejections.len() < KEPT {
            self.rejections.push((index, rejection.clone()));
        }
    }
}

impl Ended {
    /// Whether all of its rejections are known. Those that a process before this one committed are not, nor those for which there
    /// was no room: who has the same content must be read for itself.
    pub fn tells_all(&self) -> bool {
        let is_first = self.rejections.first().is_some_and(|(index, _)| index.is_none_or(|index| index == 0));
        is_first && self.rejections.len() < KEPT
    }
}

impl Batch {
    /// The rows of a pipeline.
    pub fn tables(&mut self, pipeline: &str) -> &mut Tables {
        self.since.get_or_insert_with(Instant::now);
        self.tables.entry(pipeline.to_string()).or_default()
    }

    /// A file that has rows in it.
    pub fn open(&mut self, file: &Arc<FileInfo>) -> &mut Open {
        let fresh = || Open { file: file.clone(), frames: 0, scored: false, rejections: Vec::new() };
        self.open.entry(address(file)).or_insert_with(fresh)
    }

    /// Whether it is to be committed now. Its age counts also while the next rows wait already: who asks for them has no time to wait.
    pub fn is_full(&self, flush: &Flush) -> bool {
        let is_old = self.since.is_some_and(|since| since.elapsed() >= flush.age);
        let rows = self.tables.values().map(Tables::len).sum::<usize>().max(self.ended.len());
        is_old || rows >= flush.rows || self.bytes >= flush.bytes
    }

    /// Whether there is nothing to commit.
    pub fn is_empty(&self) -> bool {
        self.tables.is_empty() && self.ended.is_empty()
    }
}

/// Tells open files apart: the address of a file that is held is its alone.
pub fn address(file: &Arc<FileInfo>) -> usize {
    Arc::as_ptr(file).addr()
}

/// A file's name as the ledger has it.
pub fn bytes(file: &FileInfo) -> &[u8] {
    file.name.as_os_str().as_bytes()
}

/// What is under way with it.
pub fn key(file: &FileInfo) -> Option<Key> {
    file.digest.as_ref().map(|(digest, _)| (file.lane.line_number, *digest))
}

/// What the ledger is told of a file.
pub fn file_row(file: &FileInfo, outcome: Outcome, frames: u64) -> FileRow {
    FileRow {
        identity: file.lane.number,
        pipeline: file.lane.name.clone(),
        path: bytes(file).to_vec(),
        stat: file.stat,
        digest: file.digest.as_ref().map(|(digest, _)| *digest),
        outcome,
        frames,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_old_batch_is_full_however_many_rows_wait() {
        let flush = Flush { rows: 100, bytes: 100, age: Duration::from_secs(3600) };
        let mut batch = Batch::default();
        assert!(!batch.is_full(&flush));
        batch.tables("a");
        assert!(!batch.is_full(&flush), "it is new");
        assert!(batch.is_full(&Flush { age: Duration::ZERO, ..flush }));
    }
}
