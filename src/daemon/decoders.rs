//! The decoding threads: as many as are asked for, and never fewer than a reload's inboxes need.

use std::sync::Arc;

use crossbeam_channel::Sender;
use tokio::sync::mpsc::UnboundedSender;

use super::budget::Budget;
use super::decode::Decoder;
use super::flight::Flight;
use super::post::Posts;
use super::progress::Progress;
use super::queue::Queue;
use super::space::Space;
use super::stages::{Item, Stop};
use super::threads::{Ended, spawn};
use super::work::Work;
use crate::error::Result;
use crate::ledger::Reader;
use crate::settings::Settings;

/// What decoders share.
pub struct Decoders {
    /// How many were started.
    pub count: usize,
    pub settings: Settings,
    pub jobs: Arc<Queue>,
    pub items: Sender<Item>,
    pub flight: Arc<Flight>,
    pub files: Arc<Budget>,
    pub frames: Arc<Budget>,
    pub posts: Arc<Posts>,
    pub progress: Arc<Progress>,
    pub stop: Arc<Stop>,
    pub space: Arc<Space>,
    pub watched: bool,
    pub events: UnboundedSender<Ended>,
}

impl Decoders {
    /// Starts those that are missing to so many; returns their number.
    ///
    /// # Errors
    /// [`crate::error::Kind::Io`] for a broken ledger, [`crate::error::Kind::Internal`] when a thread cannot be started.
    pub fn grow(&mut self, count: usize) -> Result<usize> {
        let before = self.count;
        while self.count < count {
            self.start()?;
            self.count += 1;
            self.jobs.enlist();
        }
        Ok(self.count - before)
    }

    fn start(&self) -> Result<()> {
        let decoder = Decoder {
            jobs: self.jobs.clone(),
            items: self.items.clone(),
            flight: self.flight.clone(),
            ledger: Reader::open(&self.settings.state)?,
            limits: self.settings.limits,
            files: self.files.clone(),
            frames: self.frames.clone(),
            work: Work::new(&self.settings.state, &format!("decode-{}", self.count), &self.posts)?,
            progress: self.progress.clone(),
            stop: self.stop.clone(),
            space: self.space.clone(),
            watched: self.watched,
        };
        spawn("decode", &self.events, move || decoder.run())
    }
}
