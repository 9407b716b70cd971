//! The ledger: which files have been scored by what, and which batches stand in the reports. SQLite, `<state>/ledger.sqlite`.
//!
//! A batch is *prepared* (its part names and its files' rows are on disk) before its first part is renamed into the reports, and
//! *committed* after its last. Rows of a prepared batch count for nobody; [`settle`] decides about them at the next start.

mod lock;
mod read;
mod settle;
mod suspects;

use std::path::{Path, PathBuf};
use std::time::Duration;

use chrono::Utc;
use rusqlite::{Connection, OptionalExtension, params};

use crate::error::{Failure, Kind, Result};
use crate::report::schema::Table;
use crate::report::writer::Part;
use crate::score::Identity;
use crate::watch::Stat;

pub use lock::Lock;
pub use read::{Counts, Reader, Scoring};
pub use settle::settle;
pub use suspects::Suspect;

/// Version of the tables below.
const VERSION: i64 = 1;

const TABLES: &str = "
CREATE TABLE IF NOT EXISTS identities (
    id INTEGER PRIMARY KEY,
    pipeline TEXT NOT NULL, model_version TEXT NOT NULL, model_digest TEXT NOT NULL, calibration_digest TEXT NOT NULL,
    UNIQUE (pipeline, model_digest, calibration_digest));
CREATE TABLE IF NOT EXISTS batches (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    committed INTEGER NOT NULL, prepared_at INTEGER NOT NULL, committed_at INTEGER);
CREATE TABLE IF NOT EXISTS parts (
    batch INTEGER NOT NULL REFERENCES batches, name TEXT NOT NULL,
    table_name TEXT NOT NULL, pipeline TEXT NOT NULL, date TEXT NOT NULL, rows INTEGER NOT NULL);
CREATE INDEX IF NOT EXISTS parts_batch ON parts (batch);
CREATE TABLE IF NOT EXISTS files (
    id INTEGER PRIMARY KEY,
    batch INTEGER NOT NULL REFERENCES batches, identity INTEGER NOT NULL REFERENCES identities,
    path BLOB NOT NULL, size INTEGER NOT NULL, mtime_ns INTEGER NOT NULL, inode INTEGER NOT NULL,
    digest BLOB, outcome TEXT NOT NULL, frames INTEGER NOT NULL);
CREATE INDEX IF NOT EXISTS files_digest ON files (digest, identity);
CREATE INDEX IF NOT EXISTS files_batch ON files (batch);
CREATE TABLE IF NOT EXISTS attempts (
    pipeline TEXT NOT NULL, path BLOB NOT NULL, size INTEGER NOT NULL, mtime_ns INTEGER NOT NULL, inode INTEGER NOT NULL,
    tries INTEGER NOT NULL, PRIMARY KEY (pipeline, path)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS errors (pipeline TEXT PRIMARY KEY, at INTEGER NOT NULL, message TEXT NOT NULL) WITHOUT ROWID;
";

/// How a file ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Every frame has a row, at least one of them in `scores`.
    Scored,
    /// No frame was scored; the reasons stand in `rejected`.
    Rejected,
    /// Its content had been scored under another name.
    Alias,
    /// Some of its frames have rows, more will follow.
    Partial,
}

impl Outcome {
    fn name(self) -> &'static str {
        match self {
            Self::Scored => "scored",
            Self::Rejected => "rejected",
            Self::Alias => "alias",
            Self::Partial => "partial",
        }
    }
}

/// What a batch says about a file.
#[derive(Debug, Clone)]
pub struct FileRow {
    /// Number of the identity it was scored under.
    pub identity: i64,
    /// Its pipeline.
    pub pipeline: String,
    /// Its name in the inbox, bytes.
    pub path: Vec<u8>,
    /// What it was when it was read.
    pub stat: Stat,
    /// BLAKE3 of its content, where it could be read.
    pub digest: Option<[u8; 32]>,
    /// How it ended.
    pub outcome: Outcome,
    /// Frames in this batch.
    pub frames: u64,
}

