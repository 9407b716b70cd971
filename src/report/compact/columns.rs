//! What parts of different ages have in common: the union of their columns, and their footers' words.

use std::fs::File;
use std::path::PathBuf;

use polars::prelude::*;

use super::Halt;
use crate::report::schema::VERSION_KEY;

/// In a footer: names of the batches that were merged, separated by spaces.
pub const MERGED: &str = "anomalyd.merged";

/// All columns of some parts.
#[derive(Debug, Default)]
pub struct Union {
    /// The newest part's columns, then those that only older ones have; the newest type wins.
    pub schema: Schema,
    /// Rows of each part, in their order.
    pub rows: Vec<usize>,
    version: u32,
    merged: Vec<String>,
}

impl Union {
    /// Reads the footers.
    ///
    /// # Errors
    /// [`Halt::Later`] naming a part that cannot be read.
    pub fn of(parts: &[PathBuf]) -> Result<Self, Halt> {
        let mut union = Self::default();
        for part in parts.iter().rev() {
            let file = File::open(part).map_err(|error| Halt::later(part, &error))?;
            let name = part.file_stem().unwrap_or_default().to_string_lossy();
            union.add(name.strip_prefix("part-").unwrap_or(&name), file).map_err(|error| Halt::later(part, &error))?;
        }
        union.rows.reverse();
        union.merged.sort();
        union.merged.dedup();
        Ok(union)
    }

    fn add(&mut self, name: &str, file: File) -> PolarsResult<()> {
        let mut reader = ParquetReader::new(file);
        let schema = Schema::from_arrow_schema(reader.schema()?.as_ref());
        let footer = reader.get_metadata()?;
        self.rows.push(footer.num_rows);
        let value = |key: &str| {
            let pairs = footer.key_value_metadata().as_deref().unwrap_or_default();
            pairs.iter().find(|pair| pair.key == key).and_then(|pair| pair.value.as_deref())
        };
        let version = value(VERSION_KEY).and_then(|text| text.parse().ok()).unwrap_or(0);
        self.version = self.version.max(version);
        // A part that was merged itself stands for those it was made of.
        match value(MERGED) {
            Some(names) => self.merged.extend(names.split_whitespace().map(ToString::to_string)),
            None => self.merged.push(name.to_string()),
        }
        for (name, dtype) in schema.iter() {
            if !self.schema.contains(name) {
                self.schema.with_column(name.clone(), dtype.clone());
            }
        }
        Ok(())
    }

    /// What the footer of a part with these columns says.
    pub fn key_values(&self) -> Vec<(String, String)> {
        vec![(VERSION_KEY.into(), self.version.to_string()), (MERGED.into(), self.merged.join(" "))]
    }
}

/// Rows with exactly these columns: null where they had none, cast where the type has changed.
///
/// # Errors
/// A value that does not fit its column's newer type.
pub fn align(rows: &DataFrame, schema: &Schema) -> PolarsResult<DataFrame> {
    let column = |name: &PlSmallStr, dtype: &DataType| match rows.column(name) {
        Ok(column) if column.dtype() == dtype => Ok(column.clone()),
        Ok(column) => column.strict_cast(dtype),
        Err(_) => Ok(Column::full_null(name.clone(), rows.height(), dtype)),
    };
    let columns = schema.iter().map(|(name, dtype)| column(name, dtype)).collect::<PolarsResult<Vec<_>>>()?;
    DataFrame::new(rows.height(), columns)
}
