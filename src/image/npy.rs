//! NumPy's array file: a header that is a Python dict, then the numbers. Read here in every real type, written as float32.

use std::io::Write;

use super::frames::Decoder;
use super::samples::{Order, Sample};
use super::{Frame, Limits, Reason, Rejection};

const MAGIC: &[u8] = b"\x93NUMPY";
/// Bytes of a header; NumPy writes some hundred.
const MOST_HEADER: usize = 1 << 16;

/// Writes a frame as float32, shape `[height, width]`, or `[channels, height, width]` where it has several channels.
///
/// # Errors
/// Those of the sink.
pub fn write(mut sink: impl Write, frame: &Frame) -> std::io::Result<()> {
    let Frame { width, height, channels, .. } = *frame;
    let shape = if channels == 1 { format!("({height}, {width})") } else { format!("({channels}, {height}, {width})") };
    let mut header = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}");
    // Magic, version and length take 10 bytes; the data must start at a multiple of 64.
    let padding = (64 - (10 + header.len() + 1) % 64) % 64;
    header.extend(std::iter::repeat_n(' ', padding));
    header.push('\n');
    sink.write_all(MAGIC)?;
    sink.write_all(&[1, 0])?;
    sink.write_all(&(header.len() as u16).to_le_bytes())?;
    sink.write_all(header.as_bytes())?;
    frame.pixels.iter().try_for_each(|value| sink.write_all(&value.to_le_bytes()))?;
    sink.flush()
}

/// Opens a matrix (one frame) or a stack of matrices (a frame each, along the first axis).
pub(super) fn open(bytes: Vec<u8>, limits: Limits) -> Result<impl Decoder, Rejection> {
    let header = Header::read(&bytes)?;
    let (count, height, width) = match header.shape[..] {
        [height, width] => (1, height, width),
        [count, height, width] => (count, height, width),
        [] | [_] => return Err(Rejection::new(Reason::NoImage, "an array of fewer than two axes")),
        _ => return Err(Rejection::unsupported(format!("an array of {} axes; 2 or 3 are read", header.shape.len()))),
    };
    let samples = limits.check_frame(width, height, 1)?;
    limits.check_frames(count)?;
    let held = bytes.len() - header.data_start;
    if samples
        .checked_mul(count)
        .and_then(|all| all.checked_mul(header.sample.size()))
        .is_none_or(|needed| needed > held)
    {
        return Err(Rejection::truncated(format!(
            "declares {count} x {height} x {width} numbers and holds {held} bytes"
        )));
    }
    Ok(Stack { bytes, header, count, height, width, at: 0 })
}

struct Stack {
    bytes: Vec<u8>,
    header: Header,
    count: usize,
    height: usize,
    width: usize,
    /// The next frame.
    at: usize,
}

impl Decoder for Stack {
    fn advance(&mut self) -> Option<Result<u64, Rejection>> {
        (self.at < self.count).then(|| Ok((self.width * self.height * size_of::<f32>()) as u64))
    }

    fn frame(&mut self) -> Result<Frame, Rejection> {
        let Self { width, height, at: index, .. } = *self;
        self.at += 1;
        let pixels = if self.header.fortran { self.columns_first(index) } else { self.rows_first(index) };
        let depth = self.header.sample.depth();
        Ok(Frame { index, width, height, channels: 1, pixels, depth, observed_at: None, exposure_s: None })
    }
}

impl Stack {
    fn rows_first(&self, index: usize) -> Vec<f32> {
        let samples = self.width * self.height;
        let size = self.header.sample.size();
        let mut pixels = Vec::with_capacity(samples);
        let data = &self.bytes[self.header.data_start + index * samples * size..][..samples * size];
        self.header.sample.extend(data, self.header.order, &mut pixels);
        pixels
    }

