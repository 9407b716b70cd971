//! Which frames a version was made from, and what each was for: `frames.parquet`, a row a frame.

use std::fs::File;
use std::path::Path;

use polars::prelude::*;

use crate::error::{Failure, Kind, Result};

/// Its name in a version's folder.
const FILE: &str = "frames.parquet";

/// A frame that a version was made from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FrameRow {
    /// Its file, an absolute path.
    pub source: String,
    /// Position in the file.
    pub frame_index: u32,
    /// BLAKE3 of file content and position, hex.
    pub digest: String,
    /// What it was for.
    pub part: Part,
}

/// What a frame was for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// It fitted the weights.
    Train,
    /// It stopped the training and fitted the tails.
    Validation,
    /// It gives the p-values.
    Calibration,
    /// It is sealed.
    Test,
}

impl Part {
    const ALL: [Self; 4] = [Self::Train, Self::Validation, Self::Calibration, Self::Test];

    /// The word of the column `part`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Train => "train",
            Self::Validation => "validation",
            Self::Calibration => "calibration",
            Self::Test => "test",
        }
    }
}

/// Writes the frames into a version's folder.
///
/// # Errors
/// [`Kind::Io`] naming the file.
pub fn write(folder: &Path, rows: &[FrameRow]) -> Result<()> {
    let path = folder.join(FILE);
    let write = || -> PolarsResult<()> {
        let mut frame = df!(
            "source" => rows.iter().map(|row| row.source.as_str()).collect::<Vec<_>>(),
            "frame_index" => rows.iter().map(|row| row.frame_index).collect::<Vec<_>>(),
            "digest" => rows.iter().map(|row| row.digest.as_str()).collect::<Vec<_>>(),
            "part" => rows.iter().map(|row| row.part.as_str()).collect::<Vec<_>>(),
        )?;
        ParquetWriter::new(File::create(&path)?).finish(&mut frame)?;
        Ok(())
    };
    write().map_err(|error| Failure::io(&path, error))
}

/// The frames that a version was made from; `None` where it did not record them.
///
/// # Errors
/// [`Kind::Model`] for a file that cannot be read.
pub fn read(folder: &Path) -> Result<Option<Vec<FrameRow>>> {
    let path = folder.join(FILE);
    if !path.exists() {
        return Ok(None);
    }
    let read = || -> PolarsResult<Vec<FrameRow>> {
        let frame = ParquetReader::new(File::open(&path)?).finish()?;
        let text = |name: &str| -> PolarsResult<Vec<String>> {
            Ok(frame.column(name)?.str()?.iter().flatten().map(str::to_string).collect())
        };
        let (sources, digests, parts) = (text("source")?, text("digest")?, text("part")?);
        let indices = frame.column("frame_index")?.u32()?.into_no_null_iter();
        let part = |word: &String| {
            let known = Part::ALL.into_iter().find(|part| part.as_str() == word);
            known.ok_or_else(|| polars_err!(ComputeError: "no part of the data is called {word}"))
        };
        let rows = sources.into_iter().zip(indices).zip(digests).zip(&parts);
        rows.map(|(((source, frame_index), digest), word)| {
            Ok(FrameRow { source, frame_index, digest, part: part(word)? })
        })
        .collect()
    };
    read().map(Some).map_err(|error| Failure::new(Kind::Model, format!("{}: {error}", path.display())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_and_what_is_torn_is_said() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(read(folder.path()).unwrap(), None);
        let row = |part: Part, frame_index: u32| FrameRow {
            source: "/data/a.fits".into(),
            frame_index,
            digest: blake3::hash(&frame_index.to_le_bytes()).to_hex().to_string(),
            part,
        };
        let rows: Vec<FrameRow> = Part::ALL.into_iter().zip(0..).map(|(part, index)| row(part, index)).collect();
        write(folder.path(), &rows).unwrap();
        assert_eq!(read(folder.path()).unwrap(), Some(rows));
        std::fs::write(folder.path().join(FILE), "torn").unwrap();
        assert_eq!(read(folder.path()).unwrap_err().kind, Kind::Model);
    }
}
