//! A batch on its way: prepared before its first part stands in the reports, committed after its last.

use rusqlite::{Connection, Transaction, params};

use super::scoring::{Scoring, scoring};
use super::{Ledger, drift, now, read_part};
use crate::error::Result;
use crate::report::writer::Part;
use crate::watch::Stat;

/// How a file ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Every frame has a row, at least one of them in `scores`.
    Scored,
    /// No frame was scored; the reasons stand in `rejected`.
    Rejected,
    /// The same, but its first frames have their rows under another name.
    Resumed,
    /// Its content had been scored under another name.
    Alias,
    /// Its name and content have their rows already: touched, or put there anew.
    Seen,
    /// Some of its frames have rows, more will follow.
    Partial,
    /// The same, and none of these rows is in `scores`: as what is rejected is rejected under each name, they count for this one.
    Refused,
}

impl Outcome {
    fn name(self) -> &'static str {
        match self {
            Self::Scored | Self::Resumed => "scored",
            Self::Rejected => "rejected",
            Self::Alias => "alias",
            Self::Seen => "seen",
            Self::Partial => "partial",
            Self::Refused => "refused",
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

/// A batch that a process left prepared.
#[derive(Debug)]
pub struct Prepared {
    /// Its number.
    pub batch: i64,
    /// What it was to publish.
    pub parts: Vec<Part>,
    /// What its parts were to stand for; empty for a batch of new rows.
    pub replaced: Vec<Part>,
}

impl Ledger {
    /// Step 1 of a batch: its parts and its files' rows, for nobody to count yet. Returns its number.
    ///
    /// # Errors
    /// [`crate::error::Kind::Io`].
    pub fn prepare(&mut self, parts: &[Part], files: &[FileRow]) -> Result<i64> {
        self.prepare_seen(parts, files, &[])
    }

    /// The same, with what the watch for drift has seen after the batch, by identity.
    ///
    /// # Errors
    /// [`crate::error::Kind::Io`].
    pub fn prepare_seen(&mut self, parts: &[Part], files: &[FileRow], seen: &[(i64, Vec<u8>)]) -> Result<i64> {
        self.run(|connection| {
            let transaction = connection.transaction()?;
            let batch = begin(&transaction)?;
            insert_parts(&transaction, batch, "parts", parts)?;
            insert_files(&transaction, batch, files)?;
            drift::insert(&transaction, batch, seen)?;
            transaction.commit()?;
            Ok(batch)
        })
    }

    /// Last step of a batch: its rows count from now on. `files` are those of [`Self::prepare`]; their tries are forgotten.
    ///
    /// # Errors
    /// [`crate::error::Kind::Io`].
    pub fn commit(&mut self, batch: i64, files: &[FileRow]) -> Result<()> {
        let suspects = self.suspects;
        self.run(|connection| {
            let transaction = connection.transaction()?;
            transaction.execute("UPDATE batches SET committed = 1, committed_at = ?2 WHERE id = ?1", [batch, now()])?;
            transaction.execute(
                "DELETE FROM files WHERE id IN (SELECT old.id FROM files AS done JOIN files AS old
                 ON old.digest = done.digest AND old.identity = done.identity AND old.path = done.path
                 WHERE done.batch = ?1 AND old.batch < ?1 AND (done.outcome = 'seen' AND old.outcome = 'seen'
                 OR done.outcome IN ('scored', 'rejected') AND old.outcome IN ('partial', 'refused')))",
                [batch],
            )?;
            transaction.execute(
                "DELETE FROM files WHERE id IN (SELECT old.id FROM files AS done JOIN files AS old
                 ON old.path = done.path AND old.identity = done.identity AND old.digest IS NULL
                 WHERE done.batch = ?1 AND old.batch < ?1 AND done.digest IS NULL
                 AND done.outcome = 'seen' AND old.outcome = 'seen')",
                [batch],
            )?;
            drift::supersede(&transaction, batch)?;
            if suspects {
                // One that was rejected for its tries, unread, keeps them: the next start must not try it again.
                for file in files.iter().filter(|file| file.digest.is_some()) {
                    acquit(&transaction, file)?;
                }
            }
            transaction.commit()
        })
    }

