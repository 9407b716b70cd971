//! The report tables: their rows and columns. A new column may come, no column ever leaves or changes its meaning.

use std::path::Path;

use chrono::{DateTime, Utc};
use polars::prelude::*;

pub use super::rows::{AnomalyExtra, DenoisedRow, RejectedRow, ScoreRow};
use crate::components::Component;
use crate::draw::png::Png16;
use crate::score::{FlaggedTile, Identity};

/// Version of the columns below; stands in every file's footer as `anomalyd.schema_version`.
pub const SCHEMA_VERSION: u32 = 1;

/// One report table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Table {
    /// A row a frame scored.
    Scores,
    /// A row a frame flagged, with its pictures.
    Anomalies,
    /// A row a denoised image kept.
    Denoised,
    /// A row a file or frame that could not be scored.
    Rejected,
}

impl Table {
    /// Every table.
    pub const ALL: [Self; 4] = [Self::Scores, Self::Anomalies, Self::Denoised, Self::Rejected];

    /// Its name, as folder and in queries.
    pub fn name(self) -> &'static str {
        match self {
            Self::Scores => "scores",
            Self::Anomalies => "anomalies",
            Self::Denoised => "denoised",
            Self::Rejected => "rejected",
        }
    }

    /// The table of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|table| table.name() == name)
    }

    /// No rows, every column: what a query sees before the first file of the table exists.
    ///
    /// # Errors
    /// A fault of polars.
    pub fn empty(self) -> PolarsResult<DataFrame> {
        match self {
            Self::Scores => scores(&[]),
            Self::Anomalies => anomalies(&[], &[]),
            Self::Denoised => denoised(&[]),
            Self::Rejected => rejected(&[]),
        }
    }
}

/// Name of a scoring: 16 hex digits, stable for file digest, frame, model digest and calibration digest.
pub fn frame_id(file_digest: &str, frame_index: u32, identity: &Identity) -> String {
    let mut hasher = blake3::Hasher::new();
    for part in [file_digest, &frame_index.to_string(), &identity.model_digest, &identity.calibration_digest] {
        hasher.update(part.as_bytes()).update(b"\n");
    }
    hasher.finalize().to_hex()[..16].to_string()
}

/// A path as text without loss: UTF-8 as it is; a backslash and every byte that is not UTF-8 as `\xHH`.
pub fn source_name(path: &Path) -> String {
    use std::fmt::Write;
    use std::os::unix::ffi::OsStrExt;
    let mut text = String::new();
    for chunk in path.as_os_str().as_bytes().utf8_chunks() {
        text.push_str(&chunk.valid().replace('\\', "\\x5c"));
        for byte in chunk.invalid() {
            let _ = write!(text, "\\x{byte:02x}");
        }
    }
    text
}

/// The columns of `scores`.
///
/// # Errors
/// A fault of polars.
pub fn scores(rows: &[ScoreRow]) -> PolarsResult<DataFrame> {
    frame(rows.len(), score_columns(rows)?)
}

/// The columns of `anomalies`: those of `scores`, latent mean, tiles and pictures. One extra a row.
///
/// # Errors
/// A fault of polars.
pub fn anomalies(rows: &[ScoreRow], extras: &[AnomalyExtra]) -> PolarsResult<DataFrame> {
    let mut columns = score_columns(rows)?;
    columns.push(floats_list("latent_mean", extras.iter().map(|extra| &extra.latent_mean[..]))?);
    columns.push(tiles(extras)?);
    for (index, name) in ["input", "denoised", "anomaly_map"].into_iter().enumerate() {
        let pictures: Vec<Option<&Png16>> =
            extras.iter().map(|extra| extra.pictures.as_ref().map(|all| &all[index])).collect();
        let bytes: Vec<Option<&[u8]>> = pictures.iter().map(|picture| picture.map(|it| &it.bytes[..])).collect();
        columns.push(column(&format!("{name}_png"), bytes));
        columns.push(column(&format!("{name}_offset"), pick(&pictures, |picture| picture.map(|it| it.offset))));
        columns.push(column(&format!("{name}_scale"), pick(&pictures, |picture| picture.map(|it| it.scale))));
    }
    frame(rows.len(), columns)
}

/// The columns of `denoised`.
///
/// # Errors
/// A fault of polars.
pub fn denoised(rows: &[DenoisedRow]) -> PolarsResult<DataFrame> {
    let columns = vec![
        column("frame_id", pick(rows, |row| row.frame_id.as_str())),
        column("source", pick(rows, |row| &*row.source)),
        column("width", pick(rows, |row| row.shape[0])),
        column("height", pick(rows, |row| row.shape[1])),
        column("channels", pick(rows, |row| row.shape[2])),
        column("png", pick(rows, |row| &row.picture.bytes[..])),
        column("offset", pick(rows, |row| row.picture.offset)),
        column("scale", pick(rows, |row| row.picture.scale)),
    ];
    frame(rows.len(), columns)
}

/// The columns of `rejected`.
///
/// # Errors
/// A fault of polars.
pub fn rejected(rows: &[RejectedRow]) -> PolarsResult<DataFrame> {
    let columns = vec![
        column("source", pick(rows, |row| &*row.source)),
        column("file_digest", pick(rows, |row| row.file_digest.as_deref())),
        column("frame_index", pick(rows, |row| row.frame_index)),
        column("reason", pick(rows, |row| row.reason)),
        column("detail", pick(rows, |row| row.detail.as_str())),
        times("received_at", pick(rows, |row| Some(row.received_at)))?,
    ];
    frame(rows.len(), columns)
}

