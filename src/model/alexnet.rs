//! AlexNet (Krizhevsky, Sutskever & Hinton 2012, NIPS 25), scaled to the input.
//!
//! Five convolutions, three overlapping max-poolings (3 x 3, step 2), two layers of 4096 units with dropout 0.5, rectified
//! throughout, as published for 224 x 224 pixels and a `width` of 1. The first convolution is 11 x 11 with step 4 there; on
//! smaller inputs it shrinks, so that every pooling has pixels left. Local response normalisation is left out: it brought
//! nothing in later measurements (Simonyan & Zisserman 2014, arXiv:1409.1556, table 3).

use super::feedforward::Chain;
use super::graph::{Builder, Layer, Shape, Window};
use super::network::Network;

/// The classifier; `width` scales every layer's number of filters or units.
pub fn alexnet(input: Shape, classes: usize, width: f32) -> Chain {
    let mut parameters = Vec::new();
    let mut net = Builder::new("alexnet", input, true, &mut parameters);
    trunk(&mut net, width);
    for _ in 0..2 {
        net.same(Layer::Dropout(0.5));
        net.linear(scaled(4096, width));
        net.same(Layer::Relu);
    }
    net.linear(classes);
    let (output, lists) = (net.shape, vec![net.nodes]);
    Chain { network: Network { lists, parameters }, input, output }
}

fn scaled(full: usize, width: f32) -> usize {
    ((full as f32 * width).round() as usize).max(1)
}

/// The convolutions and poolings; returns the nodes whose outputs are the maps after each pooling.
pub(super) fn trunk(net: &mut Builder, width: f32) -> Vec<usize> {
    let first = match net.shape.h {
        128.. => Window { kernel: 11, stride: 4, padding: 2 },
        48.. => Window { kernel: 7, stride: 2, padding: 3 },
        _ => Window { kernel: 5, stride: 1, padding: 2 },
    };
    let same = |kernel: usize| Window { kernel, stride: 1, padding: kernel / 2 };
    let convolve = |net: &mut Builder, full: usize, window: Window| {
        net.conv(scaled(full, width), window);
        net.same(Layer::Relu);
    };
    convolve(net, 96, first);
    let mut pooled = vec![shrink(net)];
    convolve(net, 256, same(5));
    pooled.push(shrink(net));
    convolve(net, 384, same(3));
    convolve(net, 384, same(3));
    convolve(net, 256, same(3));
    pooled.push(shrink(net));
    pooled
}

/// The largest of overlapping windows; of fewer than three pixels, of all there are.
fn shrink(net: &mut Builder) -> usize {
    let kernel = net.shape.h.min(3);
    net.pool(Layer::MaxPool2d, kernel, 2)
}
