//! SQL over the report tables: each table is one lazily scanned dataset, partitioned by `pipeline` and `date`.
//!
//! ```text
//! <state>/reports/<table>/pipeline=<name>/date=YYYY-MM-DD/part-*.parquet
//! ```
//! Older parts may lack columns that newer ones have (they read as null). A part that cannot be read is left out with a
//! warning, so that one torn file does not hide all the others. A part that is gone is no such part: compaction has put its rows
//! elsewhere meanwhile, so the table is listed again and the query runs again.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use polars::prelude::*;
use polars::sql::SQLContext;
use rayon::prelude::*;
use tracing::warn;

use super::schema::Table;
use crate::error::{Failure, Kind, Result};

/// How often the reports are listed anew because parts have gone meanwhile.
const TRIES: usize = 20;

/// The report tables of one state folder, as they were when it was opened or when parts were last found to be gone.
pub struct Reports {
    context: SQLContext,
    state: PathBuf,
    tables: Vec<Found>,
}

/// A table as it was found.
struct Found {
    name: &'static str,
    schema: Schema,
    parts: Vec<PathBuf>,
}

impl Reports {
    /// Finds the parts of every table under `<state>/reports`.
    ///
    /// # Errors
    /// [`Kind::Io`] when a folder of reports cannot be listed, [`Kind::Internal`] when a scan cannot be set up. A state
    /// folder without reports is no error: its tables are empty.
    pub fn open(state: &Path) -> Result<Self> {
        let mut reports = Self { context: SQLContext::new(), state: state.to_path_buf(), tables: Vec::new() };
        reports.find()?;
        Ok(reports)
    }

    /// Finds the parts of every table anew.
    fn find(&mut self) -> Result<()> {
        self.tables.clear();
        for table in Table::ALL {
            let name = table.name();
            let (parts, mut schema) = standing(&self.state.join("reports").join(name))?;
            // Of older parts alone a query may still ask for what newer ones have.
            for (column, dtype) in table.empty().map_err(internal)?.schema().iter() {
                if !schema.contains(column) {
                    schema.with_column(column.clone(), dtype.clone());
                }
            }
            let rows = if parts.is_empty() { empty(table) } else { scan(&parts, &schema) };
            let mut rows = rows.map_err(internal)?;
            let schema = rows.collect_schema().map_err(internal)?.as_ref().clone();
            self.context.register(name, rows);
            self.tables.push(Found { name, schema, parts });
        }
        Ok(())
    }

    /// Runs one SQL statement and collects its rows.
    ///
    /// # Errors
    /// [`Kind::Usage`] for SQL that is wrong, with the tables and columns there are.
    pub fn query(&mut self, sql: &str) -> Result<DataFrame> {
        let first = sql.split_whitespace().next().unwrap_or_default().to_ascii_uppercase();
        if matches!(first.as_str(), "DROP" | "DELETE" | "TRUNCATE" | "CREATE" | "INSERT" | "UPDATE" | "ALTER") {
            return Err(Failure::new(Kind::Usage, format!("{first} is refused: a query only reads the tables")));
        }
        let sql = with_points(sql);
        for _ in 0..TRIES {
            match self.context.execute(&sql).and_then(LazyFrame::collect) {
                Ok(rows) => return Ok(rows),
                Err(_) if self.is_outdated() => self.find()?,
                Err(error) => {
                    let message = format!("the query failed: {}", plain(&error.to_string()));
                    return Err(Failure::new(Kind::Usage, message).hint(self.describe()));
                }
            }
        }
        Err(restless(&self.state))
    }

    /// Whether a part that was found is gone: a part's name is never used again.
    fn is_outdated(&self) -> bool {
        self.tables.iter().flat_map(|table| &table.parts).any(|part| !part.exists())
    }

    /// Whether anything was ever written to the table.
    pub fn has(&self, table: &str) -> bool {
        self.tables.iter().any(|known| known.name == table && !known.parts.is_empty())
    }

    /// The tables and columns there are, a line each.
    pub fn describe(&self) -> String {
        let line = |table: &Found| {
            let columns: Vec<&str> = table.schema.iter_names().map(PlSmallStr::as_str).collect();
            let note = if table.parts.is_empty() { " (no rows yet)" } else { "" };
            format!("\n  {}{note}: {}", table.name, columns.join(", "))
        };
        format!("tables and their columns:{}", self.tables.iter().map(line).collect::<String>())
    }

    /// Says, where it is so, that a table the statement reads was never written to.
    pub fn note_on(&self, sql: &str) -> Option<String> {
        let named = polars::sql::extract_table_identifiers(sql, false, true).ok()?;
        let unwritten = |name: &&String| self.tables.iter().any(|t| t.name == name.as_str() && t.parts.is_empty());
        let name = named.iter().find(unwritten)?;
        Some(format!("{name} has no rows yet: nothing of the kind was written to {}", self.state.display()))
    }
}

/// Every `part-*.parquet` of a table, in order of its path.
fn list_parts(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut parts = Vec::new();
    if !folder.exists() {
        return Ok(parts);
    }
    for entry in walkdir::WalkDir::new(folder).min_depth(3).max_depth(3).sort_by_file_name() {
        match entry {
            Ok(entry) => {
                let name = entry.file_name().to_string_lossy();
                if name.starts_with("part-") && name.ends_with(".parquet") {
                    parts.push(entry.into_path());
                }
            }
            // A partition may be compacted away while it is listed.
            Err(error) if error.io_error().is_some_and(|error| error.kind() == std::io::ErrorKind::NotFound) => {}
            Err(error) => return Err(Failure::io(folder, error)),
        }
    }
    Ok(parts)
}

