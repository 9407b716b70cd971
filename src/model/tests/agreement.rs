//! The two executors of every kind of autoencoder, held to each other.

use super::*;

/// Outputs, losses, every gradient and the weights after three steps are the same in both executors.
fn agree(model: &Model, input: &Input, n: usize) {
    let (mut engine, mut reference) = both(model, input);
    let x = uniform(n * input.channels * input.size * input.size, 5);
    let noise = normal(n * engine.noise_len(), 6);
    let (a, b) = (engine.infer(&x).expect("engine"), reference.infer(&x).expect("reference"));
    assert!(difference(&a.mean, &b.mean) < 1e-4, "mean of {model:?}");
    assert!(difference(&a.log_var, &b.log_var) < 1e-4, "log_var of {model:?}");
    assert!(difference(&a.output, &b.output) < 1e-4, "output of {model:?}");
    assert_eq!(a.features.len(), engine.stages().len());
    for (stage, (a, b)) in a.features.iter().zip(&b.features).enumerate() {
        assert!(difference(a, b) < 1e-4, "features of stage {stage} of {model:?}");
    }
    assert!(difference(&engine.decode(&a.mean).expect("decode"), &a.output) < 1e-5);
    assert!(difference(&reference.decode(&b.mean).expect("decode"), &b.output) < 1e-5);

    let (loss_a, gradient_a) = engine.gradients((&x, &[]), &noise, 0.7).expect("engine");
    let (loss_b, gradient_b) = reference.gradients((&x, &[]), &noise, 0.7).expect("reference");
    assert!((loss_a.nll / loss_b.nll - 1.0).abs() < 1e-5, "{loss_a:?} {loss_b:?}");
    assert!((loss_a.kl - loss_b.kl).abs() <= 1e-4 * loss_b.kl, "{loss_a:?} {loss_b:?}");
    for parameter in &Architecture::new(model, input).expect("network").network.parameters {
        let range = parameter.range();
        let off = difference(&gradient_a[range.clone()], &gradient_b[range]);
        // A convolution's bias before a group norm of few pixels has almost no gradient: compare on the scale of all.
        let largest = gradient_b.iter().fold(0f32, |m, g| m.max(g.abs()));
        let own = gradient_b[parameter.range()].iter().fold(0f32, |m, g| m.max(g.abs()));
        assert!(off * own < 1e-3 * own + 1e-6 * largest, "gradient of {} of {model:?}: {off}", parameter.name);
    }
    let whole = gradient_a.iter().map(|&g| f64::from(g).powi(2)).sum::<f64>().sqrt();
    for step in 0..3 {
        let a = engine.train_step(&x, &x, &noise, &STEP).expect("engine");
        let b = reference.train_step(&x, &x, &noise, &STEP).expect("reference");
        if step == 0 {
            layers_agree(&engine.layer_gradients(), &reference.layer_gradients(), whole);
        }
        assert!((a.gradient_norm / b.gradient_norm - 1.0).abs() < 1e-2, "{a:?} {b:?}");
        assert!((a.nll / b.nll - 1.0).abs() < 1e-3, "{a:?} {b:?}");
    }
}

/// The layers of both have the same names and, by the scale of the whole gradient, the same norms.
fn layers_agree(a: &[(String, f64)], b: &[(String, f64)], whole: f64) {
    assert!(a.len() >= 3 && a[0].0.starts_with("encoder."), "{a:?}");
    assert!(a.iter().map(|(_, norm)| norm * norm).sum::<f64>().sqrt() <= whole * (1.0 + 1e-6));
    assert_eq!(a.len(), b.len());
    for ((name_a, norm_a), (name_b, norm_b)) in a.iter().zip(b) {
        assert_eq!(name_a, name_b);
        assert!((norm_a - norm_b).abs() < 1e-3 * norm_b + 1e-6 * whole, "{name_a}: {norm_a} {norm_b}");
    }
}

#[test]
fn executors_agree() {
    let vector = Latent::Vector { dim: 5 };
    let map = Latent::Map { dim: 3 };
    agree(&model(&[4, 8], Norm::Group, vector, Likelihood::Bernoulli), &input(28, 1, UNIT), 9);
    agree(&model(&[4, 8], Norm::Layer, map, Likelihood::Gaussian), &input(28, 3, UNIT), 3);
    agree(&model(&[6, 12], Norm::None, vector, Likelihood::Gaussian), &input(28, 1, UNIT), 4);
    agree(&model(&[4, 6, 8], Norm::Group, map, COUNTS), &input(64, 1, ASINH), 2);
    agree(
        &model(&[4], Norm::Layer, vector, COUNTS),
        &input(8, 3, Scaling::Log { black: 90.0, white: 9000.0, scale: 9.0 }),
        2,
    );
    agree(&model(&[4, 6], Norm::None, map, COUNTS), &input(64, 3, Scaling::Linear { black: 0.0, white: 900.0 }), 2);
}