    /// Fortran order: the first axis varies fastest.
    fn columns_first(&self, index: usize) -> Vec<f32> {
        let size = self.header.sample.size();
        let data = &self.bytes[self.header.data_start..];
        let mut pixels = Vec::with_capacity(self.width * self.height);
        for y in 0..self.height {
            for x in 0..self.width {
                let at = index + self.count * (y + self.height * x);
                self.header.sample.extend(&data[at * size..][..size], self.header.order, &mut pixels);
            }
        }
        pixels
    }
}

struct Header {
    sample: Sample,
    order: Order,
    fortran: bool,
    shape: Vec<usize>,
    data_start: usize,
}

impl Header {
    fn read(bytes: &[u8]) -> Result<Self, Rejection> {
        let short = || Rejection::truncated("ends within its header");
        let (length, text_start) = match *bytes.get(6..12).ok_or_else(short)? {
            [1, _, a, b, ..] => (usize::from(u16::from_le_bytes([a, b])), 10),
            [2 | 3, _, a, b, c, d] => (u32::from_le_bytes([a, b, c, d]) as usize, 12),
            _ => return Err(Rejection::unsupported(format!("NPY version {}", bytes[6]))),
        };
        if length > MOST_HEADER {
            return Err(Rejection::corrupt(format!("a header of {length} bytes; {MOST_HEADER} are read")));
        }
        let data_start = text_start + length;
        let text = bytes.get(text_start..data_start).ok_or_else(short)?;
        let text = std::str::from_utf8(text).map_err(|_| Rejection::corrupt("its header is not text"))?;
        let (order, sample) = parse_type(value_of(text, "descr")?)?;
        let fortran = value_of(text, "fortran_order")?.starts_with("True");
        let shape = parse_shape(value_of(text, "shape")?)?;
        Ok(Self { sample, order, fortran, shape, data_start })
    }
}

/// The text after `'key':`.
fn value_of<'a>(text: &'a str, key: &str) -> Result<&'a str, Rejection> {
    let quoted = [format!("'{key}'"), format!("\"{key}\"")];
    let after = quoted.iter().find_map(|name| text.split_once(name.as_str())).map(|(_, after)| after.trim_start());
    let value = after.and_then(|after| after.strip_prefix(':')).map(str::trim_start);
    value.ok_or_else(|| Rejection::corrupt(format!("its header has no {key}")))
}

fn parse_type(value: &str) -> Result<(Order, Sample), Rejection> {
    let Some(rest) = value.strip_prefix(['\'', '"']) else {
        return Err(Rejection::unsupported("an array of records, not of numbers"));
    };
    let name = rest.split(['\'', '"']).next().unwrap_or_default();
    let (order, code) = match name.split_at_checked(1) {
        Some(("<" | "|" | "=", code)) => (Order::Little, code),
        Some((">", code)) => (Order::Big, code),
        _ => (Order::Little, name),
    };
    let sample = match code {
        "b1" | "u1" => Sample::U8,
        "i1" => Sample::I8,
        "u2" => Sample::U16,
        "i2" => Sample::I16,
        "u4" => Sample::U32,
        "i4" => Sample::I32,
        "u8" => Sample::U64,
        "i8" => Sample::I64,
        "f2" => Sample::F16,
        "f4" => Sample::F32,
        "f8" => Sample::F64,
        _ => return Err(Rejection::unsupported(format!("numbers of type {name:?}"))),
    };
    Ok((order, sample))
}

fn parse_shape(value: &str) -> Result<Vec<usize>, Rejection> {
    let bad = || Rejection::corrupt("its shape is not a tuple of sizes");
    let (axes, _) = value.strip_prefix('(').and_then(|rest| rest.split_once(')')).ok_or_else(bad)?;
    let axes = axes.split(',').map(str::trim).filter(|axis| !axis.is_empty());
    axes.map(|axis| axis.trim_end_matches('L').parse().map_err(|_| bad())).collect()
}

#[cfg(test)]
mod tests {
    use super::super::Depth;
    use super::*;

