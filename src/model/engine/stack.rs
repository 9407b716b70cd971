//! A list of layers compiled for the CPU: neighbours fused, forward and backward over a chunk of samples.

use std::ops::Range;

use super::convolution::{block_rows, conv, conv_backward, conv_transpose, conv_transpose_backward, geometry};
use super::kernels::{Matrix, product};
use super::vectors;
use super::windows::Geometry;
use crate::model::network::{Layer, Network, Node};

/// A list of layers, each with the activation that follows it.
pub(super) struct Stack {
    operations: Vec<Operation>,
    /// Per node of the list, the operation that gives its output.
    position: Vec<usize>,
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
    /// Only rectifies.
    Copy,
}

/// Room for a chunk of samples: every operation's output.
pub(super) struct Activations(Vec<Vec<f32>>);

/// Room that operations share.
pub(super) struct Scratch {
    windows: Vec<f32>,
    sums: Vec<f32>,
    /// Gradients on their way down.
    pub upper: Vec<f32>,
    pub lower: Vec<f32>,
}

impl Stack {
    /// Compiles a list of nodes.
    pub(super) fn new(nodes: &[Node], network: &Network) -> Self {
        let mut operations: Vec<Operation> = Vec::new();
        let mut position = Vec::new();
        for node in nodes {
            let reshape = matches!(node.layer, Layer::Flatten | Layer::Unflatten);
            let fused = node.layer == Layer::Relu && !operations.is_empty();
            if let (true, Some(last)) = (fused, operations.last_mut()) {
                last.relu = true;
            } else if !reshape {
                operations.push(Operation::new(node, network));
            }
            position.push(operations.len().saturating_sub(1));
        }
        Self { operations, position, inputs: nodes.first().map_or(0, |node| node.input.len()) }
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

    /// Room for `samples` samples.
    pub(super) fn activations(&self, samples: usize) -> Activations {
        Activations(self.operations.iter().map(|operation| vec![0.0; samples * operation.outputs]).collect())
    }

    /// The output of a node of the list, for `n` samples, channels last.
    pub(super) fn output<'a>(&self, activations: &'a Activations, node: usize, n: usize) -> &'a [f32] {
        let index = self.position[node];
        &activations.0[index][..n * self.operations[index].outputs]
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
            let (before, rest) = activations.0.split_at_mut(i);
            let input = before.last().map_or(x, Vec::as_slice);
            operation.forward(
                weights,
                &input[..n * operation.inputs],
                &mut rest[0][..n * operation.outputs],
                n,
                scratch,
            );
        }
    }

    /// Runs `n` samples backward: takes the gradient of the output from `scratch.upper`, adds the parameters' to
    /// `gradient`, and leaves that of the input in `scratch.upper` where `descend` asks for it.
    pub(super) fn backward(
        &self,
        weights: &Weights,
        (x, n): (&[f32], usize),
        activations: &Activations,
        scratch: &mut Scratch,
        gradient: &mut [f32],
        descend: bool,
    ) {
        for (i, operation) in self.operations.iter().enumerate().rev() {
            let input = if i == 0 { &x[..n * self.inputs] } else { &activations.0[i - 1][..n * operation.inputs] };
            let (mut upper, mut lower) = (std::mem::take(&mut scratch.upper), std::mem::take(&mut scratch.lower));
            let dy = &mut upper[..n * operation.outputs];
            if operation.relu {
                vectors::mask(dy, &activations.0[i]);
            }
            let dx = (i > 0 || descend).then(|| &mut lower[..n * operation.inputs]);
            operation.backward(weights, input, dy, dx, scratch, gradient);
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
    pub(super) fn new(stacks: [&Stack; 2], samples: usize, train: bool) -> Self {
        let [a, b] = stacks.map(|stack| stack.needs(samples));
        let gradient = if train { a[2].max(b[2]) } else { 0 };
        Self {
            windows: vec![0.0; a[0].max(b[0])],
            sums: vec![0.0; a[1].max(b[1])],
            upper: vec![0.0; gradient],
            lower: vec![0.0; gradient],
        }
    }
}

impl Operation {
    fn new(node: &Node, network: &Network) -> Self {
        let range = |index: usize| network.parameters[index].range();
        let (weight, bias) = node.parameters.map_or((0..0, 0..0), |(weight, bias)| (range(weight), range(bias)));
        let kind = match node.layer {
            Layer::Conv2d(window) => Kind::Conv(geometry(node.input, node.output, window)),
            Layer::ConvTranspose2d(window) => Kind::ConvTranspose(geometry(node.output, node.input, window)),
            Layer::Linear => Kind::Linear,
            Layer::GroupNorm => Kind::Norm(node.input.len()),
            Layer::LayerNorm => Kind::Norm(node.input.c),
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
            Kind::Norm(_) | Kind::Copy => 1,
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
            Kind::Copy => y.copy_from_slice(x),
        }
        if self.relu {
            vectors::rectify(y);
        }
    }

    fn backward(
        &self,
        weights: &Weights,
        x: &[f32],
        dy: &[f32],
        dx: Option<&mut [f32]>,
        scratch: &mut Scratch,
        gradient: &mut [f32],
    ) {
        let (weight, transposed) = (&weights.straight[self.weight.clone()], &weights.transposed[self.weight.clone()]);
        // A weight's bias follows it in the flat vector.
        let (dw, db) = gradient[self.weight.start..self.bias.end].split_at_mut(self.weight.len());
        if !matches!(self.kind, Kind::Norm(_) | Kind::Copy) {
            vectors::add_rows(dy, db);
        }
        match self.kind {
            Kind::Conv(g) => conv_backward(&g, weight, x, dy, dx, dw, &mut scratch.windows),
            Kind::ConvTranspose(g) => conv_transpose_backward(&g, transposed, x, dy, dx, dw, &mut scratch.windows),
            Kind::Linear => {
                let (n, inputs, outputs) = (x.len() / self.inputs, self.inputs, self.outputs);
                product(outputs, inputs, n, dw, Matrix::transposed(dy, outputs), Matrix::rows(x, inputs), true);
                if let Some(dx) = dx {
                    product(n, inputs, outputs, dx, Matrix::rows(dy, outputs), Matrix::rows(weight, inputs), false);
                }
            }
            Kind::Norm(size) => {
                // The lowest layer of a list may be asked for its parameters alone; the kernel writes dx all the same.
                let mut spare = Vec::new();
                let dx = dx.unwrap_or_else(|| {
                    spare.resize(x.len(), 0.0);
                    &mut spare
                });
                vectors::normalise_gradient(x, size, weight, dy, dx, (dw, db), &mut scratch.sums);
            }
            Kind::Copy => dx.into_iter().for_each(|dx| dx.copy_from_slice(dy)),
        }
    }
}
