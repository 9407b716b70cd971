//! Whether the stages still move: what feeds the watchdog, and what `/healthz` answers.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::condition::{Condition, Reason};
use super::progress::Progress;

/// Stages: decode, score, write.
const STAGES: usize = 3;

/// Notices a stage that has something in hand and does not move.
#[derive(Debug)]
pub struct Vigil {
    patience: Duration,
    seen: Mutex<[Seen; STAGES]>,
}

/// When a stage was last known to be well.
#[derive(Debug, Clone, Copy)]
struct Seen {
    beats: u64,
    well: Instant,
}

impl Vigil {
    /// Stages may stand still this long.
    pub fn new(patience: Duration) -> Self {
        let seen = Seen { beats: 0, well: Instant::now() };
        Self { patience, seen: Mutex::new([seen; STAGES]) }
    }

    /// The stages that are stuck. Idle is not stuck, nor is to wait for a full disk, for an inbox that does not answer, or
    /// for the next stage while that one is at work.
    pub fn stuck(&self, progress: &Progress, condition: &Condition) -> Vec<&'static str> {
        self.stuck_at(Instant::now(), progress, condition)
    }

    fn stuck_at(&self, now: Instant, progress: &Progress, condition: &Condition) -> Vec<&'static str> {
        let held = condition.list();
        let disk_full = held.iter().any(|held| held.reason == Reason::DiskFull);
        let unreachable = held.iter().any(|held| matches!(held.reason, Reason::InboxUnreachable(_)));
        let stages = progress.stages();
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let moved = std::array::from_fn::<_, STAGES, _>(|at| seen[at].beats != stages[at].1.beats());
        let mut stuck = Vec::new();
        for (at, (name, activity)) in stages.into_iter().enumerate() {
            let next_works = stages.get(at + 1).is_some_and(|(_, next)| moved[at + 1] || next.is_busy());
            let excused = disk_full || (unreachable && name == "decode") || next_works;
            if moved[at] || !activity.is_busy() || excused {
                seen[at] = Seen { beats: activity.beats(), well: now };
            } else if now.duration_since(seen[at].well) >= self.patience {
                stuck.push(name);
            }
        }
        stuck
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(60);

    fn later(seconds: u64) -> Instant {
        Instant::now() + Duration::from_secs(seconds)
    }

    #[test]
    fn a_stage_that_stands_is_noticed_though_another_moves() {
        let (progress, condition, vigil) = (Progress::default(), Condition::default(), Vigil::new(PATIENCE));
        assert!(vigil.stuck_at(later(1000), &progress, &condition).is_empty(), "idle is not stuck");
        let _held = progress.score.begin();
        for seconds in (1000..1080).step_by(20) {
            progress.decode.beat();
            let stuck = vigil.stuck_at(later(seconds + 20), &progress, &condition);
            assert_eq!(stuck, if seconds + 20 >= 1060 { vec!["score"] } else { vec![] }, "{seconds}");
        }
        progress.score.beat();
        assert!(vigil.stuck_at(later(1100), &progress, &condition).is_empty(), "it moves again");
    }

    #[test]
    fn the_last_stage_at_work_is_to_blame_and_not_those_that_wait_for_it() {
        let (progress, condition, vigil) = (Progress::default(), Condition::default(), Vigil::new(PATIENCE));
        let (_decode, _score, _write) = (progress.decode.begin(), progress.score.begin(), progress.write.begin());
        vigil.stuck_at(later(0), &progress, &condition);
        assert_eq!(vigil.stuck_at(later(70), &progress, &condition), ["write"]);
        progress.write.beat();
        assert!(vigil.stuck_at(later(71), &progress, &condition).is_empty());
    }

    #[test]
    fn who_waits_for_a_disk_or_an_inbox_is_not_stuck() {
        let (progress, condition, vigil) = (Progress::default(), Condition::default(), Vigil::new(PATIENCE));
        let _decode = progress.decode.begin();
        let inbox = Reason::InboxUnreachable("digits".into());
        for (reason, from) in [(inbox, 100), (Reason::DiskFull, 1000)] {
            condition.set(reason.clone(), "");
            assert!(vigil.stuck_at(later(from), &progress, &condition).is_empty());
            assert!(vigil.stuck_at(later(from + 500), &progress, &condition).is_empty());
            condition.clear(&reason);
            assert!(vigil.stuck_at(later(from + 510), &progress, &condition).is_empty(), "it has only just begun");
            assert_eq!(vigil.stuck_at(later(from + 580), &progress, &condition), ["decode"]);
        }
    }
}
