//! Files of a few pages, made here.

use std::io::Cursor;

use tiff::encoder::{TiffEncoder, colortype};

use super::*;
use crate::image::Depth;

#[test]
fn pages_are_frames_at_full_depth() {
    let mut file = Cursor::new(Vec::new());
    let mut encoder = TiffEncoder::new(&mut file).unwrap();
    encoder.write_image::<colortype::Gray16>(2, 1, &[1000, 65535]).unwrap();
    encoder.write_image::<colortype::GrayI32>(2, 1, &[-70000, 7]).unwrap();
    encoder.write_image::<colortype::RGB8>(2, 1, &[1, 2, 3, 4, 5, 6]).unwrap();
    let frames: Vec<_> =
        crate::image::frames(file.into_inner(), &Limits::default()).unwrap().map(Result::unwrap).collect();
    assert_eq!(frames[0].pixels, [1000.0, 65535.0]);
    assert_eq!((frames[1].index, frames[1].depth, frames[1].pixels[0]), (1, Depth::Signed(32), -70000.0));
    assert_eq!(frames[2].pixels, [1.0, 4.0, 2.0, 5.0, 3.0, 6.0]);
}

#[test]
fn a_page_over_the_limit_is_refused() {
    let mut file = Cursor::new(Vec::new());
    TiffEncoder::new(&mut file).unwrap().write_image::<colortype::Gray8>(20, 20, &[0; 400]).unwrap();
    let limits = Limits { frame_pixels: 399, ..Limits::default() };
    let mut frames = crate::image::frames(file.into_inner(), &limits).unwrap();
    assert_eq!(frames.next().unwrap().unwrap_err().reason, Reason::TooLarge);
}

/// A little-endian file of pages of these tags (name, values, value), one after the other; the last is followed by the
/// page numbered `then`. An offset is one into `data`, which comes last.
fn file(pages: &[Vec<(u16, u32, u32)>], data: &[u8], then: Option<usize>) -> Vec<u8> {
    let lengths = pages.iter().map(|tags| (2 + 12 * tags.len() + 4) as u32);
    let places: Vec<u32> = std::iter::once(8)
        .chain(lengths)
        .scan(0, |at, length| {
            *at += length;
            Some(*at)
        })
        .collect();
    let mut file = b"II*\0\x08\0\0\0".to_vec();
    for (at, tags) in pages.iter().enumerate() {
        file.extend((tags.len() as u16).to_le_bytes());
        for &(tag, values, value) in tags {
            let offset = if matches!(tag, 273 | 324 | 325) { places[pages.len()] } else { 0 };
            file.extend(tag.to_le_bytes());
            file.extend([4, 0]);
            file.extend(values.to_le_bytes());
            file.extend((value + offset).to_le_bytes());
        }
        let next = if at + 1 < pages.len() { Some(at + 1) } else { then };
        file.extend(next.map_or(0, |page| places[page]).to_le_bytes());
    }
    file.extend(data);
    file
}

/// Pages of two grey pixels, each with these values and this compression.
fn pages(pages: &[([u8; 2], u32)], then: Option<usize>) -> Vec<u8> {
    let page = |(at, (_, compression)): (usize, &([u8; 2], u32))| {
        let tags = [(256, 2), (257, 1), (258, 8), (259, *compression), (262, 1), (273, 2 * at as u32), (279, 2)];
        tags.map(|(tag, value)| (tag, 1, value)).to_vec()
    };
    let data: Vec<u8> = pages.iter().flat_map(|(values, _)| *values).collect();
    file(&pages.iter().enumerate().map(page).collect::<Vec<_>>(), &data, then)
}

/// The first pixel of each page that is read, the reason of each that is not.
fn outcome(file: Vec<u8>) -> Vec<Result<f32, Reason>> {
    let frames = crate::image::frames(file, &Limits::default()).unwrap();
    let frames = frames.enumerate().map(|(place, frame)| {
        let frame = frame.map_err(|rejection| rejection.reason)?;
        assert_eq!(frame.index, place);
        Ok(frame.pixels[0])
    });
    frames.collect()
}

/// ZSTD, which is not read.
const ZSTD: u32 = 50_000;

#[test]
fn a_page_that_cannot_be_read_is_refused_in_its_place() {
    let bad = Err(Reason::Unsupported);
    assert_eq!(outcome(pages(&[([5, 0], 1), ([6, 0], ZSTD), ([7, 0], 1)], None)), [Ok(5.0), bad, Ok(7.0)]);
    assert_eq!(outcome(pages(&[([5, 0], ZSTD), ([6, 0], ZSTD), ([7, 0], 1)], None)), [bad, bad, Ok(7.0)]);
    // A first page so broken that the file cannot be opened at it: no width.
    let mut file = pages(&[([5, 0], 1), ([6, 0], 1)], None);
    file[10] = 1;
    assert_eq!(outcome(file), [Err(Reason::Corrupt), Ok(6.0)]);
}

