//! Whether another version of a model has been promoted while the service runs.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tracing::info;

use super::lane::Lane;
use crate::store;

/// Time between two looks.
const PAUSE: Duration = Duration::from_secs(1);

/// Looks which versions are current.
pub struct Promoted {
    models: PathBuf,
    looked: Instant,
    /// The version of each pipeline that a reload was asked for: one that does not load is not tried again and again.
    tried: HashMap<String, String>,
}

impl Promoted {
    /// Looks into a folder of models, a second from now on.
    pub fn new(models: &Path) -> Self {
        Self { models: models.to_path_buf(), looked: Instant::now(), tried: HashMap::new() }
    }

    /// Whether a lane's model is no longer the current one, and this was not said before. What cannot be read is no promotion:
    /// the folder of models may be gone for a while, and what was loaded goes on.
    pub fn look(&mut self, lanes: &[Arc<Lane>]) -> bool {
        if self.looked.elapsed() < PAUSE {
            return false;
        }
        self.looked = Instant::now();
        let mut news = false;
        for lane in lanes {
            let runs = &lane.identity.model_version;
            match store::current(&self.models, &lane.name) {
                Ok(Some(current)) if current == *runs => {
                    // The way back from one that did not load: what was said of it holds no more.
                    news |= self.tried.remove(&lane.name).is_some_and(|tried| tried != *runs);
                }
                Ok(Some(current)) if self.tried.get(&lane.name) != Some(&current) => {
                    info!(pipeline = lane.name, runs, current, "another version is promoted");
                    self.tried.insert(lane.name.clone(), current);
                    news = true;
                }
                _ => {}
            }
        }
        news
    }
}