/// The parts that stand, and all their columns.
fn standing(folder: &Path) -> Result<(Vec<PathBuf>, Schema)> {
    for _ in 0..TRIES {
        if let Some(found) = readable(list_parts(folder)?) {
            return Ok(found);
        }
    }
    Err(restless(folder))
}

fn restless(folder: &Path) -> Failure {
    Failure::new(Kind::Io, format!("{}: parts go faster than they can be read", folder.display()))
        .hint("run the query again")
}

/// The parts whose footer can be read, and all their columns (the newest part's type wins); `None` where one is gone.
fn readable(parts: Vec<PathBuf>) -> Option<(Vec<PathBuf>, Schema)> {
    let footers: Vec<_> = parts.into_par_iter().map(|part| (footer(&part), part)).collect();
    let (mut kept, mut union) = (Vec::new(), Schema::default());
    for (schema, part) in footers {
        match schema {
            Ok(schema) => {
                for (name, dtype) in schema.iter() {
                    union.with_column(name.clone(), dtype.clone());
                }
                kept.push(part);
            }
            Err(_) if !part.exists() => return None,
            Err(error) => warn!(path = %part.display(), %error, "left out a part that cannot be read"),
        }
    }
    Some((kept, union))
}

fn footer(part: &Path) -> PolarsResult<Schema> {
    let arrow = ParquetReader::new(File::open(part)?).schema()?;
    Ok(Schema::from_arrow_schema(&arrow))
}

fn scan(parts: &[PathBuf], schema: &Schema) -> PolarsResult<LazyFrame> {
    let paths = parts.iter().map(|part| PlRefPath::try_from_path(part)).collect::<PolarsResult<Vec<_>>>()?;
    let args = ScanArgsParquet {
        schema: Some(Arc::new(schema.clone())),
        allow_missing_columns: true,
        glob: false,
        cache: false,
        hive_options: HiveOptions {
            enabled: Some(true),
            hive_start_idx: 0,
            schema: Some(Arc::new(partitions(&parts[0]))),
            try_parse_dates: true,
        },
        ..ScanArgsParquet::default()
    };
    LazyFrame::scan_parquet_files(paths.into(), args)
}

/// The partition columns as the path has them: `pipeline`, `date`, and any `key=value` folder the state lies in.
fn partitions(part: &Path) -> Schema {
    let keys = part.iter().filter_map(|folder| folder.to_str()?.split_once('=').map(|(key, _)| key.to_string()));
    keys.map(|key| {
        let dtype = if key == "date" { DataType::Date } else { DataType::String };
        Field::new(key.into(), dtype)
    })
    .collect()
}

/// A table that was never written to: every column, no rows.
fn empty(table: Table) -> PolarsResult<LazyFrame> {
    let mut rows = table.empty()?;
    rows.with_column(Column::new_empty("pipeline".into(), &DataType::String))?;
    rows.with_column(Column::new_empty("date".into(), &DataType::Date))?;
    Ok(rows.lazy())
}

/// Numbers such as `1e-3` as `1.0e-3`: the parser takes a number without a point for a whole one and refuses the exponent.
/// Quoted text stays as it is.
fn with_points(sql: &str) -> String {
    let letters: Vec<char> = sql.chars().collect();
    let mut text = String::with_capacity(sql.len() + 8);
    let (mut quote, mut whole) = (None, false);
    for (at, &letter) in letters.iter().enumerate() {
        let before = at.checked_sub(1).map(|before| letters[before]);
        let after = |steps: usize| letters.get(at + steps).is_some_and(char::is_ascii_digit);
        match quote {
            Some(open) if open == letter => quote = None,
            None if matches!(letter, '\'' | '"' | '`') => quote = Some(letter),
            _ => {}
        }
        let signed = matches!(letters.get(at + 1), Some('+' | '-'));
        if quote.is_none() && whole && matches!(letter, 'e' | 'E') && (after(1) || signed && after(2)) {
            text.push_str(".0");
        }
        // A whole number: digits that do not follow a letter, a point or an underscore.
        whole = letter.is_ascii_digit()
            && (whole || !before.is_some_and(|before| before.is_alphanumeric() || matches!(before, '.' | '_')));
        text.push(letter);
    }
    text
}

/// A polars message without the plan that follows it, and without the list of columns that the hint gives for every table.
fn plain(message: &str) -> String {
    let message = message.split("\n\nResolved plan").next().unwrap_or(message).trim();
    match message.split_once("; valid columns: [") {
        Some((message, rest)) => format!("{message}{}", rest.split_once(']').map_or("", |(_, rest)| rest)),
        None => message.to_string(),
    }
}

fn internal(error: PolarsError) -> Failure {
    Failure::new(Kind::Internal, format!("cannot scan the report tables: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_that_is_gone_is_looked_for_again_and_a_damaged_one_is_left_out() {
        let folder = tempfile::tempdir().unwrap();
        let [torn, gone] = ["part-1.parquet", "part-2.parquet"].map(|name| folder.path().join(name));
        std::fs::write(&torn, b"PAR1 torn").unwrap();
        assert!(readable(vec![torn.clone()]).unwrap().0.is_empty());
        assert!(readable(vec![torn, gone]).is_none());
    }

    #[test]
    fn exponents_get_a_point_and_names_and_text_do_not() {
        let cases = [
            ("p_value < 1e-3", "p_value < 1.0e-3"),
            ("x > 25E6 OR x=-3e+2", "x > 25.0E6 OR x=-3.0e+2"),
            ("1.5e3 + .5e3", "1.5e3 + .5e3"),
            ("source = '1e5' AND \"2e3\" = a1e5 + t_1e5", "source = '1e5' AND \"2e3\" = a1e5 + t_1e5"),
        ];
        for (given, wanted) in cases {
            assert_eq!(with_points(given), wanted);
        }
    }
}
