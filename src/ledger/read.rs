//! Questions to the ledger, answered beside the process that writes it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, params};

use super::scoring::{Scoring, scoring};
use super::{optional, place, tables};
use crate::disk::Trouble;
use crate::error::{Failure, Result};
use crate::watch::{Known, Stat};

/// What `status` shows of a pipeline.
#[derive(Debug, Clone, Default, PartialEq, serde::Serialize)]
pub struct Counts {
    /// Frames scored.
    pub scored: u64,
    /// Frames flagged.
    pub flagged: u64,
    /// Files and frames rejected.
    pub rejected: u64,
    /// Files whose content had been scored under another name.
    pub duplicates: u64,
    /// Version of the model that scored last.
    pub model_version: Option<String>,
    /// Last error, and when, milliseconds since 1970.
    pub last_error: Option<(i64, String)>,
}

/// The ledger, open for reading.
#[derive(Debug)]
pub struct Reader {
    connection: Connection,
    path: PathBuf,
}

impl Reader {
    /// Opens the ledger of a state folder.
    ///
    /// # Errors
    /// [`crate::error::Kind::Io`] naming the file.
    pub fn open(state: &Path) -> Result<Self> {
        let path = place(state);
        let open = || -> rusqlite::Result<Connection> {
            let connection =
                Connection::open_with_flags(&path, OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
            connection.busy_timeout(Duration::from_secs(10))?;
            Ok(connection)
        };
        let connection = open().map_err(|error| {
            Failure::io(&path, error).hint("nothing has been scored there yet, or --state names another folder")
        })?;
        Ok(Self { connection, path })
    }

    /// What is known about a content under a name.
    ///
    /// # Errors
    /// [`crate::error::Kind::Io`].
    pub fn scoring(&self, line: i64, digest: &[u8; 32], path: &[u8]) -> Result<Scoring> {
        self.run(|connection| scoring(connection, line, digest, path))
    }

    /// The files that ended under the identities of a line; of a name's several contents, the last. What was merely seen counts where
    /// the line itself has said something of it. Those of a rebuilt ledger are looked at once
    /// more, where they can be read.
    ///
    /// # Errors
    /// [`crate::error::Kind::Io`].
    pub fn known(&self, line: i64) -> Result<Known> {
        self.run(|connection| {
            let (ctime, lines) = (tables::ctime_of(connection)?, tables::line_of(connection)?);
            let mut query = connection.prepare(&format!(
                "SELECT files.path, files.size, files.mtime_ns, files.inode, files.digest IS NULL,
                 files.outcome = 'rejected' OR files.outcome = 'seen' AND EXISTS (SELECT 1 FROM files AS before
                 WHERE before.digest = files.digest AND before.identity IN (SELECT id FROM identities WHERE {lines} = ?1) AND before.path = files.path
                 AND before.outcome = 'rejected'), {ctime}
                 FROM files JOIN batches ON batches.id = files.batch
                 WHERE files.identity IN (SELECT id FROM identities WHERE {lines} = ?1) AND batches.committed = 1 AND files.outcome NOT IN ('partial', 'refused')
                 AND (files.outcome <> 'seen' OR files.digest IS NULL OR EXISTS (SELECT 1 FROM files AS said
                 WHERE said.digest = files.digest AND said.identity IN (SELECT id FROM identities WHERE {lines} = ?1) AND said.path = files.path
                 AND said.outcome NOT IN ('seen', 'partial', 'refused'))) AND (files.inode <> 0 OR files.digest IS NULL) ORDER BY files.id",
            ))?;
            let mut rows = query.query([line])?;
            let mut known = Known::default();
            while let Some(row) = rows.next()? {
                let stat = Stat {
                    size: row.get::<_, i64>(1)? as u64,
                    mtime_ns: row.get(2)?,
                    inode: row.get::<_, i64>(3)? as u64,
                    ctime_ns: row.get(6)?,
                };
                let (name, rejected) = (row.get_ref(0)?.as_blob()?, row.get(5)?);
                if row.get(4)? { known.finish_unread(name, stat) } else { known.finish(name, stat, rejected) }
            }
            Ok(known)
        })
    }

    /// The line of the identity a pipeline scored under last, and its model version.
    ///
    /// # Errors
    /// [`crate::error::Kind::Io`].
    pub fn last_line(&self, pipeline: &str) -> Result<Option<(i64, String)>> {
        self.run(|connection| {
            let line = tables::line_of(connection)?;
            optional(connection.query_row(
                &format!("SELECT {line}, identities.model_version FROM identities LEFT JOIN files ON files.identity = identities.id
                 WHERE identities.pipeline = ?1 ORDER BY files.id DESC, identities.id DESC LIMIT 1"),
                [pipeline],
                |row| Ok((row.get(0)?, row.get(1)?)),
            ))
        })
    }

    /// The pipelines the ledger has heard of, by name.
    ///
    /// # Errors
    /// [`crate::error::Kind::Io`].
    pub fn pipelines(&self) -> Result<Vec<String>> {
        self.run(|connection| {
            let mut query = connection.prepare("SELECT DISTINCT pipeline FROM identities ORDER BY pipeline")?;
            query.query_map([], |row| row.get(0))?.collect()
        })
    }

    /// What `status` shows of a pipeline.
    ///
    /// # Errors
    /// [`crate::error::Kind::Io`].
    pub fn counts(&self, pipeline: &str) -> Result<Counts> {
        let rows = |table: &str| {
            self.run(|connection| {
                connection.query_row(
                    "SELECT coalesce(sum(parts.rows), 0) FROM parts JOIN batches ON batches.id = parts.batch
                     WHERE parts.pipeline = ?1 AND parts.table_name = ?2 AND batches.committed = 1",
                    params![pipeline, table],
                    |row| row.get::<_, i64>(0),
                )
            })
        };
        let last_error = self.run(|connection| {
            optional(connection.query_row("SELECT at, message FROM errors WHERE pipeline = ?1", [pipeline], |row| {
                Ok((row.get(0)?, row.get(1)?))
            }))
        })?;
        Ok(Counts {
            scored: rows("scores")? as u64,
            flagged: rows("anomalies")? as u64,
            rejected: rows("rejected")? as u64,
            duplicates: rows("duplicates")? as u64,
            model_version: self.last_line(pipeline)?.map(|(_, version)| version),
            last_error,
        })
    }

    pub(super) fn run<T>(&self, work: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T> {
        work(&self.connection).map_err(|error| Trouble::sqlite(&self.path, &error).into())
    }
}
