//! Each threshold on a synthetic history: on one side of it something is said, on the other nothing.

use std::path::Path;

use super::*;
use crate::pipeline::Pipeline;
use crate::train::judge::{Latent, Loss};

/// A variational pipeline of beta 1, clipped at 100.
fn spec() -> Spec {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("pipelines");
    let spec = Pipeline::load("digits", &folder).unwrap().spec;
    assert_eq!((spec.model.beta, spec.training.clip_norm), (1.0, 100.0));
    spec
}

/// A healthy history with these validation losses; train is judged one nat lower, with standard errors of one nat each.
fn history(validation: &[f64], end: End) -> History {
    let epoch = |(at, &loss): (usize, &f64)| Epoch {
        epoch: at + 1,
        validation_nll: loss,
        validation_error: 1.0,
        train_nll: loss - 1.0,
        train_judged: Some(Loss { nll: loss - 1.0, kl: 0.0, error: 1.0, ..Loss::default() }),
        active_units: 12,
        gradient_norm: 10.0,
        largest_gradient: 20.0,
        layer_gradients: vec![1.0, 2.0, 3.0, 4.0],
        ..Epoch::default()
    };
    let epochs: Vec<Epoch> = validation.iter().enumerate().map(epoch).collect();
    let best =
        epochs.iter().min_by(|a, b| a.validation_nll.total_cmp(&b.validation_nll)).map_or(0, |epoch| epoch.epoch);
    let latent = Latent { kl: vec![1.0; 16], variance: vec![0.5; 16] };
    History { epochs, best, end, latent, ..History::default() }
}

/// 200 nats in the first epoch, 100 in the second, then down to 80 along a curve that flattens.
fn flattening() -> Vec<f64> {
    std::iter::once(200.0).chain((0..11).map(|at| 80.0 + 20.0 * 0.5f64.powi(at))).collect()
}

fn signs(history: &History) -> Vec<Sign> {
    diagnose(history, &spec()).into_iter().map(|finding| finding.sign).collect()
}

fn words(history: &History, sign: Sign) -> String {
    let found = diagnose(history, &spec());
    found
        .iter()
        .find(|finding| finding.sign == sign)
        .unwrap_or_else(|| panic!("no {sign:?} in {found:?}"))
        .words
        .clone()
}

#[test]
fn a_curve_that_flattens_has_converged_and_says_nothing_else() {
    let history = history(&flattening(), End::Epochs);
    assert_eq!(signs(&history), [Sign::Converged]);
    assert!(words(&history, Sign::Converged).contains("epoch 12 is the best of 12"));
}

#[test]
fn patience_that_ran_out_has_converged() {
    let mut losses = flattening();
    losses.extend([80.05; 4]);
    let history = history(&losses, End::EarlyStop);
    assert!(words(&history, Sign::Converged).contains("no better epoch in the 4 after it"));
}

#[test]
fn validation_that_rises_while_train_falls_is_over_trained() {
    // All that it fell from the second epoch: 20 nats less a little; a rise of 2 % of that is 0.4.
    for (rise, expected) in [(0.35, Sign::Converged), (0.45, Sign::OverTrained)] {
        let mut losses = flattening();
        losses.push(losses[11] + rise);
        let mut history = history(&losses, End::EarlyStop);
        history.epochs[12].train_judged = Some(Loss { nll: 75.0, kl: 0.0, error: 1.0, ..Loss::default() });
        assert_eq!(signs(&history)[0], expected, "{rise}");
    }
    let mut losses = flattening();
    losses.push(losses[11] + 5.0);
    // Both rise: that is no over-training.
    assert_eq!(signs(&history(&losses, End::EarlyStop))[0], Sign::Converged);
    let mut over = history(&losses, End::EarlyStop);
    over.epochs[12].train_judged = Some(Loss { nll: 75.0, kl: 0.0, error: 1.0, ..Loss::default() });
    let said = words(&over, Sign::OverTrained);
    assert!(said.contains("validation rises by 5.000") && said.contains("those of epoch 12"), "{said}");
}

#[test]
fn histories_without_judged_training_tiles_are_read_by_the_running_loss() {
    let mut losses = flattening();
    losses.push(losses[11] + 5.0);
    let mut history = history(&losses, End::EarlyStop);
    history.epochs.iter_mut().for_each(|epoch| epoch.train_judged = None);
    history.epochs[12].train_nll = 70.0;
    assert_eq!(signs(&history), [Sign::OverTrained]);
    assert_eq!(gap(&history, 1.0), None);
}

#[test]
fn validation_that_still_falls_is_under_trained() {
    // Twelve epochs, the last three of which bring the share given of the 20 nats from the second on.
    for (share, expected) in [(0.08, Sign::Converged), (0.12, Sign::UnderTrained)] {
        let mut losses: Vec<f64> = std::iter::once(200.0).chain((0..8).map(|at| 100.0 - 1.5 * f64::from(at))).collect();
        let start = losses[8];
        let all = (100.0 - start) / (1.0 - share);
        losses.extend((1..=3).map(|at| start - share * all * f64::from(at) / 3.0));
        assert_eq!(signs(&history(&losses, End::Epochs))[0], expected, "{share}");
        // Whoever ran out of patience has not stopped too early.
        assert_eq!(signs(&history(&losses, End::EarlyStop))[0], Sign::Converged);
    }
    assert!(words(&history(&[90.0], End::Epochs), Sign::UnderTrained).contains("one epoch says nothing"));
}

