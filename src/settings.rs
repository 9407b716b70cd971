//! Settings of one process: defaults, then `anomalyd.toml`, then `ANOMALYD__*`, then flags.

use std::path::{Path, PathBuf};

use config::{Config, ConfigError, Environment, File, FileFormat};
use serde::Deserialize;

use crate::error::{Failure, Kind, Result};
use crate::image::Limits;
use crate::observe::settings::Http;
use crate::report::compact::Compaction;
use crate::report::retention::Retention;

/// Where settings are looked for when `--config` names no file.
const PLACES: [&str; 2] = ["anomalyd.toml", "/etc/anomalyd/anomalyd.toml"];

/// What one process runs with. Relative paths are relative to the working directory.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Ledger, reports, staging; one filesystem. Default: `$STATE_DIRECTORY` (systemd), else `anomalyd` in the XDG state folder.
    pub state: PathBuf,
    /// Model versions. Default: `./models`, else the installed `share/anomalyd/models`.
    pub models: PathBuf,
    /// Pipeline files. Default: `./pipelines`, else the installed `share/anomalyd/pipelines`.
    pub pipelines: PathBuf,
    /// `auto`, `cpu` or `cuda:N`.
    pub device: String,
    /// Threads that read and decode files, 2 at least; 0 is one a core.
    pub decode_threads: usize,
    /// Most frames scored in one call; what is waiting is taken, nothing is waited for.
    pub batch_frames: usize,
    /// Rows after which a batch is committed to the reports.
    pub flush_rows: usize,
    /// Bytes of pictures after which a batch is committed.
    pub flush_bytes: usize,
    /// Milliseconds after its first row at which a batch is committed.
    pub flush_ms: u64,
    /// Seconds that SIGTERM leaves for draining.
    pub grace_s: u64,
    /// Files waiting to be decoded.
    pub queue_files: usize,
    /// Frames waiting to be scored, and rows waiting to be written.
    pub queue_frames: usize,
    /// Bytes of images in memory between reading and writing; a single larger image still passes, alone.
    pub queue_bytes: u64,
    /// Bytes that must be free on the disk of the state folder: below, intake pauses until a tenth more is free. 0 is no bound.
    pub min_free: u64,
    /// Seconds the scoring of one batch of frames may take; then the process ends itself with exit code 8, to be started again.
    pub score_s: u64,
    /// What a file may ask for.
    pub limits: Limits,
    /// How closed days of many parts become few.
    pub compaction: Compaction,
    /// What is kept of the report tables: everything, unless said otherwise.
    pub retention: Retention,
    /// Who may ask the running service, beside the control socket in the state folder.
    pub http: Http,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            state: default_state(),
            models: installed("models"),
            pipelines: installed("pipelines"),
            device: "auto".into(),
            decode_threads: 0,
            batch_frames: 64,
            flush_rows: 8192,
            flush_bytes: 32 << 20,
            flush_ms: 1000,
            grace_s: 30,
            queue_files: 256,
            queue_frames: 256,
            queue_bytes: 256 << 20,
            min_free: 512 << 20,
            score_s: 100,
            limits: Limits::default(),
            compaction: Compaction::default(),
            retention: Retention::default(),
            http: Http::default(),
        }
    }
}

impl Settings {
    /// Defaults, file, environment, flags.
    ///
    /// # Errors
    /// [`Kind::Settings`] naming file and key.
    pub fn load(cli: &crate::cli::Cli) -> Result<Self> {
        let file = match &cli.config {
            Some(path) => Some(path.clone()),
            None => PLACES.iter().map(PathBuf::from).find(|path| path.is_file()),
        };
        let mut settings = Self::read(file.as_deref(), environment())?;
        for (flag, place) in [
            (&cli.state, &mut settings.state),
            (&cli.models, &mut settings.models),
            (&cli.pipelines, &mut settings.pipelines),
        ] {
            if let Some(path) = flag {
                place.clone_from(path);
            }
        }
        Ok(settings)
    }

    /// Number of decoding threads; two at least, so that an inbox that does not answer leaves one for the others.
    pub fn decoders(&self) -> usize {
        match self.decode_threads {
            0 => std::thread::available_parallelism().map_or(2, usize::from).clamp(2, 32),
            threads => threads.max(2),
        }
    }

    /// Defaults, file, environment. Each source is checked by itself first, so that an error names its source.
    fn read(file: Option<&Path>, environment: Environment) -> Result<Self> {
        let mut builder = Config::builder();
        if let Some(path) = file {
            let text = std::fs::read_to_string(path).map_err(|error| {
                Failure::new(Kind::Settings, format!("cannot read settings {}: {error}", path.display()))
            })?;
            let source = File::from_str(&text, FileFormat::Toml);
            parse(Config::builder().add_source(source.clone()).build(), &path.display().to_string())?;
            builder = builder.add_source(source);
        }
        parse(Config::builder().add_source(environment.clone()).build(), "environment ANOMALYD__*")?;
        parse(builder.add_source(environment).build(), "settings")?.check()
    }

    /// Numbers that cannot be worked with.
    fn check(self) -> Result<Self> {
        let least_one = [
            ("batch_frames", self.batch_frames),
            ("flush_rows", self.flush_rows),
            ("flush_bytes", self.flush_bytes),
            ("queue_files", self.queue_files),
            ("queue_frames", self.queue_frames),
            ("limits.decode_s", usize::try_from(self.limits.decode_s).unwrap_or(usize::MAX)),
            ("score_s", self.score_s as usize),
        ];
        match least_one.iter().find(|(_, value)| *value == 0) {
            Some((key, _)) => {
                Err(Failure::new(Kind::Settings, format!("settings: {key} = 0, but it must be at least 1")))
            }
            None => {
                self.compaction.check()?;
                self.retention.check()?;
                self.http.check()?;
                Ok(self)
            }
        }
    }
}

