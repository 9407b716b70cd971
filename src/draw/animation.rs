//! Pictures one after the other, for ever: animated PNG, which keeps every colour, and GIF, which has 256 a frame.

use png::{BitDepth, ColorType, Encoder};

use super::canvas::Picture;
use super::colour::{INK, MUTED};
use crate::error::{Failure, Kind, Result};

/// Encodes pictures of one size as an animated PNG, each shown for as many milliseconds as stand beside it. What knows only
/// plain PNG shows the first.
///
/// # Errors
/// [`Kind::Internal`] for no pictures, or pictures of several sizes.
pub fn apng(frames: &[(Picture, u16)]) -> Result<Vec<u8>> {
    let first = first(frames)?;
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
    write().map_err(failed)
}

/// The same as a GIF: exact for grey pictures, whose 256 levels are its palette (the ink of captions turns grey); of others
/// each frame keeps 256 colours at most. Times are rounded to hundredths of a second.
///
/// # Errors
/// [`Kind::Internal`] for no pictures, pictures of several sizes, or larger ones than a GIF can hold.
pub fn gif(frames: &[(Picture, u16)]) -> Result<Vec<u8>> {
    let first = first(frames)?;
    let (Ok(width), Ok(height)) = (u16::try_from(first.width), u16::try_from(first.height)) else {
        return Err(failed("a GIF has at most 65535 pixels a side"));
    };
    let greys: Vec<u8> = (0..=u8::MAX).flat_map(|level| [level; 3]).collect();
    let write = || -> Result<Vec<u8>, gif::EncodingError> {
        let mut encoder = gif::Encoder::new(Vec::new(), width, height, &greys)?;
        encoder.set_repeat(gif::Repeat::Infinite)?;
        for (picture, delay) in frames {
            let frame = match levels(picture) {
                Some(levels) => gif::Frame::from_indexed_pixels(width, height, levels, None),
                None => gif::Frame::from_rgb(width, height, &picture.rgb),
            };
            encoder.write_frame(&gif::Frame { delay: (delay + 5) / 10, ..frame })?;
        }
        encoder.into_inner()
    };
    write().map_err(failed)
}

/// The levels of a picture that is grey but for the ink of its captions.
fn levels(picture: &Picture) -> Option<Vec<u8>> {
    let ink = [INK, MUTED];
    let is_grey = |rgb: &[u8]| rgb[0] == rgb[1] && rgb[1] == rgb[2];
    let level = |rgb: &[u8]| (is_grey(rgb) || ink.iter().any(|ink| ink == rgb)).then_some(rgb[1]);
    picture.rgb.chunks_exact(3).map(level).collect()
}

/// The first picture, where all are of its size.
fn first(frames: &[(Picture, u16)]) -> Result<&Picture> {
    let Some((first, _)) = frames.first() else { return Err(failed("it has no pictures")) };
    let size = |picture: &Picture| (picture.width, picture.height);
    if frames.iter().any(|(picture, _)| size(picture) != size(first)) {
        return Err(failed("its pictures are of several sizes"));
    }
    Ok(first)
}

fn failed(why: impl std::fmt::Display) -> Failure {
    Failure::new(Kind::Internal, format!("cannot encode an animation: {why}"))
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
        for encode in [apng, gif] {
            assert!(encode(&[]).is_err());
            assert!(encode(&[(plain(BLUE), 1), (Picture::new(2, 2), 1)]).is_err());
        }
        let wide = Picture { width: 70_000, height: 1, rgb: vec![0; 210_000] };
        assert!(gif(&[(wide, 1)]).unwrap_err().message.contains("65535"));
    }

    /// The frames of a GIF as RGB, and its delays in hundredths of a second.
    fn read(bytes: &[u8]) -> Vec<(Vec<u8>, u16)> {
        let mut options = gif::DecodeOptions::new();
        options.set_color_output(gif::ColorOutput::RGBA);
        let mut decoder = options.read_info(bytes).unwrap();
        let mut frames = Vec::new();
        while let Some(frame) = decoder.read_next_frame().unwrap() {
            let rgb = frame.buffer.chunks_exact(4).flat_map(|pixel| pixel[..3].to_vec()).collect();
            frames.push((rgb, frame.delay));
        }
        assert_eq!(decoder.repeat(), gif::Repeat::Infinite);
        frames
    }

    #[test]
    fn a_gif_keeps_every_grey_level_beside_captions() {
        let mut picture = Picture { width: 256, height: 2, rgb: Vec::new() };
        picture.rgb = (0..=255).flat_map(|level| [level; 3]).chain(INK.repeat(128)).chain(MUTED.repeat(128)).collect();
        let frames = read(&gif(&[(picture.clone(), 120), (picture.clone(), 900)]).unwrap());
        assert_eq!(frames.iter().map(|frame| frame.1).collect::<Vec<_>>(), [12, 90]);
        let grey = |rgb: &[u8]| [rgb[1]; 3];
        let wanted: Vec<u8> = picture.rgb.chunks(3).flat_map(grey).collect();
        assert!(frames.iter().all(|frame| frame.0 == wanted));
    }

    #[test]
    fn a_gif_of_few_colours_keeps_them_and_of_many_comes_close() {
        let frames = read(&gif(&[(plain(BLUE), 10), (plain([250, 0, 9]), 10)]).unwrap());
        assert_eq!((&frames[0].0[..3], &frames[1].0[..3]), (&BLUE[..], &[250, 0, 9][..]));
        let rgb: Vec<u8> = (0..64u8).flat_map(|y| (0..64u8).flat_map(move |x| [4 * x, 4 * y, 128])).collect();
        let back = &read(&gif(&[(Picture { width: 64, height: 64, rgb: rgb.clone() }, 10)]).unwrap())[0].0;
        let off = rgb.iter().zip(back).map(|(a, b)| f64::from(a.abs_diff(*b))).sum::<f64>() / rgb.len() as f64;
        assert!(off > 0.0 && off < 12.0, "{off}");
    }
}
