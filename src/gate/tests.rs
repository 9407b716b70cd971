//! The shipped model of digits against itself, and against itself made worse.

use std::path::Path;

use super::*;
use crate::pipeline::Scaling;
use crate::prepare::Prepared;
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
    let prepared = Prepared { width: 28, height: 28, channels: 1, pixels, tiles: vec![(0, 0)], scaling };
    Sample { source: "ring".into(), index: which as usize, digest, observed_at: None, prepared }
}

fn scorer(pipeline: &Pipeline, threshold: Option<f64>) -> Scorer {
    let mut version = store::load(&Path::new(ROOT).join("models"), pipeline).unwrap();
    if let Some(threshold) = threshold {
        version.calibration = vec![threshold; 1000];
    }
    Scorer::of(pipeline, version, "cpu").unwrap()
}

fn held(count: u32) -> Held {
    Held::new((0..count / 2).map(ring).collect(), (count / 2..count).map(ring).collect())
}

#[test]
fn a_version_is_as_good_as_itself() {
    let pipeline = Pipeline::load("digits", &Path::new(ROOT).join("pipelines")).unwrap();
    // A threshold that these frames keep within: they are no digits of the calibration.
    let (mut one, mut other) = (scorer(&pipeline, Some(1e6)), scorer(&pipeline, Some(1e6)));
    let verdict = judge((&mut one, &mut other), &held(200), None, &pipeline).unwrap();
    assert_eq!(verdict.faults(), Vec::<String>::new());
    assert_eq!((verdict.frames, verdict.frames_of_current, verdict.false_alarms.frames), (200, 100, 100));
    let elbo = verdict.negative_elbo.unwrap();
    assert_eq!((elbo.candidate, elbo.standard_error), (elbo.current, 0.0));
    assert_eq!(verdict.kinds.len(), Injected::ALL.len());
    assert!(verdict.auroc.unwrap().candidate > 0.55, "{verdict:?}");
    let text = toml::to_string(&verdict).unwrap();
    assert_eq!(toml::from_str::<Verdict>(&text).unwrap(), verdict);
}

#[test]
fn a_threshold_that_flags_everything_is_outside_the_certificate() {
    let pipeline = Pipeline::load("digits", &Path::new(ROOT).join("pipelines")).unwrap();
    let (mut one, mut other) = (scorer(&pipeline, Some(-1.0)), scorer(&pipeline, Some(1e6)));
    let verdict = judge((&mut one, &mut other), &held(200), None, &pipeline).unwrap();
    assert!(verdict.false_alarms.outside && verdict.false_alarms.candidate == 100);
    assert!(verdict.faults().iter().any(|fault| fault.contains("false alarms")), "{:?}", verdict.faults());
    // The other way round it finds nothing any more.
    let verdict = judge((&mut other, &mut one), &held(200), None, &pipeline).unwrap();
    assert!(verdict.recall.unwrap().worse && !verdict.false_alarms.outside);
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
