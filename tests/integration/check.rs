//! `check`: what `watch` would end with, found before it starts.

use std::collections::BTreeMap;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::{Command, Output};

use super::watch::{House, has_model};

fn lines(output: &Output) -> (i32, String) {
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    (output.status.code().unwrap(), text)
}

/// Everything below a folder, with its size and time of change.
fn contents(folder: &Path) -> BTreeMap<std::path::PathBuf, (u64, std::time::SystemTime)> {
    let entries = walkdir::WalkDir::new(folder).into_iter().map(|entry| entry.unwrap());
    entries
        .map(|entry| {
            let meta = entry.metadata().unwrap();
            (entry.into_path(), (meta.len(), meta.modified().unwrap()))
        })
        .collect()
}

#[test]
fn a_house_in_order_passes_and_is_left_as_it_was() {
    if !has_model() {
        return;
    }
    let house = House::new();
    let before = contents(house.root.path());
    let (code, text) = lines(&house.run(&["check"]));
    assert_eq!(code, 0, "{text}");
    assert!(text.contains("ok: pipeline digits"), "{text}");
    assert_eq!(before, contents(house.root.path()), "check writes nothing");
    let mut daemon = house.start();
    let (code, text) = lines(&house.run(&["check", "digits"]));
    assert_eq!(code, 0, "beside a daemon: {text}");
    assert!(daemon.child.try_wait().unwrap().is_none());
}

#[test]
fn all_that_is_wrong_is_said_at_once_and_the_first_gives_the_exit_code() {
    let house = House::new();
    std::fs::write(house.path("pipelines/broken.toml"), "nonsense = 1\n").unwrap();
    let text = std::fs::read_to_string(house.path("pipelines/digits.toml")).unwrap();
    let lost = text.replace(&format!("{:?}", house.path("inbox")), "\"/no/such/inbox\"");
    std::fs::write(house.path("pipelines/lost.toml"), lost).unwrap();
    std::fs::write(house.path("pipelines/untrained.toml"), text).unwrap();
    std::fs::write(house.path("state"), "a file").unwrap();
    let (code, text) = lines(&house.run(&["check"]));
    assert_eq!(code, 3, "{text}");
    for word in ["broken.toml:1:", "no model of pipeline untrained", "is not a folder"] {
        assert_eq!(text.lines().filter(|line| line.starts_with("error: ") && line.contains(word)).count(), 1, "{text}");
    }
    assert!(text.contains("things stand"), "{text}");
    // One inbox that is not there does not keep the others from being watched.
    assert!(text.lines().any(|line| line.starts_with("warning: ") && line.contains("/no/such/inbox")), "{text}");
    let (alone, text) = lines(&house.run(&["check", "lost"]));
    assert!(alone == 6 && text.contains("error: inbox /no/such/inbox"), "{text}");
    assert_eq!(code, lines(&house.run(&["watch"])).0, "watch ends with the same code");
    let (code, text) = lines(&house.run(&["check", "untrained"]));
    assert_eq!((code, lines(&house.run(&["watch", "untrained"])).0), (4, 4), "{text}");
}

#[test]
fn a_damaged_model_is_found_by_its_digest() {
    if !has_model() {
        return;
    }
    let house = House::new();
    let models = house.path("models");
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/digits");
    let version = std::fs::read_to_string(shipped.join("current")).unwrap();
    let copy = models.join("digits").join(version.trim());
    std::fs::create_dir_all(&copy).unwrap();
    std::fs::copy(shipped.join("current"), models.join("digits/current")).unwrap();
    for entry in std::fs::read_dir(shipped.join(version.trim())).unwrap().flatten() {
        std::fs::copy(entry.path(), copy.join(entry.file_name())).unwrap();
    }
    let weights = copy.join("weights.safetensors");
    let mut bytes = std::fs::read(&weights).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    std::fs::write(&weights, bytes).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_anomalyd"));
    command.arg("--state").arg(house.path("state")).arg("--pipelines").arg(house.path("pipelines"));
    let (code, text) = lines(&command.arg("--models").arg(&models).arg("check").output().unwrap());
    assert_eq!(code, 4, "{text}");
    assert!(text.contains("weights.safetensors") && text.contains("digest"), "{text}");
}

#[test]
fn files_of_another_user_in_the_state_folder_are_named() {
    if !has_model() {
        return;
    }
    let house = House::new();
    let ledger = house.path("state/ledger.sqlite");
    std::fs::create_dir(house.path("state")).unwrap();
    std::fs::write(&ledger, "").unwrap();
    std::fs::set_permissions(&ledger, std::fs::Permissions::from_mode(0o444)).unwrap();
    if rustix::process::geteuid().is_root() {
        println!("root may write everything: not tested");
        return;
    }
    let (code, text) = lines(&house.run(&["check"]));
    assert_eq!(code, 6, "{text}");
    assert!(text.contains("ledger.sqlite cannot be written") && text.contains("chown"), "{text}");
}

