//! Animated PNG: pictures one after the other, for ever; what does not know it shows the first.

use png::{BitDepth, ColorType, Encoder};

use super::canvas::Picture;
use crate::error::{Failure, Kind, Result};

/// Encodes pictures of one size as an animated PNG, each shown for as many milliseconds as stand beside it.
///
/// # Errors
/// [`Kind::Internal`] for no pictures, or pictures of several sizes.
pub fn apng(frames: &[(Picture, u16)]) -> Result<Vec<u8>> {
    let Some((first, _)) = frames.first() else {
        return Err(Failure::new(Kind::Internal, "an animation without pictures"));
    };
    if frames.iter().any(|(picture, _)| (picture.width, picture.height) != (first.width, first.height)) {
        return Err(Failure::new(Kind::Internal, "an animation of pictures of several sizes"));
    }
    let write = || -> Result<Vec<u8>, png::EncodingError> {
        let mut bytes = Vec::new();
        let mut encoder = Encoder::new(&mut bytes, first.width as u32, first.height as u32);
        encoder.set_color(ColorType::Rgb);
        encoder.set_depth(BitDepth::Eight);
        encoder.set_animated(frames.len() as u32, 0)?;
        let mut writer = encoder.write_header()?;
        for (picture, delay) in frames {
            writer.set_frame_delay(*delay, 1000)?;
            writer.write_image_data(&picture.rgb)?;
        }
        writer.finish()?;
        Ok(bytes)
    };
    write().map_err(|error| Failure::new(Kind::Internal, format!("cannot encode an animation: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::draw::colour::{BLUE, Rgb};

    fn plain(colour: Rgb) -> Picture {
        Picture { width: 3, height: 2, rgb: colour.repeat(6) }
    }

    #[test]
    fn every_frame_comes_back_with_its_delay() {
        let colours = [BLUE, [1, 2, 3], [250, 0, 9]];
        let frames: Vec<(Picture, u16)> = colours.iter().map(|&colour| (plain(colour), 120)).collect();
        let bytes = apng(&frames).unwrap();
        let mut reader = png::Decoder::new(std::io::Cursor::new(&bytes)).read_info().unwrap();
        let control = *reader.info().animation_control().unwrap();
        assert_eq!((control.num_frames, control.num_plays), (3, 0));
        for colour in colours {
            let mut raw = vec![0; reader.output_buffer_size().unwrap()];
            reader.next_frame(&mut raw).unwrap();
            assert_eq!(raw[..3], colour);
            assert_eq!(reader.info().frame_control().unwrap().delay_num, 120);
        }
        assert!(reader.next_frame(&mut [0; 18]).is_err(), "no fourth");
    }

    #[test]
    fn nothing_and_several_sizes_are_refused() {
        assert!(apng(&[]).is_err());
        assert!(apng(&[(plain(BLUE), 1), (Picture::new(2, 2), 1)]).is_err());
    }
}
