//! The autoencoders a pipeline can ask for: dense or convolutional, variational or not.

use super::graph::{Builder, Layer, Node, Shape, Window};
use super::network::Network;
use super::parameters::{Init, Packing, Parameter, Trains, add};
use super::supervised::Supervised;
use super::{alexnet, lenet};
use crate::error::{Failure, Kind, Result};
use crate::pipeline::{Backbone, Block, Downsample, Filter, Input, Latent, Likelihood, Model, ModelKind};

/// Width of AlexNet's convolutions as an encoder.
const ALEXNET_WIDTH: f32 = 0.25;

/// An autoencoder's lists of layers, and what its ends mean.
#[derive(Debug, Clone)]
pub struct Architecture {
    /// Encoder, from `[C, S, S]` (by way of the input's filters) to mean (and log-variance, stacked along the channels);
    /// decoder, from the latent to `[C, S, S]`; where there is one, the classification head, from the latent mean to logits.
    pub network: Network,
    /// The encoder's nodes whose outputs are the stages' features.
    pub taps: Vec<usize>,
    /// What it takes and gives.
    pub image: Shape,
    /// The latent's channels and positions.
    pub latent: Shape,
    /// Whether the encoder gives a distribution (and a KL term) or a point.
    pub is_variational: bool,
    /// The likelihood's own log-variances, where they are fitted: the index of their parameter.
    pub log_var: Option<usize>,
    /// What labels add.
    pub supervised: Option<Supervised>,
}

impl Architecture {
    /// The autoencoder a pipeline asks for.
    ///
    /// # Errors
    /// [`Kind::Settings`] for sizes that do not fit.
    pub fn new(model: &Model, input: &Input) -> Result<Self> {
        let image = image_of(input);
        check(model, image)?;
        let mut parameters = Vec::new();
        let is_variational = model.is_variational();
        let (mut lists, taps, latent) = match (model.kind, model.backbone) {
            (ModelKind::Dense, _) => dense(model, input, &mut parameters),
            (_, Some(backbone)) => published(backbone, model, input, &mut parameters),
            (_, None) => convolutional(model, input, &mut parameters),
        };
        let log_var = (model.likelihood == Likelihood::Gaussian).then(|| variances(&mut parameters, input.channels));
        // Last, so that the other weights start the same with labels and without.
        let supervised = Supervised::build(model, latent, &mut parameters, &mut lists);
        Ok(Self { network: Network { lists, parameters }, taps, image, latent, is_variational, log_var, supervised })
    }

    /// Values a position of the encoder's output has for each of the latent's.
    pub fn moments(&self) -> usize {
        if self.is_variational { 2 } else { 1 }
    }

    /// The encoder's layers.
    pub fn encoder(&self) -> &[Node] {
        &self.network.lists[0]
    }

    /// The decoder's layers.
    pub fn decoder(&self) -> &[Node] {
        &self.network.lists[1]
    }
}

/// Lists, taps and the latent's shape.
type Built = (Vec<Vec<Node>>, Vec<usize>, Shape);

/// Refuses what no network can be built from.
fn check(model: &Model, image: Shape) -> Result<()> {
    let refuse = |message: String| Err(Failure::new(Kind::Settings, message));
    if model.backbone.is_some() {
        let fits = image.h.is_multiple_of(4) && image.h >= 16 && matches!(model.latent, Latent::Vector { dim: 1.. });
        let message =
            format!("model.backbone on {} pixels: it needs 16 or more, a multiple of 4, and a latent vector", image.h);
        return if fits { Ok(()) } else { refuse(message) };
    }
    let blocks = model.blocks();
    let (Latent::Vector { dim } | Latent::Map { dim }) = model.latent;
    if blocks.is_empty() || blocks.len() > 20 || blocks.iter().any(|block| block.channels == 0) {
        return refuse(format!("model.channels = {:?}: name 1 to 20 widths, each at least 1", model.channels));
    }
    if dim == 0 {
        return refuse("model.latent.dim = 0: at least 1 is needed".into());
    }
    if image.is_empty() {
        return refuse(format!("input of {} channels and size {}: at least 1 of each is needed", image.c, image.h));
    }
    if model.kind == ModelKind::Dense {
        return match model.latent {
            Latent::Vector { .. } => Ok(()),
            Latent::Map { .. } => refuse("model.latent: a dense model has no map, only a vector".into()),
        };
    }
    let factor: usize = blocks.iter().map(|block| block.stride).product();
    if !image.h.is_multiple_of(factor) {
        let lower = (image.h / factor * factor).max(factor);
        return refuse(format!(
            "input.size = {}: the blocks divide the side by {factor}, so it must be a multiple of it, such as {lower} or {}",
            image.h,
            lower + factor
        ));
    }
    let mut side = image.h;
    for (index, block) in blocks.iter().enumerate() {
        let after = block.convolution().side(side);
        let expected = if block.downsample == Downsample::Stride { side / block.stride } else { side };
        if after != expected {
            return refuse(format!(
                "model.blocks[{index}]: a kernel of {} with padding {} makes {after} of {side} pixels, where {expected} are needed; padding {} does",
                block.kernel,
                block.padding(),
                block.kernel / 2
            ));
        }
        side /= block.stride;
    }
    Ok(())
}

/// The fitted log-variances of the Gaussian likelihood; they start at a standard deviation of 0.22 scaled units.
fn variances(parameters: &mut Vec<Parameter>, channels: usize) -> usize {
    let name = "likelihood.log_var".into();
    add(parameters, name, vec![channels], false, Init::Constant(-3.0), Packing::NONE, Trains::Whole)
}

fn image_of(input: &Input) -> Shape {
    Shape { c: input.channels, h: input.size, w: input.size }
}

