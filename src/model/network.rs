//! A network as data: two lists of layers, encoder and decoder, with the shapes and parameters that both executors read.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::parameters::{Init, Packing, Parameter, add, uniform};
use crate::error::{Failure, Kind, Result};
use crate::pipeline::{Input, Latent, Likelihood, Model, Norm};

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
    /// Number of values.
    pub fn len(self) -> usize {
        self.c * self.h * self.w
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
    /// Zeros added on each side.
    pub padding: usize,
}

/// What a layer does. Weights are laid out as PyTorch's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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
    /// `max(x, 0)`.
    Relu,
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
    /// What it takes.
    pub input: Shape,
    /// What it gives.
    pub output: Shape,
    /// Its weight and bias, as indices of [`Network::parameters`].
    pub parameters: Option<(usize, usize)>,
}

/// A variational autoencoder as two lists of layers.
#[derive(Debug, Clone)]
pub struct Network {
    /// From `[C, S, S]` to mean and log-variance, stacked along the channels.
    pub encoder: Vec<Node>,
    /// From the latent to `[C, S, S]`.
    pub decoder: Vec<Node>,
    /// The encoder's nodes whose outputs are the stages' features.
    pub taps: Vec<usize>,
    /// Every parameter, in the order of the flat vector.
    pub parameters: Vec<Parameter>,
    /// What it takes and gives.
    pub image: Shape,
    /// The latent's channels and positions.
    pub latent: Shape,
    /// The likelihood's own log-variances, where they are fitted.
    pub log_var: Option<usize>,
}

impl Network {
    /// The network a pipeline asks for.
    ///
    /// # Errors
    /// [`Kind::Settings`] for sizes that do not fit.
    pub fn new(model: &Model, input: &Input) -> Result<Self> {
        check(model, input)?;
        let image = Shape { c: input.channels, h: input.size, w: input.size };
        let mut parameters = Vec::new();
        let mut encoder = Builder::new("encoder", image, &mut parameters);
        let mut taps = Vec::new();
        for &channels in &model.channels {
            encoder.conv(channels, Window { kernel: 3, stride: 2, padding: 1 });
            encoder.norm(model.norm);
            taps.push(encoder.relu());
        }
        let bottom = encoder.shape;
        let latent = encoder.posterior(model.latent);
        let encoder = encoder.nodes;

        let mut decoder = Builder::new("decoder", latent, &mut parameters);
        decoder.root(model.latent, bottom);
        let widths = model.channels.iter().rev().skip(1);
        for &channels in widths {
            decoder.conv_transpose(channels);
            decoder.norm(model.norm);
            decoder.relu();
        }
        decoder.conv_transpose(input.channels);
        let decoder = decoder.nodes;
        let log_var =
            (model.likelihood == Likelihood::Gaussian).then(|| likelihood_parameter(&mut parameters, input.channels));
        Ok(Self { encoder, decoder, taps, parameters, image, latent, log_var })
    }

    /// Number of trained values.
    pub fn parameter_count(&self) -> usize {
        self.parameters.iter().map(Parameter::len).sum()
    }

    /// Initial weights, in the order and layout of [`Network::parameters`]: a function of the seed alone.
    pub fn initial(&self, seed: u64) -> Vec<f32> {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut values = Vec::with_capacity(self.parameter_count());
        for parameter in &self.parameters {
            match parameter.init {
                Init::Constant(value) => values.extend(std::iter::repeat_n(value, parameter.len())),
                Init::Uniform(bound) => {
                    values.extend((0..parameter.len()).map(|_| bound * (2.0 * rng.random::<f32>() - 1.0)));
                }
            }
        }
        values
    }
}

/// Refuses what no network can be built from.
fn check(model: &Model, input: &Input) -> Result<()> {
    let refuse = |message: String| Err(Failure::new(Kind::Settings, message));
    let stages = model.channels.len();
    let (Latent::Vector { dim } | Latent::Map { dim }) = model.latent;
    if stages == 0 || stages > 10 || model.channels.contains(&0) {
        return refuse(format!("model.channels = {:?}: name 1 to 10 widths, each at least 1", model.channels));
    }
    if dim == 0 {
        return refuse("model.latent.dim = 0: at least 1 is needed".into());
    }
    if input.channels == 0 || input.size == 0 {
        return refuse(format!(
            "input of {} channels and size {}: at least 1 of each is needed",
            input.channels, input.size
        ));
    }
    let factor = 1usize << stages;
    if !input.size.is_multiple_of(factor) {
        let lower = (input.size / factor * factor).max(factor);
        return refuse(format!(
            "input.size = {}: {stages} stages halve the side {stages} times, so it must be a multiple of {factor}, such as {lower} or {}",
            input.size,
            lower + factor
        ));
    }
    Ok(())
}

