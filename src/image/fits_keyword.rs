//! One keyword of a FITS file's headers, without its pixels.

use fits_well::header::Header;

use super::bytes::Bytes;
use super::deadline::Deadline;
use super::fits::{read_headers, rejection};
use super::{Format, Limits, Rejection, guard, unpack};

/// The value of `keyword` in the first header that has it, as text; `None` where none has, or the content is no FITS.
///
/// # Errors
/// A [`Rejection`] when the content cannot be unpacked or its headers not be read.
pub fn fits_keyword(bytes: Vec<u8>, keyword: &str, limits: &Limits) -> Result<Option<String>, Rejection> {
    limits.check_file(bytes.len() as u64)?;
    let deadline = Deadline::start(limits.decode_s);
    guard::guarded(|| {
        let bytes = unpack::unpack(bytes, limits, &deadline, &mut |_| {})?;
        if Format::of(&bytes) != Some(Format::Fits) {
            return Ok(None);
        }
        let (reader, _) = read_headers(Bytes::new(bytes, deadline.clone())).map_err(rejection)?;
        Ok(reader.hdus().iter().find_map(|hdu| value(&hdu.header, keyword)))
    })
}

fn value(header: &Header, keyword: &str) -> Option<String> {
    let text = header.get_text(keyword).ok().flatten().map(|text| text.trim().to_string());
    let integer = || header.get_integer(keyword).ok().flatten().map(|value| value.to_string());
    let real = || header.get_real(keyword).ok().flatten().map(|value| value.to_string());
    let logical = || header.get_logical(keyword).ok().flatten().map(|value| value.to_string());
    text.or_else(integer).or_else(real).or_else(logical)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulate::fits::{Exposure, encode};

    #[test]
    fn text_and_numbers_are_read_and_what_is_not_there_is_none() {
        let exposure = Exposure { exposure_s: 60.0, gain: 1.0, read_noise: 5.0, saturation: 60000 };
        let bytes = encode(&[7; 64], 8, 3, &exposure);
        let value = |keyword: &str| fits_keyword(bytes.clone(), keyword, &Limits::default()).unwrap();
        assert_eq!(value("DATE-OBS").as_deref(), Some("2026-01-01T00:03:00.000"));
        assert_eq!(value("NAXIS1").as_deref(), Some("8"));
        assert_eq!(value("NIGHT"), None);
        assert_eq!(fits_keyword(b"P5 1 1 255 x".to_vec(), "NAXIS1", &Limits::default()).unwrap(), None);
    }
}
