//! What was put into a frame, and the table that says so.

use std::fs::File;
use std::path::Path;

use polars::prelude::{Column, DataFrame, ParquetWriter};

use super::kind::Kind;
use crate::draw::canvas::Picture;
use crate::draw::png::png8;
use crate::error::{Failure, Kind as Fault, Result};

/// The columns of the table: the frame's path below the table's folder, what is wrong with it, where, and how much.
pub const COLUMNS: [&str; 8] = ["file", "kind", "x", "y", "width", "height", "strength", "seed"];

/// A box of pixels; the first row of the file is y = 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Region {
    /// First column.
    pub x: usize,
    /// First row.
    pub y: usize,
    /// Columns.
    pub width: usize,
    /// Rows.
    pub height: usize,
}

/// What was put into a frame.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Truth {
    /// What is wrong.
    pub kind: Kind,
    /// Where.
    pub region: Region,
    /// How much, in the kind's own measure (see [`Kind`]).
    pub strength: f64,
}

/// One row of the truth table.
#[derive(Debug, Clone)]
pub struct Row {
    /// Path of the frame, relative to the table's folder.
    pub file: String,
    /// What was put in.
    pub truth: Option<Truth>,
    /// Seed of the sequence.
    pub seed: u64,
}

impl Region {
    /// The whole of a frame.
    pub fn whole(size: usize) -> Self {
        Self { x: 0, y: 0, width: size, height: size }
    }

    /// The smallest box around the pixels for which `changed(index)` holds; none where there are none.
    pub fn around(size: usize, changed: impl Fn(usize) -> bool) -> Option<Self> {
        let (mut x0, mut y0, mut x1, mut y1) = (size, size, 0, 0);
        for index in (0..size * size).filter(|&index| changed(index)) {
            let (x, y) = (index % size, index / size);
            (x0, y0, x1, y1) = (x0.min(x), y0.min(y), x1.max(x + 1), y1.max(y + 1));
        }
        (x1 > x0).then(|| Self { x: x0, y: y0, width: x1 - x0, height: y1 - y0 })
    }

    /// Whether the pixel lies in the box.
    pub fn contains(&self, x: usize, y: usize) -> bool {
        (self.x..self.x + self.width).contains(&x) && (self.y..self.y + self.height).contains(&y)
    }
}

/// A mask as a grey PNG: white where it holds.
pub fn mask_png(mask: &[bool], size: usize) -> Vec<u8> {
    let rgb = mask.iter().flat_map(|&holds| [if holds { u8::MAX } else { 0 }; 3]).collect();
    png8(&Picture { width: size, height: size, rgb })
}

/// Writes the truth table as Parquet.
///
/// # Errors
/// When the file cannot be written.
pub fn write_parquet(rows: &[Row], path: &Path) -> Result<()> {
    let internal = |error| Failure::new(Fault::Internal, format!("{}: {error}", path.display()));
    let mut frame = DataFrame::new(rows.len(), columns(rows)).map_err(internal)?;
    let file = File::create(path).map_err(|error| Failure::io(path, error))?;
    ParquetWriter::new(file).finish(&mut frame).map_err(|error| Failure::io(path, error))?;
    Ok(())
}

/// Writes the truth table as CSV.
///
/// # Errors
/// When the file cannot be written.
pub fn write_csv(rows: &[Row], path: &Path) -> Result<()> {
    let mut writer = csv::Writer::from_path(path).map_err(|error| Failure::io(path, error))?;
    let mut write = || -> csv::Result<()> {
        writer.write_record(COLUMNS)?;
        for row in rows {
            let number = |value: Option<usize>| value.map_or(String::new(), |v| v.to_string());
            let region = row.truth.map(|truth| truth.region);
            writer.write_record([
                row.file.clone(),
                kind_of(row).to_owned(),
                number(region.map(|r| r.x)),
                number(region.map(|r| r.y)),
                number(region.map(|r| r.width)),
                number(region.map(|r| r.height)),
                row.truth.map_or(String::new(), |truth| format!("{:.4}", truth.strength)),
                row.seed.to_string(),
            ])?;
        }
        Ok(writer.flush()?)
    };
    write().map_err(|error| Failure::io(path, error))
}

/// The columns of the table; box and strength are null for a normal frame.
fn columns(rows: &[Row]) -> Vec<Column> {
    let region = |pick: fn(&Region) -> usize| -> Vec<Option<u32>> {
        rows.iter().map(|row| row.truth.map(|truth| pick(&truth.region) as u32)).collect()
    };
    vec![
        Column::new("file".into(), rows.iter().map(|row| row.file.as_str()).collect::<Vec<_>>()),
        Column::new("kind".into(), rows.iter().map(kind_of).collect::<Vec<_>>()),
        Column::new("x".into(), region(|r| r.x)),
        Column::new("y".into(), region(|r| r.y)),
        Column::new("width".into(), region(|r| r.width)),
        Column::new("height".into(), region(|r| r.height)),
        Column::new("strength".into(), rows.iter().map(|row| row.truth.map(|t| t.strength)).collect::<Vec<_>>()),
        Column::new("seed".into(), rows.iter().map(|row| row.seed).collect::<Vec<_>>()),
    ]
}

/// The word for the frame's kind.
fn kind_of(row: &Row) -> &'static str {
    row.truth.map_or("normal", |truth| truth.kind.as_str())
}