fn frame(height: usize, columns: Vec<Series>) -> PolarsResult<DataFrame> {
    DataFrame::new(height, columns.into_iter().map(Column::from).collect())
}

fn column<T, Kind: ?Sized>(name: &str, values: T) -> Series
where
    Series: NamedFrom<T, Kind>,
{
    Series::new(name.into(), values)
}

fn pick<'a, R, T>(rows: &'a [R], field: impl Fn(&'a R) -> T) -> Vec<T> {
    rows.iter().map(field).collect()
}

/// Microseconds since 1970, UTC.
fn times(name: &str, values: Vec<Option<DateTime<Utc>>>) -> PolarsResult<Series> {
    let micros: Vec<Option<i64>> = values.iter().map(|time| time.map(|it| it.timestamp_micros())).collect();
    column(name, micros).cast(&DataType::Datetime(TimeUnit::Microseconds, Some(TimeZone::UTC)))
}

fn score_columns(rows: &[ScoreRow]) -> PolarsResult<Vec<Series>> {
    let mut columns = vec![
        column("frame_id", pick(rows, |row| row.frame_id.as_str())),
        column("source", pick(rows, |row| &*row.source)),
        column("file_digest", pick(rows, |row| &*row.file_digest)),
        column("frame_index", pick(rows, |row| row.frame_index)),
        times("observed_at", pick(rows, |row| row.observed_at))?,
        times("received_at", pick(rows, |row| Some(row.received_at)))?,
        times("scored_at", pick(rows, |row| Some(row.scored_at)))?,
        column("width", pick(rows, |row| row.shape[0])),
        column("height", pick(rows, |row| row.shape[1])),
        column("channels", pick(rows, |row| row.shape[2])),
    ];
    for (index, component) in Component::ALL.into_iter().enumerate() {
        columns.push(column(component.name(), pick(rows, |row| row.verdict.components[index])));
    }
    columns.extend([
        column("score", pick(rows, |row| row.verdict.score)),
        column("p_value", pick(rows, |row| row.verdict.p_value)),
        column("threshold", pick(rows, |row| row.verdict.threshold)),
        column("alpha", pick(rows, |row| row.verdict.alpha)),
        column("is_anomaly", pick(rows, |row| row.verdict.is_anomaly)),
        column("extrapolated", pick(rows, |row| row.verdict.extrapolated)),
        column("model_version", pick(rows, |row| row.identity.model_version.as_str())),
        column("model_digest", pick(rows, |row| row.identity.model_digest.as_str())),
        column("calibration_digest", pick(rows, |row| row.identity.calibration_digest.as_str())),
        column("pipeline_digest", pick(rows, |row| row.identity.pipeline_digest.as_str())),
        column("software_version", pick(rows, |_| env!("CARGO_PKG_VERSION"))),
    ]);
    Ok(columns)
}

fn floats_list<'a>(name: &str, rows: impl Iterator<Item = &'a [f32]>) -> PolarsResult<Series> {
    let lists: Vec<Series> = rows.map(|row| column("item", row)).collect();
    lists_of(name, &lists, DataType::Float32)
}

fn tiles(extras: &[AnomalyExtra]) -> PolarsResult<Series> {
    let one = |tiles: &[FlaggedTile]| -> PolarsResult<Series> {
        let fields = [
            column("x", pick(tiles, |tile| tile.x)),
            column("y", pick(tiles, |tile| tile.y)),
            column("score", pick(tiles, |tile| tile.score)),
            column("tail", pick(tiles, |tile| tile.tail)),
        ];
        Ok(StructChunked::from_series("item".into(), tiles.len(), fields.iter())?.into_series())
    };
    let item = one(&[])?.dtype().clone();
    let lists = extras.iter().map(|extra| one(&extra.tiles)).collect::<PolarsResult<Vec<Series>>>()?;
    lists_of("tiles", &lists, item)
}

fn lists_of(name: &str, lists: &[Series], item: DataType) -> PolarsResult<Series> {
    let list = DataType::List(Box::new(item));
    if lists.is_empty() { Ok(Series::new_empty(name.into(), &list)) } else { column(name, lists).cast(&list) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;

    #[test]
    fn names_keep_every_byte() {
        assert_eq!(source_name(Path::new("night/frå.fits")), "night/frå.fits");
        assert_eq!(source_name(Path::new(OsStr::from_bytes(b"a\xff\\b"))), "a\\xff\\x5cb");
    }

    #[test]
    fn empty_tables_have_every_column() {
        for table in Table::ALL {
            let frame = table.empty().unwrap();
            assert_eq!(frame.height(), 0);
            assert!(frame.width() >= 6, "{}", table.name());
            assert_eq!(Table::from_name(table.name()), Some(table));
        }
        let names = Table::Scores.empty().unwrap();
        for component in Component::ALL {
            assert!(names.column(component.name()).is_ok());
        }
    }

    #[test]
    fn a_frame_id_depends_on_all_of_its_parts() {
        let identity = |model: &str, calibration: &str| Identity {
            model_version: "1".into(),
            model_digest: model.into(),
            calibration_digest: calibration.into(),
            pipeline_digest: String::new(),
        };
        let base = frame_id("f", 0, &identity("m", "c"));
        assert_eq!(base, frame_id("f", 0, &identity("m", "c")));
        for other in [
            frame_id("g", 0, &identity("m", "c")),
            frame_id("f", 1, &identity("m", "c")),
            frame_id("f", 0, &identity("n", "c")),
            frame_id("f", 0, &identity("m", "d")),
        ] {
            assert_ne!(base, other);
        }
    }
}
