//! `anomalyd show`: one flagged frame as a picture: input, reconstruction, anomaly map.

use std::path::{Path, PathBuf};

use polars::prelude::DataFrame;

use super::cells::{bytes, number, number_text, p_text, string};
use crate::draw::panel::{Panel, Region, panel};
use crate::draw::png::{Decoded, decode};
use crate::draw::stretch::Stretch;
use crate::error::{Failure, Kind, Result};
use crate::pipeline::{Input, Pipeline};
use crate::report::query::Reports;
use crate::settings::Settings;

/// Pictures of `anomalies`: each has the columns `<name>_png`, `<name>_offset` and `<name>_scale`.
pub const INPUT: &str = "input";
const DENOISED: &str = "denoised";
/// The picture that says where.
pub const ANOMALY_MAP: &str = "anomaly_map";
/// Side of an outlined tile where the pipeline file is not at hand, pixels.
const UNKNOWN_TILE: usize = 64;

/// Arguments of `show`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The frame's id as in the tables, or its beginning.
    pub frame_id: String,
    /// Picture to write [default: <FRAME_ID>.png].
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
}

/// Runs `show`.
///
/// # Errors
/// [`Kind::Usage`] for an ambiguous id, [`Kind::Data`] for one that is unknown or was not flagged, [`Kind::Io`].
pub fn run(args: &Args, settings: &Settings) -> Result<()> {
    let mut reports = Reports::open(&settings.state)?;
    let frame_id = find(&mut reports, &args.frame_id, &settings.state)?;
    let sql = format!("SELECT * FROM anomalies WHERE frame_id = '{frame_id}' ORDER BY scored_at DESC LIMIT 1");
    let rows = reports.query(&sql)?;
    let departed = departed(&mut reports, &frame_id)?;
    let picture = draw(&rows, 0, &departed, &settings.pipelines)?;
    let path = args.out.clone().unwrap_or_else(|| PathBuf::from(format!("{frame_id}.png")));
    std::fs::write(&path, picture).map_err(|error| Failure::io(&path, error))?;
    sayln!("{}", path.display());
    Ok(())
}

/// Regions of the tiles that stand out, from the `tiles` column of a row of `anomalies`.
pub fn regions(rows: &DataFrame, row: usize, pipelines: &Path) -> Vec<Region> {
    let tiles: serde_json::Value = serde_json::from_str(&string(rows, "tiles", row)).unwrap_or_default();
    let size = input_of(rows, row, pipelines).map_or(UNKNOWN_TILE, |input| input.size);
    let place = |tile: &serde_json::Value, key: &str| tile.get(key)?.as_u64().map(|value| value as usize);
    let tiles = tiles.as_array().map(Vec::as_slice).unwrap_or_default();
    tiles.iter().filter_map(|tile| Some((place(tile, "x")?, place(tile, "y")?, size, size))).collect()
}

/// How the frame of a row of `anomalies` is stretched: as its pipeline's scaling goes, where the file is at hand.
pub fn stretch(rows: &DataFrame, row: usize, input: &Decoded, pipelines: &Path) -> Stretch {
    input_of(rows, row, pipelines)
        .map_or_else(|| Stretch::of(&input.pixels), |of| Stretch::under(of.scaling, &input.pixels))
}

/// How the pipeline of a row takes its frames; `None` where its file is not at hand.
fn input_of(rows: &DataFrame, row: usize, pipelines: &Path) -> Option<Input> {
    Some(Pipeline::load(&string(rows, "pipeline", row), pipelines).ok()?.spec.input)
}

/// A picture of a row, in physical units.
///
/// # Errors
/// [`Kind::Data`] when there is none, or it is damaged.
pub fn picture(rows: &DataFrame, row: usize, name: &str) -> Result<Decoded> {
    let missing = || Failure::new(Kind::Data, format!("frame {}: no {name} picture", string(rows, "frame_id", row)));
    let file = bytes(rows, &format!("{name}_png"), row).ok_or_else(missing)?;
    let part = |part: &str| number(rows, &format!("{name}_{part}"), row);
    decode(&file, part("offset").zip(part("scale")))
}

/// The panel of a row of `anomalies`.
fn draw(rows: &DataFrame, row: usize, departed: &Departed, pipelines: &Path) -> Result<Vec<u8>> {
    let (input, denoised) = (picture(rows, row, INPUT)?, picture(rows, row, DENOISED)?);
    let map = picture(rows, row, ANOMALY_MAP)?;
    let boxes = regions(rows, row, pipelines);
    let mut lines = captions(rows, row, boxes.len());
    lines.extend(departed.caption.clone());
    let mask = mask(rows, row, &map);
    lines.extend(mask_text(rows, row));
    Ok(panel(&Panel {
        title: format!("{}  {}", string(rows, "pipeline", row), named(rows, row)),
        lines,
        stretch: stretch(rows, row, &input, pipelines),
        input: input.values(),
        reconstruction: denoised.values(),
        anomaly: map.values(),
        mask: mask.as_deref(),
        boxes,
        marks: departed.pixels.iter().map(|&at| (at % input.width.max(1), at / input.width.max(1))).collect(),
    }))
}

/// The pixels that the pipeline's segmenter marks; none where the anomaly map is a residual.
pub fn mask(rows: &DataFrame, row: usize, map: &Decoded) -> Option<Vec<bool>> {
    let threshold = number(rows, "mask_threshold", row)? as f32;
    // A picture has levels: half of one below the threshold is the threshold.
    let level = number(rows, &format!("{ANOMALY_MAP}_scale"), row).unwrap_or(0.0).min(1.0 / 65535.0) as f32;
    Some(map.pixels.iter().map(|&p| p >= threshold - 0.5 * level).collect())
}

