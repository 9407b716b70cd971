//! One image HDU of a FITS file: what its header says, and whether that is within the limits.

use std::ops::Range;

use chrono::{DateTime, Utc};
use fits_well::header::Header;
use fits_well::image::{Bitpix, SampleType};
use fits_well::io::Hdu;

use super::fits::rejection;
use super::{Depth, Limits, Reason, Rejection, check_plausible, fits_header};

/// More than any of the tile codecs reaches on real pixels.
const RATIO: usize = 1 << 13;

/// An image of two axes or more.
pub(super) struct Image {
    /// Which HDU holds it.
    pub(super) hdu: usize,
    /// NAXIS1, NAXIS2, ...
    pub(super) shape: Vec<usize>,
    /// Product of NAXIS3 and on.
    pub(super) planes: usize,
    bitpix: Bitpix,
    pub(super) depth: Depth,
    pub(super) observed_at: Option<DateTime<Utc>>,
    pub(super) exposure_s: Option<f64>,
}

impl Image {
    /// The image that the HDU holds; `None` where it has fewer than two axes.
    pub(super) fn of(hdu: &Hdu, primary: &Header, limits: &Limits, stored: usize) -> Result<Option<Self>, Rejection> {
        let metadata = hdu.image_metadata().map_err(rejection)?;
        let shape = metadata.shape.to_vec();
        if shape.len() < 2 || shape.contains(&0) {
            return Ok(None);
        }
        limits.check_frame(shape[0], shape[1], 1)?;
        let headers = [&hdu.header, primary];
        let image = Self {
            hdu: hdu.index,
            planes: product(&shape[2..]),
            shape,
            bitpix: metadata.bitpix,
            depth: depth(metadata.sample_type()),
            observed_at: fits_header::observed_at(&headers),
            exposure_s: fits_header::exposure_s(&headers),
        };
        check_plausible(image.bytes(), stored, RATIO)?;
        Ok(Some(image))
    }

    /// Bytes of a stored sample.
    pub(super) fn sample_bytes(&self) -> usize {
        match self.bitpix {
            Bitpix::U8 => 1,
            Bitpix::I16 => 2,
            Bitpix::I32 | Bitpix::F32 => 4,
            Bitpix::I64 | Bitpix::F64 => 8,
        }
    }

    fn bytes(&self) -> usize {
        (self.shape[0] * self.shape[1]).saturating_mul(self.planes).saturating_mul(self.sample_bytes())
    }

    /// Tiles are decoded whole: none may be over the limit, nor so deep that every plane unpacks them all again.
    pub(super) fn check_tiles(&self, tiles: Option<&[usize]>, limits: &Limits, stored: usize) -> Result<(), Rejection> {
        let Some(sides) = tiles else { return Ok(()) };
        let tile = product(sides);
        if tile as u64 > limits.frame_pixels {
            let detail =
                format!("compressed in tiles of {tile} pixels; the limit is {} (frame_pixels)", limits.frame_pixels);
            return Err(Rejection::new(Reason::TooLarge, detail));
        }
        check_plausible(self.bytes().saturating_mul(product(&sides[2..])), stored, RATIO)
    }

    /// The section of one plane.
    pub(super) fn section(&self, plane: usize) -> Vec<Range<usize>> {
        let mut rest = plane;
        let fixed = self.shape[2..].iter().map(|&axis| {
            let at = rest % axis;
            rest /= axis;
            at..at + 1
        });
        [0..self.shape[0], 0..self.shape[1]].into_iter().chain(fixed).collect()
    }
}

fn product(sides: &[usize]) -> usize {
    sides.iter().fold(1, |product, &side| product.saturating_mul(side))
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
