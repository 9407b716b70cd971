//! What others see of the daemon: log lines.

use std::os::unix::net::UnixDatagram;
use std::process::{Command, Stdio};
use std::time::Duration;

use super::watch::{House, has_model, image};

/// The JSON log lines of a command, with this message.
fn lines(log: &str, message: &str) -> Vec<serde_json::Value> {
    let parsed = log.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    parsed.filter(|line| line["fields"]["message"].as_str().is_some_and(|text| text.contains(message))).collect()
}

#[test]
fn a_line_about_a_frame_names_it_and_a_storm_of_equal_warnings_is_counted() {
    if !has_model() {
        return;
    }
    let house = House::new();
    for index in 0..200 {
        std::fs::write(house.path(&format!("inbox/{index}.png")), format!("no image {index}")).unwrap();
    }
    std::fs::write(house.path("inbox/good.png"), image(1)).unwrap();
    let output =
        house.command(&["--log", "json", "watch", "--once"]).env("ANOMALYD_LOG", "anomalyd=debug").output().unwrap();
    let log = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{log}");
    let rejected = lines(&log, "rejected");
    let (single, counts): (Vec<_>, Vec<_>) = rejected.iter().partition(|line| line["fields"]["message"] == "rejected");
    assert_eq!(single.len(), 20);
    assert_eq!((counts.len(), &counts[0]["fields"]["more"]), (1, &180.into()), "{counts:?}");
    assert_eq!(
        (&counts[0]["fields"]["pipeline"], &single[0]["span"]["pipeline"]),
        (&"digits".into(), &"digits".into())
    );
    let judged = [lines(&log, "flagged"), lines(&log, "scored")].concat();
    let frame = judged.iter().find(|line| line["span"]["name"] == "frame").unwrap();
    assert_eq!((&frame["span"]["source"], &frame["span"]["frame"]), (&"good.png".into(), &0.into()));
    assert_eq!(frame["span"]["digest"].as_str().unwrap(), blake3::hash(&image(1)).to_hex().as_str());
    assert!(frame["fields"]["p_value"].is_number() && frame["fields"]["frame_id"].is_string(), "{frame}");
}

#[test]
fn a_filter_that_cannot_be_read_is_refused() {
    let house = House::new();
    let output = house.command(&["status"]).env("ANOMALYD_LOG", "loud=very").output().unwrap();
    assert_eq!(output.status.code(), Some(3));
    assert!(String::from_utf8_lossy(&output.stderr).contains("loud=very"));
}

/// A command in a mount namespace whose `/run` is this folder; `None` where namespaces are not allowed.
fn with_run(run: &std::path::Path, house: &House, args: &[&str]) -> Option<Command> {
    let mount = format!("mount --bind '{}' /run", run.display());
    let unshare = |script: &str| {
        let mut command = Command::new("unshare");
        command.args(["--mount", "--map-root-user", "sh", "-c", script, "sh"]);
        command
    };
    let allowed = unshare(&mount).stderr(Stdio::null()).status().is_ok_and(|status| status.success());
    if !allowed {
        println!("mount namespaces are not allowed here: not tested");
        return None;
    }
    let inner = house.command(args);
    let mut command = unshare(&format!("{mount} && exec \"$@\""));
    command.arg(inner.get_program()).args(inner.get_args()).current_dir(house.path(""));
    Some(command)
}

#[test]
fn the_journal_gets_a_field_for_each_value_and_its_absence_is_said() {
    if !has_model() {
        return;
    }
    let house = House::new();
    std::fs::create_dir_all(house.path("run/systemd/journal")).unwrap();
    let args = ["--log", "journald", "watch", "--once"];
    let Some(mut command) = with_run(&house.path("run"), &house, &args) else { return };
    let output = command.output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(6), "{text}");
    assert!(text.contains("--log journald") && text.contains("hint"), "{text}");

    let journal = UnixDatagram::bind(house.path("run/systemd/journal/socket")).unwrap();
    journal.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    std::fs::write(house.path("inbox/junk.png"), "no image").unwrap();
    let mut child = with_run(&house.path("run"), &house, &args).unwrap().stderr(Stdio::null()).spawn().unwrap();
    let mut buffer = vec![0; 1 << 16];
    let rejected = loop {
        let length = journal.recv(&mut buffer).unwrap();
        let entry = String::from_utf8_lossy(&buffer[..length]).into_owned();
        if entry.contains("rejected") {
            break entry;
        }
    };
    // A field is its name, a new line, its length in eight bytes, its value.
    let fields =
        [("ANOMALYD_PIPELINE", "digits"), ("ANOMALYD_SOURCE", "junk.png"), ("MESSAGE", "rejected"), ("PRIORITY", "4")];
    for (name, value) in fields {
        let place = rejected.find(&format!("{name}\n")).unwrap_or_else(|| panic!("no {name} in {rejected:?}"));
        assert_eq!(&rejected[place + name.len() + 9..][..value.len()], value, "{rejected:?}");
    }
    assert!(rejected.contains("ANOMALYD_REASON\n"), "{rejected:?}");
    assert!(child.wait().unwrap().success());
}
