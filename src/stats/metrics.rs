//! How well scores tell anomalous from normal, and how sure a rate is.

use serde::Serialize;

use super::beta;

/// Area under the ROC curve: the probability that an anomalous score is above a normal one, ties counting half (Mann & Whitney
/// 1947). `None` where either kind is missing. NaN counts as the highest score.
pub fn auroc(normal: &[f64], anomalous: &[f64]) -> Option<f64> {
    if normal.is_empty() || anomalous.is_empty() {
        return None;
    }
    // From the highest score down: each anomalous one beats the normal ones still to come.
    let mut normal_left = normal.len() as f64;
    let mut wins = 0.0;
    for group in groups(normal, anomalous) {
        normal_left -= group.normal as f64;
        wins += group.anomalous as f64 * (normal_left + 0.5 * group.normal as f64);
    }
    Some(wins / (normal.len() as f64 * anomalous.len() as f64))
}

/// Average precision, `sum (recall_i - recall_(i-1)) precision_i` over the distinct scores, without interpolation, as
/// scikit-learn's `average_precision_score`. `None` where no score is anomalous.
pub fn average_precision(normal: &[f64], anomalous: &[f64]) -> Option<f64> {
    if anomalous.is_empty() {
        return None;
    }
    let (mut flagged, mut found, mut sum) = (0, 0, 0.0);
    for group in groups(normal, anomalous) {
        flagged += group.normal + group.anomalous;
        found += group.anomalous;
        sum += group.anomalous as f64 * found as f64 / flagged as f64;
    }
    Some(sum / anomalous.len() as f64)
}

/// A point of the ROC curve.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct RocPoint {
    /// Scores at least this high are flagged; infinite at the first point.
    pub threshold: f64,
    /// Share of the normal flagged.
    pub false_alarm_rate: f64,
    /// Share of the anomalous flagged.
    pub recall: f64,
}

/// The ROC curve from (0, 0) to (1, 1), one point a distinct score. Empty where either kind is missing.
pub fn roc_curve(normal: &[f64], anomalous: &[f64]) -> Vec<RocPoint> {
    if normal.is_empty() || anomalous.is_empty() {
        return Vec::new();
    }
    let (mut false_alarms, mut found) = (0, 0);
    let mut curve = vec![RocPoint { threshold: f64::INFINITY, false_alarm_rate: 0.0, recall: 0.0 }];
    for group in groups(normal, anomalous) {
        false_alarms += group.normal;
        found += group.anomalous;
        curve.push(RocPoint {
            threshold: group.score,
            false_alarm_rate: false_alarms as f64 / normal.len() as f64,
            recall: found as f64 / anomalous.len() as f64,
        });
    }
    curve
}

/// Exact interval of a rate seen `k` times in `n` (Clopper & Pearson 1934); (0, 1) for n = 0.
pub fn clopper_pearson(k: usize, n: usize, confidence: f64) -> (f64, f64) {
    let half = 0.5 * (1.0 - confidence.clamp(0.0, 1.0));
    let (seen, unseen) = (k.min(n) as f64, n.saturating_sub(k) as f64);
    let low = if seen > 0.0 { beta::quantile(seen, unseen + 1.0, half) } else { 0.0 };
    let high = if unseen > 0.0 { 1.0 - beta::quantile(unseen, seen + 1.0, half) } else { 1.0 };
    (low, high)
}

/// Counts of verdicts against the truth; a positive is a flag.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Confusion {
    /// Anomalous and flagged.
    pub true_positive: usize,
    /// Normal and flagged.
    pub false_positive: usize,
    /// Normal and not flagged.
    pub true_negative: usize,
    /// Anomalous and not flagged.
    pub false_negative: usize,
}

impl Confusion {
    /// Counts (is anomalous, is flagged) pairs.
    pub fn count(pairs: impl IntoIterator<Item = (bool, bool)>) -> Self {
        let mut counts = Self::default();
        for (anomalous, flagged) in pairs {
            *match (anomalous, flagged) {
                (true, true) => &mut counts.true_positive,
                (true, false) => &mut counts.false_negative,
                (false, true) => &mut counts.false_positive,
                (false, false) => &mut counts.true_negative,
            } += 1;
        }
        counts
    }

    /// Share of the anomalous that is flagged; `None` without any.
    pub fn recall(&self) -> Option<f64> {
        ratio(self.true_positive, self.true_positive + self.false_negative)
    }

    /// Share of the flagged that is anomalous; `None` without any.
    pub fn precision(&self) -> Option<f64> {
        ratio(self.true_positive, self.true_positive + self.false_positive)
    }

    /// Share of the normal that is flagged; `None` without any.
    pub fn false_alarm_rate(&self) -> Option<f64> {
        ratio(self.false_positive, self.false_positive + self.true_negative)
    }
}

fn ratio(part: usize, whole: usize) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}

/// How many normal and anomalous scores share a value.
struct Group {
    score: f64,
    normal: usize,
    anomalous: usize,
}

/// Distinct scores from the highest down, NaN first.
fn groups(normal: &[f64], anomalous: &[f64]) -> Vec<Group> {
    let label = |scores: &[f64], is: bool| scores.iter().map(|&s| (s, is)).collect::<Vec<_>>();
    let mut all = [label(normal, false), label(anomalous, true)].concat();
    all.iter_mut().filter(|(score, _)| score.is_nan()).for_each(|(score, _)| *score = f64::NAN);
    all.sort_unstable_by(|a, b| b.0.total_cmp(&a.0));
    all.chunk_by(|a, b| a.0 == b.0 || (a.0.is_nan() && b.0.is_nan()))
        .map(|group| {
            let anomalous = group.iter().filter(|(_, is)| *is).count();
            Group { score: group[0].0, normal: group.len() - anomalous, anomalous }
        })
        .collect()
}