/// The ledger, open for writing; one process at a time, see [`Lock`].
#[derive(Debug)]
pub struct Ledger {
    connection: Connection,
    path: PathBuf,
    suspects: bool,
}

impl Ledger {
    /// Opens or makes the ledger of a state folder.
    ///
    /// # Errors
    /// [`Kind::Io`] naming the file; [`Kind::Settings`] for a ledger of a newer version.
    pub fn open(state: &Path) -> Result<Self> {
        let path = place(state);
        let open = || -> rusqlite::Result<Connection> {
            let connection = Connection::open(&path)?;
            connection.busy_timeout(Duration::from_secs(10))?;
            connection.pragma_update(None, "journal_mode", "WAL")?;
            connection.pragma_update(None, "synchronous", "FULL")?;
            Ok(connection)
        };
        let connection = open().map_err(|error| Failure::io(&path, error))?;
        let mut ledger = Self { connection, path, suspects: false };
        let version: i64 =
            ledger.run(|connection| connection.pragma_query_value(None, "user_version", |row| row.get(0)))?;
        if version > VERSION {
            return Err(Failure::new(
                Kind::Settings,
                format!("{}: written by a newer anomalyd", ledger.path.display()),
            )
            .hint("use that version, or another --state folder"));
        }
        ledger.run(|connection| {
            connection.execute_batch(TABLES)?;
            connection.pragma_update(None, "user_version", VERSION)
        })?;
        ledger.suspects = !ledger.suspects()?.is_empty();
        Ok(ledger)
    }

    /// The number of an identity, made where it is new.
    ///
    /// # Errors
    /// [`Kind::Io`].
    pub fn identity(&mut self, pipeline: &str, identity: &Identity) -> Result<i64> {
        let key = params![pipeline, identity.model_version, identity.model_digest, identity.calibration_digest];
        self.run(|connection| {
            connection.execute(
                "INSERT INTO identities (pipeline, model_version, model_digest, calibration_digest) VALUES (?1, ?2, ?3, ?4)
                 ON CONFLICT DO UPDATE SET model_version = ?2",
                key,
            )?;
            connection.query_row(
                "SELECT id FROM identities WHERE pipeline = ?1 AND model_digest = ?2 AND calibration_digest = ?3",
                params![pipeline, identity.model_digest, identity.calibration_digest],
                |row| row.get(0),
            )
        })
    }

    /// Step 1 of a batch: its parts and its files' rows, for nobody to count yet. Returns its number.
    ///
    /// # Errors
    /// [`Kind::Io`].
    pub fn prepare(&mut self, parts: &[Part], files: &[FileRow]) -> Result<i64> {
        self.run(|connection| {
            let transaction = connection.transaction()?;
            transaction.execute("INSERT INTO batches (committed, prepared_at) VALUES (0, ?1)", [now()])?;
            let batch = transaction.last_insert_rowid();
            {
                let mut insert = transaction.prepare_cached("INSERT INTO parts VALUES (?1, ?2, ?3, ?4, ?5, ?6)")?;
                for part in parts {
                    insert.execute(params![
                        batch,
                        part.batch,
                        part.table.name(),
                        part.pipeline,
                        part.date,
                        part.rows as i64
                    ])?;
                }
                let mut insert = transaction.prepare_cached(
                    "INSERT INTO files (batch, identity, path, size, mtime_ns, inode, digest, outcome, frames)
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
                )?;
                for file in files {
                    let Stat { size, mtime_ns, inode } = file.stat;
                    let digest = file.digest.as_ref().map(|digest| &digest[..]);
                    let (outcome, frames) = (file.outcome.name(), file.frames as i64);
                    let stat = (size as i64, mtime_ns, inode as i64);
                    insert.execute(params![
                        batch,
                        file.identity,
                        file.path,
                        stat.0,
                        stat.1,
                        stat.2,
                        digest,
                        outcome,
                        frames
                    ])?;
                }
            }
            transaction.commit()?;
            Ok(batch)
        })
    }

