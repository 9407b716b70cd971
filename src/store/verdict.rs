//! What the gate found out about a candidate, as it stands in `history.toml`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::frame_size::RARE;

/// A candidate against the current version, on the same frames: those of the current version's own data, and of every other origin.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Verdict {
    /// The version it was held against.
    pub current: String,
    /// Held-out normal frames: neither version was trained on them.
    pub frames: usize,
    /// Those of them that are of the current version's own data.
    pub frames_of_current: usize,
    /// `-ELBO` of a frame of the current version's own data, the mean of its tiles, in nats; the latent at its mean.
    pub negative_elbo: Option<Paired>,
    /// Area under the ROC curve, those frames against anomalies; with several kinds their mean.
    pub auroc: Option<Paired>,
    /// Share of the anomalies above the certified threshold.
    pub recall: Option<Paired>,
    /// Those frames above the certified threshold.
    pub false_alarms: FalseAlarms,
    /// Where the anomalies are from.
    pub anomalies: Anomalies,
    /// By kind of anomaly: area under the ROC curve of the candidate, and of the current version.
    pub kinds: BTreeMap<String, [f64; 2]>,
    /// The same on frames of other origins; none in verdicts that judged all frames together.
    #[serde(default)]
    pub others: Vec<Other>,
    /// What could not be judged, and why.
    #[serde(default)]
    pub not_judged: Vec<String>,
}

/// Both versions on frames of an origin that the current one was not made from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Other {
    /// The folder, or where else they are from.
    pub origin: String,
    /// A person said of each that it is normal.
    pub vouched: bool,
    /// `-ELBO` of a frame.
    pub negative_elbo: Option<Paired>,
    /// Area under the ROC curve.
    pub auroc: Option<Paired>,
    /// Share of the anomalies flagged; none where the frames are unlike.
    pub recall: Option<Paired>,
    /// Frames above the certified threshold.
    pub false_alarms: FalseAlarms,
    /// Of the frames that the current version was calibrated on those above its threshold, and all of them.
    pub calibrated: [usize; 2],
    /// How often chance alone puts as many of these frames above it.
    pub p_value: f64,
    /// Largest difference of the distribution functions of the current version's scores, of these frames and of those.
    pub distance: f64,
    /// More than alpha of them lie above the threshold, which chance does seldom, or their scores are far from those: they are not
    /// like those that it was calibrated on.
    pub unlike: bool,
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
    /// How many of the frames are of other sizes than the candidate was calibrated on, and than the current version was: neither
    /// certificate holds for those.
    #[serde(default)]
    pub other_sizes: [usize; 2],
    /// It lies above alpha; and where a person called the frames normal, the candidate flags more of them than the current version.
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

