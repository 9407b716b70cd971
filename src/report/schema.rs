//! The report tables: their rows and columns. A new column may come, no column ever leaves or changes its meaning.

use chrono::{DateTime, Utc};
use polars::prelude::*;

pub use super::rows::{AnomalyExtra, DenoisedRow, DuplicateRow, RejectedRow, ScoreRow, Void};
use crate::components::Component;
use crate::draw::png::Png16;
use crate::score::{FlaggedTile, Identity};
use crate::watch::Stat;

/// Version of the columns below; stands in every file's footer under [`VERSION_KEY`].
pub const SCHEMA_VERSION: u32 = 3;
/// In a footer: version of the columns.
pub const VERSION_KEY: &str = "anomalyd.schema_version";
/// Rows of a row group: many small groups read slowly, one large one cannot be skipped.
pub const ROW_GROUP: usize = 100_000;

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
    /// A row a file whose content had been scored under another name.
    Duplicates,
}

impl Table {
    /// Every table.
    pub const ALL: [Self; 5] = [Self::Scores, Self::Anomalies, Self::Denoised, Self::Rejected, Self::Duplicates];

    /// Its name, as folder and in queries.
    pub fn name(self) -> &'static str {
        match self {
            Self::Scores => "scores",
            Self::Anomalies => "anomalies",
            Self::Denoised => "denoised",
            Self::Rejected => "rejected",
            Self::Duplicates => "duplicates",
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
            Self::Duplicates => duplicates(&[]),
        }
    }
}

/// The columns of `scores`.
///
/// # Errors
/// A fault of polars.
pub fn scores(rows: &[ScoreRow]) -> PolarsResult<DataFrame> {
    frame(rows.len(), score_columns(rows)?)
}

/// The columns of `anomalies`: those of `scores`, latent mean, tiles, pictures and kind. One extra a row.
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
    columns.extend(kind_columns(extras));
    columns.extend(mark_columns(extras));
    frame(rows.len(), columns)
}

/// What a classifier says: no kind below its floor, nothing at all without one.
fn kind_columns(extras: &[AnomalyExtra]) -> [Series; 3] {
    let named = |extra: &AnomalyExtra| extra.named.clone();
    let all = pick(extras, named);
    [
        column("kind", pick(&all, |named| named.as_ref().and_then(|named| named.kind.as_deref()))),
        column("kind_probability", pick(&all, |named| named.as_ref().map(|named| named.probability))),
        column("classifier_version", pick(&all, |named| named.as_ref().map(|named| named.version.as_str()))),
    ]
}

/// What made the anomaly map: a U-Net's values are probabilities, a residual's are in units of the noise.
fn made_by(extra: &AnomalyExtra) -> Option<&'static str> {
    extra.pictures.as_ref().map(|_| if extra.mark.is_some() { "unet" } else { "residual" })
}

/// What the anomaly map is, and what a segmenter marks in it: nothing in a residual, no centre where no pixel is marked.
fn mark_columns(extras: &[AnomalyExtra]) -> [Series; 5] {
    let centre = |axis: usize| pick(extras, |extra| extra.mark.and_then(|mark| mark.centre).map(|centre| centre[axis]));
    [
        column("anomaly_map_by", pick(extras, made_by)),
        column("mask_threshold", pick(extras, |extra| extra.mark.map(|mark| mark.threshold))),
        column("mask_area", pick(extras, |extra| extra.mark.map(|mark| mark.area))),
        column("mask_x", centre(0)),
        column("mask_y", centre(1)),
    ]
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
        column("denoised_by", pick(rows, |row| row.denoised_by.as_str())),
        column("departures", pick(rows, |row| row.departures.count as u32)),
        column("departure_max", pick(rows, |row| row.departures.largest)),
        lists_of("departed", &pick(rows, |row| column("item", &row.departures.pixels[..])), DataType::UInt32)?,
    ];
    frame(rows.len(), columns)
}

/// The columns of `rejected`.
///
/// # Errors
/// A fault of polars.
pub fn rejected(rows: &[RejectedRow]) -> PolarsResult<DataFrame> {
    let mut columns = vec![
        column("source", pick(rows, |row| &*row.source)),
        column("file_digest", pick(rows, |row| row.file_digest.as_deref())),
        column("frame_index", pick(rows, |row| row.frame_index)),
        column("reason", pick(rows, |row| row.reason)),
        column("detail", pick(rows, |row| row.detail.as_str())),
        times("received_at", pick(rows, |row| Some(row.received_at)))?,
    ];
    columns.extend(version_columns(pick(rows, |row| row.stat))?);
    columns.extend(judge_columns(&pick(rows, |row| &*row.identity)));
    frame(rows.len(), columns)
}

/// The columns of `duplicates`.
///
/// # Errors
/// A fault of polars.
pub fn duplicates(rows: &[DuplicateRow]) -> PolarsResult<DataFrame> {
    let mut columns = vec![
        column("source", pick(rows, |row| &*row.source)),
        column("file_digest", pick(rows, |row| &*row.file_digest)),
        column("first_source", pick(rows, |row| row.first_source.as_str())),
        times("received_at", pick(rows, |row| Some(row.received_at)))?,
    ];
    columns.extend(version_columns(pick(rows, |row| row.stat))?);
    columns.extend(judge_columns(&pick(rows, |row| &*row.identity)));
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
    micros(name, values.iter().map(|time| time.map(|it| it.timestamp_micros())).collect())
}

