//! From labelled frames to a published classifier.

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use chrono::Utc;

use super::card::{self, Answer, Card, Data, Fitting};
use super::design::Design;
use super::figures::{Figures, figures};
use super::lens::Lens;
use super::lesson::{Course, Moved, Share, check};
use super::set::{Labelled, Left, Said};
use crate::draw::plot::classes_svg;
use crate::error::{Failure, Kind, Result};
use crate::image::Limits;
use crate::model::{Device, FeedForward};
use crate::pipeline::{Pipeline, Shares};
use crate::stats::classes::{floor, largest, softmax, temperature};
use crate::store::{self, Staging};
use crate::train::augment::Augmenter;
use crate::train::chain::{Event, History, Plan, fit};
use crate::train::group::Groups;
use crate::train::split::{Split, split, split_groups};

/// Largest global norm of the gradient; a healthy one is below it.
const CLIP_NORM: f32 = 10.0;
/// A kind that is more probably another is never named.
const LOWEST_FLOOR: f64 = 0.5;

/// What to train, from what, as which command.
#[derive(Debug)]
pub struct Job<'a> {
    /// The pipeline, its seed already overridden where the user did.
    pub pipeline: &'a Pipeline,
    /// The paths given, for the card.
    pub given: &'a [PathBuf],
    /// The file of labels, for the card.
    pub labels: Option<&'a Path>,
    /// Where versions are published.
    pub models: &'a Path,
    /// The command line, for the card.
    pub command: String,
    /// The network.
    pub design: Design,
    /// How it is fitted.
    pub fitting: Fitting,
    /// Share of right answers among the named that is wanted of validation.
    pub wanted: f64,
}

/// Trains and publishes one classifier, a candidate; returns its card and folder.
///
/// # Errors
/// [`Kind::Data`] before any work when a kind lacks frames to learn from or to be judged by, and after it when not even the
/// surest answers on validation are right often enough; see [`fit`] for the rest.
pub fn train(
    job: &Job,
    labelled: Labelled,
    device: Device,
    stop: &AtomicBool,
    on: &mut dyn FnMut(Event),
) -> Result<(Card, PathBuf)> {
    let (input, seed) = (&job.pipeline.spec.input, job.pipeline.spec.training.seed);
    let classes = labelled.classes();
    let parts = part(&labelled, job.fitting.split, job.pipeline)?;
    let mut shares = [&parts.train, &parts.validation, &parts.test]
        .map(|indices| Share::take(&labelled, indices, &classes, input.size));
    check(&classes, &labelled.left, &shares[0], &shares[1])?;
    let lens = Lens::fit(&shares[0].x, input.channels, input.size);
    shares.iter_mut().for_each(|share| lens.apply(&mut share.x, input.size));
    let device_name = device.name().to_string();
    let mut network = FeedForward::new(job.design.chain(input, classes.len())?, seed, device)?;
    let history = {
        let augmenter = Augmenter::of(&job.fitting.augment, &job.pipeline.spec);
        let (labelled, indices, size) = (&labelled, parts.train.as_slice(), input.size);
        let moves = augmenter.is_some() || labelled.has_room(size);
        let moved = moves.then_some(Moved { augmenter, labelled, indices, lens: &lens, size });
        let course = Course::new(&shares[0], &shares[1], input.channels * size * size, moved);
        fit(&mut network, &plan(&job.fitting, seed), &course, stop, on)?
    };
    let [_, validation, test] = &shares;
    let logits = network.forward(&validation.x)?;
    let answer = answer(&logits, &validation.truths, job.wanted)?;
    let on_validation = figures(&classes, &logits, &validation.kinds(&classes), &answer);
    let on_test = match test.truths.len() {
        0 => None,
        _ => Some(figures(&classes, &network.forward(&test.x)?, &test.kinds(&classes), &answer)),
    };
    let staging = Staging::start(job.models, &store::classifiers_of(&job.pipeline.name))?;
    network.save(&staging.path(card::WEIGHTS), [("pipeline".to_string(), job.pipeline.name.clone())].into())?;
    draw(&staging, &job.pipeline.name, &on_validation, on_test.as_ref())?;
    store::write_frames(staging.folder(), &parts.rows(&labelled.frames))?;
    let (left_out, said) = (labelled.left, labelled.said);
    let made = Made { classes, answer, lens, history, on_validation, on_test, left_out, said, device_name };
    let mut card = made.card(job, &shares, network.parameter_count());
    let folder = card::publish(staging, &mut card)?;
    Ok((card, folder))
}

