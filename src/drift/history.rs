//! The way of the martingales, thinned so that it stays small, and what happened on it.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

/// Points that are kept at most.
const POINTS: usize = 512;
/// Events that are kept at most; the oldest go first.
const EVENTS: usize = 64;

/// The martingales after a frame.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Point {
    /// Frames so far, those before a reset too.
    pub frame: u64,
    /// When it was judged.
    #[serde(with = "chrono::serde::ts_milliseconds")]
    pub at: DateTime<Utc>,
    /// log10 of what the scores are worth.
    pub scores: f64,
    /// log10 of what the raw statistics are worth.
    pub raw: f64,
}

/// Something that happened to the watch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// When.
    #[serde(with = "chrono::serde::ts_milliseconds")]
    pub at: DateTime<Utc>,
    /// After how many frames.
    pub frame: u64,
    /// `raised` or `reset`.
    pub what: String,
    /// By which martingale, or why.
    pub detail: String,
}

/// Points and events.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct History {
    /// Every `every`-th frame is kept; doubled whenever there are too many.
    every: u64,
    points: Vec<Point>,
    events: Vec<Event>,
    /// The newest point, kept or not.
    last: Option<Point>,
}

impl History {
    /// Adds a point.
    pub fn add(&mut self, point: Point) {
        self.every = self.every.max(1);
        self.last = Some(point);
        if !point.frame.is_multiple_of(self.every) {
            return;
        }
        self.points.push(point);
        if self.points.len() > POINTS {
            self.every *= 2;
            self.points.retain(|point| point.frame.is_multiple_of(self.every));
        }
    }

    /// Adds an event.
    pub fn note(&mut self, event: Event) {
        self.events.push(event);
        let surplus = self.events.len().saturating_sub(EVENTS);
        self.events.drain(..surplus);
    }

    /// The points that are kept, in order, the newest always among them.
    pub fn points(&self) -> Vec<Point> {
        let newest = self.last.filter(|last| self.points.last() != Some(last));
        self.points.iter().copied().chain(newest).collect()
    }

    /// The events that are kept, in order.
    pub fn events(&self) -> &[Event] {
        &self.events
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_way_stays_small_and_has_both_ends() {
        let (mut history, at) = (History::default(), Utc::now());
        for frame in 1..=50_001 {
            history.add(Point { frame, at, scores: 0.0, raw: frame as f64 });
        }
        let points = history.points();
        assert!(points.len() > POINTS / 2 && points.len() <= POINTS + 1);
        assert!(points[0].frame <= 128 && points.last().unwrap().frame == 50_001);
        assert!(points.windows(2).all(|pair| pair[0].frame < pair[1].frame));
        for frame in 0..100 {
            history.note(Event { at, frame, what: "reset".into(), detail: String::new() });
        }
        assert_eq!((history.events().len(), history.events()[0].frame), (EVENTS, 36));
    }
}
