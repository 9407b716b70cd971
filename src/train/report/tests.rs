//! The whole page, on the files of a version that ships: what a browser makes of it, and what hostile names do not.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::*;
use crate::ablate::kept::tests::ablation;
use crate::components::Component;
use crate::denoise::compare::Denoising;
use crate::denoise::fidelity::Fidelity;
use crate::pipeline::Pipeline;
use crate::store::{Anomalies, Event, FalseAlarms, Fitted, Other, Paired, Verdict, read_manifest};
use crate::train::classes::Counts;
use crate::train::fit::Epoch;
use crate::train::judge::{Answers, Latent, Loss};
use crate::train::seal::{Opening, Sealed, TestFigures};
use seen::{SeenFrame, SeenTile};

const EVIL: &str = "\"'></td></table><script>alert(1)</script><img src=x onerror=alert(1)>\u{202e}";

/// The version of the digits that ships.
fn folder() -> PathBuf {
    let home = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/digits");
    home.join(fs::read_to_string(home.join("current")).unwrap().trim())
}

/// Its manifest, with all that newer trainings record.
fn manifest() -> Manifest {
    let mut manifest = read_manifest(&folder()).unwrap();
    let figure =
        |image: &str, psnr: f64| Fidelity { image: image.into(), psnr: [psnr, 1.0], ssim: [0.5, 0.1], sky: None };
    let sky = Some([-0.017, 0.004]);
    let figures = vec![figure("input", 17.25), Fidelity { sky, ..figure("unet", 31.5) }];
    manifest.denoising = Some(Denoising { frames: 64, figures });
    let history = &mut manifest.history;
    history.layers =
        ["encoder.0", "encoder.3", "encoder.6", "decoder.0", "decoder.3", "decoder.6"].map(String::from).into();
    history.latent = Latent { kl: (0..16).map(|at| 3.0 / (at + 1) as f32).collect(), variance: vec![0.5; 15] };
    history.latent.variance.push(1e-4);
    for epoch in &mut history.epochs {
        let train = Loss { nll: epoch.validation_nll - 0.3, kl: epoch.validation_kl, error: 0.8, ..Loss::default() };
        let layers = (1..=6).map(|layer| f64::from(layer) * 0.2 * epoch.gradient_norm).collect();
        *epoch = Epoch {
            train_judged: Some(train),
            validation_error: 0.8,
            largest_gradient: 3.0 * epoch.gradient_norm,
            layer_gradients: layers,
            ..epoch.clone()
        };
    }
    manifest
}

fn seen() -> Seen {
    let latents: Vec<f32> = (0..600 * 16).map(|at| (at as f32 * 0.731).sin() * (1 + at % 16) as f32).collect();
    let score = |at: u32| f64::from(at % 37) * 0.3;
    let components = [None; Component::ALL.len()];
    let frame = |at| SeenFrame { source: "t.idx".into(), frame_index: at, score: score(at), components };
    let tile = |frame| SeenTile { frame, tile: 0, score: score(frame) };
    Seen { frames: (0..600).map(frame).collect(), tiles: (0..600).map(tile).collect(), latents, dim: 16 }
}

fn made(name: &str, manifest: &Manifest, seen: Option<&Seen>) -> String {
    made_since(name, manifest, seen, (&[], None))
}

/// With what has happened since.
fn made_since(name: &str, manifest: &Manifest, seen: Option<&Seen>, since: (&[Entry], Option<&Ablation>)) -> String {
    let pipeline = Pipeline::parse(name, Path::new("digits.toml"), manifest.pipeline.clone()).unwrap();
    let calibration: Vec<f64> = (0..400).map(|at| f64::from(at) * 0.02).collect();
    let (folder, (events, ablation)) = (folder(), since);
    let (spec, calibration) = (&pipeline.spec, &calibration[..]);
    let fitted: Fitted = rmp_serde::from_slice(&fs::read(folder.join("reference.msgpack")).unwrap()).unwrap();
    let latents = fitted.reference.latents();
    page(&Report { name, manifest, spec, latents, calibration, seen, events, ablation, folder: &folder }).unwrap()
}

