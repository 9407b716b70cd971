//! A list of layers compiled for the CPU: neighbours fused, forward and backward over a chunk of samples.

use std::ops::Range;

use super::convolution::{block_rows, conv, conv_backward, conv_transpose, conv_transpose_backward, geometry};
use super::kernels::{Matrix, product};
use super::windows::Geometry;
use super::{pooling, sobel, vectors};
use crate::model::graph::{Interpolation, Layer, Node, Shape, keeps};
use crate::model::network::Network;

/// A list of layers, each with the activation that follows it.
pub(super) struct Stack {
    operations: Vec<Operation>,
    /// Per node of the list, the operation that gives its output.
    position: Vec<usize>,
    /// Operations whose output a later one takes too.
    shared: Vec<usize>,
    inputs: usize,
}

/// The weights of a network, and each matrix among them transposed at the same place: whichever of the two has its
/// longer side contiguous in a product saves `gemm` a copy.
#[derive(Clone, Default)]
pub(super) struct Weights {
    pub straight: Vec<f32>,
    pub transposed: Vec<f32>,
}

struct Operation {
    kind: Kind,
    relu: bool,
    inputs: usize,
    outputs: usize,
    weight: Range<usize>,
    bias: Range<usize>,
}

#[derive(Clone, Copy)]
enum Kind {
    Conv(Geometry),
    /// The geometry is that of the convolution it transposes.
    ConvTranspose(Geometry),
    Linear,
    /// Normalises groups of this many values.
    Norm(usize),
    /// A weight and a bias a channel.
    Scale,
    Tanh,
    /// Gradient channels of this shape.
    Sobel(Shape),
    MaxPool(Geometry),
    AvgPool(Geometry),
    /// Doubles the side of this shape.
    Upsample(Shape, Interpolation),
    /// To this shape.
    PixelShuffle(Shape),
    /// Channels of its input, and of the operation's output that is put behind them.
    Concat {
        own: usize,
        other: usize,
        from: usize,
    },
    /// The share that is zeroed, the node it is, and the channels of a position.
    Dropout(f32, usize, usize),
    /// Only rectifies.
    Copy,
}

/// Room for a chunk of samples: every operation's output, and the gradients that come back to shared ones from afar.
pub(super) struct Activations {
    outputs: Vec<Vec<f32>>,
    /// Empty where an output is not shared, or where nothing is trained.
    returns: Vec<Vec<f32>>,
}

/// What dropout draws from: the seed of the step, and the number of the chunk's first sample in the batch.
#[derive(Clone, Copy)]
pub(super) struct Dropouts {
    pub seed: u64,
    pub first: usize,
}

/// Room that operations share.
pub(super) struct Scratch {
    windows: Vec<f32>,
    sums: Vec<f32>,
    /// Gradients on their way down.
    pub upper: Vec<f32>,
    pub lower: Vec<f32>,
    /// None in inference.
    pub dropouts: Option<Dropouts>,
}

impl Stack {
    /// Compiles a list of nodes.
    pub(super) fn new(nodes: &[Node], network: &Network) -> Self {
        let mut operations: Vec<Operation> = Vec::new();
        let mut position = Vec::new();
        let mut shared = Vec::new();
        for (index, node) in nodes.iter().enumerate() {
            let reshape = matches!(node.layer, Layer::Flatten | Layer::Unflatten);
            let fused = node.layer == Layer::Relu && !operations.is_empty();
            if let (true, Some(last)) = (fused, operations.last_mut()) {
                last.relu = true;
            } else if !reshape {
                let operation = Operation::new(index, node, network, &position);
                if let Kind::Concat { from, .. } = operation.kind {
                    shared.push(from);
                }
                operations.push(operation);
            }
            position.push(operations.len().saturating_sub(1));
        }
        Self { operations, position, shared, inputs: nodes.first().map_or(0, |node| node.input.len()) }
    }

    /// Values a sample brings.
    pub(super) fn inputs(&self) -> usize {
        self.inputs
    }

    /// Brings the transposed matrices up to date with the straight ones.
    pub(super) fn transpose(&self, weights: &mut Weights) {
        weights.transposed.resize(weights.straight.len(), 0.0);
        for operation in &self.operations {
            let range = operation.weight.clone();
            vectors::transpose(&weights.straight[range.clone()], operation.rows(), &mut weights.transposed[range]);
        }
    }

