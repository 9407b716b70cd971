//! The whole page, on the files of a version that ships: what a browser makes of it, and what hostile names do not.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::*;
use crate::pipeline::Pipeline;
use crate::store::read_manifest;
use crate::train::fit::Epoch;
use crate::train::judge::{Latent, Loss};

const EVIL: &str = "\"'></td></table><script>alert(1)</script><img src=x onerror=alert(1)>\u{202e}";

/// The version of the digits that ships.
fn folder() -> PathBuf {
    let home = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/digits");
    home.join(fs::read_to_string(home.join("current")).unwrap().trim())
}

/// Its manifest, with all that newer trainings record.
fn manifest() -> Manifest {
    let mut manifest = read_manifest(&folder()).unwrap();
    let history = &mut manifest.history;
    history.layers =
        ["encoder.0", "encoder.3", "encoder.6", "decoder.0", "decoder.3", "decoder.6"].map(String::from).into();
    history.latent = Latent { kl: (0..16).map(|at| 3.0 / (at + 1) as f32).collect(), variance: vec![0.5; 15] };
    history.latent.variance.push(1e-4);
    for epoch in &mut history.epochs {
        let train = Loss { nll: epoch.validation_nll - 0.3, kl: epoch.validation_kl, error: 0.8 };
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
    let scores: Vec<f64> = (0..600).map(|at| f64::from(at % 37) * 0.3).collect();
    Seen { tile_scores: scores.clone(), scores, latents, dim: 16 }
}

fn made(name: &str, manifest: &Manifest, seen: Option<&Seen>) -> String {
    let pipeline = Pipeline::parse(name, Path::new("digits.toml"), manifest.pipeline.clone()).unwrap();
    let calibration: Vec<f64> = (0..400).map(|at| f64::from(at) * 0.02).collect();
    let folder = folder();
    let report =
        Report { name, manifest, spec: &pipeline.spec, calibration: &calibration, seen, events: &[], folder: &folder };
    page(&report).unwrap()
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
        "Reconstructions",
        "With confidence 95 %, at most 1 % of the normal frames",
        "weights exactly zero",
        "none was given",
    ] {
        assert!(text.contains(words), "{words}");
    }
    assert!(!text.contains("http:") && !text.contains("https:") && !text.contains("<script"));
    assert_eq!(text.matches("<img").count(), 2);
    assert_eq!(text.matches("src=").count(), text.matches("src=\"data:image/png;base64,").count());
    for (id, _) in PARTS {
        assert!(text.contains(&format!("<section id=\"{id}\"")) && text.contains(&format!("href=\"#{id}\"")), "{id}");
    }
}

#[test]
fn what_a_version_does_not_keep_is_said() {
    let shipped = read_manifest(&folder()).unwrap();
    let text = made("digits", &shipped, None);
    for words in ["The latent map needs the validation frames", "not kept with a version", "recorded neither gradients"]
    {
        assert!(text.contains(words), "{words}");
    }
    assert!(text.contains("converged: epoch 19"), "diagnosed anew");
    assert!(!text.contains("NaN"));
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
    let page = made(EVIL, &manifest(), Some(&seen()));
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
        assert!(head.contains("data-images=\"true,true\""), "{head}\n{log}");
        assert!(head.contains("data-overflow=\"0\"") && head.contains("data-empty=\"0\""), "{width}: {head}");
    }
}
