//! `anomalyd generate --traverse`: a row a latent unit, the unit going through its values and the others at rest.

use super::{Args, units, write};
use crate::draw::sheet::picture;
use crate::draw::stretch::Stretch;
use crate::draw::strip::{Row, strip};
use crate::error::Result;
use crate::explore::still::Still;
use crate::explore::traverse::{STEPS, latents, offsets, units as latent_units};
use crate::explore::{Law, Subject};
use crate::settings::Settings;

/// Side of a picture, about, in pixels.
const SIDE: usize = 96;
/// Units with a row each; of more, those that carry most.
const MOST: usize = 32;

/// Writes the picture, and says what each unit carries.
///
/// # Errors
/// A wrong pipeline, model or image, or a model without the prior asked for; [`crate::error::Kind::Io`] naming the file that
/// cannot be written.
pub fn run(args: &Args, settings: &Settings) -> Result<()> {
    let mut subject = Subject::load(&args.pipeline, settings)?;
    let law = Law::of(&subject, args.from, args.label.as_deref())?;
    let (channels, rows, columns) = subject.latent_map();
    let (rest, scaling, name) = match &args.around {
        Some(given) => {
            let still = Still::read(given, None, subject.input(), &settings.limits)?;
            (subject.encode(&still.pixels)?, still.scaling, format!("at the latent of {}", still.name))
        }
        None => {
            let mean = law.moments().into_iter().map(|(mean, _)| mean).collect();
            (mean, subject.input().scaling, "at their mean".to_string())
        }
    };
    let all = latent_units(&subject.usage, channels, rows * columns);
    let shown = &all[..all.len().min(MOST)];
    let mut images = Vec::with_capacity(shown.len() * STEPS);
    for unit in shown {
        images.append(&mut subject.decode(&latents(&law, &rest, unit.index, rows * columns), scaling)?);
    }
    let stretch = Stretch::under(scaling, &images.concat());
    let row = |(unit, images): (&crate::explore::traverse::Unit, &[Vec<f32>])| Row {
        title: unit.text(),
        pictures: images
            .iter()
            .zip(offsets())
            .map(|(image, offset)| (picture(&stretch, subject.values(image), SIDE), format!("{offset:+.2}")))
            .collect(),
    };
    let title = format!("{} ({}): one latent unit at a time", subject.name(), subject.kind_text());
    let lines = [
        format!("{} of {} units, those that carry most first; the others {name}", shown.len(), all.len()),
        format!("below each: deviations of {}", law.text()),
        format!("all under one stretch: {} in {}", stretch.caption(), units(&subject)),
    ];
    let drawn = strip(&title, &lines, &shown.iter().zip(images.chunks(STEPS)).map(row).collect::<Vec<_>>());
    let out = args.out.clone().unwrap_or_else(|| format!("{}-units.png", subject.pipeline.name).into());
    write(&out, &drawn.png())?;
    sayln!("model    {}", subject.name());
    all.iter().for_each(|unit| sayln!("         {}", unit.text()));
    sayln!("picture  {}", out.display());
    Ok(())
}
