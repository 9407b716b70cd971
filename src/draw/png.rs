//! PNG files: 16-bit ones that keep the values of an image, 8-bit ones for people.

use std::io::Cursor;

use png::{BitDepth, ColorType, Compression, Decoder, Encoder, Limits, Transformations};

use super::Values;
use super::canvas::Picture;
use crate::error::{Failure, Kind, Result};

/// Keywords of the text chunks that make a 16-bit PNG describe itself.
const OFFSET: &str = "offset";
const SCALE: &str = "scale";
/// Most bytes a stored picture may unpack to.
const MOST_BYTES: usize = 1 << 30;

/// A 16-bit PNG and the way back to physical units: `value = offset + scale * level`.
#[derive(Debug, Clone, PartialEq)]
pub struct Png16 {
    /// The file. Its text chunks `offset` and `scale` say the same as the fields.
    pub bytes: Vec<u8>,
    /// The value of level 0.
    pub offset: f64,
    /// The value of one level.
    pub scale: f64,
}

/// Encodes `[channels, height, width]` values (grey, or RGB for three channels) at 16 bits.
///
/// Whole numbers (to the precision of f32) that span fewer than 65,536 keep `scale = 1`, so that counts come back exactly;
/// other values come back within half a level of a 65,535th of their range. A blank (NaN) becomes the lowest level. Pixels
/// missing at the end count as blank; further channels than the first, or the first three, are dropped.
pub fn png16(width: usize, height: usize, channels: usize, pixels: &[f32]) -> Png16 {
    let (offset, scale) = levels(pixels);
    let colours = if channels >= 3 { 3 } else { 1 };
    let plane = width * height;
    let mut raw = Vec::with_capacity(2 * plane * colours);
    for place in 0..plane {
        for channel in 0..colours {
            let value = pixels.get(channel * plane + place).map_or(f64::NAN, |value| f64::from(*value));
            let level = ((value - offset) / scale).round().clamp(0.0, 65535.0) as u16; // NaN casts to 0
            raw.extend_from_slice(&level.to_be_bytes());
        }
    }
    let kind = if colours == 3 { ColorType::Rgb } else { ColorType::Grayscale };
    let notes = [(OFFSET, offset.to_string()), (SCALE, scale.to_string())];
    Png16 { bytes: encode(width, height, kind, BitDepth::Sixteen, &raw, &notes), offset, scale }
}

/// A picture as an 8-bit RGB PNG.
pub fn png8(picture: &Picture) -> Vec<u8> {
    encode(picture.width, picture.height, ColorType::Rgb, BitDepth::Eight, &picture.rgb, &[])
}

/// What a PNG holds, in physical units where it says how (text chunks `offset` and `scale`), else in levels.
#[derive(Debug, Clone, PartialEq)]
pub struct Decoded {
    /// Pixels a row.
    pub width: usize,
    /// Rows.
    pub height: usize,
    /// 1 or 3.
    pub channels: usize,
    /// `[channels, height, width]`.
    pub pixels: Vec<f32>,
}

impl Decoded {
    /// The values, borrowed.
    pub fn values(&self) -> Values<'_> {
        Values { width: self.width, height: self.height, channels: self.channels, pixels: &self.pixels }
    }
}

/// Reads back what [`png16`] or [`png8`] wrote; `units`, offset and scale, where they are kept beside the file.
///
/// # Errors
/// [`Kind::Data`] when the bytes are no PNG.
pub fn decode(bytes: &[u8], units: Option<(f64, f64)>) -> Result<Decoded> {
    let wrong = |error| Failure::new(Kind::Data, format!("a stored picture is no readable PNG: {error}"));
    let mut decoder = Decoder::new_with_limits(Cursor::new(bytes), Limits { bytes: MOST_BYTES });
    decoder.set_transformations(Transformations::EXPAND);
    let mut reader = decoder.read_info().map_err(wrong)?;
    let note = |reader: &png::Reader<_>, key: &str| -> Option<f64> {
        let info: &png::Info<'_> = reader.info();
        info.uncompressed_latin1_text.iter().find(|chunk| chunk.keyword == key)?.text.parse().ok()
    };
    let noted = || note(&reader, OFFSET).zip(note(&reader, SCALE));
    let (offset, scale) = units.or_else(noted).unwrap_or((0.0, 1.0));
    let mut raw = vec![0; reader.output_buffer_size().unwrap_or(0)];
    let info = reader.next_frame(&mut raw).map_err(wrong)?;
    let (width, height, samples) = (info.width as usize, info.height as usize, info.color_type.samples());
    let step = if info.bit_depth == BitDepth::Sixteen { 2 } else { 1 };
    let channels = if samples >= 3 { 3 } else { 1 };
    let mut pixels = Vec::with_capacity(channels * width * height);
    for channel in 0..channels {
        for place in 0..width * height {
            let at = (place * samples + channel) * step;
            let level = if step == 2 { u16::from_be_bytes([raw[at], raw[at + 1]]) } else { u16::from(raw[at]) };
            pixels.push((offset + scale * f64::from(level)) as f32);
        }
    }
    Ok(Decoded { width, height, channels, pixels })
}

