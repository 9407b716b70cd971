//! The shipped model of digits against itself, and against itself made worse.

use std::path::Path;

use super::figures::{ERRORS, figure};
use super::*;
use crate::frame_size::{FrameSize, Sizes};
use crate::pipeline::Scaling;
use crate::prepare::Prepared;
use crate::simulate::inject::Injected;
use crate::stats::paired::Difference;
use crate::store;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// A frame with a ring, about what the model takes for a digit; `which` makes it another.
fn ring(which: u32) -> Sample {
    let digest = blake3::hash(&which.to_le_bytes());
    let bytes = digest.as_bytes();
    let (radius, x0, y0) =
        (5.0 + f32::from(bytes[0] % 30) / 10.0, 12.0 + f32::from(bytes[1] % 4), 12.0 + f32::from(bytes[2] % 4));
    let value = |at: usize| {
        let (x, y) = ((at % 28) as f32 - x0, (at / 28) as f32 - y0);
        (1.4 - ((x * x + y * y).sqrt() - radius).abs() / 1.5).clamp(0.0, 1.0)
    };
    let scaling = Scaling::Linear { black: 0.0, white: 255.0 };
    let pixels = (0..28 * 28).map(value).collect();
    let prepared =
        Prepared { width: 28, height: 28, channels: 1, pixels, tiles: vec![(0, 0)], in_file: [28, 28], scaling };
    Sample { source: "ring".into(), index: which as usize, digest, observed_at: None, prepared }
}

/// The shipped version with other calibration scores.
fn calibrated(pipeline: &Pipeline, calibration: Vec<f64>) -> Scorer {
    let mut version = store::load(&Path::new(ROOT).join("models"), pipeline).unwrap();
    version.calibration = calibration;
    Scorer::of(pipeline, version, "cpu").unwrap()
}

fn scorer(pipeline: &Pipeline, threshold: f64) -> Scorer {
    calibrated(pipeline, vec![threshold; 1000])
}

fn group(origin: &str, numbers: std::ops::Range<u32>) -> Group {
    Group { origin: origin.into(), vouched: false, frames: numbers.map(ring).collect() }
}

/// A hundred frames of the current version's own, none of which gave the candidate's threshold, and a hundred others.
fn held() -> Held {
    Held::new((0..100).map(ring).collect(), vec![group("new", 100..200)])
}

#[test]
fn a_version_is_as_good_as_itself() {
    let pipeline = Pipeline::load("digits", &Path::new(ROOT).join("pipelines")).unwrap();
    // Calibrated on other rings: they are no digits.
    let rings: Vec<Sample> = (1000..1400).map(ring).collect();
    let frames: Vec<&Prepared> = rings.iter().map(|ring| &ring.prepared).collect();
    let seen = look(&mut scorer(&pipeline, 1e6), &frames, &pipeline.spec).unwrap();
    let scores: Vec<f64> = seen.iter().map(|seen| seen.score).collect();
    let (mut one, mut other) = (calibrated(&pipeline, scores.clone()), calibrated(&pipeline, scores));
    let verdict = judge((&mut one, &mut other), &held(), &Known::default(), &pipeline).unwrap();
    assert_eq!(verdict.faults(), Vec::<String>::new());
    assert_eq!((verdict.frames, verdict.frames_of_current, verdict.false_alarms.frames), (200, 100, 100));
    let elbo = verdict.negative_elbo.unwrap();
    assert_eq!((elbo.candidate, elbo.standard_error), (elbo.current, 0.0));
    assert_eq!(verdict.kinds.len(), Injected::ALL.len());
    assert!(verdict.auroc.unwrap().candidate > 0.55, "{verdict:?}");
    assert!((verdict.others.len(), verdict.others[0].unlike) == (1, false) && verdict.not_judged.is_empty());
    let text = toml::to_string(&verdict).unwrap();
    assert_eq!(toml::from_str::<Verdict>(&text).unwrap(), verdict);
}

