//! What all frames of a file together may cost: frames may share their bytes, so that a small file could ask for years.

use std::time::Duration;

use super::{Limits, Reason, Rejection};

/// Pixels a byte of content, whatever `Limits::unpacked_bytes` says: twice those of an image of single bits.
const PIXELS_A_BYTE: u64 = 16;
/// How often the time of one frame a file may take, beside its share by size.
const FRAMES_TIME: u32 = 10;
/// Bytes of content that the slowest decoder passes in a second.
const BYTES_PER_SECOND: u64 = 1 << 20;

/// What is left of it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Effort {
    most_pixels: u64,
    most_time: Duration,
    pixels: u64,
    time: Duration,
}

impl Effort {
    /// That of a file of this many bytes.
    pub(super) fn of(content: u64, limits: &Limits) -> Self {
        let by_size = Duration::from_secs(content / BYTES_PER_SECOND);
        Self {
            most_pixels: content.saturating_mul(PIXELS_A_BYTE).max(limits.unpacked_bytes),
            most_time: Duration::from_secs(limits.decode_s).saturating_mul(FRAMES_TIME).saturating_add(by_size),
            pixels: 0,
            time: Duration::ZERO,
        }
    }

    /// Counts what was computed.
    pub(super) fn spend(&mut self, time: Duration) {
        self.time = self.time.saturating_add(time);
    }

    /// Counts the pixels of a frame; refuses the file where it has cost more than it may.
    pub(super) fn check(&mut self, pixels: usize) -> Result<(), Rejection> {
        self.pixels = self.pixels.saturating_add(pixels as u64);
        if self.pixels > self.most_pixels {
            let detail = format!(
                "its frames have more than {} pixels together; the rest of the file is not tried (limits.unpacked_bytes)",
                self.most_pixels
            );
            return Err(Rejection::new(Reason::TooLarge, detail));
        }
        if self.time <= self.most_time {
            return Ok(());
        }
        let most = self.most_time.as_secs();
        let detail = format!("decoding takes longer than {most} s for all its frames so far (limits.decode_s)");
        Err(Rejection::new(Reason::TooSlow, detail))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_may_cost_what_its_size_explains() {
        let limits = Limits { unpacked_bytes: 100, decode_s: 1, ..Limits::default() };
        let reason = |content, pixels, seconds| {
            let mut effort = Effort::of(content, &limits);
            effort.spend(Duration::from_secs(seconds));
            effort.check(pixels).map_err(|rejection| rejection.reason)
        };
        assert_eq!(reason(1, 100, 10), Ok(()));
        assert_eq!(reason(1, 101, 10), Err(Reason::TooLarge));
        assert_eq!(reason(10, 160, 10), Ok(()));
        assert_eq!(reason(1, 100, 11), Err(Reason::TooSlow));
        assert_eq!(reason(1 << 20, 100, 11), Ok(()));
    }
}
