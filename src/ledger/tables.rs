//! The ledger's tables, and the way from those of an older version.

use rusqlite::Connection;

/// Version of the tables below.
pub(super) const VERSION: i64 = 5;

const TABLES: &str = "
CREATE TABLE IF NOT EXISTS identities (
    id INTEGER PRIMARY KEY,
    pipeline TEXT NOT NULL, model_version TEXT NOT NULL, model_digest TEXT NOT NULL, calibration_digest TEXT NOT NULL,
    line INTEGER NOT NULL DEFAULT 0,
    UNIQUE (pipeline, model_digest, calibration_digest));
CREATE TABLE IF NOT EXISTS batches (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    committed INTEGER NOT NULL, prepared_at INTEGER NOT NULL, committed_at INTEGER);
CREATE TABLE IF NOT EXISTS parts (
    batch INTEGER NOT NULL REFERENCES batches, name TEXT NOT NULL,
    table_name TEXT NOT NULL, pipeline TEXT NOT NULL, date TEXT NOT NULL, rows INTEGER NOT NULL,
    retired INTEGER NOT NULL DEFAULT 0);
CREATE INDEX IF NOT EXISTS parts_batch ON parts (batch);
CREATE INDEX IF NOT EXISTS parts_place ON parts (pipeline, table_name, date, name);
CREATE TABLE IF NOT EXISTS replaced (
    batch INTEGER NOT NULL REFERENCES batches, name TEXT NOT NULL,
    table_name TEXT NOT NULL, pipeline TEXT NOT NULL, date TEXT NOT NULL, rows INTEGER NOT NULL);
CREATE INDEX IF NOT EXISTS replaced_batch ON replaced (batch);
CREATE TABLE IF NOT EXISTS files (
    id INTEGER PRIMARY KEY,
    batch INTEGER NOT NULL REFERENCES batches, identity INTEGER NOT NULL REFERENCES identities,
    path BLOB NOT NULL, size INTEGER NOT NULL, mtime_ns INTEGER NOT NULL, inode INTEGER NOT NULL,
    digest BLOB, outcome TEXT NOT NULL, frames INTEGER NOT NULL, ctime_ns INTEGER NOT NULL DEFAULT 0);
DROP INDEX IF EXISTS files_digest;
CREATE INDEX IF NOT EXISTS files_named ON files (digest, identity, path);
CREATE INDEX IF NOT EXISTS files_scored ON files (digest, identity) WHERE outcome IN ('scored', 'partial');
CREATE INDEX IF NOT EXISTS files_batch ON files (batch);
CREATE INDEX IF NOT EXISTS files_undigested ON files (path, identity) WHERE digest IS NULL;
DROP TABLE IF EXISTS attempts;
CREATE TABLE IF NOT EXISTS tries (
    pipeline TEXT NOT NULL, path BLOB NOT NULL, size INTEGER NOT NULL, mtime_ns INTEGER NOT NULL, inode INTEGER NOT NULL,
    first_frame INTEGER NOT NULL, last_frame INTEGER NOT NULL, stalled INTEGER NOT NULL, tries INTEGER NOT NULL,
    ctime_ns INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (pipeline, path)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS drift (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    identity INTEGER NOT NULL REFERENCES identities, batch INTEGER NOT NULL REFERENCES batches, state BLOB NOT NULL);
CREATE INDEX IF NOT EXISTS drift_batch ON drift (batch);
CREATE TABLE IF NOT EXISTS drift_resets (
    id INTEGER PRIMARY KEY AUTOINCREMENT, pipeline TEXT NOT NULL, at INTEGER NOT NULL, reason TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS errors (pipeline TEXT PRIMARY KEY, at INTEGER NOT NULL, message TEXT NOT NULL) WITHOUT ROWID;
";

/// Columns that older versions did not have: of the first one `retired`, of the second the times of change, of the third the lines.
const ADDED: [(&str, &str); 4] =
    [("parts", "retired"), ("files", "ctime_ns"), ("tries", "ctime_ns"), ("identities", "line")];

/// Makes what is missing. A ledger that is up to date is not written to, so that a full disk does not stand in its way.
pub(super) fn bring_up(connection: &mut Connection, version: i64) -> rusqlite::Result<()> {
    if version == VERSION {
        return Ok(());
    }
    let transaction = connection.transaction()?;
    transaction.execute_batch(TABLES)?;
    for (table, column) in ADDED {
        let has =
            transaction.prepare("SELECT 1 FROM pragma_table_info(?1) WHERE name = ?2")?.exists([table, column])?;
        if !has {
            transaction.execute(&format!("ALTER TABLE {table} ADD COLUMN {column} INTEGER NOT NULL DEFAULT 0"), [])?;
        }
    }
    transaction.execute("UPDATE identities SET line = id WHERE line = 0", [])?;
    transaction.pragma_update(None, "user_version", VERSION)?;
    transaction.commit()
}

/// Version of a ledger's tables.
pub(super) fn version(connection: &Connection) -> rusqlite::Result<i64> {
    connection.pragma_query_value(None, "user_version", |row| row.get(0))
}

/// The time of change in a row of `files`, where it is kept: who reads a ledger does not bring it up.
pub(super) fn ctime_of(connection: &Connection) -> rusqlite::Result<&'static str> {
    Ok(if version(connection)? < 3 { "0" } else { "files.ctime_ns" })
}

/// The line of an identity, where lines are kept; before, each identity was for itself.
pub(super) fn line_of(connection: &Connection) -> rusqlite::Result<&'static str> {
    let version: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    Ok(if version < 5 { "identities.id" } else { "identities.line" })
}
