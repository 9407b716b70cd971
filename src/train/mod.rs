//! From normal images to a published model: load, split, fit, reference, tails, calibration, pictures, publish.

mod apart;
pub mod augment;
pub mod chain;
pub mod classes;
pub mod data;
pub mod diagnosis;
pub mod fit;
pub mod group;
pub mod history;
pub mod judge;
pub mod opening;
pub mod overlap;
pub mod pictures;
pub mod report;
pub mod seal;
pub mod sizes;
pub mod split;
pub mod symmetry;
pub mod trial;

#[cfg(test)]
mod tests;

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use chrono::Utc;

use crate::ablate::Ablation;
use crate::calibrate::{self, Calibration, Tails};
use crate::denoise::compare::Denoising;
use crate::denoise::{self, Pairs};
use crate::detector::{Detector, Tile, measure_tiles};
use crate::error::{Failure, Kind, Result};
use crate::image::Limits;
use crate::model::Autoencoder;
use crate::model::device::Device;
use crate::pipeline::Pipeline;
use crate::prepare::Prepared;
use crate::reference::{Reference, profiles};
use crate::segment;
use crate::store::{self, CalibrationRow, Data, Digests, Draft, Fitted, Manifest, Source};
use classes::{Classes, Names};
use data::{Sample, Samples};
use fit::{Event, TileRef, evenly, tiles_of};
use group::Groups;
use report::{Latents, Report, Seen};
use seal::TestFrame;
use split::{GroupCounts, Split};

/// Most training tiles the reference distributions are fitted on.
const REFERENCE_TILES: usize = 20_000;
/// Local feature vectors the patch covariance is fitted on, about.
const REFERENCE_PATCHES: usize = 100_000;
/// Most validation frames that are held against their clean twins.
const COMPARED: usize = 64;
/// Frames examined at once: bounds the memory of large frames' measurements.
const FRAMES_AT_ONCE: usize = 64;

/// What to train, from what, as which command.
#[derive(Debug)]
pub struct Job<'a> {
    /// The pipeline, its seed already overridden where the user did.
    pub pipeline: &'a Pipeline,
    /// The paths given, for the manifest.
    pub given: &'a [PathBuf],
    /// Labelled frames to be sealed as test split; they are taken out of the training data.
    pub test: seal::Given,
    /// The same with what tells normal frames apart in them.
    pub sources: &'a [Source],
    /// Weights to start from; drawn by the seed where absent.
    pub start: Option<&'a Path>,
    /// Clean twins of the frames, for the denoiser and the report; without them it learns from noise added.
    pub clean: Option<Vec<Sample>>,
    /// What the segmenter is made from; none where the pipeline asks for none.
    pub segmenter: Option<segment::Origin>,
    /// Where versions are published.
    pub models: &'a Path,
    /// The command line, for the manifest.
    pub command: String,
}

