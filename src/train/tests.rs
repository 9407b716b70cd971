//! A whole training on small sets: what it does with declared symmetries, groups and a sealed test split.

use std::path::Path;
use std::sync::atomic::AtomicBool;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::data::{self, Labels, Sample, Samples};
use super::*;
use crate::components::Component;
use crate::image::Limits;
use crate::pipeline::Augment;
use crate::train::symmetry::Symmetry;

/// The digits pipeline, small and short.
fn digits() -> Pipeline {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("pipelines");
    let mut pipeline = Pipeline::load("digits", &folder).unwrap();
    let spec = &mut pipeline.spec;
    spec.model.channels = vec![8, 16];
    (spec.training.epochs, spec.training.batch_size) = (6, 64);
    spec.training.tiles_per_epoch = Some(1024);
    (spec.calibration.alpha, spec.calibration.delta) = (0.1, 0.1);
    pipeline
}

fn fitted(pipeline: &Pipeline, samples: Samples) -> Result<Manifest> {
    fitted_beside(pipeline, samples, seal::Given::default())
}

/// The same with frames sealed for test.
fn fitted_beside(pipeline: &Pipeline, samples: Samples, test: seal::Given) -> Result<Manifest> {
    let models = tempfile::tempdir().unwrap();
    let job = Job {
        pipeline,
        given: &[],
        sources: &[],
        start: None,
        test,
        clean: None,
        segmenter: None,
        models: models.path(),
        command: "anomalyd train".into(),
    };
    train(&job, samples, Device::Cpu, &AtomicBool::new(false), &mut |_| ())
}

fn sample(id: usize, pixels: Vec<f32>) -> Sample {
    let scaling = crate::pipeline::Scaling::Linear { black: 0.0, white: 255.0 };
    let prepared =
        Prepared { width: 28, height: 28, channels: 1, pixels, tiles: vec![(0, 0)], in_file: [28, 28], scaling };
    Sample {
        source: format!("{id}.png").into(),
        index: 0,
        digest: blake3::hash(&id.to_le_bytes()),
        observed_at: None,
        prepared,
    }
}

/// A ring with a stroke above it, as in a 6; as often leaning to the left as to the right.
fn six(id: usize) -> Sample {
    let mut random = ChaCha8Rng::seed_from_u64(id as u64);
    let (x, y) = (13.5 + random.random_range(-1.0f32..1.0), 18.0 + random.random_range(-1.0f32..1.0));
    let radius = 4.0 + random.random_range(0.0f32..1.5);
    let lean = random.random_range(0.2f32..0.5) * if random.random() { 1.0 } else { -1.0 };
    let ink = |distance: f32| (1.6 - distance).clamp(0.0, 1.0);
    let pixels = (0..784).map(|at| {
        let (dx, dy) = ((at % 28) as f32 - x, (at / 28) as f32 - y);
        let ring = ink((dx.hypot(dy) - radius).abs());
        let stroke = if (-14.0..-radius).contains(&dy) { ink((dx - lean * (dy + radius)).abs()) } else { 0.0 };
        ring.max(stroke)
    });
    sample(id, pixels.collect())
}

fn found<'a>(symmetries: &'a [Symmetry], name: &str) -> &'a Symmetry {
    symmetries.iter().find(|symmetry| symmetry.transformation == name).unwrap()
}

#[test]
fn a_symmetry_of_the_data_is_none_of_its_half_turn() {
    let mut pipeline = digits();
    pipeline.spec.training.augment = Augment { flip_x: true, rotate: 180.0, ..Augment::default() };
    let samples = Samples { frames: (0..2000).map(six).collect(), ..Samples::default() };
    let manifest = fitted(&pipeline, samples).unwrap();
    let (mirror, turn) = (found(&manifest.symmetries, "flip_x"), found(&manifest.symmetries, "rotate"));
    assert!(turn.is_broken() && turn.flagged_after > turn.flagged_before, "{turn:?}");
    assert!(!mirror.is_broken(), "{mirror:?}");
    assert_eq!(manifest.training.unwrap().augment, pipeline.spec.training.augment);
}