#[test]
fn a_threshold_that_flags_everything_is_outside_the_certificate() {
    let pipeline = Pipeline::load("digits", &Path::new(ROOT).join("pipelines")).unwrap();
    let (mut one, mut other) = (scorer(&pipeline, -1.0), scorer(&pipeline, 1e6));
    let verdict = judge((&mut one, &mut other), &held(), &Known::default(), &pipeline).unwrap();
    assert!(verdict.false_alarms.outside && verdict.false_alarms.candidate == 100);
    assert!(verdict.faults().iter().any(|fault| fault.contains("100 false alarms in 100")), "{:?}", verdict.faults());
    // The other way round it finds nothing any more, and the others are nothing that the current version knows.
    let verdict = judge((&mut other, &mut one), &held(), &Known::default(), &pipeline).unwrap();
    assert!(verdict.recall.unwrap().worse && !verdict.false_alarms.outside);
    assert!(verdict.others[0].unlike && verdict.others[0].recall.is_none());
    assert!(verdict.faults().iter().any(|fault| fault.contains("on new") && fault.contains("anomalies among them")));
    // A person's word for them is enough.
    let vouched = Held { others: vec![Group { vouched: true, ..group("new", 100..200) }], ..held() };
    let verdict = judge((&mut other, &mut one), &vouched, &Known::default(), &pipeline).unwrap();
    assert!(verdict.others[0].unlike && verdict.faults().iter().all(|fault| !fault.contains("on new")));
}

/// The shipped version as if it had been calibrated on frames of four tiles.
fn of_four_tiles(pipeline: &Pipeline, threshold: f64) -> Scorer {
    let mut version = store::load(&Path::new(ROOT).join("models"), pipeline).unwrap();
    version.calibration = vec![threshold; 1000];
    let size = FrameSize { tiles: [2, 2], pixels: [56, 56] };
    version.manifest.data.sizes = Some(Sizes { smallest: size, largest: size, tiles: None, area: None });
    Scorer::of(pipeline, version, "cpu").unwrap()
}

#[test]
fn nothing_is_called_certified_of_frames_of_other_sizes() {
    let pipeline = Pipeline::load("digits", &Path::new(ROOT).join("pipelines")).unwrap();
    let (mut four, mut one) = (of_four_tiles(&pipeline, -1.0), scorer(&pipeline, 1e6));
    let verdict = judge((&mut four, &mut one), &held(), &Known::default(), &pipeline).unwrap();
    assert_eq!((verdict.false_alarms.other_sizes, verdict.others[0].false_alarms.other_sizes), ([100, 0], [100, 0]));
    let (faults, text) = (verdict.faults().join("; "), verdict.text());
    assert!(faults.contains("100 of them are of other sizes") && !faults.contains("certified is"), "{faults}");
    assert!(faults.contains("nothing would be certified for them any more"), "{faults}");
    assert!(text.contains("no certificate for 100") && !text.contains("outside the certificate"), "{text}");
    // Whether new frames are like those of the current version cannot be told by a threshold that is not theirs.
    let verdict = judge((&mut one, &mut four), &held(), &Known::default(), &pipeline).unwrap();
    assert_eq!(verdict.others[0].false_alarms.other_sizes, [0, 100]);
    let faults = verdict.faults().join("; ");
    assert!(faults.contains("on new: all 100 frames are of other sizes than 0001"), "{faults}");
    assert!(!faults.contains("anomalies among them"), "{faults}");
}

