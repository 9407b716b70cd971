//! A list of layers as data: shapes, windows, nodes, and the builder that appends them. Both executors read it.

use super::parameters::{Init, Packing, Parameter, Trains, add, uniform};
use super::sobel;
use crate::pipeline::{Norm, Upsample};

/// Channels, rows and columns of an activation; a vector is `(length, 1, 1)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    /// Channels.
    pub c: usize,
    /// Rows.
    pub h: usize,
    /// Columns.
    pub w: usize,
}

impl Shape {
    /// A vector's shape.
    pub fn vector(length: usize) -> Self {
        Self { c: length, h: 1, w: 1 }
    }

    /// Number of values.
    pub fn len(self) -> usize {
        self.c * self.pixels()
    }

    /// Number of positions.
    pub fn pixels(self) -> usize {
        self.h * self.w
    }

    /// Whether there is no value at all.
    pub fn is_empty(self) -> bool {
        self.len() == 0
    }
}

/// A square kernel's size, step and zero padding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// Side in pixels.
    pub kernel: usize,
    /// Step in pixels.
    pub stride: usize,
    /// Zeros added on each side; none for pooling.
    pub padding: usize,
}

impl Window {
    /// The side after the window has passed over `length` pixels.
    pub fn side(self, length: usize) -> usize {
        (length + 2 * self.padding).checked_sub(self.kernel).map_or(0, |room| room / self.stride + 1)
    }
}

/// How the side of a map is doubled without weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Interpolation {
    /// Each pixel four times.
    Nearest,
    /// Between the four neighbours, corners of pixels aligned (PyTorch's `align_corners=False`).
    Bilinear,
}

impl Interpolation {
    /// For each of `2 length` pixels of a line, the two it comes from and their weights.
    pub fn sources(self, length: usize) -> impl Iterator<Item = [(usize, f32); 2]> {
        (0..2 * length).map(move |to| {
            let near = to / 2;
            let far = if to % 2 == 0 { near.saturating_sub(1) } else { (near + 1).min(length - 1) };
            match self {
                Self::Nearest => [(near, 1.0), (near, 0.0)],
                Self::Bilinear => [(near, 0.75), (far, 0.25)],
            }
        })
    }
}

/// What a layer does. Weights are laid out as PyTorch's.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Layer {
    /// Convolution; weight `[out, in, k, k]`.
    Conv2d(Window),
    /// Transposed convolution; weight `[in, out, k, k]`.
    ConvTranspose2d(Window),
    /// Matrix product; weight `[out, in]`.
    Linear,
    /// Normalisation over channels and pixels of a sample (one group), affine per channel.
    GroupNorm,
    /// Normalisation over the channels of each pixel, affine per channel.
    LayerNorm,
    /// `weight x + bias`, one of each a channel.
    Scale,
    /// `max(x, 0)`.
    Relu,
    /// `1.7159 tanh(2 x / 3)` (LeCun et al. 1998, Proc. IEEE 86, appendix A).
    Tanh,
    /// Puts the gradient channels of [`super::sobel`] behind its input's.
    Sobel,
    /// The largest of each window.
    MaxPool2d(Window),
    /// The mean of each window.
    AvgPool2d(Window),
    /// Doubles the side without weights.
    Upsample(Interpolation),
    /// `[4 c, h, w]` to `[c, 2 h, 2 w]` (Shi et al. 2016, arXiv:1609.05158).
    PixelShuffle,
    /// Puts the output of an earlier node of the list behind its input's channels.
    Concat(usize),
    /// In training, zeroes this share of the values and scales up the others; nothing otherwise.
    Dropout(f32),
    /// `[c, h, w]` to `[c * h * w]`, channels first.
    Flatten,
    /// `[c * h * w]` to `[c, h, w]`.
    Unflatten,
}

/// A layer in its place.
#[derive(Debug, Clone, Copy)]
pub struct Node {
    /// What it does.
    pub layer: Layer,
    /// What it takes from the node before it.
    pub input: Shape,
    /// What it gives.
    pub output: Shape,
    /// Its weight and bias, as indices into the network's parameters.
    pub parameters: Option<(usize, usize)>,
}

/// Whether the dropout layer at `node` keeps this value of this sample in the step of this seed: a hash, so that it
/// depends neither on the executor nor on how a batch is cut.
pub(super) fn keeps(rate: f32, seed: u64, node: usize, sample: usize, index: usize) -> bool {
    // SplitMix64 (Steele et al. 2014), over the four numbers in turn.
    let mix = |state: u64, word: u64| {
        let mut z = (state ^ word).wrapping_add(0x9e37_79b9_7f4a_7c15);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    };
    let bits = [node, sample, index].iter().fold(mix(0, seed), |state, &word| mix(state, word as u64));
    (bits >> 40) as f32 / (1u64 << 24) as f32 >= rate
}

