//! The ledger: which files have been scored by what, and which batches stand in the reports. SQLite, `<state>/ledger.sqlite`.
//!
//! A batch is *prepared* (its part names and its files' rows are on disk) before its first part is renamed into the reports, and
//! *committed* after its last. Rows of a prepared batch count for nobody; [`settle`] decides about them at the next start.

mod batch;
mod check;
mod drift;
mod lock;
mod read;
mod rebuild;
mod replace;
mod rows;
mod scoring;
mod settle;
mod suspects;
mod tables;
mod tree;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use chrono::Utc;
use rusqlite::{Connection, OptionalExtension, TransactionBehavior, params};

use crate::disk::{Never, Patience, Trouble, patiently};
use crate::error::{Failure, Kind, Result};
use crate::report::schema::Table;
use crate::report::writer::Part;
use crate::score::Identity;

pub use batch::{FileRow, Outcome, Prepared};
pub use check::{Audit, Finding, check};
pub use drift::{Reset, Watched};
pub use lock::{Lock, check_owner};
pub use read::{Counts, Reader};
pub use rebuild::{Rebuilt, rebuild};
pub use scoring::Scoring;
pub use settle::settle;
pub use suspects::Suspect;

/// The ledger, open for writing; one process at a time, see [`Lock`].
#[derive(Debug)]
pub struct Ledger {
    connection: Connection,
    path: PathBuf,
    suspects: bool,
    patience: Arc<dyn Patience>,
}

impl Ledger {
    /// Opens or makes the ledger of a state folder. A full disk is not waited for.
    ///
    /// # Errors
    /// [`Kind::Io`] naming the file; [`Kind::Settings`] for a ledger of a newer version.
    pub fn open(state: &Path) -> Result<Self> {
        Self::open_with(state, Arc::new(Never))
    }

    /// The same; a full disk is waited for, here and in whatever the ledger does, see [`crate::disk`].
    ///
    /// # Errors
    /// [`Kind::Io`] naming the file; [`Kind::Settings`] for a ledger of a newer version.
    pub fn open_with(state: &Path, patience: Arc<dyn Patience>) -> Result<Self> {
        rebuild::finish(state)?;
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
        let connection = patiently(&*patience, || open().map_err(|error| Trouble::sqlite(&path, &error)))?;
        let mut ledger = Self { connection, path, suspects: false, patience };
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

    /// Does not wait for a full disk from now on.
    pub fn lose_patience(&mut self) {
        self.patience = Arc::new(Never);
    }

    /// Does something without waiting for a full disk: what can be done later is not to hold up the rest.
    ///
    /// # Errors
    /// Those of the work; [`Kind::Io`] on a full disk.
    pub fn at_once<T>(&mut self, work: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        let patience = std::mem::replace(&mut self.patience, Arc::new(Never));
        let outcome = work(self);
        self.patience = patience;
        outcome
    }

    /// The number of an identity, made where it is new.
    ///
    /// # Errors
    /// [`Kind::Io`].
    pub fn identity(&mut self, pipeline: &str, identity: &Identity) -> Result<i64> {
        let Identity { model_version, model_digest, calibration_digest, .. } = identity;
        self.run(|connection| identity_of(connection, pipeline, [model_version, model_digest, calibration_digest]))
    }

    /// The line of an identity: what was scored under one identity of a line counts as scored under all of them. Either each
    /// identity of the pipeline is a line of its own, so that each judges every file (`rejudge`), or all are one, so that a file
    /// is judged once, whatever version does it.
    ///
    /// # Errors
    /// [`Kind::Io`].
    pub fn line(&mut self, pipeline: &str, identity: i64, rejudge: bool) -> Result<i64> {
        let wanted = if rejudge { "id" } else { "(SELECT min(id) FROM identities WHERE pipeline = ?1)" };
        self.run(|connection| {
            let differ = format!("SELECT 1 FROM identities WHERE pipeline = ?1 AND line <> {wanted}");
            // What is up to date is not written, so that a full disk does not stand in its way.
            if connection.prepare(&differ)?.exists([pipeline])? {
                connection
                    .execute(&format!("UPDATE identities SET line = {wanted} WHERE pipeline = ?1"), [pipeline])?;
            }
            connection.query_row("SELECT line FROM identities WHERE id = ?1", [identity], |row| row.get(0))
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

    /// Gives the ledger no page more than it has: a full disk.
    #[cfg(test)]
    pub(crate) fn fill(&self) {
        let pages: i64 = self.connection.pragma_query_value(None, "page_count", |row| row.get(0)).unwrap();
        self.connection.pragma_update_and_check(None, "max_page_count", pages, |_| Ok(())).unwrap();
    }

    /// What fails for want of space has been rolled back, and is done again.
    fn run<T>(&mut self, mut work: impl FnMut(&mut Connection) -> rusqlite::Result<T>) -> Result<T> {
        let Self { connection, path, patience, .. } = self;
        patiently(&**patience, || work(connection).map_err(|error| Trouble::sqlite(path, &error)))
    }
}

/// The ledger of a state folder.
pub(crate) fn place(state: &Path) -> PathBuf {
    state.join("ledger.sqlite")
}

/// The number of an identity by version, model and calibration. What is known already is not written.
fn identity_of(connection: &Connection, pipeline: &str, judge: [&str; 3]) -> rusqlite::Result<i64> {
    let known = connection.query_row(
        "SELECT id, model_version = ?4 FROM identities WHERE pipeline = ?1 AND model_digest = ?2 AND calibration_digest = ?3",
        params![pipeline, judge[1], judge[2], judge[0]],
        |row| Ok((row.get(0)?, row.get(1)?)),
    );
    match optional(known)? {
        Some((id, true)) => return Ok(id),
        Some((id, false)) => {
            connection.execute("UPDATE identities SET model_version = ?1 WHERE id = ?2", params![judge[0], id])?;
            return Ok(id);
        }
        None => {}
    }
    connection.execute(
        "INSERT INTO identities (pipeline, model_version, model_digest, calibration_digest) VALUES (?1, ?2, ?3, ?4)",
        params![pipeline, judge[0], judge[1], judge[2]],
    )?;
    let id = connection.last_insert_rowid();
    connection.execute("UPDATE identities SET line = id WHERE id = ?1", [id])?;
    Ok(id)
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