/// The parts of the data, by group where the pipeline names one: then also a kind may end up on one side only.
pub(super) fn part(labelled: &Labelled, shares: [f64; 3], pipeline: &Pipeline) -> Result<Split> {
    let [train, validation, test] = shares;
    let shares = Shares { train, validation, calibration: 0.0, test };
    let mut parts = match &pipeline.spec.training.group {
        None => split(&labelled.frames, shares),
        Some(group) => {
            let files = labelled.frames.iter().map(|frame| frame.source.as_path());
            split_groups(&labelled.frames, shares, &Groups::of(files, group, &Limits::default())?)
        }
    };
    // What rounding has left beyond the last share.
    parts.validation.append(&mut parts.calibration);
    Ok(parts)
}

fn plan(fitting: &Fitting, seed: u64) -> Plan {
    Plan {
        seed,
        epochs: fitting.epochs,
        batch_size: fitting.batch_size,
        learning_rate: fitting.learning_rate,
        weight_decay: fitting.weight_decay,
        l1: 0.0,
        clip_norm: CLIP_NORM,
        patience: fitting.patience,
        items_per_epoch: None,
    }
}

/// Temperature and floor, from what the network says of validation.
fn answer(logits: &[f32], truths: &[u32], wanted: f64) -> Result<Answer> {
    let temperature = temperature(logits, truths);
    let rows = logits.chunks_exact(logits.len() / truths.len().max(1)).zip(truths);
    let answers: Vec<(f64, bool)> = rows
        .map(|(row, &truth)| {
            let (class, probability) = largest(&softmax(row, temperature));
            (probability, class == truth as usize)
        })
        .collect();
    match floor(&answers, wanted) {
        Some(found) => Ok(Answer { temperature, floor: found.max(LOWEST_FLOOR), wanted }),
        None => {
            let message = format!("not even its surest answers on validation are right in {:.1} %", 100.0 * wanted);
            Err(Failure::new(Kind::Data, message)
                .hint("give more frames of each kind, train longer, or ask for less with --precision"))
        }
    }
}

fn draw(staging: &Staging, name: &str, validation: &Figures, test: Option<&Figures>) -> Result<()> {
    let (share, shown) = test.map_or(("validation", validation), |figures| ("test", figures));
    staging.write("confusion.svg", &classes_svg(&format!("classifier of {name}, {share} share"), &shown.confusion)?)
}

/// What a training has made.
struct Made {
    classes: Vec<String>,
    answer: Answer,
    lens: Lens,
    history: History,
    on_validation: Figures,
    on_test: Option<Figures>,
    left_out: Left,
    said: Option<Said>,
    device_name: String,
}

impl Made {
    fn card(self, job: &Job, shares: &[Share; 3], parameters: usize) -> Card {
        let [train, validation, test] = shares.each_ref().map(|share| share.part.clone());
        Card {
            version: String::new(),
            created_at: Utc::now(),
            software: format!("anomalyd {}", env!("CARGO_PKG_VERSION")),
            command: job.command.clone(),
            device: self.device_name,
            seed: job.pipeline.spec.training.seed,
            parameters,
            weights: String::new(),
            classes: self.classes,
            design: job.design,
            answer: self.answer,
            lens: self.lens,
            input: job.pipeline.spec.input.clone(),
            fitting: job.fitting,
            data: Data {
                given: job.given.iter().map(|path| path.display().to_string()).collect(),
                labels: job.labels.map(|path| path.display().to_string()),
                said: self.said,
                left_out: self.left_out,
                train,
                validation,
                test,
            },
            validation: self.on_validation,
            test: self.on_test,
            history: self.history,
        }
    }
}