/// Refused by the gate, promoted by a person.
fn events() -> Vec<Entry> {
    let figure = Paired { candidate: 101.5, current: 100.0, standard_error: 0.25, tolerance: 1.0, worse: true };
    let false_alarms = FalseAlarms {
        frames: 300,
        gave_threshold: false,
        candidate: 4,
        current: 2,
        alpha: 0.01,
        at_least: 0.002,
        other_sizes: [0, 0],
        outside: false,
    };
    let verdict = Verdict {
        current: "0001-aaaa".into(),
        frames: 500,
        frames_of_current: 400,
        negative_elbo: Some(figure),
        auroc: None,
        recall: None,
        false_alarms,
        anomalies: Anomalies::Injected,
        kinds: [("hot_pixel".to_string(), [0.9, 0.8]), (EVIL.to_string(), [0.7, 0.75])].into(),
        others: vec![Other {
            origin: "/data/new".into(),
            vouched: false,
            negative_elbo: Some(figure),
            auroc: None,
            recall: None,
            false_alarms,
            calibrated: [4, 500],
            p_value: 0.001,
            distance: 0.1,
            unlike: true,
        }],
        not_judged: vec!["recall of the 3 known anomalies".into()],
    };
    let entry = |event, reason: &str, verdict| Entry {
        at: chrono::DateTime::UNIX_EPOCH,
        event,
        version: "0002-bbbb".into(),
        before: Some("0001-aaaa".into()),
        reason: reason.into(),
        verdict,
    };
    vec![entry(Event::Refused, "-ELBO is worse", Some(verdict)), entry(Event::Promoted, EVIL, None)]
}

/// Opened twice.
fn sealed() -> Sealed {
    let figures = TestFigures {
        auroc: Some(0.987),
        average_precision: Some(0.9),
        recall_at_alpha: Some(0.8),
        false_alarm_rate: Some(0.01),
    };
    let opening = |why: Option<&str>, figures| Opening {
        at: chrono::DateTime::UNIX_EPOCH,
        why: why.map(Into::into),
        version: None,
        figures,
    };
    Sealed {
        digest: "5ea1".into(),
        normal: 90,
        anomalous: 10,
        paths: Vec::new(),
        labels: None,
        kinds: [("trail".to_string(), 10)].into(),
        openings: vec![opening(None, Some(figures)), opening(Some("the plot had a wrong axis"), None)],
        earlier: vec![Opening { version: Some("0000-eeee".into()), ..opening(None, None) }],
    }
}

#[test]
fn a_page_has_every_part_and_needs_nothing_from_elsewhere() {
    let text = made("digits", &manifest(), Some(&seen()));
    for words in [
        "converged: epoch 19",
        "Gradients by layer",
        "decoder.6",
        "15 of 16 units are active",
        "Latent map",
        "600 validation tiles",
        "Samples from the prior",
        "Samples from the aggregate posterior",
        "Reconstructions",
        "With confidence 95 %, at most 1 % of the normal frames",
        "weights exactly zero",
        "No verdict of the gate",
        "give training.split a fourth share",
        "64 validation frames against their twins",
        "<td>unet</td><td>31.50 +- 1.00</td><td>0.5000 +- 0.1000</td><td>-0.017 +- 0.004</td>",
    ] {
        assert!(text.contains(words), "{words}");
    }
    assert!(!text.contains("http:") && !text.contains("https:") && !text.contains("<script"));
    assert_eq!(text.matches("<img").count(), 3);
    assert_eq!(text.matches("src=").count(), text.matches("src=\"data:image/png;base64,").count());
    for (id, _) in PARTS {
        assert!(text.contains(&format!("<section id=\"{id}\"")) && text.contains(&format!("href=\"#{id}\"")), "{id}");
    }
}

#[test]
fn what_is_known_later_is_shown_with_reasons_and_figures() {
    let mut manifest = manifest();
    manifest.data.test = Some(sealed());
    let mut ablation = ablation();
    let text = made_since("digits", &manifest, None, (&events(), Some(&ablation)));
    for words in [
        "refused",
        "-ELBO is worse",
        "+1.50 ± 0.25",
        "within the certificate",
        "AUROC, hot_pixel",
        "promoted on 1970-01-01",
        "3 times: only the first",
        "the plot had a wrong axis",
        "0.987",
        "10 trail",
        "norm group *",
        "121.00±1.41",
        "+20.50±0.71",
        "Not run on what this version was made from: other frames",
        "data:image/svg+xml;base64,",
    ] {
        assert!(text.contains(words), "{words}");
    }
    assert!(!text.contains("<script"));
    ablation.basis.data = manifest.data.digest.clone();
    let text = made_since("digits", &manifest, None, (&[], Some(&ablation)));
    assert!(text.contains("Run on the frames and the pipeline that this version was made from"));
    assert!(made("digits", &manifest, None).contains("None was run: anomalyd ablate digits"));
}

#[test]
fn what_a_version_does_not_keep_is_said() {
    let shipped = read_manifest(&folder()).unwrap();
    let text = made("digits", &shipped, None);
    for words in [
        "keeps no latents of its validation frames",
        "keeps no scores of its",
        "recorded neither gradients",
        "train --clean",
    ] {
        assert!(text.contains(words), "{words}");
    }
    assert!(text.contains("converged: epoch 19"), "diagnosed anew");
    assert!(!text.contains("NaN"));
}

