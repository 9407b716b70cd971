//! Model and calibration to verdicts.

use std::path::Path;

use rayon::prelude::*;

use crate::calibrate::Calibration;
use crate::classify::{Classifier, Named, window};
use crate::components::Component;
use crate::denoise::Denoiser;
use crate::denoise::departures::{Departures, Noise, departures};
use crate::detector::{Detector, Examined};
use crate::error::{Failure, Result};
use crate::frame_size::{FrameSize, OtherSize, Sizes};
use crate::measure::anomaly_map;
use crate::model::device;
use crate::pipeline::{Keep, Pipeline, Reduction};
use crate::prepare::{Mosaic, Prepared};
use crate::reference::Components;
use crate::segment::{Mark, Segmenter};
use crate::store::{self, Version};

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
    /// The frame is of another size than the calibration frames: p-value and threshold are not its own, and there is no certificate.
    pub other_size: Option<OtherSize>,
    /// Latent mean (the most anomalous tile's for a tiled frame).
    pub latent_mean: Vec<f32>,
    /// The class of normal frames that its latent mean is nearest to; `None` where the model knows no classes.
    pub class: Option<ClassOf>,
    /// What a flagged frame shows, by the pipeline's classifier; `None` where it has none, or the frame is not flagged.
    pub named: Option<Named>,
    /// The tiles that stand out, highest first; empty for an untiled or unflagged frame.
    pub tiles: Vec<FlaggedTile>,
    /// Pictures of a frame that is flagged or whose denoised image is kept.
    pub maps: Option<Maps>,
}

/// What a model that learnt from labels says of a frame.
#[derive(Debug, Clone, PartialEq)]
pub struct ClassOf {
    /// The most probable class.
    pub name: String,
    /// Its probability under the head, given that the frame is of one of the classes.
    pub probability: f64,
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
    /// `[channels, height, width]`, physical units: what lies behind the noise.
    pub denoised: Vec<f32>,
    /// What made it.
    pub denoised_by: DenoisedBy,
    /// Where it departs from the input by more than noise does.
    pub departures: Departures,
    /// `[height, width]`, at least 0: the smoothed residual in units of the noise, or with a mark the probability of an anomaly.
    pub anomaly: Vec<f32>,
    /// What the pipeline's segmenter marks in it; none in a residual.
    pub mark: Option<Mark>,
}

/// What a denoised image was made by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DenoisedBy {
    /// The model that scores: its reconstruction.
    Model,
    /// The pipeline's U-Net.
    Unet,
}

impl DenoisedBy {
    /// The word of the column `denoised_by`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Model => "model",
            Self::Unet => "unet",
        }
    }
}

/// Most tiles of a flagged frame that are listed.
const LISTED_TILES: usize = 64;
/// A tile is listed when fewer than this share of normal tiles score as high.
const LISTED_TAIL: f64 = 1e-3;

/// Judges prepared frames of one pipeline.
pub struct Scorer {
    pipeline: Pipeline,
    identity: Identity,
    detector: Detector,
    denoiser: Option<Denoiser>,
    segmenter: Option<Segmenter>,
    calibration: Calibration,
    sizes: Option<Sizes>,
    classifier: Option<Classifier>,
}

impl Scorer {
    /// Loads the version that `models/<name>/current` names and the pipeline's classifier, where it has one, and checks that
    /// they fit the pipeline.
    ///
    /// # Errors
    /// [`crate::error::Kind::Model`] when there is none, it is damaged or was made for another input, model or score;
    /// [`crate::error::Kind::Data`] when its calibration cannot support the pipeline's alpha.
    pub fn load(pipeline: &Pipeline, models: &Path, device: &str) -> Result<Self> {
        let classifier = Classifier::load(models, pipeline, device::pick(device)?)?;
        Ok(Self { classifier, ..Self::of(pipeline, store::load(models, pipeline)?, device)? })
    }

