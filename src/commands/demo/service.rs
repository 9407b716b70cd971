//! The service as a child process: this very program, `watch`, with folders of its own.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::error::{Failure, Kind, Result};
use crate::settings::Settings;

/// How long the service may take to drain: longer than it gives itself.
const GRACE: Duration = Duration::from_secs(60);
/// Lines of its log that a failure quotes.
const QUOTED: usize = 8;

/// A running service; killed when dropped before it was stopped.
pub struct Service {
    child: Child,
    log: PathBuf,
}

impl Service {
    /// Makes `root/{inbox,pipelines,state}` and starts `watch` on them.
    ///
    /// # Errors
    /// [`Kind::Settings`] when a pipeline file cannot be read, [`Kind::Io`] when the service cannot be started.
    pub fn start(root: &Path, settings: &Settings, pipelines: &[&str]) -> Result<Self> {
        for pipeline in pipelines {
            prepare(root, &settings.pipelines, pipeline)?;
        }
        let log = root.join("watch.log");
        let file = File::create(&log).map_err(|error| Failure::io(&log, error))?;
        let program = std::env::current_exe().map_err(|error| Failure::io(Path::new("this program"), error))?;
        let models = settings.models.canonicalize().map_err(|error| Failure::io(&settings.models, error))?;
        let mut command = Command::new(&program);
        command.arg("--state").arg(root.join("state")).arg("--models").arg(models);
        command.arg("--pipelines").arg(root.join("pipelines")).arg("watch").args(pipelines);
        // Verdicts are shown as they are committed, so they are committed soon.
        command.env("ANOMALYD__FLUSH_MS", "700");
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(file).spawn();
        Ok(Self { child: child.map_err(|error| Failure::io(&program, error))?, log })
    }

    /// Whether it still runs.
    ///
    /// # Errors
    /// [`Kind::Internal`] with the end of its log when it has ended by itself.
    pub fn check(&mut self) -> Result<()> {
        match self.child.try_wait() {
            Ok(None) => Ok(()),
            Ok(Some(status)) => Err(self.failure(&format!("the service ended early ({status})"))),
            Err(error) => Err(self.failure(&error.to_string())),
        }
    }

    /// Asks it to drain and end, as systemd would.
    ///
    /// # Errors
    /// [`Kind::Internal`] when it fails or does not end in time.
    pub fn stop(&mut self) -> Result<()> {
        if let Some(pid) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) {
            kill_process(pid, Signal::TERM).map_err(|error| self.failure(&error.to_string()))?;
        }
        match self.wait() {
            Some(status) if status.success() => Ok(()),
            Some(status) => Err(self.failure(&format!("the service did not stop cleanly ({status})"))),
            None => Err(self.failure("the service did not stop in time")),
        }
    }

    fn wait(&mut self) -> Option<ExitStatus> {
        let asked = Instant::now();
        while asked.elapsed() < GRACE {
            if let Ok(Some(status)) = self.child.try_wait() {
                return Some(status);
            }
            sleep(Duration::from_millis(20));
        }
        None
    }

    fn failure(&self, message: &str) -> Failure {
        let log = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        let end = lines[lines.len().saturating_sub(QUOTED)..].join("\n  ");
        Failure::new(Kind::Internal, message).hint(format!("its log, {}, ends with\n  {end}", self.log.display()))
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        if let Ok(None) = self.child.try_wait() {
            let _ = self.child.kill(); // it may have ended in between
            let _ = self.child.wait();
        }
    }
}

/// An inbox, and a copy of the pipeline file that points to it.
fn prepare(root: &Path, pipelines: &Path, name: &str) -> Result<()> {
    let (inbox, copies) = (root.join("inbox").join(name), root.join("pipelines"));
    for folder in [&inbox, &copies, &root.join("state")] {
        fs::create_dir_all(folder).map_err(|error| Failure::io(folder, error))?;
    }
    let given = pipelines.join(format!("{name}.toml"));
    let text = fs::read_to_string(&given).map_err(|error| {
        Failure::new(Kind::Settings, format!("cannot read pipeline {}: {error}", given.display()))
            .hint("run the demo from the repository's root, or give --pipelines and --models")
    })?;
    let copy = copies.join(format!("{name}.toml"));
    fs::write(&copy, with_inbox(&text, &inbox)).map_err(|error| Failure::io(&copy, error))
}

/// The pipeline's text with another inbox; everything else stays as it was.
fn with_inbox(text: &str, inbox: &Path) -> String {
    let is_inbox =
        |line: &&str| line.trim_start().strip_prefix("inbox").is_some_and(|r| r.trim_start().starts_with('='));
    let top = text.lines().take_while(|line| !line.starts_with('[')).count();
    let kept = text.lines().enumerate().filter(|(at, line)| *at >= top || !is_inbox(line)).map(|(_, line)| line);
    let first = format!("inbox = {}", toml::Value::String(inbox.display().to_string()));
    std::iter::once(first.as_str()).chain(kept).map(|line| format!("{line}\n")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_inbox_is_replaced_and_nothing_else() {
        let text = "# stars\ninbox = \"/data\"\ndescription = \"x\"\n[input]\nsize = 64\n";
        let wanted = "inbox = \"/tmp/in box\"\n# stars\ndescription = \"x\"\n[input]\nsize = 64\n";
        assert_eq!(with_inbox(text, Path::new("/tmp/in box")), wanted);
    }
}
