//! FITS: every plane of every image HDU is a frame, tile-compressed images included, in physical units as astropy gives
//! them (BSCALE and BZERO applied in its precision, BLANK to NaN). Tables and one-dimensional arrays are passed over; an
//! HDU or plane that cannot be read is refused in its place.

use std::io::ErrorKind;
use std::sync::atomic::Ordering;

use fits_well::image::{SampleType, Scaling, View};
use fits_well::io::BLOCK_SIZE;
use fits_well::{FitsError, FitsReader};

use super::bytes::Bytes;
use super::deadline::Deadline;
use super::fits_image::Image;
use super::frames::Decoder;
use super::{Frame, Limits, Reason, Rejection, fits_gzip};

/// Bytes that all headers of a file may take: parsed, a card takes several times its 80 bytes.
const HEADER_BYTES: u64 = 32 << 20;
/// What a byte of a header takes in memory, and an HDU beside.
const HEADER_FACTOR: u64 = 8;

pub(super) type Reader = fits_well::io::StreamReader<Bytes>;

/// Opens the file; its planes are decoded one at a time. `hold` is told what the file holds in memory meanwhile.
pub(super) fn open(
    bytes: Vec<u8>,
    limits: Limits,
    deadline: Deadline,
    hold: &mut dyn FnMut(u64),
) -> Result<impl Decoder + use<>, Rejection> {
    let stored = bytes.len();
    // The reader takes less than a block at the end for padding, whatever it says.
    let cut = bytes.as_chunks::<BLOCK_SIZE>().1.starts_with(b"XTENSION");
    let (reader, headers) = read_headers(Bytes::new(bytes, deadline.clone())).map_err(rejection)?;
    let headers = headers * HEADER_FACTOR;
    // Limits come first: the second look below decodes a tile of each compressed image.
    let sound: Vec<Image> = images(&reader, &limits, stored).into_iter().flatten().collect();
    let mut may_decode = |image: &Image, tiles: Option<&[usize]>, bytes: u64| {
        deadline.check()?;
        let is_sound = image.check_tiles(tiles, &limits, stored).is_ok();
        if is_sound {
            deadline.pause(|| hold(stored as u64 + headers + bytes));
        }
        Ok(is_sound)
    };
    let reader = fits_gzip::widen(reader, &sound, &mut may_decode).map_err(rejection)?;
    let images = images(&reader, &limits, stored);
    let cut = cut.then(|| Rejection::truncated("ends within the header of its last HDU"));
    let defect = reader.scan_defect().map(said).or(cut);
    if images.is_empty() {
        let none = || Rejection::new(Reason::NoImage, "no HDU holds an image of two or more axes");
        return Err(defect.unwrap_or_else(none));
    }
    let planes = images.iter().map(|image| image.as_ref().map_or(1, |image| image.planes));
    limits.check_frames(planes.fold(0, usize::saturating_add))?;
    let images = images.into_iter().chain(defect.map(Err)).collect::<Vec<_>>().into_iter();
    Ok(Planes { reader, images, image: None, limits, stored, words: Vec::new(), headers, kept: 0 })
}

/// Looks at every header, and at no more bytes than they may take; how many they are.
pub(super) fn read_headers(bytes: Bytes) -> Result<(Reader, u64), FitsError> {
    let allowance = bytes.allowance();
    allowance.store(HEADER_BYTES, Ordering::Relaxed);
    let reader = FitsReader::open(bytes)?;
    let left = allowance.swap(u64::MAX, Ordering::Relaxed);
    Ok((reader, HEADER_BYTES - left))
}

/// The image HDUs in the file's order; one that cannot be read is refused in its place.
fn images(reader: &Reader, limits: &Limits, stored: usize) -> Vec<Result<Image, Rejection>> {
    let primary = &reader.hdus()[0].header;
    reader.images().filter_map(|hdu| Image::of(hdu, primary, limits, stored).transpose()).collect()
}

struct Planes {
    reader: Reader,
    /// The image HDUs still to come, and last whatever ended the list of HDUs early.
    images: std::vec::IntoIter<Result<Image, Rejection>>,
    /// The image under way, and its next plane.
    image: Option<(Image, usize)>,
    limits: Limits,
    stored: usize,
    /// Stored samples of a plane, kept for its allocation.
    words: Vec<u64>,
    /// Bytes of the headers in memory.
    headers: u64,
    /// Bytes of the reader's indices and buffers in memory.
    kept: u64,
}

impl Decoder for Planes {
    fn advance(&mut self) -> Option<Result<u64, Rejection>> {
        if self.image.as_ref().is_none_or(|(image, plane)| *plane == image.planes) {
            self.image = match self.images.next()? {
                Ok(image) => Some((image, 0)),
                Err(rejection) => return Some(Err(rejection)),
            };
        }
        let bytes = self.measure();
        if bytes.is_err() {
            // An HDU that cannot be opened is one refusal, however many planes it declares.
            self.image = None;
        }
        Some(bytes)
    }