    fn npy(header: &str, data: &[u8]) -> Vec<u8> {
        let mut file = MAGIC.to_vec();
        file.extend([1, 0]);
        file.extend((header.len() as u16).to_le_bytes());
        file.extend(header.as_bytes());
        file.extend(data);
        file
    }

    fn planes(header: &str, data: &[u8]) -> Result<Vec<Vec<f32>>, Rejection> {
        let frames = super::super::frames(npy(header, data), &Limits::default())?;
        Ok(frames.map(|frame| frame.unwrap().pixels).collect())
    }

    #[test]
    fn writing_and_reading_return_the_same_values() {
        let pixels = vec![0.5, f32::NAN, -3.25, f32::INFINITY, 1e-30, 65535.0];
        let mut frame = Frame {
            index: 0,
            width: 3,
            height: 2,
            channels: 1,
            pixels,
            depth: Depth::Float(32),
            observed_at: None,
            exposure_s: None,
        };
        let mut file = Vec::new();
        write(&mut file, &frame).unwrap();
        assert_eq!((file.len() - 24) % 64, 0);
        let back = super::super::frames(file, &Limits::default()).unwrap().next().unwrap().unwrap();
        assert_eq!((back.width, back.height, back.depth), (3, 2, Depth::Float(32)));
        let bits = |pixels: &[f32]| pixels.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
        assert_eq!(bits(&back.pixels), bits(&frame.pixels));

        (frame.channels, frame.width, frame.height) = (3, 2, 1);
        let mut file = Vec::new();
        write(&mut file, &frame).unwrap();
        assert_eq!(super::super::frames(file, &Limits::default()).unwrap().count(), 3);
    }

    #[test]
    fn orders_stacks_and_old_spellings() {
        let header = "{'descr': '>i2', 'fortran_order': False, 'shape': (2, 1, 2), }";
        assert_eq!(planes(header, &[0, 1, 0, 2, 0, 3, 0xFF, 0xFF]).unwrap(), [[1.0, 2.0], [3.0, -1.0]]);
        // numpy.asfortranarray(numpy.arange(6, dtype='u1').reshape(2, 3)).tobytes('F')
        let header = "{'descr': '|u1', 'fortran_order': True, 'shape': (2L, 3L), }";
        assert_eq!(planes(header, &[0, 3, 1, 4, 2, 5]).unwrap(), [[0.0, 1.0, 2.0, 3.0, 4.0, 5.0]]);
        // the same of numpy.arange(8).reshape(2, 2, 2)
        let header = "{'descr': '|u1', 'fortran_order': True, 'shape': (2, 2, 2), }";
        assert_eq!(planes(header, &[0, 4, 2, 6, 1, 5, 3, 7]).unwrap(), [[0.0, 1.0, 2.0, 3.0], [4.0, 5.0, 6.0, 7.0]]);
    }

    #[test]
    fn refusals_name_the_reason() {
        let reason = |header: &str| planes(header, &[0; 8]).unwrap_err().reason;
        assert_eq!(reason("{'descr': '<c8', 'fortran_order': False, 'shape': (1, 1), }"), Reason::Unsupported);
        assert_eq!(reason("{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (1, 1), }"), Reason::Unsupported);
        assert_eq!(reason("{'descr': '<f4', 'fortran_order': False, 'shape': (8,), }"), Reason::NoImage);
        assert_eq!(reason("{'descr': '<f4', 'fortran_order': False, 'shape': (2, 2), }"), Reason::Truncated);
        assert_eq!(
            reason("{'descr': '<f4', 'fortran_order': False, 'shape': (99999999, 99999999), }"),
            Reason::TooLarge
        );
        assert_eq!(reason("{'descr': '<f4', 'shape': (-2, 2)}"), Reason::Corrupt);
        let length = MOST_HEADER + 1;
        let header = [&b"\x93NUMPY\x02\x00"[..], &(length as u32).to_le_bytes(), &vec![b' '; length]].concat();
        let rejection = open(header, Limits::default()).err().unwrap();
        assert!(rejection.detail.contains("65537 bytes"), "{rejection}");
    }
}