/// Appends layers to a list, each taking what the one before gives.
pub(super) struct Builder<'a> {
    prefix: &'static str,
    biases: bool,
    /// What the last layer gives.
    pub shape: Shape,
    /// The list.
    pub nodes: Vec<Node>,
    parameters: &'a mut Vec<Parameter>,
}

/// How a parameter starts, lies in memory, decays and trains.
struct Kept {
    init: Init,
    packing: Packing,
    decay: bool,
    trains: Trains,
}

impl<'a> Builder<'a> {
    /// An empty list that takes `shape`; its parameters' names start with `prefix`. Without `biases`, those of
    /// convolutions and products stay zero.
    pub fn new(prefix: &'static str, shape: Shape, biases: bool, parameters: &'a mut Vec<Parameter>) -> Self {
        Self { prefix, biases, shape, nodes: Vec::new(), parameters }
    }

    fn push(&mut self, layer: Layer, output: Shape, parameters: Option<(usize, usize)>) -> usize {
        self.nodes.push(Node { layer, input: self.shape, output, parameters });
        self.shape = output;
        self.nodes.len() - 1
    }

    fn pair(&mut self, weight: Vec<usize>, bias: usize, kept: [Kept; 2]) -> (usize, usize) {
        let [w, b] = kept;
        let name = |what| format!("{}.{}.{what}", self.prefix, self.nodes.len());
        let (weight_name, bias_name) = (name("weight"), name("bias"));
        let mut put = |name, shape, kept: Kept| {
            add(self.parameters, name, shape, kept.decay, kept.init, kept.packing, kept.trains)
        };
        (put(weight_name, weight, w), put(bias_name, vec![bias], b))
    }

    /// Weight and bias of a matrix: PyTorch's initial values.
    fn matrix(&self, fan_in: usize, packing: [Packing; 2], trains: Trains) -> [Kept; 2] {
        let init = uniform(fan_in);
        let bias = if self.biases { (init, Trains::Whole) } else { (Init::Constant(0.0), Trains::Nothing) };
        [
            Kept { init, packing: packing[0], decay: true, trains },
            Kept { init: bias.0, packing: packing[1], decay: false, trains: bias.1 },
        ]
    }

    /// A convolution.
    pub fn conv(&mut self, channels: usize, window: Window) -> usize {
        self.conv_connected(channels, window, Trains::Whole)
    }

    /// A convolution of which only some connections exist.
    pub fn conv_connected(&mut self, channels: usize, window: Window, trains: Trains) -> usize {
        let Shape { c, h, w } = self.shape;
        let area = window.kernel * window.kernel;
        let packing = [Packing { channels: c, pixels: area, inner: 1 }, Packing::NONE];
        let kept = self.matrix(c * area, packing, trains);
        let parameters = self.pair(vec![channels, c, window.kernel, window.kernel], channels, kept);
        let output = Shape { c: channels, h: window.side(h), w: window.side(w) };
        self.push(Layer::Conv2d(window), output, Some(parameters))
    }

    /// Doubles the side: kernel 4, stride 2, padding 1, which covers every output pixel by the same number of taps.
    pub fn conv_transpose(&mut self, channels: usize) -> usize {
        let window = Window { kernel: 4, stride: 2, padding: 1 };
        let Shape { c, h, w } = self.shape;
        let packing = [Packing { channels, pixels: 16, inner: 1 }, Packing::NONE];
        let kept = self.matrix(channels * 16, packing, Trains::Whole);
        let parameters = self.pair(vec![c, channels, 4, 4], channels, kept);
        self.push(Layer::ConvTranspose2d(window), Shape { c: channels, h: 2 * h, w: 2 * w }, Some(parameters))
    }

    /// Doubles the side and gives this many channels; where it has no weights of its own, a 3 x 3 convolution follows.
    pub fn double(&mut self, channels: usize, upsample: Upsample) -> usize {
        const SAME: Window = Window { kernel: 3, stride: 1, padding: 1 };
        let interpolation = match upsample {
            Upsample::Transposed => return self.conv_transpose(channels),
            Upsample::PixelShuffle => {
                self.conv(4 * channels, SAME);
                let Shape { h, w, .. } = self.shape;
                return self.push(Layer::PixelShuffle, Shape { c: channels, h: 2 * h, w: 2 * w }, None);
            }
            Upsample::Nearest => Interpolation::Nearest,
            Upsample::Bilinear => Interpolation::Bilinear,
        };
        let Shape { c, h, w } = self.shape;
        self.push(Layer::Upsample(interpolation), Shape { c, h: 2 * h, w: 2 * w }, None);
        self.conv(channels, SAME)
    }