    fn frame(&mut self) -> Result<Frame, Rejection> {
        let (image, plane) = self.image.as_mut().ok_or_else(|| Rejection::corrupt("no image"))?;
        let section = image.section(*plane);
        *plane += 1;
        let mut handle = self.reader.image(image.hdu).map_err(rejection)?;
        let view = handle.view(section.as_slice(), &mut self.words).map_err(rejection)?;
        let pixels = physical(view.samples(), view.scaling(), view.sample_type());
        Ok(Frame {
            index: 0,
            width: image.shape[0],
            height: image.shape[1],
            channels: 1,
            pixels,
            depth: image.depth,
            observed_at: image.observed_at,
            exposure_s: image.exposure_s,
        })
    }

    fn held(&self) -> u64 {
        self.headers + self.kept + (self.words.capacity() * size_of::<u64>()) as u64
    }
}

impl Planes {
    /// What the next plane takes in memory: the reader's share, its stored samples, the frame.
    fn measure(&mut self) -> Result<u64, Rejection> {
        let (image, plane) = self.image.as_ref().ok_or_else(|| Rejection::corrupt("no image"))?;
        let handle = self.reader.image(image.hdu).map_err(rejection)?;
        image.check_tiles(handle.tiles(), &self.limits, self.stored)?;
        let section = image.section(*plane);
        let view = handle.view_bytes([section.as_slice().into()]).map_err(rejection)?;
        let area = image.shape[0] * image.shape[1];
        let stored = (area * image.sample_bytes()).next_multiple_of(size_of::<u64>());
        if self.words.capacity() * size_of::<u64>() < stored {
            self.words = Vec::new();
        }
        let bytes = view.kept + view.handle + (stored + area * size_of::<f32>()) as u64;
        self.kept = self.kept.max(view.kept);
        Ok(bytes)
    }
}

/// Stored samples to physical units. Integers of up to 16 bits are scaled in f32, wider ones in f64, and the unsigned
/// convention is exact: what astropy does, so that the same file gives the same bits.
fn physical(samples: View<'_>, scaling: Scaling, kind: SampleType) -> Vec<f32> {
    let Scaling { bscale, bzero, blank } = scaling;
    let (scale32, zero32) = (bscale as f32, bzero as f32);
    let narrow = |value: f32| value * scale32 + zero32;
    let wide = |value: f64| (value * bscale + bzero) as f32;
    let plain = scaling.is_identity();
    let blanked = |stored: i64, value: f32| if blank == Some(stored) { f32::NAN } else { value };
    match samples {
        View::U8(values) => values.iter().map(|&v| blanked(v.into(), narrow(v.into()))).collect(),
        View::I16(values) => values.iter().map(|&v| blanked(v.into(), narrow(v.into()))).collect(),
        View::I32(values) => values.iter().map(|&v| blanked(v.into(), wide(v.into()))).collect(),
        View::I64(values) if kind == SampleType::U64 => {
            values.iter().map(|&v| blanked(v, (v as u64 ^ 1 << 63) as f32)).collect()
        }
        View::I64(values) if plain => values.iter().map(|&v| blanked(v, v as f32)).collect(),
        View::I64(values) => values.iter().map(|&v| blanked(v, wide(v as f64))).collect(),
        View::F32(values) if plain => values.to_vec(),
        View::F32(values) => values.iter().map(|&v| narrow(v)).collect(),
        View::F64(values) => values.iter().map(|&v| wide(v)).collect(),
    }
}

/// The reason of a rejection by a reader's error.
pub(super) fn rejection(error: FitsError) -> Rejection {
    said(&error)
}

