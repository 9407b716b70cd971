//! What a training came to, as `train` and `retrain` print it.

use std::fmt::Write;
use std::path::Path;

use crate::denoise::fidelity;
use crate::segment::words;
use crate::store::Manifest;
use crate::train::diagnosis;
use crate::train::fit::End;
use crate::train::report;
use crate::train::seal::Sealed;
use crate::train::symmetry::Symmetry;

/// What was made, for people.
pub fn text(manifest: &Manifest, folder: &Path, beta: f32) -> String {
    let mut text = String::new();
    let history = &manifest.history;
    let best = &history.epochs[history.best - 1];
    let end = match history.end {
        End::Epochs => "all epochs run",
        End::EarlyStop => "validation stopped improving",
        End::Interrupted => "interrupted",
    };
    let _ = writeln!(text, "version      {}", manifest.version);
    let _ = writeln!(text, "folder       {}", folder.display());
    let _ = writeln!(text, "page         {}", folder.join(report::FILE).display());
    let _ = writeln!(
        text,
        "frames       {} train, {} validation, {} calibration, {} rejected",
        manifest.data.train, manifest.data.validation, manifest.data.calibration, manifest.data.rejected
    );
    if let Some(sizes) = manifest.data.sizes {
        let _ = writeln!(text, "certified    for frames of {sizes}");
    }
    if let Some(groups) = manifest.data.groups {
        let _ = writeln!(
            text,
            "groups       {} train, {} validation, {} calibration",
            groups.train, groups.validation, groups.calibration
        );
    }
    if let Some(test) = &manifest.data.test {
        let (normal, anomalous) = (test.normal, test.anomalous);
        let _ = writeln!(
            text,
            "test         {normal} normal and {anomalous} anomalous frames sealed, {}",
            &test.digest[..16]
        );
        text.push_str(&looks(manifest));
    }
    let _ = writeln!(
        text,
        "parameters   {}, {:.1} % of the weights exactly zero",
        manifest.parameters,
        100.0 * manifest.sparsity
    );
    if let Some(denoiser) = &manifest.denoiser {
        let (history, from) = (&denoiser.history, if denoiser.pairs { "clean twins" } else { "noise added" });
        let _ = writeln!(
            text,
            "denoiser     {} parameters, learnt from {from}, kept epoch {} of {}",
            denoiser.parameters,
            history.best,
            history.epochs.len()
        );
    }
    if let Some(segmenter) = &manifest.segmenter {
        let _ = writeln!(text, "segmenter    {}", words::origin(segmenter));
        let _ = writeln!(text, "             {}", words::threshold(segmenter));
        for line in words::table(segmenter).lines() {
            let _ = writeln!(text, "             {line}");
        }
    }
    if let Some(denoising) = &manifest.denoising {
        let _ = writeln!(text, "denoising    {} validation frames against their clean twins", denoising.frames);
        for line in fidelity::table(&denoising.figures) {
            let _ = writeln!(text, "             {line}");
        }
    }
    for warning in manifest.warnings() {
        let _ = writeln!(text, "warning      {warning}");
    }
    let _ = writeln!(text, "kept epoch   {} of {} ({end})", history.best, history.epochs.len());
    let _ = writeln!(
        text,
        "validation   loss {:.3} nats (reconstruction {:.3} + beta {beta} x KL {:.3}{}), {} active latent units",
        best.validation_loss(beta),
        best.validation_nll,
        best.validation_kl,
        best.validation_head.map_or(String::new(), |head| format!(" + labels {:.3}", head.loss())),
        best.active_units
    );
    if let (Some(head), Some(classes)) = (best.validation_head, &manifest.data.classes) {
        let _ = writeln!(
            text,
            "classes      {}: {} of the validation tiles named right, cross-entropy {:.3} nats; {} frames without a label",
            classes.names.len(),
            percent(head.accuracy),
            head.cross_entropy,
            classes.unlabelled
        );
    }
    for symmetry in &manifest.symmetries {
        symmetry_text(&mut text, symmetry);
    }
    if let Some(gap) = diagnosis::gap(history, beta) {
        let _ = writeln!(text, "gap          {}", gap.text());
    }
    for finding in &history.diagnosis {
        let _ = writeln!(text, "{:<12} {}", if finding.is_warning() { "warning" } else { "diagnosis" }, finding.words);
    }
    text
}

/// Every look at the figures of a version's test split, a line each.
pub fn looks(manifest: &Manifest) -> String {
    let mut text = String::new();
    for (count, look) in manifest.data.test.iter().flat_map(Sealed::looks).enumerate() {
        let spent = if count == 0 { "" } else { " (its figures are no test any more)" };
        let _ = writeln!(text, "test split opened  {look}{spent}");
    }
    text
}

fn symmetry_text(text: &mut String, symmetry: &Symmetry) {
    let Symmetry { transformation, frames, test, flagged_before, flagged_after, .. } = symmetry;
    let p = if test.p_value < 1e-12 { "< 1e-12".to_string() } else { format!("= {:.2e}", test.p_value) };
    let _ = writeln!(
        text,
        "augment      {transformation}: distance of scores {:.3}, p {p} ({frames} validation frames); flagged {:.1} % before, \
         {:.1} % after",
        test.distance,
        100.0 * flagged_before,
        100.0 * flagged_after
    );
    if symmetry.is_broken() {
        let _ = writeln!(
            text,
            "warning      {transformation} is no symmetry of these frames: transformed ones are judged differently. Take it out \
             of [training.augment], or declare less of it"
        );
    }
}

/// A share for people.
pub fn percent(share: f64) -> String {
    format!("{:.2} %", 100.0 * share)
}
