//! Whether a content, or a name of it, has been dealt with.

use rusqlite::{Connection, params};

use super::{Ledger, optional};
use crate::error::Result;
use crate::watch::Stat;

/// What the ledger knows about a content under the identities of a line and a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scoring {
    /// Nothing, or it was rejected under other names.
    New,
    /// Some of its first frames have rows.
    Partial {
        /// How many.
        frames: u64,
        /// The name it was begun under, bytes.
        first: Vec<u8>,
        /// Whether one of these rows is in `scores`.
        scored: bool,
    },
    /// Every frame has a row, under another name.
    Done {
        /// That name, bytes.
        first: Vec<u8>,
    },
    /// Everything that is to be said of this content under this name stands in the reports.
    Known,
}

impl Ledger {
    /// What is known about a content under a name.
    ///
    /// # Errors
    /// [`crate::error::Kind::Io`].
    pub fn scoring(&mut self, line: i64, digest: &[u8; 32], path: &[u8]) -> Result<Scoring> {
        self.run(|connection| scoring(connection, line, digest, path))
    }

    /// Whether a content was rejected under this name.
    ///
    /// # Errors
    /// [`crate::error::Kind::Io`].
    pub fn was_rejected(&mut self, line: i64, digest: &[u8; 32], path: &[u8]) -> Result<bool> {
        self.run(|connection| {
            connection
                .prepare_cached(
                    "SELECT 1 FROM files JOIN batches ON batches.id = files.batch WHERE files.digest = ?1
                     AND files.identity IN (SELECT id FROM identities WHERE line = ?2) AND files.path = ?3 AND files.outcome = 'rejected' AND batches.committed = 1",
                )?
                .exists(params![&digest[..], line, path])
        })
    }

    /// Whether this version of a file was rejected before, without a digest. The inode does not matter, nor what a microsecond
    /// does not show: the reports do not have them.
    ///
    /// # Errors
    /// [`crate::error::Kind::Io`].
    pub fn was_refused(&mut self, line: i64, path: &[u8], stat: Stat) -> Result<bool> {
        let since = stat.mtime_ns.div_euclid(1000) * 1000;
        self.run(|connection| {
            connection
                .prepare_cached(
                    "SELECT 1 FROM files JOIN batches ON batches.id = files.batch
                     WHERE files.digest IS NULL AND files.path = ?1 AND files.identity IN (SELECT id FROM identities WHERE line = ?2) AND files.outcome = 'rejected'
                     AND files.size = ?3 AND files.mtime_ns BETWEEN ?4 AND ?5 AND batches.committed = 1",
                )?
                .exists(params![path, line, stat.size as i64, since, since + 999])
        })
    }
}

pub(super) fn scoring(connection: &Connection, line: i64, digest: &[u8; 32], path: &[u8]) -> rusqlite::Result<Scoring> {
    let named = |outcomes: &str| -> rusqlite::Result<bool> {
        let sql = format!(
            "SELECT 1 FROM files JOIN batches ON batches.id = files.batch WHERE files.digest = ?1 AND files.identity IN (SELECT id FROM identities WHERE line = ?2)
             AND files.path = ?3 AND files.outcome {outcomes} AND batches.committed = 1"
        );
        connection.prepare_cached(&sql)?.exists(params![&digest[..], line, path])
    };
    // That it was seen again may be another line's word: of the version before, when each judges anew from now on.
    if named("NOT IN ('partial', 'refused', 'seen')")? {
        return Ok(Scoring::Known);
    }
    let (done, frames): (bool, i64) = connection
        .prepare_cached(
            "SELECT coalesce(max(files.outcome = 'scored'), 0), coalesce(sum(files.frames), 0) FROM files
             JOIN batches ON batches.id = files.batch WHERE files.digest = ?1 AND files.identity IN (SELECT id FROM identities WHERE line = ?2)
             AND files.outcome IN ('scored', 'partial') AND batches.committed = 1",
        )?
        .query_row(params![&digest[..], line], |row| Ok((row.get(0)?, row.get(1)?)))?;
    if done && named("IN ('partial', 'refused')")? {
        return Ok(Scoring::Known);
    }
    let first = connection
        .prepare_cached(
            "SELECT files.path FROM files JOIN batches ON batches.id = files.batch
             WHERE files.digest = ?1 AND files.identity IN (SELECT id FROM identities WHERE line = ?2) AND files.outcome IN ('scored', 'partial')
             AND batches.committed = 1 ORDER BY files.id LIMIT 1",
        )?
        .query_row(params![&digest[..], line], |row| row.get(0));
    let refused = |path: &[u8]| -> rusqlite::Result<i64> {
        connection
            .prepare_cached(
                "SELECT coalesce(sum(files.frames), 0) FROM files JOIN batches ON batches.id = files.batch
                 WHERE files.digest = ?1 AND files.identity IN (SELECT id FROM identities WHERE line = ?2) AND files.path = ?3 AND files.outcome = 'refused'
                 AND batches.committed = 1",
            )?
            .query_row(params![&digest[..], line, path], |row| row.get(0))
    };
    Ok(match (optional(first)?, done) {
        (Some(first), true) => Scoring::Done { first },
        (Some(first), false) => Scoring::Partial { frames: (frames + refused(&first)?) as u64, first, scored: true },
        (None, _) => match refused(path)? {
            0 => Scoring::New,
            frames => Scoring::Partial { frames: frames as u64, first: path.to_vec(), scored: false },
        },
    })
}
