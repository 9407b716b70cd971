//! Ctrl-C and SIGTERM before a training has begun: the command ends between two files, and keeps nothing.

use std::fs;
use std::process::{Command, Stdio};
use std::time::Duration;

use assert_cmd::cargo::cargo_bin;
use rustix::process::{Pid, Signal, kill_process};

use super::workshop::{House, first_file};

/// Names of one frame: enough to be read for seconds.
const NAMES: usize = 5000;

#[test]
fn loading_ends_when_it_is_asked_to() {
    let house = House::of_spots();
    house.simulate("detector", "one", &["--seed", "1", "--count", "1", "--anomalies", "0", "--size", "512"]);
    fs::create_dir(house.path("many")).unwrap();
    let frame = first_file(&house.path("one/normal"));
    for number in 0..NAMES {
        fs::hard_link(&frame, house.path(&format!("many/{number}.png"))).unwrap();
    }
    let classify = ["classify", "train", "spots", "--network", "lenet5"];
    for (command, signal) in
        [(&["train", "spots"][..], Signal::INT), (&["ablate", "spots"], Signal::TERM), (&classify, Signal::INT)]
    {
        let mut child = Command::new(cargo_bin("anomalyd"))
            .args(["--models", "models", "--state", "state", "--pipelines", "."])
            .args(command)
            .args(["--data", "many"])
            .current_dir(house.path(""))
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        while !listens(child.id(), signal) {
            assert!(child.try_wait().unwrap().is_none(), "{command:?}: ended before it could be stopped");
            std::thread::sleep(Duration::from_millis(2));
        }
        kill_process(Pid::from_child(&child), signal).unwrap();
        let output = child.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(130), "{command:?}: {said}");
        assert!(said.contains("stopped while frames were read"), "{command:?}: {said}");
    }
    assert!(!house.path("models").exists());
}

/// Whether a process catches a signal, by the mask that the kernel shows.
fn listens(process: u32, signal: Signal) -> bool {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).unwrap_or_default();
    u64::from_str_radix(mask.trim(), 16).unwrap_or_default() >> (signal.as_raw() - 1) & 1 == 1
}
