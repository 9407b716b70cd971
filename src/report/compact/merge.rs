//! Many parts become few: row group by row group, so that memory is bounded by a row group and not by the day.

use std::fs::File;
use std::io::BufWriter;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use polars::io::parquet::write::BatchedWriter;
use polars::prelude::*;

use super::Halt;
use super::columns::{Union, align};
use super::pending::Pending;
use crate::disk::Trouble;

/// Bytes written at once: page headers come in crumbs.
const BUFFER: usize = 1 << 18;

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

/// What has become of some parts.
#[derive(Debug)]
pub struct Merged {
    /// Rows of each part that was merged.
    pub rows: Vec<usize>,
    /// What holds them now.
    pub outputs: Vec<Output>,
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
    /// is never retried, unless the disk is full; what `breath` says.
    pub fn run(&self, breath: &mut dyn FnMut() -> Result<(), Halt>) -> Result<Merged, Halt> {
        let union = Union::of(self.parts)?;
        let mut outlet = Outlet { merge: self, union: &union, open: None, done: Vec::new() };
        let mut pending = Pending::default();
        for part in self.parts {
            let fail = |error: PolarsError| Halt::later(part, &error);
            for group in Groups::of(part).map_err(fail)? {
                breath()?;
                pending.push(align(&group.map_err(fail)?, &union.schema).map_err(fail)?).map_err(fail)?;
                while let Some(group) = pending.take_full().map_err(fail)? {
                    outlet.write(group)?;
                }
            }
        }
        if let Some(group) = pending.take_rest().map_err(|error| Halt::later(self.folder, &error))? {
            outlet.write(group)?;
        }
        let outputs = outlet.finish()?;
        Ok(Merged { rows: union.rows, outputs })
    }
}

/// The row groups of a part, one after the other. A reader is shown one group at a time: one that is told to skip those before it
/// would look into each of them.
struct Groups {
    file: File,
    footer: Arc<FileMetadata>,
    /// The footer without its groups.
    bare: FileMetadata,
    next: usize,
}

impl Groups {
    fn of(part: &Path) -> PolarsResult<Self> {
        let file = File::open(part)?;
        let footer = ParquetReader::new(file.try_clone()?).get_metadata()?.clone();
        let bare = FileMetadata { row_groups: Vec::new(), key_value_metadata: None, ..FileMetadata::clone(&footer) };
        Ok(Self { file, footer, bare, next: 0 })
    }
}

impl Iterator for Groups {
    type Item = PolarsResult<DataFrame>;

    fn next(&mut self) -> Option<Self::Item> {
        let group = self.footer.row_groups.get(self.next)?.clone();
        self.next += 1;
        let footer = FileMetadata { num_rows: group.num_rows(), row_groups: vec![group], ..self.bare.clone() };
        Some(self.file.try_clone().map_err(PolarsError::from).and_then(|file| {
            let mut reader = ParquetReader::new(file).read_parallel(ParallelStrategy::None);
            reader.set_metadata(Arc::new(footer));
            reader.finish()
        }))
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
    /// Flushed when it is finished: no error hides in the buffer.
    writer: BatchedWriter<BufWriter<File>>,
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
        let open = || -> PolarsResult<(BatchedWriter<BufWriter<File>>, File)> {
            let file = File::create_new(&path)?;
            let writer = ParquetWriter::new(BufWriter::with_capacity(BUFFER, file.try_clone()?))
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
        file.sync_all().map_err(|error| Halt::in_staging(Trouble::io(&path, &error)))?;
        self.done.push(Output { batch, rows, bytes });
        Ok(())
    }

    /// The outputs, if they hold every row.
    fn finish(mut self) -> Result<Vec<Output>, Halt> {
        self.close()?;
        let rows: usize = self.done.iter().map(|output| output.rows).sum();
        let wanted: usize = self.union.rows.iter().sum();
        if rows != wanted {
            let folder = self.merge.folder.display();
            return Err(Halt::Later(format!("{folder}: {rows} rows, not {wanted} as in the parts")));
        }
        Ok(self.done)
    }
}

#[cfg(test)]
#[path = "merge_tests.rs"]
mod tests;
