//! TIFF and BigTIFF: a frame a page; integers of 1 to 64 bits and floats as stored, white-is-zero inverted within the
//! samples' range, alpha dropped. Reduced-size copies and masks of another page are skipped; a page that cannot be read is
//! refused in its place, as long as the chain of pages can be followed.

use std::io::ErrorKind;

use chrono::{DateTime, NaiveDateTime, Utc};
use tiff::decoder::{ChunkType, DecodingResult};
use tiff::tags::{CompressionMethod, Tag};
use tiff::{ColorType, TiffError};

use super::bytes::Bytes;
use super::deadline::Deadline;
use super::frames::Decoder;
use super::tiff_chain::Chain;
use super::tiff_samples::Shape;
use super::{Frame, Limits, Reason, Rejection, check_plausible, jpeg};

/// More than LZW and deflate reach, and what blank fax pages do.
const RATIO: usize = 1 << 14;
/// The decoder's buffers of rows and packed bytes.
const BUFFER_BYTES: usize = 512 << 10;

/// Opens the file; its pages are decoded one at a time.
pub(super) fn open(bytes: Vec<u8>, limits: Limits, deadline: Deadline) -> Result<impl Decoder, Rejection> {
    let bytes = Bytes::new(bytes, deadline);
    let chain = Chain::of(bytes.all())?;
    Ok(Pages { bytes, chain, decoder: None, shape: None, limits, page: 0 })
}

struct Pages {
    bytes: Bytes,
    chain: Chain,
    /// Shows the page moved to.
    decoder: Option<tiff::decoder::Decoder<Bytes>>,
    /// How that is stored.
    shape: Option<Shape>,
    limits: Limits,
    /// Pages passed.
    page: usize,
}

impl Decoder for Pages {
    fn advance(&mut self) -> Option<Result<u64, Rejection>> {
        self.shape = None;
        loop {
            match self.next_page() {
                Ok(true) => {}
                Ok(false) => return None,
                Err(rejection) => return Some(Err(rejection)),
            }
            let first = self.page == 1;
            match self.is_auxiliary() {
                Ok(true) if !first => {}
                Ok(_) => return Some(self.measure()),
                Err(rejection) => return Some(Err(rejection)),
            }
        }
    }

    fn frame(&mut self) -> Result<Frame, Rejection> {
        let mut shape = self.shape.take().ok_or_else(no_page)?;
        let decoder = self.decoder.as_mut().ok_or_else(no_page)?;
        let mut decoded = DecodingResult::U8(Vec::new());
        let layout = decoder.read_image_to_buffer(&mut decoded).map_err(rejection)?;
        shape.planar = layout.planes > 1;
        if decoded.as_buffer(0).as_bytes().len() < layout.complete_len {
            return Err(Rejection::new(Reason::TooLarge, "its planes together are over the limit (frame_pixels)"));
        }
        let row_bytes = layout.row_stride.map_or(0, |stride| stride.get());
        let (pixels, depth) = shape.values(decoded, row_bytes)?;
        Ok(Frame {
            index: 0,
            width: shape.width,
            height: shape.height,
            channels: shape.channels,
            pixels,
            depth,
            observed_at: self.observed_at(),
            exposure_s: None,
        })
    }

    fn held(&self) -> u64 {
        self.chain.held()
    }
}

impl Pages {
    /// Moves to the next page; `false` where there is none.
    fn next_page(&mut self) -> Result<bool, Rejection> {
        self.decoder = None;
        let Some(bytes) = self.chain.follow(&self.bytes) else { return Ok(false) };
        self.page += 1;
        if let Err(rejection) = self.limits.check_frames(self.page) {
            self.chain.end();
            return Err(rejection);
        }
        let mut allowed = tiff::decoder::Limits::default();
        let samples = usize::try_from(self.limits.frame_pixels).unwrap_or(usize::MAX);
        allowed.decoding_buffer_size = samples.saturating_mul(8);
        let decoder = tiff::decoder::Decoder::new(bytes?).map_err(rejection)?;
        self.decoder = Some(decoder.with_limits(allowed));
        Ok(true)
    }

    /// A thumbnail or a transparency mask (bits 0 and 2 of NewSubfileType).
    fn is_auxiliary(&mut self) -> Result<bool, Rejection> {
        let decoder = self.decoder.as_mut().ok_or_else(no_page)?;
        let kind = decoder.find_tag_unsigned::<u32>(Tag::NewSubfileType).map_err(rejection)?;
        Ok(kind.unwrap_or(0) & 0b101 != 0)
    }

