//! What the segmenter finds in held-out frames, kind by kind, beside the residual.

use super::html::Html;
use super::{Report, picture, words};
use crate::segment::words::{number, origin, threshold};
use crate::segment::{Figures, Quality, Record};

/// The section; a line that says why where the version has no segmenter.
pub fn section(html: &mut Html, report: &Report, sheet: Option<&[u8]>) {
    let Some(record) = &report.manifest.segmenter else {
        words::missing(html, "The pipeline asks for no segmenter: the anomaly map is the residual.");
        return;
    };
    html.words("p", &[], &format!("U-Net: {}; {}.", origin(record), threshold(record)));
    html.words(
        "p",
        &[("class", "muted")],
        "Pixels of all held-out frames together. The residual is cut where it marks the same share of normal pixels; the area \
         under the curve of precision over recall (AUPRC) needs no threshold.",
    );
    table(html, record);
    if let Some(png) = sheet {
        let says = "Held-out frames: as they are, with the true mask, with what the U-Net marks in its map, with what the residual \
                    marks in its own.";
        picture(html, "Segmentation", says, png);
    }
}

fn table(html: &mut Html, record: &Record) {
    const HEAD: [&str; 9] = [
        "kind",
        "frames",
        "pixels",
        "IoU",
        "Dice",
        "AUPRC",
        "IoU of the residual",
        "Dice of the residual",
        "AUPRC of the residual",
    ];
    html.element("div", &[("class", "scroll")], |html| {
        html.element("table", &[], |html| {
            html.element("tr", &[], |html| HEAD.iter().for_each(|name| html.words("th", &[], name)));
            for Figures { kind, frames, pixels, segmenter, residual } in &record.figures {
                html.element("tr", &[], |html| {
                    html.words("td", &[], &kind.replace('_', " "));
                    [frames.to_string(), pixels.to_string()].iter().for_each(|count| html.words("td", &[], count));
                    [segmenter, residual].into_iter().for_each(|quality| cells(html, quality));
                });
            }
        });
    });
}

fn cells(html: &mut Html, quality: &Quality) {
    for value in [quality.iou, quality.dice, quality.average_precision] {
        html.words("td", &[], &number(value));
    }
}
