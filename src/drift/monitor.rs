//! The watch over one pipeline under one model: what it has seen, what that is worth, whether it is raised.

use chrono::{DateTime, Utc};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use super::history::{Event, History, Point};
use super::jumper::Jumper;
use super::ranks::Ranks;
use super::raw::RawStatistics;
use crate::error::{Failure, Kind, Result};

/// Version of what [`Monitor::encode`] writes.
pub const VERSION: u32 = 1;
/// Share of delta that the scores may spend; the raw statistics have the rest.
const SCORES_SHARE: f64 = 0.5;

/// What frames are held against.
#[derive(Debug, Clone, PartialEq)]
pub struct Setup {
    /// Scores of the calibration frames.
    pub calibration: Vec<f64>,
    /// Largest probability of a false alarm, over all time.
    pub delta: f64,
    /// Seed of the ties.
    pub seed: u64,
}

/// A value and the bets on it.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Watched {
    ranks: Ranks,
    jumper: Jumper,
}

impl Watched {
    fn see(&mut self, value: f64, tie: f64) {
        let p = self.ranks.p_value(value, tie);
        self.jumper.bet(p);
    }
}

/// The watch. It stays raised until somebody resets it.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Monitor {
    version: u32,
    /// Frames seen, those before a reset too.
    frames: u64,
    scores: Watched,
    raw: [Watched; RawStatistics::COUNT],
    /// Since when, milliseconds since 1970, and why.
    raised: Option<(i64, String)>,
    history: History,
    /// Number of the last reset that was asked for and done.
    reset: i64,
}

/// What is to be said of a watch.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Standing {
    /// Frames seen under this model.
    pub frames: u64,
    /// log10 of the martingale on the scores.
    pub scores_log10: f64,
    /// log10 of a third of the largest martingale on a raw statistic.
    pub raw_log10: f64,
    /// log10 of what either must reach to be raised.
    pub bound_log10: f64,
    /// Whether it is raised: certificates are void.
    pub raised: bool,
    /// Since when, milliseconds since 1970.
    pub raised_at: Option<i64>,
    /// By what.
    pub detail: Option<String>,
}

impl Monitor {
    /// A watch that has seen nothing but the calibration. Resets up to `reset` have been done.
    pub fn new(setup: &Setup, reset: i64) -> Self {
        let mut monitor = Self { version: VERSION, reset, ..Self::default() };
        monitor.begin(setup);
        monitor
    }

    /// Looks at the next frame. Returns why the watch is raised, where this frame raised it.
    pub fn see(&mut self, setup: &Setup, score: f64, raw: &RawStatistics, at: DateTime<Utc>) -> Option<String> {
        let mut ties = ChaCha8Rng::seed_from_u64(setup.seed);
        ties.set_stream(self.frames);
        self.scores.see(score, ties.random());
        for (watched, value) in self.raw.iter_mut().zip(raw.values()) {
            watched.see(value, ties.random());
        }
        self.frames += 1;
        let (scores, raw) = (self.scores_log10(), self.raw_log10());
        self.history.add(Point { frame: self.frames, at, scores, raw });
        let bound = bound_log10(setup.delta);
        if self.raised.is_some() || scores.max(raw) < bound {
            return None;
        }
        let detail = if scores >= bound {
            format!("scores are not those of the calibration frames any more (10^{scores:.1} to 1)")
        } else {
            format!("{} of raw frames has changed (10^{raw:.1} to 1)", self.loudest())
        };
        self.raised = Some((at.timestamp_millis(), detail.clone()));
        self.note("raised", &detail, at);
        Some(detail)
    }

    /// Starts anew after the reset of this number: against the calibration alone, and without raw statistics of before.
    pub fn start_anew(&mut self, setup: &Setup, reset: i64, reason: &str, at: DateTime<Utc>) {
        self.reset = reset;
        self.raised = None;
        (self.scores, self.raw) = Default::default();
        self.begin(setup);
        self.note("reset", reason, at);
    }

    /// Number of the last reset that has been done.
    pub fn last_reset(&self) -> i64 {
        self.reset
    }

    /// Whether certificates are void.
    pub fn is_raised(&self) -> bool {
        self.raised.is_some()
    }

    /// The way it came, and what happened.
    pub fn history(&self) -> &History {
        &self.history
    }

    /// What is to be said of it.
    pub fn standing(&self, delta: f64) -> Standing {
        Standing {
            frames: self.frames,
            scores_log10: self.scores_log10(),
            raw_log10: self.raw_log10(),
            bound_log10: bound_log10(delta),
            raised: self.is_raised(),
            raised_at: self.raised.as_ref().map(|(at, _)| *at),
            detail: self.raised.as_ref().map(|(_, detail)| detail.clone()),
        }
    }

    /// Its bytes, for the ledger.
    ///
    /// # Errors
    /// [`Kind::Internal`].
    pub fn encode(&self) -> Result<Vec<u8>> {
        rmp_serde::to_vec(self)
            .map_err(|error| Failure::new(Kind::Internal, format!("cannot write down the watch for drift: {error}")))
    }