    /// Whether the one extra sample is alpha (ExtraSamples 1 or 2).
    fn has_alpha(&mut self) -> Result<bool, Rejection> {
        let decoder = self.decoder.as_mut().ok_or_else(no_page)?;
        let extra = decoder.find_tag_unsigned_vec::<u16>(Tag::ExtraSamples).map_err(rejection)?;
        Ok(matches!(extra.as_deref(), Some([1 | 2])))
    }

    /// What the page asks for, before anything is decoded.
    fn measure(&mut self) -> Result<u64, Rejection> {
        let decoder = self.decoder.as_mut().ok_or_else(no_page)?;
        let (width, height) = decoder.dimensions().map_err(rejection)?;
        let color = decoder.colortype().map_err(rejection)?;
        let layout = decoder.image_buffer_layout().map_err(rejection)?;
        let shape = Shape::new(width as usize, height as usize, color)?;
        if matches!(color, ColorType::Multiband { .. }) && !self.has_alpha()? {
            return Err(Rejection::unsupported("a TIFF of two bands; grey and RGB are read"));
        }
        self.limits.check_frame(shape.width, shape.height, shape.samples.max(shape.channels))?;
        let packed = shape.width * shape.height * shape.samples * usize::from(shape.bits) / 8;
        check_plausible(packed, self.bytes.all().len(), RATIO)?;
        let jpeg = self.check_jpeg(shape.samples)?;
        let bytes = layout.complete_len + shape.bytes() + 4 * layout.row_stride.map_or(0, |stride| stride.get());
        self.shape = Some(shape);
        Ok((bytes + BUFFER_BYTES) as u64 + jpeg)
    }

    /// Strips and tiles of JPEG are decoded whole, to whatever size they say of themselves: that must be theirs. What the
    /// largest takes in memory; 0 where nothing is JPEG.
    fn check_jpeg(&mut self, samples: usize) -> Result<u64, Rejection> {
        let decoder = self.decoder.as_mut().ok_or_else(no_page)?;
        let compression = decoder.find_tag_unsigned::<u16>(Tag::Compression).map_err(rejection)?;
        if compression != Some(CompressionMethod::ModernJPEG.to_u16()) {
            return Ok(0);
        }
        let (offsets, lengths) = match decoder.get_chunk_type() {
            ChunkType::Strip => (Tag::StripOffsets, Tag::StripByteCounts),
            ChunkType::Tile => (Tag::TileOffsets, Tag::TileByteCounts),
        };
        let offsets = decoder.get_tag_u64_vec(offsets).map_err(rejection)?;
        let lengths = decoder.get_tag_u64_vec(lengths).map_err(rejection)?;
        let tables = decoder.find_tag(Tag::JPEGTables).map_err(rejection)?;
        let tables = tables.map(|tables| tables.into_u8_vec().map_err(rejection)).transpose()?.unwrap_or_default();
        let (width, height) = decoder.chunk_dimensions();
        let place = jpeg::Place { width: width as usize, height: height as usize, components: samples };
        place.check(&tables, &self.limits)?;
        let all = self.bytes.all();
        for (offset, length) in offsets.into_iter().zip(lengths) {
            let chunk = usize::try_from(offset).ok().and_then(|offset| all.get(offset..)).unwrap_or_default();
            let length = usize::try_from(length).unwrap_or(usize::MAX).min(chunk.len());
            place.check(&chunk[..length], &self.limits)?;
        }
        Ok(place.bytes() + 2 * all.len() as u64)
    }

    /// The DateTime tag; it carries no time zone and is taken as UTC.
    fn observed_at(&mut self) -> Option<DateTime<Utc>> {
        let text = self.decoder.as_mut()?.get_tag_ascii_string(Tag::DateTime).ok()?;
        NaiveDateTime::parse_from_str(text.trim(), "%Y:%m:%d %H:%M:%S").ok().map(|time| time.and_utc())
    }
}