    /// Floats a sample takes in [`Activations`].
    pub(super) fn floats(&self) -> usize {
        self.operations.iter().map(|operation| operation.outputs).sum()
    }

    /// Room for `samples` samples; for the way back too where `train`.
    pub(super) fn activations(&self, samples: usize, train: bool) -> Activations {
        let room = |(index, operation): (usize, &Operation)| {
            let wanted = train && self.shared.contains(&index);
            vec![0.0; if wanted { samples * operation.outputs } else { 0 }]
        };
        Activations {
            outputs: self.operations.iter().map(|operation| vec![0.0; samples * operation.outputs]).collect(),
            returns: self.operations.iter().enumerate().map(room).collect(),
        }
    }

    /// The output of a node of the list, for `n` samples, channels last.
    pub(super) fn output<'a>(&self, activations: &'a Activations, node: usize, n: usize) -> &'a [f32] {
        let index = self.position[node];
        &activations.outputs[index][..n * self.operations[index].outputs]
    }

    /// The output of the list, for `n` samples, channels last.
    pub(super) fn last<'a>(&self, activations: &'a Activations, n: usize) -> &'a [f32] {
        self.output(activations, self.position.len() - 1, n)
    }

    /// Runs `n` samples forward.
    pub(super) fn forward(
        &self,
        weights: &Weights,
        x: &[f32],
        n: usize,
        activations: &mut Activations,
        scratch: &mut Scratch,
    ) {
        for (i, operation) in self.operations.iter().enumerate() {
            let (before, rest) = activations.outputs.split_at_mut(i);
            let input = &before.last().map_or(x, Vec::as_slice)[..n * operation.inputs];
            let output = &mut rest[0][..n * operation.outputs];
            match operation.kind {
                Kind::Concat { own, other, from } => {
                    vectors::join(input, own, &before[from], other, output);
                    if operation.relu {
                        vectors::rectify(output);
                    }
                }
                _ => operation.forward(weights, input, output, n, scratch),
            }
        }
    }

    /// Runs `n` samples backward: takes the gradient of the output from `scratch.upper`, adds the parameters' to
    /// `gradient`, and leaves that of the input in `scratch.upper` where `descend` asks for it.
    pub(super) fn backward(
        &self,
        weights: &Weights,
        (x, n): (&[f32], usize),
        activations: &mut Activations,
        scratch: &mut Scratch,
        gradient: &mut [f32],
        descend: bool,
    ) {
        let Activations { outputs, returns } = activations;
        returns.iter_mut().for_each(|back| back.fill(0.0));
        for (i, operation) in self.operations.iter().enumerate().rev() {
            let input = if i == 0 { &x[..n * self.inputs] } else { &outputs[i - 1][..n * operation.inputs] };
            let (mut upper, mut lower) = (std::mem::take(&mut scratch.upper), std::mem::take(&mut scratch.lower));
            let dy = &mut upper[..n * operation.outputs];
            vectors::add(dy, &returns[i]);
            if operation.relu {
                vectors::mask(dy, &outputs[i]);
            }
            let dx = (i > 0 || descend).then(|| &mut lower[..n * operation.inputs]);
            match (operation.kind, dx) {
                (Kind::Concat { own, other, from }, Some(dx)) => vectors::part(dy, own, dx, other, &mut returns[from]),
                (_, dx) => operation.backward(weights, (input, &outputs[i]), dy, dx, scratch, gradient),
            }
            (scratch.upper, scratch.lower) = (lower, upper);
        }
    }

    /// The largest of everything the operations share, for `samples` samples.
    fn needs(&self, samples: usize) -> [usize; 3] {
        let most = |f: &dyn Fn(&Operation) -> usize| self.operations.iter().map(f).max().unwrap_or(0);
        let windows = most(&|operation| match operation.kind {
            Kind::Conv(g) | Kind::ConvTranspose(g) => block_rows(&g, samples * g.oh) * g.ow * g.window(),
            _ => 0,
        });
        [windows, 2 * most(&|operation| operation.bias.len()), samples * most(&|o| o.outputs.max(o.inputs))]
    }
}

