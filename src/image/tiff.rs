//! TIFF and BigTIFF: a frame a page; integers of 1 to 64 bits and floats as stored, white-is-zero inverted within the
//! samples' range, palettes expanded to RGB, alpha dropped. Reduced-size copies and masks of another page are skipped.

use std::io::{Cursor, ErrorKind};

use chrono::{DateTime, NaiveDateTime, Utc};
use tiff::decoder::{Decoder, DecodingResult};
use tiff::tags::Tag;
use tiff::{ColorType, TiffError};

use super::{Depth, Frame, Frames, Limits, Reason, Rejection, bits, check_plausible};

/// More than LZW and deflate reach, and what blank fax pages do.
const RATIO: usize = 1 << 14;

/// Opens the file; its pages are decoded one at a time.
pub(super) fn open(bytes: Vec<u8>, limits: Limits) -> Result<Frames, Rejection> {
    let stored = bytes.len();
    let mut allowed = tiff::decoder::Limits::default();
    allowed.decoding_buffer_size = usize::try_from(limits.frame_pixels).unwrap_or(usize::MAX).saturating_mul(8);
    allowed.ifd_value_size = stored.clamp(1 << 20, 16 << 20);
    let decoder = Decoder::new(Cursor::new(bytes)).map_err(rejection)?.with_limits(allowed);
    Ok(Box::new(Pages { decoder, limits, stored, page: 0, index: 0 }))
}

struct Pages {
    decoder: Decoder<Cursor<Vec<u8>>>,
    limits: Limits,
    stored: usize,
    /// Pages passed.
    page: usize,
    /// Frames given.
    index: usize,
}

impl Iterator for Pages {
    type Item = Result<Frame, Rejection>;

    fn next(&mut self) -> Option<Self::Item> {
        self.step().transpose()
    }
}

impl Pages {
    fn step(&mut self) -> Result<Option<Frame>, Rejection> {
        loop {
            if self.page > 0 {
                if !self.decoder.more_images() {
                    return Ok(None);
                }
                self.decoder.next_image().map_err(rejection)?;
            }
            self.page += 1;
            self.limits.check_frames(self.page)?;
            if self.page == 1 || !self.is_auxiliary()? {
                let frame = self.frame()?;
                self.index += 1;
                return Ok(Some(frame));
            }
        }
    }

    /// A thumbnail or a transparency mask (bits 0 and 2 of NewSubfileType).
    fn is_auxiliary(&mut self) -> Result<bool, Rejection> {
        let kind = self.decoder.find_tag_unsigned::<u32>(Tag::NewSubfileType).map_err(rejection)?;
        Ok(kind.unwrap_or(0) & 0b101 != 0)
    }

    /// Whether the one extra sample is alpha (ExtraSamples 1 or 2).
    fn has_alpha(&mut self) -> Result<bool, Rejection> {
        let extra = self.decoder.find_tag_unsigned_vec::<u16>(Tag::ExtraSamples).map_err(rejection)?;
        Ok(matches!(extra.as_deref(), Some([1 | 2])))
    }

    fn frame(&mut self) -> Result<Frame, Rejection> {
        let (width, height) = self.decoder.dimensions().map_err(rejection)?;
        let color = self.decoder.colortype().map_err(rejection)?;
        let mut shape = Shape::new(width as usize, height as usize, color)?;
        if matches!(color, ColorType::Multiband { .. }) && !self.has_alpha()? {
            return Err(Rejection::unsupported("a TIFF of two bands; grey and RGB are read"));
        }
        self.limits.check_frame(shape.width, shape.height, shape.samples.max(shape.channels))?;
        check_plausible(shape.width * shape.height * shape.samples * usize::from(shape.bits) / 8, self.stored, RATIO)?;
        let mut decoded = DecodingResult::U8(Vec::new());
        let layout = self.decoder.read_image_to_buffer(&mut decoded).map_err(rejection)?;
        shape.planar = layout.planes > 1;
        if decoded.as_buffer(0).as_bytes().len() < layout.complete_len {
            return Err(Rejection::new(Reason::TooLarge, "its planes together are over the limit (frame_pixels)"));
        }
        let row_bytes = layout.row_stride.map_or(0, |stride| stride.get());
        let (pixels, depth) = self.values(&shape, decoded, row_bytes)?;
        Ok(Frame {
            index: self.index,
            width: shape.width,
            height: shape.height,
            channels: shape.channels,
            pixels,
            depth,
            observed_at: self.observed_at(),
            exposure_s: None,
        })
    }

