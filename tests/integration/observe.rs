//! What others see of the daemon: log lines, metrics, answers over HTTP.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::process::{Command, Stdio};
use std::time::Duration;

use super::watch::{Daemon, House, has_model, image, wait_until};

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

/// Receives, though this process is stopped and goes on meanwhile.
pub fn receive(socket: &UnixDatagram, buffer: &mut [u8]) -> std::io::Result<usize> {
    loop {
        match socket.recv(buffer) {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            other => return other,
        }
    }
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
    journal.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    std::fs::write(house.path("inbox/junk.png"), "no image").unwrap();
    let mut child = with_run(&house.path("run"), &house, &args).unwrap().stderr(Stdio::null()).spawn().unwrap();
    let mut buffer = vec![0; 1 << 16];
    let rejected = loop {
        let length = receive(&journal, &mut buffer).unwrap();
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

/// Asks for a route and returns code and body.
fn ask(mut stream: impl Read + Write, route: &str, token: Option<&str>) -> (u16, String) {
    let token = token.map_or_else(String::new, |token| format!("Authorization: Bearer {token}\r\n"));
    write!(stream, "GET {route} HTTP/1.1\r\nHost: localhost\r\n{token}Connection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{answer:?}"));
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_string())
}

pub fn ask_socket(house: &House, route: &str) -> (u16, String) {
    ask(UnixStream::connect(house.path("state/control.sock")).unwrap(), route, None)
}

/// The daemon with an address of its own choice, and that address.
fn start_on_tcp(house: &House, host: &str) -> (Daemon, String) {
    std::fs::write(
        house.path("anomalyd.toml"),
        format!("[http]\nlisten = \"{host}:0\"\n{}", if host == "127.0.0.1" { "" } else { "token_file = \"token\"\n" }),
    )
    .unwrap();
    let daemon = house.start();
    let log = std::fs::read_to_string(&daemon.log).unwrap();
    let line = log.lines().find(|line| line.contains("answering over HTTP")).unwrap_or_else(|| panic!("{log}"));
    let port = line.rsplit(':').next().unwrap().trim();
    (daemon, format!("127.0.0.1:{port}"))
}

/// The samples of an exposition by name and labels, after it has been read as strictly as Prometheus would.
pub fn samples(text: &str) -> BTreeMap<String, f64> {
    let (mut help, mut kinds) = (BTreeSet::new(), BTreeMap::<String, String>::new());
    let (mut samples, mut family) = (BTreeMap::new(), String::new());
    for line in text.lines().filter(|line| !line.is_empty()) {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, text) = rest.split_once(' ').unwrap();
            assert!(!text.is_empty() && help.insert(name.to_string()), "{line}");
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap();
            assert!(["counter", "gauge", "histogram"].contains(&kind), "{line}");
            assert!(kinds.insert(name.into(), kind.into()).is_none(), "a second TYPE: {line}");
            assert!(help.contains(name), "no HELP before {line}");
            family = name.into();
        } else {
            let (key, value) = line.rsplit_once(' ').unwrap();
            let name = key.split('{').next().unwrap();
            assert!(name.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '_'), "{line}");
            let kind = kinds.get(&family).unwrap_or_else(|| panic!("no TYPE before {line}"));
            let suffix = name.strip_prefix(&family).unwrap_or_else(|| panic!("{line} among {family}"));
            match kind.as_str() {
                "histogram" => assert!(["_bucket", "_sum", "_count"].contains(&suffix), "{line}"),
                "counter" => assert!(suffix.is_empty() && name.ends_with("_total"), "{line}"),
                _ => assert!(suffix.is_empty() && !name.ends_with("_total"), "{line}"),
            }
            let value: f64 = value.parse().unwrap_or_else(|_| panic!("{line}"));
            assert!(samples.insert(key.to_string(), value).is_none(), "twice: {line}");
        }
    }
    check_histograms(text, &samples);
    samples
}

/// Buckets come in order, are cumulative, and the last has as many as the count.
fn check_histograms(text: &str, samples: &BTreeMap<String, f64>) {
    let (mut before, mut series) = ((f64::NEG_INFINITY, 0.0), String::new());
    for line in text.lines().filter(|line| line.contains("_bucket{")) {
        let (key, value) = line.rsplit_once(' ').unwrap();
        let (labels, bound) = key.rsplit_once("le=\"").unwrap();
        let bound = bound.trim_end_matches("\"}");
        let (bound, value) =
            (if bound == "+Inf" { f64::INFINITY } else { bound.parse().unwrap() }, value.parse().unwrap());
        if labels != series {
            (before, series) = ((f64::NEG_INFINITY, 0.0), labels.to_string());
        }
        assert!(bound > before.0 && value >= before.1, "{line}");
        if bound.is_infinite() {
            let count = format!("{}}}", labels.replace("_bucket{", "_count{").trim_end_matches(','));
            assert_eq!(samples[&count], value, "{count}");
        }
        before = (bound, value);
    }
}

