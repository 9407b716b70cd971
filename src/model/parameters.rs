//! A network's parameters: names and shapes on disk, initial values, and the layout inside the CPU engine.

/// A tensor of parameters.
#[derive(Debug, Clone)]
pub struct Parameter {
    /// Its name on disk, such as `encoder.0.weight`.
    pub name: String,
    /// Its shape on disk.
    pub shape: Vec<usize>,
    /// Whether weight decay applies: not to biases, norms and variances.
    pub decay: bool,
    /// Where it starts in the flat vector of all parameters.
    pub offset: usize,
    /// How it is initialised.
    pub init: Init,
    /// How the channels-last executor lays it out: `[outer, channels, pixels, inner]` becomes `[outer, pixels, channels, inner]`.
    pub packing: Packing,
    /// Which of its values are trained.
    pub trains: Trains,
}

/// Which values of a parameter are trained; the others are and stay zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trains {
    /// All.
    Whole,
    /// None: a bias that was asked not to be there.
    Nothing,
    /// Of a convolution, for each output the inputs that it is connected to.
    Connected(&'static [&'static [usize]]),
}

impl Parameter {
    /// Whether each value is trained, in the order on disk.
    pub fn trained(&self) -> impl Iterator<Item = bool> {
        let inputs = self.shape.get(1).copied().unwrap_or(1);
        let area: usize = self.shape.iter().skip(2).product();
        (0..self.len()).map(move |index| match self.trains {
            Trains::Whole => true,
            Trains::Nothing => false,
            Trains::Connected(table) => table[index / area / inputs].contains(&(index / area % inputs)),
        })
    }

    /// Number of values.
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// Number of values that are trained.
    pub fn trained_len(&self) -> usize {
        if self.trains == Trains::Whole { self.len() } else { self.trained().filter(|&trained| trained).count() }
    }

    /// Whether there is no value at all.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Where it lies in the flat vector of all parameters.
    pub fn range(&self) -> std::ops::Range<usize> {
        self.offset..self.offset + self.len()
    }
}

/// How a parameter is initialised.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Init {
    /// Uniform within this bound of zero (PyTorch's default: the inverse root of the fan-in).
    Uniform(f32),
    /// A constant.
    Constant(f32),
}

/// The axes exchanged between the layout on disk and channels-last; the outermost follows from the length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Packing {
    /// Channels.
    pub channels: usize,
    /// Pixels of a kernel or of a map.
    pub pixels: usize,
    /// Values that stay together.
    pub inner: usize,
}

impl Packing {
    /// The same layout in both.
    pub const NONE: Self = Self { channels: 1, pixels: 1, inner: 1 };

    /// The position on disk of each value of the channels-last layout, in that layout's order.
    pub fn order(self, len: usize) -> impl Iterator<Item = usize> {
        let Self { channels, pixels, inner } = self;
        let outer = len / (channels * pixels * inner);
        (0..outer).flat_map(move |o| {
            (0..pixels).flat_map(move |p| {
                (0..channels).flat_map(move |c| (0..inner).map(move |i| ((o * channels + c) * pixels + p) * inner + i))
            })
        })
    }
}

/// Appends a parameter and returns its index.
pub(super) fn add(
    all: &mut Vec<Parameter>,
    name: String,
    shape: Vec<usize>,
    decay: bool,
    init: Init,
    packing: Packing,
    trains: Trains,
) -> usize {
    let offset = all.last().map_or(0, |last| last.offset + last.len());
    all.push(Parameter { name, shape, decay, offset, init, packing, trains });
    all.len() - 1
}

/// PyTorch's default for weights and biases.
pub(super) fn uniform(fan_in: usize) -> Init {
    Init::Uniform(1.0 / (fan_in as f32).sqrt())
}
