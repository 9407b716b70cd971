//! Whether another version of a model or a classifier has been promoted while the service runs.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use tracing::info;

use super::lane::Lane;
use crate::store;

/// Time between two looks.
const PAUSE: Duration = Duration::from_secs(1);

/// Looks which versions are current.
pub struct Promoted {
    models: PathBuf,
    looked: Instant,
    /// The version of each model and classifier that a reload was asked for, and when it was promoted: one that does not load is not
    /// tried again and again, but once more when somebody promotes it anew.
    tried: HashMap<String, (String, Option<SystemTime>)>,
}

impl Promoted {
    /// Looks into a folder of models, a second from now on.
    pub fn new(models: &Path) -> Self {
        Self { models: models.to_path_buf(), looked: Instant::now(), tried: HashMap::new() }
    }

    /// Whether a lane's model or classifier is no longer the current one, and this was not said before. What cannot be read is no promotion:
    /// the folder of models may be gone for a while, and what was loaded goes on.
    pub fn look(&mut self, lanes: &[Arc<Lane>]) -> bool {
        if self.looked.elapsed() < PAUSE {
            return false;
        }
        self.looked = Instant::now();
        let mut news = false;
        for lane in lanes {
            news |= self.changed(&lane.name, Some(&lane.identity.model_version));
            news |= self.changed(&store::classifiers_of(&lane.name), lane.classifier.as_deref());
        }
        news
    }

    /// Whether the current version of what goes by this name is another than the one that runs.
    fn changed(&mut self, name: &str, runs: Option<&str>) -> bool {
        match store::current(&self.models, name) {
            // The way back from one that did not load: what was said of it holds no more.
            Ok(Some(current)) if Some(&*current) == runs => {
                self.tried.remove(name).is_some_and(|(tried, _)| tried != current)
            }
            Ok(Some(current)) => {
                let promotion = (current, store::promoted_at(&self.models, name));
                if self.tried.get(name) == Some(&promotion) {
                    return false;
                }
                let runs = runs.unwrap_or("none");
                info!(pipeline = name, runs, current = promotion.0, "another version is promoted");
                self.tried.insert(name.to_string(), promotion);
                true
            }
            _ => false,
        }
    }
}
