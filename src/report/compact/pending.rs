//! Rows that wait until they fill a row group.

use polars::prelude::*;

use crate::report::schema::ROW_GROUP;

/// Bytes of a row group: what is held in memory at once. Pictures fill it long before the rows do.
const BYTES: usize = 32 << 20;
/// Small frames that are gathered before they are copied into one: each costs more than its rows.
const YOUNG: usize = 256;

/// Rows in order. Frames of a few rows are copied together early, as ten thousand of them would take gigabytes.
#[derive(Debug, Default)]
pub struct Pending {
    old: Option<DataFrame>,
    young: Vec<DataFrame>,
    rows: usize,
    bytes: usize,
}

impl Pending {
    /// Adds rows behind the others; all have the same columns.
    ///
    /// # Errors
    /// Columns that differ.
    pub fn push(&mut self, frame: DataFrame) -> PolarsResult<()> {
        self.rows += frame.height();
        self.bytes += frame.estimated_size();
        self.young.push(frame);
        if self.young.len() >= YOUNG { self.age() } else { Ok(()) }
    }

    /// A full row group, where there is one.
    ///
    /// # Errors
    /// None that [`Self::push`] would not have had.
    pub fn take_full(&mut self) -> PolarsResult<Option<DataFrame>> {
        if self.rows < ROW_GROUP && self.bytes < BYTES {
            return Ok(None);
        }
        let Some(all) = self.take_rest()? else { return Ok(None) };
        if all.height() <= ROW_GROUP {
            return Ok(Some(all));
        }
        let (group, rest) = all.split_at(ROW_GROUP as i64);
        self.push(rest)?;
        Ok(Some(group))
    }

    /// What is left.
    ///
    /// # Errors
    /// None that [`Self::push`] would not have had.
    pub fn take_rest(&mut self) -> PolarsResult<Option<DataFrame>> {
        self.age()?;
        (self.rows, self.bytes) = (0, 0);
        Ok(self.old.take().filter(|rows| rows.height() > 0))
    }

    fn age(&mut self) -> PolarsResult<()> {
        let mut young = self.young.drain(..);
        let Some(mut all) = young.next() else { return Ok(()) };
        for frame in young {
            all.vstack_mut_owned(frame)?;
        }
        all.rechunk_mut();
        match &mut self.old {
            Some(old) => old.vstack_mut_owned(all).map(drop),
            None => {
                self.old = Some(all);
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(first: usize, count: usize) -> DataFrame {
        let values: Vec<u64> = (first..first + count).map(|value| value as u64).collect();
        DataFrame::new(count, vec![Column::new("n".into(), values)]).unwrap()
    }

    #[test]
    fn rows_come_out_in_order_and_in_groups_that_are_full() {
        let mut pending = Pending::default();
        let (mut groups, mut values) = (Vec::new(), Vec::new());
        let mut note = |group: DataFrame| {
            groups.push(group.height());
            values.extend(group.column("n").unwrap().u64().unwrap().into_no_null_iter());
        };
        let mut first = 0;
        for count in [1, 70_000, 40_000, 250_000].into_iter().chain(std::iter::repeat_n(3, 600)) {
            pending.push(frame(first, count)).unwrap();
            first += count;
            while let Some(group) = pending.take_full().unwrap() {
                note(group);
            }
        }
        pending.take_rest().unwrap().into_iter().for_each(&mut note);
        assert_eq!(groups, [ROW_GROUP, ROW_GROUP, ROW_GROUP, 61_801]);
        assert_eq!(values, (0..361_801).collect::<Vec<u64>>());
        assert!(pending.take_rest().unwrap().is_none());
    }

    #[test]
    fn pictures_fill_a_group_by_their_bytes() {
        let mut pending = Pending::default();
        let rows = |count: usize| {
            let pictures: Vec<Vec<u8>> = (0..count).map(|_| vec![7; 1 << 20]).collect();
            DataFrame::new(count, vec![Column::new("png".into(), pictures)]).unwrap()
        };
        pending.push(rows(20)).unwrap();
        assert!(pending.take_full().unwrap().is_none());
        pending.push(rows(20)).unwrap();
        assert_eq!(pending.take_full().unwrap().unwrap().height(), 40);
        assert!(pending.take_full().unwrap().is_none());
    }
}
