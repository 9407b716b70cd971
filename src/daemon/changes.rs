//! What a reload has changed, for the log.

use std::sync::Arc;

use super::lane::Lane;

/// The changes from old lanes to new ones, in words; `nothing` where there are none.
pub fn between(old: &[Arc<Lane>], new: &[Arc<Lane>]) -> String {
    let one = |lane: &Arc<Lane>| Facts::of(lane);
    let changes = changes(&old.iter().map(one).collect::<Vec<_>>(), &new.iter().map(one).collect::<Vec<_>>());
    if changes.is_empty() { "nothing".into() } else { changes.join("; ") }
}

/// What of a lane can change.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Facts {
    name: String,
    model: String,
    classifier: String,
    inbox: String,
    digests: [String; 3],
}

impl Facts {
    fn of(lane: &Lane) -> Self {
        let identity = &lane.identity;
        let digests = [&identity.model_digest, &identity.calibration_digest, &identity.pipeline_digest];
        Self {
            name: lane.name.clone(),
            model: identity.model_version.clone(),
            classifier: lane.classifier.clone().unwrap_or_else(|| "none".into()),
            inbox: lane.inbox.as_ref().map_or_else(|| "none".into(), |inbox| inbox.display().to_string()),
            digests: digests.map(Clone::clone),
        }
    }

    fn since(&self, old: &Self) -> Option<String> {
        let mut changes = Vec::new();
        if self.model != old.model {
            changes.push(format!("model {} instead of {}", self.model, old.model));
        }
        if self.classifier != old.classifier {
            changes.push(format!("classifier {} instead of {}", self.classifier, old.classifier));
        }
        if self.inbox != old.inbox {
            changes.push(format!("inbox {} instead of {}", self.inbox, old.inbox));
        }
        let what = ["other weights", "another calibration", "another pipeline file"];
        let other = what.iter().zip(self.digests.iter().zip(&old.digests)).filter(|(_, (new, old))| new != old);
        changes.extend(other.map(|(what, _)| what.to_string()));
        (!changes.is_empty()).then(|| format!("{}: {}", self.name, changes.join(", ")))
    }
}

fn changes(old: &[Facts], new: &[Facts]) -> Vec<String> {
    let find = |among: &[Facts], name: &str| among.iter().find(|facts| facts.name == name).cloned();
    let mut changes: Vec<String> = new
        .iter()
        .filter(|facts| find(old, &facts.name).is_none())
        .map(|facts| format!("{} added", facts.name))
        .collect();
    changes.extend(
        old.iter().filter(|facts| find(new, &facts.name).is_none()).map(|facts| format!("{} removed", facts.name)),
    );
    changes.extend(new.iter().filter_map(|facts| facts.since(&find(old, &facts.name)?)));
    changes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reload_says_what_it_has_changed() {
        let facts = |name: &str, model: &str, pipeline: &str| Facts {
            name: name.into(),
            model: model.into(),
            classifier: "none".into(),
            inbox: "in".into(),
            digests: [model.into(), "c".into(), pipeline.into()],
        };
        let old = [facts("digits", "1", "p"), facts("stars", "4", "p")];
        assert!(changes(&old, &old).is_empty());
        let new = [facts("digits", "2", "q"), facts("cracks", "1", "p")];
        let wanted =
            ["cracks added", "stars removed", "digits: model 2 instead of 1, other weights, another pipeline file"];
        assert_eq!(changes(&old, &new), wanted);
        let named = [Facts { classifier: "0002-a".into(), ..old[0].clone() }, old[1].clone()];
        assert_eq!(changes(&old, &named), ["digits: classifier 0002-a instead of none"]);
    }
}
