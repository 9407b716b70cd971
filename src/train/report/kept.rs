//! What only the data can show, kept with the version, so that its page can be written anew without them:
//!
//! ```text
//! validation.parquet  one row a validation frame: source, frame_index, score, its components
//! latent.parquet      one row a tile, of at most 2,000: source, frame_index, tile, score, latent (its posterior's mean)
//! ```

use std::collections::HashMap;
use std::fs::File;
use std::path::Path;

use polars::prelude::*;

use super::seen::{Seen, SeenFrame, SeenTile};
use crate::components::Component;
use crate::error::{Failure, Kind, Result};

/// The validation frames.
const FRAMES: &str = "validation.parquet";
/// Latent means of some of their tiles.
const LATENTS: &str = "latent.parquet";

/// Writes both tables into a version's folder.
///
/// # Errors
/// [`Kind::Io`] naming the file.
pub fn write(seen: &Seen, folder: &Path) -> Result<()> {
    for (name, table) in [(FRAMES, frames(seen)), (LATENTS, latents(seen))] {
        let path = folder.join(name);
        let write = |mut table: DataFrame| ParquetWriter::new(File::create(&path)?).finish(&mut table);
        table.and_then(write).map_err(|error| Failure::io(&path, error))?;
    }
    Ok(())
}

/// Reads them; `None` where the version does not keep them.
///
/// # Errors
/// [`Kind::Model`] naming the file that is not what it should be.
pub fn read(folder: &Path) -> Result<Option<Seen>> {
    let mut seen = Seen::default();
    for (name, take) in
        [(FRAMES, take_frames as fn(&mut Seen, &DataFrame) -> PolarsResult<()>), (LATENTS, take_latents)]
    {
        let path = folder.join(name);
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(Failure::io(&path, error)),
        };
        let table = ParquetReader::new(file).finish();
        table
            .and_then(|table| take(&mut seen, &table))
            .map_err(|error| Failure::new(Kind::Model, format!("{}: {error}", path.display())))?;
    }
    Ok(Some(seen))
}

fn frames(seen: &Seen) -> PolarsResult<DataFrame> {
    let mut table = df!(
        "source" => seen.frames.iter().map(|frame| frame.source.as_str()).collect::<Vec<_>>(),
        "frame_index" => seen.frames.iter().map(|frame| frame.frame_index).collect::<Vec<_>>(),
        "score" => seen.scores(),
    )?;
    for (at, component) in Component::ALL.into_iter().enumerate() {
        let values: Vec<Option<f64>> = seen.frames.iter().map(|frame| frame.components[at]).collect();
        table.with_column(Column::new(component.name().into(), values))?;
    }
    Ok(table)
}

fn take_frames(seen: &mut Seen, table: &DataFrame) -> PolarsResult<()> {
    let (source, index, score) =
        (table.column("source")?.str()?, table.column("frame_index")?.u32()?, table.column("score")?.f64()?);
    let components: Vec<&Float64Chunked> =
        Component::ALL.iter().map(|component| table.column(component.name())?.f64()).collect::<PolarsResult<_>>()?;
    seen.frames = (0..table.height())
        .map(|row| SeenFrame {
            source: source.get(row).unwrap_or_default().to_string(),
            frame_index: index.get(row).unwrap_or_default(),
            score: score.get(row).unwrap_or(f64::NAN),
            components: std::array::from_fn(|at| components[at].get(row)),
        })
        .collect();
    Ok(())
}

fn latents(seen: &Seen) -> PolarsResult<DataFrame> {
    let of = |tile: &SeenTile| &seen.frames[tile.frame as usize];
    let count = seen.tiles.len();
    let mut latent =
        ListPrimitiveChunkedBuilder::<Float32Type>::new("latent".into(), count, seen.latents.len(), DataType::Float32);
    seen.latents.chunks_exact(seen.dim.max(1)).for_each(|mean| latent.append_slice(mean));
    df!(
        "source" => seen.tiles.iter().map(|tile| of(tile).source.as_str()).collect::<Vec<_>>(),
        "frame_index" => seen.tiles.iter().map(|tile| of(tile).frame_index).collect::<Vec<_>>(),
        "tile" => seen.tiles.iter().map(|tile| tile.tile).collect::<Vec<_>>(),
        "score" => seen.tiles.iter().map(|tile| tile.score).collect::<Vec<_>>(),
        "latent" => latent.finish().into_series(),
    )
}

/// After [`take_frames`].
fn take_latents(seen: &mut Seen, table: &DataFrame) -> PolarsResult<()> {
    let places: HashMap<(&str, u32), u32> =
        seen.frames.iter().zip(0..).map(|(frame, at)| ((frame.source.as_str(), frame.frame_index), at)).collect();
    let (source, index) = (table.column("source")?.str()?, table.column("frame_index")?.u32()?);
    let (tile, score) = (table.column("tile")?.u32()?, table.column("score")?.f64()?);
    let row = |row: usize| {
        let key = (source.get(row).unwrap_or_default(), index.get(row).unwrap_or_default());
        let frame = *places.get(&key).ok_or_else(|| polars_err!(NoData: "{} is no validation frame", key.0))?;
        Ok(SeenTile { frame, tile: tile.get(row).unwrap_or_default(), score: score.get(row).unwrap_or(f64::NAN) })
    };
    let tiles = (0..table.height()).map(row).collect::<PolarsResult<Vec<_>>>()?;
    let means = table.column("latent")?.list()?.rechunk().get_inner();
    seen.latents = means.f32()?.into_no_null_iter().collect();
    seen.dim = seen.latents.len() / tiles.len().max(1);
    seen.tiles = tiles;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(read(folder.path()).unwrap(), None, "an old version");
        let mut components = [None; Component::ALL.len()];
        components[3] = Some(1.5);
        let frame = |index: u32| SeenFrame {
            source: "a.fits".into(),
            frame_index: index,
            score: 0.5 * f64::from(index),
            components,
        };
        let seen = Seen {
            frames: (0..3).map(frame).collect(),
            tiles: vec![SeenTile { frame: 0, tile: 0, score: 1.0 }, SeenTile { frame: 2, tile: 7, score: 2.0 }],
            latents: vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0],
            dim: 3,
        };
        write(&seen, folder.path()).unwrap();
        assert_eq!(read(folder.path()).unwrap(), Some(seen));
        std::fs::write(folder.path().join(LATENTS), "torn").unwrap();
        assert!(read(folder.path()).unwrap_err().message.contains(LATENTS));
    }
}