impl Scratch {
    /// Room for chunks of `samples` samples through any of these stacks; for the way back too where `train`.
    pub(super) fn new(stacks: &[Stack], samples: usize, train: bool) -> Self {
        let needs: Vec<[usize; 3]> = stacks.iter().map(|stack| stack.needs(samples)).collect();
        let most = |index: usize| needs.iter().map(|needs| needs[index]).max().unwrap_or(0);
        let gradient = if train { most(2) } else { 0 };
        Self {
            windows: vec![0.0; most(0)],
            sums: vec![0.0; most(1)],
            upper: vec![0.0; gradient],
            lower: vec![0.0; gradient],
            dropouts: None,
        }
    }
}

impl Operation {
    /// `position`: of each node before it, the operation that gives its output.
    fn new(index: usize, node: &Node, network: &Network, position: &[usize]) -> Self {
        let range = |index: usize| network.parameters[index].range();
        let (weight, bias) = node.parameters.map_or((0..0, 0..0), |(weight, bias)| (range(weight), range(bias)));
        let kind = match node.layer {
            Layer::Conv2d(window) => Kind::Conv(geometry(node.input, node.output, window)),
            Layer::ConvTranspose2d(window) => Kind::ConvTranspose(geometry(node.output, node.input, window)),
            Layer::Linear => Kind::Linear,
            Layer::GroupNorm => Kind::Norm(node.input.len()),
            Layer::LayerNorm => Kind::Norm(node.input.c),
            Layer::Scale => Kind::Scale,
            Layer::Tanh => Kind::Tanh,
            Layer::Sobel => Kind::Sobel(node.input),
            Layer::MaxPool2d(window) => Kind::MaxPool(geometry(node.input, node.output, window)),
            Layer::AvgPool2d(window) => Kind::AvgPool(geometry(node.input, node.output, window)),
            Layer::Upsample(interpolation) => Kind::Upsample(node.input, interpolation),
            Layer::PixelShuffle => Kind::PixelShuffle(node.output),
            Layer::Concat(from) => {
                let own = node.input.c;
                Kind::Concat { own, other: node.output.c - own, from: position[from] }
            }
            Layer::Dropout(rate) => Kind::Dropout(rate, index, node.input.c),
            Layer::Relu | Layer::Flatten | Layer::Unflatten => Kind::Copy,
        };
        let relu = node.layer == Layer::Relu;
        Self { kind, relu, inputs: node.input.len(), outputs: node.output.len(), weight, bias }
    }

    /// Rows of the weight matrix.
    fn rows(&self) -> usize {
        match self.kind {
            Kind::Conv(g) | Kind::ConvTranspose(g) => g.cout,
            Kind::Linear => self.outputs,
            _ => 1,
        }
    }

    fn forward(&self, weights: &Weights, x: &[f32], y: &mut [f32], n: usize, scratch: &mut Scratch) {
        let (weight, bias) = (&weights.straight[self.weight.clone()], &weights.straight[self.bias.clone()]);
        let transposed = &weights.transposed[self.weight.clone()];
        match self.kind {
            Kind::Conv(g) => conv(&g, transposed, bias, x, y, &mut scratch.windows),
            Kind::ConvTranspose(g) => {
                vectors::fill_rows(y, bias);
                conv_transpose(&g, weight, x, y, &mut scratch.windows);
            }
            Kind::Linear => {
                vectors::fill_rows(y, bias);
                if n == 1 && self.outputs.is_multiple_of(16) && self.outputs <= 256 {
                    vectors::add_row_product(x, transposed, y);
                } else {
                    let (a, b) = (Matrix::rows(x, self.inputs), Matrix::rows(transposed, self.outputs));
                    product(n, self.outputs, self.inputs, y, a, b, true);
                }
            }
            Kind::Norm(size) => return vectors::normalise(x, size, weight, bias, self.relu, y),
            Kind::Scale => vectors::scale_rows(x, weight, bias, y),
            Kind::Tanh => vectors::tanh(x, y),
            Kind::Sobel(shape) => sobel::filter(shape, x, y),
            Kind::MaxPool(g) => pooling::largest(&g, x, y),
            Kind::AvgPool(g) => pooling::mean(&g, x, y),
            Kind::Upsample(shape, interpolation) => pooling::double(shape, interpolation, x, y),
            Kind::PixelShuffle(shape) => pooling::shuffle(shape, x, y),
            Kind::Dropout(rate, node, channels) => match scratch.dropouts {
                Some(dropouts) => self.drop_out(rate, (node, channels), dropouts, x, y),
                None => y.copy_from_slice(x),
            },
            Kind::Copy | Kind::Concat { .. } => y.copy_from_slice(x),
        }
        if self.relu {
            vectors::rectify(y);
        }
    }

