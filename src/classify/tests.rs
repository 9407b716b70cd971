//! A classifier of simple figures, from training to naming.

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::card::{Card, Fitting};
use super::design::{Design, Network};
use super::fit::{Job, train};
use super::rival::{Outcome, Rival, settle};
use super::set::Labelled;
use super::{Classifier, card};
use crate::error::{Failure, Kind};
use crate::model::Device;
use crate::pipeline::{Augment, Pipeline, Scaling};
use crate::prepare::Prepared;
use crate::store::Event;
use crate::train::data::{Sample, Samples};

const SIDE: usize = 28;

fn pipeline(text: &str) -> Pipeline {
    Pipeline::parse("digits", Path::new("digits.toml"), text.into()).unwrap()
}

fn digits() -> Pipeline {
    pipeline(include_str!("../../pipelines/digits.toml"))
}

/// A bright column, a bright row or a bright square somewhere on noise.
fn picture(kind: &str, id: u64) -> Vec<f32> {
    let mut random = ChaCha8Rng::seed_from_u64(id);
    let mut pixels: Vec<f32> = (0..SIDE * SIDE).map(|_| 0.2 * random.random::<f32>()).collect();
    let (x, y) = (random.random_range(4..SIDE - 8), random.random_range(4..SIDE - 8));
    for at in 0..SIDE {
        match kind {
            "column" => pixels[at * SIDE + x] = 0.9,
            "row" => pixels[y * SIDE + at] = 0.9,
            _ => pixels[(y + at % 5) * SIDE + x + at / 6] = 0.9,
        }
    }
    pixels
}

fn sample(kind: &str, id: u64) -> Sample {
    let scaling = Scaling::Linear { black: 0.0, white: 1.0 };
    let pixels = picture(kind, id);
    let prepared =
        Prepared { width: SIDE, height: SIDE, channels: 1, pixels, tiles: vec![(0, 0)], in_file: [SIDE; 2], scaling };
    let digest = blake3::hash(format!("{kind} {id}").as_bytes());
    Sample { source: PathBuf::from(format!("{kind}/{id}.png")), index: 0, digest, observed_at: None, prepared }
}

fn labelled(kinds: &[&str], each: u64) -> Labelled {
    let frames = kinds.iter().flat_map(|kind| (0..each).map(move |id| sample(kind, id))).collect();
    let of = |sample: &Sample| Some(sample.source.parent()?.to_str()?.to_string()).filter(|kind| kind != "nothing");
    Labelled::gather(Samples { frames, ..Samples::default() }, &of, None).unwrap()
}

/// What a test changes about a training.
#[derive(Clone, Copy)]
struct How {
    epochs: usize,
    learning_rate: f32,
    augment: Augment,
    force: bool,
}

impl Default for How {
    fn default() -> Self {
        Self { epochs: 24, learning_rate: 2e-3, augment: Augment::default(), force: false }
    }
}

/// Trains one, and lets it become the current one where it may.
fn made(
    pipeline: &Pipeline,
    models: &Path,
    labelled: Labelled,
    How { epochs, learning_rate, augment, force }: How,
) -> Result<(Card, PathBuf, Outcome), Failure> {
    let fitting = Fitting {
        epochs,
        batch_size: 16,
        learning_rate,
        weight_decay: 1e-2,
        patience: 12,
        split: [0.6, 0.2, 0.2],
        augment,
    };
    let job = Job {
        pipeline,
        given: &["figures".into()],
        labels: None,
        models,
        command: "anomalyd classify train".into(),
        design: Design { network: Network::LeNet5, width: None },
        fitting,
        // One that has learnt nothing is to be held against another all the same.
        wanted: if epochs < 3 { 0.01 } else { 0.95 },
    };
    let rival = Rival::find(&job, &labelled, Device::Cpu)?;
    let (card, folder) = train(&job, labelled, Device::Cpu, &AtomicBool::new(false), &mut |_| {})?;
    let outcome = settle(&job, &card, rival, Device::Cpu, force)?;
    Ok((card, folder, outcome))
}

fn fitted(pipeline: &Pipeline, models: &Path, labelled: Labelled) -> Result<(Card, PathBuf), Failure> {
    made(pipeline, models, labelled, How::default()).map(|(card, folder, _)| (card, folder))
}

#[test]
fn what_it_was_taught_it_names_and_the_rest_it_counts() {
    let (models, pipeline) = (tempfile::tempdir().unwrap(), digits());
    let data = labelled(&["column", "row", "square", "nothing"], 90);
    assert_eq!((data.left.unlabelled, data.frames.len()), (90, 270));
    let (card, folder) = fitted(&pipeline, models.path(), data).unwrap();
    assert_eq!(card.classes, ["column", "row", "square"]);
    assert!(folder.ends_with(format!("digits/classifier/{}", card.version)), "{}", folder.display());
    let test = card.test.as_ref().unwrap();
    assert_eq!(test.frames, card.data.test.frames);
    assert_eq!(card.data.train.frames + card.data.validation.frames + card.data.test.frames, 270);
    assert!(test.accuracy > 0.9, "{test:?}");
    assert!(card.answer.floor >= 0.5 && card.answer.temperature >= 1.0);

    let classifier = Classifier::load(models.path(), &pipeline, Device::Cpu).unwrap().unwrap();
    let tiles: Vec<f32> = (1000..1040).flat_map(|id| picture("column", id)).collect();
    let named = classifier.name(&tiles).unwrap();
    let right = named.iter().filter(|named| named.kind.as_deref() == Some("column")).count();
    assert!(right >= 36, "{right} of 40");
    for named in &named {
        assert_eq!(named.version, card.version);
        assert_eq!(named.kind.is_some(), named.probability >= card.answer.floor);
    }
}