/// A pipeline's model with other keys.
fn kinds() -> Vec<(Model, Input, usize)> {
    let vector = Latent::Vector { dim: 5 };
    let plain = model(&[4, 8], Norm::Group, vector, Likelihood::Bernoulli);
    let block = |channels, kernel, stride, downsample| Block { channels, kernel, stride, padding: None, downsample };
    let blocks = |blocks: &[Block]| Model { channels: vec![], blocks: blocks.to_vec(), ..plain.clone() };
    let backbone = |backbone| Model { channels: vec![], backbone: Some(backbone), ..plain.clone() };
    vec![
        (Model { kind: ModelKind::Dense, channels: vec![30, 20], ..plain.clone() }, input(12, 3, UNIT), 5),
        (
            Model { kind: ModelKind::Dense, variational: false, norm: Norm::Layer, ..plain.clone() },
            input(8, 1, UNIT),
            3,
        ),
        (Model { kind: ModelKind::Ae, likelihood: Likelihood::Gaussian, ..plain.clone() }, input(28, 1, UNIT), 4),
        (Model { kind: ModelKind::Ae, latent: Latent::Map { dim: 2 }, ..plain.clone() }, input(16, 3, UNIT), 3),
        (Model { upsample: Upsample::Nearest, ..plain.clone() }, input(12, 1, UNIT), 3),
        (Model { upsample: Upsample::Bilinear, biases: false, ..plain.clone() }, input(12, 3, UNIT), 3),
        (Model { upsample: Upsample::PixelShuffle, norm: Norm::None, ..plain.clone() }, input(16, 3, UNIT), 3),
        (blocks(&[block(4, 5, 2, Downsample::MaxPool), block(6, 3, 2, Downsample::AvgPool)]), input(28, 1, UNIT), 3),
        (blocks(&[block(4, 5, 4, Downsample::Stride), block(6, 3, 1, Downsample::Stride)]), input(16, 1, UNIT), 3),
        (backbone(Backbone::Lenet5), input(28, 1, UNIT), 3),
        (backbone(Backbone::Alexnet), input(32, 1, UNIT), 2),
    ]
}

/// The same input through Sobel's filter.
fn filtered(input: Input) -> Input {
    Input { filters: vec![Filter::Sobel], ..input }
}

#[test]
fn executors_agree_on_every_kind_of_model() {
    for (model, input, n) in kinds() {
        agree(&model, &input, n);
    }
}

#[test]
fn executors_agree_on_models_that_see_gradients() {
    let dense = |(model, _, _): &(Model, Input, usize)| model.kind == ModelKind::Dense;
    let backbone = |(model, _, _): &(Model, Input, usize)| model.backbone == Some(Backbone::Lenet5);
    for (model, input, n) in kinds().into_iter().filter(|kind| dense(kind) || backbone(kind)) {
        agree(&model, &filtered(input), n);
    }
    let map = model(&[4, 6], Norm::Layer, Latent::Map { dim: 3 }, COUNTS);
    agree(&map, &filtered(input(16, 3, ASINH)), 3);
    agree(
        &model(&[4, 8], Norm::Group, Latent::Vector { dim: 5 }, Likelihood::Bernoulli),
        &filtered(input(28, 1, UNIT)),
        9,
    );
}

#[test]
fn gradients_are_for_the_encoder_alone() {
    let model = model(&[4, 8], Norm::Group, Latent::Vector { dim: 3 }, Likelihood::Gaussian);
    let (plain, seen) = (input(28, 3, UNIT), filtered(input(28, 3, UNIT)));
    let network = |input: &Input| Architecture::new(&model, input).expect("a network");
    let (before, after) = (network(&plain), network(&seen));
    assert_eq!((after.encoder()[0].input, after.encoder()[0].output.c), (before.image, 15));
    assert_eq!(after.image, before.image);
    // Four channels more for each of three, under 3 x 3 weights to four maps; the filter itself has no weight.
    assert_eq!(after.network.parameter_count() - before.network.parameter_count(), 4 * 3 * 9 * 4);
    for device in [Device::Cpu, Device::Candle(candle_core::Device::Cpu)] {
        let mut vae = Autoencoder::new(&model, &seen, 1, device).expect("a vae");
        // A flat image has no gradient, and yet a loss and slopes that are numbers.
        let x = vec![0.25; 2 * vae.image_len()];
        let inference = vae.infer(&x).expect("inference");
        assert_eq!(inference.output.len(), x.len());
        let loss = vae.train_step(&x, &x, &normal(2 * 3, 1), &STEP).expect("a step");
        assert!(loss.nll.is_finite() && loss.gradient_norm.is_finite(), "{loss:?}");
    }
}
