//! PNG: 1 to 16 bits as stored (no gamma, no stretching to another depth), palettes expanded to RGB, alpha dropped.

use std::io::ErrorKind;

use png::{BitDepth, ColorType, DecodingError, Info, Transformations};

use super::bytes::Bytes;
use super::deadline::Deadline;
use super::frames::Decoder;
use super::{Depth, Frame, Limits, Reason, Rejection, bits, check_plausible};

/// Deflate's best ratio.
const RATIO: usize = 1032;
/// What chunks beside the pixels may take.
const CHUNK_BYTES: usize = 8 << 20;
/// The decoder's buffers between packed bytes and rows.
const WINDOW_BYTES: usize = 512 << 10;

/// Opens the file's one frame (of an animation, its still image).
pub(super) fn open(bytes: Vec<u8>, limits: Limits, deadline: Deadline) -> impl Decoder {
    Image { unread: Some(Bytes::new(bytes, deadline)), header: None, limits }
}

struct Image {
    unread: Option<Bytes>,
    /// The decoder after the header, and what that says.
    header: Option<(png::Decoder<Bytes>, Shape)>,
    limits: Limits,
}

impl Decoder for Image {
    fn advance(&mut self) -> Option<Result<u64, Rejection>> {
        let bytes = self.unread.take()?;
        Some(self.read_header(bytes))
    }

    fn frame(&mut self) -> Result<Frame, Rejection> {
        let (decoder, shape) = self.header.take().ok_or_else(|| Rejection::corrupt("no header"))?;
        let mut reader = decoder.read_info().map_err(rejection)?;
        let mut raw = vec![0; shape.row_bytes() * shape.height];
        reader.next_frame(&mut raw).map_err(rejection)?;
        let pixels = match shape.color {
            ColorType::Indexed => shape.look_up(&raw, reader.info().palette.as_deref().unwrap_or_default())?,
            _ => shape.planes(&raw),
        };
        let depth = if shape.color == ColorType::Indexed { 8 } else { shape.bits };
        Ok(Frame {
            index: 0,
            width: shape.width,
            height: shape.height,
            channels: shape.channels(),
            pixels,
            depth: Depth::Unsigned(depth),
            observed_at: None,
            exposure_s: None,
        })
    }
}

impl Image {
    fn read_header(&mut self, bytes: Bytes) -> Result<u64, Rejection> {
        let stored = bytes.all().len();
        let mut decoder = png::Decoder::new_with_limits(bytes, png::Limits { bytes: CHUNK_BYTES });
        decoder.set_transformations(Transformations::IDENTITY);
        decoder.set_ignore_text_chunk(true);
        decoder.set_ignore_iccp_chunk(true);
        let shape = Shape::of(decoder.read_header_info().map_err(rejection)?);
        self.limits.check_frame(shape.width, shape.height, shape.samples.max(shape.channels()))?;
        check_plausible(shape.row_bytes() * shape.height, stored, RATIO)?;
        decoder.set_limits(png::Limits { bytes: CHUNK_BYTES + shape.row_bytes() });
        let bytes = shape.bytes(stored);
        self.header = Some((decoder, shape));
        Ok(bytes)
    }
}

struct Shape {
    width: usize,
    height: usize,
    bits: u8,
    color: ColorType,
    /// Samples a pixel as stored, alpha included.
    samples: usize,
}

impl Shape {
    fn of(header: &Info<'_>) -> Self {
        let bits = match header.bit_depth {
            BitDepth::One => 1,
            BitDepth::Two => 2,
            BitDepth::Four => 4,
            BitDepth::Eight => 8,
            BitDepth::Sixteen => 16,
        };
        Self {
            width: header.width as usize,
            height: header.height as usize,
            bits,
            color: header.color_type,
            samples: header.color_type.samples(),
        }
    }

    fn channels(&self) -> usize {
        match self.color {
            ColorType::Grayscale | ColorType::GrayscaleAlpha => 1,
            ColorType::Rgb | ColorType::Rgba | ColorType::Indexed => 3,
        }
    }

    fn row_bytes(&self) -> usize {
        bits::row_bytes(self.bits, self.width * self.samples)
    }

    /// What decoding a file of `stored` bytes allocates: the samples, the frame, rows and window, the largest chunk.
    fn bytes(&self, stored: usize) -> u64 {
        let frame = self.width * self.height * self.channels() * size_of::<f32>();
        let chunks = CHUNK_BYTES.min(3 * stored);
        (self.row_bytes() * (self.height + 8) + frame + chunks + WINDOW_BYTES) as u64
    }

