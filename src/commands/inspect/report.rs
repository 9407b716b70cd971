//! What is in a file, frame by frame, and what a pipeline makes of each.

use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::{Wishes, beside, sight, write_npy};
use crate::error::Result;
use crate::image::{self, Depth, Frame, Limits, Rejection};
use crate::prepare::{self, Prepared};
use crate::report::names::source_name;

/// What is in a file.
#[derive(Serialize)]
pub struct FileReport {
    file: PathBuf,
    bytes: u64,
    /// BLAKE3 of the file as it lies on disk.
    digest: Option<String>,
    format: Option<&'static str>,
    frames: Vec<FrameReport>,
    /// Why the file, or the first of its frames that is not listed, could not be decoded.
    pub rejection: Option<Refusal>,
    /// Places of the frames that could not be decoded, with the reason of each.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    refused: Vec<RefusedFrame>,
}

#[derive(Serialize)]
struct RefusedFrame {
    index: usize,
    #[serde(flatten)]
    rejection: Refusal,
}

#[derive(Serialize)]
struct FrameReport {
    index: usize,
    width: usize,
    height: usize,
    channels: usize,
    depth: String,
    #[serde(flatten)]
    range: Range,
    /// Blank (NaN) pixels.
    blank: usize,
    /// Pixels at the stored type's maximum; none are counted for floats.
    saturated: Option<usize>,
    observed_at: Option<DateTime<Utc>>,
    exposure_s: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    prepared: Option<PreparedReport>,
    #[serde(skip_serializing_if = "Option::is_none")]
    npy: Option<PathBuf>,
    #[serde(skip_serializing_if = "Option::is_none")]
    png: Option<PathBuf>,
}

/// Smallest, middle and largest finite value.
#[derive(Serialize)]
struct Range {
    min: Option<f32>,
    median: Option<f32>,
    max: Option<f32>,
}

/// What a pipeline makes of a frame.
#[derive(Serialize)]
#[serde(untagged)]
enum PreparedReport {
    Ready {
        width: usize,
        height: usize,
        channels: usize,
        tiles: usize,
        #[serde(flatten)]
        scaled: Range,
    },
    Refused {
        rejection: Refusal,
    },
}

/// Why something was refused.
#[derive(Clone, Serialize)]
pub struct Refusal {
    /// A stable word.
    pub reason: &'static str,
    /// For people.
    pub detail: String,
}

impl From<Rejection> for Refusal {
    fn from(rejection: Rejection) -> Self {
        Self { reason: rejection.reason.as_str(), detail: rejection.detail }
    }
}

impl FileReport {
    /// Reads a file, and makes of each frame what is wished for.
    ///
    /// # Errors
    /// [`crate::error::Kind::Io`] when a file cannot be written; one that cannot be decoded is a report too.
    pub fn of(path: &Path, limits: &Limits, wishes: &Wishes) -> Result<Self> {
        let bytes = std::fs::metadata(path).map_or(0, |metadata| metadata.len());
        let mut report = Self {
            file: path.to_path_buf(),
            bytes,
            digest: None,
            format: None,
            frames: Vec::new(),
            rejection: None,
            refused: Vec::new(),
        };
        let opened = image::read(path, limits).and_then(|content| {
            report.digest = Some(blake3::hash(&content).to_hex().to_string());
            image::open(content, limits)
        });
        match opened {
            Ok(file) => report.read_frames(file, wishes)?,
            Err(rejection) => report.rejection = Some(rejection.into()),
        }
        Ok(report)
    }

    fn read_frames(&mut self, file: image::File, wishes: &Wishes) -> Result<()> {
        self.format = Some(file.format.as_str());
        for (index, frame) in file.frames.enumerate() {
            match frame {
                Ok(frame) => {
                    let mut report = FrameReport::of(&frame);
                    report.npy = wishes.npy.map(|folder| write_npy(folder, &self.file, &frame)).transpose()?;
                    if let Some(input) = wishes.input {
                        let prepared = prepare::prepare(frame, input);
                        if let (Some(folder), Ok(prepared)) = (wishes.png, &prepared) {
                            report.png =
                                Some(sight::write(&beside(folder, &self.file, index, "png"), prepared, input)?);
                        }
                        report.prepared = Some(PreparedReport::of(prepared));
                    }
                    self.frames.push(report);
                }
                Err(rejection) => {
                    let rejection = Refusal::from(rejection);
                    self.rejection.get_or_insert_with(|| rejection.clone());
                    self.refused.push(RefusedFrame { index, rejection });
                }
            }
        }
        Ok(())
    }

    /// For people.
    pub fn text(&self) -> String {
        let format = self.format.unwrap_or("not decoded");
        let mut lines =
            vec![format!("{}: {format}, {} bytes, {} frames", source_name(&self.file), self.bytes, self.frames.len())];
        lines.extend(self.digest.iter().map(|digest| format!("  digest {digest}")));
        lines.extend(self.frames.iter().map(FrameReport::text));
        lines.extend(self.refused.iter().map(|RefusedFrame { index, rejection }| {
            format!("  frame {index}: refused: {}: {}", rejection.reason, rejection.detail)
        }));
        lines.join("\n") + "\n"
    }
}

