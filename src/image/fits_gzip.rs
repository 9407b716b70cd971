//! Old writers put 8- and 16-bit images into GZIP_1 tiles as 32-bit integers. cfitsio and astropy tell by a tile's
//! unpacked length; here such an image is reread as the 32-bit image that its tiles hold.

use std::ops::Range;

use fits_well::FitsError;
use fits_well::error::CompressedDataDefect;
use fits_well::io::{CARD_SIZE, HduKind};

use super::fits::{Reader, read_headers};

/// The reader, reopened with ZBITPIX = 32 for the images that need it; only those of the `sound` HDUs are looked at.
pub(super) fn widen(mut reader: Reader, sound: &[usize]) -> Result<Reader, FitsError> {
    let compressed: Vec<usize> =
        reader.hdus().iter().filter(|hdu| hdu.kind == HduKind::CompressedImage).map(|hdu| hdu.index).collect();
    let too_narrow: Vec<bool> =
        compressed.iter().map(|hdu| sound.contains(hdu) && is_too_narrow(&mut reader, *hdu)).collect();
    if !too_narrow.contains(&true) {
        return Ok(reader);
    }
    let mut source = reader.into_inner();
    let bytes = source.edit();
    // Every compressed image has exactly one such card, so they come in the order of the HDUs.
    let cards = bytes.chunks_exact_mut(CARD_SIZE).filter(|card| card.starts_with(b"ZBITPIX ="));
    for (card, _) in cards.zip(too_narrow).filter(|(_, too_narrow)| *too_narrow) {
        card[9..30].copy_from_slice(format!("{:>21}", 32).as_bytes());
    }
    Ok(read_headers(source)?.0)
}

/// Whether the first tile unpacks to more than its pixels take.
fn is_too_narrow(reader: &mut Reader, hdu: usize) -> bool {
    let header = &reader.hdus()[hdu].header;
    let is =
        |key: &str, values: &[i64]| header.get_integer(key).ok().flatten().is_some_and(|value| values.contains(&value));
    let codec = header.get_text("ZCMPTYPE").ok().flatten().map(str::trim);
    let Some(axes) = reader.hdus()[hdu].image_metadata().ok().map(|metadata| metadata.shape.len()) else {
        return false;
    };
    if codec != Some("GZIP_1") || !is("ZBITPIX", &[8, 16]) {
        return false;
    }
    let corner: Vec<Range<usize>> = vec![0..1; axes];
    let outcome = reader.image(hdu).and_then(|mut image| image.view(corner.as_slice(), &mut Vec::new()).map(drop));
    matches!(outcome, Err(FitsError::CorruptCompressedData { defect: CompressedDataDefect::GzipOverrun }))
}