/// An encoder that has its image through the input's filters. They are layers without weights, at the head of the list:
/// whatever is done to an image before it is encoded, its gradient is of that, and nobody but the encoder sees it.
fn sight<'a>(model: &Model, input: &Input, parameters: &'a mut Vec<Parameter>) -> Builder<'a> {
    let mut encoder = Builder::new("encoder", image_of(input), model.biases, parameters);
    for filter in &input.filters {
        match filter {
            Filter::Sobel => encoder.sobel(),
        };
    }
    encoder
}

/// Blocks of convolution, normalisation and activation down to the latent; the decoder mirrors them.
fn convolutional(model: &Model, input: &Input, parameters: &mut Vec<Parameter>) -> Built {
    let blocks = model.blocks();
    let mut encoder = sight(model, input, parameters);
    let taps = blocks.iter().map(|block| stage(&mut encoder, block, model)).collect();
    let bottom = encoder.shape;
    let latent = posterior(&mut encoder, model);
    let encoder = encoder.nodes;

    let mut decoder = Builder::new("decoder", latent, model.biases, parameters);
    root(&mut decoder, model.latent, bottom);
    let outputs = blocks.iter().rev().skip(1).map(|block| block.channels).chain([input.channels]);
    for (index, (block, channels)) in blocks.iter().rev().zip(outputs).enumerate() {
        widen(&mut decoder, block, channels, model, index + 1 == blocks.len());
    }
    (vec![encoder, decoder.nodes], taps, latent)
}

/// One block of the encoder; returns the node whose output is its feature map.
fn stage(encoder: &mut Builder, block: &Block, model: &Model) -> usize {
    encoder.conv(block.channels, block.convolution());
    encoder.norm(model.norm);
    let activated = encoder.same(Layer::Relu);
    match block.downsample {
        _ if block.stride == 1 => activated,
        Downsample::Stride => activated,
        Downsample::MaxPool => encoder.pool(Layer::MaxPool2d, block.stride, block.stride),
        Downsample::AvgPool => encoder.pool(Layer::AvgPool2d, block.stride, block.stride),
    }
}

/// The mirror of [`stage`]: undoes the block's division of the side.
fn widen(decoder: &mut Builder, block: &Block, channels: usize, model: &Model, is_last: bool) {
    let doublings = block.stride.ilog2().max(1);
    for step in 0..doublings {
        if block.stride == 1 {
            decoder.conv(channels, Window { kernel: 3, stride: 1, padding: 1 });
        } else {
            decoder.double(channels, model.upsample);
        }
        if !is_last || step + 1 < doublings {
            decoder.norm(model.norm);
            decoder.same(Layer::Relu);
        }
    }
}

/// The layers that give mean and log-variance; returns the latent's shape.
fn posterior(encoder: &mut Builder, model: &Model) -> Shape {
    let moments = if model.is_variational() { 2 } else { 1 };
    let Shape { h, w, .. } = encoder.shape;
    match model.latent {
        Latent::Vector { dim } => {
            encoder.linear(moments * dim);
            Shape::vector(dim)
        }
        Latent::Map { dim } => {
            encoder.conv(moments * dim, Window { kernel: 1, stride: 1, padding: 0 });
            Shape { c: dim, h, w }
        }
    }
}

/// From the latent to the decoder's first map, of the encoder's last shape.
fn root(decoder: &mut Builder, latent: Latent, bottom: Shape) {
    match latent {
        Latent::Vector { .. } => {
            decoder.linear_to_map(bottom);
            decoder.same(Layer::Relu);
            decoder.unflatten(bottom);
        }
        Latent::Map { .. } => {
            decoder.conv(bottom.c, Window { kernel: 3, stride: 1, padding: 1 });
            decoder.same(Layer::Relu);
        }
    }
}

/// The convolutions of a published network down to a vector; two doublings lead back, as wide as its last two poolings.
fn published(backbone: Backbone, model: &Model, input: &Input, parameters: &mut Vec<Parameter>) -> Built {
    let mut encoder = sight(model, input, parameters);
    let taps = match backbone {
        Backbone::Lenet5 => lenet::trunk(&mut encoder),
        Backbone::Alexnet => alexnet::trunk(&mut encoder, ALEXNET_WIDTH),
    };
    let widths: Vec<usize> = taps.iter().rev().map(|&tap| encoder.nodes[tap].output.c).collect();
    let latent = posterior(&mut encoder, model);
    let encoder = encoder.nodes;
    let mut decoder = Builder::new("decoder", latent, model.biases, parameters);
    root(&mut decoder, model.latent, Shape { c: widths[0], h: input.size / 4, w: input.size / 4 });
    decoder.double(widths[1], model.upsample);
    decoder.norm(model.norm);
    decoder.same(Layer::Relu);
    decoder.double(input.channels, model.upsample);
    (vec![encoder, decoder.nodes], taps, latent)
}

/// Fully connected layers of the given widths down to the latent and back.
fn dense(model: &Model, input: &Input, parameters: &mut Vec<Parameter>) -> Built {
    let mut encoder = sight(model, input, parameters);
    let mut taps = Vec::new();
    for block in model.blocks() {
        encoder.linear(block.channels);
        encoder.norm(model.norm);
        taps.push(encoder.same(Layer::Relu));
    }
    let latent = posterior(&mut encoder, model);
    let encoder = encoder.nodes;
    let mut decoder = Builder::new("decoder", latent, model.biases, parameters);
    for block in model.blocks().iter().rev() {
        decoder.linear(block.channels);
        decoder.norm(model.norm);
        decoder.same(Layer::Relu);
    }
    decoder.linear_to_map(image_of(input));
    decoder.unflatten(image_of(input));
    (vec![encoder, decoder.nodes], taps, latent)
}
