//! IDX, the format of MNIST: two zero bytes, a type, a rank, big-endian sizes, big-endian numbers.

use std::ops::Range;

use super::deadline::Deadline;
use super::frames::Decoder;
use super::samples::{Order, Sample};
use super::{Frame, Limits, Reason, Rejection, unpack};

/// Opens a matrix (one frame) or a stack of matrices (a frame each).
pub(super) fn open(bytes: Vec<u8>, limits: Limits) -> Result<impl Decoder, Rejection> {
    let Header { sample, sizes, data_start } = Header::read(&bytes)?;
    let (count, height, width) = match sizes[..] {
        [height, width] => (1, height, width),
        [count, height, width] => (count, height, width),
        [_] => return Err(Rejection::new(Reason::NoImage, "an IDX vector (labels?), not images")),
        _ => return Err(Rejection::unsupported(format!("an IDX array of {} axes; 2 or 3 are read", sizes.len()))),
    };
    let frame_bytes = limits.check_frame(width, height, 1)? * sample.size();
    limits.check_frames(count)?;
    let (needed, held) = (frame_bytes.checked_mul(count), bytes.len() - data_start);
    match needed {
        Some(needed) if needed == held => {}
        Some(needed) if needed < held => {
            return Err(Rejection::corrupt(format!("{} bytes follow the declared data", held - needed)));
        }
        _ => {
            let whole = held / frame_bytes;
            return Err(Rejection::truncated(format!(
                "declares {count} images of {width} x {height} and holds {whole}"
            )));
        }
    }
    Ok(Stack { bytes, sample, width, height, left: data_start..data_start + frame_bytes * count, frame_bytes })
}

/// Matrices one after the other.
struct Stack {
    bytes: Vec<u8>,
    sample: Sample,
    width: usize,
    height: usize,
    /// Where the frames lie that are still to come.
    left: Range<usize>,
    frame_bytes: usize,
}

impl Decoder for Stack {
    fn advance(&mut self) -> Option<Result<u64, Rejection>> {
        (!self.left.is_empty()).then(|| Ok((self.width * self.height * size_of::<f32>()) as u64))
    }

    fn frame(&mut self) -> Result<Frame, Rejection> {
        let Self { width, height, .. } = *self;
        let mut pixels = Vec::with_capacity(width * height);
        let data = self.left.start..self.left.start + self.frame_bytes;
        self.left.start = data.end;
        self.sample.extend(&self.bytes[data], Order::Big, &mut pixels);
        Ok(Frame {
            index: 0,
            width,
            height,
            channels: 1,
            pixels,
            depth: self.sample.depth(),
            observed_at: None,
            exposure_s: None,
        })
    }
}

/// Labels of an IDX file (compressed or not): one unsigned byte a frame.
///
/// # Errors
/// A [`Rejection`] when the bytes are no one-dimensional IDX file of bytes, or are over a limit.
pub fn idx_labels(bytes: Vec<u8>, limits: &Limits) -> Result<Vec<u8>, Rejection> {
    limits.check_file(bytes.len() as u64)?;
    let deadline = Deadline::start(limits.decode_s);
    let unpacked = unpack::unpack(bytes, limits, &deadline, &mut |_| {});
    let mut bytes = unpacked.map_err(|rejection| deadline.blame(rejection))?;
    let Header { sample, sizes, data_start } = Header::read(&bytes)?;
    let (Sample::U8, [count]) = (sample, &sizes[..]) else {
        return Err(Rejection::unsupported("labels are an IDX vector of unsigned bytes"));
    };
    if bytes.len() - data_start != *count {
        return Err(Rejection::truncated(format!("declares {count} labels and holds {}", bytes.len() - data_start)));
    }
    Ok(bytes.split_off(data_start))
}

struct Header {
    sample: Sample,
    sizes: Vec<usize>,
    data_start: usize,
}

impl Header {
    fn read(bytes: &[u8]) -> Result<Self, Rejection> {
        let &[0, 0, code, rank, ref rest @ ..] = bytes else { return Err(Rejection::unknown_format()) };
        let sample = match code {
            0x08 => Sample::U8,
            0x09 => Sample::I8,
            0x0B => Sample::I16,
            0x0C => Sample::I32,
            0x0D => Sample::F32,
            0x0E => Sample::F64,
            _ => return Err(Rejection::unknown_format()),
        };
        let rank = usize::from(rank);
        let sizes = rest.get(..4 * rank).ok_or_else(|| Rejection::truncated("ends within its sizes"))?;
        let sizes = sizes.as_chunks::<4>().0.iter().map(|&size| u32::from_be_bytes(size) as usize).collect();
        Ok(Self { sample, sizes, data_start: 4 + 4 * rank })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn idx(code: u8, sizes: &[u32], data: &[u8]) -> Vec<u8> {
        let mut file = vec![0, 0, code, sizes.len() as u8];
        sizes.iter().for_each(|size| file.extend(size.to_be_bytes()));
        file.extend(data);
        file
    }

    fn frames(file: Vec<u8>) -> Vec<Frame> {
        super::super::frames(file, &Limits::default()).unwrap().map(Result::unwrap).collect()
    }

    fn reason(file: Vec<u8>) -> Reason {
        open(file, Limits::default()).err().unwrap().reason
    }

    #[test]
    fn a_stack_is_a_frame_each_and_a_matrix_one() {
        let frames = super::tests::frames(idx(0x08, &[2, 1, 2], &[1, 2, 3, 4]));
        assert_eq!(frames.len(), 2);
        assert_eq!((frames[1].index, frames[1].width, frames[1].height), (1, 2, 1));
        assert_eq!(frames[1].pixels, [3.0, 4.0]);
        let matrix = super::tests::frames(idx(0x0B, &[1, 1], &[0xFF, 0xFE]));
        assert_eq!(matrix[0].pixels, [-2.0]);
    }

    #[test]
    fn labels_are_a_vector_of_bytes() {
        let limits = Limits::default();
        assert_eq!(idx_labels(idx(0x08, &[3], &[7, 2, 1]), &limits).unwrap(), [7, 2, 1]);
        assert_eq!(idx_labels(idx(0x08, &[4], &[7, 2, 1]), &limits).unwrap_err().reason, Reason::Truncated);
        assert_eq!(idx_labels(idx(0x08, &[1, 1], &[7]), &limits).unwrap_err().reason, Reason::Unsupported);
    }

    #[test]
    fn lying_sizes_are_refused_before_allocating() {
        assert_eq!(reason(idx(0x08, &[3, 1, 2], &[1, 2, 3, 4])), Reason::Truncated);
        assert_eq!(reason(idx(0x08, &[1, 1, 2], &[1, 2, 3, 4])), Reason::Corrupt);
        assert_eq!(reason(idx(0x08, &[1 << 20, 1 << 20, 1], &[])), Reason::Truncated);
        assert_eq!(reason(idx(0x08, &[1, u32::MAX, u32::MAX], &[])), Reason::TooLarge);
        assert_eq!(reason(idx(0x08, &[4], &[1, 2, 3, 4])), Reason::NoImage);
        assert_eq!(reason(vec![0, 0, 8, 3, 0]), Reason::Truncated);
    }
}
