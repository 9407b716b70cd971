//! JPEG: grey and colour, 8 bits. The header is read here first, so that limits hold before the decoder starts.

use std::io::Cursor;

use image::ImageDecoder;
use image::codecs::jpeg::JpegDecoder;

use super::deadline::Deadline;
use super::frames::Decoder;
use super::{Depth, Frame, Limits, Reason, Rejection, check_plausible};

/// An 8 x 8 block takes two bits at least in a baseline scan; scans that skip whole bands take less.
const RATIO: usize = 4096;
/// Samples that a scan passes in a second, on a slow machine.
const SAMPLES_PER_SECOND: u64 = 50_000_000;
/// Pixels along the side of the largest block of a scan (four by four blocks of eight).
const BLOCK: usize = 32;

/// Opens the file's one frame.
pub(super) fn open(bytes: Vec<u8>, limits: Limits) -> impl Decoder {
    Image { bytes, limits, opened: false }
}

struct Image {
    bytes: Vec<u8>,
    limits: Limits,
    opened: bool,
}

impl Decoder for Image {
    fn advance(&mut self) -> Option<Result<u64, Rejection>> {
        (!std::mem::replace(&mut self.opened, true)).then(|| self.check())
    }

    fn frame(&mut self) -> Result<Frame, Rejection> {
        let decoder = JpegDecoder::new(Cursor::new(&self.bytes)).map_err(Rejection::corrupt)?;
        let (width, height) = (decoder.dimensions().0 as usize, decoder.dimensions().1 as usize);
        let channels = usize::from(decoder.color_type().channel_count());
        let raw_bytes = self.limits.check_frame(width, height, channels)?;
        let mut raw = vec![0; raw_bytes];
        decoder.read_image(&mut raw).map_err(Rejection::corrupt)?;
        let mut pixels = Vec::with_capacity(raw_bytes);
        for channel in 0..channels {
            pixels.extend(raw[channel..].iter().step_by(channels).map(|&value| f32::from(value)));
        }
        Ok(Frame {
            index: 0,
            width,
            height,
            channels,
            pixels,
            depth: Depth::Unsigned(8),
            observed_at: None,
            exposure_s: None,
        })
    }
}

impl Image {
    /// What the header asks for, before anything is decoded.
    fn check(&self) -> Result<u64, Rejection> {
        let header = Header::read(&self.bytes)?;
        let samples = self.limits.check_frame(header.width, header.height, header.components)?;
        check_plausible(samples, self.bytes.len(), RATIO)?;
        check_scans(samples, header.scans, &self.limits)?;
        Ok(header.bytes() + self.bytes.len() as u64)
    }
}

fn count_scans(stream: &[u8]) -> usize {
    stream.windows(2).filter(|pair| pair == &[0xFF, 0xDA]).count()
}

/// Refuses what takes too long: the decoder cannot be interrupted between two scans.
fn check_scans(samples: usize, scans: usize, limits: &Limits) -> Result<(), Rejection> {
    if samples.saturating_mul(scans) as u64 / SAMPLES_PER_SECOND < limits.decode_s.max(1) {
        return Ok(());
    }
    Err(Deadline::too_slow(limits.decode_s))
}

/// Pixels and components that a JPEG within another file has its place for.
pub(super) struct Place {
    pub(super) width: usize,
    pub(super) height: usize,
    pub(super) components: usize,
}

impl Place {
    /// Refuses a stream that declares a frame larger than its place anywhere. In what is no header, the byte 0xFF stands
    /// before no such marker.
    pub(super) fn check(&self, stream: &[u8], limits: &Limits) -> Result<(), Rejection> {
        for at in 0..stream.len() {
            if let [0xFF, 0xC0..=0xC2, _, _, _, h1, h0, w1, w0, components, ..] = stream[at..] {
                let (width, height) = (u16::from_be_bytes([w1, w0]).into(), u16::from_be_bytes([h1, h0]).into());
                let fits = (self.width >= width && self.height >= height) && self.components >= components.into();
                if !fits {
                    let detail =
                        format!("a JPEG of {width} x {height} x {components} in a page's strip or tile of less");
                    return Err(Rejection::corrupt(detail));
                }
            }
        }
        check_scans(self.width * self.height * self.components, count_scans(stream), limits)
    }

    /// What decoding one of them takes in memory.
    pub(super) fn bytes(&self) -> u64 {
        decoding_bytes(self.width, self.height, self.components)
    }
}

/// Coefficients of 16 bits and samples twice, in whole blocks.
fn decoding_bytes(width: usize, height: usize, components: usize) -> u64 {
    let padded = width.next_multiple_of(BLOCK) * height.next_multiple_of(BLOCK);
    (padded * components * (2 + 1 + 1) + (1 << 20)) as u64
}

