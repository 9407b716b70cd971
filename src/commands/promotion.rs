//! What becomes of a version that was just made: the first one is promoted, every other goes through the gate.

use std::collections::HashSet;
use std::path::PathBuf;

use serde::Serialize;

use super::evaluate::by_folder;
use super::material::Material;
use super::{origin, past, report};
use crate::error::Result;
use crate::gate::{self, FEWEST, Held, Kinds};
use crate::pipeline::{Pipeline, Promotion, Spec};
use crate::score::Scorer;
use crate::settings::Settings;
use crate::store::{self, Event, Manifest, Shelf, Verdict, Version};
use crate::train::data::{self, Sample, Samples};
use crate::train::seal::Given;

/// What the gate is given.
#[derive(Debug, Clone, clap::Args)]
pub struct GateArgs {
    /// Known anomalies for the gate, besides those that people labelled; the folders in it name their kinds [default: where there
    /// are fewer than twenty, anomalies are put into held-out frames].
    #[arg(long, num_args = 1.., value_name = "PATH")]
    pub gate_anomalous: Vec<PathBuf>,
}

/// What became of the version.
#[derive(Debug, Serialize)]
pub struct Outcome {
    /// What happened.
    pub event: Event,
    /// Why.
    pub reason: String,
    /// What the gate found; `None` where there was nothing to hold the version against.
    pub verdict: Option<Verdict>,
}

/// The current version, before a candidate is made, and the frames to hold both against each other on.
pub struct Rival {
    name: String,
    scorer: Scorer,
    held: Held,
}

impl Rival {
    /// The current version of a pipeline, and held-out frames among those the candidate is made from and those this one was
    /// made from, less those that are sealed for test. `None` where there is no version that loads.
    ///
    /// # Errors
    /// Those of reading groups.
    pub fn find(pipeline: &Pipeline, material: &Material, settings: &Settings) -> Result<Option<Self>> {
        if store::current(&settings.models, &pipeline.name)?.is_none() {
            return Ok(None);
        }
        let loaded = store::load(&settings.models, pipeline).and_then(|version| {
            let (manifest, spec) = (version.manifest.clone(), trained(pipeline, &version)?);
            Ok((manifest, spec, Scorer::of(&without_pictures(pipeline), version, &settings.device)?))
        });
        let (manifest, spec, scorer) = match loaded {
            Ok(loaded) => loaded,
            Err(failure) => {
                tracing::warn!(
                    error = failure.message,
                    "the current version does not load, so there is no gate to pass"
                );
                return Ok(None);
            }
        };
        let specs = [&pipeline.spec, &spec];
        let folder = store::home(&settings.models, &pipeline.name).join(&manifest.version);
        let own = origin::own(&folder, &manifest, pipeline, settings);
        let sealed = sealed(&material.test);
        let side = |samples: &Samples| -> Result<Vec<Sample>> {
            let mut frames = gate::side_of_both(&samples.frames, specs)?;
            frames.retain(|frame| !sealed.contains(frame.digest.to_hex().as_str()));
            Ok(frames)
        };
        let held = Held::new(side(&own)?, material.by_origin(side(&material.samples)?));
        Ok(Some(Self { name: manifest.version, scorer, held }))
    }
}

/// What makes pictures has no part in the gate: a version from before it was asked for can be compared all the same.
fn without_pictures(pipeline: &Pipeline) -> Pipeline {
    let mut pipeline = pipeline.clone();
    (pipeline.spec.denoiser, pipeline.spec.segmenter) = (None, None);
    pipeline
}

/// The digests of what is sealed, hex.
fn sealed(test: &Given) -> HashSet<&str> {
    test.frames.iter().map(|frame| frame.digest.as_str()).collect()
}