fn sum(samples: &BTreeMap<String, f64>, name: &str, label: &str) -> f64 {
    let of = |key: &&String| key.split('{').next() == Some(name) && key.contains(label);
    samples.keys().filter(of).map(|key| samples[key]).sum()
}

#[test]
fn metrics_are_what_prometheus_reads_and_counters_only_rise() {
    if !has_model() {
        return;
    }
    let house = House::new();
    let (_daemon, address) = start_on_tcp(&house, "127.0.0.1");
    for index in 0..8 {
        std::fs::write(house.path(&format!("inbox/{index}.png")), image(index)).unwrap();
    }
    std::fs::write(house.path("inbox/junk.png"), "no image").unwrap();
    let scrape = || {
        let (code, text) = ask(TcpStream::connect(&address).unwrap(), "/metrics", None);
        assert_eq!(code, 200, "{text}");
        samples(&text)
    };
    // A file ends after its frames have been counted.
    let mut first = BTreeMap::new();
    wait_until("all files have ended", || {
        first = scrape();
        sum(&first, "anomalyd_files_ended_total", "digits") >= 9.0
    });
    assert_eq!(sum(&first, "anomalyd_frames_scored_total", "pipeline=\"digits\""), 8.0);
    for stage in ["read", "decode", "prepare", "score"] {
        let counted = sum(&first, "anomalyd_stage_seconds_count", &format!("stage=\"{stage}\""));
        assert!(counted >= 8.0, "{stage}: {counted}");
    }
    assert!(sum(&first, "anomalyd_file_seconds_count", "digits") >= 8.0);
    assert_eq!(sum(&first, "anomalyd_ready", ""), 1.0);
    assert_eq!(sum(&first, "anomalyd_condition", ""), 0.0);
    assert_eq!(sum(&first, "anomalyd_model_info", "model_version=\"0001-f8934809\""), 1.0);
    assert!(sum(&first, "process_resident_memory_bytes", "") > 1e6 && sum(&first, "process_open_fds", "") > 5.0);
    for queue in ["jobs", "items", "rows"] {
        assert!(first.contains_key(&format!("anomalyd_queue_depth{{queue=\"{queue}\"}}")), "{queue}");
    }
    std::fs::write(house.path("inbox/last.png"), image(40)).unwrap();
    house.wait_for(9);
    let second = samples(&ask_socket(&house, "/metrics").1);
    for (key, value) in first.iter().filter(|(key, _)| key.contains("_total") || key.contains("_bucket")) {
        assert!(second[key] >= *value, "{key} fell from {value} to {}", second[key]);
    }
    assert_eq!(sum(&second, "anomalyd_frames_scored_total", "digits"), 9.0);
    assert_eq!(sum(&second, "anomalyd_rejected_total", "reason=\"unknown_format\""), 1.0);
}

#[test]
fn other_machines_need_the_token_and_a_new_one_after_a_reload() {
    if !has_model() {
        return;
    }
    let house = House::new();
    let write = |text: &str, mode: u32| {
        std::fs::write(house.path("token"), text).unwrap();
        std::fs::set_permissions(house.path("token"), std::fs::Permissions::from_mode(mode)).unwrap();
    };
    write("one-token-long-enough", 0o644);
    std::fs::write(house.path("anomalyd.toml"), "[http]\nlisten = \"0.0.0.0:0\"\ntoken_file = \"token\"\n").unwrap();
    let refused = house.run(&["watch"]);
    assert_eq!(refused.status.code(), Some(3), "readable for everybody");
    write("one-token-long-enough", 0o640);
    let (daemon, address) = start_on_tcp(&house, "0.0.0.0");
    let code = |token| ask(TcpStream::connect(&address).unwrap(), "/metrics", token).0;
    assert_eq!(
        [code(None), code(Some("another-token-entirely")), code(Some("one-token-long-enough"))],
        [401, 401, 200]
    );
    assert_eq!(ask_socket(&house, "/healthz").0, 200, "who may open the socket needs none");
    write("another-token-entirely", 0o600);
    daemon.signal(rustix::process::Signal::HUP);
    daemon.wait_for("changes=nothing");
    assert_eq!([code(Some("one-token-long-enough")), code(Some("another-token-entirely"))], [401, 200]);
}

#[test]
fn a_port_in_use_is_said_with_what_to_do() {
    if !has_model() {
        return;
    }
    let house = House::new();
    let other = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = other.local_addr().unwrap().to_string();
    let output = house.command(&["watch"]).env("ANOMALYD__HTTP__LISTEN", &address).output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(6), "{text}");
    assert!(text.contains(&address) && text.contains("hint"), "{text}");
}
