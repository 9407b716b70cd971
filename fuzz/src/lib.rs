//! What every target does with an input: decode it as the daemon does, under small limits, and look that each promise of
//! the decoders holds. A promise broken, a panic of our own code, an abort, a hang or too much memory ends the run; a
//! panic within a library is what the decoders' guard is for: its first input a place is kept, and the run goes on.

#[allow(dead_code)]
#[path = "../../src/image/mod.rs"]
pub mod image;

mod memory;
mod panics;

pub use image::Format;
use image::{File, Limits, Reason, open_within};

#[global_allocator]
static COUNTED: memory::Counted = memory::Counted;

/// Small, so that inputs reach them.
const LIMITS: Limits =
    Limits { file_bytes: 1 << 20, frame_pixels: 1 << 18, frames: 64, unpacked_bytes: 1 << 20, decode_s: 10 };
/// What an allocator and messages take beside what is promised.
const SLACK: u64 = 64 << 10;
/// Bytes of memory for a byte of a file while its headers are read: parsed cards, tags, indices.
const HEADER_FACTOR: u64 = 16;
/// Bytes of memory for the headers of any file: the tags of a TIFF, of a mebibyte at most, are kept as numbers of 32 bytes.
const HEADER_BYTES: u64 = 48 << 20;

/// Decodes an input that is of the format by its first bytes, or of any where `only` is `None`.
pub fn decode(input: &[u8], only: Option<Format>) -> bool {
    panics::watch(input, || {
        let before = memory::live();
        let mut promised = 0;
        memory::start();
        let opened = open_within(input.to_vec(), &LIMITS, &mut |bytes| promised = promised.max(bytes));
        let headers = HEADER_BYTES + HEADER_FACTOR * promised.max(input.len() as u64);
        memory::check("opening", before, promised.max(input.len() as u64) + headers + SLACK);
        match opened {
            Ok(file) if only.is_none_or(|format| format == file.format) => {
                frames(file, before, headers);
                true
            }
            Ok(_) => false,
            Err(rejection) => {
                assert!(!rejection.detail.is_empty() && rejection.detail.len() < 400);
                rejection.reason != Reason::UnknownFormat
            }
        }
    })
}

fn frames(file: File, before: u64, headers: u64) {
    let mut frames = file.frames;
    let (mut position, mut refused) = (0, 0);
    loop {
        memory::start();
        let promised = frames.next_bytes();
        memory::check("a header", before, promised + headers + SLACK);
        memory::start();
        let Some(outcome) = frames.next() else { break };
        memory::check("a frame", before, promised + SLACK);
        match outcome {
            Ok(frame) => {
                assert_eq!(frame.index, position);
                assert_eq!(frame.pixels.len(), frame.width * frame.height * frame.channels);
                assert!(frame.pixels.len() as u64 <= LIMITS.frame_pixels && !frame.pixels.is_empty());
            }
            Err(rejection) => {
                assert!(!rejection.detail.is_empty() && rejection.detail.len() < 400);
                assert!(rejection.reason != Reason::TooSlow, "{rejection}");
                refused += 1;
            }
        }
        position += 1;
    }
    assert!(position as u64 <= LIMITS.frames + 1 + refused, "{position} frames");
}
