-- A ledger of the second version, as its tables were, with a file that was scored and one that processes died over.
CREATE TABLE IF NOT EXISTS identities (
    id INTEGER PRIMARY KEY,
    pipeline TEXT NOT NULL, model_version TEXT NOT NULL, model_digest TEXT NOT NULL, calibration_digest TEXT NOT NULL,
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
    digest BLOB, outcome TEXT NOT NULL, frames INTEGER NOT NULL);
CREATE INDEX IF NOT EXISTS files_named ON files (digest, identity, path);
CREATE INDEX IF NOT EXISTS files_scored ON files (digest, identity) WHERE outcome IN ('scored', 'partial');
CREATE INDEX IF NOT EXISTS files_batch ON files (batch);
CREATE INDEX IF NOT EXISTS files_undigested ON files (path, identity) WHERE digest IS NULL;
CREATE TABLE IF NOT EXISTS tries (
    pipeline TEXT NOT NULL, path BLOB NOT NULL, size INTEGER NOT NULL, mtime_ns INTEGER NOT NULL, inode INTEGER NOT NULL,
    first_frame INTEGER NOT NULL, last_frame INTEGER NOT NULL, stalled INTEGER NOT NULL, tries INTEGER NOT NULL,
    PRIMARY KEY (pipeline, path)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS errors (pipeline TEXT PRIMARY KEY, at INTEGER NOT NULL, message TEXT NOT NULL) WITHOUT ROWID;
INSERT INTO identities VALUES (1, 'digits', '1', 'm', 'c');
INSERT INTO batches VALUES (1, 1, 0, 0);
INSERT INTO parts VALUES (1, '1', 'scores', 'digits', '2026-01-02', 1, 0);
INSERT INTO files VALUES (1, 1, 1, CAST('a' AS BLOB), 1, 2, 3, x'0101010101010101010101010101010101010101010101010101010101010101', 'scored', 1);
INSERT INTO tries VALUES ('digits', CAST('b' AS BLOB), 1, 2, 3, 0, 0, 0, 2);
PRAGMA user_version = 2;
