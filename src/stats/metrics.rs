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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::fixtures::{close, table};
    use proptest::prelude::*;

    const NORMAL: [f64; 7] = [0.1, 0.2, 0.2, 0.35, 0.4, 0.4, 0.5];
    const ANOMALOUS: [f64; 5] = [0.2, 0.4, 0.4, 0.8, 0.9];

    #[test]
    fn equal_scikit_learn() {
        // roc_auc_score and average_precision_score, scikit-learn 1.9.1; ties in both
        close(auroc(&NORMAL, &ANOMALOUS).unwrap(), 0.7428571428571429, 1e-14);
        close(average_precision(&NORMAL, &ANOMALOUS).unwrap(), 0.7194805194805194, 1e-14);
        let normal: Vec<f64> = table(97, 1).into_iter().map(f64::from).collect();
        let anomalous: Vec<f64> = table(41, 3).chunks(3).map(|row| f64::from(row[1])).collect();
        close(auroc(&normal, &anomalous).unwrap(), 0.9826502388735228, 1e-14);
        close(average_precision(&normal, &anomalous).unwrap(), 0.9717459422335722, 1e-14);
    }

    #[test]
    fn clopper_pearson_equals_scipy() {
        // scipy.stats.binomtest(k, n).proportion_ci(confidence, "exact")
        for (k, n, confidence, low, high) in [
            (0, 100, 0.95, 0.0, 0.03621669264519054),
            (7, 100, 0.95, 0.028605288907418584, 0.13891972845586648),
            (100, 100, 0.95, 0.9637833073548094, 1.0),
            (1, 3, 0.9, 0.01695242750844312, 0.8646496378284162),
            (1003, 100_000, 0.99, 0.009236662832573773, 0.010870344422208343),
        ] {
            let got = clopper_pearson(k, n, confidence);
            close(got.0, low, 1e-8);
            close(got.1, high, 1e-8);
        }
        assert_eq!(clopper_pearson(0, 0, 0.95), (0.0, 1.0));
    }

    #[test]
    fn degenerate_sets() {
        assert_eq!((auroc(&[], &[1.0]), auroc(&[1.0], &[])), (None, None));
        assert_eq!((average_precision(&[1.0], &[]), average_precision(&[], &[1.0])), (None, Some(1.0)));
        assert_eq!(auroc(&[1.0; 9], &[1.0; 4]), Some(0.5));
        assert_eq!(auroc(&[-0.0], &[0.0]), Some(0.5));
        assert_eq!(auroc(&[1e9], &[f64::NAN]), Some(1.0));
        assert_eq!(auroc(&[f64::NAN], &[-f64::NAN]), Some(0.5));
        assert!(roc_curve(&[], &[1.0]).is_empty());
    }

    #[test]
    fn confusion_counts() {
        let pairs = [(true, true), (true, false), (true, true), (false, true), (false, false), (false, false)];
        let counts = Confusion::count(pairs);
        assert_eq!(counts, Confusion { true_positive: 2, false_positive: 1, true_negative: 2, false_negative: 1 });
        assert_eq!(counts.recall(), Some(2.0 / 3.0));
        assert_eq!(counts.precision(), Some(2.0 / 3.0));
        assert_eq!(counts.false_alarm_rate(), Some(1.0 / 3.0));
        assert_eq!(Confusion::default().recall(), None);
    }

    proptest! {
        #[test]
        fn auroc_is_the_area_and_the_pair_count(
            normal in prop::collection::vec(-9i32..9, 1..40), anomalous in prop::collection::vec(-9i32..9, 1..40)
        ) {
            let pairs = normal.iter().flat_map(|n| anomalous.iter().map(move |a| f64::from(1 + a.cmp(n) as i32) / 2.0));
            let expected = pairs.sum::<f64>() / (normal.len() * anomalous.len()) as f64;
            let real = |values: &[i32]| values.iter().map(|&v| f64::from(v)).collect::<Vec<f64>>();
            let (normal, anomalous) = (real(&normal), real(&anomalous));
            prop_assert!((auroc(&normal, &anomalous).unwrap() - expected).abs() < 1e-12);
            let curve = roc_curve(&normal, &anomalous);
            let area: f64 = curve
                .windows(2)
                .map(|w| (w[1].false_alarm_rate - w[0].false_alarm_rate) * 0.5 * (w[0].recall + w[1].recall))
                .sum();
            prop_assert!((area - expected).abs() < 1e-12);
            prop_assert!(curve.last().is_some_and(|last| last.false_alarm_rate == 1.0 && last.recall == 1.0));
        }
    }
}