    /// The same of a version that was loaded, without a classifier.
    ///
    /// # Errors
    /// Those of [`Scorer::load`].
    pub fn of(pipeline: &Pipeline, version: Version, device: &str) -> Result<Self> {
        let calibration =
            Calibration::new(version.calibration.clone(), pipeline.spec.calibration).map_err(|failure| Failure {
                message: format!("pipeline {}: {}", pipeline.name, failure.message),
                ..failure
            })?;
        let identity = Identity {
            model_version: version.manifest.version.clone(),
            model_digest: version.manifest.digests.weights().to_string(),
            calibration_digest: version.manifest.digests.calibration().to_string(),
            pipeline_digest: pipeline.digest.clone(),
        };
        let denoiser = Denoiser::in_use(&pipeline.spec, &version, device::pick(device)?)?;
        let segmenter = Segmenter::in_use(&pipeline.spec, &version, device::pick(device)?)?;
        let sizes = version.manifest.data.sizes.or_else(|| Sizes::only(&pipeline.spec.input));
        let detector = Detector::load(&pipeline.spec, version, device::pick(device)?)?;
        let pipeline = pipeline.clone();
        Ok(Self { pipeline, identity, detector, denoiser, segmenter, calibration, sizes, classifier: None })
    }

    /// By what frames are judged.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// The version of the classifier, where there is one.
    pub fn classifier(&self) -> Option<&str> {
        self.classifier.as_ref().map(|classifier| classifier.card.version.as_str())
    }

    /// Sizes of the calibration frames; none where the version did not record them.
    pub fn sizes(&self) -> Option<Sizes> {
        self.sizes
    }

    /// What is to be said of a frame of another size than the calibration frames; nothing where theirs are not known.
    pub fn other_size(&self, frame: &Prepared) -> Option<OtherSize> {
        let (calibrated, frame) = (self.sizes?, FrameSize::of(frame));
        (!calibrated.cover(frame, &self.pipeline.spec.input)).then_some(OtherSize { frame, calibrated })
    }

    /// The calibration behind the p-values.
    pub fn calibration(&self) -> &Calibration {
        &self.calibration
    }

    /// The model and its frozen score.
    pub fn detector(&mut self) -> &mut Detector {
        &mut self.detector
    }

    /// Of frames that would be flagged, the corner of the window that a classifier is shown.
    ///
    /// # Errors
    /// [`crate::error::Kind::Internal`] when the device fails.
    pub fn flagged_windows(&mut self, frames: &[&Prepared]) -> Result<Vec<Option<(usize, usize)>>> {
        let examined = self.detector.examine(frames)?;
        let threshold = self.calibration.threshold();
        let window = |(frame, examined): (&&Prepared, Examined)| {
            let score = self.detector.fitted.tails.frame_score(&examined.tiles, &self.pipeline.spec.score);
            let look = || window::corner(&mut self.detector, &self.pipeline.spec, frame, &examined.tiles);
            (score > threshold).then(look).transpose()
        };
        frames.iter().zip(examined).map(window).collect()
    }

    /// Judges frames, in order. Frames are batched on the device, tiles of several frames together.
    ///
    /// # Errors
    /// [`crate::error::Kind::Internal`] when the device fails.
    pub fn score(&mut self, frames: &[Prepared]) -> Result<Vec<Verdict>> {
        let examined = self.detector.examine(&frames.iter().collect::<Vec<_>>())?;
        frames
            .iter()
            .zip(examined)
            .map(|(frame, examined)| self.judge(frame, &examined.tiles, examined.latents))
            .collect()
    }

    fn judge(&mut self, frame: &Prepared, tiles: &[Components], latents: Vec<Vec<f32>>) -> Result<Verdict> {
        let score_spec = &self.pipeline.spec.score;
        let tails = &self.detector.fitted.tails;
        let score = tails.frame_score(tiles, score_spec);
        let (p_value, extrapolated) = self.calibration.p_value(score);
        let is_anomaly = score > self.calibration.threshold();
        let tile_scores: Vec<f64> = tiles.iter().map(|tile| tails.tile_score(tile, score_spec)).collect();
        let worst = worst(&tile_scores);
        let keep = match self.pipeline.spec.report.denoised {
            Keep::All => true,
            Keep::Flagged | Keep::None => is_anomaly,
        };
        let latent_mean = latents.into_iter().nth(worst).unwrap_or_default();
        Ok(Verdict {
            components: frame_components(tiles, score_spec.reduction),
            score,
            p_value,
            threshold: self.calibration.threshold(),
            alpha: self.calibration.asked.alpha,
            is_anomaly,
            extrapolated,
            other_size: self.other_size(frame),
            class: self.detector.class_of(&latent_mean)?,
            latent_mean,
            named: if is_anomaly { self.name(frame, tiles)? } else { None },
            tiles: if is_anomaly { self.flagged_tiles(frame, &tile_scores) } else { Vec::new() },
            maps: if keep { Some(self.draw(frame)?) } else { None },
        })
    }

