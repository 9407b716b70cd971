//! A new ledger from the reports alone.
//!
//! ```text
//! reports ─read→ ledger.sqlite.new ─sync, rename→ ledger.sqlite.ready   from here on it will be the ledger, whatever happens
//!                                                    ├ the old one: ledger.sqlite.<time>.old (-wal, -shm)
//!                                                    └ rename→ ledger.sqlite
//! ```
//! The reports say which frames have rows, and not whether a file had more. A content therefore counts as *partial*: its file is
//! read once more and every frame that has a row is skipped, so that nothing is scored again and nothing is missed. A content of
//! which a second name stands in `duplicates` was complete: that row is only written then.

use std::collections::HashMap;
use std::fs::File;
use std::path::{Path, PathBuf};

use chrono::Utc;
use rusqlite::{Connection, Transaction, params};
use serde::Serialize;

use super::rows::{Row, rows_of};
use super::{place, tables};
use crate::disk::Trouble;
use crate::error::{Failure, Result};
use crate::report::schema::Table;
use crate::report::writer::{Part, Store, sync_folder};

/// What only the building needs.
const SCAFFOLD: &str = "
CREATE TABLE found (
    identity INTEGER NOT NULL, digest BLOB NOT NULL, path BLOB NOT NULL, size INTEGER NOT NULL, mtime_ns INTEGER NOT NULL,
    first INTEGER NOT NULL, next INTEGER NOT NULL, scored INTEGER NOT NULL, refused INTEGER NOT NULL,
    PRIMARY KEY (identity, digest, path)) WITHOUT ROWID;
CREATE TABLE named (
    identity INTEGER NOT NULL, digest BLOB, path BLOB NOT NULL, size INTEGER NOT NULL, mtime_ns INTEGER NOT NULL,
    outcome TEXT NOT NULL);
CREATE INDEX named_content ON named (digest, identity);
CREATE TABLE unowned (
    pipeline TEXT NOT NULL, digest BLOB NOT NULL, path BLOB NOT NULL, frame INTEGER);
";

/// How the scaffold becomes `files`; ?1 is the batch. In this order, as the first row of a content names its first file.
const FILES: [&str; 5] = [
    // Rejections of the first schema do not say for which model: they count for every one of their pipeline.
    "INSERT INTO named SELECT DISTINCT identities.id, unowned.digest, unowned.path, 0, 0, 'rejected' FROM unowned
     JOIN identities ON identities.pipeline = unowned.pipeline
     LEFT JOIN found ON found.identity = identities.id AND found.digest = unowned.digest AND found.scored > 0
     WHERE found.digest IS NULL OR unowned.frame IS NULL",
    "INSERT INTO found SELECT found.identity, found.digest, unowned.path, found.size, found.mtime_ns, min(unowned.frame),
     max(unowned.frame) + 1, 0, count(*) FROM unowned JOIN identities ON identities.pipeline = unowned.pipeline
     JOIN found ON found.identity = identities.id AND found.digest = unowned.digest AND found.scored > 0
     WHERE unowned.frame IS NOT NULL GROUP BY found.identity, found.digest, unowned.path
     ON CONFLICT DO UPDATE SET next = max(next, excluded.next), refused = refused + excluded.refused",
    // One row a content bears the number of its frames: that of the name it was begun under. What was rejected as a whole is
    // rejected under each of its names.
    "INSERT INTO files (batch, identity, path, size, mtime_ns, inode, digest, outcome, frames)
     SELECT ?1, identity, path, size, mtime_ns, 0, digest,
     CASE WHEN EXISTS (SELECT 1 FROM named WHERE named.identity = begun.identity AND named.digest = begun.digest
     AND named.outcome = 'alias') THEN 'scored' WHEN all_scored > 0 THEN 'partial'
     WHEN place = 1 THEN 'refused' ELSE 'rejected' END,
     CASE place WHEN 1 THEN frames ELSE 0 END
     FROM (SELECT *, row_number() OVER content AS place, sum(scored) OVER all_names AS all_scored, max(max(next) OVER all_names,
     sum(scored) OVER all_names + max(refused) OVER all_names) AS frames FROM found
     WINDOW content AS (PARTITION BY identity, digest ORDER BY first, scored = 0, path),
     all_names AS (PARTITION BY identity, digest)) AS begun ORDER BY identity, place",
    // Names of contents whose own rows retention has removed.
    "INSERT INTO files (batch, identity, path, size, mtime_ns, inode, digest, outcome, frames)
     SELECT ?1, identity, path, size, mtime_ns, 0, digest, 'scored', 0 FROM named AS first WHERE outcome = 'first'
     AND NOT EXISTS (SELECT 1 FROM files WHERE files.digest = first.digest AND files.identity = first.identity
     AND files.outcome = 'scored') GROUP BY identity, digest",
    "INSERT INTO files (batch, identity, path, size, mtime_ns, inode, digest, outcome, frames)
     SELECT ?1, identity, path, size, mtime_ns, 0, digest, outcome, 0 FROM named WHERE outcome <> 'first'
     GROUP BY identity, digest, path, size, mtime_ns",
];