fn environment() -> Environment {
    Environment::with_prefix("ANOMALYD").prefix_separator("__").separator("__").try_parsing(true)
}

fn parse(config: Result<Config, ConfigError>, source: &str) -> Result<Settings> {
    config.and_then(Config::try_deserialize).map_err(|error| {
        Failure::new(Kind::Settings, format!("{source}: {error}"))
            .hint("the keys are described in the README, section settings")
    })
}

/// `$STATE_DIRECTORY` (its first folder) where systemd sets it, else the XDG state folder.
fn default_state() -> PathBuf {
    if let Some(folders) = std::env::var_os("STATE_DIRECTORY")
        && let Some(first) = std::env::split_paths(&folders).next().filter(|path| !path.as_os_str().is_empty())
    {
        return first;
    }
    dirs::state_dir().map_or_else(|| PathBuf::from("state"), |folder| folder.join("anomalyd"))
}

/// `./<name>` where there is one, else what was installed beside the program, else `./<name>` for messages to name.
fn installed(name: &str) -> PathBuf {
    let here = PathBuf::from(name);
    let beside =
        std::env::current_exe().ok().and_then(|exe| Some(exe.parent()?.parent()?.join("share/anomalyd").join(name)));
    let system = Path::new("/usr/share/anomalyd").join(name);
    [Some(here.clone()), beside, Some(system)].into_iter().flatten().find(|path| path.is_dir()).unwrap_or(here)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pretend(pairs: &[(&str, &str)]) -> Environment {
        environment().source(Some(pairs.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect()))
    }

    #[test]
    fn environment_overrides_file_and_file_overrides_defaults() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("anomalyd.toml");
        std::fs::write(&file, "flush_rows = 7\nflush_ms = 8\n[limits]\nframes = 3\n").unwrap();
        let settings = Settings::read(Some(&file), pretend(&[("ANOMALYD__FLUSH_MS", "9")])).unwrap();
        assert_eq!((settings.flush_rows, settings.flush_ms, settings.limits.frames), (7, 9, 3));
        let nested = Settings::read(Some(&file), pretend(&[("ANOMALYD__LIMITS__FRAMES", "4")])).unwrap();
        assert_eq!(nested.limits.frames, 4);
        assert_eq!(nested.grace_s, Settings::default().grace_s);
    }

    #[test]
    fn unknown_keys_are_refused_with_their_source() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("anomalyd.toml");
        std::fs::write(&file, "flush_rowz = 7\n").unwrap();
        let failure = Settings::read(Some(&file), pretend(&[])).unwrap_err();
        assert_eq!(failure.kind, Kind::Settings);
        assert!(failure.message.contains("flush_rowz") && failure.message.contains("anomalyd.toml"), "{failure}");
        let failure = Settings::read(None, pretend(&[("ANOMALYD__NOSUCH", "1")])).unwrap_err();
        assert!(failure.message.contains("ANOMALYD__") && failure.message.contains("nosuch"), "{failure}");
    }

    #[test]
    fn an_address_that_others_reach_needs_a_token() {
        let listen = |address: &'static str| ("ANOMALYD__HTTP__LISTEN", address);
        for address in ["127.0.0.1:9464", "[::1]:0"] {
            let settings = Settings::read(None, pretend(&[listen(address)])).unwrap();
            assert_eq!(settings.http.listen.unwrap().to_string(), address);
        }
        let failure = Settings::read(None, pretend(&[listen("0.0.0.0:9464")])).unwrap_err();
        assert!(failure.message.contains("http.listen") && failure.hint.unwrap().contains("token_file"));
        let token = ("ANOMALYD__HTTP__TOKEN_FILE", "/etc/anomalyd/token");
        assert!(Settings::read(None, pretend(&[listen("0.0.0.0:9464"), token])).is_ok());
        assert!(Settings::read(None, pretend(&[listen("everywhere")])).is_err());
    }

    #[test]
    fn compaction_and_retention_are_checked() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("anomalyd.toml");
        std::fs::write(&file, "[compaction]\nquiet_s = 5\n[retention.anomalies]\ndays = 30\n").unwrap();
        let settings = Settings::read(Some(&file), pretend(&[])).unwrap();
        assert_eq!((settings.compaction.quiet_s, settings.compaction.min_parts), (5, 2));
        assert_eq!((settings.retention.anomalies.days, settings.retention.scores.days), (Some(30), None));
        for (key, value, named) in [
            ("ANOMALYD__COMPACTION__MIN_PARTS", "1", "compaction.min_parts"),
            ("ANOMALYD__RETENTION__SCORES__BYTES", "0", "retention.scores.bytes"),
        ] {
            let failure = Settings::read(None, pretend(&[(key, value)])).unwrap_err();
            assert!(failure.kind == Kind::Settings && failure.message.contains(named), "{failure}");
        }
    }

    #[test]
    fn a_queue_of_nothing_is_refused() {
        let failure = Settings::read(None, pretend(&[("ANOMALYD__QUEUE_FILES", "0")])).unwrap_err();
        assert!(failure.message.contains("queue_files"), "{failure}");
    }

    #[test]
    fn decoding_has_a_minute_or_what_is_set_but_never_no_time() {
        let seconds = |value| Settings::read(None, pretend(&[("ANOMALYD__LIMITS__DECODE_S", value)]));
        assert_eq!(Settings::default().limits.decode_s, 60);
        assert_eq!(seconds("7").unwrap().limits.decode_s, 7);
        assert!(seconds("0").unwrap_err().message.contains("limits.decode_s"));
    }
}
