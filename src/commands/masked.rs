//! What the segmenter of a training is made from.

use std::path::PathBuf;

use crate::error::{Failure, Kind, Result};
use crate::pipeline::Pipeline;
use crate::segment::{Masked, Origin};
use crate::settings::Settings;
use crate::store::{self, Version};

/// Masked frames to learn from; none where none are given.
///
/// # Errors
/// [`Kind::Usage`] where the pipeline has no segmenter; those of [`Masked::load`].
pub fn learnt(folders: &[PathBuf], pipeline: &Pipeline, settings: &Settings) -> Result<Option<Origin>> {
    if folders.is_empty() {
        return Ok(None);
    }
    if pipeline.spec.segmenter.is_none() {
        let message = format!("--masks: pipeline {} has no segmenter that could learn from them", pipeline.name);
        return Err(Failure::new(Kind::Usage, message).hint("give it a [segmenter], or leave --masks out"));
    }
    let set = Masked::load(folders, &pipeline.spec.input, &settings.limits)?;
    tracing::info!(frames = set.frames.len(), rejected = set.rejected, "masked frames loaded");
    Ok(Some(Origin::Masked(set)))
}

/// The same, or else the segmenter of the version that is in use; none where the pipeline asks for none.
///
/// # Errors
/// As [`learnt`]; [`Kind::Usage`] where the version in use has none; those of [`store::load`].
pub fn learnt_or_carried(folders: &[PathBuf], pipeline: &Pipeline, settings: &Settings) -> Result<Option<Origin>> {
    let origin = learnt(folders, pipeline, settings)?;
    if origin.is_some() || pipeline.spec.segmenter.is_none() {
        return Ok(origin);
    }
    let version: Version = store::load(&settings.models, pipeline)?;
    if version.manifest.segmenter.is_none() {
        return Err(missing(pipeline));
    }
    Ok(Some(Origin::Version(Box::new(version))))
}

/// Nothing to make the segmenter from.
pub fn missing(pipeline: &Pipeline) -> Failure {
    let message = format!("pipeline {} has a [segmenter] and nothing it could be made from", pipeline.name);
    Failure::new(Kind::Usage, message).hint("give masked frames: --masks DIR, as anomalyd simulate --masks writes them")
}