/// What a new ledger was made of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Rebuilt {
    /// Parts in the reports.
    pub parts: usize,
    /// Contents that have frames in the reports, each counted once a model.
    pub contents: u64,
    /// Names rejected.
    pub rejected: u64,
    /// Second names.
    pub duplicates: u64,
    /// Contents of which not every frame before the last has a row: retention has removed some, or somebody else.
    pub holes: u64,
    /// Where the old ledger is kept, where there was one.
    pub kept: Option<PathBuf>,
}

/// Makes a new ledger and puts it in place of the old one, which is kept. The state folder's lock is to be held.
///
/// # Errors
/// [`crate::error::Kind::Io`], naming a part that cannot be read: then nothing has been changed.
pub fn rebuild(state: &Path) -> Result<Rebuilt> {
    let mut store = Store::open(state)?;
    store.complete_staged()?;
    let new = state.join("ledger.sqlite.new");
    for suffix in ["", "-journal"] {
        remove(&beside(&new, suffix))?;
    }
    let mut connection = Connection::open(&new).map_err(|error| sqlite(&new, &error))?;
    let mut rebuilt = build(&mut connection, &new, &store)?;
    connection.close().map_err(|(_, error)| sqlite(&new, &error))?;
    let sync = File::open(&new).and_then(|file| file.sync_all()).and_then(|()| std::fs::rename(&new, ready(state)));
    sync.map_err(|error| io(&new, &error))?;
    sync_folder(state)?;
    rebuilt.kept = finish(state)?;
    Ok(rebuilt)
}

/// Puts a ledger that is ready in place, and keeps the one that was there. A rebuild that was interrupted here is finished by the
/// next process that opens the ledger: an old ledger without its write-ahead log would have forgotten what was committed last.
///
/// # Errors
/// [`crate::error::Kind::Io`].
pub(super) fn finish(state: &Path) -> Result<Option<PathBuf>> {
    let (ready, ledger) = (ready(state), place(state));
    if !ready.exists() {
        return Ok(None);
    }
    let kept = state.join(format!("ledger.sqlite.{}.old", Utc::now().format("%Y%m%dT%H%M%S%3fZ")));
    for suffix in ["-wal", "-shm"] {
        let from = beside(&ledger, suffix);
        if from.exists() {
            std::fs::rename(&from, beside(&kept, suffix)).map_err(|error| io(&from, &error))?;
        }
    }
    let old = ledger.exists();
    if old {
        std::fs::hard_link(&ledger, &kept).map_err(|error| io(&kept, &error))?;
    }
    std::fs::rename(&ready, &ledger).map_err(|error| io(&ledger, &error))?;
    sync_folder(state)?;
    Ok(old.then_some(kept))
}

fn build(connection: &mut Connection, path: &Path, store: &Store) -> Result<Rebuilt> {
    let fail = |error: rusqlite::Error| sqlite(path, &error);
    connection.pragma_update(None, "synchronous", "OFF").map_err(fail)?;
    tables::bring_up(connection, 0).map_err(fail)?;
    connection.execute_batch(SCAFFOLD).map_err(fail)?;
    let transaction = connection.transaction().map_err(fail)?;
    let mut builder = Builder { transaction, identities: HashMap::new() };
    let parts = store.parts()?;
    let mut youngest = 0;
    for part in &parts {
        let place = store.reports().join(part.place());
        let at = modified(&place)?;
        youngest = youngest.max(at);
        builder.part(part, at).map_err(fail)?;
        rows_of(part, &place, &mut |row| builder.row(part, row).map_err(fail))?;
    }
    let mut rebuilt = builder.finish(youngest).map_err(fail)?;
    rebuilt.parts = parts.len();
    Ok(rebuilt)
}

struct Builder<'a> {
    transaction: Transaction<'a>,
    identities: HashMap<[String; 4], i64>,
}

