//! FITS: every plane of every image HDU is a frame, tile-compressed images included, in physical units as astropy gives
//! them (BSCALE and BZERO applied in its precision, BLANK to NaN). Tables and one-dimensional arrays are passed over.

use std::io::{Cursor, ErrorKind};
use std::ops::Range;

use chrono::{DateTime, Utc};
use fits_well::image::{Bitpix, SampleType, Scaling, View};
use fits_well::{FitsError, FitsReader};

use super::{Depth, Frame, Frames, Limits, Reason, Rejection, check_plausible, fits_gzip, fits_header};

/// More than any of the tile codecs reaches on real pixels.
const RATIO: usize = 1 << 13;

type Reader = fits_well::io::StreamReader<Cursor<Vec<u8>>>;

/// Opens the file; its planes are decoded one at a time.
pub(super) fn open(bytes: Vec<u8>, limits: Limits) -> Result<Frames, Rejection> {
    let stored = bytes.len();
    let reader = FitsReader::open(Cursor::new(bytes)).map_err(rejection)?;
    // Limits come first: the second look below decodes a tile of each compressed image.
    Image::all(&reader, &limits)?;
    let reader = fits_gzip::widen(reader).map_err(rejection)?;
    let images = Image::all(&reader, &limits)?;
    if images.is_empty() {
        return Err(match reader.scan_defect() {
            Some(defect) => Rejection::corrupt(defect),
            None => Rejection::new(Reason::NoImage, "no HDU holds an image of two or more axes"),
        });
    }
    let frames = images.iter().fold(0usize, |sum, image| sum.saturating_add(image.planes));
    let promised = images.iter().fold(0usize, |sum, image| sum.saturating_add(image.bytes()));
    limits.check_frames(frames)?;
    check_plausible(promised, stored, RATIO)?;
    Ok(Box::new(Planes { reader, images, limits, at: 0, plane: 0, index: 0, words: Vec::new() }))
}

/// One image HDU.
struct Image {
    hdu: usize,
    /// NAXIS1, NAXIS2, ...
    shape: Vec<usize>,
    /// Product of NAXIS3 and on.
    planes: usize,
    bitpix: Bitpix,
    depth: Depth,
    observed_at: Option<DateTime<Utc>>,
    exposure_s: Option<f64>,
}

impl Image {
    fn all(reader: &Reader, limits: &Limits) -> Result<Vec<Self>, Rejection> {
        let primary = &reader.hdus()[0].header;
        let mut images = Vec::new();
        for hdu in reader.images() {
            let metadata = hdu.image_metadata().map_err(rejection)?;
            let shape = metadata.shape.to_vec();
            if shape.len() < 2 || shape.contains(&0) {
                continue;
            }
            limits.check_frame(shape[0], shape[1], 1)?;
            let headers = [&hdu.header, primary];
            images.push(Self {
                hdu: hdu.index,
                planes: shape[2..].iter().fold(1, |product: usize, &axis| product.saturating_mul(axis)),
                shape,
                bitpix: metadata.bitpix,
                depth: depth(metadata.sample_type()),
                observed_at: fits_header::observed_at(&headers),
                exposure_s: fits_header::exposure_s(&headers),
            });
        }
        Ok(images)
    }

    fn bytes(&self) -> usize {
        let size = match self.bitpix {
            Bitpix::U8 => 1,
            Bitpix::I16 => 2,
            Bitpix::I32 | Bitpix::F32 => 4,
            Bitpix::I64 | Bitpix::F64 => 8,
        };
        (self.shape[0] * self.shape[1]).saturating_mul(self.planes).saturating_mul(size)
    }

    /// The section of one plane.
    fn section(&self, plane: usize) -> Vec<Range<usize>> {
        let mut rest = plane;
        let fixed = self.shape[2..].iter().map(|&axis| {
            let at = rest % axis;
            rest /= axis;
            at..at + 1
        });
        [0..self.shape[0], 0..self.shape[1]].into_iter().chain(fixed).collect()
    }
}

struct Planes {
    reader: Reader,
    images: Vec<Image>,
    limits: Limits,
    /// Position in `images`, plane of that image, frame of the file.
    at: usize,
    plane: usize,
    index: usize,
    /// Stored samples of a plane, kept for its allocation.
    words: Vec<u64>,
}

impl Iterator for Planes {
    type Item = Result<Frame, Rejection>;

    fn next(&mut self) -> Option<Self::Item> {
        let image = self.images.get(self.at)?;
        let (plane, index) = (self.plane, self.index);
        let frame = read_plane(&mut self.reader, image, plane, index, &self.limits, &mut self.words);
        self.index += 1;
        self.plane += 1;
        if self.plane == image.planes {
            (self.at, self.plane) = (self.at + 1, 0);
        }
        Some(frame)
    }
}

fn read_plane(
    reader: &mut Reader,
    image: &Image,
    plane: usize,
    index: usize,
    limits: &Limits,
    words: &mut Vec<u64>,
) -> Result<Frame, Rejection> {
    let mut handle = reader.image(image.hdu).map_err(rejection)?;
    if let Some(tile) = handle.tiles() {
        let tile = tile.iter().fold(1u64, |product, &side| product.saturating_mul(side as u64));
        if tile > limits.frame_pixels {
            let detail =
                format!("compressed in tiles of {tile} pixels; the limit is {} (frame_pixels)", limits.frame_pixels);
            return Err(Rejection::new(Reason::TooLarge, detail));
        }
    }
    let view = handle.view(image.section(plane).as_slice(), words).map_err(rejection)?;
    let pixels = physical(view.samples(), view.scaling(), view.sample_type());
    Ok(Frame {
        index,
        width: image.shape[0],
        height: image.shape[1],
        channels: 1,
        pixels,
        depth: image.depth,
        observed_at: image.observed_at,
        exposure_s: image.exposure_s,
    })
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

fn depth(kind: SampleType) -> Depth {
    match kind {
        SampleType::I8 => Depth::Signed(8),
        SampleType::U8 => Depth::Unsigned(8),
        SampleType::I16 => Depth::Signed(16),
        SampleType::U16 => Depth::Unsigned(16),
        SampleType::I32 => Depth::Signed(32),
        SampleType::U32 => Depth::Unsigned(32),
        SampleType::I64 => Depth::Signed(64),
        SampleType::U64 => Depth::Unsigned(64),
        SampleType::F32 => Depth::Float(32),
        SampleType::F64 => Depth::Float(64),
    }
}

fn rejection(error: FitsError) -> Rejection {
    match error {
        FitsError::UnexpectedEof | FitsError::MissingEnd => Rejection::truncated(error),
        FitsError::Io(error) if error.kind() == ErrorKind::UnexpectedEof => Rejection::truncated(error),
        FitsError::UnsupportedCompression { .. } | FitsError::ImageHasGroups => Rejection::unsupported(error),
        error => Rejection::corrupt(error),
    }
}