    /// Forgets a prepared batch of which nothing stands in the reports.
    ///
    /// # Errors
    /// [`crate::error::Kind::Io`].
    pub fn abandon(&mut self, batch: i64) -> Result<()> {
        self.run(|connection| {
            let transaction = connection.transaction()?;
            for table in ["files", "parts", "replaced", "drift"] {
                transaction.execute(&format!("DELETE FROM {table} WHERE batch = ?1"), [batch])?;
            }
            transaction.execute("DELETE FROM batches WHERE id = ?1 AND committed = 0", [batch])?;
            transaction.commit()
        })
    }

    /// The prepared batches, oldest first.
    ///
    /// # Errors
    /// [`crate::error::Kind::Io`].
    pub fn prepared(&mut self) -> Result<Vec<Prepared>> {
        self.run(|connection| {
            let mut batches = connection.prepare("SELECT id FROM batches WHERE committed = 0 ORDER BY id")?;
            let ids = batches.query_map([], |row| row.get(0))?.collect::<rusqlite::Result<Vec<i64>>>()?;
            ids.into_iter()
                .map(|batch| {
                    let parts = parts_of(connection, batch, "parts")?;
                    Ok(Prepared { batch, parts, replaced: parts_of(connection, batch, "replaced")? })
                })
                .collect()
        })
    }
}

/// Forgets the tries of a file that got somewhere. A worker hung over frames that it names itself: only when the last of them has
/// its row was none of them to blame. Who held a file when it was killed may not have been to blame at all: any row counts.
fn acquit(transaction: &Transaction<'_>, file: &FileRow) -> rusqlite::Result<()> {
    let FileRow { identity, pipeline, path, digest, outcome, .. } = file;
    let come_to = match (outcome, digest) {
        (Outcome::Partial | Outcome::Refused, Some(digest)) => {
            match scoring(transaction, line(transaction, *identity)?, digest, path)? {
                Scoring::Partial { frames, .. } => frames as i64,
                _ => i64::MAX,
            }
        }
        _ => i64::MAX,
    };
    transaction
        .execute(
            "DELETE FROM tries WHERE pipeline = ?1 AND path = ?2 AND (NOT stalled OR last_frame < ?3)",
            params![pipeline, path, come_to],
        )
        .map(drop)
}

/// The line of an identity.
fn line(transaction: &Transaction<'_>, identity: i64) -> rusqlite::Result<i64> {
    transaction.prepare_cached("SELECT line FROM identities WHERE id = ?1")?.query_row([identity], |row| row.get(0))
}

/// A new batch, prepared.
pub(super) fn begin(transaction: &Transaction<'_>) -> rusqlite::Result<i64> {
    transaction.execute("INSERT INTO batches (committed, prepared_at) VALUES (0, ?1)", [now()])?;
    Ok(transaction.last_insert_rowid())
}

/// Puts parts of a batch into `parts` or `replaced`.
pub(super) fn insert_parts(
    transaction: &Transaction<'_>,
    batch: i64,
    into: &str,
    parts: &[Part],
) -> rusqlite::Result<()> {
    let mut insert = transaction.prepare_cached(&format!(
        "INSERT INTO {into} (batch, name, table_name, pipeline, date, rows) VALUES (?1, ?2, ?3, ?4, ?5, ?6)"
    ))?;
    for part in parts {
        insert.execute(params![batch, part.batch, part.table.name(), part.pipeline, part.date, part.rows as i64])?;
    }
    Ok(())
}

/// Puts the rows of a batch's files into `files`.
pub(super) fn insert_files(transaction: &Transaction<'_>, batch: i64, files: &[FileRow]) -> rusqlite::Result<()> {
    let mut insert = transaction.prepare_cached(
        "INSERT INTO files (batch, identity, path, size, mtime_ns, inode, digest, outcome, frames, ctime_ns)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
    )?;
    for FileRow { identity, path, stat, digest, outcome, frames, .. } in files {
        let digest = digest.as_ref().map(|digest| &digest[..]);
        insert.execute(params![
            batch,
            identity,
            path,
            stat.size as i64,
            stat.mtime_ns,
            stat.inode as i64,
            digest,
            outcome.name(),
            *frames as i64,
            stat.ctime_ns
        ])?;
    }
    Ok(())
}

fn parts_of(connection: &Connection, batch: i64, from: &str) -> rusqlite::Result<Vec<Part>> {
    let mut parts = connection
        .prepare_cached(&format!("SELECT name, table_name, pipeline, date, rows FROM {from} WHERE batch = ?1"))?;
    parts.query_map([batch], read_part)?.collect()
}
