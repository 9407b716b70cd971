//! The frames of a file, one after the other: numbered by their place in it, each within its time, a bad one passed over.

use super::deadline::Deadline;
use super::effort::Effort;
use super::guard::guarded;
use super::{Frame, Reason, Rejection};

/// Frames refused one after the other that end a file: what follows them is hardly better.
const REFUSED_IN_A_ROW: usize = 16;

/// What a format has to offer.
pub(super) trait Decoder: Send {
    /// Moves to the next frame, reading no more than its header: the bytes at most that decoding it will allocate, the frame
    /// included; `None` after the last. A rejection is a frame that cannot be decoded; the next call moves past it.
    fn advance(&mut self) -> Option<Result<u64, Rejection>>;

    /// Decodes the frame moved to, once.
    fn frame(&mut self) -> Result<Frame, Rejection>;

    /// Bytes that it holds between frames, beside the content.
    fn held(&self) -> u64 {
        0
    }
}

/// The frames of a file, decoded one at a time, in the file's order. A frame that cannot be decoded is a rejection in its
/// place; the file goes on after it unless the decoder itself gave up, time ran out, too many were refused in a row, or the
/// frames together cost more than a file may.
pub struct Frames {
    /// `None` after the last frame.
    decoder: Option<Box<dyn Decoder>>,
    /// What the decoder has said of the next frame.
    ahead: Option<Result<u64, Rejection>>,
    /// Bytes of the content.
    content: u64,
    deadline: Deadline,
    effort: Effort,
    /// Place of the next frame.
    index: usize,
    refused: usize,
}

impl Frames {
    pub(super) fn new(decoder: Box<dyn Decoder>, content: u64, deadline: Deadline, effort: Effort) -> Self {
        Self { decoder: Some(decoder), ahead: None, content, deadline, effort, index: 0, refused: 0 }
    }

    /// Bytes at most that the file will hold in memory while its next frame is decoded, known before a pixel is: its
    /// content, the decoder's buffers, and the frame.
    pub fn next_bytes(&mut self) -> u64 {
        self.look();
        let held = self.decoder.as_ref().map_or(0, |decoder| self.content.saturating_add(decoder.held()));
        match self.ahead {
            Some(Ok(bytes)) => held.saturating_add(bytes),
            _ => held,
        }
    }

    /// Moves to the next frame, unless that is done.
    fn look(&mut self) {
        if self.ahead.is_none() {
            self.ahead = self.run(|decoder| decoder.advance().transpose()).transpose();
        }
    }

    /// Lets the decoder work, for as long as it may; one that panics is dropped with whatever state it is in.
    fn run<T>(
        &mut self,
        work: impl FnOnce(&mut dyn Decoder) -> Result<Option<T>, Rejection>,
    ) -> Result<Option<T>, Rejection> {
        let Some(mut decoder) = self.decoder.take() else { return Ok(None) };
        self.deadline.restart();
        let worked = guarded(move || {
            let outcome = work(decoder.as_mut());
            Ok((decoder, outcome))
        });
        self.effort.spend(self.deadline.computed());
        let outcome = worked.and_then(|(decoder, outcome)| {
            self.decoder = Some(decoder);
            outcome
        });
        outcome.map_err(|rejection| self.deadline.blame(rejection))
    }

    /// Counts a refusal; the last that is passed on stands for the rest of the file.
    fn refuse(&mut self, rejection: Rejection) -> Rejection {
        self.refused += 1;
        if rejection.reason == Reason::TooSlow {
            self.decoder = None;
        }
        if self.refused > REFUSED_IN_A_ROW {
            self.decoder = None;
            let detail = format!("{REFUSED_IN_A_ROW} frames in a row were refused; the rest of the file is not tried");
            return Rejection::corrupt(detail);
        }
        rejection
    }
}

impl Iterator for Frames {
    type Item = Result<Frame, Rejection>;

