//! `watch`, `score` and `status` from the outside. What needs a model takes the shipped one of `digits`.

use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// A state folder, an inbox and a pipeline folder of its own.
pub struct House {
    pub root: tempfile::TempDir,
    /// The shipped models, unless a test has its own.
    pub models: PathBuf,
}

impl House {
    pub fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        for folder in ["inbox", "pipelines"] {
            std::fs::create_dir(root.path().join(folder)).unwrap();
        }
        let house = Self { root, models: Path::new(ROOT).join("models") };
        house.write_pipeline("");
        house
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    /// The shipped pipeline with this house's inbox, and more lines at its end.
    pub fn write_pipeline(&self, more: &str) {
        let text = std::fs::read_to_string(Path::new(ROOT).join("pipelines/digits.toml")).unwrap();
        let text = format!("inbox = {:?}\n{text}\n[watch]\nsettle_ms = 100\n{more}", self.path("inbox"));
        std::fs::write(self.path("pipelines/digits.toml"), text).unwrap();
    }

    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_anomalyd"));
        command.arg("--state").arg(self.path("state")).arg("--models").arg(&self.models);
        command.arg("--pipelines").arg(self.path("pipelines")).args(args).current_dir(self.root.path());
        command
    }

    pub fn run(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    pub fn status(&self) -> serde_json::Value {
        let output = self.run(&["status", "--json"]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// Waits until `status` counts this many scored frames.
    pub fn wait_for(&self, scored: u64) {
        wait_until(&format!("{scored} frames are scored"), || self.status()["pipelines"]["digits"]["scored"] == scored);
    }

    /// Waits until `status` counts a scored frame.
    pub fn wait_for_some(&self) {
        wait_until("a frame is scored", || self.status()["pipelines"]["digits"]["scored"] != 0);
    }

    /// A running daemon, ready.
    pub fn start(&self) -> Daemon {
        let log = self.path("log");
        let file = std::fs::File::create(&log).unwrap();
        let child = self.command(&["watch"]).stderr(file).stdout(Stdio::null()).spawn().unwrap();
        let daemon = Daemon { child, log };
        daemon.wait_for("ready");
        daemon
    }
}

/// A daemon, killed when the test is over.
pub struct Daemon {
    pub child: Child,
    pub log: PathBuf,
}

impl Daemon {
    pub fn wait_for(&self, word: &str) {
        let log = || std::fs::read_to_string(&self.log).unwrap();
        wait_until(&format!("the daemon says {word}"), || log().contains(word));
    }

    pub fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_raw(i32::try_from(self.child.id()).unwrap()).unwrap();
        rustix::process::kill_process(pid, signal).unwrap();
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Waits for something that must come, however little the machine lets us do.
pub fn wait_until(what: &str, mut there: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !there() {
        assert!(begun.elapsed() < Duration::from_secs(60), "waited in vain until {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Whether the model these tests need is there.
pub fn has_model() -> bool {
    let there = Path::new(ROOT).join("models/digits/current").exists();
    if !there {
        println!("models/digits is missing: not tested");
    }
    there
}

/// A 28x28 image whose pixels depend on `seed`.
pub fn image(seed: usize) -> Vec<u8> {
    let mut pixels = vec![0.0; 28 * 28];
    for (place, pixel) in pixels.iter_mut().enumerate() {
        *pixel = if (place / 28 + seed).is_multiple_of(9) { 200.0 + (seed % 50) as f32 } else { 0.0 };
    }
    anomalyd::draw::png::png16(28, 28, 1, &pixels).bytes
}

fn failure(output: &Output) -> (i32, String) {
    (output.status.code().unwrap(), String::from_utf8_lossy(&output.stderr).into_owned())
}

/// A pipeline file that is a pipe: the start waits for what it is told there, and the test knows that it does.
#[test]
fn a_reload_that_is_asked_for_too_early_comes_when_the_service_is_ready() {
    if !has_model() {
        return;
    }
    let house = House::new();
    let (file, pipe) = (house.path("pipelines/digits.toml"), house.path("pipe"));
    let text = std::fs::read_to_string(&file).unwrap();
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    std::fs::rename(&pipe, &file).unwrap();
    let log = house.path("log");
    let stderr = std::fs::File::create(&log).unwrap();
    let child = house.command(&["watch"]).stderr(stderr).stdout(Stdio::null()).spawn().unwrap();
    let mut daemon = Daemon { child, log };
    let mut pipe = None;
    wait_until("the service reads its pipeline", || {
        let nonblock = i32::try_from(rustix::fs::OFlags::NONBLOCK.bits()).unwrap();
        pipe = std::fs::OpenOptions::new().write(true).custom_flags(nonblock).open(&file).ok();
        pipe.is_some()
    });
    daemon.signal(rustix::process::Signal::HUP);
    // The reload reads it once more.
    std::fs::write(house.path("plain"), &text).unwrap();
    std::fs::rename(house.path("plain"), &file).unwrap();
    pipe.unwrap().write_all(text.as_bytes()).unwrap();
    daemon.wait_for("reloading pipelines and models");
    assert!(daemon.child.try_wait().unwrap().is_none());
}

#[test]
fn what_cannot_work_is_said_before_any_work_starts() {
    let house = House::new();
    let (code, text) = failure(&house.run(&["watch", "nosuch"]));
    assert_eq!(code, 3, "{text}");
    assert!(text.contains("nosuch.toml"), "{text}");
    let (code, text) = failure(&house.run(&["watch", "--inbox", "nowhere"]));
    assert_eq!(code, 6, "{text}");
    assert!(text.contains("nowhere") && text.contains("hint"), "{text}");
    let inside = house.path("state/inbox");
    std::fs::create_dir_all(&inside).unwrap();
    let (code, text) = failure(&house.run(&["watch", "--inbox", inside.to_str().unwrap()]));
    assert_eq!(code, 3, "{text}");
    std::fs::copy(house.path("pipelines/digits.toml"), house.path("pipelines/untrained.toml")).unwrap();
    let (code, text) = failure(&house.run(&["score", "untrained", "inbox"]));
    assert_eq!(code, 4, "{text}");
    house.write_pipeline("no_such_key = 1\n");
    let (code, text) = failure(&house.run(&["watch", "digits"]));
    assert_eq!(code, 3, "{text}");
    assert!(text.contains("digits.toml:") && text.contains("no_such_key"), "{text}");
}

#[test]
fn settings_name_the_file_and_the_key_that_is_wrong() {
    let house = House::new();
    std::fs::write(house.path("my.toml"), "flush_rowz = 1\n").unwrap();
    let (code, text) = failure(&house.run(&["--config", "my.toml", "status"]));
    assert_eq!(code, 3, "{text}");
    assert!(text.contains("my.toml") && text.contains("flush_rowz"), "{text}");
}

#[test]
fn status_works_without_a_ledger() {
    let house = House::new();
    std::fs::write(house.path("inbox/a.png"), image(1)).unwrap();
    let status = house.status();
    assert_eq!(status["running"], false);
    assert_eq!(status["pipelines"]["digits"]["waiting"], 1);
    assert!(!house.path("state").exists(), "status writes nothing");
}

#[test]
fn an_inbox_that_goes_away_is_found_again() {
    if !has_model() {
        return;
    }
    let house = House::new();
    let mut daemon = house.start();
    std::fs::rename(house.path("inbox"), house.path("moved")).unwrap();
    daemon.wait_for("the inbox cannot be reached");
    std::fs::create_dir(house.path("inbox")).unwrap();
    daemon.wait_for("the inbox can be reached again");
    std::fs::write(house.path("inbox/a.png"), image(1)).unwrap();
    house.wait_for(1);
    daemon.signal(rustix::process::Signal::TERM);
    assert_eq!(daemon.child.wait().unwrap().code(), Some(0));
}

#[test]
fn a_daemon_from_ready_to_drained() {
    if !has_model() {
        return;
    }
    let house = House::new();
    std::fs::write(house.path("inbox/before.png"), image(0)).unwrap();
    let mut daemon = house.start();
    house.wait_for(1);
    std::fs::create_dir_all(house.path("inbox/new/deep")).unwrap();
    for index in 1..20 {
        std::fs::write(house.path(&format!("inbox/new/deep/{index}.png")), image(index)).unwrap();
    }
    house.wait_for(20);
    let status = house.status();
    assert!(status["running"] == true && status["pipelines"]["digits"]["rate"].as_f64().is_some(), "{status}");
    let (code, text) = failure(&house.run(&["watch"]));
    assert_eq!(code, 7, "{text}");
    assert!(text.contains(&daemon.child.id().to_string()), "{text}");
    house.write_pipeline("wrong = 1\n");
    daemon.signal(rustix::process::Signal::HUP);
    daemon.wait_for("reload failed");
    std::fs::write(house.path("inbox/after.png"), image(30)).unwrap();
    house.wait_for(21);
    house.write_pipeline("rescan_s = 5\n");
    daemon.signal(rustix::process::Signal::HUP);
    daemon.wait_for("changes=");
    std::fs::write(house.path("inbox/reloaded.png"), image(31)).unwrap();
    house.wait_for(22);
    daemon.signal(rustix::process::Signal::TERM);
    assert_eq!(daemon.child.wait().unwrap().code(), Some(0));
    let status = house.status();
    assert_eq!((&status["running"], &status["pipelines"]["digits"]["waiting"]), (&false.into(), &0.into()));
}

#[test]
fn an_archive_that_is_not_there_yet_is_said_and_waited_for() {
    if !has_model() {
        return;
    }
    let house = House::new();
    let archive = house.path("archive");
    house.write_pipeline(&format!("rescan_s = 1\n[after]\nscored = {{ move = {archive:?} }}\n"));
    let daemon = house.start();
    let held = || {
        let status = house.status();
        let conditions = status["conditions"].as_array().cloned().unwrap_or_default();
        conditions.into_iter().find(|held| held["reason"] == "after_failing:digits")
    };
    wait_until("the archive is missed before a file is to go there", || held().is_some());
    assert!(held().unwrap()["detail"].as_str().unwrap().contains(archive.to_str().unwrap()), "{held:?}", held = held());
    std::fs::write(house.path("inbox/a.png"), image(1)).unwrap();
    house.wait_for(1);
    daemon.signal(rustix::process::Signal::HUP);
    daemon.wait_for("changes=");
    assert!(house.path("inbox/a.png").exists() && !archive.exists());
    std::fs::create_dir(&archive).unwrap();
    wait_until("the file is in the archive", || archive.join("a.png").exists());
    wait_until("nothing is wrong any more", || held().is_none());
}
