//! What a training shows while it runs.

use std::io::IsTerminal;

use indicatif::{ProgressBar, ProgressStyle};

use super::summary::percent;
use crate::train::chain;
use crate::train::fit::Event;

/// A bar on a terminal, a line an epoch in the log.
pub struct Progress {
    bar: ProgressBar,
    beta: f32,
    /// Of the last epoch.
    images_per_s: f64,
}

impl Progress {
    /// For a model of that beta.
    pub fn new(beta: f32) -> Self {
        let bar = if std::io::stderr().is_terminal() { ProgressBar::new(0) } else { ProgressBar::hidden() };
        let style = ProgressStyle::with_template("{bar:30} {pos}/{len} steps  {msg}  {eta} left");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        Self { bar, beta, images_per_s: 0.0 }
    }

    /// Shows what happened.
    pub fn show(&mut self, event: Event) {
        match event {
            Event::Step(done, all, loss) => {
                self.bar.set_length(all as u64);
                self.bar.set_position(done as u64);
                self.bar.set_message(format!("-ELBO {loss:.2} nats, {:.0} images/s", self.images_per_s));
            }
            Event::Epoch(epoch) => {
                self.images_per_s = epoch.images_per_s;
                self.bar.suspend(|| {
                    tracing::info!(
                        epoch = epoch.epoch,
                        train_nll = format_args!("{:.2}", epoch.train_nll),
                        train_kl = format_args!("{:.2}", epoch.train_kl),
                        validation = format_args!("{:.2}", epoch.validation_loss(self.beta)),
                        validation_kl = format_args!("{:.2}", epoch.validation_kl),
                        active_units = epoch.active_units,
                        accuracy = epoch.validation_head.map(|head| tracing::field::display(percent(head.accuracy))),
                        images_per_s = format_args!("{:.0}", epoch.images_per_s),
                        "epoch"
                    );
                })
            }
            Event::Beside(name, event) => self.show_beside(name, event),
        }
    }

    /// Takes the bar away.
    pub fn finish(&self) {
        self.bar.finish_and_clear();
    }

    fn show_beside(&mut self, name: &str, event: chain::Event) {
        match event {
            chain::Event::Step(done, all, loss) => {
                self.bar.set_length(all as u64);
                self.bar.set_position(done as u64);
                self.bar.set_message(format!("{name}, loss {loss:.2} nats"));
            }
            chain::Event::Epoch(epoch) => self.bar.suspend(|| {
                tracing::info!(
                    epoch = epoch.epoch,
                    train = format_args!("{:.2}", epoch.train_loss),
                    validation = format_args!("{:.2}", epoch.validation_loss),
                    images_per_s = format_args!("{:.0}", epoch.images_per_s),
                    network = name,
                    "epoch"
                );
            }),
        }
    }
}