#[test]
fn below_the_floor_nothing_is_named() {
    let (models, pipeline) = (tempfile::tempdir().unwrap(), digits());
    fitted(&pipeline, models.path(), labelled(&["column", "row"], 60)).unwrap();
    let mut classifier = Classifier::load(models.path(), &pipeline, Device::Cpu).unwrap().unwrap();
    classifier.card.answer.floor = 1.1;
    let named = &classifier.name(&picture("row", 5)).unwrap()[0];
    assert_eq!(named.kind, None);
    assert!(named.probability > 0.5);
}

#[test]
fn the_same_seed_gives_the_same_classifier_and_another_number() {
    let (models, pipeline) = (tempfile::tempdir().unwrap(), digits());
    let again = || fitted(&pipeline, models.path(), labelled(&["column", "row"], 40)).unwrap().0;
    let (first, second) = (again(), again());
    assert_eq!(first.weights, second.weights);
    assert!(first.version.starts_with("0001-") && second.version.starts_with("0002-"));
    let current = std::fs::read_to_string(models.path().join("digits/classifier/current")).unwrap();
    assert_eq!(current.trim(), second.version);
    assert_eq!(crate::store::names(&models.path().join("digits")).unwrap(), [""; 0], "no version of the model");
}

#[test]
fn no_classifier_a_damaged_one_and_another_input_are_told_apart() {
    let (models, pipeline) = (tempfile::tempdir().unwrap(), digits());
    assert!(Classifier::load(models.path(), &pipeline, Device::Cpu).unwrap().is_none());
    let (_, folder) = fitted(&pipeline, models.path(), labelled(&["column", "row"], 40)).unwrap();
    let text = include_str!("../../pipelines/digits.toml").replace("white = 255", "white = 250");
    let failure = card::load(models.path(), &self::pipeline(&text)).unwrap_err();
    assert_eq!(failure.kind, Kind::Model);
    assert!(failure.message.contains("another [input]"), "{failure}");
    let path = folder.join("classifier.safetensors");
    let mut bytes = std::fs::read(&path).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    std::fs::write(&path, bytes).unwrap();
    let failure = card::load(models.path(), &pipeline).unwrap_err();
    assert!(failure.message.contains("classifier.safetensors") && failure.message.contains("digest"), "{failure}");
}

#[test]
fn what_cannot_be_learnt_is_refused_before_any_work() {
    let (models, pipeline) = (tempfile::tempdir().unwrap(), digits());
    let failure = fitted(&pipeline, models.path(), labelled(&["row"], 40)).unwrap_err();
    assert!(failure.message.contains("one kind only"), "{failure}");
    let mut few = labelled(&["column", "row"], 40);
    few.kinds[0] = "rare".into();
    let failure = fitted(&pipeline, models.path(), few).unwrap_err();
    assert_eq!(failure.kind, Kind::Data);
    assert!(failure.message.contains("\"rare\""), "{failure}");
    for (network, width) in [(Network::LeNet5, Some(0.5)), (Network::AlexNet, None), (Network::AlexNet, Some(0.0))] {
        let failure = Design { network, width }.chain(&pipeline.spec.input, 2).unwrap_err();
        assert_eq!(failure.kind, Kind::Usage);
    }
}

#[test]
fn a_worse_one_is_kept_with_the_reason_and_there_is_a_way_back() {
    let (models, pipeline) = (tempfile::tempdir().unwrap(), digits());
    let make = |kinds: &[&str], how: How| {
        let (card, _, outcome) = made(&pipeline, models.path(), labelled(kinds, 60), how).unwrap();
        (card.version, outcome)
    };
    let current = || card::current(models.path(), "digits").unwrap().unwrap();
    let all = ["column", "row", "square"];
    let (good, outcome) = make(&all, How::default());
    assert_eq!((outcome.event, outcome.comparison), (Event::Promoted, None));

    let poor = How { epochs: 1, learning_rate: 1e-6, ..How::default() };
    let (_, outcome) = make(&all, poor);
    assert_eq!((outcome.event, current()), (Event::Refused, good.clone()), "{}", outcome.reason);
    let comparison = outcome.comparison.unwrap();
    assert!(comparison.accuracy.unwrap().worse && comparison.frames > 40, "{comparison:?}");
    assert_eq!(comparison.current, good);
    let (_, outcome) = make(&all[..2], How::default());
    assert_eq!((outcome.event, current()), (Event::Refused, good.clone()));
    assert!(outcome.reason.contains("does not know square"), "{}", outcome.reason);

    let (forced, outcome) = make(&all, How { force: true, ..poor });
    assert_eq!((outcome.event, current()), (Event::Promoted, forced));
    assert!(outcome.reason.contains("nevertheless") && outcome.reason.contains(&good), "{}", outcome.reason);
    let shelf = card::shelf(models.path(), "digits").unwrap();
    assert_eq!(shelf.roll_back("it was worse").unwrap(), good);
    assert_eq!(current(), good);
}

#[test]
fn what_is_learnt_from_is_moved_and_what_judges_is_not() {
    let (models, pipeline) = (tempfile::tempdir().unwrap(), digits());
    let make = |augment: Augment| {
        let how = How { epochs: 2, augment, force: true, ..How::default() };
        made(&pipeline, models.path(), labelled(&["column", "row"], 60), how).unwrap().0
    };
    let moved = Augment { translate: 3.0, ..Augment::default() };
    let (plain, first, second) = (make(Augment::default()), make(moved), make(moved));
    assert_eq!(first.weights, second.weights);
    assert_ne!(first.weights, plain.weights);
    assert_eq!((first.fitting.augment, &first.data.validation), (moved, &plain.data.validation));
    assert_eq!(first.lens, plain.lens, "fitted to the frames as they were taken");
}
