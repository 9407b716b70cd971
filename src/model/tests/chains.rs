//! The two executors of classifiers and U-Nets, held to each other.

use super::*;

/// A classifier whose gradient has to come back through the filter to a convolution below it.
fn gradients_of_a_map(channels: usize) -> Chain {
    let input = Shape { c: channels, h: 7, w: 9 };
    let mut parameters = Vec::new();
    let mut net = graph::Builder::new("net", input, true, &mut parameters);
    net.conv(2, graph::Window { kernel: 3, stride: 1, padding: 1 });
    net.sobel();
    net.linear(4);
    let (output, lists) = (net.shape, vec![net.nodes]);
    Chain { network: network::Network { lists, parameters }, input, output }
}

/// Outputs, losses, gradients and three steps of a chain are the same in both executors.
fn chains_agree(chain: &Chain, n: usize, target: Target) {
    let [mut engine, mut reference] = [Device::Cpu, Device::Candle(candle_core::Device::Cpu)]
        .map(|device| FeedForward::new(chain.clone(), 3, device).expect("a chain"));
    let x = normal(n * chain.input.len(), 5);
    let (a, b) = (engine.forward(&x).expect("engine"), reference.forward(&x).expect("reference"));
    assert!(difference(&a, &b) < 1e-4, "output");
    let (loss_a, gradient_a) = engine.gradients(&x, target, 7).expect("engine");
    let (loss_b, gradient_b) = reference.gradients(&x, target, 7).expect("reference");
    assert!((loss_a / loss_b - 1.0).abs() < 1e-5, "{loss_a} {loss_b}");
    let largest = gradient_b.iter().fold(0f32, |m, g| m.max(g.abs()));
    for parameter in &chain.network.parameters {
        let range = parameter.range();
        let off = difference(&gradient_a[range.clone()], &gradient_b[range.clone()]);
        let own = gradient_b[range].iter().fold(0f32, |m, g| m.max(g.abs()));
        assert!(off * own < 1e-3 * own + 1e-6 * largest, "gradient of {}: {off}", parameter.name);
    }
    for seed in 0..3 {
        let a = engine.train_step(&x, target, seed, &STEP).expect("engine");
        let b = reference.train_step(&x, target, seed, &STEP).expect("reference");
        assert!((a.gradient_norm / b.gradient_norm - 1.0).abs() < 1e-2, "{a:?} {b:?}");
        assert!((a.loss / b.loss - 1.0).abs() < 1e-3, "{a:?} {b:?}");
    }
}

#[test]
fn executors_agree_on_chains() {
    let grey = |side| Shape { c: 1, h: side, w: side };
    let classes = Target::Classes(&[0, 3, 1]);
    chains_agree(&lenet::lenet5(grey(28), 10), 3, classes);
    chains_agree(&alexnet::alexnet(grey(32), 4, 0.1), 3, classes);
    chains_agree(&gradients_of_a_map(1), 3, classes);
    chains_agree(&gradients_of_a_map(3), 3, classes);
    chains_agree(&alexnet::alexnet(Shape { c: 3, h: 64, w: 64 }, 4, 0.05), 3, classes);
    let images = uniform(3 * 3 * 256, 8);
    let observation = Observation::new(Likelihood::Bernoulli, UNIT, 3, &[]);
    for upsample in [Upsample::Transposed, Upsample::Bilinear] {
        let unet = unet::unet(Shape { c: 3, h: 16, w: 16 }, 3, &[4, 6, 8], Norm::Group, upsample).expect("a U-Net");
        chains_agree(&unet, 3, Target::Images(&images, &observation));
    }
    let unet = unet::unet(grey(16), 1, &[4, 6], Norm::None, Upsample::Transposed).expect("a U-Net");
    let counts = Observation::of_means(COUNTS, ASINH, 1, &[]);
    chains_agree(&unet, 3, Target::Images(&images[..3 * 256], &counts));
    let unet = unet::unet(grey(16), 1, &[4, 6], Norm::Layer, Upsample::Nearest).expect("a U-Net");
    let masks: Vec<f32> = (0..3 * 256).map(|at| f32::from(at > 256 && at % 7 == 0)).collect();
    for law in [MaskLoss { positive_weight: 5.0, dice: 0.0 }, MaskLoss { positive_weight: 1.0, dice: 2.0 }] {
        chains_agree(&unet, 3, Target::Masks(&masks, law));
    }
}

#[test]
fn what_is_not_trained_stays_zero() {
    let chain = lenet::lenet5(Shape { c: 1, h: 28, w: 28 }, 10);
    // Trainable weights as published, but for the output layer: 60,000 free parameters "and 340,908 connections".
    assert_eq!(chain.network.parameter_count(), 156 + 12 + 1516 + 32 + 48_120 + 10_164 + 850);
    let mut net = FeedForward::new(chain.clone(), 1, Device::Cpu).expect("a chain");
    for seed in 0..3 {
        net.train_step(&normal(2 * 784, seed), Target::Classes(&[1, 2]), seed, &STEP).expect("a step");
    }
    let weights = net.snapshot().expect("weights").0;
    let trained = chain.network.parameters.iter().flat_map(|parameter| parameter.trained().collect::<Vec<_>>());
    for (weight, trained) in weights.iter().zip(trained) {
        assert!(trained || *weight == 0.0);
    }
}