/// Known anomalies: those that were given and those that people labelled, less what is sealed for test.
///
/// # Errors
/// [`crate::error::Kind::Data`] for anomalies that cannot be read, [`crate::error::Kind::Io`].
pub fn known(pipeline: &Pipeline, args: &GateArgs, test: &Given, settings: &Settings) -> Result<Kinds> {
    let mut kinds = past::load_odd(pipeline, &crate::labels::read(&settings.state)?, settings)?;
    if !args.gate_anomalous.is_empty() {
        let samples = data::load(&args.gate_anomalous, &pipeline.spec.input, &settings.limits)?;
        for (kind, samples) in by_folder(samples.frames, &args.gate_anomalous) {
            kinds.entry(kind).or_default().extend(samples);
        }
    }
    let (sealed, mut seen) = (sealed(test), HashSet::new());
    for samples in kinds.values_mut() {
        samples.retain(|sample| !sealed.contains(sample.digest.to_hex().as_str()) && seen.insert(sample.digest));
    }
    kinds.retain(|_, samples| !samples.is_empty());
    Ok(kinds)
}

/// The pipeline as the version was trained with it.
fn trained(pipeline: &Pipeline, version: &Version) -> Result<Spec> {
    let mut spec = Pipeline::parse(&pipeline.name, &pipeline.path, version.manifest.pipeline.clone())?.spec;
    if let Some(training) = &version.manifest.training {
        spec.training = training.clone();
    }
    Ok(spec)
}

/// Promotes the version, keeps it, or has it wait; and records why.
///
/// # Errors
/// [`crate::error::Kind::Io`], [`crate::error::Kind::Data`] for anomalies that cannot be read.
pub fn settle(
    pipeline: &Pipeline,
    manifest: &Manifest,
    rival: Option<Rival>,
    known: &Kinds,
    settings: &Settings,
) -> Result<Outcome> {
    let outcome = match rival {
        None => Outcome { event: Event::Promoted, reason: "the first version that fits".into(), verdict: None },
        Some(rival) => pass(pipeline, manifest, rival, known, settings)?,
    };
    let shelf = Shelf::open(&settings.models, &pipeline.name)?;
    let Outcome { event, reason, verdict } = &outcome;
    if *event == Event::Promoted {
        shelf.promote(&manifest.version, *event, reason, verdict.clone())?;
    } else {
        shelf.record(&manifest.version, *event, reason, verdict.clone())?;
    }
    report::renew(&settings.models, &pipeline.name, &manifest.version);
    Ok(outcome)
}

/// Through the gate.
fn pass(
    pipeline: &Pipeline,
    manifest: &Manifest,
    mut rival: Rival,
    known: &Kinds,
    settings: &Settings,
) -> Result<Outcome> {
    let waits = |reason: String, verdict| Ok(Outcome { event: Event::Waits, reason, verdict });
    if rival.held.count() < FEWEST {
        let held = rival.held.count();
        return waits(format!("{held} held-out frames, {FEWEST} are needed to hold it against {}", rival.name), None);
    }
    let version = store::load_version(&settings.models, pipeline, &manifest.version)?;
    let mut candidate = Scorer::of(pipeline, version, &settings.device)?;
    let verdict = gate::judge((&mut candidate, &mut rival.scorer), &rival.held, known, pipeline)?;
    let faults = verdict.faults();
    if !faults.is_empty() {
        return Ok(Outcome { event: Event::Refused, reason: faults.join("; "), verdict: Some(verdict) });
    }
    if verdict.frames_of_current < FEWEST {
        let reason = format!(
            "of the data of {} only {} held-out frames were found: whether it still knows them cannot be told",
            rival.name, verdict.frames_of_current
        );
        return waits(reason, Some(verdict));
    }
    let good = format!("as good as {} or better on {} held-out frames", rival.name, verdict.frames);
    match pipeline.spec.training.promote {
        Promotion::Auto => Ok(Outcome { event: Event::Promoted, reason: good, verdict: Some(verdict) }),
        Promotion::Manual => waits(format!("{good}; training.promote is manual"), Some(verdict)),
    }
}

impl Outcome {
    /// For people: the figures, what became of the version, and what to do where it waits.
    pub fn text(&self, pipeline: &str, version: &str) -> String {
        let mut text = self.verdict.as_ref().map_or(String::new(), Verdict::text);
        text.push_str(&format!("{:<12} {version}: {}\n", self.event.as_str(), self.reason));
        if self.event != Event::Promoted {
            text.push_str(&format!(
                "             use it nevertheless: anomalyd models promote {pipeline} {version} --reason WHY\n"
            ));
        }
        text
    }
}
