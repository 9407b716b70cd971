//! What the package installs beside the program: it must stay true to the program.

use std::path::Path;

use anomalyd::error::Kind;
use anomalyd::settings::Settings;

fn shipped(name: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("systemd").join(name)).unwrap()
}

/// The settings file with its commented keys switched on.
fn switched_on() -> String {
    let is_key = |line: &str| {
        line.strip_prefix("# ")
            .is_some_and(|rest| rest.split_once(" = ").is_some_and(|(key, _)| !key.contains([' ', '`'])))
    };
    shipped("anomalyd.toml")
        .lines()
        .map(|line| if is_key(line) { &line[2..] } else { line })
        .collect::<Vec<_>>()
        .join("\n")
}

/// The keys of a table of the settings, as the parser lists them.
fn keys(table: &str) -> Vec<String> {
    let refused = toml::from_str::<Settings>(&format!("{table}no_such_key = 1")).unwrap_err().message().to_string();
    let names = refused.split_once("expected").expect(&refused).1;
    names.split('`').skip(1).step_by(2).map(str::to_string).collect()
}

#[test]
fn the_settings_file_names_every_key_with_its_default() {
    let text = switched_on();
    let table: toml::Table = toml::from_str(&text).unwrap();
    for key in keys("") {
        assert!(table.contains_key(&key), "systemd/anomalyd.toml does not name {key}");
    }
    for (name, inner) in table.iter().filter_map(|(name, value)| Some((name, value.as_table()?))) {
        for key in keys(&format!("[{name}]\n")) {
            assert!(inner.contains_key(&key), "systemd/anomalyd.toml does not name {name}.{key}");
        }
    }
    let mut settings: Settings = toml::from_str(&text).unwrap();
    let default = Settings::default();
    assert_eq!(settings.pipelines, Path::new("/etc/anomalyd/pipelines"));
    assert_eq!(settings.models, Path::new("/usr/share/anomalyd/models"));
    // Nothing is served over TCP and nothing is dropped unless it is asked for: these show what may be asked.
    (settings.http, settings.retention) = (default.http.clone(), default.retention.clone());
    (settings.state, settings.pipelines, settings.models) =
        (default.state.clone(), default.pipelines.clone(), default.models.clone());
    assert_eq!(format!("{settings:?}"), format!("{default:?}"));
    toml::from_str::<Settings>(&shipped("anomalyd.toml")).unwrap();
}

/// What holds the state folder is a command that ends: the service waits for it, as it waits for a disk or a device.
#[test]
fn the_service_is_started_again_after_all_that_may_pass() {
    for unit in ["anomalyd.service", "anomalyd@.service"] {
        let text = shipped(unit);
        let line = text.lines().find_map(|line| line.strip_prefix("RestartPreventExitStatus=")).unwrap();
        let codes: Vec<u8> = line.split(' ').map(|code| code.parse().unwrap()).collect();
        assert_eq!(codes, [Kind::Usage, Kind::Settings, Kind::Model, Kind::Data].map(|kind| kind as u8), "{unit}");
    }
}

#[test]
fn the_instance_unit_is_the_unit_with_its_name_filled_in() {
    let lines = |text: &str| -> Vec<String> {
        let kept = text.lines().filter(|line| !line.starts_with('#') && !line.starts_with("Description="));
        kept.filter(|line| !line.starts_with("EnvironmentFile=")).map(str::to_string).collect()
    };
    let filled = shipped("anomalyd@.service").replace("/%i", "").replace(" %i", "");
    assert_eq!(lines(&filled), lines(&shipped("anomalyd.service")));
}