    fn values(
        &mut self,
        shape: &Shape,
        decoded: DecodingResult,
        row_bytes: usize,
    ) -> Result<(Vec<f32>, Depth), Rejection> {
        if let ColorType::Palette(_) = shape.color {
            let map = self.decoder.get_tag_u16_vec(Tag::ColorMap).map_err(rejection)?;
            return Ok((shape.look_up(&shape.packed(&decoded, row_bytes)?, &map)?, Depth::Unsigned(16)));
        }
        let bits = shape.bits;
        if !matches!(bits, 8 | 16 | 32 | 64) {
            return Ok((shape.planes(&shape.packed(&decoded, row_bytes)?, f32::from)?, Depth::Unsigned(bits)));
        }
        Ok(match decoded {
            DecodingResult::U8(values) => (shape.planes(&values, f32::from)?, Depth::Unsigned(bits)),
            DecodingResult::U16(values) => (shape.planes(&values, f32::from)?, Depth::Unsigned(bits)),
            DecodingResult::U32(values) => (shape.planes(&values, |value| value as f32)?, Depth::Unsigned(bits)),
            DecodingResult::U64(values) => (shape.planes(&values, |value| value as f32)?, Depth::Unsigned(bits)),
            DecodingResult::I8(values) => (shape.planes(&values, f32::from)?, Depth::Signed(bits)),
            DecodingResult::I16(values) => (shape.planes(&values, f32::from)?, Depth::Signed(bits)),
            DecodingResult::I32(values) => (shape.planes(&values, |value| value as f32)?, Depth::Signed(bits)),
            DecodingResult::I64(values) => (shape.planes(&values, |value| value as f32)?, Depth::Signed(bits)),
            DecodingResult::F16(values) => (shape.planes(&values, |value| value.to_f32())?, Depth::Float(bits)),
            DecodingResult::F32(values) => (shape.planes(&values, |value| value)?, Depth::Float(bits)),
            DecodingResult::F64(values) => (shape.planes(&values, |value| value as f32)?, Depth::Float(bits)),
        })
    }

    /// The DateTime tag; it carries no time zone and is taken as UTC.
    fn observed_at(&mut self) -> Option<DateTime<Utc>> {
        let text = self.decoder.get_tag_ascii_string(Tag::DateTime).ok()?;
        NaiveDateTime::parse_from_str(text.trim(), "%Y:%m:%d %H:%M:%S").ok().map(|time| time.and_utc())
    }
}

struct Shape {
    width: usize,
    height: usize,
    color: ColorType,
    bits: u8,
    /// Samples a pixel as stored, alpha included.
    samples: usize,
    /// Channels of the frame.
    channels: usize,
    /// Whether each sample has a plane of its own.
    planar: bool,
}

