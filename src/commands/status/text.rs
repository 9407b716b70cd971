//! The status for people: what is wrong and what to do about it first, then a line a pipeline.

use chrono::DateTime;

use super::Shown;
use crate::frame_size::OtherSize;
use crate::observe::board::{Held, Line};

/// What `status` prints.
pub fn of(shown: &Shown) -> String {
    let notes = shown.notes.iter().map(|note| format!("{note}\n"));
    let lines = shown.pipelines.iter().map(|(name, of)| line(name, of));
    [headline(shown), "\n".into()].into_iter().chain(notes).chain([heading()]).chain(lines).collect()
}

/// Whether it runs, whether it is ready, what is wrong, and what to do.
fn headline(shown: &Shown) -> String {
    let Some(daemon) = &shown.daemon else {
        return if shown.running { "running".into() } else { "not running; the counts are the ledger's".into() };
    };
    let ready = if daemon.ready { "running and ready" } else { "running, not ready" };
    let since = format!("for {}, process {}, version {}", span(daemon.uptime_s), daemon.pid, daemon.version);
    let stuck = daemon.stuck.iter().map(|stage| {
        format!("\n  {stage} does not move\n    to do: under systemd the watchdog restarts the service, elsewhere restart it")
    });
    let held = daemon.conditions.iter().map(|held| {
        let to_do = held.to_do.as_ref().map_or_else(String::new, |to_do| format!("\n    to do: {to_do}"));
        format!("\n  {} since {}: {}{to_do}", held.reason, held.since.format("%F %T UTC"), held.detail)
    });
    format!("{ready} {since}{}", stuck.chain(held).collect::<String>())
}

fn heading() -> String {
    format!(
        "{:<16}{:>9}{:>11}{:>10}{:>9}{:>10}{:>12}{:>10}{:>13}{:>8}  model\n",
        "pipeline",
        "waiting",
        "under way",
        "scored",
        "flagged",
        "rejected",
        "duplicates",
        "images/s",
        "last commit",
        "p99"
    )
}

fn line(name: &str, line: &Line) -> String {
    let count = |count: Option<u64>| count.map_or_else(|| "-".to_string(), |count| count.to_string());
    let seconds = |seconds: Option<f64>| seconds.map_or_else(|| "-".to_string(), span);
    let waiting = format!("{}{}", count(line.waiting), if line.waiting_more { "+" } else { "" });
    let mut text = format!(
        "{name:<16}{waiting:>9}{:>11}{:>10}{:>9}{:>10}{:>12}{:>10}{:>13}{:>8}  {}\n",
        count(line.under_way),
        line.scored,
        line.flagged,
        line.rejected,
        line.duplicates,
        line.rate.map_or_else(|| "-".to_string(), |rate| format!("{rate:.1}")),
        seconds(line.last_commit_age_s),
        seconds(line.latency_p99_s),
        line.model_version.as_deref().unwrap_or("-"),
    );
    if let Some(Held { files, longest, seconds }) = &line.held {
        text += &format!("  {files} of them wait for their writers, {longest} for {}\n", span(*seconds));
    }
    if line.other_sizes > 0 {
        text += &format!(
            "  {} frames of other sizes than the model was calibrated on: no certificate for them; {}\n",
            line.other_sizes,
            OtherSize::TO_DO
        );
    }
    if let Some((at, detail)) = line.drift.as_ref().and_then(|drift| drift.raised_at.zip(drift.detail.as_ref())) {
        let at = DateTime::from_timestamp_millis(at).map_or_else(String::new, |at| at.format("%F %T UTC").to_string());
        text += &format!("  certificates are void since {at}: {detail}\n");
    }
    if let Some((at, message)) = &line.last_error {
        let at = DateTime::from_timestamp_millis(*at);
        let at = at.map_or_else(String::new, |time| time.format("%F %T UTC").to_string());
        text += &format!("  last error {at}: {message}\n");
    }
    text
}

/// Seconds for people: `0.4 s`, `12 s`, `3 min`, `5.2 h`, `9.1 d`.
fn span(seconds: f64) -> String {
    match seconds {
        ..10.0 => format!("{seconds:.1} s"),
        ..120.0 => format!("{seconds:.0} s"),
        ..7200.0 => format!("{:.0} min", seconds / 60.0),
        ..172_800.0 => format!("{:.1} h", seconds / 3600.0),
        _ => format!("{:.1} d", seconds / 86_400.0),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::path::Path;
    use std::time::Duration;

    use super::*;
    use crate::daemon::Reason;
    use crate::observe::board::Board;

    #[test]
    fn what_is_wrong_stands_on_top_with_what_to_do() {
        let board = Board::new(Path::new("/"), Duration::ZERO, false).unwrap();
        board.condition.set(Reason::DiskFull, "3 bytes free");
        board.condition.set(Reason::AfterFailing("digits".into()), "no rights");
        let pipelines = BTreeMap::from([("digits".to_string(), Line::default())]);
        let text = of(&Shown { running: true, daemon: Some(board.status()), notes: Vec::new(), pipelines });
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines[0].starts_with("running, not ready for 0.0 s"), "{text}");
        assert!(lines[1].starts_with("  disk_full since 20") && lines[1].ends_with(" UTC: 3 bytes free"), "{text}");
        assert!(lines[2].starts_with("    to do: free space"), "{text}");
        assert!(lines[3].contains("after_failing:digits") && lines[4].contains("ReadWritePaths="), "{text}");
        assert!(lines[5].starts_with("pipeline ") && lines[6].starts_with("digits "), "{text}");
    }

    #[test]
    fn spans_are_short() {
        let spans = [0.04, 11.6, 600.0, 9000.0, 800_000.0].map(span);
        assert_eq!(spans, ["0.0 s", "12 s", "10 min", "2.5 h", "9.3 d"]);
    }
}
