//! One file of the report tables: where it goes, and what its place says of it.

use std::path::{Path, PathBuf};

use super::schema::Table;

/// One file of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// Its table.
    pub table: Table,
    /// Its pipeline.
    pub pipeline: String,
    /// UTC date of the batch, `YYYY-MM-DD`.
    pub date: String,
    /// Name of the batch.
    pub batch: String,
    /// Rows in it.
    pub rows: usize,
}

impl Part {
    /// Where it goes, below `reports`.
    pub fn place(&self) -> PathBuf {
        Path::new(self.table.name())
            .join(format!("pipeline={}", self.pipeline))
            .join(format!("date={}", self.date))
            .join(format!("part-{}.parquet", self.batch))
    }

    /// The part that goes to a place below `reports`, its rows unknown; `None` where no part does.
    pub fn at(place: &Path) -> Option<Self> {
        let mut names = place.iter().map(|name| name.to_str());
        let mut next = || names.next().flatten();
        let table = Table::from_name(next()?)?;
        let (pipeline, date) = (next()?.strip_prefix("pipeline=")?, next()?.strip_prefix("date=")?);
        let batch = next()?.strip_prefix("part-")?.strip_suffix(".parquet")?;
        let part = Self { table, pipeline: pipeline.into(), date: date.into(), batch: batch.into(), rows: 0 };
        (part.place() == place).then_some(part)
    }

    /// Its name while it is being written.
    pub(super) fn staged(&self) -> String {
        format!("{}.{}.{}.parquet", self.batch, self.table.name(), self.pipeline)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_tells_its_part_and_other_files_are_none() {
        let place = Path::new("scores/pipeline=a.b/date=2026-01-02/part-7.parquet");
        let part = Part::at(place).unwrap();
        assert_eq!((part.table, &*part.pipeline, &*part.date, &*part.batch), (Table::Scores, "a.b", "2026-01-02", "7"));
        assert_eq!(part.place(), place);
        for other in
            ["scores/part-7.parquet", "x/pipeline=a/date=d/part-7.parquet", "scores/pipeline=a/date=d/7.parquet"]
        {
            assert_eq!(Part::at(Path::new(other)), None, "{other}");
        }
    }
}