    fn next(&mut self) -> Option<Self::Item> {
        self.look();
        let decoded = self.ahead.take()?.and_then(|_| self.run(|decoder| decoder.frame().map(Some))).transpose()?;
        let index = self.index;
        self.index += 1;
        if let Err(rejection) = self.effort.check(decoded.as_ref().map_or(0, |frame| frame.pixels.len())) {
            self.decoder = None;
            return Some(Err(rejection));
        }
        match decoded {
            Ok(frame) => {
                self.refused = 0;
                Some(Ok(Frame { index, ..frame }))
            }
            Err(rejection) => Some(Err(self.refuse(rejection))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Depth, Limits};
    use super::*;

    /// Frames by a letter: good, bad in its header, bad in its pixels, panic, slow in its header.
    struct Letters(std::vec::IntoIter<char>, char, Deadline);

    impl Decoder for Letters {
        fn advance(&mut self) -> Option<Result<u64, Rejection>> {
            self.1 = self.0.next()?;
            if self.1 == 's' {
                self.2.expire();
                return Some(Err(Rejection::corrupt("slow")));
            }
            Some(if self.1 == 'h' { Err(Rejection::corrupt("header")) } else { Ok(4) })
        }

        fn frame(&mut self) -> Result<Frame, Rejection> {
            assert!(self.1 != '!', "boom");
            let frame = Frame {
                index: 0,
                width: 1,
                height: 1,
                channels: 1,
                pixels: vec![0.0],
                depth: Depth::Unsigned(8),
                observed_at: None,
                exposure_s: None,
            };
            if self.1 == 'p' { Err(Rejection::corrupt("pixels")) } else { Ok(frame) }
        }
    }

    fn frames_within(letters: &str, limits: &Limits) -> Frames {
        let (letters, deadline) = (letters.chars().collect::<Vec<_>>().into_iter(), Deadline::start(limits.decode_s));
        let decoder = Box::new(Letters(letters, ' ', deadline.clone()));
        Frames::new(decoder, 100, deadline, Effort::of(0, limits))
    }

    fn frames(letters: &str) -> Frames {
        frames_within(letters, &Limits::default())
    }

    /// Places of good frames, and words of the others.
    fn outcome(letters: &str) -> Vec<Result<usize, String>> {
        frames(letters).map(|frame| frame.map(|frame| frame.index).map_err(|rejection| rejection.detail)).collect()
    }

    #[test]
    fn a_bad_frame_keeps_its_place_and_the_file_goes_on() {
        let bad = |why: &str| Err(why.to_string());
        assert_eq!(outcome("ghgpg"), [Ok(0), bad("header"), Ok(2), bad("pixels"), Ok(4)]);
    }

    #[test]
    fn a_panic_is_a_rejection_and_ends_the_file() {
        let outcome = outcome("g!g");
        assert_eq!(outcome.len(), 2);
        assert!(outcome[1].as_ref().unwrap_err().contains("boom"));
    }

    #[test]
    fn many_refusals_in_a_row_end_the_file_with_one_for_the_rest() {
        let bad = outcome(&("g".to_string() + &"p".repeat(100)));
        assert_eq!(bad.len(), 1 + REFUSED_IN_A_ROW + 1);
        assert!(bad.last().unwrap().as_ref().unwrap_err().contains("in a row"));
        assert_eq!(outcome(&"pppppppg".repeat(5)).len(), 40);
    }

    #[test]
    fn memory_is_known_before_a_frame_is_decoded() {
        let mut frames = frames("gh");
        assert_eq!((frames.next_bytes(), frames.next_bytes()), (104, 104));
        assert!(frames.next().unwrap().is_ok());
        assert_eq!(frames.next_bytes(), 100);
        assert!(frames.next().unwrap().is_err());
        assert!(frames.next().is_none());
    }

    #[test]
    fn a_frame_that_is_too_slow_ends_the_file() {
        for (letters, decode_s) in [("pg", 0), ("sg", 60)] {
            let mut frames = frames_within(letters, &Limits { decode_s, ..Limits::default() });
            assert_eq!(frames.next().unwrap().unwrap_err().reason, Reason::TooSlow, "{letters}");
            assert!(frames.next().is_none());
        }
    }

    #[test]
    fn frames_that_cost_too_much_together_end_the_file() {
        let limits = Limits { unpacked_bytes: 2, ..Limits::default() };
        let frames: Vec<_> = frames_within("gpggg", &limits).map(|frame| frame.map_err(|it| it.reason)).collect();
        assert_eq!(frames.len(), 4);
        assert_eq!(frames[3].as_ref().unwrap_err(), &Reason::TooLarge);
        let mut frames = super::tests::frames("gg");
        assert!(frames.next().unwrap().is_ok());
        frames.effort.spend(std::time::Duration::from_secs(3600));
        assert_eq!(frames.next().unwrap().unwrap_err().reason, Reason::TooSlow);
        assert!(frames.next().is_none());
    }
}
