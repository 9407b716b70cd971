//! How near each way of denoising comes to frames without noise.

use super::html::Html;
use super::words::row;
use super::{Report, picture};
use crate::denoise::fidelity::HEAD;

/// The table, and the picture where there is one; nothing where no clean twins were given.
pub fn draw(html: &mut Html, report: &Report, png: Option<&[u8]>) {
    let Some(found) = &report.manifest.denoising else {
        let why = "How much noise is taken away is measured against frames without any: `anomalyd train --clean`.";
        html.words("p", &[("class", "muted")], why);
        return;
    };
    let words = format!(
        "{} validation frames against their twins without noise: peak signal-to-noise ratio and structural similarity (Wang et \
         al. 2004) in the model's units, where the range is the clean frame's own; and what the darker half of a frame is too \
         bright by, in units of its noise. Means and standard deviations over the frames. The median is one of 3x3 pixels, the \
         Gaussian one of 1 pixel: what is done without learning.",
        found.frames
    );
    html.words("p", &[], &words);
    html.element("table", &[], |html| {
        row(html, "th", &HEAD);
        for figure in &found.figures {
            row(html, "td", &figure.cells().each_ref().map(String::as_str));
        }
    });
    if let Some(png) = png {
        picture(html, "Denoised", "Each row stretched as its clean frame.", png);
    }
}