#[test]
fn known_anomalies_count_where_there_are_enough_and_what_is_not_judged_is_said() {
    let pipeline = Pipeline::load("digits", &Path::new(ROOT).join("pipelines")).unwrap();
    let (mut one, mut other) = (scorer(&pipeline, 1e6), scorer(&pipeline, 1e6));
    // Its own frames are all the candidate's, too; there is next to nothing else.
    let all = || vec![group("old", 0..60), group("few", 60..65)];
    let held = || Held::new((0..60).map(ring).collect(), all());
    let kinds = |count: u32| Kinds::from([("odd".to_string(), (500..500 + count).map(ring).collect())]);
    let given = |count: u32| Known { given: kinds(count), ..Known::default() };
    let verdict = judge((&mut one, &mut other), &held(), &given(30), &pipeline).unwrap();
    assert_eq!((verdict.anomalies, verdict.kinds.len()), (Anomalies::Given, 1));
    assert!((verdict.auroc.unwrap().candidate - 0.5).abs() < 0.15, "they are as normal as the others");
    assert!(verdict.false_alarms.gave_threshold && verdict.others.is_empty());
    let said = verdict.not_judged.join("; ");
    assert!(said.contains("false alarms on the data of") && said.contains("few: 5 held-out frames"), "{said}");
    let verdict = judge((&mut one, &mut other), &held(), &given(3), &pipeline).unwrap();
    assert_eq!((verdict.anomalies, verdict.kinds.len()), (Anomalies::Injected, Injected::ALL.len()));
    assert!(verdict.not_judged.iter().any(|words| words.contains("3 known anomalies")), "{:?}", verdict.not_judged);
    // What people labelled was flagged by the current version, all of it: it cannot tell which of both finds more.
    let (mut blind, mut keen) = (scorer(&pipeline, 1e6), scorer(&pipeline, -1.0));
    let said = Known { labelled: kinds(30), ..Known::default() };
    let verdict = judge((&mut blind, &mut keen), &held(), &said, &pipeline).unwrap();
    assert_eq!((verdict.anomalies, verdict.kinds.len()), (Anomalies::Injected, Injected::ALL.len()));
    let told = "30 anomalies that people labelled, of which the candidate flags 0 and 0001-f8934809 30";
    assert!(verdict.not_judged.iter().any(|words| words.contains(told)), "{:?}", verdict.not_judged);
}

#[test]
fn what_a_person_called_normal_is_held_against_the_current_version_and_not_against_alpha() {
    let pipeline = Pipeline::load("digits", &Path::new(ROOT).join("pipelines")).unwrap();
    let rings: Vec<Sample> = (100..200).map(ring).collect();
    let frames: Vec<&Prepared> = rings.iter().map(|ring| &ring.prepared).collect();
    let seen = look(&mut scorer(&pipeline, 1e6), &frames, &pipeline.spec).unwrap();
    let mut scores: Vec<f64> = seen.iter().map(|seen| seen.score).collect();
    scores.sort_by(f64::total_cmp);
    // Of the hundred the one flags ten, more than alpha; the other flags all.
    let (mut few, mut all) = (scorer(&pipeline, (scores[89] + scores[90]) / 2.0), scorer(&pipeline, -1.0));
    let held = |vouched| Held { others: vec![Group { vouched, ..group("new", 100..200) }], ..held() };
    let verdict = judge((&mut few, &mut all), &held(false), &Known::default(), &pipeline).unwrap();
    let alarms = verdict.others[0].false_alarms;
    assert_eq!((alarms.candidate, alarms.current, alarms.outside), (10, 100, true));
    let verdict = judge((&mut few, &mut all), &held(true), &Known::default(), &pipeline).unwrap();
    assert!(!verdict.others[0].false_alarms.outside);
    assert!(verdict.faults().iter().all(|fault| !fault.contains("on new")), "{:?}", verdict.faults());
    let verdict = judge((&mut all, &mut few), &held(true), &Known::default(), &pipeline).unwrap();
    assert!(verdict.faults().iter().any(|fault| fault.contains("on new: 100 false alarms")), "{:?}", verdict.faults());
}

#[test]
fn what_is_worse_by_chance_or_by_little_is_not_worse() {
    let one = |of: f64, error: f64| {
        let difference = Difference { of, against: 100.0, standard_error: error };
        figure(difference, ERRORS * error + 1.0, of - 100.0).worse
    };
    assert!(!one(99.0, 0.1) && !one(100.9, 0.0) && !one(102.5, 1.0) && one(104.0, 1.0));
    assert!(one(f64::NAN, 0.1), "what is no number is worse");
}
