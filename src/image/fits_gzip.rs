//! Old writers put 8- and 16-bit images into GZIP_1 tiles as 32-bit integers. cfitsio and astropy tell by a tile's
//! unpacked length; here such an image is reread as the 32-bit image that its tiles hold.

use std::ops::Range;

use fits_well::FitsError;
use fits_well::error::CompressedDataDefect;
use fits_well::io::{CARD_SIZE, HduKind};

use super::fits::{Reader, read_headers};
use super::fits_image::Image;

/// Is asked before a tile of an image is decoded, with the tile's sides and the bytes that this takes in memory; its error ends
/// all.
pub(super) type MayDecode<'a> = dyn FnMut(&Image, Option<&[usize]>, u64) -> Result<bool, FitsError> + 'a;

/// The reader, reopened with ZBITPIX = 32 for the images that need it; only the `sound` ones are looked at.
pub(super) fn widen(mut reader: Reader, sound: &[Image], may_decode: &mut MayDecode<'_>) -> Result<Reader, FitsError> {
    let compressed: Vec<usize> =
        reader.hdus().iter().filter(|hdu| hdu.kind == HduKind::CompressedImage).map(|hdu| hdu.index).collect();
    let mut too_narrow = Vec::new();
    for hdu in compressed {
        let image = sound.iter().find(|image| image.hdu == hdu);
        let outcome = image.map(|image| is_too_narrow(&mut reader, image, may_decode));
        too_narrow.push(outcome.transpose()?.unwrap_or(false));
    }
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
fn is_too_narrow(reader: &mut Reader, image: &Image, may_decode: &mut MayDecode<'_>) -> Result<bool, FitsError> {
    let header = &reader.hdus()[image.hdu].header;
    let is =
        |key: &str, values: &[i64]| header.get_integer(key).ok().flatten().is_some_and(|value| values.contains(&value));
    let codec = header.get_text("ZCMPTYPE").ok().flatten().map(str::trim);
    if codec != Some("GZIP_1") || !is("ZBITPIX", &[8, 16]) {
        return Ok(false);
    }
    let corner: Vec<Range<usize>> = vec![0..1; image.shape.len()];
    let Ok(mut handle) = reader.image(image.hdu) else { return Ok(false) };
    let Ok(bytes) = handle.view_bytes([corner.as_slice().into()]) else { return Ok(false) };
    if !may_decode(image, handle.tiles(), bytes.kept + bytes.handle)? {
        return Ok(false);
    }
    let outcome = handle.view(corner.as_slice(), &mut Vec::new()).map(drop);
    Ok(matches!(outcome, Err(FitsError::CorruptCompressedData { defect: CompressedDataDefect::GzipOverrun })))
}