fn no_page() -> Rejection {
    Rejection::corrupt("no page")
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

    use std::io::Cursor;

    use super::super::Depth;
    use super::*;

    #[test]
    fn pages_are_frames_at_full_depth() {
        let mut file = Cursor::new(Vec::new());
        let mut encoder = TiffEncoder::new(&mut file).unwrap();
        encoder.write_image::<colortype::Gray16>(2, 1, &[1000, 65535]).unwrap();
        encoder.write_image::<colortype::GrayI32>(2, 1, &[-70000, 7]).unwrap();
        encoder.write_image::<colortype::RGB8>(2, 1, &[1, 2, 3, 4, 5, 6]).unwrap();
        let frames: Vec<_> =
            super::super::frames(file.into_inner(), &Limits::default()).unwrap().map(Result::unwrap).collect();
        assert_eq!(frames[0].pixels, [1000.0, 65535.0]);
        assert_eq!((frames[1].index, frames[1].depth, frames[1].pixels[0]), (1, Depth::Signed(32), -70000.0));
        assert_eq!(frames[2].pixels, [1.0, 4.0, 2.0, 5.0, 3.0, 6.0]);
    }

    #[test]
    fn a_page_over_the_limit_is_refused() {
        let mut file = Cursor::new(Vec::new());
        TiffEncoder::new(&mut file).unwrap().write_image::<colortype::Gray8>(20, 20, &[0; 400]).unwrap();
        let limits = Limits { frame_pixels: 399, ..Limits::default() };
        let mut frames = super::super::frames(file.into_inner(), &limits).unwrap();
        assert_eq!(frames.next().unwrap().unwrap_err().reason, Reason::TooLarge);
    }
    /// A little-endian file of pages of two grey pixels, each with these values and this compression; the last page is
    /// followed by the page numbered `then`.
    fn pages(pages: &[([u8; 2], u32)], then: Option<usize>) -> Vec<u8> {
        const PAGE: usize = 2 + 7 * 12 + 4;
        let place = |page: usize| (8 + page * PAGE) as u32;
        let mut file = b"II*\0".to_vec();
        file.extend(place(0).to_le_bytes());
        for (at, (_, compression)) in pages.iter().enumerate() {
            file.extend(7u16.to_le_bytes());
            let strip = place(pages.len()) + 4 * at as u32;
            let tags = [(256, 2), (257, 1), (258, 8), (259, *compression), (262, 1), (273, strip), (279, 2)];
            for (tag, value) in tags {
                file.extend(u16::to_le_bytes(tag));
                file.extend([4, 0, 1, 0, 0, 0]);
                file.extend(u32::to_le_bytes(value));
            }
            let next = if at + 1 < pages.len() { place(at + 1) } else { then.map_or(0, place) };
            file.extend(next.to_le_bytes());
        }
        pages.iter().for_each(|(values, _)| file.extend([values[0], values[1], 0, 0]));
        file
    }

    /// The first pixel of each page that is read, the reason of each that is not.
    fn outcome(file: Vec<u8>) -> Vec<Result<f32, Reason>> {
        let frames = super::super::frames(file, &Limits::default()).unwrap();
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
        let frames: Vec<_> = super::super::frames(file, &limits).unwrap().collect();
        assert_eq!(frames.len(), 3);
        assert_eq!(frames[2].as_ref().unwrap_err().reason, Reason::TooLarge);
    }

    #[test]
    fn a_jpeg_larger_than_its_strip_is_refused_before_it_is_decoded() {
        let mut file = pages(&[([0xFF, 0xD8], 7)], None);
        file.truncate(file.len() - 4);
        file.extend([0xFF, 0xC0, 0, 11, 8, 0x40, 0, 0x40, 0, 1, 0, 0x11, 0]);
        let length = 8 + 2 + 6 * 12 + 8;
        file[length] = 13;
        let rejection = super::super::frames(file, &Limits::default()).unwrap().next().unwrap().unwrap_err();
        assert!(rejection.detail.contains("16384 x 16384"), "{rejection}");
    }

    #[test]
    fn tags_of_more_values_than_the_file_can_hold_are_refused_unread() {
        let mut file = pages(&[([5, 0], 1), ([6, 0], 1)], None);
        // The first page's compression, as 200 million characters.
        file[10 + 3 * 12 + 2..10 + 3 * 12 + 8].copy_from_slice(&[2, 0, 0, 0xC2, 0xEB, 0x0B]);
        assert_eq!(outcome(file), [Err(Reason::Corrupt), Ok(6.0)]);
    }
}
