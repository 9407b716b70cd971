//! What people said of frames: normal, or what is odd about them. SQLite, `<state>/labels.sqlite`.
//!
//! It is a file of its own beside the ledger, so that a label can be given while the service runs: the service never opens it,
//! and rebuilding the ledger leaves it alone. Writers take turns (WAL, and a busy timeout).

use std::path::{Path, PathBuf};
use std::time::Duration;

use chrono::{DateTime, Utc};
use rusqlite::{Connection, params};
use serde::Serialize;

use crate::disk::Trouble;
use crate::error::{Failure, Result};
use crate::ledger::check_owner;

/// The label of a frame that is normal.
pub const NORMAL: &str = "normal";

const FILE: &str = "labels.sqlite";

const TABLE: &str = "CREATE TABLE IF NOT EXISTS labels (
    pipeline TEXT NOT NULL, file_digest TEXT NOT NULL, frame_index INTEGER NOT NULL,
    frame_id TEXT NOT NULL, source TEXT NOT NULL, label TEXT NOT NULL, at INTEGER NOT NULL,
    PRIMARY KEY (pipeline, file_digest, frame_index)) WITHOUT ROWID";

/// What somebody said of a frame.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Label {
    /// The pipeline that scored it.
    pub pipeline: String,
    /// BLAKE3 of its file, hex.
    pub file_digest: String,
    /// Position in the file.
    pub frame_index: u32,
    /// The scoring that was looked at.
    pub frame_id: String,
    /// The file's name in the reports.
    pub source: String,
    /// [`NORMAL`], or the kind of anomaly.
    pub label: String,
    /// When.
    pub at: DateTime<Utc>,
}

/// The labels of a state folder.
#[derive(Debug)]
pub struct Labels {
    connection: Connection,
    path: PathBuf,
}

impl Labels {
    /// Opens the labels of a state folder; made where there are none.
    ///
    /// # Errors
    /// [`crate::error::Kind::Settings`] for a folder of another user, [`crate::error::Kind::Io`] naming the file.
    pub fn open(state: &Path) -> Result<Self> {
        check_owner(state, &std::fs::metadata(state).map_err(|error| Failure::io(state, error))?)?;
        let path = state.join(FILE);
        let open = || -> rusqlite::Result<Connection> {
            let connection = Connection::open(&path)?;
            connection.busy_timeout(Duration::from_secs(10))?;
            connection.pragma_update(None, "journal_mode", "WAL")?;
            connection.pragma_update(None, "synchronous", "FULL")?;
            connection.execute(TABLE, [])?;
            Ok(connection)
        };
        let connection = open().map_err(|error| Trouble::sqlite(&path, &error))?;
        Ok(Self { connection, path })
    }

    /// Keeps a label; what was said of the frame before is replaced.
    ///
    /// # Errors
    /// [`crate::error::Kind::Io`] naming the file.
    pub fn put(&self, label: &Label) -> Result<()> {
        let Label { pipeline, file_digest, frame_index, frame_id, source, label, at } = label;
        let put = self.connection.execute(
            "INSERT OR REPLACE INTO labels VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
            params![pipeline, file_digest, frame_index, frame_id, source, label, at.timestamp_millis()],
        );
        put.map(drop).map_err(|error| Trouble::sqlite(&self.path, &error).into())
    }

    /// Everything that was said, in the order of time.
    ///
    /// # Errors
    /// [`crate::error::Kind::Io`] naming the file.
    pub fn all(&self) -> Result<Vec<Label>> {
        let read = || -> rusqlite::Result<Vec<Label>> {
            let mut query = self.connection.prepare(
                "SELECT pipeline, file_digest, frame_index, frame_id, source, label, at FROM labels ORDER BY at, frame_id",
            )?;
            query
                .query_map([], |row| {
                    Ok(Label {
                        pipeline: row.get(0)?,
                        file_digest: row.get(1)?,
                        frame_index: row.get(2)?,
                        frame_id: row.get(3)?,
                        source: row.get(4)?,
                        label: row.get(5)?,
                        at: DateTime::from_timestamp_millis(row.get(6)?).unwrap_or_default(),
                    })
                })?
                .collect()
        };
        read().map_err(|error| Trouble::sqlite(&self.path, &error).into())
    }
}

/// Everything that was said, as [`Labels::all`]; nothing where nobody has said anything, and then nothing is made for the asking.
///
/// # Errors
/// Those of [`Labels::open`].
pub fn read(state: &Path) -> Result<Vec<Label>> {
    if state.join(FILE).exists() { Labels::open(state)?.all() } else { Ok(Vec::new()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn label(frame: u32, label: &str, at: i64) -> Label {
        Label {
            pipeline: "digits".into(),
            file_digest: "d".into(),
            frame_index: frame,
            frame_id: format!("id{frame}"),
            source: "a.png".into(),
            label: label.into(),
            at: DateTime::from_timestamp_millis(at).unwrap(),
        }
    }

    #[test]
    fn the_last_word_counts() {
        let state = tempfile::tempdir().unwrap();
        let labels = Labels::open(state.path()).unwrap();
        for said in [label(0, "trail", 1), label(1, NORMAL, 2), label(0, NORMAL, 3)] {
            labels.put(&said).unwrap();
        }
        assert_eq!(Labels::open(state.path()).unwrap().all().unwrap(), [label(1, NORMAL, 2), label(0, NORMAL, 3)]);
    }

    #[test]
    fn two_at_a_time_lose_nothing() {
        let state = tempfile::tempdir().unwrap();
        std::thread::scope(|scope| {
            for from in [0, 100] {
                let state = state.path();
                scope.spawn(move || {
                    let labels = Labels::open(state).unwrap();
                    (from..from + 50).for_each(|frame| labels.put(&label(frame, NORMAL, 1)).unwrap());
                });
            }
        });
        assert_eq!(Labels::open(state.path()).unwrap().all().unwrap().len(), 100);
    }
}
