//! gzip and bzip2 around any format, bounded by `Limits::unpacked_bytes`.

use std::io::{ErrorKind, Read};

use bzip2::read::MultiBzDecoder;
use flate2::read::MultiGzDecoder;

use super::{Limits, Reason, Rejection};

const FIRST_BUFFER: usize = 1 << 20;

/// The content below one compression wrapper; the bytes themselves where there is none.
pub(super) fn unpack(bytes: Vec<u8>, limits: &Limits) -> Result<Vec<u8>, Rejection> {
    let unpacked = match bytes.as_slice() {
        [0x1F, 0x8B, ..] => read_bounded(MultiGzDecoder::new(bytes.as_slice()), limits)?,
        [b'B', b'Z', b'h', b'1'..=b'9', ..] => read_bounded(MultiBzDecoder::new(bytes.as_slice()), limits)?,
        _ => return Ok(bytes),
    };
    if unpacked.is_empty() {
        return Err(Rejection::new(Reason::Empty, "the compressed file has no content"));
    }
    Ok(unpacked)
}

/// Reads all, into a buffer that doubles as bytes really arrive, and stops at the limit.
fn read_bounded(mut source: impl Read, limits: &Limits) -> Result<Vec<u8>, Rejection> {
    let limit = usize::try_from(limits.unpacked_bytes).unwrap_or(usize::MAX);
    let mut unpacked: Vec<u8> = Vec::new();
    loop {
        let filled = unpacked.len();
        let target = filled.saturating_mul(2).clamp(FIRST_BUFFER, limit.saturating_add(1).max(FIRST_BUFFER));
        let room = target.saturating_sub(filled);
        unpacked.try_reserve_exact(room).map_err(|_| too_large(limits))?;
        let read =
            source.by_ref().take(room as u64).read_to_end(&mut unpacked).map_err(|error| wrapper_error(&error))?;
        if unpacked.len() > limit {
            return Err(too_large(limits));
        }
        if read < room {
            return Ok(unpacked);
        }
    }
}

fn too_large(limits: &Limits) -> Rejection {
    Rejection::new(Reason::TooLarge, format!("unpacks to more than {} bytes (unpacked_bytes)", limits.unpacked_bytes))
}

fn wrapper_error(error: &std::io::Error) -> Rejection {
    match error.kind() {
        ErrorKind::UnexpectedEof => Rejection::truncated("the compressed stream ends early"),
        _ => Rejection::corrupt(format!("the compressed stream is damaged: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn gzip(content: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        encoder.write_all(content).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn the_limit_counts_unpacked_bytes() {
        let packed = gzip(&vec![0; 3_000_000]);
        let limits = |unpacked_bytes| Limits { unpacked_bytes, ..Limits::default() };
        assert_eq!(unpack(packed.clone(), &limits(3_000_000)).unwrap().len(), 3_000_000);
        assert_eq!(unpack(packed, &limits(2_999_999)).unwrap_err().reason, Reason::TooLarge);
    }

    #[test]
    fn an_early_end_and_damage_are_told_apart() {
        let packed = gzip(&[7; 5000]);
        let short = unpack(packed[..packed.len() - 6].to_vec(), &Limits::default()).unwrap_err();
        assert_eq!(short.reason, Reason::Truncated);
        let mut damaged = packed;
        let last = damaged.len() - 6;
        damaged[last] ^= 0xFF;
        assert_eq!(unpack(damaged, &Limits::default()).unwrap_err().reason, Reason::Corrupt);
    }
}
