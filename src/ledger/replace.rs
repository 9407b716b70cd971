//! Parts that leave the reports: several that become one (compaction), and old ones that are let go (retention).
//!
//! Both are said here before they are done there, so that a start after a crash can finish them: see [`super::settle`].

use rusqlite::{Connection, Transaction, params};

use super::batch::{begin, insert_parts};
use super::{Ledger, read_part};
use crate::error::{Failure, Kind, Result};
use crate::report::writer::Part;

const SAME_PLACE: &str = "pipeline = ?1 AND table_name = ?2 AND date = ?3 AND name = ?4";

impl Ledger {
    /// Step 1 of a replacement: `new` will stand for all of `old`, whose rows they have. Returns its number; until
    /// [`Self::commit_replacement`] the old parts count. A process that dies between is settled by whether the new parts stand in
    /// the reports: then the old ones that still stand are removed, else nothing has happened.
    ///
    /// # Errors
    /// [`Kind::Internal`] where an old part is not a committed one, or the rows do not add up; [`Kind::Io`].
    pub fn prepare_replacement(&mut self, old: &[Part], new: &[Part]) -> Result<i64> {
        let [before, after] = [old, new].map(|parts| parts.iter().map(|part| part.rows).sum::<usize>());
        if before != after {
            let place = new.first().map(Part::place).unwrap_or_default();
            let message = format!("{}: {after} rows for {before} in the parts they replace", place.display());
            return Err(Failure::new(Kind::Internal, message));
        }
        let outcome = self.run(|connection| {
            let transaction = connection.transaction()?;
            for part in old {
                if !is_committed(&transaction, part)? {
                    return Ok(Err(part.clone()));
                }
            }
            let batch = begin(&transaction)?;
            insert_parts(&transaction, batch, "parts", new)?;
            insert_parts(&transaction, batch, "replaced", old)?;
            transaction.commit()?;
            Ok(Ok(batch))
        })?;
        outcome.map_err(|part| {
            Failure::new(Kind::Internal, format!("{}: the ledger has no such committed part", part.place().display()))
                .hint("anomalyd ledger check shows where ledger and reports differ")
        })
    }

    /// Last step of a replacement: the new parts count, the old ones are forgotten. The counts of `status` stay; the new
    /// parts are as old as the youngest that they replace.
    ///
    /// # Errors
    /// [`Kind::Io`].
    pub fn commit_replacement(&mut self, batch: i64) -> Result<()> {
        self.run(|connection| {
            let transaction = connection.transaction()?;
            // A cross join is done in the order given: from the few parts replaced to the many there are.
            transaction.execute(
                "UPDATE batches SET committed = 1, committed_at = (SELECT max(source.committed_at) FROM replaced
                 CROSS JOIN parts ON parts.pipeline = replaced.pipeline AND parts.table_name = replaced.table_name
                 AND parts.date = replaced.date AND parts.name = replaced.name
                 CROSS JOIN batches AS source ON source.id = parts.batch AND source.committed = 1
                 WHERE replaced.batch = ?1) WHERE id = ?1",
                [batch],
            )?;
            transaction.execute(
                "DELETE FROM parts WHERE rowid IN (SELECT parts.rowid FROM replaced
                 CROSS JOIN parts ON parts.pipeline = replaced.pipeline AND parts.table_name = replaced.table_name
                 AND parts.date = replaced.date AND parts.name = replaced.name WHERE replaced.batch = ?1)",
                [batch],
            )?;
            transaction.execute("DELETE FROM replaced WHERE batch = ?1", [batch])?;
            transaction.commit()
        })
    }

    /// Lets parts go: to be called before they are removed from the reports. Their files stay known, so that nothing is scored
    /// again, and the counts of `status` stay. What a crash leaves standing of them is removed at the next start.
    ///
    /// # Errors
    /// [`Kind::Io`].
    pub fn retire_parts(&mut self, parts: &[Part]) -> Result<()> {
        self.run(|connection| {
            let transaction = connection.transaction()?;
            {
                let mut retire =
                    transaction.prepare_cached(&format!("UPDATE parts SET retired = 1 WHERE {SAME_PLACE}"))?;
                for part in parts {
                    retire.execute(params![part.pipeline, part.table.name(), part.date, part.batch])?;
                }
            }
            transaction.commit()
        })
    }

    /// The parts that were let go, in this run or before.
    ///
    /// # Errors
    /// [`Kind::Io`].
    pub fn retired(&mut self) -> Result<Vec<Part>> {
        self.run(|connection| retired(connection))
    }
}

pub(super) fn retired(connection: &Connection) -> rusqlite::Result<Vec<Part>> {
    let mut query = connection.prepare("SELECT name, table_name, pipeline, date, rows FROM parts WHERE retired = 1")?;
    query.query_map([], read_part)?.collect()
}

fn is_committed(transaction: &Transaction<'_>, part: &Part) -> rusqlite::Result<bool> {
    let mut query = transaction.prepare_cached(&format!(
        "SELECT 1 FROM parts JOIN batches ON batches.id = parts.batch
         WHERE {SAME_PLACE} AND batches.committed = 1 AND parts.retired = 0"
    ))?;
    query.exists(params![part.pipeline, part.table.name(), part.date, part.batch])
}