    /// Normalisation, where one is asked for.
    pub fn norm(&mut self, norm: Norm) {
        match norm {
            Norm::Group => self.affine(Layer::GroupNorm),
            Norm::Layer => self.affine(Layer::LayerNorm),
            Norm::None => {}
        }
    }

    /// A layer with one weight and one bias a channel, which start as the identity.
    pub fn affine(&mut self, layer: Layer) {
        let c = self.shape.c;
        let constant =
            |value| Kept { init: Init::Constant(value), packing: Packing::NONE, decay: false, trains: Trains::Whole };
        let parameters = self.pair(vec![c], c, [constant(1.0), constant(0.0)]);
        self.push(layer, self.shape, Some(parameters));
    }

    /// A layer that keeps the shape and has no weights: an activation, dropout.
    pub fn same(&mut self, layer: Layer) -> usize {
        self.push(layer, self.shape, None)
    }

    /// Appends the gradient channels of a map.
    pub fn sobel(&mut self) -> usize {
        let Shape { c, h, w } = self.shape;
        self.push(Layer::Sobel, Shape { c: (1 + sobel::CHANNELS) * c, h, w }, None)
    }

    /// The largest or the mean of each window.
    pub fn pool(&mut self, layer: fn(Window) -> Layer, kernel: usize, stride: usize) -> usize {
        let window = Window { kernel, stride, padding: 0 };
        let Shape { c, h, w } = self.shape;
        self.push(layer(window), Shape { c, h: window.side(h), w: window.side(w) }, None)
    }

    /// Appends the channels of an earlier node's output, which has the present side.
    pub fn concat(&mut self, node: usize) -> usize {
        let Shape { c, h, w } = self.shape;
        let other = self.nodes[node].output;
        debug_assert_eq!((other.h, other.w), (h, w));
        self.push(Layer::Concat(node), Shape { c: c + other.c, h, w }, None)
    }

    /// A matrix product; maps are flattened first.
    pub fn linear(&mut self, outputs: usize) -> usize {
        let map = self.shape;
        if map.pixels() > 1 {
            self.push(Layer::Flatten, Shape::vector(map.len()), None);
        }
        let packing = [Packing { channels: map.c, pixels: map.pixels(), inner: 1 }, Packing::NONE];
        self.product(outputs, packing)
    }

    /// A matrix product whose outputs are a map, as [`Layer::Unflatten`] lays it out afterwards.
    pub fn linear_to_map(&mut self, map: Shape) -> usize {
        let inputs = self.shape.len();
        let packing = |inner| Packing { channels: map.c, pixels: map.pixels(), inner };
        self.product(map.len(), [packing(inputs), packing(1)])
    }

    fn product(&mut self, outputs: usize, packing: [Packing; 2]) -> usize {
        let inputs = self.shape.len();
        let kept = self.matrix(inputs, packing, Trains::Whole);
        let parameters = self.pair(vec![outputs, inputs], outputs, kept);
        self.push(Layer::Linear, Shape::vector(outputs), Some(parameters))
    }

    /// From a vector to a map.
    pub fn unflatten(&mut self, map: Shape) -> usize {
        self.push(Layer::Unflatten, map, None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dropout_keeps_its_share_whatever_the_sample() {
        for (rate, seed) in [(0.5, 1), (0.2, 2)] {
            let kept = (0..100).flat_map(|sample| (0..100).map(move |i| keeps(rate, seed, 3, sample, i)));
            let share = kept.filter(|&kept| kept).count() as f32 / 1e4;
            // Binomial standard deviation is at most 0.005.
            assert!((share - (1.0 - rate)).abs() < 0.025, "{share}");
        }
        assert!((0..64).any(|i| keeps(0.5, 1, 0, 0, i) != keeps(0.5, 1, 0, 1, i)));
    }

    #[test]
    fn doubling_keeps_a_constant() {
        for interpolation in [Interpolation::Nearest, Interpolation::Bilinear] {
            for sources in interpolation.sources(5) {
                assert_eq!(sources[0].1 + sources[1].1, 1.0);
                assert!(sources.iter().all(|&(from, _)| from < 5));
            }
        }
    }
}
