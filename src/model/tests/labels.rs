//! Labels in both executors: head and priors of the classes.

use super::*;
use crate::pipeline::Supervision;

/// The model with this supervision of four classes.
fn labelled(model: Model, head: f32, hidden: Option<usize>, prior: bool) -> Model {
    let classes = ["east", "north", "south", "west"].map(String::from).to_vec();
    Model { labels: Some(Supervision { head, hidden, prior, classes }), ..model }
}

/// Every kind of latent and of supervision.
fn models() -> Vec<(Model, Input)> {
    let vector = model(&[4, 6], Norm::Group, Latent::Vector { dim: 5 }, Likelihood::Bernoulli);
    let map = model(&[4, 6], Norm::Layer, Latent::Map { dim: 3 }, Likelihood::Gaussian);
    let dense = Model { kind: ModelKind::Dense, channels: vec![20], ..vector.clone() };
    let point = Model { kind: ModelKind::Ae, ..vector.clone() };
    vec![
        (labelled(vector.clone(), 10.0, None, true), input(12, 1, UNIT)),
        (labelled(vector.clone(), 3.0, Some(7), false), input(12, 3, UNIT)),
        (labelled(vector, 0.0, None, true), input(12, 1, UNIT)),
        (labelled(map.clone(), 10.0, Some(6), true), input(12, 3, UNIT)),
        (labelled(map, 5.0, None, false), input(12, 1, UNIT)),
        (labelled(dense, 10.0, None, true), input(8, 1, UNIT)),
        (labelled(point, 10.0, Some(4), false), input(12, 1, UNIT)),
    ]
}

const CLASSES: [Option<u32>; 6] = [Some(3), None, Some(0), Some(0), None, Some(2)];

/// The whole loss, by hand.
fn whole_loss(parts: &autoencoder::Parts, head: f32) -> f64 {
    parts.nll + 0.7 * parts.kl + f64::from(head) * parts.cross_entropy
}

#[test]
fn executors_agree_on_labels() {
    for (model, input) in models() {
        let (mut engine, mut reference) = both(&model, &input);
        let x = uniform(6 * engine.image_len(), 5);
        let noise = normal(6 * engine.noise_len(), 6);
        for classes in [&CLASSES[..], &[]] {
            let (loss_a, gradient_a) = engine.gradients((&x, classes), &noise, 0.7).expect("engine");
            let (loss_b, gradient_b) = reference.gradients((&x, classes), &noise, 0.7).expect("reference");
            for (a, b) in
                [(loss_a.nll, loss_b.nll), (loss_a.kl, loss_b.kl), (loss_a.cross_entropy, loss_b.cross_entropy)]
            {
                assert!((a - b).abs() <= 1e-4 * b.abs(), "{loss_a:?} {loss_b:?} of {model:?}");
            }
            assert_eq!(loss_a.cross_entropy > 0.0, engine.head().is_some() && !classes.is_empty());
            let largest = gradient_b.iter().fold(0f32, |m, g| m.max(g.abs()));
            for parameter in &Architecture::new(&model, &input).expect("network").network.parameters {
                let own = gradient_b[parameter.range()].iter().fold(0f32, |m, g| m.max(g.abs()));
                let off = difference(&gradient_a[parameter.range()], &gradient_b[parameter.range()]);
                assert!(off * own < 1e-3 * own + 1e-6 * largest, "gradient of {} of {model:?}: {off}", parameter.name);
            }
        }
        let mean = engine.reconstruct(&x).expect("engine").mean;
        let (a, b) = (engine.answers(&mean).expect("engine"), reference.answers(&mean).expect("reference"));
        assert_eq!(a.len(), 24);
        assert!(difference(&a, &b) < 1e-4);
        for _ in 0..3 {
            let a = engine.train_labelled((&x, &CLASSES), &x, &noise, &STEP).expect("engine");
            let b = reference.train_labelled((&x, &CLASSES), &x, &noise, &STEP).expect("reference");
            assert!((a.gradient_norm / b.gradient_norm - 1.0).abs() < 1e-2, "{a:?} {b:?}");
            assert!((a.cross_entropy - b.cross_entropy).abs() <= 1e-3 * b.cross_entropy, "{a:?} {b:?}");
        }
        let prior = |vae: &Autoencoder| vae.prior().mean(1).map(<[f32]>::to_vec);
        match (prior(&engine), prior(&reference)) {
            (Some(a), Some(b)) => assert!(difference(&a, &b) < 1e-3),
            (a, b) => assert!(a == b && model.labels.as_ref().is_some_and(|labels| !labels.prior)),
        }
    }
}

#[test]
fn every_gradient_of_labels_is_the_slope_of_the_loss() {
    for (model, input) in models() {
        let mut vae = Autoencoder::new(&model, &input, 1, Device::Cpu).expect("engine");
        let x = uniform(6 * vae.image_len(), 1);
        let noise = normal(6 * vae.noise_len(), 2);
        let head = vae.head().unwrap_or(0.0);
        let (parts, gradient) = vae.gradients((&x, &CLASSES), &noise, 0.7).expect("gradient");
        let loss = whole_loss(&parts, head);
        let start = vae.snapshot().expect("weights");
        let whole = gradient.iter().map(|g| f64::from(g * g)).sum::<f64>().sqrt();
        for parameter in &Architecture::new(&model, &input).expect("network").network.parameters {
            let slope = &gradient[parameter.range()];
            let norm = slope.iter().map(|g| f64::from(g * g)).sum::<f64>().sqrt();
            let h = (3e-5 * loss / norm).min(2e-3) as f32;
            let mut loss_at = |sign: f32| {
                let mut moved = start.clone();
                for (w, g) in moved.0[parameter.range()].iter_mut().zip(slope) {
                    *w += sign * h * g / norm as f32;
                }
                vae.restore(&moved).expect("restore");
                whole_loss(&vae.gradients((&x, &CLASSES), &noise, 0.7).expect("loss").0, head)
            };
            let measured = (loss_at(1.0) - loss_at(-1.0)) / (2.0 * f64::from(h));
            assert!(
                (measured - norm).abs() < 0.03 * norm + 2e-3 * whole,
                "{} of {model:?}: slope {norm}, measured {measured}",
                parameter.name
            );
        }
    }
}

