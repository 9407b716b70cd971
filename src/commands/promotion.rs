//! What becomes of a version that was just made: the first one is promoted, every other goes through the gate.

use std::collections::HashSet;
use std::path::PathBuf;

use serde::Serialize;

use super::evaluate::by_folder;
use super::{origin, report};
use crate::error::Result;
use crate::gate::{self, Held, Kinds};
use crate::pipeline::{Pipeline, Promotion, Spec};
use crate::score::Scorer;
use crate::settings::Settings;
use crate::store::{self, Event, Manifest, Shelf, Source, Verdict, Version};
use crate::train::data::{self, Sample, Samples};
use crate::train::seal::Given;

/// Held-out frames, and those of the current version's own among them, below which nothing can be told.
const FEWEST: usize = 20;

/// What the gate is given.
#[derive(Debug, Clone, clap::Args)]
pub struct GateArgs {
    /// Known anomalies for the gate; the folders in it name their kinds [default: anomalies put into held-out frames].
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
    pub fn find(pipeline: &Pipeline, samples: &Samples, test: &Given, settings: &Settings) -> Result<Option<Self>> {
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
        let own = own(&manifest.data.origin(), &pipeline.spec, settings);
        let sealed: HashSet<&str> = test.frames.iter().map(|frame| frame.digest.as_str()).collect();
        let side = |samples: &Samples| -> Result<Vec<Sample>> {
            let mut frames = gate::side_of_both(&samples.frames, specs)?;
            frames.retain(|frame| !sealed.contains(frame.digest.to_hex().as_str()));
            Ok(frames)
        };
        let held = Held::new(side(samples)?, side(&own)?);
        Ok(Some(Self { name: manifest.version, scorer, held }))
    }
}

/// What makes pictures has no part in the gate: a version from before it was asked for can be compared all the same.
fn without_pictures(pipeline: &Pipeline) -> Pipeline {
    let mut pipeline = pipeline.clone();
    (pipeline.spec.denoiser, pipeline.spec.segmenter) = (None, None);
    pipeline
}

/// The pipeline as the version was trained with it.
fn trained(pipeline: &Pipeline, version: &Version) -> Result<Spec> {
    let mut spec = Pipeline::parse(&pipeline.name, &pipeline.path, version.manifest.pipeline.clone())?.spec;
    if let Some(training) = &version.manifest.training {
        spec.training = training.clone();
    }
    Ok(spec)
}

/// The current version's data; without what cannot be read any more.
fn own(sources: &[Source], spec: &Spec, settings: &Settings) -> Samples {
    let mut all = Samples::default();
    for source in sources {
        match origin::load(std::slice::from_ref(source), &spec.input, &settings.limits) {
            Ok(origin) => {
                for path in &origin.missing {
                    tracing::warn!(path = %path.display(), "data of the current version are gone");
                }
                origin::merge(&mut all, origin.samples);
            }
            Err(failure) => tracing::warn!(error = failure.message, "data of the current version cannot be read"),
        }
    }
    all
}

/// Promotes the version, keeps it, or has it wait; and records why.
///
/// # Errors
/// [`crate::error::Kind::Io`], [`crate::error::Kind::Data`] for anomalies that cannot be read.
pub fn settle(
    pipeline: &Pipeline,
    manifest: &Manifest,
    rival: Option<Rival>,
    args: &GateArgs,
    settings: &Settings,
) -> Result<Outcome> {
    let outcome = match rival {
        None => Outcome { event: Event::Promoted, reason: "the first version that fits".into(), verdict: None },
        Some(rival) => pass(pipeline, manifest, rival, args, settings)?,
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
    args: &GateArgs,
    settings: &Settings,
) -> Result<Outcome> {
    let waits = |reason: String, verdict| Ok(Outcome { event: Event::Waits, reason, verdict });
    if rival.held.frames.len() < FEWEST {
        let held = rival.held.frames.len();
        return waits(format!("{held} held-out frames, {FEWEST} are needed to hold it against {}", rival.name), None);
    }
    let version = store::load_version(&settings.models, pipeline, &manifest.version)?;
    let mut candidate = Scorer::of(pipeline, version, &settings.device)?;
    let given = given(pipeline, args, settings)?;
    let verdict = gate::judge((&mut candidate, &mut rival.scorer), &rival.held, given.as_ref(), pipeline)?;
    let faults = verdict.faults();
    if !faults.is_empty() {
        return Ok(Outcome { event: Event::Refused, reason: faults.join("; "), verdict: Some(verdict) });
    }
    if verdict.frames_of_current < FEWEST {
        let reason = format!(
            "as good as {} on its own data, but of the data of {} only {} held-out frames were found: whether it still knows \
             them cannot be told",
            rival.name, rival.name, verdict.frames_of_current
        );
        return waits(reason, Some(verdict));
    }
    let good = format!("as good as {} or better on {} held-out frames", rival.name, verdict.frames);
    match pipeline.spec.training.promote {
        Promotion::Auto => Ok(Outcome { event: Event::Promoted, reason: good, verdict: Some(verdict) }),
        Promotion::Manual => waits(format!("{good}; training.promote is manual"), Some(verdict)),
    }
}

/// Anomalies that were given.
fn given(pipeline: &Pipeline, args: &GateArgs, settings: &Settings) -> Result<Option<Kinds>> {
    if args.gate_anomalous.is_empty() {
        return Ok(None);
    }
    let samples = data::load(&args.gate_anomalous, &pipeline.spec.input, &settings.limits)?;
    Ok(Some(by_folder(samples.frames, &args.gate_anomalous)))
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
