//! One tile of one frame, chosen on the command line.

use std::path::{Path, PathBuf};

use crate::error::{Failure, Kind, Result};
use crate::image::{self, Limits};
use crate::pipeline::{Input, Scaling};
use crate::prepare::{Prepared, prepare};

/// A tile as the model sees it.
#[derive(Debug, Clone)]
pub struct Still {
    /// `FILE`, or `FILE#INDEX` in a file of several frames, shortened to its last part.
    pub name: String,
    /// The tile's top-left corner in the frame.
    pub corner: (usize, usize),
    /// `[C, S, S]`, scaled.
    pub pixels: Vec<f32>,
    /// How it was scaled.
    pub scaling: Scaling,
}

impl Still {
    /// Reads a frame, given as `FILE` or `FILE#INDEX` (from 0), and cuts one tile out of it: at `corner`, else the one
    /// nearest the centre.
    ///
    /// # Errors
    /// [`Kind::Io`] for a file that cannot be read, [`Kind::Data`] for a frame that is not there or cannot be used,
    /// [`Kind::Usage`] for a corner from which no tile fits into the frame.
    pub fn read(given: &str, corner: Option<(usize, usize)>, input: &Input, limits: &Limits) -> Result<Self> {
        let (path, index) = place(given);
        let prepared = frame(&path, index, input, limits)?;
        let corner = match corner {
            Some(corner) => fitting(corner, &prepared, input, given)?,
            None => prepared.central(input.size),
        };
        let mut pixels = vec![0.0; input.channels * input.size * input.size];
        prepared.copy_tile(corner, input.size, &mut pixels);
        let name = given.rsplit('/').next().unwrap_or(given).to_string();
        Ok(Self { name, corner, pixels, scaling: prepared.scaling })
    }

    /// The tile in the instrument's units, `[C, S, S]`.
    pub fn unscaled(&self) -> Vec<f32> {
        self.pixels.iter().map(|&value| self.scaling.unscale(value)).collect()
    }
}

/// File and frame; a file whose own name ends in `#3` is meant where there is one.
fn place(given: &str) -> (PathBuf, usize) {
    let split = given.rsplit_once('#').and_then(|(path, index)| Some((path, index.parse().ok()?)));
    match split {
        Some((path, index)) if !Path::new(given).exists() => (path.into(), index),
        _ => (given.into(), 0),
    }
}

fn frame(path: &Path, index: usize, input: &Input, limits: &Limits) -> Result<Prepared> {
    let bytes = std::fs::read(path).map_err(|error| Failure::io(path, error))?;
    let unusable = |rejection| Failure::new(Kind::Data, format!("{}: {rejection}", path.display()));
    let mut seen = 0;
    for frame in image::frames(bytes, limits).map_err(unusable)? {
        if seen == index {
            return prepare(frame.map_err(unusable)?, input).map_err(unusable);
        }
        seen += 1;
    }
    let message = format!("{}: no frame {index}: it holds {seen}, counted from 0", path.display());
    Err(Failure::new(Kind::Data, message).hint("name a frame as FILE#INDEX; what a file holds: anomalyd inspect FILE"))
}

fn fitting((x, y): (usize, usize), frame: &Prepared, input: &Input, given: &str) -> Result<(usize, usize)> {
    let fits = |start: usize, length: usize| start.checked_add(input.size).is_some_and(|end| end <= length);
    if fits(x, frame.width) && fits(y, frame.height) {
        return Ok((x, y));
    }
    let (width, height, size) = (frame.width, frame.height, input.size);
    let message =
        format!("--tile {x},{y}: a tile of {size}x{size} there does not fit into {given}, {width}x{height} pixels");
    let (right, bottom) = (width.saturating_sub(size), height.saturating_sub(size));
    Err(Failure::new(Kind::Usage, message).hint(format!("its top-left corner may be at most {right},{bottom}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::draw::png::png16;
    use crate::pipeline::Tile;

    fn input(tile: Option<Tile>) -> Input {
        let scaling = Scaling::Linear { black: 0.0, white: 1.0 };
        Input { size: 2, channels: 1, scaling, resize: false, clip: false, tile, max_blank: 0.1, filters: vec![] }
    }

    #[test]
    fn the_tile_is_the_central_one_or_the_one_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.png");
        std::fs::write(&path, png16(6, 6, 1, &(0..36).map(|v| v as f32).collect::<Vec<_>>()).bytes).unwrap();
        let (given, input) = (path.display().to_string(), input(Some(Tile { size: 2, stride: 2 })));
        let read = |corner| Still::read(&given, corner, &input, &Limits::default());
        let central = read(None).unwrap();
        assert_eq!((central.corner, &central.name[..]), ((2, 2), "a.png"));
        assert_eq!(central.unscaled(), [14.0, 15.0, 20.0, 21.0]);
        assert_eq!(read(Some((3, 1))).unwrap().pixels, [9.0, 10.0, 15.0, 16.0]);
        let failure = read(Some((5, 0))).unwrap_err();
        assert_eq!(failure.kind, Kind::Usage);
        assert!(failure.message.contains("--tile 5,0") && failure.hint.unwrap().contains("4,4"));
    }

    #[test]
    fn a_frame_is_named_by_its_index() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("two.idx");
        // IDX: unsigned bytes, three dimensions, 2 x 2 x 2.
        let bytes = [0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 2, 0, 0, 0, 2, 0, 1, 2, 3, 4, 5, 6, 7];
        std::fs::write(&path, bytes).unwrap();
        let read = |name: &str| {
            let given = format!("{}{name}", path.display());
            Still::read(&given, None, &input(None), &Limits::default())
        };
        assert_eq!(read("#1").unwrap().pixels, [4.0, 5.0, 6.0, 7.0]);
        assert_eq!(read("").unwrap().pixels[0], 0.0);
        let failure = read("#2").unwrap_err();
        assert!(failure.kind == Kind::Data && failure.message.contains("no frame 2: it holds 2"), "{failure}");
    }
}