impl Builder<'_> {
    fn part(&mut self, part: &Part, at: i64) -> rusqlite::Result<()> {
        let batch = self.batch(at)?;
        super::batch::insert_parts(&self.transaction, batch, "parts", std::slice::from_ref(part))
    }

    fn batch(&mut self, at: i64) -> rusqlite::Result<i64> {
        self.transaction
            .prepare_cached("INSERT INTO batches (committed, prepared_at, committed_at) VALUES (1, ?1, ?1)")?
            .execute([at])?;
        Ok(self.transaction.last_insert_rowid())
    }

    fn row(&mut self, part: &Part, row: Row) -> rusqlite::Result<()> {
        let Some([version, model, calibration]) = row.judge else {
            return self.unowned(part, &row);
        };
        let identity = self.identity([part.pipeline.clone(), version, model, calibration])?;
        let (size, mtime_ns) = (row.size as i64, row.mtime_us.saturating_mul(1000));
        match (part.table, row.digest, row.frame) {
            (Table::Scores | Table::Rejected, Some(digest), Some(frame)) => {
                let scored = part.table == Table::Scores;
                self.transaction
                    .prepare_cached(
                        "INSERT INTO found VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?6 + 1, ?7, ?8) ON CONFLICT DO UPDATE SET
                         first = min(first, excluded.first), next = max(next, excluded.next),
                         scored = scored + excluded.scored, refused = refused + excluded.refused",
                    )?
                    .execute(params![identity, digest, row.path, size, mtime_ns, frame, scored, !scored])?;
            }
            (Table::Duplicates, digest, _) => {
                self.name(identity, digest.as_deref(), &row.path, [size, mtime_ns], "alias")?;
                self.name(identity, digest.as_deref(), &row.first, [size, 0], "first")?;
            }
            (_, digest, _) => self.name(identity, digest.as_deref(), &row.path, [size, mtime_ns], "rejected")?,
        }
        Ok(())
    }

    fn name(
        &self,
        identity: i64,
        digest: Option<&[u8]>,
        path: &[u8],
        stat: [i64; 2],
        outcome: &str,
    ) -> rusqlite::Result<()> {
        self.transaction
            .prepare_cached("INSERT INTO named VALUES (?1, ?2, ?3, ?4, ?5, ?6)")?
            .execute(params![identity, digest, path, stat[0], stat[1], outcome])
            .map(drop)
    }

    /// A rejection of the first schema. Without a digest nothing can be told from it.
    fn unowned(&self, part: &Part, row: &Row) -> rusqlite::Result<()> {
        let Some(digest) = &row.digest else { return Ok(()) };
        self.transaction
            .prepare_cached("INSERT INTO unowned VALUES (?1, ?2, ?3, ?4)")?
            .execute(params![part.pipeline, digest, row.path, row.frame])
            .map(drop)
    }

    fn identity(&mut self, key: [String; 4]) -> rusqlite::Result<i64> {
        if let Some(id) = self.identities.get(&key) {
            return Ok(*id);
        }
        let id = super::identity_of(&self.transaction, &key[0], [&key[1], &key[2], &key[3]])?;
        self.identities.insert(key, id);
        Ok(id)
    }

    fn finish(mut self, youngest: i64) -> rusqlite::Result<Rebuilt> {
        let batch = self.batch(youngest)?;
        for (at, statement) in FILES.iter().enumerate() {
            if at < 2 {
                self.transaction.execute(statement, [])?
            } else {
                self.transaction.execute(statement, [batch])?
            };
        }
        let count =
            |sql: &str| self.transaction.query_row(sql, [], |row| row.get::<_, i64>(0)).map(|count| count as u64);
        let rebuilt = Rebuilt {
            parts: 0,
            contents: count("SELECT count(*) FROM (SELECT 1 FROM found GROUP BY identity, digest)")?,
            rejected: count("SELECT count(*) FROM files WHERE outcome = 'rejected'")?,
            duplicates: count("SELECT count(*) FROM files WHERE outcome = 'alias'")?,
            holes: count(
                "SELECT count(*) FROM (SELECT 1 FROM found GROUP BY identity, digest
                 HAVING max(next) > sum(scored) + max(refused))",
            )?,
            kept: None,
        };
        self.transaction.execute_batch("DROP TABLE found; DROP TABLE named; DROP TABLE unowned;")?;
        self.transaction.commit()?;
        Ok(rebuilt)
    }
}

fn ready(state: &Path) -> PathBuf {
    state.join("ledger.sqlite.ready")
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_os_string();
    name.push(suffix);
    name.into()
}

/// When a part was written, milliseconds since 1970.
fn modified(part: &Path) -> Result<i64> {
    use std::os::unix::fs::MetadataExt;
    let meta = std::fs::metadata(part).map_err(|error| io(part, &error))?;
    Ok(meta.mtime() * 1000 + meta.mtime_nsec() / 1_000_000)
}

fn remove(path: &Path) -> Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(io(path, &error)),
        _ => Ok(()),
    }
}

fn io(path: &Path, error: &std::io::Error) -> Failure {
    Trouble::io(path, error).into()
}

fn sqlite(path: &Path, error: &rusqlite::Error) -> Failure {
    Failure::io(path, error)
}
