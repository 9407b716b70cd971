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
    /// Times a process died over it.
    pub tries: u32,
}

impl Ledger {
    /// Counts one more try against each file. A file that has changed starts anew.
    ///
    /// # Errors
    /// [`crate::error::Kind::Io`].
    pub fn blame(&mut self, files: &[Suspect]) -> Result<()> {
        self.suspects |= !files.is_empty();
        self.run(|connection| {
            let transaction = connection.transaction()?;
            for Suspect { pipeline, path, stat, .. } in files {
                let (size, inode) = (stat.size as i64, stat.inode as i64);
                transaction.execute(
                    "INSERT INTO attempts VALUES (?1, ?2, ?3, ?4, ?5, 1) ON CONFLICT DO UPDATE SET
                     tries = CASE WHEN size = ?3 AND mtime_ns = ?4 AND inode = ?5 THEN tries + 1 ELSE 1 END,
                     size = ?3, mtime_ns = ?4, inode = ?5",
                    params![pipeline, path, size, stat.mtime_ns, inode],
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
            let mut query = connection
                .prepare("SELECT pipeline, path, size, mtime_ns, inode, tries FROM attempts ORDER BY tries, path")?;
            let rows = query.query_map([], |row| {
                let stat = Stat {
                    size: row.get::<_, i64>(2)? as u64,
                    mtime_ns: row.get(3)?,
                    inode: row.get::<_, i64>(4)? as u64,
                };
                Ok(Suspect { pipeline: row.get(0)?, path: row.get(1)?, stat, tries: row.get(5)? })
            })?;
            rows.collect()
        })
    }
}
