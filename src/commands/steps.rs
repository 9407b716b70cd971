//! How far a longer piece of work is: a bar on a terminal, now and then a line in a log.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

/// Time between two lines of a log.
const QUIET: Duration = Duration::from_secs(5);

/// One piece of work of a known number of steps; the bar goes with it.
pub struct Steps {
    bar: Option<ProgressBar>,
    name: String,
    all: usize,
    said: Instant,
}

impl Steps {
    /// Named work of so many steps, none of them done.
    pub fn new(name: &str, all: usize) -> Self {
        let bar = || {
            let style = ProgressStyle::with_template("{bar:30} {pos}/{len}  {msg}  {eta} left");
            let bar = ProgressBar::new(all as u64).with_message(name.to_string());
            bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
        };
        let bar = std::io::stderr().is_terminal().then(bar);
        Self { bar, name: name.to_string(), all, said: Instant::now() }
    }

    /// So many are done.
    pub fn at(&mut self, done: usize) {
        match &self.bar {
            Some(bar) => bar.set_position(done as u64),
            None if self.said.elapsed() > QUIET => {
                self.said = Instant::now();
                tracing::info!(done, of = self.all, "{}", self.name);
            }
            None => (),
        }
    }
}

impl Drop for Steps {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