#[test]
fn the_divergence_is_that_of_the_prior() {
    for (model, input) in models() {
        let mut vae = Autoencoder::new(&model, &input, 1, Device::Cpu).expect("engine");
        if !vae.is_variational() {
            continue;
        }
        let (x, noise) = (uniform(6 * vae.image_len(), 1), normal(6 * vae.noise_len(), 2));
        let (parts, _) = vae.gradients((&x, &CLASSES), &noise, 0.7).expect("gradient");
        let posterior = vae.reconstruct(&x).expect("posterior");
        let latent = vae.latent_len();
        let rows = posterior.mean.chunks(latent).zip(posterior.log_var.chunks(latent)).zip(CLASSES);
        let kl: f64 = rows.map(|((mean, log_var), class)| vae.prior().kl(mean, log_var, class)).sum();
        assert!((parts.kl - kl / 6.0).abs() < 1e-4 * parts.kl, "{parts:?} {kl}");
    }
}

#[test]
fn a_head_learns_its_classes_and_labels_change_no_other_start() {
    let plain = model(&[4, 8], Norm::Group, Latent::Vector { dim: 3 }, Likelihood::Bernoulli);
    let (model, input) = (labelled(plain.clone(), 10.0, None, true), input(12, 1, UNIT));
    let mut vae = Autoencoder::new(&model, &input, 4, Device::Cpu).expect("engine");
    let without = Autoencoder::new(&plain, &input, 4, Device::Cpu).expect("engine").snapshot().expect("weights");
    assert_eq!(vae.snapshot().expect("weights").0[..without.0.len()], without.0);
    // Each class is a bright edge.
    let edge = |class: usize, i: usize| [i % 12 > 8, i / 12 < 3, i / 12 > 8, i % 12 < 3][class];
    let x: Vec<f32> = (0..16).flat_map(|n| (0..144).map(move |i| f32::from(u8::from(edge(n % 4, i))))).collect();
    let classes: Vec<Option<u32>> = (0..16).map(|n| Some(n % 4)).collect();
    let losses: Vec<f64> = (0..80)
        .map(|seed| {
            let step = Step { learning_rate: 1e-2, ..STEP };
            vae.train_labelled((&x, &classes), &x, &normal(48, seed), &step).expect("a step").cross_entropy
        })
        .collect();
    assert!(losses[0] > 1.0 && losses[79] < 0.1, "{losses:?}");
    let mean = vae.reconstruct(&x).expect("means").mean;
    let logits = vae.answers(&mean).expect("logits");
    assert!(logits.chunks(4).enumerate().all(|(n, logits)| crate::model::supervised::answer(logits).0 == n % 4));
    // Images stand nearest to their own class's prior.
    for (n, mean) in mean.chunks(3).enumerate() {
        let divergence = |class: u32| vae.prior().kl(mean, &[0.0; 3], Some(class));
        assert!((0..4).all(|class| divergence(n as u32 % 4) <= divergence(class)));
    }
    assert!(vae.train_labelled((&x, &classes[1..]), &x, &normal(48, 1), &STEP).is_err());
    assert!(vae.train_labelled((&x, &[Some(4); 16]), &x, &normal(48, 1), &STEP).is_err());
}

#[test]
fn classes_survive_the_disk_and_others_are_refused() {
    let plain = model(&[4], Norm::None, Latent::Vector { dim: 3 }, Likelihood::Bernoulli);
    let (model, input) = (labelled(plain.clone(), 10.0, None, true), input(8, 1, UNIT));
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("weights.safetensors");
    let vae = Autoencoder::new(&model, &input, 4, Device::Cpu).expect("engine");
    vae.save(&path, Default::default()).expect("save");
    let with = |classes: &[&str]| {
        let mut model = model.clone();
        let labels = model.labels.as_mut().expect("labels");
        labels.classes = classes.iter().map(|name| name.to_string()).collect();
        Autoencoder::load(&model, &input, &path, Device::Cpu)
    };
    for device in [Device::Cpu, Device::Candle(candle_core::Device::Cpu)] {
        let unnamed =
            Model { labels: Some(Supervision { classes: vec![], ..model.labels.clone().unwrap() }), ..model.clone() };
        let back = Autoencoder::load(&unnamed, &input, &path, device).expect("load");
        assert_eq!((back.classes(), back.prior()), (vae.classes(), vae.prior()));
    }
    let failure = with(&["north", "south", "west"]).err().expect("a refusal");
    assert_eq!(failure.kind, Kind::Model);
    assert!(failure.message.contains("east, north, south, west") && failure.message.contains("north, south, west"));
    assert!(with(&["east", "north", "south", "west"]).is_ok());
    Autoencoder::new(&plain, &input, 4, Device::Cpu).expect("engine").save(&path, Default::default()).expect("save");
    assert!(with(&[]).err().expect("a refusal").message.contains("without labels"));
}
