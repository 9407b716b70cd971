//! The ledger: which files have been scored by what, and which batches stand in the reports. SQLite, `<state>/ledger.sqlite`.
//!
//! A batch is *prepared* (its part names and its files' rows are on disk) before its first part is renamed into the reports, and
//! *committed* after its last. Rows of a prepared batch count for nobody; [`settle`] decides about them at the next start.

mod batch;
mod lock;
mod read;
mod replace;
mod scoring;
mod settle;
mod suspects;
mod tables;

use std::path::{Path, PathBuf};
use std::time::Duration;

use chrono::Utc;
use rusqlite::{Connection, OptionalExtension, TransactionBehavior, params};

use crate::error::{Failure, Kind, Result};
use crate::report::schema::Table;
use crate::report::writer::Part;
use crate::score::Identity;

pub use batch::{FileRow, Outcome, Prepared};
pub use lock::Lock;
pub use read::{Counts, Reader};
pub use scoring::Scoring;
pub use settle::settle;
pub use suspects::Suspect;

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
            let mut connection = Connection::open(&path)?;
            // A transaction that reads before it writes must not find that somebody wrote in between.
            connection.set_transaction_behavior(TransactionBehavior::Immediate);
            connection.busy_timeout(Duration::from_secs(10))?;
            connection.pragma_update(None, "journal_mode", "WAL")?;
            connection.pragma_update(None, "synchronous", "FULL")?;
            Ok(connection)
        };
        let connection = open().map_err(|error| Failure::io(&path, error))?;
        let mut ledger = Self { connection, path, suspects: false };
        let version: i64 =
            ledger.run(|connection| connection.pragma_query_value(None, "user_version", |row| row.get(0)))?;
        if version > tables::VERSION {
            return Err(Failure::new(
                Kind::Settings,
                format!("{}: written by a newer anomalyd", ledger.path.display()),
            )
            .hint("use that version, or another --state folder"));
        }
        ledger.run(|connection| tables::bring_up(connection, version))?;
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