/// Trains, calibrates and publishes one version.
///
/// # Errors
/// [`Kind::Data`] before any work when the split leaves too few frames, or the labels do not go with the pipeline or the
/// weights to start from; see [`fit::fit`] for the rest.
pub fn train(
    job: &Job,
    mut samples: Samples,
    device: Device,
    stop: &AtomicBool,
    on: &mut dyn FnMut(Event),
) -> Result<Manifest> {
    let spec = &job.pipeline.spec;
    // A copy adds nothing, and two copies of a calibration frame would count as two; one of a test frame would be a leak.
    let mut known: HashSet<_> = job.test.frames.iter().map(|frame| frame.digest.clone()).collect();
    let given = samples.frames.len();
    samples.frames.retain(|sample| known.insert(sample.digest.to_hex().to_string()));
    if samples.frames.is_empty() {
        return Err(Failure::new(
            Kind::Data,
            format!("all {given} frames given are sealed for test: none is left to learn from"),
        )
        .hint("give other frames for one of the two"));
    }
    let group = spec.training.group.as_ref();
    let mut sealed = apart::named(&job.test, group)?;
    apart::leave_out_groups(&mut samples, &sealed, group)?;
    samples.digest = data::digest_of(&samples.frames);
    let (parts, groups) = part(&samples.frames, spec)?;
    let mut kept: Vec<TestFrame> =
        parts.test.iter().map(|&index| TestFrame::new(&samples.frames[index], seal::NORMAL)).collect();
    apart::name(&mut kept, group)?;
    sealed.append(&mut kept);
    seal::tell(&sealed);
    let classes = classes_of(job, &samples)?;
    let frames = &samples.frames;
    let sizes = sizes::examine(frames, &parts.calibration, spec);
    let (train, validation) = (tiles_of(frames, &parts.train), tiles_of(frames, &parts.validation));
    let pairs = job.clean.as_ref().map(|clean| Pairs::of(frames, clean, spec.input.scaling)).transpose()?;
    let device_name = device.name().to_string();
    let (again, third) = (device.clone(), device.clone());
    let network = spec.model.named(&classes.names);
    let mut model = match job.start {
        Some(weights) => Autoencoder::load(&network, &spec.input, weights, device)?,
        None => Autoencoder::new(&network, &spec.input, spec.training.seed, device)?,
    };
    let history = fit::fit(&mut model, (frames, &classes), (&train, &validation), spec, stop, on)?;

    let draft = Draft::start(job.models, &job.pipeline.name)?;
    model.save(&draft.weights(), [("pipeline".to_string(), job.pipeline.name.clone())].into())?;
    pictures::draw_history(&draft.folder, &job.pipeline.name, &history, spec.model.beta)?;
    pictures::draw_augmentation(&draft.folder, &job.pipeline.name, frames, &train, spec)?;
    pictures::draw_filters(&draft.folder, &job.pipeline.name, frames, &train, spec)?;
    let taught = (frames.as_slice(), pairs.as_ref());
    let mut denoiser = denoise::fit(
        spec,
        taught,
        (&train, &validation),
        again,
        (stop, &mut |event| on(Event::Beside("denoiser", event))),
    )?;
    if let Some((denoiser, _)) = &denoiser {
        denoiser.save(&draft.path(denoise::WEIGHTS))?;
    }
    let mut beside = |event: chain::Event<'_>| on(Event::Beside("segmenter", event));
    let mut segmenter = segment::Made::new(spec, job.segmenter.as_ref(), third, (stop, &mut beside))?;
    let (parameters, sparsity) = (model.parameter_count(), model.sparsity()?);
    let (mut detector, seen) = freeze(model, (frames, &classes), (&train, &parts.validation), job.pipeline)?;
    let denoising = match &pairs {
        Some(pairs) => {
            let twins = pairs.twins(frames, evenly(&parts.validation, COMPARED));
            let ways = (&mut detector, denoiser.as_ref().map(|(denoiser, _)| denoiser));
            Some(pictures::draw_denoising(&draft.folder, ways, spec.model.kind, &twins)?)
        }
        None => None,
    };
    if let Some((_, record)) = &mut denoiser {
        record.worse = denoising.as_ref().and_then(Denoising::worse);
    }
    pictures::draw_reconstructions(&draft.folder, &job.pipeline.name, &mut detector, frames, &parts.validation)?;
    if let Some(segmenter) = &mut segmenter {
        segmenter.finish(&mut detector, &draft.folder)?;
    }
    let calibration = rank(&mut detector, frames, &parts.calibration, job.pipeline)?;
    let scores: Vec<f64> = calibration.iter().map(|row| row.score).collect();
    let threshold = Calibration::new(scores.clone(), spec.calibration)?.threshold();
    let symmetries = symmetry::examine(&mut detector, frames, &parts.validation, spec, threshold)?;
    let test = seal::seal(&draft.folder, sealed, &job.test)?;
    draft.write(&detector.fitted, &calibration, &parts.rows(frames))?;
    let mut manifest = Manifest {
        version: String::new(),
        created_at: Utc::now(),
        software: format!("anomalyd {}", env!("CARGO_PKG_VERSION")),
        command: job.command.clone(),
        device: device_name,
        seed: spec.training.seed,
        parameters,
        sparsity,
        training: Some(spec.training.clone()),
        denoiser: denoiser.map(|(_, record)| record),
        denoising,
        segmenter: segmenter.map(|made| made.record),
        symmetries,
        data: Data {
            given: job.given.iter().map(|path| path.display().to_string()).collect(),
            sources: job.sources.to_vec(),
            digest: samples.digest.clone(),
            classes: classes.count(frames),
            frames: frames.len(),
            rejected: samples.rejected.len(),
            train: parts.train.len(),
            validation: parts.validation.len(),
            calibration: parts.calibration.len(),
            sizes,
            groups,
            test,
        },
        digests: Digests::default(),
        history,
        pipeline: job.pipeline.text.clone(),
    };
    report::keep(&seen, &draft.folder)?;
    draft.complete(&mut manifest)?;
    let home = store::home(job.models, &job.pipeline.name);
    let ablation = Ablation::read(&home).unwrap_or_else(|failure| {
        tracing::warn!(error = failure.message, "the ablation is not shown");
        None
    });
    let report = Report {
        name: &job.pipeline.name,
        manifest: &manifest,
        spec,
        latents: detector.fitted.reference.latents(),
        calibration: &scores,
        seen: Some(&seen),
        events: &[],
        ablation: ablation.as_ref(),
        folder: &draft.folder,
    };
    report::write(&report, &draft.path(report::FILE))?;
    draft.publish(manifest)
}

/// The classes of the frames, where the pipeline learns from labels; those of the weights to start from, where there are any.
fn classes_of(job: &Job, samples: &Samples) -> Result<Classes> {
    let Some(labels) = &job.pipeline.spec.model.labels else { return Ok(Classes::default()) };
    if !labels.classes.is_empty() {
        return Classes::of(samples, Names::Declared(&labels.classes));
    }
    let kept = job.start.map_or(Ok(Vec::new()), Autoencoder::classes_on_disk)?;
    Classes::of(samples, if kept.is_empty() { Names::Labels } else { Names::Kept(&kept) })
}

