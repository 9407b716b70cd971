//! Decoded TIFF samples to the values of a frame.

use tiff::ColorType;
use tiff::decoder::DecodingResult;

use super::{Depth, Rejection, bits};

/// How a page stores its samples.
pub(super) struct Shape {
    pub(super) width: usize,
    pub(super) height: usize,
    pub(super) bits: u8,
    /// Samples a pixel as stored, alpha included.
    pub(super) samples: usize,
    /// Channels of the frame.
    pub(super) channels: usize,
    /// Whether each sample has a plane of its own.
    pub(super) planar: bool,
}

impl Shape {
    pub(super) fn new(width: usize, height: usize, color: ColorType) -> Result<Self, Rejection> {
        let (bits, samples, channels) = match color {
            ColorType::Gray(bits) => (bits, 1, 1),
            ColorType::GrayA(bits) => (bits, 2, 1),
            ColorType::RGB(bits) => (bits, 3, 3),
            ColorType::RGBA(bits) => (bits, 4, 3),
            // Grey and one sample that is no colour; `Pages` makes sure that it is alpha.
            ColorType::Multiband { bit_depth, num_samples: 2 } => (bit_depth, 2, 1),
            other => {
                return Err(Rejection::unsupported(format!("a TIFF of {other:?}; grey and RGB are read")));
            }
        };
        Ok(Self { width, height, bits, samples, channels, planar: false })
    }

    /// What unpacking and the frame take in memory, bytes.
    pub(super) fn bytes(&self) -> usize {
        let area = self.width * self.height;
        let unpacked = if matches!(self.bits, 8 | 16 | 32 | 64) { 0 } else { area * self.samples * size_of::<u16>() };
        unpacked + area * self.channels * size_of::<f32>()
    }

    /// The frame's values, and how they were stored.
    pub(super) fn values(&self, decoded: DecodingResult, row_bytes: usize) -> Result<(Vec<f32>, Depth), Rejection> {
        let bits = self.bits;
        if !matches!(bits, 8 | 16 | 32 | 64) {
            return Ok((self.planes(&self.packed(decoded, row_bytes)?, f32::from)?, Depth::Unsigned(bits)));
        }
        Ok(match decoded {
            DecodingResult::U8(values) => (self.planes(&values, f32::from)?, Depth::Unsigned(bits)),
            DecodingResult::U16(values) => (self.planes(&values, f32::from)?, Depth::Unsigned(bits)),
            DecodingResult::U32(values) => (self.planes(&values, |value| value as f32)?, Depth::Unsigned(bits)),
            DecodingResult::U64(values) => (self.planes(&values, |value| value as f32)?, Depth::Unsigned(bits)),
            DecodingResult::I8(values) => (self.planes(&values, f32::from)?, Depth::Signed(bits)),
            DecodingResult::I16(values) => (self.planes(&values, f32::from)?, Depth::Signed(bits)),
            DecodingResult::I32(values) => (self.planes(&values, |value| value as f32)?, Depth::Signed(bits)),
            DecodingResult::I64(values) => (self.planes(&values, |value| value as f32)?, Depth::Signed(bits)),
            DecodingResult::F16(values) => (self.planes(&values, |value| value.to_f32())?, Depth::Float(bits)),
            DecodingResult::F32(values) => (self.planes(&values, |value| value)?, Depth::Float(bits)),
            DecodingResult::F64(values) => (self.planes(&values, |value| value as f32)?, Depth::Float(bits)),
        })
    }

    /// Samples as decoded to `[channels, height, width]`.
    fn planes<T: Copy>(&self, values: &[T], to_f32: impl Fn(T) -> f32) -> Result<Vec<f32>, Rejection> {
        let area = self.width * self.height;
        if values.len() < area * self.samples {
            return Err(Rejection::truncated("fewer samples than the page declares"));
        }
        if self.planar || self.samples == 1 {
            return Ok(values[..area * self.channels].iter().map(|&value| to_f32(value)).collect());
        }
        let stored = values[..area * self.samples].chunks_exact(self.samples);
        let mut pixels = Vec::with_capacity(area * self.channels);
        for channel in 0..self.channels {
            pixels.extend(stored.clone().map(|pixel| to_f32(pixel[channel])));
        }
        Ok(pixels)
    }

    /// The samples of bit-packed rows.
    fn packed(&self, decoded: DecodingResult, row_bytes: usize) -> Result<Vec<u16>, Rejection> {
        let row_samples = self.width * if self.planar { 1 } else { self.samples };
        let DecodingResult::U8(bytes) = decoded else {
            let DecodingResult::U16(values) = decoded else {
                return Err(Rejection::unsupported(format!("samples of {} bits", self.bits)));
            };
            return Ok(values);
        };
        if self.bits > 16 || row_bytes < bits::row_bytes(self.bits, row_samples) {
            return Err(Rejection::unsupported(format!("samples of {} bits", self.bits)));
        }
        let mut values = Vec::with_capacity(row_samples * self.height);
        bytes
            .chunks(row_bytes)
            .for_each(|row| bits::unpack_row(row, self.bits, row_samples, |value| values.push(value)));
        Ok(values)
    }
}