/// "6 is not 9", on real digits.
#[test]
fn a_six_upside_down_is_no_six() {
    let Some(data) = std::env::var_os("ANOMALYD_DATA") else {
        return println!("skipped: ANOMALYD_DATA names no folder");
    };
    let folder = Path::new(&data).join("digits/mnist");
    let (images, labels) = (folder.join("train-images-idx3-ubyte.gz"), folder.join("train-labels-idx1-ubyte.gz"));
    if !images.exists() {
        return println!("skipped: no {}", images.display());
    }
    let mut pipeline = digits();
    pipeline.spec.training.augment = Augment { rotate: 180.0, ..Augment::default() };
    let mut samples = data::load(&[images], &pipeline.spec.input, &Limits::default()).unwrap();
    let labels = Labels::read(&labels).unwrap();
    samples.frames.retain(|sample| labels.of(sample) == Some("6"));
    let manifest = fitted(&pipeline, samples).unwrap();
    let turn = found(&manifest.symmetries, "rotate");
    assert!(turn.is_broken() && turn.flagged_after > 0.2, "{turn:?}");
}

#[test]
fn groups_are_never_divided_and_too_few_are_named() {
    let mut pipeline = digits();
    pipeline.spec.training.group = Some(crate::pipeline::Group::Path(r"night-\d+/".into()));
    pipeline.spec.training.epochs = 1;
    let frames = |nights: usize| -> Samples {
        let of = |id: usize| Sample { source: format!("night-{}/{id}.png", id % nights).into(), ..six(id) };
        Samples { frames: (0..600).map(of).collect(), ..Samples::default() }
    };
    let manifest = fitted(&pipeline, frames(60)).unwrap();
    let groups = manifest.data.groups.unwrap();
    assert_eq!(groups.train + groups.validation + groups.calibration, 60);
    assert!(groups.validation > 0 && groups.calibration > 0);
    let mut test = seal::Given::default();
    test.frames.push(TestFrame::new(&Sample { source: "night-7/other.png".into(), ..six(9999) }, seal::NORMAL));
    let without = fitted_beside(&pipeline, frames(60), test).unwrap();
    assert_eq!((without.data.frames, without.data.test.unwrap().normal), (590, 1));
    let failure = fitted(&pipeline, frames(2)).unwrap_err();
    assert_eq!(failure.kind, Kind::Data);
    assert!(failure.message.contains("groups went to train") && failure.message.contains("night"), "{failure}");
}

#[test]
fn a_fit_records_gradients_latents_and_what_they_say() {
    let mut pipeline = digits();
    pipeline.spec.training.epochs = 2;
    let samples = Samples { frames: (0..400).map(six).collect(), ..Samples::default() };
    let history = fitted(&pipeline, samples).unwrap().history;
    // Two convolutions and the product to the latent; the product from it and two transposed convolutions.
    assert_eq!(history.layers.len(), 6, "{:?}", history.layers);
    for epoch in &history.epochs {
        assert_eq!(epoch.layer_gradients.len(), 6);
        assert!(epoch.layer_gradients.iter().all(|&norm| norm > 0.0 && norm.is_finite()), "{epoch:?}");
        assert!(epoch.largest_gradient >= epoch.gradient_norm && epoch.validation_error > 0.0, "{epoch:?}");
        assert!(epoch.train_judged.is_some());
    }
    let kept = history.kept().unwrap();
    assert_eq!((history.latent.kl.len(), history.latent.variance.len()), (16, 16));
    let kl: f64 = history.latent.kl.iter().map(|&kl| f64::from(kl)).sum();
    assert!((kl - kept.validation_kl).abs() < 1e-3 * kept.validation_kl, "{kl} {}", kept.validation_kl);
    assert_eq!(history.latent.active(), kept.active_units);
    assert!(!history.diagnosis.is_empty());
}

