//! Maps as 16-bit PNG, with the way back to physical units.

use crate::error::{Failure, Kind, Result};

/// A map as it lies in a report: `value = offset + scale * level`.
#[derive(Debug, Clone, PartialEq)]
pub struct Picture {
    /// PNG file, 16 bits a channel.
    pub bytes: Vec<u8>,
    /// Value of level 0, physical units.
    pub offset: f64,
    /// Physical units a level.
    pub scale: f64,
}

/// Encodes `[channels, height, width]` values (1 or 3 channels). Whole numbers that fit into 16 bits come back exactly; other
/// values are rounded to 65,536 levels between the map's own extremes, which the offset and scale undo. NaN becomes level 0.
///
/// # Errors
/// [`Kind::Internal`] for a size that does not match the values, or a number of channels PNG has no colour type for.
pub fn encode_png16(width: usize, height: usize, channels: usize, values: &[f32]) -> Result<Picture> {
    let color = match channels {
        1 => png::ColorType::Grayscale,
        3 => png::ColorType::Rgb,
        _ => return Err(Failure::new(Kind::Internal, format!("no PNG of {channels} channels"))),
    };
    if values.len() != width * height * channels || values.is_empty() {
        return Err(Failure::new(
            Kind::Internal,
            format!("{} values for {channels} x {height} x {width}", values.len()),
        ));
    }
    let (offset, scale) = levels(values);
    let plane = width * height;
    let mut bytes = Vec::with_capacity(values.len() * 2);
    for pixel in 0..plane {
        for channel in 0..channels {
            let level = (f64::from(values[channel * plane + pixel]) - offset) / scale;
            bytes.extend_from_slice(&(level.round() as u16).to_be_bytes());
        }
    }
    Ok(Picture { bytes: write(width, height, color, &bytes)?, offset, scale })
}

/// Offset and units a level: one a level for whole numbers, else the range over all levels.
fn levels(values: &[f32]) -> (f64, f64) {
    let (mut low, mut high, mut whole) = (f64::INFINITY, f64::NEG_INFINITY, true);
    for &value in values.iter().filter(|value| value.is_finite()) {
        low = low.min(f64::from(value));
        high = high.max(f64::from(value));
        whole &= value.fract() == 0.0;
    }
    if low > high {
        return (0.0, 1.0);
    }
    let range = high - low;
    if range == 0.0 || (whole && range <= 65535.0) { (low, 1.0) } else { (low, range / 65535.0) }
}

fn write(width: usize, height: usize, color: png::ColorType, bytes: &[u8]) -> Result<Vec<u8>> {
    let fail = |error: png::EncodingError| Failure::new(Kind::Internal, format!("cannot encode a map as PNG: {error}"));
    let mut out = Vec::new();
    let mut encoder = png::Encoder::new(&mut out, width as u32, height as u32);
    encoder.set_color(color);
    encoder.set_depth(png::BitDepth::Sixteen);
    encoder.set_compression(png::Compression::Fast);
    let mut writer = encoder.write_header().map_err(fail)?;
    writer.write_image_data(bytes).map_err(fail)?;
    writer.finish().map_err(fail)?;
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(bytes: &[u8]) -> Vec<u16> {
        let mut reader = png::Decoder::new(std::io::Cursor::new(bytes)).read_info().unwrap();
        let mut buffer = vec![0; reader.output_buffer_size().unwrap()];
        reader.next_frame(&mut buffer).unwrap();
        buffer.chunks(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]])).collect()
    }

    #[test]
    fn whole_numbers_come_back_exactly() {
        let values: Vec<f32> = (0..12).map(|k| 1000.0 + k as f32).collect();
        let picture = encode_png16(4, 3, 1, &values).unwrap();
        let back: Vec<f32> = decode(&picture.bytes)
            .iter()
            .map(|&level| (picture.offset + picture.scale * f64::from(level)) as f32)
            .collect();
        assert_eq!(back, values);
    }

    #[test]
    fn fractions_come_back_within_half_a_level() {
        let values: Vec<f32> = (0..12).map(|k| -0.7 + 0.013 * k as f32).collect();
        let picture = encode_png16(2, 2, 3, &values).unwrap();
        for pixel in 0..4 {
            for channel in 0..3 {
                let level = f64::from(decode(&picture.bytes)[pixel * 3 + channel]);
                let value = f64::from(values[channel * 4 + pixel]);
                assert!((picture.offset + picture.scale * level - value).abs() <= picture.scale * 0.51);
            }
        }
    }

    #[test]
    fn constant_and_blank_maps_are_pictures_too() {
        assert_eq!(encode_png16(2, 1, 1, &[5.0, 5.0]).unwrap().offset, 5.0);
        assert_eq!(encode_png16(2, 1, 1, &[f32::NAN, f32::NAN]).unwrap().scale, 1.0);
        assert!(encode_png16(2, 2, 1, &[1.0]).is_err());
    }
}
