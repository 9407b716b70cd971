//! The anomaly map by a U-Net of its own: learnt from frames whose anomalous pixels are known, since somebody put them there.
//!
//! ```text
//! masked.rs   frames, their masks and kinds, and which of them are held out
//! origin.rs   from there, or from the version before
//! lesson.rs   tiles with something in them and as many without: the fit
//! figures.rs  what it finds in held-out frames, beside the residual at the same share of false pixels
//! words.rs, sheet.rs  the same as text and as a picture     mark.rs  what is marked in a map
//! ```
//! Frames with masks hold anomalies: they train this network alone, never the model or its calibration.

pub mod figures;
mod lesson;
pub mod mark;
pub mod masked;
mod origin;
mod sheet;
pub mod words;

#[cfg(test)]
mod tests;

pub use figures::{Figures, Quality};
pub use mark::Mark;
pub use masked::Masked;
pub use origin::{Made, Origin};

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::error::{Failure, Kind, Result};
use crate::model::FeedForward;
use crate::model::device::Device;
use crate::model::masks::sigmoid;
use crate::model::unet::beside;
use crate::pipeline::{self, Spec, Use};
use crate::prepare::{Mosaic, Prepared};
use crate::store::Version;
use crate::train::chain::History;

/// Its weights in a version's folder.
pub const WEIGHTS: &str = "segmenter.safetensors";
/// Held-out frames with what it marks, in a version's folder.
pub const SHEET: &str = "segmentation.png";
/// Tiles on the device at once.
const BATCH: usize = 32;

/// What a version's manifest says of its segmenter.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Record {
    /// Trained values.
    pub parameters: usize,
    /// The version it was taken over from, where it was not trained with this one.
    pub carried_from: Option<String>,
    /// Where its masked frames were.
    pub sources: Vec<PathBuf>,
    /// Masked frames that it learnt from, that stopped it and gave the threshold, and that the figures are of.
    pub frames: [usize; 3],
    /// From this probability on a pixel counts as anomalous: the highest Dice coefficient on validation, the mean over the
    /// kinds.
    pub threshold: f32,
    /// Share of the held-out frames' normal pixels that it marks.
    pub false_pixels: f64,
    /// What it has where the residual tells anomalous pixels better, which is then kept as the anomaly map.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worse: Option<String>,
    /// On held-out frames: of all, then by kind.
    pub figures: Vec<Figures>,
    /// Every epoch.
    pub history: History,
}

/// A fitted network for the anomaly map.
pub struct Segmenter {
    network: FeedForward,
    size: usize,
    /// See [`Record::threshold`].
    pub threshold: f32,
}

impl Segmenter {
    /// The segmenter of a version that makes the anomaly map; none where the pipeline asks for none, or where the residual does better.
    ///
    /// # Errors
    /// [`Kind::Model`] when the version has none, or one of another shape.
    pub fn in_use(spec: &Spec, version: &Version, device: Device) -> Result<Option<Self>> {
        let worse = version.manifest.segmenter.as_ref().is_some_and(|record| record.worse.is_some());
        let left = |segmenter: &pipeline::Segmenter| worse && segmenter.used == Use::IfBetter;
        if spec.segmenter.as_ref().is_some_and(left) { Ok(None) } else { Self::load(spec, version, device) }
    }

    /// The segmenter of a version, whether it is used or not; none where the pipeline asks for none.
    ///
    /// # Errors
    /// [`Kind::Model`] when the version has none, or one of another shape.
    pub fn load(spec: &Spec, version: &Version, device: Device) -> Result<Option<Self>> {
        let Some(segmenter) = &spec.segmenter else { return Ok(None) };
        let hint = "train again with masks (anomalyd train --masks DIR), or take [segmenter] out of the pipeline file";
        let Some(record) = &version.manifest.segmenter else {
            let message = format!("model {} has no segmenter, the pipeline asks for one", version.manifest.version);
            return Err(Failure::new(Kind::Model, message).hint(hint));
        };
        let weights = version.weights.with_file_name(WEIGHTS);
        let network = FeedForward::load(beside(spec, &segmenter.unet(spec), 1)?, &weights, device)
            .map_err(|failure| Failure { hint: Some(hint.into()), ..failure })?;
        Ok(Some(Self { network, size: spec.input.size, threshold: record.threshold }))
    }

    /// Writes the weights.
    ///
    /// # Errors
    /// [`Kind::Io`] when the file cannot be written.
    pub fn save(&self, path: &Path) -> Result<()> {
        self.network.save(path, HashMap::new())
    }

    /// The probability of every pixel to be anomalous, `[H, W]`; overlapping tiles are averaged.
    ///
    /// # Errors
    /// [`Kind::Internal`] when the device fails.
    pub fn apply(&self, frame: &Prepared) -> Result<Vec<f32>> {
        let (image, plane) = (frame.channels * self.size * self.size, self.size * self.size);
        let mut mosaic = Mosaic::new(frame, self.size, 1);
        for corners in frame.tiles.chunks(BATCH) {
            let mut x = vec![0.0; corners.len() * image];
            for (&corner, x) in corners.iter().zip(x.chunks_exact_mut(image)) {
                frame.copy_tile(corner, self.size, x);
            }
            let mut output = self.network.forward(&x)?;
            output.iter_mut().for_each(|z| *z = sigmoid(*z));
            for (&corner, output) in corners.iter().zip(output.chunks_exact(plane)) {
                mosaic.add(corner, output);
            }
        }
        Ok(mosaic.finish())
    }
}