/// Sixes as they are and upside down, two of three with their labels.
fn sixes_and_nines(count: usize) -> Samples {
    let turned = |id: usize| {
        let mut frame = six(id);
        if id % 2 == 1 {
            frame.prepared.pixels.reverse();
        }
        frame
    };
    let frames: Vec<Sample> = (0..count).map(turned).collect();
    let label = |(id, frame): (usize, &Sample)| (frame.digest, if id % 2 == 1 { "9" } else { "6" }.to_string());
    let labels = frames.iter().enumerate().filter(|(id, _)| id % 3 != 0).map(label).collect();
    Samples { frames, labels, ..Samples::default() }
}

#[test]
fn labels_are_learnt_kept_and_not_mixed_with_others() {
    let mut pipeline = digits();
    pipeline.text = pipeline.text.replace("[32, 64]", "[8, 16]") + "\n[model.labels]\nhead = 10.0\nprior = true\n";
    pipeline.spec = toml::from_str(&pipeline.text).unwrap();
    (pipeline.spec.training.epochs, pipeline.spec.training.batch_size) = (6, 32);
    (pipeline.spec.calibration.alpha, pipeline.spec.calibration.delta) = (0.1, 0.1);
    let models = tempfile::tempdir().unwrap();
    let fit = |pipeline: &Pipeline, samples: Samples, start: Option<&Path>| {
        let job = Job {
            pipeline,
            given: &[],
            sources: &[],
            start,
            test: seal::Given::default(),
            clean: None,
            segmenter: None,
            models: models.path(),
            command: "anomalyd train".into(),
        };
        train(&job, samples, Device::Cpu, &AtomicBool::new(false), &mut |_| ())
    };
    let manifest = fit(&pipeline, sixes_and_nines(600), None).unwrap();
    let classes = manifest.data.classes.unwrap();
    assert_eq!(
        (classes.names, classes.frames, classes.unlabelled),
        (vec!["6".into(), "9".into()], vec![200, 200], 200)
    );
    let head = manifest.history.kept().unwrap().validation_head.unwrap();
    assert!(head.accuracy > 0.9 && (0.4..0.9).contains(&head.known), "{head:?}");
    assert!(manifest.history.epochs[0].train_head > manifest.history.kept().unwrap().train_head);
    let folder = models.path().join("digits").join(&manifest.version);
    let page = std::fs::read_to_string(folder.join("report.html")).unwrap();
    assert!(page.contains("Accuracy"));
    // As frames come in use: without labels, through the version on disk.
    let version = crate::store::load_version(models.path(), &pipeline, &manifest.version).unwrap();
    let weights = version.weights.clone();
    let mut detector = Detector::load(&pipeline.spec, version, Device::Cpu).unwrap();
    let fresh = Samples { labels: Default::default(), ..sixes_and_nines(620) };
    let prepared: Vec<&Prepared> = fresh.frames[600..].iter().map(|frame| &frame.prepared).collect();
    let examined = detector.examine(&prepared).unwrap();
    assert!(examined.iter().all(|frame| frame.tiles[0][Component::LatentMahalanobis as usize].is_finite()));
    let named = |frame: &crate::detector::Examined| detector.class_of(&frame.latents[0]).unwrap().unwrap().name;
    let right = examined.iter().enumerate().filter(|(id, frame)| named(frame) == ["6", "9"][id % 2]).count();
    assert!(right >= 18, "{right} of 20");
    pipeline.spec.training.epochs = 1;
    let warm = fit(&pipeline, sixes_and_nines(600), Some(&weights)).unwrap();
    assert!(warm.history.kept().unwrap().validation_head.unwrap().accuracy > 0.9);
    let mut others = sixes_and_nines(600);
    others.labels.values_mut().filter(|label| *label == "9").for_each(|label| *label = "nine".into());
    let failure = fit(&pipeline, others, Some(&weights)).unwrap_err();
    assert!(failure.message.contains("nine") && failure.message.contains("6, 9"), "{failure}");
    let none = Samples { labels: Default::default(), ..sixes_and_nines(600) };
    assert_eq!(fit(&pipeline, none, None).unwrap_err().kind, Kind::Data);
}