#[test]
fn accuracy_is_shown_where_there_are_labels() {
    let plain = made("digits", &manifest(), Some(&seen()));
    assert!(!plain.contains("Accuracy"));
    let mut manifest = manifest();
    let answers = |accuracy| Answers { weight: 10.0, cross_entropy: 0.25, accuracy, known: 0.5 };
    for epoch in &mut manifest.history.epochs {
        epoch.validation_head = Some(answers(0.875));
        epoch.train_judged = epoch.train_judged.map(|loss| Loss { head: Some(answers(0.9)), ..loss });
    }
    let names = ["cats", EVIL].map(String::from).to_vec();
    manifest.data.classes = Some(Counts { names, frames: vec![1, 1], unlabelled: 1 });
    let text = made("digits", &manifest, Some(&seen()));
    for words in ["Accuracy", "87.50 % of the validation tiles", "0.250 nats", "50 % of them have a label"] {
        assert!(text.contains(words), "{words}");
    }
    assert!(!text.contains("<script"));
}

#[test]
fn names_from_outside_stay_text() {
    let mut manifest = manifest();
    manifest.command = EVIL.into();
    manifest.version = EVIL.into();
    manifest.data.given = vec![EVIL.into()];
    manifest.history.layers[0] = EVIL.into();
    manifest.history.diagnosis = vec![diagnosis::Finding { sign: diagnosis::Sign::Converged, words: EVIL.into() }];
    let text = made(EVIL, &manifest, Some(&seen()));
    assert!(!text.contains("<script") && !text.contains("<img src=x") && !text.contains('\u{202e}'));
    assert!(text.matches("&lt;script&gt;").count() >= 5);
    assert_eq!(text.matches("</table>").count(), text.matches("<table").count());
}

/// Chromium with a page; what it prints on each of its outputs. `None` where there is no chromium.
fn chromium(folder: &Path, page: &str, arguments: &[&str]) -> Option<(String, String)> {
    let name = ["chromium", "chromium-browser", "google-chrome"]
        .into_iter()
        .find(|name| Command::new(name).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok());
    let Some(name) = name else {
        println!("skipped: no chromium here to open the page with");
        return None;
    };
    let file = folder.join("page.html");
    fs::write(&file, page).unwrap();
    let (out, err) = (folder.join("out"), folder.join("err"));
    let mut browser = Command::new(name)
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr", "--hide-scrollbars"])
        .arg(format!("--user-data-dir={}", folder.join("profile").display()))
        .args(arguments)
        .arg(format!("file://{}", file.display()))
        .stdout(fs::File::create(&out).unwrap())
        .stderr(fs::File::create(&err).unwrap())
        .spawn()
        .unwrap();
    let deadline = Instant::now() + Duration::from_secs(180);
    while browser.try_wait().unwrap().is_none() {
        if Instant::now() > deadline {
            browser.kill().unwrap();
            panic!("chromium has not ended");
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    let read = |path: &Path| String::from_utf8_lossy(&fs::read(path).unwrap()).into_owned();
    Some((read(&out), read(&err)))
}

#[test]
fn a_browser_logs_no_error_and_shows_every_image() {
    let folder = tempfile::tempdir().unwrap();
    let mut manifest = manifest();
    manifest.data.test = Some(sealed());
    let page = made_since(EVIL, &manifest, Some(&seen()), (&events(), Some(&ablation())));
    let Some((dom, log)) = chromium(folder.path(), &page, &["--dump-dom"]) else { return };
    assert!(dom.contains("Latent map"), "{log}");
    assert!(!log.contains("CONSOLE"), "{log}");
    // The page itself has no script; one that looks at it is added to a copy that lets it.
    let script = "<script>onload = () => { const d = document.documentElement.dataset; \
                  d.images = [...document.images].map(image => image.naturalWidth > 0).join(); \
                  d.overflow = document.documentElement.scrollWidth - innerWidth; \
                  d.empty = [...document.querySelectorAll('figure')].filter(f => f.offsetHeight < 120).length; }</script>";
    let watched = page.replace("default-src &#39;none&#39;", "default-src &#39;unsafe-inline&#39;") + script;
    for width in ["--window-size=1400,1000", "--window-size=400,800"] {
        let (dom, log) = chromium(folder.path(), &watched, &["--dump-dom", width]).unwrap();
        let head = dom.chars().take(400).collect::<String>();
        assert!(head.contains("data-images=\"true,true,true,true\""), "{head}\n{log}");
        assert!(head.contains("data-overflow=\"0\"") && head.contains("data-empty=\"0\""), "{width}: {head}");
    }
}