    /// Interleaved samples to `[channels, height, width]`.
    fn planes(&self, raw: &[u8]) -> Vec<f32> {
        let area = self.width * self.height;
        let mut pixels = vec![0.0; area * self.channels()];
        for (y, row) in raw.chunks_exact(self.row_bytes()).enumerate() {
            let mut sample = 0;
            bits::unpack_row(row, self.bits, self.width * self.samples, |value| {
                let (x, channel) = (sample / self.samples, sample % self.samples);
                if channel < self.channels() {
                    pixels[channel * area + y * self.width + x] = f32::from(value);
                }
                sample += 1;
            });
        }
        pixels
    }

    /// Palette indices to RGB planes.
    fn look_up(&self, raw: &[u8], palette: &[u8]) -> Result<Vec<f32>, Rejection> {
        let (colors, area) = (palette.as_chunks::<3>().0, self.width * self.height);
        let mut pixels = vec![0.0; area * 3];
        let (mut at, mut outside) = (0, None);
        for row in raw.chunks_exact(self.row_bytes()) {
            bits::unpack_row(row, self.bits, self.width, |index| {
                match colors.get(usize::from(index)) {
                    Some(color) => (0..3).for_each(|channel| pixels[channel * area + at] = f32::from(color[channel])),
                    None => outside = Some(index),
                }
                at += 1;
            });
        }
        match outside {
            Some(index) => Err(Rejection::corrupt(format!("colour {index} of a palette of {}", colors.len()))),
            None => Ok(pixels),
        }
    }
}

fn rejection(error: DecodingError) -> Rejection {
    match error {
        DecodingError::IoError(error) if error.kind() == ErrorKind::UnexpectedEof => Rejection::truncated(error),
        DecodingError::LimitsExceeded => {
            Rejection::new(Reason::TooLarge, format!("a chunk beside the pixels takes more than {CHUNK_BYTES} bytes"))
        }
        error => Rejection::corrupt(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encode(color: ColorType, depth: BitDepth, width: u32, height: u32, data: &[u8]) -> Vec<u8> {
        let mut file = Vec::new();
        let mut encoder = png::Encoder::new(&mut file, width, height);
        encoder.set_color(color);
        encoder.set_depth(depth);
        if color == ColorType::Indexed {
            encoder.set_palette(vec![1, 2, 3, 40, 50, 60]);
        }
        encoder.write_header().unwrap().write_image_data(data).unwrap();
        file
    }

    fn frame(file: Vec<u8>) -> Result<Frame, Rejection> {
        super::super::frames(file, &Limits::default()).unwrap().next().unwrap()
    }

    #[test]
    fn sixteen_bits_keep_every_level() {
        let levels: Vec<u8> = (1000u16..1020).flat_map(u16::to_be_bytes).collect();
        let frame = frame(encode(ColorType::Grayscale, BitDepth::Sixteen, 5, 4, &levels)).unwrap();
        assert_eq!(frame.depth, Depth::Unsigned(16));
        assert_eq!(frame.pixels, (1000..1020).map(|level| level as f32).collect::<Vec<_>>());
    }

    #[test]
    fn colour_is_planar_and_alpha_is_dropped() {
        let frame = frame(encode(ColorType::Rgba, BitDepth::Eight, 2, 1, &[1, 2, 3, 9, 4, 5, 6, 9])).unwrap();
        assert_eq!((frame.channels, frame.pixels), (3, vec![1.0, 4.0, 2.0, 5.0, 3.0, 6.0]));
    }

    #[test]
    fn palettes_are_expanded_and_their_bounds_checked() {
        let good = frame(encode(ColorType::Indexed, BitDepth::Two, 2, 1, &[0b0001_0000])).unwrap();
        assert_eq!(good.pixels, [1.0, 40.0, 2.0, 50.0, 3.0, 60.0]);
        let bad = frame(encode(ColorType::Indexed, BitDepth::Two, 2, 1, &[0b0011_0000])).unwrap_err();
        assert_eq!(bad.reason, Reason::Corrupt);
    }

    #[test]
    fn a_cut_file_is_truncated() {
        let noise: Vec<u8> = (0..10_000u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        let mut file = encode(ColorType::Grayscale, BitDepth::Eight, 100, 100, &noise);
        file.truncate(file.len() / 2);
        assert_eq!(frame(file).unwrap_err().reason, Reason::Truncated);
    }

    #[test]
    fn decoding_ends_with_its_time() {
        let file = encode(ColorType::Grayscale, BitDepth::Eight, 100, 100, &[0; 10_000]);
        let late = Limits { decode_s: 0, ..Limits::default() };
        let rejection = super::super::frames(file, &late).unwrap().next().unwrap().unwrap_err();
        assert_eq!(rejection.reason, Reason::TooSlow);
        assert!(rejection.detail.contains("decode_s"), "{rejection}");
    }
}