/// What the markers say before anything is decoded.
struct Header {
    width: usize,
    height: usize,
    components: usize,
    scans: usize,
}

impl Header {
    /// What decoding allocates beside a copy of the file.
    fn bytes(&self) -> u64 {
        let frame = self.width * self.height * self.components * size_of::<f32>();
        decoding_bytes(self.width, self.height, self.components) + frame as u64
    }

    fn read(bytes: &[u8]) -> Result<Self, Rejection> {
        let mut frame = None;
        let mut at = 2;
        loop {
            let (marker, segment) = segment(bytes, at)?;
            match marker {
                0xC0..=0xC2 => frame = Some(Self::frame(segment)?),
                0xC3 | 0xC5..=0xC7 | 0xC9..=0xCB | 0xCD..=0xCF => {
                    return Err(Rejection::unsupported("a lossless, hierarchical or arithmetic-coded JPEG"));
                }
                0xDA => break,
                _ => {}
            }
            at += 2 + segment.len() + 2;
        }
        let mut header = frame.ok_or_else(|| Rejection::corrupt("a scan before its frame header"))?;
        let entropy = &bytes[at.min(bytes.len())..];
        header.scans = count_scans(entropy);
        // A decoder fills what is missing with grey; a half-written file must not pass for an image.
        if !entropy.windows(2).any(|pair| pair == [0xFF, 0xD9]) {
            return Err(Rejection::truncated("no end-of-image marker"));
        }
        Ok(header)
    }

    fn frame(segment: &[u8]) -> Result<Self, Rejection> {
        let &[bits, h1, h0, w1, w0, components, ..] = segment else {
            return Err(Rejection::corrupt("a short frame header"));
        };
        if bits != 8 || !matches!(components, 1 | 3) {
            return Err(Rejection::unsupported(format!(
                "a JPEG of {components} components of {bits} bits; 1 or 3 of 8 are read"
            )));
        }
        let (width, height) = (u16::from_be_bytes([w1, w0]).into(), u16::from_be_bytes([h1, h0]).into());
        Ok(Self { width, height, components: components.into(), scans: 0 })
    }
}

/// The marker at `at` (after fill bytes) and its segment.
fn segment(bytes: &[u8], at: usize) -> Result<(u8, &[u8]), Rejection> {
    let early = || Rejection::truncated("ends within its header");
    let rest = bytes.get(at..).ok_or_else(early)?;
    match *rest {
        [0xFF, 0xD9, ..] => Err(Rejection::new(Reason::NoImage, "no scan before the end-of-image marker")),
        [0xFF, marker, l1, l0, ..] => {
            let length = usize::from(u16::from_be_bytes([l1, l0]));
            let segment = rest.get(4..2 + length.max(2)).ok_or_else(early)?;
            Ok((marker, segment))
        }
        [byte, ..] if byte != 0xFF => Err(Rejection::corrupt(format!("no marker at byte {at}"))),
        _ => Err(early()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reason(bytes: &[u8]) -> Reason {
        super::super::frames(bytes.to_vec(), &Limits::default()).unwrap().next().unwrap().unwrap_err().reason
    }

    #[test]
    fn headers_are_judged_before_decoding() {
        let frame = |kind: u8, bits: u8, size: u8, components: u8| {
            let mut file = vec![0xFF, 0xD8, 0xFF, kind, 0, 8, bits, size, 0, size, 0, components];
            file.extend([0xFF, 0xDA, 0, 2, 0xFF, 0xD9]);
            file
        };
        assert_eq!(reason(&frame(0xC3, 8, 1, 1)), Reason::Unsupported);
        assert_eq!(reason(&frame(0xC0, 12, 1, 1)), Reason::Unsupported);
        assert_eq!(reason(&frame(0xC0, 8, 1, 4)), Reason::Unsupported);
        assert_eq!(reason(&frame(0xC0, 8, 0, 1)), Reason::Corrupt);
        assert_eq!(reason(&frame(0xC0, 8, 0xF0, 3)), Reason::TooLarge);
        assert_eq!(reason(&frame(0xC0, 8, 0x10, 1)), Reason::Truncated);
        assert_eq!(reason(&[0xFF, 0xD8, 0xFF, 0xD9]), Reason::NoImage);
        assert_eq!(reason(&[0xFF, 0xD8, 0xFF, 0xE0, 0, 99]), Reason::Truncated);
    }

    #[test]
    fn more_scans_than_time_allows_are_refused_before_decoding() {
        let mut file = vec![0xFF, 0xD8, 0xFF, 0xC2, 0, 8, 8, 0x10, 0, 0x10, 0, 1];
        file.extend([0xFF, 0xDA, 0, 2].repeat(800));
        file.extend([0; 10_000]);
        file.extend([0xFF, 0xD9]);
        assert_eq!(reason(&file), Reason::TooSlow);
    }
}