    /// What the classifier says of a frame.
    fn name(&mut self, frame: &Prepared, tiles: &[Components]) -> Result<Option<Named>> {
        let Some(classifier) = &self.classifier else { return Ok(None) };
        let (spec, size) = (&self.pipeline.spec, self.pipeline.spec.input.size);
        let mut seen = vec![0.0; frame.channels * size * size];
        frame.copy_tile(window::corner(&mut self.detector, spec, frame, tiles)?, size, &mut seen);
        Ok(classifier.name(&seen)?.pop())
    }

    /// The tiles that stand out, highest first; the highest of all is always among them.
    fn flagged_tiles(&self, frame: &Prepared, scores: &[f64]) -> Vec<FlaggedTile> {
        if frame.tiles.len() < 2 {
            return Vec::new();
        }
        let mut tiles: Vec<FlaggedTile> = frame
            .tiles
            .iter()
            .zip(scores)
            .map(|(&(x, y), &score)| FlaggedTile {
                x: x as u32,
                y: y as u32,
                score,
                tail: self.detector.fitted.tails.tile_tail(score),
            })
            .collect();
        tiles.sort_by(|a, b| b.score.total_cmp(&a.score));
        let standing_out = tiles.iter().take_while(|tile| tile.tail < LISTED_TAIL).count();
        tiles.truncate(standing_out.clamp(1, LISTED_TILES));
        tiles
    }

    /// Denoised image and anomaly map of the whole frame; overlapping tiles are averaged.
    fn draw(&mut self, frame: &Prepared) -> Result<Maps> {
        let (width, height, channels) = (frame.width, frame.height, frame.channels);
        let size = self.pipeline.spec.input.size;
        let mut denoised = Mosaic::new(frame, size, channels);
        let mut anomaly = Mosaic::new(frame, size, 1);
        self.detector.reconstruct(frame, &mut |corner, x_hat, residual| {
            anomaly.add(corner, &anomaly_map(residual, channels, size));
            denoised.add(corner, x_hat);
        })?;
        let (denoised, denoised_by) = match &self.denoiser {
            Some(denoiser) => (denoiser.apply(frame)?, DenoisedBy::Unet),
            None => (denoised.finish(), DenoisedBy::Model),
        };
        let anomaly = match &self.segmenter {
            Some(segmenter) => segmenter.apply(frame)?,
            None => anomaly.finish(),
        };
        let mark = self.segmenter.as_ref().map(|segmenter| Mark::of(&anomaly, width, segmenter.threshold));
        let law = self.detector.observation();
        let noise = Noise { law: &law, likelihood: self.pipeline.spec.model.likelihood, scaling: frame.scaling };
        let physical = |pixels: &[f32]| pixels.par_iter().map(|&value| frame.scaling.unscale(value)).collect();
        Ok(Maps {
            width,
            height,
            channels,
            input: physical(&frame.pixels),
            denoised: physical(&denoised),
            denoised_by,
            departures: departures(noise, &frame.pixels, &denoised, width * height),
            anomaly,
            mark,
        })
    }
}

/// The place of the highest score.
fn worst(scores: &[f64]) -> usize {
    (0..scores.len()).max_by(|&a, &b| scores[a].total_cmp(&scores[b])).unwrap_or(0)
}

/// Each component reduced over the tiles, as the report has it.
pub fn frame_components(tiles: &[Components], reduction: Reduction) -> [Option<f64>; Component::ALL.len()] {
    Component::ALL.map(|component| {
        let values: Vec<f64> = tiles.iter().map(|tile| tile[component as usize]).collect();
        let computed = values.iter().all(|value| !value.is_nan());
        computed.then(|| crate::calibrate::reduce(values, reduction))
    })
}