/// Adds the fitted log-variances of the Gaussian likelihood; they start at a standard deviation of 0.22 scaled units.
fn likelihood_parameter(parameters: &mut Vec<Parameter>, channels: usize) -> usize {
    add(parameters, "likelihood.log_var".into(), vec![channels], false, Init::Constant(-3.0), Packing::NONE)
}

/// Appends layers to a list, each taking what the one before gives.
struct Builder<'a> {
    prefix: &'static str,
    shape: Shape,
    nodes: Vec<Node>,
    parameters: &'a mut Vec<Parameter>,
}

impl<'a> Builder<'a> {
    fn new(prefix: &'static str, shape: Shape, parameters: &'a mut Vec<Parameter>) -> Self {
        Self { prefix, shape, nodes: Vec::new(), parameters }
    }

    fn push(&mut self, layer: Layer, output: Shape, parameters: Option<(usize, usize)>) -> usize {
        self.nodes.push(Node { layer, input: self.shape, output, parameters });
        self.shape = output;
        self.nodes.len() - 1
    }

    fn pair(
        &mut self,
        weight: Vec<usize>,
        bias: usize,
        init: [Init; 2],
        packing: [Packing; 2],
        decay: bool,
    ) -> (usize, usize) {
        let name = |what| format!("{}.{}.{what}", self.prefix, self.nodes.len());
        let (weight_name, bias_name) = (name("weight"), name("bias"));
        let weight = add(self.parameters, weight_name, weight, decay, init[0], packing[0]);
        (weight, add(self.parameters, bias_name, vec![bias], false, init[1], packing[1]))
    }

    fn conv(&mut self, channels: usize, window: Window) {
        let Window { kernel, stride, padding } = window;
        let Shape { c, h, w } = self.shape;
        let init = uniform(c * kernel * kernel);
        let packing = [Packing { channels: c, pixels: kernel * kernel, inner: 1 }, Packing::NONE];
        let parameters = self.pair(vec![channels, c, kernel, kernel], channels, [init; 2], packing, true);
        let side = |length: usize| (length + 2 * padding - kernel) / stride + 1;
        self.push(Layer::Conv2d(window), Shape { c: channels, h: side(h), w: side(w) }, Some(parameters));
    }

    /// Doubles the side: kernel 4, stride 2, padding 1, which covers every output pixel by the same number of taps.
    fn conv_transpose(&mut self, channels: usize) {
        let window = Window { kernel: 4, stride: 2, padding: 1 };
        let Shape { c, h, w } = self.shape;
        let init = uniform(channels * 16);
        let packing = [Packing { channels, pixels: 16, inner: 1 }, Packing::NONE];
        let parameters = self.pair(vec![c, channels, 4, 4], channels, [init; 2], packing, true);
        self.push(Layer::ConvTranspose2d(window), Shape { c: channels, h: 2 * h, w: 2 * w }, Some(parameters));
    }

    fn norm(&mut self, norm: Norm) {
        let layer = match norm {
            Norm::Group => Layer::GroupNorm,
            Norm::Layer => Layer::LayerNorm,
            Norm::None => return,
        };
        let c = self.shape.c;
        let init = [Init::Constant(1.0), Init::Constant(0.0)];
        let parameters = self.pair(vec![c], c, init, [Packing::NONE; 2], false);
        self.push(layer, self.shape, Some(parameters));
    }

    fn relu(&mut self) -> usize {
        self.push(Layer::Relu, self.shape, None)
    }

    fn linear(&mut self, outputs: usize, packing: [Packing; 2]) {
        let inputs = self.shape.len();
        let parameters = self.pair(vec![outputs, inputs], outputs, [uniform(inputs); 2], packing, true);
        self.push(Layer::Linear, Shape { c: outputs, h: 1, w: 1 }, Some(parameters));
    }

    /// The layers that give mean and log-variance; returns the latent's shape.
    fn posterior(&mut self, latent: Latent) -> Shape {
        let Shape { c, h, w } = self.shape;
        match latent {
            Latent::Vector { dim } => {
                self.push(Layer::Flatten, Shape { c: c * h * w, h: 1, w: 1 }, None);
                self.linear(2 * dim, [Packing { channels: c, pixels: h * w, inner: 1 }, Packing::NONE]);
                Shape { c: dim, h: 1, w: 1 }
            }
            Latent::Map { dim } => {
                self.conv(2 * dim, Window { kernel: 1, stride: 1, padding: 0 });
                Shape { c: dim, h, w }
            }
        }
    }

    /// From the latent to the decoder's first map, of the encoder's last shape.
    fn root(&mut self, latent: Latent, bottom: Shape) {
        match latent {
            Latent::Vector { dim } => {
                let packing = |inner| Packing { channels: bottom.c, pixels: bottom.h * bottom.w, inner };
                self.linear(bottom.len(), [packing(dim), packing(1)]);
                self.relu();
                self.push(Layer::Unflatten, bottom, None);
            }
            Latent::Map { .. } => {
                self.conv(bottom.c, Window { kernel: 3, stride: 1, padding: 1 });
                self.relu();
            }
        }
    }
}