fn mask_text(rows: &DataFrame, row: usize) -> Option<String> {
    let (area, threshold) = (number(rows, "mask_area", row)?, number(rows, "mask_threshold", row)?);
    let place = match (number(rows, "mask_x", row), number(rows, "mask_y", row)) {
        (Some(x), Some(y)) => format!(" around x {x:.0}, y {y:.0}"),
        _ => String::new(),
    };
    Some(format!("{area} pixels marked{place}, from probability {threshold:.3} on"))
}

/// Where the denoised image departs from the input by more than noise does.
#[derive(Debug, Default)]
struct Departed {
    pixels: Vec<usize>,
    caption: Option<String>,
}

/// From the frame's row of `denoised`; nothing where none was kept, or by a version that did not look.
fn departed(reports: &mut Reports, frame_id: &str) -> Result<Departed> {
    if !reports.has("denoised") {
        return Ok(Departed::default());
    }
    let rows = reports.query(&format!("SELECT * FROM denoised WHERE frame_id = '{frame_id}' LIMIT 1"))?;
    let (Some(count), 1) = (number(&rows, "departures", 0), rows.height()) else { return Ok(Departed::default()) };
    let pixels = serde_json::from_str(&string(&rows, "departed", 0)).unwrap_or_default();
    let by = string(&rows, "denoised_by", 0);
    let largest = number(&rows, "departure_max", 0).map_or("?".into(), number_text);
    let found = if count > 0.0 { format!("{count} pixels, ringed,") } else { "no pixel".into() };
    let caption = format!("denoised by {by}: {found} beyond what noise does, largest deviation {largest} sigma");
    Ok(Departed { pixels, caption: Some(caption) })
}

/// The source, with the frame's number where the file holds several.
fn named(rows: &DataFrame, row: usize) -> String {
    let source = string(rows, "source", row);
    match number(rows, "frame_index", row) {
        Some(index) if index > 0.0 => format!("{source}  frame {index}"),
        _ => source,
    }
}

fn captions(rows: &DataFrame, row: usize, tiles: usize) -> Vec<String> {
    let value = |column: &str| number(rows, column, row).map_or("?".to_string(), number_text);
    let relation = match (number(rows, "score", row), number(rows, "threshold", row)) {
        (Some(score), Some(threshold)) if score > threshold => ">",
        _ => "<=",
    };
    let score = format!("score {} {relation} threshold {}", value("score"), value("threshold"));
    let mut second = format!(
        "frame {}   model {}   scored {}",
        string(rows, "frame_id", row),
        string(rows, "model_version", row),
        moment(&string(rows, "scored_at", row))
    );
    let mut first = format!("{score}   p = {}   alpha = {}", p_text(number(rows, "p_value", row)), value("alpha"));
    if let Some(kind) = kind(rows, row) {
        first.push_str(&format!("   kind {kind}"));
    }
    if tiles > 0 {
        second.push_str(&format!("   {tiles} tile{} outlined", if tiles == 1 { "" } else { "s" }));
    }
    vec![first, second]
}

/// What the classifier says of a row, for people; `None` where there was none.
pub fn kind(rows: &DataFrame, row: usize) -> Option<String> {
    let probability = number(rows, "kind_probability", row)?;
    let kind = string(rows, "kind", row);
    Some(if kind.is_empty() { "unknown".into() } else { format!("{kind} ({:.0} %)", 100.0 * probability) })
}

/// A time to the second, for people.
fn moment(iso: &str) -> String {
    format!("{} UTC", iso.get(..19).unwrap_or(iso).replace('T', " "))
}

/// The one flagged frame whose id begins so.
fn find(reports: &mut Reports, given: &str, state: &Path) -> Result<String> {
    if given.is_empty() || !given.chars().all(|letter| letter.is_ascii_alphanumeric() || "-_:.".contains(letter)) {
        return Err(Failure::new(Kind::Usage, format!("{given:?} is no frame id")).hint(hint()));
    }
    let flagged = ids(reports, "anomalies", given)?;
    match flagged.as_slice() {
        [one] => return Ok(one.clone()),
        [] => {}
        several if several.iter().any(|id| id == given) => return Ok(given.to_string()),
        several => {
            let shown = several.iter().take(5).cloned().collect::<Vec<_>>().join(", ");
            let message = format!("{} flagged frames begin with {given}: {shown}, ...", several.len());
            return Err(Failure::new(Kind::Usage, message).hint("give more of the id"));
        }
    }
    let scored = ids(reports, "scores", given)?;
    let Some(one) = scored.first() else {
        let message = format!("no frame in {} has an id that begins with {given}", state.display());
        return Err(Failure::new(Kind::Data, message).hint(hint()));
    };
    let message = format!("frame {one} was scored but not flagged, so no picture of it is kept");
    Err(Failure::new(Kind::Data, message).hint(format!(
        "its scores: anomalyd query \"SELECT * FROM scores WHERE frame_id = '{one}'\"; a pipeline with \
         `report.denoised = \"all\"` keeps every frame's reconstruction in the table denoised"
    )))
}

/// The different ids of a table that begin so.
fn ids(reports: &mut Reports, table: &str, beginning: &str) -> Result<Vec<String>> {
    if !reports.has(table) {
        return Ok(Vec::new());
    }
    let sql =
        format!("SELECT DISTINCT frame_id FROM {table} WHERE STARTS_WITH(frame_id, '{beginning}') ORDER BY frame_id");
    let rows = reports.query(&sql)?;
    Ok((0..rows.height()).map(|row| string(&rows, "frame_id", row)).collect())
}

fn hint() -> &'static str {
    "flagged frames: anomalyd query \"SELECT frame_id, source, p_value FROM anomalies ORDER BY p_value LIMIT 10\""
}
