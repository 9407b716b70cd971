//! The files that processes died over.

use rusqlite::params;

use super::Ledger;
use crate::error::Result;
use crate::watch::Stat;

/// A file that was being worked on when a process died.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Suspect {
    /// Its pipeline.
    pub pipeline: String,
    /// Its name in the inbox, bytes.
    pub path: Vec<u8>,
    /// What it was.
    pub stat: Stat,
    /// First and last of its frames in hand when the process died.
    pub frames: (u32, u32),
    /// Whether the process ended itself because a worker hung.
    pub stalled: bool,
    /// Times a process died over it.
    pub tries: u32,
}

impl Ledger {
    /// Counts one more try against each file. What is to blame was in hand at every death: frames that were not are left out, and
    /// where none is left, or the file has changed, the count starts anew.
    ///
    /// # Errors
    /// [`crate::error::Kind::Io`].
    pub fn blame(&mut self, files: &[Suspect]) -> Result<()> {
        self.suspects |= !files.is_empty();
        self.run(|connection| {
            let transaction = connection.transaction()?;
            for Suspect { pipeline, path, stat, frames, stalled, .. } in files {
                let again = "size = ?3 AND mtime_ns = ?4 AND inode = ?5 AND ctime_ns IN (?9, 0)
                    AND max(first_frame, ?6) <= min(last_frame, ?7)";
                let (size, inode) = (stat.size as i64, stat.inode as i64);
                transaction.execute(
                    &format!(
                        "INSERT INTO tries
                         (pipeline, path, size, mtime_ns, inode, first_frame, last_frame, stalled, tries, ctime_ns)
                         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, 1, ?9) ON CONFLICT DO UPDATE SET
                         tries = iif({again}, tries + 1, 1), first_frame = iif({again}, max(first_frame, ?6), ?6),
                         last_frame = iif({again}, min(last_frame, ?7), ?7), size = ?3, mtime_ns = ?4, inode = ?5,
                         stalled = ?8, ctime_ns = ?9"
                    ),
                    params![pipeline, path, size, stat.mtime_ns, inode, frames.0, frames.1, stalled, stat.ctime_ns],
                )?;
            }
            transaction.commit()
        })
    }

    /// Every file with tries against it, those with the fewest first.
    ///
    /// # Errors
    /// [`crate::error::Kind::Io`].
    pub fn suspects(&mut self) -> Result<Vec<Suspect>> {
        self.run(|connection| {
            let mut query = connection.prepare(
                "SELECT pipeline, path, size, mtime_ns, inode, first_frame, last_frame, stalled, tries, ctime_ns FROM tries
                 ORDER BY tries, path",
            )?;
            let rows = query.query_map([], |row| {
                let stat = Stat {
                    size: row.get::<_, i64>(2)? as u64,
                    mtime_ns: row.get(3)?,
                    inode: row.get::<_, i64>(4)? as u64,
                    ctime_ns: row.get(9)?,
                };
                Ok(Suspect {
                    pipeline: row.get(0)?,
                    path: row.get(1)?,
                    stat,
                    frames: (row.get(5)?, row.get(6)?),
                    stalled: row.get(7)?,
                    tries: row.get(8)?,
                })
            })?;
            rows.collect()
        })
    }
}