/// The parts of the data, by group where the pipeline names one, and how many groups each has.
fn part(frames: &[Sample], spec: &crate::pipeline::Spec) -> Result<(Split, Option<GroupCounts>)> {
    let shares = spec.training.split;
    let Some(group) = &spec.training.group else {
        let parts = split::split(frames, shares);
        check(&parts, spec)?;
        return Ok((parts, None));
    };
    let files = frames.iter().map(|frame| frame.source.as_path());
    let groups = Groups::of(files, group, &Limits::default())?;
    let parts = split::split_groups(frames, shares, &groups);
    let counts = split::count_groups(frames, &parts, &groups);
    check(&parts, spec).map_err(|failure| {
        let GroupCounts { train, validation, calibration, test } = counts;
        let sealed = if shares.test > 0.0 { format!(", {test} to test") } else { String::new() };
        let why = format!(
            "{}; by {group}, {train} groups went to train, {validation} to validation, {calibration} to calibration{sealed}",
            failure.message
        );
        let hint = "a group is never divided: give frames of more groups, other shares in training.split, or name smaller groups";
        Failure::new(failure.kind, why).hint(hint)
    })?;
    Ok((parts, Some(counts)))
}

/// Refuses, before any work, a split that cannot end in a certified model.
fn check(parts: &Split, spec: &crate::pipeline::Spec) -> Result<()> {
    calibrate::check_count(parts.calibration.len(), spec.calibration)?;
    for (part, count, least) in [("train", parts.train.len(), 2), ("validation", parts.validation.len(), 5)] {
        if count < least {
            return Err(Failure::new(Kind::Data, format!("{count} {part} frames: at least {least} are needed"))
                .hint("give more normal frames, or another training.split"));
        }
    }
    Ok(())
}

/// Fits everything the score needs beside the weights: the reference on train, the tails on validation.
fn freeze(
    mut model: Autoencoder,
    (frames, classes): (&[Sample], &Classes),
    (train, validation): (&[TileRef], &[usize]),
    pipeline: &Pipeline,
) -> Result<(Detector, Seen)> {
    let chosen = evenly(train, REFERENCE_TILES);
    let tiles: Vec<Tile> = chosen
        .iter()
        .map(|tile| {
            let prepared = &frames[tile.sample].prepared;
            (tile.sample, prepared, prepared.tiles[tile.tile])
        })
        .collect();
    let measured = measure_tiles(&mut model, &tiles, REFERENCE_PATCHES.div_ceil(tiles.len()))?;
    let channels = model.stages().last().map_or(1, |stage| stage.0);
    let profiles = source_profiles(frames, &chosen, pipeline);
    let known: Vec<Option<u32>> = chosen.iter().map(|tile| classes.class(&frames[tile.sample])).collect();
    let reference = Reference::fit((&measured, &known), &profiles, channels, pipeline.spec.training.seed);
    drop(measured);
    let score = &pipeline.spec.score;
    let mut detector = Detector::new(model, Fitted { reference, tails: Tails::unfitted() }, &pipeline.spec);
    detector.want_all();
    let mut examined = Vec::with_capacity(validation.len());
    let mut latents = Latents::of(validation.iter().map(|&index| frames[index].prepared.tiles.len()).sum());
    for some in validation.chunks(FRAMES_AT_ONCE) {
        let frames: Vec<&Prepared> = some.iter().map(|&index| &frames[index].prepared).collect();
        for frame in detector.examine(&frames)? {
            latents.take(examined.len(), &frame);
            examined.push(frame.tiles);
        }
    }
    detector.fitted.tails = Tails::fit(&examined, score);
    let samples: Vec<&Sample> = validation.iter().map(|&index| &frames[index]).collect();
    let seen = Seen::of(&samples, &examined, latents, &detector.fitted.tails, score);
    Ok((detector, seen))
}

/// Profiles of the sources of the frames that the chosen tiles come from; none where pixels are not in units of the noise.
fn source_profiles(frames: &[Sample], chosen: &[TileRef], pipeline: &Pipeline) -> Vec<f32> {
    if !pipeline.spec.input.in_noise_units() {
        return Vec::new();
    }
    let each_frame = chosen.chunk_by(|a, b| a.sample == b.sample).map(|tiles| tiles[0].sample);
    each_frame.flat_map(|sample| profiles(&frames[sample].prepared)).collect()
}

/// The frozen score of every calibration frame.
fn rank(
    detector: &mut Detector,
    frames: &[Sample],
    calibration: &[usize],
    pipeline: &Pipeline,
) -> Result<Vec<CalibrationRow>> {
    let mut rows = Vec::with_capacity(calibration.len());
    for some in calibration.chunks(FRAMES_AT_ONCE) {
        let prepared: Vec<&Prepared> = some.iter().map(|&index| &frames[index].prepared).collect();
        for (&index, examined) in some.iter().zip(detector.examine(&prepared)?) {
            rows.push(CalibrationRow {
                source: frames[index].source.display().to_string(),
                frame_index: frames[index].index as u32,
                score: detector.fitted.tails.frame_score(&examined.tiles, &pipeline.spec.score),
            });
        }
    }
    Ok(rows)
}
