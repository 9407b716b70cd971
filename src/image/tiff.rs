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
use super::{Frame, Limits, Reason, Rejection, check_plausible, guard, jpeg};

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
        // The next page has a decoder of its own, so that a panic is a fault of this one alone.
        let layout = guard::guarded(|| decoder.read_image_to_buffer(&mut decoded).map_err(rejection))?;
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
        if layout.planes > 1 && self.tiles_reach_over(&shape)? {
            return Err(Rejection::unsupported("a plane a sample, in tiles that reach over the page's edge"));
        }
        self.limits.check_frame(shape.width, shape.height, shape.samples.max(shape.channels))?;
        let packed = shape.width * shape.height * shape.samples * usize::from(shape.bits) / 8;
        check_plausible(packed, self.bytes.all().len(), RATIO)?;
        let jpeg = self.check_jpeg(shape.samples)?;
        let bytes = layout.complete_len + shape.bytes() + 4 * layout.row_stride.map_or(0, |stride| stride.get());
        self.shape = Some(shape);
        Ok((bytes + BUFFER_BYTES) as u64 + jpeg)
    }

    /// Whether the last tiles hold more than the page; the decoder knows their padding in the first plane alone.
    fn tiles_reach_over(&self, shape: &Shape) -> Result<bool, Rejection> {
        let decoder = self.decoder.as_ref().ok_or_else(no_page)?;
        let (width, height) = decoder.chunk_dimensions();
        let is_whole = |side: usize, tile: u32| side.is_multiple_of(tile as usize);
        let tiled = matches!(decoder.get_chunk_type(), ChunkType::Tile);
        Ok(tiled && !(is_whole(shape.width, width) && is_whole(shape.height, height)))
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
        // Any number of them may lie over one another.
        for (offset, length) in offsets.into_iter().zip(lengths) {
            self.bytes.check_time().map_err(Rejection::corrupt)?;
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
mod tests;
