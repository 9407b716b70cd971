//! LeNet-5 (LeCun, Bottou, Bengio & Haffner 1998, Proc. IEEE 86, section II.B).
//!
//! As published: the squashing function `1.7159 tanh(2 x / 3)`, sub-sampling layers with a trainable coefficient and bias a
//! map, and the partial connections of C3 (table I). Two things differ: 28 x 28 pixels are padded inside C1 rather than
//! before it, and the radial-basis output, whose codes are drawn for the ten digits, is a softmax.

use super::feedforward::Chain;
use super::graph::{Builder, Layer, Shape, Window};
use super::network::Network;
use super::parameters::Trains;

/// The maps of S2 that each map of C3 takes (table I).
const C3: Trains = Trains::Connected(&[
    &[0, 1, 2],
    &[1, 2, 3],
    &[2, 3, 4],
    &[3, 4, 5],
    &[0, 4, 5],
    &[0, 1, 5],
    &[0, 1, 2, 3],
    &[1, 2, 3, 4],
    &[2, 3, 4, 5],
    &[0, 3, 4, 5],
    &[0, 1, 4, 5],
    &[0, 1, 2, 5],
    &[0, 1, 3, 4],
    &[1, 2, 4, 5],
    &[0, 2, 3, 5],
    &[0, 1, 2, 3, 4, 5],
]);

/// The classifier.
pub fn lenet5(input: Shape, classes: usize) -> Chain {
    let mut parameters = Vec::new();
    let mut net = Builder::new("lenet", input, true, &mut parameters);
    trunk(&mut net);
    net.linear(120); // C5
    net.same(Layer::Tanh);
    net.linear(84); // F6
    net.same(Layer::Tanh);
    net.linear(classes);
    let (output, lists) = (net.shape, vec![net.nodes]);
    Chain { network: Network { lists, parameters }, input, output }
}

/// C1 to S4; returns the nodes whose outputs are the maps of S2 and S4.
pub(super) fn trunk(net: &mut Builder) -> Vec<usize> {
    net.conv(6, Window { kernel: 5, stride: 1, padding: 2 }); // C1
    net.same(Layer::Tanh);
    let s2 = subsample(net);
    net.conv_connected(16, Window { kernel: 5, stride: 1, padding: 0 }, C3);
    net.same(Layer::Tanh);
    vec![s2, subsample(net)]
}

/// Means of 2 x 2 pixels, times a coefficient, plus a bias, squashed.
fn subsample(net: &mut Builder) -> usize {
    net.pool(Layer::AvgPool2d, 2, 2);
    net.affine(Layer::Scale);
    net.same(Layer::Tanh)
}
