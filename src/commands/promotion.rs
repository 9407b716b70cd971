//! What becomes of a version that was just made: the first one is promoted, every other goes through the gate.

use std::collections::HashSet;
use std::path::PathBuf;

use serde::Serialize;

use super::evaluate::by_kind;
use super::labelled::anomalous;
use super::material::Material;
use super::{origin, past, report};
use crate::error::{Failure, Kind, Result};
use crate::gate::{self, FEWEST, Held, Kinds, Known};
use crate::interrupt;
use crate::labels;
use crate::pipeline::{Pipeline, Promotion, Spec};
use crate::score::Scorer;
use crate::settings::Settings;
use crate::store::{self, Event, Manifest, Shelf, Verdict};
use crate::train::data::{self, Sample, Samples};
use crate::train::seal::Given;

/// What the gate is given.
#[derive(Debug, Clone, clap::Args)]
pub struct GateArgs {
    /// Known anomalies for the gate; the folders in it, or a simulation's truth table, name their kinds [default: where there are
    /// fewer than twenty, anomalies are put into held-out frames]. Those that people labelled are counted besides.
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

/// The current version, before a candidate is made.
pub struct Rival {
    name: String,
    /// What it takes to hold both against each other; `None` where it does not load.
    bout: Option<Bout>,
}

/// The current version at work, and the frames to hold both against each other on.
struct Bout {
    scorer: Scorer,
    held: Held,
}

impl Rival {
    /// The current version of a pipeline, and held-out frames among those the candidate is made from, by the split that `candidate`
    /// has, and those this one was made from, less those that are sealed for test. `None` where there is no current version.
    ///
    /// # Errors
    /// Those of reading groups.
    pub fn find(
        pipeline: &Pipeline,
        candidate: &Spec,
        material: &Material,
        settings: &Settings,
    ) -> Result<Option<Self>> {
        let Some(name) = store::current(&settings.models, &pipeline.name)? else { return Ok(None) };
        let loaded = store::load(&settings.models, pipeline).and_then(|version| {
            let (manifest, spec) = (version.manifest.clone(), trained(pipeline, &version.manifest)?);
            Ok((manifest, spec, Scorer::of(&without_pictures(pipeline), version, &settings.device)?))
        });
        let (manifest, spec, scorer) = match loaded {
            Ok(loaded) => loaded,
            Err(failure) => {
                tracing::warn!(
                    error = failure.message,
                    "the current version does not load, so there is no gate to pass"
                );
                return Ok(Some(Self { name, bout: None }));
            }
        };
        let specs = [candidate, &spec];
        let folder = store::home(&settings.models, &pipeline.name).join(&manifest.version);
        let own = origin::own(&folder, &manifest, pipeline, settings);
        interrupt::check()?;
        let sealed = sealed(&material.test);
        let side = |samples: &Samples| -> Result<Vec<Sample>> {
            let mut frames = gate::side_of_both(&samples.frames, specs)?;
            frames.retain(|frame| !sealed.contains(frame.digest.to_hex().as_str()));
            Ok(frames)
        };
        let held = Held::new(side(&own)?, material.by_origin(side(&material.samples)?));
        Ok(Some(Self { name: manifest.version, bout: Some(Bout { scorer, held }) }))
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

/// Known anomalies: those that were given, and, where there is a version to hold the candidate against, those that people labelled;
/// less what is sealed for test.
///
/// # Errors
/// [`Kind::Data`] for anomalies given that cannot be read, or of which each is sealed; [`Kind::Io`].
pub fn known(
    pipeline: &Pipeline,
    rival: Option<&Rival>,
    args: &GateArgs,
    test: &Given,
    settings: &Settings,
) -> Result<Known> {
    let mut known = Known::default();
    if !args.gate_anomalous.is_empty() {
        let samples = data::load(&args.gate_anomalous, &pipeline.spec.input, &settings.limits)?;
        known.given = by_kind(anomalous(samples)?, &args.gate_anomalous);
    }
    if rival.is_some_and(|rival| rival.bout.is_some()) {
        known.labelled = labelled(pipeline, settings);
        interrupt::check()?;
    }
    let (sealed, mut seen) = (sealed(test), HashSet::new());
    for kinds in [&mut known.given, &mut known.labelled] {
        retain(kinds, |sample| seen.insert(sample.digest));
    }
    let given = count(&known.given);
    for kinds in [&mut known.given, &mut known.labelled] {
        retain(kinds, |sample| !sealed.contains(sample.digest.to_hex().as_str()));
    }
    known.sealed = given - count(&known.given);
    tell_sealed(given, known.sealed)?;
    Ok(known)
}

fn count(kinds: &Kinds) -> usize {
    kinds.values().map(Vec::len).sum()
}

fn retain(kinds: &mut Kinds, mut wanted: impl FnMut(&Sample) -> bool) {
    kinds.values_mut().for_each(|samples| samples.retain(&mut wanted));
    kinds.retain(|_, samples| !samples.is_empty());
}

/// Says how many of the anomalies given are sealed, and what judges instead.
fn tell_sealed(given: usize, sealed: usize) -> Result<()> {
    let left = given - sealed;
    if sealed > 0 && left == 0 {
        let message = format!("--gate-anomalous: all {given} frames are sealed for test");
        return Err(Failure::new(Kind::Data, message)
            .hint("give others, or leave it out: then anomalies are put into held-out frames"));
    }
    if sealed > 0 {
        let judge = if left < FEWEST { "are too few, so that anomalies are put into held-out frames" } else { "judge" };
        tracing::warn!(sealed, left, "--gate-anomalous: what is sealed for test is left out; the others {judge}");
    }
    Ok(())
}

/// What people called anomalous. It judges nothing, so that a state folder of another user stops nobody from training.
fn labelled(pipeline: &Pipeline, settings: &Settings) -> Kinds {
    let read = labels::read(&settings.state).and_then(|labels| past::load_odd(pipeline, &labels, settings));
    read.unwrap_or_else(|failure| {
        tracing::warn!(error = failure.message, "the anomalies that people labelled are not shown to the gate");
        Kinds::new()
    })
}

/// The pipeline as the version was trained with it.
///
/// # Errors
/// Those of [`Pipeline::parse`].
pub fn trained(pipeline: &Pipeline, manifest: &Manifest) -> Result<Spec> {
    let mut spec = Pipeline::parse(&pipeline.name, &pipeline.path, manifest.pipeline.clone())?.spec;
    if let Some(training) = &manifest.training {
        spec.training = training.clone();
    }
    Ok(spec)
}

/// Promotes the version, keeps it, or has it wait; and records why.
///
/// # Errors
/// [`Kind::Io`], [`Kind::Data`] for anomalies that cannot be read.
pub fn settle(
    pipeline: &Pipeline,
    manifest: &Manifest,
    rival: Option<Rival>,
    known: &Known,
    settings: &Settings,
) -> Result<Outcome> {
    let before = rival.as_ref().map(|rival| rival.name.clone());
    let outcome = match rival {
        None => Outcome { event: Event::Promoted, reason: "the first version that fits".into(), verdict: None },
        Some(rival) => pass(pipeline, manifest, rival, known, settings)?,
    };
    let shelf = Shelf::open(&settings.models, &pipeline.name)?;
    // Judging takes long: another candidate may have come first, which this one was never held against.
    let outcome = match store::current(&settings.models, &pipeline.name)? {
        Some(now) if outcome.event == Event::Promoted && before.as_ref() != Some(&now) => outcome.overtaken_by(&now),
        _ => outcome,
    };
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
    Rival { name, bout }: Rival,
    known: &Known,
    settings: &Settings,
) -> Result<Outcome> {
    let waits = |reason: String, verdict| Ok(Outcome { event: Event::Waits, reason, verdict });
    let good = |reason: String, verdict| match pipeline.spec.training.promote {
        Promotion::Auto => Ok(Outcome { event: Event::Promoted, reason, verdict }),
        Promotion::Manual => waits(format!("{reason}; training.promote is manual"), verdict),
    };
    let Some(Bout { mut scorer, held }) = bout else {
        return good(format!("{name} does not load: there was nothing to hold it against"), None);
    };
    if held.count() < FEWEST {
        return waits(format!("{} held-out frames, {FEWEST} are needed to hold it against {name}", held.count()), None);
    }
    let version = store::load_version(&settings.models, pipeline, &manifest.version)?;
    let mut candidate = Scorer::of(pipeline, version, &settings.device)?;
    let verdict = gate::judge((&mut candidate, &mut scorer), &held, known, pipeline)?;
    let faults = verdict.faults();
    if !faults.is_empty() {
        return Ok(Outcome { event: Event::Refused, reason: faults.join("; "), verdict: Some(verdict) });
    }
    if verdict.frames_of_current < FEWEST {
        let reason = format!(
            "of the data of {name} only {} held-out frames were found: whether it still knows them cannot be told",
            verdict.frames_of_current
        );
        return waits(reason, Some(verdict));
    }
    good(format!("as good as {name} or better on {} held-out frames", verdict.frames), Some(verdict))
}

impl Outcome {
    /// It would be promoted, had not another version become the current one meanwhile.
    fn overtaken_by(self, now: &str) -> Self {
        let reason = format!(
            "{}; but {now} has become the current version since, which it was not held against: `anomalyd models judge` does that",
            self.reason
        );
        Self { event: Event::Waits, reason, ..self }
    }

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

#[cfg(test)]
#[path = "promotion_tests.rs"]
mod tests;