    /// Last step of a batch: its rows count from now on. `files` are those of [`Self::prepare`]; their attempts are forgotten.
    ///
    /// # Errors
    /// [`Kind::Io`].
    pub fn commit(&mut self, batch: i64, files: &[FileRow]) -> Result<()> {
        let suspects = self.suspects;
        self.run(|connection| {
            let transaction = connection.transaction()?;
            transaction.execute("UPDATE batches SET committed = 1, committed_at = ?2 WHERE id = ?1", [batch, now()])?;
            transaction.execute(
                "DELETE FROM files WHERE outcome = 'partial' AND batch < ?1 AND EXISTS (SELECT 1 FROM files AS done
                 WHERE done.batch = ?1 AND done.digest = files.digest AND done.identity = files.identity
                 AND done.outcome IN ('scored', 'rejected') AND done.frames > 0)
                 AND digest IN (SELECT digest FROM files WHERE batch = ?1)",
                [batch],
            )?;
            if suspects {
                // Some of its frames are progress too: what is blamed is a file that gets nowhere.
                for file in files {
                    transaction.execute(
                        "DELETE FROM attempts WHERE pipeline = ?1 AND path = ?2",
                        params![file.pipeline, file.path],
                    )?;
                }
            }
            transaction.commit()
        })
    }

    /// Forgets a prepared batch of which nothing stands in the reports.
    ///
    /// # Errors
    /// [`Kind::Io`].
    pub fn abandon(&mut self, batch: i64) -> Result<()> {
        self.run(|connection| {
            let transaction = connection.transaction()?;
            for table in ["files", "parts"] {
                transaction.execute(&format!("DELETE FROM {table} WHERE batch = ?1"), [batch])?;
            }
            transaction.execute("DELETE FROM batches WHERE id = ?1 AND committed = 0", [batch])?;
            transaction.commit()
        })
    }

    /// The prepared batches and their parts, oldest first.
    ///
    /// # Errors
    /// [`Kind::Io`].
    pub fn prepared(&mut self) -> Result<Vec<(i64, Vec<Part>)>> {
        self.run(|connection| {
            let mut batches = connection.prepare("SELECT id FROM batches WHERE committed = 0 ORDER BY id")?;
            let ids = batches.query_map([], |row| row.get(0))?.collect::<rusqlite::Result<Vec<i64>>>()?;
            let mut parts =
                connection.prepare("SELECT name, table_name, pipeline, date, rows FROM parts WHERE batch = ?1")?;
            ids.into_iter()
                .map(|id| Ok((id, parts.query_map([id], read_part)?.collect::<rusqlite::Result<Vec<Part>>>()?)))
                .collect()
        })
    }

    /// Keeps the last error of a pipeline, for `status`.
    ///
    /// # Errors
    /// [`Kind::Io`].
    pub fn note_error(&mut self, pipeline: &str, message: &str) -> Result<()> {
        self.run(|connection| {
            connection
                .execute("INSERT OR REPLACE INTO errors VALUES (?1, ?2, ?3)", params![pipeline, now(), message])
                .map(drop)
        })
    }

    fn run<T>(&mut self, work: impl FnOnce(&mut Connection) -> rusqlite::Result<T>) -> Result<T> {
        work(&mut self.connection).map_err(|error| Failure::io(&self.path, error))
    }
}

/// The ledger of a state folder.
pub(crate) fn place(state: &Path) -> PathBuf {
    state.join("ledger.sqlite")
}

fn now() -> i64 {
    Utc::now().timestamp_millis()
}

fn read_part(row: &rusqlite::Row<'_>) -> rusqlite::Result<Part> {
    let table: String = row.get(1)?;
    let table = Table::from_name(&table).ok_or(rusqlite::Error::InvalidQuery)?;
    Ok(Part {
        batch: row.get(0)?,
        table,
        pipeline: row.get(2)?,
        date: row.get(3)?,
        rows: row.get::<_, i64>(4)? as usize,
    })
}

/// `None` where the query has no row.
fn optional<T>(result: rusqlite::Result<T>) -> rusqlite::Result<Option<T>> {
    result.optional()
}

#[cfg(test)]
#[path = "ledger/tests.rs"]
mod tests;