impl Shape {
    fn new(width: usize, height: usize, color: ColorType) -> Result<Self, Rejection> {
        let (bits, samples, channels) = match color {
            ColorType::Gray(bits) => (bits, 1, 1),
            ColorType::GrayA(bits) => (bits, 2, 1),
            ColorType::RGB(bits) => (bits, 3, 3),
            ColorType::RGBA(bits) => (bits, 4, 3),
            ColorType::Palette(bits) => (bits, 1, 3),
            // Grey and one sample that is no colour; `frame` has made sure that it is alpha.
            ColorType::Multiband { bit_depth, num_samples: 2 } => (bit_depth, 2, 1),
            other => {
                return Err(Rejection::unsupported(format!("a TIFF of {other:?}; grey and RGB are read")));
            }
        };
        Ok(Self { width, height, color, bits, samples, channels, planar: false })
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
        let pixels = values[..area * self.samples].chunks_exact(self.samples);
        Ok((0..self.channels).flat_map(|channel| pixels.clone().map(move |pixel| pixel[channel])).map(to_f32).collect())
    }

    /// The samples of bit-packed rows.
    fn packed(&self, decoded: &DecodingResult, row_bytes: usize) -> Result<Vec<u16>, Rejection> {
        let row_samples = self.width * if self.planar { 1 } else { self.samples };
        let DecodingResult::U8(bytes) = decoded else {
            let DecodingResult::U16(values) = decoded else {
                return Err(Rejection::unsupported(format!("samples of {} bits", self.bits)));
            };
            return Ok(values.clone());
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

    /// Palette indices to RGB planes; the map holds all reds, then all greens, then all blues, 16 bits each.
    fn look_up(&self, indices: &[u16], map: &[u16]) -> Result<Vec<f32>, Rejection> {
        let (area, colors) = (self.width * self.height, map.len() / 3);
        let indices =
            indices.get(..area).ok_or_else(|| Rejection::truncated("fewer samples than the page declares"))?;
        if let Some(index) = indices.iter().find(|&&index| usize::from(index) >= colors) {
            return Err(Rejection::corrupt(format!("colour {index} of a palette of {colors}")));
        }
        let plane =
            |channel: usize| indices.iter().map(move |&index| f32::from(map[channel * colors + usize::from(index)]));
        Ok((0..3).flat_map(plane).collect())
    }
}

fn rejection(error: TiffError) -> Rejection {
    match error {
        TiffError::IoError(error) if error.kind() == ErrorKind::UnexpectedEof => Rejection::truncated(error),
        TiffError::UnsupportedError(error) => Rejection::unsupported(error),
        TiffError::LimitsExceeded => {
            Rejection::new(Reason::TooLarge, "the page needs more memory than frame_pixels allows")
        }
        error => Rejection::corrupt(error),
    }
}

#[cfg(test)]
mod tests {
    use tiff::encoder::{TiffEncoder, colortype};

    use super::*;

    #[test]
    fn pages_are_frames_at_full_depth() {
        let mut file = Cursor::new(Vec::new());
        let mut encoder = TiffEncoder::new(&mut file).unwrap();
        encoder.write_image::<colortype::Gray16>(2, 1, &[1000, 65535]).unwrap();
        encoder.write_image::<colortype::GrayI32>(2, 1, &[-70000, 7]).unwrap();
        encoder.write_image::<colortype::RGB8>(2, 1, &[1, 2, 3, 4, 5, 6]).unwrap();
        let frames: Vec<_> = open(file.into_inner(), Limits::default()).unwrap().map(Result::unwrap).collect();
        assert_eq!(frames[0].pixels, [1000.0, 65535.0]);
        assert_eq!((frames[1].index, frames[1].depth, frames[1].pixels[0]), (1, Depth::Signed(32), -70000.0));
        assert_eq!(frames[2].pixels, [1.0, 4.0, 2.0, 5.0, 3.0, 6.0]);
    }

    #[test]
    fn a_page_over_the_limit_is_refused() {
        let mut file = Cursor::new(Vec::new());
        TiffEncoder::new(&mut file).unwrap().write_image::<colortype::Gray8>(20, 20, &[0; 400]).unwrap();
        let limits = Limits { frame_pixels: 399, ..Limits::default() };
        assert_eq!(open(file.into_inner(), limits).unwrap().next().unwrap().unwrap_err().reason, Reason::TooLarge);
    }
}