/// Offset and scale of the values: exact for whole numbers that fit, else their range over all levels.
fn levels(pixels: &[f32]) -> (f64, f64) {
    let finite = || pixels.iter().copied().filter(|value| value.is_finite());
    let low = f64::from(finite().fold(f32::INFINITY, f32::min));
    let high = f64::from(finite().fold(f32::NEG_INFINITY, f32::max));
    if !low.is_finite() {
        return (0.0, 1.0);
    }
    match high - low {
        0.0 => (low, 1.0),
        range if range <= 65535.5 && finite().all(|value| is_count(value, range)) => (low.round(), 1.0),
        range => (low, range / 65535.0),
    }
}

/// Whether a value is a whole number, give or take what the way to the model's units and back costs in f32: counts shall
/// leave as the counts that came.
fn is_count(value: f32, range: f64) -> bool {
    (value - value.round()).abs() <= (1e-6 * range as f32).min(1e-3) + 2e-6 * value.abs()
}

/// Writing to memory cannot fail for sizes that fit a PNG header; a picture without pixels is given one white pixel.
fn encode(
    width: usize,
    height: usize,
    kind: ColorType,
    depth: BitDepth,
    raw: &[u8],
    notes: &[(&str, String)],
) -> Vec<u8> {
    let write = |width: u32, height: u32, raw: &[u8]| -> Result<Vec<u8>, png::EncodingError> {
        let mut bytes = Vec::with_capacity(raw.len() / 2);
        let mut encoder = Encoder::new(&mut bytes, width, height);
        encoder.set_color(kind);
        encoder.set_depth(depth);
        encoder.set_compression(Compression::Fast);
        for (key, text) in notes {
            encoder.add_text_chunk((*key).to_string(), text.clone())?;
        }
        let mut writer = encoder.write_header()?;
        writer.write_image_data(raw)?;
        writer.finish()?;
        Ok(bytes)
    };
    let one = vec![255; kind.samples() * if depth == BitDepth::Sixteen { 2 } else { 1 }];
    write(width as u32, height as u32, raw).or_else(|_| write(1, 1, &one)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sixteen_bits_come_back_within_half_a_level() {
        let pixels: Vec<f32> = (0..35).map(|i| 1000.0 + 0.37 * i as f32).collect();
        let file = png16(7, 5, 1, &pixels);
        let back = decode(&file.bytes, None).unwrap();
        assert_eq!((back.width, back.height, back.channels), (7, 5, 1));
        for (was, is) in pixels.iter().zip(&back.pixels) {
            assert!(f64::from((was - is).abs()) <= 0.5 * file.scale + 1e-4, "{was} {is}");
        }
    }

    #[test]
    fn counts_come_back_exactly() {
        let pixels: Vec<f32> = (0..12).map(|i| 980.0 + (i * 5_000) as f32).collect();
        let file = png16(4, 3, 1, &pixels);
        assert_eq!((file.offset, file.scale), (980.0, 1.0));
        assert_eq!(decode(&file.bytes, None).unwrap().pixels, pixels);
        assert_eq!(decode(&file.bytes, Some((1.0, 0.5))).unwrap().pixels[1], 2501.0);
    }

    #[test]
    fn counts_survive_the_way_through_the_models_units() {
        let counts: Vec<f32> = (0..=60_000u16).step_by(7).map(f32::from).collect();
        let values: Vec<f32> = counts.iter().map(|v| 200.0 + 15.0 * ((v - 200.0) / 15.0).asinh().sinh()).collect();
        let file = png16(counts.len(), 1, 1, &values);
        assert_eq!((file.offset, file.scale), (0.0, 1.0));
        assert_eq!(decode(&file.bytes, None).unwrap().pixels, counts);
    }

    #[test]
    fn colour_keeps_its_planes_and_blanks_become_the_lowest() {
        let pixels = [1.0, 2.0, 3.0, 4.0, 5.0, f32::NAN];
        let back = decode(&png16(2, 1, 3, &pixels).bytes, None).unwrap();
        assert_eq!(back.pixels, [1.0, 2.0, 3.0, 4.0, 5.0, 1.0]);
    }

    #[test]
    fn odd_input_still_gives_a_file() {
        for (width, height, pixels) in [(0, 0, &[][..]), (2, 2, &[f32::NAN; 4]), (2, 2, &[3.5; 4]), (2, 2, &[1.0])] {
            assert!(decode(&png16(width, height, 1, pixels).bytes, None).is_ok());
        }
        assert_eq!(decode(b"no picture", None).unwrap_err().kind, Kind::Data);
    }
}
