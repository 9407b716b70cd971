//! What the watch for drift has seen, tied to the batches: a state counts when the batch does whose frames were the last it saw.

use rusqlite::{Connection, Transaction, params};

use super::{Ledger, Reader, now, optional, tables};
use crate::error::Result;

/// The first version of the ledger that has these tables.
const SINCE: i64 = 4;

/// A person's wish that the watch over a pipeline starts anew.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reset {
    /// Its number; a later one is larger.
    pub number: i64,
    /// When it was asked for, milliseconds since 1970.
    pub at: i64,
    /// Why.
    pub reason: String,
}

/// The state of a watch over a pipeline under one model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Watched {
    /// Version of the model.
    pub model_version: String,
    /// The state, as it was given.
    pub state: Vec<u8>,
}

impl Ledger {
    /// The state of the watch under an identity, where there is one.
    ///
    /// # Errors
    /// [`crate::error::Kind::Io`].
    pub fn drift(&mut self, identity: i64) -> Result<Option<Vec<u8>>> {
        self.run(|connection| {
            optional(connection.query_row(
                "SELECT drift.state FROM drift JOIN batches ON batches.id = drift.batch
                 WHERE drift.identity = ?1 AND batches.committed = 1
                 ORDER BY drift.id DESC LIMIT 1",
                [identity],
                |row| row.get(0),
            ))
        })
    }

    /// Asks for a reset; who writes the ledger does it.
    ///
    /// # Errors
    /// [`crate::error::Kind::Io`].
    pub fn ask_for_reset(&mut self, pipeline: &str, reason: &str) -> Result<()> {
        self.run(|connection| {
            connection
                .execute(
                    "INSERT INTO drift_resets (pipeline, at, reason) VALUES (?1, ?2, ?3)",
                    params![pipeline, now(), reason],
                )
                .map(drop)
        })
    }

    /// The last reset that was asked for.
    ///
    /// # Errors
    /// [`crate::error::Kind::Io`].
    pub fn last_reset(&mut self, pipeline: &str) -> Result<Option<Reset>> {
        self.run(|connection| last_reset(connection, pipeline))
    }
}

impl Reader {
    /// The watches over a pipeline, one a model, in the order in which the models came.
    ///
    /// # Errors
    /// [`crate::error::Kind::Io`].
    pub fn drift(&self, pipeline: &str) -> Result<Vec<Watched>> {
        self.run(|connection| {
            if !has_tables(connection)? {
                return Ok(Vec::new());
            }
            let mut query = connection.prepare(
                "SELECT identities.model_version, drift.state, max(drift.id) FROM drift
                 JOIN identities ON identities.id = drift.identity JOIN batches ON batches.id = drift.batch
                 WHERE identities.pipeline = ?1 AND batches.committed = 1
                 GROUP BY identities.id ORDER BY identities.id",
            )?;
            query.query_map([pipeline], |row| Ok(Watched { model_version: row.get(0)?, state: row.get(1)? }))?.collect()
        })
    }

    /// The last reset that was asked for.
    ///
    /// # Errors
    /// [`crate::error::Kind::Io`].
    pub fn last_reset(&self, pipeline: &str) -> Result<Option<Reset>> {
        self.run(|connection| if has_tables(connection)? { last_reset(connection, pipeline) } else { Ok(None) })
    }
}

/// Puts the states that a batch leaves behind beside it.
pub(super) fn insert(transaction: &Transaction<'_>, batch: i64, states: &[(i64, Vec<u8>)]) -> rusqlite::Result<()> {
    for (identity, state) in states {
        let row = params![identity, batch, state];
        transaction.execute("INSERT INTO drift (identity, batch, state) VALUES (?1, ?2, ?3)", row)?;
    }
    Ok(())
}

/// Forgets the states that those of a committed batch stand for now.
pub(super) fn supersede(transaction: &Transaction<'_>, batch: i64) -> rusqlite::Result<()> {
    transaction
        .execute(
            "DELETE FROM drift WHERE id IN (SELECT old.id FROM drift AS new JOIN drift AS old
             ON old.identity = new.identity AND old.id < new.id WHERE new.batch = ?1)",
            [batch],
        )
        .map(drop)
}

fn last_reset(connection: &Connection, pipeline: &str) -> rusqlite::Result<Option<Reset>> {
    optional(connection.query_row(
        "SELECT id, at, reason FROM drift_resets WHERE pipeline = ?1 ORDER BY id DESC LIMIT 1",
        [pipeline],
        |row| Ok(Reset { number: row.get(0)?, at: row.get(1)?, reason: row.get(2)? }),
    ))
}

/// Who only reads does not bring up an older ledger.
fn has_tables(connection: &Connection) -> rusqlite::Result<bool> {
    Ok(tables::version(connection)? >= SINCE)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::score::Identity;

    #[test]
    fn a_state_counts_when_its_batch_does() {
        let folder = tempfile::tempdir().unwrap();
        let mut ledger = Ledger::open(folder.path()).unwrap();
        let reader = Reader::open(folder.path()).unwrap();
        let judge = |version: &str| Identity {
            model_version: version.into(),
            model_digest: version.into(),
            calibration_digest: "c".into(),
            pipeline_digest: "p".into(),
        };
        let [first, second] = ["1", "2"].map(|version| ledger.identity("digits", &judge(version)).unwrap());
        let prepare =
            |ledger: &mut Ledger, id, state: &str| ledger.prepare_seen(&[], &[], &[(id, state.into())]).unwrap();
        let batch = prepare(&mut ledger, first, "a");
        assert_eq!(ledger.drift(first).unwrap(), None);
        ledger.commit(batch, &[]).unwrap();
        let lost = prepare(&mut ledger, first, "b");
        assert_eq!(ledger.drift(first).unwrap().as_deref(), Some(&b"a"[..]));
        ledger.abandon(lost).unwrap();
        let batch = prepare(&mut ledger, first, "c");
        ledger.commit(batch, &[]).unwrap();
        let batch = prepare(&mut ledger, second, "d");
        ledger.commit(batch, &[]).unwrap();
        let watched: Vec<_> =
            reader.drift("digits").unwrap().into_iter().map(|it| (it.model_version, it.state)).collect();
        assert_eq!(watched, [("1".to_string(), b"c".to_vec()), ("2".to_string(), b"d".to_vec())]);
        let rows = ledger.run(|c| c.query_row("SELECT count(*) FROM drift", [], |row| row.get::<_, i64>(0))).unwrap();
        assert_eq!(rows, 2, "what does not count any more is gone");
    }

    #[test]
    fn the_last_reset_is_the_one_that_counts() {
        let folder = tempfile::tempdir().unwrap();
        let mut ledger = Ledger::open(folder.path()).unwrap();
        let reader = Reader::open(folder.path()).unwrap();
        assert_eq!(reader.last_reset("digits").unwrap(), None);
        ledger.ask_for_reset("digits", "mirror cleaned").unwrap();
        ledger.ask_for_reset("stars", "other").unwrap();
        ledger.ask_for_reset("digits", "and again").unwrap();
        let last = reader.last_reset("digits").unwrap().unwrap();
        assert_eq!((last.number, last.reason.as_str()), (3, "and again"));
        assert_eq!(ledger.last_reset("digits").unwrap(), Some(last));
    }
}