    /// The watch of these bytes.
    ///
    /// # Errors
    /// [`Kind::Io`] where they are damaged or written by another version.
    pub fn decode(bytes: &[u8]) -> Result<Self> {
        let wrong = |why: String| {
            Failure::new(Kind::Io, format!("the watch for drift in the ledger cannot be read: {why}"))
                .hint("stop the service and run `anomalyd ledger rebuild`: the watch starts anew")
        };
        let monitor: Self = rmp_serde::from_slice(bytes).map_err(|error| wrong(error.to_string()))?;
        if monitor.version != VERSION {
            return Err(wrong(format!("it has version {}, not {VERSION}", monitor.version)));
        }
        Ok(monitor)
    }

    fn begin(&mut self, setup: &Setup) {
        setup.calibration.iter().for_each(|&score| self.scores.ranks.insert(score));
    }

    fn note(&mut self, what: &str, detail: &str, at: DateTime<Utc>) {
        self.history.note(Event { at, frame: self.frames, what: what.into(), detail: detail.into() });
    }

    fn scores_log10(&self) -> f64 {
        self.scores.jumper.log() / std::f64::consts::LN_10
    }

    /// A third of the largest: each of the three has a third of what the raw statistics may spend.
    fn raw_log10(&self) -> f64 {
        let largest = self.raw.iter().map(|watched| watched.jumper.log()).fold(f64::NEG_INFINITY, f64::max);
        (largest - (RawStatistics::COUNT as f64).ln()) / std::f64::consts::LN_10
    }

    /// The raw statistic that says most.
    fn loudest(&self) -> &'static str {
        let at = (0..self.raw.len()).max_by(|&a, &b| self.raw[a].jumper.log().total_cmp(&self.raw[b].jumper.log()));
        ["the background", "the noise", "the number of hot pixels"][at.unwrap_or(0)]
    }
}

/// What either martingale may pass with a probability of its half of delta.
fn bound_log10(delta: f64) -> f64 {
    -(delta * SCORES_SHARE).log10()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn setup() -> Setup {
        Setup { calibration: (0..300).map(f64::from).collect(), delta: 0.05, seed: 7 }
    }

    /// A frame's place among the calibration scores, spread evenly; raw statistics do not change.
    fn see(monitor: &mut Monitor, index: u64, shift: f64) -> Option<String> {
        let raw = RawStatistics { background: (index * 37 % 101) as f64, noise: 1.0, hot_pixels: 0.0 };
        let score = (index * 7919 % 300) as f64 + shift;
        monitor.see(&setup(), score, &raw, DateTime::from_timestamp(index as i64, 0).unwrap())
    }

    #[test]
    fn it_goes_on_from_its_bytes_as_if_nothing_had_been() {
        let (mut whole, mut parts) = (Monitor::new(&setup(), 0), Monitor::new(&setup(), 0));
        for index in 0..500 {
            assert_eq!(see(&mut whole, index, 20.0), see(&mut parts, index, 20.0));
            if index % 97 == 0 {
                parts = Monitor::decode(&parts.encode().unwrap()).unwrap();
            }
        }
        assert_eq!(whole.standing(0.05), parts.standing(0.05));
        assert_eq!(whole.encode().unwrap(), parts.encode().unwrap());
    }

    #[test]
    fn raised_it_stays_so_until_it_is_reset_and_the_calibration_is_known_again() {
        let mut monitor = Monitor::new(&setup(), 0);
        assert!((0..300).all(|index| see(&mut monitor, index, 0.0).is_none()));
        let raised = (300..600).find_map(|index| see(&mut monitor, index, 200.0)).unwrap();
        assert!(raised.starts_with("scores are not"), "{raised}");
        assert!((600..1200).all(|index| see(&mut monitor, index, 0.0).is_none()) && monitor.is_raised());
        let standing = monitor.standing(0.05);
        assert!(standing.raised && standing.detail == Some(raised) && standing.frames > 900);
        monitor.start_anew(&setup(), 4, "mirror cleaned", DateTime::UNIX_EPOCH);
        assert!(!monitor.is_raised() && monitor.last_reset() == 4 && monitor.standing(0.05).scores_log10 == 0.0);
        let what: Vec<_> = monitor.history().events().iter().map(|event| event.what.as_str()).collect();
        assert_eq!(what, ["raised", "reset"]);
        let again = (1200..1500).find_map(|index| see(&mut monitor, index, 200.0));
        assert!(again.is_some(), "a change that is still there is found again");
    }

    #[test]
    fn bytes_of_another_version_are_refused() {
        let other = Monitor { version: VERSION + 1, ..Monitor::new(&setup(), 0) };
        assert_eq!(Monitor::decode(&other.encode().unwrap()).unwrap_err().kind, Kind::Io);
        assert!(Monitor::decode(b"nonsense").is_err());
    }

    #[test]
    fn a_watch_takes_little_room() {
        let mut monitor = Monitor::new(&setup(), 0);
        (0..20_000).for_each(|index| drop(see(&mut monitor, index, (index % 89) as f64 * 0.01)));
        assert!(monitor.encode().unwrap().len() < 100_000);
    }
}
