//! gzip and bzip2 around any format, bounded by `Limits::unpacked_bytes`.

use std::io::{ErrorKind, Read};

use bzip2::bufread::MultiBzDecoder;
use flate2::bufread::MultiGzDecoder;

use super::bytes::Bytes;
use super::deadline::Deadline;
use super::{Limits, Reason, Rejection};

const FIRST_BUFFER: usize = 64 << 10;
/// Unpacked bytes between two looks at the clock.
const PATIENCE: usize = 1 << 20;

/// The content below one compression wrapper; the bytes themselves where there is none. `hold` is told of every growth.
pub(super) fn unpack(
    bytes: Vec<u8>,
    limits: &Limits,
    deadline: &Deadline,
    hold: &mut dyn FnMut(u64),
) -> Result<Vec<u8>, Rejection> {
    let stored = bytes.len() as u64;
    let mut hold = |unpacked: usize| deadline.pause(|| hold(stored.saturating_add(unpacked as u64)));
    hold(0);
    let unpacked = match bytes.as_slice() {
        [0x1F, 0x8B, ..] => {
            let source = MultiGzDecoder::new(Bytes::new(bytes, deadline.clone()));
            read_bounded(Timed { source, deadline }, limits, &mut hold)?
        }
        [b'B', b'Z', b'h', b'1'..=b'9', ..] => {
            let source = MultiBzDecoder::new(Bytes::new(bytes, deadline.clone()));
            read_bounded(Timed { source, deadline }, limits, &mut hold)?
        }
        _ => return Ok(bytes),
    };
    if unpacked.is_empty() {
        return Err(Rejection::new(Reason::Empty, "the compressed file has no content"));
    }
    Ok(unpacked)
}

/// Reads all, into a buffer that doubles as bytes really arrive, and stops at the limit.
fn read_bounded(mut source: impl Read, limits: &Limits, hold: &mut dyn FnMut(usize)) -> Result<Vec<u8>, Rejection> {
    let limit = usize::try_from(limits.unpacked_bytes).unwrap_or(usize::MAX);
    let mut unpacked: Vec<u8> = Vec::new();
    loop {
        let filled = unpacked.len();
        let target = filled.saturating_mul(2).clamp(FIRST_BUFFER, limit.saturating_add(1).max(FIRST_BUFFER));
        let room = target.saturating_sub(filled);
        // The old buffer is copied to the new one.
        hold(filled.saturating_add(target));
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

/// Reads a little at a time, until the time is over.
struct Timed<'a, R> {
    source: R,
    deadline: &'a Deadline,
}

impl<R: Read> Read for Timed<'_, R> {
    fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
        self.deadline.check()?;
        let most = out.len().min(PATIENCE);
        self.source.read(&mut out[..most])
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

    fn unpack(bytes: Vec<u8>, limits: &Limits) -> Result<Vec<u8>, Rejection> {
        let deadline = Deadline::start(limits.decode_s);
        super::unpack(bytes, limits, &deadline, &mut |_| {}).map_err(|rejection| deadline.blame(rejection))
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

    #[test]
    fn what_is_held_is_told_before_it_is_allocated() {
        let packed = gzip(&vec![0; 3_000_000]);
        let (limits, stored, mut most) = (Limits::default(), packed.len() as u64, 0);
        super::unpack(packed, &limits, &Deadline::start(60), &mut |bytes| most = bytes).unwrap();
        assert_eq!(most, stored + (2 << 20) + (4 << 20));
    }

    #[test]
    fn waiting_for_memory_is_not_the_files_fault() {
        let (began, wait) = (std::time::Instant::now(), std::time::Duration::from_millis(5));
        let (deadline, mut waits) = (Deadline::start(60), 0);
        let mut hold = |_| {
            waits += 1;
            std::thread::sleep(wait);
        };
        super::unpack(gzip(&vec![0; 3_000_000]), &Limits::default(), &deadline, &mut hold).unwrap();
        let counted = deadline.elapsed();
        assert!(waits > 5 && counted + wait * waits <= began.elapsed(), "{waits} waits, {counted:?}");
    }

    #[test]
    fn time_ends_a_bomb_and_a_chain_of_empty_members() {
        let late = Limits { decode_s: 0, ..Limits::default() };
        assert_eq!(unpack(gzip(&vec![0; 3_000_000]), &late).unwrap_err().reason, Reason::TooSlow);
        let limits = Limits { decode_s: 1, ..Limits::default() };
        let empty = gzip(&[]);
        let members = empty.repeat((40 << 20) / empty.len());
        assert!(matches!(unpack(members, &limits).unwrap_err().reason, Reason::TooSlow | Reason::Empty));
    }
}