    /// Copies what dropout keeps, scaled up, and zeroes the rest.
    fn drop_out(&self, rate: f32, (node, c): (usize, usize), dropouts: Dropouts, from: &[f32], to: &mut [f32]) {
        let (scale, pixels) = (1.0 / (1.0 - rate), self.inputs / c);
        let samples = from.chunks_exact(self.inputs).zip(to.chunks_exact_mut(self.inputs)).enumerate();
        for (sample, (from, to)) in samples {
            for (index, (from, to)) in from.iter().zip(to).enumerate() {
                // The number of the value is that of the layout on disk, channels first.
                let number = index % c * pixels + index / c;
                let kept = keeps(rate, dropouts.seed, node, dropouts.first + sample, number);
                *to = if kept { scale * from } else { 0.0 };
            }
        }
    }

    fn backward(
        &self,
        weights: &Weights,
        (x, y): (&[f32], &[f32]),
        dy: &[f32],
        dx: Option<&mut [f32]>,
        scratch: &mut Scratch,
        gradient: &mut [f32],
    ) {
        let (weight, transposed) = (&weights.straight[self.weight.clone()], &weights.transposed[self.weight.clone()]);
        // A weight's bias follows it in the flat vector.
        let (dw, db) = gradient[self.weight.start..self.bias.end].split_at_mut(self.weight.len());
        if matches!(self.kind, Kind::Conv(_) | Kind::ConvTranspose(_) | Kind::Linear | Kind::Scale) {
            vectors::add_rows(dy, db);
        }
        match (self.kind, dx) {
            (Kind::Conv(g), dx) => conv_backward(&g, weight, x, dy, dx, dw, &mut scratch.windows),
            (Kind::ConvTranspose(g), dx) => {
                conv_transpose_backward(&g, transposed, x, dy, dx, dw, &mut scratch.windows);
            }
            (Kind::Linear, dx) => {
                let (n, inputs, outputs) = (x.len() / self.inputs, self.inputs, self.outputs);
                product(outputs, inputs, n, dw, Matrix::transposed(dy, outputs), Matrix::rows(x, inputs), true);
                if let Some(dx) = dx {
                    product(n, inputs, outputs, dx, Matrix::rows(dy, outputs), Matrix::rows(weight, inputs), false);
                }
            }
            (Kind::Norm(size), dx) => {
                // The lowest layer of a list may be asked for its parameters alone; the kernel writes dx all the same.
                let mut spare = Vec::new();
                let dx = dx.unwrap_or_else(|| {
                    spare.resize(x.len(), 0.0);
                    &mut spare
                });
                vectors::normalise_gradient(x, size, weight, dy, dx, (dw, db), &mut scratch.sums);
            }
            (Kind::Scale, dx) => vectors::scale_rows_gradient(x, weight, dy, dx, dw),
            (Kind::Tanh, Some(dx)) => vectors::tanh_gradient(y, dy, dx),
            (Kind::Sobel(shape), Some(dx)) => sobel::filter_gradient(shape, x, dy, dx),
            (Kind::MaxPool(g), Some(dx)) => pooling::largest_gradient(&g, x, dy, dx),
            (Kind::AvgPool(g), Some(dx)) => pooling::mean_gradient(&g, dy, dx),
            (Kind::Upsample(shape, interpolation), Some(dx)) => pooling::double_gradient(shape, interpolation, dy, dx),
            (Kind::PixelShuffle(shape), Some(dx)) => pooling::shuffle_gradient(shape, dy, dx),
            (Kind::Dropout(rate, node, channels), Some(dx)) => match scratch.dropouts {
                Some(dropouts) => self.drop_out(rate, (node, channels), dropouts, dy, dx),
                None => dx.copy_from_slice(dy),
            },
            (Kind::Copy | Kind::Concat { .. }, Some(dx)) => dx.copy_from_slice(&dy[..dx.len()]),
            // The lowest layer has nobody below that would ask.
            (_, None) => {}
        }
    }
}
