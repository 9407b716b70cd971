//! A FITS file of one unsigned 16-bit image (FITS standard 4.0, sections 3 and 5.2.5).

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};

const BLOCK: usize = 2880;
const CARD: usize = 80;
/// Offset by which unsigned 16-bit values are stored as signed ones.
const BZERO: u16 = 32768;
/// 2026-01-01T00:00:00Z, when the simulated run begins.
const START: i64 = 1_767_225_600;

/// What the header says of the exposure.
#[derive(Debug, Clone, Copy)]
pub struct Exposure {
    /// Seconds.
    pub exposure_s: f64,
    /// Electrons a count.
    pub gain: f64,
    /// Electrons RMS.
    pub read_noise: f64,
    /// Counts at which a pixel is full.
    pub saturation: u16,
}

/// The bytes of a square image; frame `index` of the run fixes DATE-OBS, one frame a minute.
pub fn encode(pixels: &[u16], size: usize, index: u64, exposure: &Exposure) -> Vec<u8> {
    let mut bytes = header(size, index, exposure);
    bytes.reserve((pixels.len() * 2).next_multiple_of(BLOCK));
    for &pixel in pixels {
        bytes.extend_from_slice(&(pixel ^ BZERO).to_be_bytes());
    }
    bytes.resize(bytes.len().next_multiple_of(BLOCK), 0);
    bytes
}

fn header(size: usize, index: u64, exposure: &Exposure) -> Vec<u8> {
    let minutes = i64::try_from(index).ok().and_then(TimeDelta::try_minutes).unwrap_or_default();
    let observed: DateTime<Utc> = DateTime::from_timestamp(START, 0).unwrap_or_default() + minutes;
    let date = observed.naive_utc().and_utc().to_rfc3339_opts(SecondsFormat::Millis, true);
    let cards = [
        fixed("SIMPLE", "T", "FITS standard 4.0"),
        fixed("BITPIX", "16", "bits a pixel"),
        fixed("NAXIS", "2", ""),
        fixed("NAXIS1", &size.to_string(), "columns"),
        fixed("NAXIS2", &size.to_string(), "rows"),
        fixed("BZERO", "32768", "unsigned 16-bit"),
        fixed("BSCALE", "1", ""),
        text("BUNIT", "electron", ""),
        text("DATE-OBS", date.trim_end_matches('Z'), "UTC, start of the exposure"),
        fixed("EXPTIME", &format!("{:.1}", exposure.exposure_s), "[s]"),
        fixed("GAIN", &format!("{:.2}", exposure.gain), "[electron/count]"),
        fixed("RDNOISE", &format!("{:.2}", exposure.read_noise), "[electron]"),
        fixed("SATURATE", &exposure.saturation.to_string(), "[count]"),
        text("INSTRUME", "SIMCAM", "simulated"),
        format!("{:<CARD$}", "END"),
    ];
    let mut bytes: Vec<u8> = cards.concat().into_bytes();
    bytes.resize(bytes.len().next_multiple_of(BLOCK), b' ');
    bytes
}

/// A card in fixed format: the value ends in column 30.
fn fixed(key: &str, value: &str, comment: &str) -> String {
    card(&format!("{key:<8}= {value:>20}"), comment)
}

/// A card with a string value.
fn text(key: &str, value: &str, comment: &str) -> String {
    let quoted = format!("'{value:<8}'");
    card(&format!("{key:<8}= {quoted:<20}"), comment)
}

fn card(head: &str, comment: &str) -> String {
    let line = if comment.is_empty() { head.to_owned() } else { format!("{head} / {comment}") };
    format!("{line:<CARD$.CARD$}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_and_offset_follow_the_standard() {
        let exposure = Exposure { exposure_s: 30.0, gain: 1.0, read_noise: 5.0, saturation: 60_000 };
        let bytes = encode(&[0, 1, 32768, 65535], 2, 61, &exposure);
        assert_eq!(bytes.len(), 2 * BLOCK);
        assert_eq!(&bytes[BLOCK..BLOCK + 8], [0x80, 0x00, 0x80, 0x01, 0x00, 0x00, 0x7f, 0xff]);
        let header = String::from_utf8(bytes[..BLOCK].to_vec()).expect("ascii");
        assert!(header.starts_with("SIMPLE  =                    T"));
        assert!(header.contains("DATE-OBS= '2026-01-01T01:01:00.000'"));
    }
}
