//! Whether the places that a pipeline needs can be used: its inbox, and where its files go after scoring.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use tracing::{info, warn};

use super::condition::{Condition, Reason};
use super::owed::Owed;

/// Places that do not answer, and what is known of it. By place and not by pipeline: after a reload the same pipeline may have
/// another inbox, and a thread of before it may still hang over the old one.
pub type Stalled = HashMap<Arc<Path>, String>;

/// Places that a pipeline needs for one purpose.
#[derive(Debug)]
pub struct Access {
    /// The pipeline.
    pipeline: String,
    /// The places as they are named, and the key that names each.
    places: Vec<(&'static str, Arc<Path>)>,
    purpose: Purpose,
}

#[derive(Debug)]
enum Purpose {
    /// Files come from there; why it cannot be reached, as its intake says.
    Inbox(Mutex<Option<String>>),
    /// Files go there once they are scored.
    After(Arc<Owed>),
}

/// The places of the pipelines that are fed.
pub type Accesses = Arc<Mutex<Vec<Arc<Access>>>>;

impl Access {
    /// To an inbox.
    pub fn inbox(pipeline: &str, place: &Path) -> Arc<Self> {
        let (places, purpose) = (vec![("inbox", place.into())], Purpose::Inbox(Mutex::default()));
        Arc::new(Self { pipeline: pipeline.into(), places, purpose })
    }

    /// To where files go after scoring.
    pub fn after(pipeline: &str, places: Vec<(&'static str, Arc<Path>)>, owed: Arc<Owed>) -> Arc<Self> {
        Arc::new(Self { pipeline: pipeline.into(), places, purpose: Purpose::After(owed) })
    }

    /// The first of the places.
    pub fn place(&self) -> Arc<Path> {
        self.places.first().map_or_else(|| Path::new("").into(), |(_, place)| place.clone())
    }

    /// The intake says why the inbox cannot be reached, or that it can.
    pub fn say(&self, lost: Option<String>) {
        if let Purpose::Inbox(place) = &self.purpose {
            *place.lock().unwrap_or_else(PoisonError::into_inner) = lost;
        }
    }

    /// What it is called that the places cannot be used.
    pub fn reason(&self) -> Reason {
        match self.purpose {
            Purpose::Inbox(_) => Reason::InboxUnreachable(self.pipeline.clone()),
            Purpose::After(_) => Reason::AfterFailing(self.pipeline.clone()),
        }
    }

    /// Why they cannot be used, where that is so.
    pub fn trouble(&self, stalled: &Stalled) -> Option<String> {
        let silent = || self.places.iter().find_map(|(key, place)| Some((*key, stalled.get(place)?)));
        match &self.purpose {
            Purpose::Inbox(lost) => {
                let lost = lost.lock().unwrap_or_else(PoisonError::into_inner).clone();
                lost.or_else(|| silent().map(|(_, detail)| detail.clone()))
            }
            Purpose::After(owed) => {
                let why = silent().map(|(key, detail)| format!("{key}: {detail}")).or_else(|| owed.trouble())?;
                Some(format!("{why}; {} scored or rejected files wait in the inbox", owed.waiting()))
            }
        }
    }

    /// Says that they cannot be used; in the log when it begins.
    pub fn hold(&self, condition: &Condition, detail: &str) {
        if !condition.set(self.reason(), detail) {
            return;
        }
        match self.purpose {
            Purpose::Inbox(_) => {
                warn!(pipeline = self.pipeline, detail, "the inbox cannot be reached, it is tried again");
            }
            Purpose::After(_) => {
                warn!(pipeline = self.pipeline, detail, "[after] cannot be done, it is tried again; scoring goes on");
            }
        }
    }
}

/// Says that a place can be used again; in the log when it could not.
pub fn release(condition: &Condition, reason: &Reason) {
    if !condition.clear(reason) {
        return;
    }
    match reason {
        Reason::InboxUnreachable(pipeline) => info!(pipeline, "the inbox can be reached again"),
        Reason::AfterFailing(pipeline) => info!(pipeline, "[after] can be done again"),
        _ => {}
    }
}