fn micros(name: &str, values: Vec<Option<i64>>) -> PolarsResult<Series> {
    column(name, values).cast(&DataType::Datetime(TimeUnit::Microseconds, Some(TimeZone::UTC)))
}

/// What tells one version of a file from the next, as far as it outlives the file system.
fn version_columns(stats: Vec<Stat>) -> PolarsResult<[Series; 2]> {
    let modified = stats.iter().map(|stat| Some(stat.mtime_ns.div_euclid(1000))).collect();
    Ok([column("file_size", pick(&stats, |stat| stat.size)), micros("file_modified_at", modified)?])
}

/// By what a file was judged.
fn judge_columns(rows: &[&Identity]) -> [Series; 3] {
    [
        column("model_version", pick(rows, |identity| identity.model_version.as_str())),
        column("model_digest", pick(rows, |identity| identity.model_digest.as_str())),
        column("calibration_digest", pick(rows, |identity| identity.calibration_digest.as_str())),
    ]
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
    ]);
    columns.extend(judge_columns(&pick(rows, |row| &*row.identity)));
    columns.extend([
        column("pipeline_digest", pick(rows, |row| row.identity.pipeline_digest.as_str())),
        column("software_version", pick(rows, |_| env!("CARGO_PKG_VERSION"))),
    ]);
    columns.extend(version_columns(pick(rows, |row| row.stat))?);
    columns.extend([
        column("background", pick(rows, |row| row.raw.background)),
        column("noise", pick(rows, |row| row.raw.noise)),
        column("hot_pixels", pick(rows, |row| row.raw.hot_pixels)),
        column("certificate_void", pick(rows, |row| row.void.is_some())),
        column("class", pick(rows, |row| row.verdict.class.as_ref().map(|class| class.name.as_str()))),
        column("class_probability", pick(rows, |row| row.verdict.class.as_ref().map(|class| class.probability))),
        column("void_reason", pick(rows, |row| row.void.map(Void::as_str))),
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
    use crate::classify::Named;
    use crate::draw::png::png16;
    use crate::segment::Mark;

    fn extra() -> AnomalyExtra {
        AnomalyExtra { latent_mean: Vec::new(), tiles: Vec::new(), named: None, pictures: None, mark: None }
    }

    #[test]
    fn a_mask_is_null_where_nothing_segments_and_has_no_centre_where_nothing_is_marked() {
        let pictures = || Some(std::array::from_fn(|_| png16(1, 1, 1, &[0.5])));
        let marked = |mark| AnomalyExtra { mark: Some(mark), pictures: pictures(), ..extra() };
        let residual = AnomalyExtra { pictures: pictures(), ..extra() };
        let mark = Mark { threshold: 0.5, area: 7, centre: Some([2.5, 4.0]) };
        let [by, threshold, area, x, y] =
            mark_columns(&[marked(mark), marked(Mark { area: 0, centre: None, ..mark }), residual]);
        assert_eq!(by.str().unwrap().iter().collect::<Vec<_>>(), [Some("unet"), Some("unet"), Some("residual")]);
        assert_eq!(threshold.f32().unwrap().iter().collect::<Vec<_>>(), [Some(0.5), Some(0.5), None]);
        assert_eq!(area.u32().unwrap().iter().collect::<Vec<_>>(), [Some(7), Some(0), None]);
        assert_eq!([&x, &y].map(|place| place.f32().unwrap().get(0)), [Some(2.5), Some(4.0)]);
        assert_eq!((x.null_count(), y.null_count()), (2, 2));
        // A table of nothing but nulls has the columns' types all the same: readers merge parts by them.
        let nothing = mark_columns(&[extra()]);
        assert_eq!(
            nothing.map(|column| column.dtype().clone()),
            [by, threshold, area, x, y].map(|c| c.dtype().clone())
        );
    }

    #[test]
    fn a_kind_is_null_where_there_is_no_classifier_and_below_its_floor() {
        let named = |kind: Option<&str>| {
            Some(Named { kind: kind.map(Into::into), probability: 0.75, version: "0001-ab".into() })
        };
        let extra = |named| AnomalyExtra { named, ..extra() };
        let [kind, probability, version] =
            kind_columns(&[extra(named(Some("trail"))), extra(named(None)), extra(None)]);
        assert_eq!(kind.str().unwrap().iter().collect::<Vec<_>>(), [Some("trail"), None, None]);
        assert_eq!(probability.f64().unwrap().iter().collect::<Vec<_>>(), [Some(0.75), Some(0.75), None]);
        assert_eq!(version.str().unwrap().iter().collect::<Vec<_>>(), [Some("0001-ab"), Some("0001-ab"), None]);
        // A table of nothing but nulls has the columns' types all the same: readers merge parts by them.
        let [kind, probability, _] = kind_columns(&[extra(None)]);
        assert_eq!((kind.dtype(), probability.dtype()), (&DataType::String, &DataType::Float64));
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
}