fn said(error: &FitsError) -> Rejection {
    match error {
        FitsError::UnexpectedEof | FitsError::MissingEnd => Rejection::truncated(error),
        FitsError::Io(error) if error.kind() == ErrorKind::UnexpectedEof => Rejection::truncated(error),
        FitsError::Io(error) if error.kind() == ErrorKind::FileTooLarge => {
            Rejection::new(Reason::TooLarge, format!("its headers take more than {HEADER_BYTES} bytes"))
        }
        FitsError::UnsupportedCompression { .. } | FitsError::ImageHasGroups => Rejection::unsupported(error),
        error => Rejection::corrupt(error),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    /// An HDU of these cards and data, padded to blocks.
    fn hdu(cards: &[&str], data: &[u8]) -> Vec<u8> {
        let mut block: Vec<u8> =
            cards.iter().chain(&["END"]).flat_map(|card| format!("{card:80}").into_bytes()).collect();
        block.resize(block.len().next_multiple_of(2880), b' ');
        block.extend(data);
        block.resize(block.len().next_multiple_of(2880), 0);
        block
    }

    fn card(key: &str, value: impl std::fmt::Display) -> String {
        format!("{key:8}= {value:>20}")
    }

    /// An image extension of bytes.
    fn image(axes: &[usize], data: &[u8]) -> Vec<u8> {
        let mut cards = vec![card("XTENSION", "'IMAGE   '"), card("BITPIX", 8), card("NAXIS", axes.len())];
        cards.extend(axes.iter().enumerate().map(|(at, axis)| card(&format!("NAXIS{}", at + 1), axis)));
        cards.extend([card("PCOUNT", 0), card("GCOUNT", 1)]);
        hdu(&cards.iter().map(String::as_str).collect::<Vec<_>>(), data)
    }

    fn file(extensions: &[Vec<u8>]) -> Vec<u8> {
        let primary = [card("SIMPLE", "T"), card("BITPIX", 8), card("NAXIS", 0)];
        let primary = hdu(&primary.iter().map(String::as_str).collect::<Vec<_>>(), &[]);
        [vec![primary], extensions.to_vec()].concat().concat()
    }

    /// The first pixel of each frame that is read, the reason of each that is not.
    fn outcome(file: Vec<u8>, limits: &Limits) -> Vec<Result<f32, Reason>> {
        let frames = super::super::frames(file, limits).unwrap().enumerate();
        let frames = frames.map(|(place, frame)| {
            let frame = frame.map_err(|rejection| rejection.reason)?;
            assert_eq!(frame.index, place);
            Ok(frame.pixels[0])
        });
        frames.collect()
    }

    #[test]
    fn an_hdu_that_cannot_be_read_is_refused_in_its_place() {
        let limits = Limits { frame_pixels: 4, ..Limits::default() };
        let file = file(&[image(&[2, 1], &[5, 0]), image(&[5, 1], &[0; 5]), image(&[2, 1, 2], &[6, 0, 7, 0])]);
        assert_eq!(outcome(file, &limits), [Ok(5.0), Err(Reason::TooLarge), Ok(6.0), Ok(7.0)]);
    }

    #[test]
    fn a_cut_in_a_later_hdu_is_said_after_the_frames_before_it() {
        let whole = file(&[image(&[2, 1], &[5, 0]), image(&[2, 1], &[6, 0])]);
        let in_header = whole[..whole.len() - 2880 - 1000].to_vec();
        assert_eq!(outcome(in_header, &Limits::default()), [Ok(5.0), Err(Reason::Truncated)]);
        let in_data = whole[..whole.len() - 2880].to_vec();
        assert_eq!(outcome(in_data, &Limits::default()), [Ok(5.0), Err(Reason::Truncated)]);
    }

    /// An image of 16 bits, as deep as it is said, in one tile of GZIP_1 that holds these bytes.
    fn tiled(planes: usize, content: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        encoder.write_all(content).unwrap();
        let tile = encoder.finish().unwrap();
        let table = [("XTENSION", "'BINTABLE'".to_string()), ("BITPIX", "8".into()), ("NAXIS", "2".into())];
        let rows = [("NAXIS1", "8".to_string()), ("NAXIS2", "1".into()), ("PCOUNT", tile.len().to_string())];
        let column = [("GCOUNT", "1"), ("TFIELDS", "1"), ("TTYPE1", "'COMPRESSED_DATA'"), ("TFORM1", "'1PB(9999999)'")];
        let image = [("ZIMAGE", "T"), ("ZCMPTYPE", "'GZIP_1'"), ("ZBITPIX", "16"), ("ZNAXIS", "3")];
        let mut cards: Vec<String> = table.iter().chain(&rows).map(|(key, value)| card(key, value)).collect();
        cards.extend(column.iter().chain(&image).map(|(key, value)| card(key, value)));
        for (axis, side) in [1024, 1024, planes].iter().enumerate() {
            cards.push(card(&format!("ZNAXIS{}", axis + 1), side));
            cards.push(card(&format!("ZTILE{}", axis + 1), side));
        }
        let descriptor = [(tile.len() as u32).to_be_bytes(), [0; 4]].concat();
        let cards: Vec<&str> = cards.iter().map(String::as_str).collect();
        file(&[hdu(&cards, &[descriptor, tile].concat())])
    }

    #[test]
    fn a_tile_over_the_limit_is_not_decoded_to_look_at_it_and_memory_is_told_for_others() {
        let limits = Limits { frame_pixels: 1 << 20, ..Limits::default() };
        let held = |file: &[u8]| {
            let mut most = 0;
            let opened = super::super::open_within(file.to_vec(), &limits, &mut |bytes| most = most.max(bytes));
            (most, opened.unwrap().frames.next().unwrap().map(|frame| frame.pixels[0]).map_err(|it| it.reason))
        };
        let deep = tiled(2, &vec![0; 4 << 20]);
        assert_eq!(held(&deep), (deep.len() as u64, Err(Reason::TooLarge)));
        // Old writers': 32 bits in place of 16.
        let wide = tiled(1, &7u32.to_be_bytes().repeat(1 << 20));
        let (most, pixel) = held(&wide);
        assert_eq!(pixel, Ok(7.0));
        assert!(most > wide.len() as u64 + (2 << 20), "{most} bytes");
    }

    #[test]
    fn headers_without_end_are_refused_before_they_fill_the_memory() {
        let mut endless = file(&[]);
        endless.truncate(160);
        endless.resize(HEADER_BYTES as usize + 2880, b' ');
        assert_eq!(super::super::open(endless, &Limits::default()).err().unwrap().reason, Reason::TooLarge);
    }
}