#[test]
fn a_state_folder_on_two_filesystems_is_refused() {
    let house = House::new();
    std::fs::create_dir(house.path("state")).unwrap();
    let Ok(elsewhere) = tempfile::tempdir_in("/dev/shm") else { return println!("no /dev/shm: not tested") };
    if std::fs::metadata(elsewhere.path()).unwrap().dev() == std::fs::metadata(house.root.path()).unwrap().dev() {
        return println!("/dev/shm is the filesystem of the temporary folders: not tested");
    }
    std::os::unix::fs::symlink(elsewhere.path(), house.path("state/reports")).unwrap();
    let (code, text) = lines(&house.run(&["check"]));
    assert_ne!(code, 0);
    assert!(text.contains("state/reports is on another filesystem"), "{text}");
}

#[test]
fn a_token_that_everybody_reads_and_an_address_of_another_machine_are_refused() {
    let house = House::new();
    std::fs::write(house.path("token"), "0123456789abcdef0123456789abcdef").unwrap();
    std::fs::set_permissions(house.path("token"), std::fs::Permissions::from_mode(0o644)).unwrap();
    // 192.0.2.0/24 is no machine's (RFC 5737).
    let text = format!("[http]\nlisten = \"192.0.2.1:9464\"\ntoken_file = {:?}\n", house.path("token"));
    std::fs::write(house.path("my.toml"), text).unwrap();
    let (_, text) = lines(&house.run(&["--config", "my.toml", "check"]));
    assert!(text.contains("error: http.token_file") && text.contains("everybody can read"), "{text}");
    std::fs::set_permissions(house.path("token"), std::fs::Permissions::from_mode(0o600)).unwrap();
    let (code, text) = lines(&house.run(&["--config", "my.toml", "check"]));
    assert!(text.contains("error: http.listen 192.0.2.1:9464 cannot be listened on"), "{text}");
    assert!([4, 6].contains(&code), "{text}"); // 4 where the models are not there
}

#[test]
fn little_room_is_a_warning_and_a_disk_that_could_never_serve_a_failure() {
    if !has_model() {
        return;
    }
    let house = House::new();
    let disk = rustix::fs::statvfs(house.root.path()).unwrap();
    let all = disk.f_blocks * disk.f_frsize;
    let check = |min_free: u64| {
        lines(&house.command(&["check"]).env("ANOMALYD__MIN_FREE", min_free.to_string()).output().unwrap())
    };
    let (code, text) = check(all - 1);
    assert_eq!(code, 0, "watch starts, and waits: {text}");
    assert!(text.contains("warning: ") && text.contains("less than min_free"), "{text}");
    let (code, text) = check(all);
    assert_eq!(code, 3, "{text}");
}

#[test]
fn an_archive_that_cannot_be_written_is_said_and_scoring_goes_on_without() {
    if !has_model() {
        return;
    }
    let house = House::new();
    house.write_pipeline("[after]\nscored = { move = \"/no/such/archive\" }\n");
    let (code, text) = lines(&house.run(&["check"]));
    assert_eq!(code, 0, "{text}");
    let named = "digits.toml: [after] scored moves files to /no/such/archive: No such file";
    let warned = |line: &str| line.starts_with("warning: ") && line.contains(named) && line.contains("ReadWritePaths=");
    assert!(text.lines().any(warned), "{text}");
    let (code, text) = lines(&house.run(&["watch", "--once"]));
    assert!(code == 6 && text.contains(named), "what is to be done once is to be done whole: {code}: {text}");
}

/// Only root can make a folder somebody else's.
#[test]
fn the_state_folder_of_another_user_is_said_before_anything_is_left_in_it() {
    if !has_model() || !rustix::process::geteuid().is_root() {
        return;
    }
    let house = House::new();
    std::fs::create_dir(house.path("state")).unwrap();
    std::os::unix::fs::chown(house.path("state"), Some(65_534), None).unwrap();
    let (code, text) = lines(&house.run(&["check"]));
    assert!(code == 3 && text.contains("belongs to user 65534"), "{code}: {text}");
    for command in [&["compact"][..], &["ledger", "rebuild"], &["watch", "--once"]] {
        std::fs::create_dir_all(house.path("state/reports")).unwrap();
        let (code, text) = lines(&house.run(command));
        assert!(code == 3 && text.contains("sudo -u"), "{command:?}: {code}: {text}");
        assert!(!house.path("state/ledger.sqlite").exists() && !house.path("state/lock").exists(), "{command:?}");
    }
}
