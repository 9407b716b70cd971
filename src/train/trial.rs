//! A fit that nobody publishes: the same split, loop and score as a version's, in memory alone.

use std::sync::atomic::AtomicBool;

use super::classes::Classes;
use super::data::Sample;
use super::fit::{self, Event, tiles_of};
use super::history::History;
use super::{freeze, part};
use crate::detector::Detector;
use crate::error::Result;
use crate::model::Autoencoder;
use crate::model::device::Device;
use crate::pipeline::Pipeline;

/// A fit that nobody publishes.
pub struct Trial {
    /// Its epochs.
    pub history: History,
    /// Weights and biases.
    pub parameters: usize,
    /// Share of the weights that are exactly zero.
    pub sparsity: f64,
    /// The model with what it is scored by.
    pub detector: Detector,
    /// The frames that nothing was fitted to: indices into those given.
    pub calibration: Vec<usize>,
}

/// Fits a model and everything its score needs, without labels.
///
/// # Errors
/// Those of [`super::train`].
pub fn trial(
    pipeline: &Pipeline,
    frames: &[Sample],
    device: Device,
    stop: &AtomicBool,
    on: &mut dyn FnMut(Event),
) -> Result<Trial> {
    let spec = &pipeline.spec;
    let (parts, _) = part(frames, spec)?;
    let (train, validation) = (tiles_of(frames, &parts.train), tiles_of(frames, &parts.validation));
    let classes = Classes::default();
    let mut model = Autoencoder::new(&spec.model.named(&[]), &spec.input, spec.training.seed, device)?;
    let history = fit::fit(&mut model, (frames, &classes), (&train, &validation), spec, stop, on)?;
    let (parameters, sparsity) = (model.parameter_count(), model.sparsity()?);
    let (detector, _) = freeze(model, (frames, &classes), (&train, &parts.validation), pipeline)?;
    Ok(Trial { history, parameters, sparsity, detector, calibration: parts.calibration })
}