#[test]
fn pages_in_a_loop_end() {
    assert_eq!(outcome(pages(&[([5, 0], 1), ([6, 0], 1)], Some(0))), [Ok(5.0), Ok(6.0), Err(Reason::Corrupt)]);
    let mut file = pages(&[([5, 0], 1), ([6, 0], 1)], Some(0));
    for page in 0..2 {
        file[10 + page * 90] = 1;
    }
    assert_eq!(outcome(file), [Err(Reason::Corrupt); 3]);
}

#[test]
fn more_pages_than_the_limit_are_one_refusal() {
    let file = pages(&[([5, 0], 1), ([6, 0], 1), ([7, 0], 1), ([8, 0], 1)], None);
    let limits = Limits { frames: 2, ..Limits::default() };
    let frames: Vec<_> = crate::image::frames(file, &limits).unwrap().collect();
    assert_eq!(frames.len(), 3);
    assert_eq!(frames[2].as_ref().unwrap_err().reason, Reason::TooLarge);
}

#[test]
fn a_jpeg_larger_than_its_strip_is_refused_before_it_is_decoded() {
    let mut file = pages(&[([0xFF, 0xD8], 7)], None);
    file.truncate(file.len() - 2);
    file.extend([0xFF, 0xC0, 0, 11, 8, 0x40, 0, 0x40, 0, 1, 0, 0x11, 0]);
    let length = 8 + 2 + 6 * 12 + 8;
    file[length] = 13;
    let rejection = crate::image::frames(file, &Limits::default()).unwrap().next().unwrap().unwrap_err();
    assert!(rejection.detail.contains("16384 x 16384"), "{rejection}");
}

/// Twenty thousand strips of JPEG, each the same mebibyte.
#[test]
fn strips_over_one_another_are_searched_for_as_long_as_a_frame_may_take() {
    const STRIPS: u32 = 20_000;
    let tags = [(256, 1, 1), (257, 1, STRIPS), (258, 1, 8), (259, 1, 7), (262, 1, 1), (278, 1, 1)];
    let strips = [(273, STRIPS, 0), (279, STRIPS, 0)];
    let mut file = file(&[[&tags[..], &strips[..]].concat()], &[], None);
    let data = file.len() as u32;
    let counts = 10 + 12 * 7 + 8;
    file[counts..counts + 4].copy_from_slice(&(data + 4 * STRIPS).to_le_bytes());
    for number in [data + 8 * STRIPS, 1 << 20] {
        file.extend(number.to_le_bytes().repeat(STRIPS as usize));
    }
    file.resize(file.len() + (1 << 20), 0);
    let limits = Limits { decode_s: 1, ..Limits::default() };
    let frames: Vec<_> = crate::image::frames(file, &limits).unwrap().collect();
    let is_slow = |rejection: &Rejection| rejection.reason == Reason::TooSlow;
    assert!(matches!(&frames[..], [Err(rejection)] if is_slow(rejection)), "{frames:?}");
}

#[test]
fn tags_of_more_values_than_the_file_can_hold_are_refused_unread() {
    let mut file = pages(&[([5, 0], 1), ([6, 0], 1)], None);
    // The first page's compression, as 200 million characters.
    file[10 + 3 * 12 + 2..10 + 3 * 12 + 8].copy_from_slice(&[2, 0, 0, 0xC2, 0xEB, 0x0B]);
    assert_eq!(outcome(file), [Err(Reason::Corrupt), Ok(6.0)]);
}

/// A tile of each plane, larger than the page, on which the decoder panics: found by fuzzing.
#[test]
fn tiles_over_the_edge_of_a_plane_are_refused_and_the_file_goes_on() {
    let tiles = [(256, 8), (257, 4), (258, 8), (259, 1), (262, 2), (277, 3), (284, 2), (322, 16), (323, 16)];
    let mut tiled: Vec<_> = tiles.iter().map(|&(tag, value)| (tag, 1, value)).collect();
    tiled.extend([(324, 3, 0), (325, 3, 12)]);
    let good = [(256, 2), (257, 1), (258, 8), (259, 1), (262, 1), (273, 24), (279, 2)];
    let good = good.iter().map(|&(tag, value)| (tag, 1, value)).collect();
    let mut data: Vec<u8> = [8, 8, 8, 256, 256, 256].iter().flat_map(|number: &u32| number.to_le_bytes()).collect();
    data.extend([9; 600]);
    assert_eq!(outcome(file(&[tiled, good], &data, None)), [Err(Reason::Unsupported), Ok(9.0)]);
}
