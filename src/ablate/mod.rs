//! Ablation: what each option of a pipeline is worth, every value trained anew with several seeds. No version comes of it; the
//! table is kept beside the versions, for their pages.
//!
//! Every seed goes through all variants before the next begins, so that an interruption leaves a fair comparison.

pub mod kept;
pub mod record;
pub mod table;
mod variants;

use std::sync::atomic::{AtomicBool, Ordering};

pub use self::kept::{Ablation, Basis};
pub use self::record::{Row, Run, Spread};
pub use self::variants::{Choice, Variant, variants};
use crate::error::{Failure, Kind, Result};
use crate::model::device::Device;
use crate::pipeline::Pipeline;
use crate::prepare::Prepared;
use crate::stats::metrics::auroc;
use crate::train::data::Sample;
use crate::train::diagnosis::{gap, gradient_ratio};
use crate::train::fit::{End, Event};
use crate::train::trial::trial;

/// Frames examined at once.
const FRAMES_AT_ONCE: usize = 64;

/// What happens meanwhile: training `.0` of `.1` begins, something happens within it, or it has ended.
#[derive(Debug)]
pub enum Progress<'a> {
    /// A training begins.
    Start(usize, usize, &'a Variant, u64),
    /// Within it.
    Within(Event<'a>),
    /// It ended.
    Done(&'a Variant, &'a Run),
}

/// Trains every variant with every seed. Stopped by `stop`, it returns what was complete by then.
///
/// # Errors
/// [`Kind::Interrupted`] where not one training was complete; else what a training fails with.
pub fn ablate(
    pipeline: &Pipeline,
    choices: &[Choice],
    seeds: u64,
    (normal, anomalous): (&[Sample], &[Sample]),
    device: &Device,
    stop: &AtomicBool,
    on: &mut dyn FnMut(Progress),
) -> Result<Vec<Row>> {
    let (mut rows, pipelines) = rows(pipeline, choices);
    // The pipeline's own values are one and the same training under every option.
    let own = rows.iter().position(|row| row.variant.own);
    let repeated = |at: usize, rows: &[Row]| rows[at].refused.is_some() || rows[at].variant.own && Some(at) != own;
    let mut each = (0..rows.len()).filter(|&at| !repeated(at, &rows)).collect::<Vec<_>>();
    // First, so that whatever is run before an interruption has something to be held against.
    each.sort_by_key(|&at| Some(at) != own);
    let all = each.len() * seeds as usize;
    'seeds: for number in 0..seeds {
        let seed = pipeline.spec.training.seed.wrapping_add(number);
        for (order, &at) in each.iter().enumerate() {
            if stop.load(Ordering::Relaxed) {
                break 'seeds;
            }
            if rows[at].refused.is_some() {
                continue;
            }
            on(Progress::Start(number as usize * each.len() + order + 1, all, &rows[at].variant, seed));
            let mut within = |event: Event| on(Progress::Within(event));
            let ended = match run(&pipelines[at], seed, (normal, anomalous), device.clone(), stop, &mut within) {
                // Whether a value trains at all is a finding too, where the pipeline's own does.
                Err(failure) if failure.kind == Kind::Data && !rows[at].variant.own => {
                    rows[at].refused = Some(format!("seed {seed}: {}", failure.message));
                    continue;
                }
                ended => ended?,
            };
            let Some(ended) = ended else { break 'seeds };
            rows[at].runs.push(ended);
            on(Progress::Done(&rows[at].variant, &ended));
        }
    }
    if rows.iter().all(|row| row.runs.is_empty()) {
        return Err(Failure::new(Kind::Interrupted, "stopped before the first training ended; nothing to compare"));
    }
    if let Some(own) = own {
        let runs = rows[own].runs.clone();
        rows.iter_mut().filter(|row| row.variant.own).for_each(|row| row.runs.clone_from(&runs));
    }
    Ok(rows)
}

/// Every variant without runs, and the pipeline of each.
fn rows(pipeline: &Pipeline, choices: &[Choice]) -> (Vec<Row>, Vec<Pipeline>) {
    let row = |(variant, spec)| {
        let changed = Pipeline { spec, ..pipeline.clone() };
        let refused = variants::refusal(&variant, &changed);
        (Row { variant, runs: Vec::new(), refused }, changed)
    };
    variants(&pipeline.spec, choices).into_iter().map(row).unzip()
}

/// One training; `None` where it was interrupted.
fn run(
    pipeline: &Pipeline,
    seed: u64,
    (normal, anomalous): (&[Sample], &[Sample]),
    device: Device,
    stop: &AtomicBool,
    on: &mut dyn FnMut(Event),
) -> Result<Option<Run>> {
    let mut pipeline = pipeline.clone();
    pipeline.spec.training.seed = seed;
    let mut made = match trial(&pipeline, normal, device, stop, on) {
        Err(failure) if failure.kind == Kind::Interrupted => return Ok(None),
        made => made?,
    };
    if made.history.end == End::Interrupted {
        return Ok(None);
    }
    let Some(kept) = made.history.kept().cloned() else { return Ok(None) };
    let held_out: Vec<&Prepared> = made.calibration.iter().map(|&index| &normal[index].prepared).collect();
    let odd: Vec<&Prepared> = anomalous.iter().map(|sample| &sample.prepared).collect();
    let mut scores = |frames: &[&Prepared]| -> Result<Vec<f64>> {
        let mut scores = Vec::with_capacity(frames.len());
        for some in frames.chunks(FRAMES_AT_ONCE) {
            let examined = made.detector.examine(some)?;
            let tails = &made.detector.fitted.tails;
            scores.extend(examined.iter().map(|frame| tails.frame_score(&frame.tiles, &pipeline.spec.score)));
        }
        Ok(scores)
    };
    let area = if odd.is_empty() { None } else { auroc(&scores(&held_out)?, &scores(&odd)?) };
    let (epochs, beta) = (&made.history.epochs, pipeline.spec.model.beta);
    Ok(Some(Run {
        seed,
        validation_loss: kept.validation_loss(beta),
        validation_nll: kept.validation_nll,
        gap: gap(&made.history, beta).map(|gap| gap.nats),
        auroc: area,
        gradient_ratio: gradient_ratio(&made.history),
        sparsity: made.sparsity,
        active_units: kept.active_units,
        parameters: made.parameters,
        images_per_s: epochs.iter().map(|epoch| epoch.images_per_s).sum::<f64>() / epochs.len() as f64,
    }))
}
