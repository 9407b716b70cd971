//! Readiness and `status`, with a daemon and without, and what the service manager hears.

use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::process::Stdio;
use std::time::Duration;

use super::observe::{ask_socket, receive, samples};
use super::watch::{Daemon, House, has_model, image, wait_until};

/// What `status` prints where the daemon says that it is ready.
fn wait_for_headline(house: &House) -> String {
    let mut text = String::new();
    wait_until("status says that it is ready", || {
        text = String::from_utf8(house.run(&["status"]).stdout).unwrap();
        text.starts_with("running and ready for")
    });
    text
}

#[test]
fn ready_from_start_to_drain_and_status_with_and_without_a_daemon() {
    if !has_model() {
        return;
    }
    let house = House::new();
    assert_eq!(house.status()["source"], "ledger");
    let mut daemon = house.start();
    assert_eq!(ask_socket(&house, "/readyz"), (200, r#"{"conditions":[],"ready":true}"#.into()));
    let mode = std::fs::metadata(house.path("state/control.sock")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o660);
    for index in 0..200 {
        std::fs::write(house.path(&format!("inbox/{index}.png")), image(index)).unwrap();
    }
    house.wait_for_some();
    // A daemon that is held up is not waited for: then `status` tells what the ledger has.
    let mut status = serde_json::Value::Null;
    wait_until("the daemon answers and has seen a whole file", || {
        status = house.status();
        status["source"] == "daemon" && status["pipelines"]["digits"]["latency_p99_s"].is_number()
    });
    assert_eq!((&status["running"], &status["ready"]), (&true.into(), &true.into()));
    let digits = &status["pipelines"]["digits"];
    assert!(digits["latency_p99_s"].as_f64().unwrap() > 0.0, "{status}");
    assert_eq!(digits["model_version"], "0001-f8934809");
    wait_for_headline(&house);
    // While somebody else writes to the ledger, what is under way cannot be committed, and the drain waits for it.
    let ledger = rusqlite::Connection::open(house.path("state/ledger.sqlite")).unwrap();
    ledger.busy_timeout(Duration::from_secs(60)).unwrap();
    ledger.execute_batch("BEGIN IMMEDIATE").unwrap();
    std::fs::write(house.path("inbox/last.png"), anomalyd::draw::png::png16(28, 28, 1, &[7.0; 28 * 28]).bytes).unwrap();
    let under_way = || house.status()["pipelines"]["digits"]["under_way"].as_u64();
    wait_until("something is under way", || under_way().is_some_and(|files| files > 0));
    daemon.signal(rustix::process::Signal::TERM);
    daemon.wait_for("draining");
    // It says so before it does so.
    wait_until("it is not ready", || ask_socket(&house, "/readyz").0 == 503);
    let (code, answer) = ask_socket(&house, "/readyz");
    assert!(code == 503 && answer.contains("\"draining\""), "{code} {answer}");
    ledger.execute_batch("ROLLBACK").unwrap();
    assert_eq!(daemon.child.wait().unwrap().code(), Some(0));
    assert!(!house.path("state/control.sock").exists());
    let after = house.status();
    assert_eq!((&after["running"], &after["source"]), (&false.into(), &"ledger".into()));
    assert!(after["pipelines"]["digits"]["scored"].as_u64() >= digits["scored"].as_u64(), "{after}");
}

#[test]
fn status_does_not_wait_for_a_daemon_that_does_not_answer() {
    if !has_model() {
        return;
    }
    let house = House::new();
    let daemon = house.start();
    daemon.signal(rustix::process::Signal::STOP);
    let status = house.status();
    daemon.signal(rustix::process::Signal::CONT);
    assert_eq!((&status["running"], &status["source"]), (&true.into(), &"ledger".into()));
    assert!(status["notes"][0].as_str().unwrap().contains("control.sock"), "{status}");
}

#[test]
fn the_service_manager_hears_starting_ready_counts_and_stopping() {
    if !has_model() {
        return;
    }
    let house = House::new();
    let manager = UnixDatagram::bind(house.path("notify")).unwrap();
    manager.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let mut command = house.command(&["watch"]);
    command.env("NOTIFY_SOCKET", house.path("notify")).env("WATCHDOG_USEC", "120000000").stderr(Stdio::null());
    let child = command.spawn().unwrap();
    let mut daemon = Daemon { child, log: house.path("log") };
    let mut heard = Vec::new();
    let mut hear = |word: &str| {
        let mut buffer = [0; 4096];
        while !heard.iter().any(|text: &String| text.contains(word)) {
            let length = receive(&manager, &mut buffer).unwrap_or_else(|_| panic!("no {word} among {heard:?}"));
            heard.push(String::from_utf8_lossy(&buffer[..length]).into_owned());
        }
        heard.iter().position(|text| text.contains(word)).unwrap()
    };
    assert!(hear("STATUS=starting") < hear("READY=1"));
    hear("WATCHDOG=1");
    std::fs::write(house.path("inbox/a.png"), image(1)).unwrap();
    hear("0 under way, 1 scored");
    daemon.signal(rustix::process::Signal::TERM);
    hear("STOPPING=1");
    assert_eq!(daemon.child.wait().unwrap().code(), Some(0));
}

/// How often a line with these words stands in the log.
fn count_in_log(daemon: &Daemon, words: &str) -> usize {
    std::fs::read_to_string(&daemon.log).unwrap().lines().filter(|line| line.contains(words)).count()
}

/// Asks for `/status` until it is as wanted.
fn wait_for_status(house: &House, wanted: impl Fn(&serde_json::Value) -> bool) -> serde_json::Value {
    let mut status = serde_json::Value::Null;
    wait_until("the status is as wanted", || {
        status = serde_json::from_str(&ask_socket(house, "/status").1).unwrap();
        wanted(&status)
    });
    status
}

#[test]
fn a_refused_reload_is_said_until_one_succeeds() {
    if !has_model() {
        return;
    }
    let house = House::new();
    let daemon = house.start();
    let first = wait_for_status(&house, |status| status["ready"] == true);
    assert_eq!((&first["configuration"]["refused"], first["conditions"].as_array().unwrap().len()), (&().into(), 0));
    house.write_pipeline("no_such_key = 1\n");
    daemon.signal(rustix::process::Signal::HUP);
    let status = wait_for_status(&house, |status| status["configuration"]["reloads_failed"] == 1);
    assert_eq!((&status["ready"], &status["conditions"][0]["reason"]), (&true.into(), &"reload_failed".into()));
    assert_eq!(status["configuration"]["loaded_at"], first["configuration"]["loaded_at"]);
    assert!(status["configuration"]["refused"].as_str().unwrap().contains("no_such_key"), "{status}");
    assert_eq!(ask_socket(&house, "/readyz").0, 200, "what runs is fit");
    let text = wait_for_headline(&house);
    let second = text.lines().nth(1).unwrap();
    assert!(second.contains("reload_failed since"), "{text}");
    assert!(second.contains("digits.toml:") && second.contains("no_such_key"), "with file, line and key: {text}");

    house.write_pipeline("rescan_s = 5\n");
    daemon.signal(rustix::process::Signal::HUP);
    let status = wait_for_status(&house, |status| status["configuration"]["reloads_succeeded"] == 1);
    assert_eq!((&status["configuration"]["refused"], &status["conditions"][0]), (&().into(), &().into()));
}

#[test]
fn an_archive_that_fails_is_said_once_and_scoring_goes_on() {
    if !has_model() {
        return;
    }
    let house = House::new();
    let archive = house.path("archive");
    std::fs::create_dir(&archive).unwrap();
    house.write_pipeline(&format!("rescan_s = 1\n[after]\nscored = {{ move = {archive:?} }}\n"));
    let daemon = house.start();
    std::fs::rename(&archive, house.path("moved")).unwrap();
    std::fs::write(&archive, "no folder").unwrap();
    for index in 0..3 {
        std::fs::write(house.path(&format!("inbox/{index}.png")), image(index)).unwrap();
    }
    house.wait_for(3);
    let wait = |status: &serde_json::Value| status["pipelines"]["digits"]["after_waiting"] == 3;
    let status = wait_for_status(&house, |status| wait(status) && status["conditions"][0]["detail"].is_string());
    let held = &status["conditions"][0];
    assert_eq!((&held["reason"], &held["hinders"]), (&"after_failing:digits".into(), &false.into()), "{status}");
    let detail = held["detail"].as_str().unwrap();
    assert!(held["to_do"].as_str().unwrap().contains("ReadWritePaths="), "{status}");
    assert!(detail.contains("[after] scored") && detail.contains(archive.to_str().unwrap()), "{detail}");
    let (_, metrics) = ask_socket(&house, "/metrics");
    assert_eq!(samples(&metrics)["anomalyd_after_waiting_files{pipeline=\"digits\"}"], 3.0);
    std::fs::write(house.path("inbox/3.png"), image(3)).unwrap();
    house.wait_for(4);

    std::fs::remove_file(&archive).unwrap();
    std::fs::create_dir(&archive).unwrap();
    wait_for_status(&house, |status| status["conditions"][0].is_null());
    wait_until("all files are in the archive", || std::fs::read_dir(&archive).unwrap().count() == 4);
    daemon.wait_for("[after] can be done again");
    assert_eq!(count_in_log(&daemon, "[after] cannot be done"), 1);
    assert_eq!(count_in_log(&daemon, "[after] can be done again"), 1);
}

#[test]
fn a_reader_that_has_seen_enough_of_the_status_is_no_failure() {
    let house = House::new();
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let output = house.command(&["status"]).stdout(writer).stderr(Stdio::piped()).output().unwrap();
    assert_eq!((output.status.code(), String::from_utf8_lossy(&output.stderr).as_ref()), (Some(0), ""));
}

#[test]
fn the_status_says_that_a_pipeline_file_cannot_be_read() {
    let house = House::new();
    house.write_pipeline("no_such_key = 1\n");
    let notes = house.status()["notes"].to_string();
    assert!(notes.contains("digits.toml:") && notes.contains("no_such_key"), "{notes}");
}
