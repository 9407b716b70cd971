//! `anomalyd query`: SQL over the report tables, as a table for people or as JSON, CSV or Parquet for programs.

use std::fs::File;
use std::io::{BufWriter, IsTerminal, Write};
use std::path::{Path, PathBuf};

use polars::prelude::{DataFrame, ParquetWriter};

use super::cells;
use super::output::Output;
use crate::error::{Failure, Kind, Result};
use crate::report::query::Reports;
use crate::settings::Settings;

/// Rows a table shows.
const ROWS: usize = 50;

/// Arguments of `query`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// SQL over scores, anomalies, denoised, rejected and duplicates; each also has the columns pipeline and date. Without it, the
    /// tables and their columns are listed.
    pub sql: Option<String>,
    /// Form of the rows.
    #[arg(long, value_enum, default_value_t = Format::Table)]
    pub format: Format,
    /// File to write instead of stdout.
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
}

/// Form of the rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// Columns for people; the first 50 rows, pictures by their size.
    Table,
    /// An array of objects; times in ISO 8601 (UTC), pictures in Base64.
    Json,
    /// A header and a line a row; times in ISO 8601 (UTC), pictures in Base64.
    Csv,
    /// A Parquet file (zstd); everything as it is.
    Parquet,
}

/// Runs `query`.
///
/// # Errors
/// [`Kind::Usage`] for wrong SQL or Parquet to a terminal, [`Kind::Io`].
pub fn run(args: &Args, settings: &Settings) -> Result<()> {
    let mut reports = Reports::open(&settings.state)?;
    let Some(sql) = &args.sql else {
        sayln!("{}", reports.describe());
        return Ok(());
    };
    if args.format == Format::Parquet && args.out.is_none() && std::io::stdout().is_terminal() {
        return Err(
            Failure::new(Kind::Usage, "Parquet is not for a terminal").hint("give --out FILE, or redirect stdout")
        );
    }
    let rows = reports.query(sql)?;
    if let Some(note) = reports.note_on(sql) {
        eprintln!("note: {note}");
    }
    match &args.out {
        None => write(rows, args.format, &mut Output)
            .and_then(|()| Output.flush())
            .map_err(|error| Failure::io(Path::new("stdout"), error)),
        Some(path) => {
            let file = File::create(path).map_err(|error| Failure::io(path, error))?;
            let mut file = BufWriter::new(file);
            write(rows, args.format, &mut file).and_then(|()| file.flush()).map_err(|error| Failure::io(path, error))
        }
    }
}

/// Writes rows in a format.
///
/// # Errors
/// Whatever the sink fails with.
pub fn write(mut rows: DataFrame, format: Format, sink: &mut impl Write) -> std::io::Result<()> {
    match format {
        Format::Table => write!(sink, "{}", table(&rows, ROWS)),
        Format::Json => json(&rows, sink),
        Format::Csv => csv(&rows, sink),
        Format::Parquet => {
            // The writer needs a place of its own: it closes what it is given.
            let mut bytes = Vec::new();
            ParquetWriter::new(&mut bytes).finish(&mut rows).map_err(std::io::Error::other)?;
            sink.write_all(&bytes)
        }
    }
}

/// Rows as columns of text: names, a line, at most `most` rows, and how many there are in all.
pub fn table(rows: &DataFrame, most: usize) -> String {
    let shown = rows.height().min(most);
    let columns: Vec<Vec<String>> = rows
        .columns()
        .iter()
        .map(|column| {
            let cells = (0..shown).map(|row| column.get(row).map_or(String::new(), |value| cells::text(&value)));
            std::iter::once(column.name().to_string()).chain(cells).collect()
        })
        .collect();
    let widths: Vec<usize> =
        columns.iter().map(|column| column.iter().map(|c| c.chars().count()).max().unwrap_or(0)).collect();
    let right: Vec<bool> = rows.columns().iter().map(|column| column.dtype().is_primitive_numeric()).collect();
    let mut text = String::new();
    for row in 0..=shown {
        let line: Vec<String> = (0..columns.len())
            .map(|at| {
                let (cell, width) = (&columns[at][row], widths[at]);
                if right[at] { format!("{cell:>width$}") } else { format!("{cell:<width$}") }
            })
            .collect();
        text.push_str(line.join("  ").trim_end());
        text.push('\n');
        if row == 0 {
            text.push_str(&widths.iter().map(|width| "─".repeat(*width)).collect::<Vec<_>>().join("  "));
            text.push('\n');
        }
    }
    let count = rows.height();
    text.push_str(&match count - shown {
        0 => format!("{count} row{}\n", if count == 1 { "" } else { "s" }),
        more => format!("… {more} more rows ({count} in all), use --format csv\n"),
    });
    text
}

fn json(rows: &DataFrame, sink: &mut impl Write) -> std::io::Result<()> {
    for row in 0..rows.height() {
        write!(sink, "{}", if row == 0 { "[\n" } else { ",\n" })?;
        let mut object = serde_json::Map::new();
        for column in rows.columns() {
            let value = column.get(row).map_err(std::io::Error::other)?;
            object.insert(column.name().to_string(), cells::json(&value));
        }
        serde_json::to_writer(&mut *sink, &object)?;
    }
    writeln!(sink, "{}", if rows.height() == 0 { "[]" } else { "\n]" })
}

fn csv(rows: &DataFrame, sink: &mut impl Write) -> std::io::Result<()> {
    let mut writer = csv::Writer::from_writer(sink);
    writer.write_record(rows.get_column_names().iter().map(|name| name.as_str()))?;
    for row in 0..rows.height() {
        for column in rows.columns() {
            let value = column.get(row).map_err(std::io::Error::other)?;
            writer.write_field(cells::plain(&value))?;
        }
        writer.write_record(None::<&[u8]>)?;
    }
    writer.flush()
}
