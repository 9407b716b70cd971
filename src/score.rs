//! Model and calibration to verdicts.

use std::path::Path;

use crate::components::Component;
use crate::error::{Failure, Kind, Result};
use crate::pipeline::Pipeline;
use crate::prepare::Prepared;

/// What a row of `scores` says a frame was judged by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The version's folder name.
    pub model_version: String,
    /// BLAKE3 of the weights, hex.
    pub model_digest: String,
    /// BLAKE3 of the calibration, hex.
    pub calibration_digest: String,
    /// BLAKE3 of the pipeline file the daemon runs with, hex.
    pub pipeline_digest: String,
}

/// The judgement of one frame.
#[derive(Debug, Clone)]
pub struct Verdict {
    /// Each component's value for the frame (reduced over its tiles); `None` where the pipeline does not use it.
    pub components: [Option<f64>; Component::ALL.len()],
    /// Combined score; higher is more anomalous.
    pub score: f64,
    /// Probability of such a score for a normal frame.
    pub p_value: f64,
    /// The certified threshold on `score`.
    pub threshold: f64,
    /// The false-alarm rate it certifies.
    pub alpha: f64,
    /// `score > threshold`.
    pub is_anomaly: bool,
    /// The p-value lies beyond the calibration's reach: an estimate, no certificate.
    pub extrapolated: bool,
    /// Latent mean (the most anomalous tile's for a tiled frame).
    pub latent_mean: Vec<f32>,
    /// The tiles that stand out, highest first; empty for an untiled or unflagged frame.
    pub tiles: Vec<FlaggedTile>,
    /// Pictures of a frame that is flagged or whose denoised image is kept.
    pub maps: Option<Maps>,
}

/// A tile that stands out.
#[derive(Debug, Clone, PartialEq)]
pub struct FlaggedTile {
    /// Left edge, pixels of the frame.
    pub x: u32,
    /// Top edge, pixels of the frame.
    pub y: u32,
    /// The tile's combined score.
    pub score: f64,
    /// Share of normal tiles with a score at least this high.
    pub tail: f64,
}

/// Pictures of a frame, at the size the model saw it.
#[derive(Debug, Clone)]
pub struct Maps {
    /// Pixels a row.
    pub width: usize,
    /// Rows.
    pub height: usize,
    /// Channels of `input` and `denoised`.
    pub channels: usize,
    /// `[channels, height, width]`, physical units.
    pub input: Vec<f32>,
    /// `[channels, height, width]`, physical units: the reconstruction.
    pub denoised: Vec<f32>,
    /// `[height, width]`, smoothed noise-normalised residual, at least 0.
    pub anomaly: Vec<f32>,
}

/// Judges prepared frames of one pipeline.
pub struct Scorer {
    identity: Identity,
}

impl Scorer {
    /// Loads the version that `models/<name>/current` names and checks that it fits the pipeline.
    ///
    /// # Errors
    /// [`Kind::Model`] when there is none, it is damaged or of another shape; [`Kind::Settings`] when the calibration cannot support alpha.
    pub fn load(pipeline: &Pipeline, models: &Path, _device: &str) -> Result<Self> {
        Err(Failure::new(Kind::Model, format!("no model of pipeline {} in {}", pipeline.name, models.display())))
    }

    /// By what frames are judged.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// Judges frames, in order. Frames are batched on the device, tiles of several frames together.
    ///
    /// # Errors
    /// [`Kind::Internal`] when the device fails.
    pub fn score(&mut self, _frames: &[Prepared]) -> Result<Vec<Verdict>> {
        Ok(Vec::new())
    }
}
