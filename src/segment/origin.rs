//! Where a version's segmenter comes from: masked frames, or the version before.

use std::path::Path;
use std::sync::atomic::AtomicBool;

use super::masked::{Masked, Parts};
use super::{Record, SHEET, Segmenter, WEIGHTS, figures, lesson};
use crate::detector::Detector;
use crate::error::{Failure, Result};
use crate::model::device::Device;
use crate::pipeline::Spec;
use crate::store::Version;
use crate::train::chain::Event;

/// What a segmenter is made from.
#[derive(Debug)]
pub enum Origin {
    /// It learns from these frames.
    Masked(Masked),
    /// It is taken over from a version.
    Version(Box<Version>),
}

/// A segmenter on its way into a version.
pub struct Made<'a> {
    segmenter: Segmenter,
    /// For the manifest; complete after [`Made::finish`].
    pub record: Record,
    from: From<'a>,
}

enum From<'a> {
    Masked(&'a Masked, Parts),
    Version(&'a Version),
}

impl<'a> Made<'a> {
    /// Fits the segmenter that the pipeline asks for, or loads it; none where it asks for none or nothing is given.
    ///
    /// # Errors
    /// [`crate::error::Kind::Data`] for too few frames; those of the fit, or of [`Segmenter::load`].
    pub fn new(
        spec: &Spec,
        origin: Option<&'a Origin>,
        device: Device,
        (stop, on): (&AtomicBool, &mut dyn FnMut(Event)),
    ) -> Result<Option<Self>> {
        let (Some(wanted), Some(origin)) = (&spec.segmenter, origin) else { return Ok(None) };
        match origin {
            Origin::Masked(set) => {
                let parts = set.parts()?;
                let (segmenter, history) = lesson::fit((spec, wanted), (set, &parts), device, (stop, on))?;
                let record = Record {
                    parameters: segmenter.network.parameter_count(),
                    carried_from: None,
                    sources: set.sources.clone(),
                    frames: [parts.train.len(), parts.validation.len(), parts.held.len()],
                    threshold: segmenter.threshold,
                    false_pixels: 0.0,
                    worse: None,
                    figures: Vec::new(),
                    history,
                };
                Ok(Some(Self { segmenter, record, from: From::Masked(set, parts) }))
            }
            Origin::Version(version) => {
                let (Some(segmenter), Some(record)) =
                    (Segmenter::load(spec, version, device)?, version.manifest.segmenter.clone())
                else {
                    return Ok(None);
                };
                let first = record.carried_from.clone().unwrap_or_else(|| version.manifest.version.clone());
                let record = Record { carried_from: Some(first), ..record };
                Ok(Some(Self { segmenter, record, from: From::Version(version) }))
            }
        }
    }

    /// Writes weights and contact sheet into a version's folder; takes the figures of one that was fitted, beside the
    /// residual of the version's model.
    ///
    /// # Errors
    /// [`crate::error::Kind::Internal`] when a device fails, [`crate::error::Kind::Io`] naming the file.
    pub fn finish(&mut self, detector: &mut Detector, folder: &Path) -> Result<()> {
        self.segmenter.save(&folder.join(WEIGHTS))?;
        let sheet = match &self.from {
            From::Masked(set, parts) => {
                Some(figures::measure((&self.segmenter, detector), (set, parts), &mut self.record)?)
            }
            // A picture, which a version can do without.
            From::Version(version) => std::fs::read(version.weights.with_file_name(SHEET)).ok(),
        };
        let path = folder.join(SHEET);
        sheet.map_or(Ok(()), |sheet| std::fs::write(&path, sheet).map_err(|error| Failure::io(&path, error)))
    }
}
