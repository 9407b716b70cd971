//! `ledger` from the outside, and a disk that fails under the service: calls fail by strace, where there is one.

use std::process::{Command, Output};

use super::watch::{House, has_model, image};

/// A drained inbox of a few files: one of them twice, one rejected.
fn drained() -> House {
    let house = House::new();
    fill(&house);
    must(&house, &["watch", "--once"]);
    house
}

fn fill(house: &House) {
    for index in 0..4 {
        std::fs::write(house.path(&format!("inbox/{index}.png")), image(index)).unwrap();
    }
    std::fs::write(house.path("inbox/again.png"), image(0)).unwrap();
    std::fs::write(house.path("inbox/junk"), b"junk").unwrap();
}

fn must(house: &House, args: &[&str]) -> String {
    let output = house.run(args);
    assert!(output.status.success(), "{args:?}: {}", text(&output));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Rows of scores, rejected and duplicates.
fn rows(house: &House) -> [u64; 3] {
    ["scores", "rejected", "duplicates"].map(|table| {
        let sql = format!("SELECT COUNT(*) AS n FROM {table}");
        must(house, &["query", &sql, "--format", "csv"]).lines().nth(1).unwrap().parse().unwrap()
    })
}

#[test]
fn ledger_and_reports_are_compared_and_the_ledger_made_anew() {
    if !has_model() {
        return;
    }
    let house = drained();
    assert_eq!(rows(&house), [4, 1, 1]);
    let audit: serde_json::Value = serde_json::from_str(&must(&house, &["ledger", "check", "--json"])).unwrap();
    assert_eq!((&audit["rows"], &audit["findings"]), (&audit["rows"], &serde_json::json!([])));
    std::fs::remove_file(house.path("state/ledger.sqlite")).unwrap();
    let output = house.run(&["ledger", "check"]);
    assert_eq!(output.status.code(), Some(6), "{}", text(&output));
    let said = must(&house, &["ledger", "rebuild"]);
    assert!(said.contains("4 contents") && said.contains("retention"), "{said}");
    must(&house, &["watch", "--once"]);
    assert_eq!(rows(&house), [4, 1, 1], "not one new row");
    must(&house, &["ledger", "check"]);
    let part = walkdir::WalkDir::new(house.path("state/reports/rejected"))
        .into_iter()
        .flatten()
        .find(|entry| entry.file_type().is_file());
    std::fs::remove_file(part.unwrap().path()).unwrap();
    let output = house.run(&["ledger", "check"]);
    assert_eq!(output.status.code(), Some(6));
    assert!(
        String::from_utf8_lossy(&output.stdout).contains("missing: rejected/")
            && text(&output).contains("ledger rebuild")
    );
    let _lock = anomalyd::ledger::Lock::take(&house.path("state")).unwrap();
    assert_eq!(house.run(&["ledger", "rebuild"]).status.code(), Some(7), "not beside a running service");
    assert_eq!(house.run(&["ledger", "check"]).status.code(), Some(6), "but this may");
}

/// Drains an inbox while calls fail; `None` where there is no strace.
fn drain_with(house: &House, injection: &str, paths: &[&str]) -> Option<Output> {
    let plain = house.command(&["watch", "--once"]);
    let mut command = Command::new("strace");
    let log = house.path("strace");
    command.args(["-f", "--seccomp-bpf", "-qq", "-o"]).arg(log);
    for path in paths {
        command.arg("-P").arg(house.path("state").join(path));
    }
    command.args(["-e", &format!("inject={injection}")]).arg(plain.get_program()).args(plain.get_args());
    command.current_dir(house.root.path()).output().ok()
}

#[test]
fn a_full_disk_is_waited_for_at_every_step_of_a_commit() {
    if !has_model() {
        return;
    }
    let ledger: &[&str] = &["ledger.sqlite", "ledger.sqlite-wal"];
    // One transaction writes many pages: a call in ninety lets each succeed the second time.
    let cases = [
        ("fsync", "EDQUOT", "1+5", &["", "staging", "reports", "reports/scores", "reports/scores/pipeline=digits"][..]),
        ("renameat2", "ENOSPC", "1+5", &[]),
        ("mkdir", "ENOSPC", "1+5", &["reports", "staging", "reports/scores/pipeline=digits"]),
        ("pwrite64", "ENOSPC", "5+90", ledger),
    ];
    for (call, error, when, paths) in cases {
        let house = House::new();
        fill(&house);
        let Some(output) = drain_with(&house, &format!("{call}:error={error}:when={when}"), paths) else {
            println!("there is no strace: not tested");
            return;
        };
        let log = std::fs::read_to_string(house.path("strace")).unwrap();
        assert!(log.contains("INJECTED"), "{call} {error}: {log}");
        assert_eq!(output.status.code(), Some(0), "{call} {error}: {}", text(&output));
        assert!(text(&output).contains("disk full, waiting for space"), "{call} {error}: {}", text(&output));
        assert_eq!(rows(&house), [4, 1, 1], "{call} {error}");
        must(&house, &["ledger", "check"]);
    }
}

#[test]
fn a_broken_disk_ends_the_process_and_the_next_one_goes_on() {
    if !has_model() {
        return;
    }
    let cases = [
        ("fsync:error=EIO:when=4+", &[][..], "state/", "kernel's log"),
        ("renameat2:error=EACCES:when=2+", &[], "state/reports/", "must own the state folder"),
        ("renameat2:error=EROFS:when=1+", &[], "state/reports/", "read-only"),
        ("fsync:error=EIO:when=2+", &["ledger.sqlite", "ledger.sqlite-wal"], "ledger.sqlite", "kernel's log"),
    ];
    for (injection, paths, place, hint) in cases {
        let house = House::new();
        fill(&house);
        let Some(output) = drain_with(&house, injection, paths) else {
            println!("there is no strace: not tested");
            return;
        };
        assert_eq!(output.status.code(), Some(6), "{injection}: {}", text(&output));
        assert!(text(&output).contains(place) && text(&output).contains(hint), "{injection}: {}", text(&output));
        must(&house, &["watch", "--once"]);
        assert_eq!(rows(&house), [4, 1, 1], "{injection}");
        must(&house, &["ledger", "check"]);
    }
}