#[test]
fn an_interrupted_fit_says_so() {
    assert_eq!(signs(&history(&flattening(), End::Interrupted)), [Sign::Interrupted]);
}

#[test]
fn a_gap_is_a_number_in_nats_and_in_standard_errors() {
    let mut history = history(&flattening(), End::Epochs);
    let set = |history: &mut History, nats: f64| {
        let loss = history.epochs[11].validation_nll - nats;
        history.epochs[11].train_judged = Some(Loss { nll: loss, kl: 0.0, error: 1.0, ..Loss::default() });
        gap(history, 1.0).unwrap()
    };
    let small = set(&mut history, 4.0);
    assert!((small.nats - 4.0).abs() < 1e-9 && (small.errors - 4.0 / 2f64.sqrt()).abs() < 1e-9, "{small:?}");
    assert_eq!(signs(&history), [Sign::Converged], "2.8 standard errors may be chance");
    assert_eq!(small.text(), "validation loss 4.000 nats a tile above that of train, 2.8 standard errors");
    let below = set(&mut history, -4.0).text();
    assert_eq!(below, "validation loss 4.000 nats a tile below that of train, 2.8 standard errors");
    set(&mut history, 4.5);
    assert!(words(&history, Sign::WideGap).contains("3.2 standard errors"));
    // Certain, but nothing beside what was learned: 0.9 of 20 nats.
    history.epochs[11].validation_error = 0.1;
    let loss = history.epochs[11].validation_nll - 0.9;
    history.epochs[11].train_judged = Some(Loss { nll: loss, kl: 0.0, error: 0.1, ..Loss::default() });
    assert_eq!(signs(&history), [Sign::Converged]);
}

#[test]
fn a_latent_without_active_units_has_collapsed() {
    let mut history = history(&flattening(), End::Epochs);
    for (active, collapsed) in [(0, true), (1, true), (2, false)] {
        history.epochs[11].active_units = active;
        assert_eq!(signs(&history).contains(&Sign::PosteriorCollapse), collapsed, "{active} of 16");
    }
    history.epochs[11].active_units = 0;
    assert!(words(&history, Sign::PosteriorCollapse).contains("0 of 16 latent units"));
    let mut point = spec();
    point.model.kind = crate::pipeline::ModelKind::Ae;
    assert_eq!(diagnose(&history, &point).len(), 1, "a point cannot collapse onto a prior");
}

#[test]
fn first_layers_that_get_no_gradient_are_said_to_vanish() {
    let mut history = history(&flattening(), End::Epochs);
    for (first, vanishes) in [(0.8e-3, true), (1.2e-3, false)] {
        for epoch in &mut history.epochs {
            epoch.layer_gradients = vec![first, first / 2.0, 7.0, 0.5, 1.0];
        }
        assert_eq!(signs(&history).contains(&Sign::VanishingGradients), vanishes, "{first}");
    }
    // One odd epoch says nothing.
    history.epochs[3].layer_gradients = vec![1e-9, 1e-9, 1.0, 1.0];
    assert_eq!(signs(&history), [Sign::Converged]);
}

#[test]
fn huge_and_broken_gradients_explode() {
    let mut history = history(&flattening(), End::Epochs);
    for (largest, explodes) in [(990.0, false), (1010.0, true)] {
        history.epochs[5].largest_gradient = largest;
        assert_eq!(signs(&history).contains(&Sign::ExplodingGradients), explodes, "{largest}");
    }
    assert!(words(&history, Sign::ExplodingGradients).contains("a step of epoch 6"));
    history.epochs[5].largest_gradient = 20.0;
    history.epochs[0].largest_gradient = 1e6;
    assert_eq!(signs(&history), [Sign::Converged], "the first epoch starts far from anywhere");
    history.epochs[7].lost_steps = 2;
    assert!(words(&history, Sign::ExplodingGradients).contains("in 2 steps"));
}

#[test]
fn steps_that_are_mostly_clipped_are_said() {
    let mut history = history(&flattening(), End::Epochs);
    for (share, said) in [(0.45, false), (0.55, true)] {
        history.epochs.iter_mut().for_each(|epoch| epoch.clipped = share);
        assert_eq!(signs(&history).contains(&Sign::ClippedSteps), said, "{share}");
    }
    assert!(words(&history, Sign::ClippedSteps).contains("training.clip_norm = 100"));
}

#[test]
fn manifests_that_recorded_less_are_still_read() {
    let models = Path::new(env!("CARGO_MANIFEST_DIR")).join("models");
    let version = std::fs::read_to_string(models.join("telescope/current")).unwrap();
    let text = std::fs::read_to_string(models.join("telescope").join(version.trim()).join("manifest.toml")).unwrap();
    let manifest: crate::store::Manifest = toml::from_str(&text).unwrap();
    let history = &manifest.history;
    assert_eq!(signs(history), [Sign::Converged]);
    assert!(history.layers.is_empty() && gap(history, 0.1).is_none());
}
