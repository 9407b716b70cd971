//! Many parts become few: row group by row group, so that memory is bounded by a row group and not by the day.

use std::fs::File;
use std::path::{Path, PathBuf};

use polars::io::parquet::write::BatchedWriter;
use polars::prelude::*;

use super::Halt;
use super::columns::{Union, align};
use super::pending::Pending;

/// Parts to be merged.
#[derive(Debug)]
pub struct Merge<'a> {
    /// The parts, in order.
    pub parts: &'a [PathBuf],
    /// Where the outputs go; nothing else writes there.
    pub folder: &'a Path,
    /// Names of the outputs' batches begin with this.
    pub name: &'a str,
    /// Bytes at which an output is closed and the next one begun.
    pub full: u64,
}

/// A part made of others; synced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// Name of its batch.
    pub batch: String,
    /// Its rows.
    pub rows: usize,
    /// Its size.
    pub bytes: u64,
}

impl Merge<'_> {
    /// Writes the outputs. `breath` is called between row groups and may end the work.
    ///
    /// # Errors
    /// [`Halt::Later`] for a part that cannot be read and an output that cannot be written; [`Halt::Failed`] for a failed fsync, which
    /// is never retried; what `breath` says.
    pub fn run(&self, breath: &mut dyn FnMut() -> Result<(), Halt>) -> Result<Vec<Output>, Halt> {
        let union = Union::of(self.parts)?;
        let mut outlet = Outlet { merge: self, union: &union, open: None, done: Vec::new() };
        let mut pending = Pending::default();
        for part in self.parts {
            let fail = |error: PolarsError| Halt::later(part, &error);
            let file = File::open(part).map_err(|error| Halt::later(part, &error))?;
            let mut reader = ParquetReader::new(file.try_clone().map_err(|error| Halt::later(part, &error))?);
            let footer = reader.get_metadata().map_err(fail)?.clone();
            let mut first = 0;
            for group in &footer.row_groups {
                breath()?;
                let rows = group.num_rows();
                let copy = file.try_clone().map_err(|error| Halt::later(part, &error))?;
                let mut reader = ParquetReader::new(copy).read_parallel(ParallelStrategy::None);
                reader.set_metadata(footer.clone());
                let frame = reader.with_slice(Some((first, rows))).finish().map_err(fail)?;
                pending.push(align(&frame, &union.schema).map_err(fail)?).map_err(fail)?;
                first += rows;
                while let Some(group) = pending.take_full().map_err(fail)? {
                    outlet.write(group)?;
                }
            }
        }
        if let Some(group) = pending.take_rest().map_err(|error| Halt::later(self.folder, &error))? {
            outlet.write(group)?;
        }
        outlet.finish()
    }
}

/// Where row groups go.
struct Outlet<'a> {
    merge: &'a Merge<'a>,
    union: &'a Union,
    open: Option<Open>,
    done: Vec<Output>,
}

/// An output that is being written.
struct Open {
    path: PathBuf,
    batch: String,
    /// Unbuffered: pages are written whole, and no error hides in a buffer.
    writer: BatchedWriter<File>,
    file: File,
    rows: usize,
}

impl Outlet<'_> {
    fn write(&mut self, mut group: DataFrame) -> Result<(), Halt> {
        let mut open = match self.open.take() {
            Some(open) => open,
            None => self.begin()?,
        };
        if group.schema().contains("score") {
            let order = SortMultipleOptions::default().with_order_descending(true).with_nulls_last(true);
            let order = order.with_maintain_order(true).with_multithreaded(false);
            group = group.sort(["score"], order).map_err(|error| Halt::later(&open.path, &error))?;
        }
        group.rechunk_mut();
        open.writer.write_batch(&group).map_err(|error| Halt::later(&open.path, &error))?;
        open.rows += group.height();
        let bytes = open.file.metadata().map_err(|error| Halt::later(&open.path, &error))?.len();
        self.open = Some(open);
        if bytes >= self.merge.full {
            self.close()?;
        }
        Ok(())
    }

    fn begin(&self) -> Result<Open, Halt> {
        let batch = format!("{}-{}", self.merge.name, self.done.len() + 1);
        let path = self.merge.folder.join(format!("part-{batch}.parquet"));
        let open = || -> PolarsResult<(BatchedWriter<File>, File)> {
            let file = File::create_new(&path)?;
            let writer = ParquetWriter::new(file.try_clone()?)
                .with_compression(ParquetCompression::Zstd(None))
                .set_parallel(false)
                .with_key_value_metadata(Some(KeyValueMetadata::from_static(self.union.key_values())))
                .batched(&self.union.schema)?;
            Ok((writer, file))
        };
        let (writer, file) = open().map_err(|error| Halt::later(&path, &error))?;
        Ok(Open { path, batch, writer, file, rows: 0 })
    }

    /// Ends an output, reads its footer back and syncs it.
    fn close(&mut self) -> Result<(), Halt> {
        let Some(Open { path, batch, writer, file, rows }) = self.open.take() else { return Ok(()) };
        let bytes = writer.finish().map_err(|error| Halt::later(&path, &error))?;
        let found = File::open(&path).map_err(PolarsError::from).and_then(|file| ParquetReader::new(file).num_rows());
        let found = found.map_err(|error| Halt::later(&path, &error))?;
        if found != rows {
            return Err(Halt::Later(format!("{}: {found} rows, not {rows}", path.display())));
        }
        file.sync_all().map_err(|error| Halt::failed(&path, &error))?;
        self.done.push(Output { batch, rows, bytes });
        Ok(())
    }

    /// The outputs, if they hold every row.
    fn finish(mut self) -> Result<Vec<Output>, Halt> {
        self.close()?;
        let rows: usize = self.done.iter().map(|output| output.rows).sum();
        if rows != self.union.rows {
            let folder = self.merge.folder.display();
            return Err(Halt::Later(format!("{folder}: {rows} rows, not {} as in the parts", self.union.rows)));
        }
        Ok(self.done)
    }
}

#[cfg(test)]
#[path = "merge_tests.rs"]
mod tests;
