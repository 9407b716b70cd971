//! What the gate found out about a candidate, as it stands in `history.toml`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// A candidate against the current version, on the same frames.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Verdict {
    /// The version it was held against.
    pub current: String,
    /// Held-out normal frames: neither version was trained on them.
    pub frames: usize,
    /// Those of them that are of the current version's own data.
    pub frames_of_current: usize,
    /// `-ELBO` of a frame, the mean of its tiles, in nats; the latent at its mean.
    pub negative_elbo: Option<Paired>,
    /// Area under the ROC curve, held-out frames against anomalies; with several kinds their mean.
    pub auroc: Option<Paired>,
    /// Share of the anomalies above the certified threshold.
    pub recall: Option<Paired>,
    /// Held-out frames above the certified threshold.
    pub false_alarms: FalseAlarms,
    /// Where the anomalies are from.
    pub anomalies: Anomalies,
    /// By kind of anomaly: area under the ROC curve of the candidate, and of the current version.
    pub kinds: BTreeMap<String, [f64; 2]>,
}

/// A figure of both.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Paired {
    /// Of the candidate.
    pub candidate: f64,
    /// Of the current version.
    pub current: f64,
    /// Standard error of their difference, the frames being what is drawn by chance.
    pub standard_error: f64,
    /// The candidate counts as worse when it is so by more than this.
    pub tolerance: f64,
    /// It is.
    pub worse: bool,
}

/// False alarms, against what the certificate allows.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct FalseAlarms {
    /// Frames judged.
    pub frames: usize,
    /// They are among those that gave the candidate's threshold, for want of others: then the rate is within by construction.
    pub gave_threshold: bool,
    /// How many the candidate flags.
    pub candidate: usize,
    /// How many the current version flags.
    pub current: usize,
    /// The rate that was asked for.
    pub alpha: f64,
    /// Lower end of the candidate's rate, at a confidence of 99 %.
    pub at_least: f64,
    /// It lies above alpha.
    pub outside: bool,
}

/// Where anomalies are from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Anomalies {
    /// They were given.
    Given,
    /// They were put into held-out frames.
    Injected,
}

impl Verdict {
    /// What is worse, in words; nothing where the candidate is as good or better.
    pub fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        let mut fault = |name: &str, figure: &Option<Paired>, digits: usize| {
            if let Some(Paired { candidate, current, standard_error, tolerance, worse: true }) = figure {
                faults.push(format!(
                    "{name} {candidate:.digits$} against {current:.digits$} (difference {:+.digits$} +- {standard_error:.digits$}, \
                     allowed {tolerance:.digits$})",
                    candidate - current
                ));
            }
        };
        fault("-ELBO", &self.negative_elbo, 2);
        fault("AUROC", &self.auroc, 4);
        fault("recall", &self.recall, 3);
        let FalseAlarms { frames, candidate, alpha, at_least, outside, .. } = self.false_alarms;
        if outside {
            faults.push(format!(
                "{candidate} false alarms in {frames} held-out frames: a rate of {at_least:.4} at least, certified is {alpha}"
            ));
        }
        faults
    }

    /// The figures for people, a line each.
    pub fn text(&self) -> String {
        let anomalies = match self.anomalies {
            Anomalies::Given => "given anomalies",
            Anomalies::Injected => "injected anomalies",
        };
        let mut text = format!(
            "gate         candidate against {} on {} held-out frames, {} of its own data\n",
            self.current, self.frames, self.frames_of_current
        );
        for (name, figure, digits) in
            [("-ELBO", &self.negative_elbo, 2), ("AUROC", &self.auroc, 4), ("recall", &self.recall, 3)]
        {
            let Some(Paired { candidate, current, standard_error, tolerance, worse }) = figure else { continue };
            let of = if name == "-ELBO" { "nats a frame" } else { anomalies };
            text.push_str(&format!(
                "  {name:<12} {candidate:.digits$} against {current:.digits$}: {:+.digits$} +- {standard_error:.digits$}, \
                 allowed {tolerance:.digits$}{} ({of})\n",
                candidate - current,
                if *worse { ", worse" } else { "" }
            ));
        }
        let FalseAlarms { frames, gave_threshold, candidate, current, alpha, outside, .. } = self.false_alarms;
        text.push_str(&format!(
            "  false alarms {candidate} against {current} in {frames} frames{}, alpha {alpha}{}\n",
            if gave_threshold { " that gave the threshold" } else { "" },
            if outside { ", outside the certificate" } else { "" }
        ));
        text
    }
}