impl FrameReport {
    fn of(frame: &Frame) -> Self {
        Self {
            index: frame.index,
            width: frame.width,
            height: frame.height,
            channels: frame.channels,
            depth: depth_word(frame.depth),
            range: Range::of(&frame.pixels),
            blank: frame.pixels.iter().filter(|value| value.is_nan()).count(),
            saturated: most(frame.depth).map(|most| frame.pixels.iter().filter(|&&value| value == most).count()),
            observed_at: frame.observed_at,
            exposure_s: frame.exposure_s,
            prepared: None,
            npy: None,
            png: None,
        }
    }

    fn text(&self) -> String {
        let channels = if self.channels == 1 { String::new() } else { format!(" x {}", self.channels) };
        let mut text = format!("  frame {}: {} x {}{channels}, {}", self.index, self.width, self.height, self.depth);
        text += &format!(", {}, blank {}", self.range, self.blank);
        text.extend(self.saturated.map(|count| format!(", saturated {count}")));
        text.extend(self.observed_at.map(|time| format!(", observed {}", time.to_rfc3339())));
        text.extend(self.exposure_s.map(|seconds| format!(", exposure {seconds} s")));
        text.extend(self.prepared.as_ref().map(|prepared| format!("\n    {prepared}")));
        let written = [&self.npy, &self.png].into_iter().flatten();
        text.extend(written.map(|path| format!("\n    written: {}", source_name(path))));
        text
    }
}

impl std::fmt::Display for PreparedReport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Ready { width, height, channels, tiles, scaled } => {
                write!(f, "prepared: {width} x {height} x {channels}, {tiles} tiles, scaled {scaled}")
            }
            Self::Refused { rejection } => write!(f, "refused: {}: {}", rejection.reason, rejection.detail),
        }
    }
}

impl PreparedReport {
    fn of(prepared: Result<Prepared, Rejection>) -> Self {
        match prepared {
            Ok(prepared) => Self::Ready {
                width: prepared.width,
                height: prepared.height,
                channels: prepared.channels,
                tiles: prepared.tiles.len(),
                scaled: Range::of(&prepared.pixels),
            },
            Err(rejection) => Self::Refused { rejection: rejection.into() },
        }
    }
}

impl Range {
    fn of(pixels: &[f32]) -> Self {
        let mut finite: Vec<f32> = pixels.iter().copied().filter(|value| value.is_finite()).collect();
        if finite.is_empty() {
            return Self { min: None, median: None, max: None };
        }
        let middle = finite.len() / 2;
        let (below, &mut upper, above) = finite.select_nth_unstable_by(middle, f32::total_cmp);
        let max = above.iter().copied().fold(upper, f32::max);
        let min = below.iter().copied().fold(upper, f32::min);
        // An even count has two middle values; their mean is the median, as in NumPy.
        let is_even = (below.len() + above.len()) % 2 == 1;
        let lower = below.iter().copied().reduce(f32::max).filter(|_| is_even).unwrap_or(upper);
        Self { min: Some(min), median: Some(lower.midpoint(upper)), max: Some(max) }
    }
}

impl std::fmt::Display for Range {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (self.min, self.median, self.max) {
            (Some(min), Some(median), Some(max)) => write!(f, "min {min} median {median} max {max}"),
            _ => write!(f, "no finite value"),
        }
    }
}

fn depth_word(depth: Depth) -> String {
    match depth {
        Depth::Unsigned(bits) => format!("uint{bits}"),
        Depth::Signed(bits) => format!("int{bits}"),
        Depth::Float(bits) => format!("float{bits}"),
    }
}

/// The largest value of an integer type.
fn most(depth: Depth) -> Option<f32> {
    match depth {
        Depth::Unsigned(bits) => Some((2f64.powi(bits.into()) - 1.0) as f32),
        Depth::Signed(bits) => Some((2f64.powi(i32::from(bits) - 1) - 1.0) as f32),
        Depth::Float(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_range_is_of_finite_values_and_the_median_is_numpys() {
        let range = |pixels: &[f32]| {
            let Range { min, median, max } = Range::of(pixels);
            (min, median, max)
        };
        assert_eq!(range(&[3.0, f32::NAN, 1.0, 2.0]), (Some(1.0), Some(2.0), Some(3.0)));
        assert_eq!(range(&[4.0, 1.0, 2.0, 8.0]), (Some(1.0), Some(3.0), Some(8.0)));
        assert_eq!(range(&[5.0, 7.0]), (Some(5.0), Some(6.0), Some(7.0)));
        assert_eq!(range(&[5.0]), (Some(5.0), Some(5.0), Some(5.0)));
        assert_eq!(range(&[f32::NAN, f32::INFINITY]), (None, None, None));
    }

    #[test]
    fn the_maximum_of_each_type() {
        assert_eq!(most(Depth::Unsigned(16)), Some(65535.0));
        assert_eq!(most(Depth::Signed(8)), Some(127.0));
        assert_eq!(most(Depth::Float(32)), None);
    }
}