/// What a version is said to be worse in; the figures of one origin.
struct On<'a> {
    origin: String,
    figures: [(&'static str, Option<Paired>, usize); 3],
    alarms: &'a FalseAlarms,
}

impl Verdict {
    /// What is worse, in words; nothing where the candidate is as good or better.
    pub fn faults(&self) -> Vec<String> {
        let mut faults = self.own().faults();
        let FalseAlarms { frames, other_sizes: [candidate, current], .. } = self.false_alarms;
        if candidate.saturating_sub(current) * RARE > frames {
            faults.push(format!(
                "{candidate} of {frames} frames of the data of {} are of other sizes than the candidate is calibrated on: nothing \
                 would be certified for them any more",
                self.current
            ));
        }
        for other in &self.others {
            if other.unlike && !other.vouched {
                faults.push(self.unlike(other));
            }
            faults.extend(other.on().faults());
        }
        faults
    }

    fn own(&self) -> On<'_> {
        let figures = [("-ELBO", self.negative_elbo, 2), ("AUROC", self.auroc, 4), ("recall", self.recall, 3)];
        On { origin: format!("the data of {}", self.current), figures, alarms: &self.false_alarms }
    }

    fn unlike(&self, other: &Other) -> String {
        let FalseAlarms { frames, current, alpha, other_sizes: [_, other_sizes], .. } = other.false_alarms;
        let [above, calibrated] = other.calibrated;
        if other_sizes == frames {
            return format!(
                "on {}: all {frames} frames are of other sizes than {} was calibrated on, which flags {current}: whether they are \
                 like its own in all else cannot be told",
                other.origin, self.current
            );
        }
        let sizes = match other_sizes {
            0 => String::new(),
            _ => format!("{other_sizes} of them are of other sizes than that, or "),
        };
        format!(
            "on {}: {} flags {current} of {frames} frames, of those it was calibrated on {above} of {calibrated} (p {:.1e}, alpha \
             {alpha}), and their scores are {:.2} apart: {sizes}there are anomalies among them, or they are of something else, or \
             the instrument has changed",
            other.origin, self.current, other.p_value, other.distance
        )
    }

    /// The figures for people, a line each.
    pub fn text(&self) -> String {
        let anomalies = match self.anomalies {
            Anomalies::Given => "known anomalies",
            Anomalies::Injected => "injected anomalies",
        };
        let (current, frames, own) = (&self.current, self.frames, self.frames_of_current);
        let mut text = format!("gate         candidate against {current} on {frames} held-out frames\n");
        text.push_str(&format!("  {own} frames of its own data\n{}", self.own().text(anomalies)));
        for other in &self.others {
            let vouched = if other.vouched { ", called normal by a person" } else { "" };
            text.push_str(&format!("  {} frames of {}{vouched}\n", other.false_alarms.frames, other.origin));
            text.push_str(&other.on().text(anomalies));
        }
        self.not_judged.iter().for_each(|words| text.push_str(&format!("  not judged   {words}\n")));
        text
    }
}

impl FalseAlarms {
    /// What the candidate's certificate says of them.
    pub fn certified(&self) -> String {
        match (self.other_sizes[0], self.outside) {
            (0, true) => "outside the certificate".into(),
            (0, false) if self.at_least > self.alpha => {
                "above alpha, though no more than the current version flags".into()
            }
            (0, false) => "within the certificate".into(),
            (count, _) => format!("no certificate for {count} of other sizes than calibrated on"),
        }
    }
}

impl Other {
    fn on(&self) -> On<'_> {
        let figures = [("-ELBO", self.negative_elbo, 2), ("AUROC", self.auroc, 4), ("recall", self.recall, 3)];
        On { origin: self.origin.clone(), figures, alarms: &self.false_alarms }
    }
}

impl On<'_> {
    fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        for (name, figure, digits) in self.figures {
            if let Some(Paired { candidate, current, standard_error, tolerance, worse: true }) = figure {
                faults.push(format!(
                    "on {}: {name} {candidate:.digits$} against {current:.digits$} (difference {:+.digits$} +- \
                     {standard_error:.digits$}, allowed {tolerance:.digits$})",
                    self.origin,
                    candidate - current
                ));
            }
        }
        let FalseAlarms { frames, candidate, alpha, at_least, outside, other_sizes: [other_sizes, _], .. } =
            *self.alarms;
        if outside {
            let certified = match other_sizes {
                0 => format!("certified is {alpha}"),
                _ => format!("{other_sizes} of them are of other sizes than it is calibrated on"),
            };
            faults.push(format!(
                "on {}: {candidate} false alarms in {frames} held-out frames, a rate of {at_least:.4} at least, {certified}",
                self.origin
            ));
        }
        faults
    }

    fn text(&self, anomalies: &str) -> String {
        let mut text = String::new();
        for (name, figure, digits) in self.figures {
            let Some(Paired { candidate, current, standard_error, tolerance, worse }) = figure else { continue };
            let of = if name == "-ELBO" { "nats a frame" } else { anomalies };
            text.push_str(&format!(
                "    {name:<12} {candidate:.digits$} against {current:.digits$}: {:+.digits$} +- {standard_error:.digits$}, \
                 allowed {tolerance:.digits$}{} ({of})\n",
                candidate - current,
                if worse { ", worse" } else { "" }
            ));
        }
        let FalseAlarms { frames, candidate, current, alpha, .. } = *self.alarms;
        let certified = self.alarms.certified();
        text.push_str(&format!(
            "    false alarms {candidate} against {current} in {frames} frames, alpha {alpha}: {certified}\n"
        ));
        text
    }
}
