//! Rows of the reports, as far as the ledger can be made of them.

use std::collections::HashMap;
use std::fs::File;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use polars::prelude::*;

use crate::error::{Failure, Kind, Result};
use crate::report::names::source_path;
use crate::report::schema::Table;
use crate::report::writer::Part;

/// A row of `scores`, `rejected` or `duplicates`.
#[derive(Debug)]
pub(super) struct Row {
    /// The file's name, bytes.
    pub path: Vec<u8>,
    /// Of `duplicates`: the name its content was scored under; else empty.
    pub first: Vec<u8>,
    /// BLAKE3 of the content, where it could be read.
    pub digest: Option<Vec<u8>>,
    /// The frame; `None` for the whole file.
    pub frame: Option<u32>,
    /// Bytes of the file; 0 in parts of the first schema.
    pub size: u64,
    /// Its modification, microseconds since 1970; 0 in parts of the first schema.
    pub mtime_us: i64,
    /// Version, model and calibration; `None` for rejections of the first schema.
    pub judge: Option<[String; 3]>,
}

const COLUMNS: [&str; 9] = [
    "source",
    "first_source",
    "file_digest",
    "frame_index",
    "file_size",
    "file_modified_at",
    "model_version",
    "model_digest",
    "calibration_digest",
];

/// Goes through the rows of a part; those of other tables say nothing.
///
/// # Errors
/// [`Kind::Io`] naming the part where it cannot be read; what `each` fails with.
pub(super) fn rows_of(part: &Part, place: &Path, each: &mut dyn FnMut(Row) -> Result<()>) -> Result<()> {
    if !matches!(part.table, Table::Scores | Table::Rejected | Table::Duplicates) {
        return Ok(());
    }
    let fail = |error: &dyn std::fmt::Display| {
        Failure::new(Kind::Io, format!("{}: {error}", place.display()))
            .hint("move this part out of the reports and try again: its files are then read and scored anew")
    };
    let frame = read(place).map_err(|error| fail(&error))?;
    let columns = Columns::new(&frame).map_err(|error| fail(&error))?;
    for at in 0..frame.height() {
        let row = columns.row(at).ok_or_else(|| fail(&format!("row {at} names no file, or has no digest of one")))?;
        each(row)?;
    }
    Ok(())
}

/// Those of the columns that the part has.
fn read(place: &Path) -> PolarsResult<DataFrame> {
    let schema = ParquetReader::new(File::open(place)?).schema()?;
    let has = |name: &&str| schema.contains(name);
    let wanted = COLUMNS.iter().filter(|name| has(name)).map(ToString::to_string).collect();
    ParquetReader::new(File::open(place)?).with_columns(Some(wanted)).finish()
}

struct Columns<'a> {
    texts: Texts<'a>,
    frame: Option<&'a UInt32Chunked>,
    size: Option<&'a UInt64Chunked>,
    modified: Option<Int64Chunked>,
}

type Texts<'a> = HashMap<&'static str, &'a StringChunked>;

impl<'a> Columns<'a> {
    fn new(frame: &'a DataFrame) -> PolarsResult<Self> {
        let find = |name: &str| frame.column(name).ok();
        let mut texts = Texts::new();
        for name in ["source", "first_source", "file_digest", "model_version", "model_digest", "calibration_digest"] {
            if let Some(column) = find(name) {
                texts.insert(name, column.str()?);
            }
        }
        let modified = find("file_modified_at").map(|column| column.cast(&DataType::Int64)).transpose()?;
        Ok(Self {
            texts,
            frame: find("frame_index").map(|column| column.u32()).transpose()?,
            size: find("file_size").map(|column| column.u64()).transpose()?,
            modified: modified.map(|column| column.i64().cloned()).transpose()?,
        })
    }

    fn text(&self, name: &str, at: usize) -> Option<&str> {
        self.texts.get(name).and_then(|texts| texts.get(at))
    }

    /// `None` for what the service does not write.
    fn row(&self, at: usize) -> Option<Row> {
        let path = |name| Some(source_path(self.text(name, at)?)?.as_os_str().as_bytes().to_vec());
        let digest = match self.text("file_digest", at) {
            Some(hex) => Some(blake3::Hash::from_hex(hex).ok()?.as_bytes().to_vec()),
            None => None,
        };
        let judge = ["model_version", "model_digest", "calibration_digest"].map(|name| self.text(name, at));
        Some(Row {
            path: path("source")?,
            first: if self.texts.contains_key("first_source") { path("first_source")? } else { Vec::new() },
            digest,
            frame: self.frame.and_then(|frames| frames.get(at)),
            size: self.size.and_then(|sizes| sizes.get(at)).unwrap_or(0),
            mtime_us: self.modified.as_ref().and_then(|times| times.get(at)).unwrap_or(0),
            judge: match judge {
                [Some(version), Some(model), Some(calibration)] => Some([version, model, calibration].map(Into::into)),
                _ => None,
            },
        })
    }
}
