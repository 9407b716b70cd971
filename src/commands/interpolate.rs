//! `anomalyd interpolate`: the way between two images through a model's latent space, as a strip and an animation.

use std::path::{Path, PathBuf};

use crate::draw::animation::{apng, gif};
use crate::draw::canvas::Picture;
use crate::draw::sheet::picture;
use crate::draw::stretch::Stretch;
use crate::draw::strip::{Row, strip};
use crate::error::{Failure, Kind, Result};
use crate::explore::Subject;
use crate::explore::still::Still;
use crate::explore::way::{Way, angle};
use crate::pipeline::Scaling;
use crate::settings::Settings;

/// Side of a picture on the strip and in the animation, about, in pixels.
const SIDE: usize = 128;
const ANIMATED_SIDE: usize = 256;
/// Milliseconds that the animation rests at its ends, and on its way.
const REST_MS: u16 = 900;
const STEP_MS: u16 = 120;

/// Arguments of `interpolate`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// A pipeline's name, or the path of its TOML file.
    pipeline: String,
    /// The image to start from: FILE, or FILE#INDEX in a file of several frames (from 0).
    #[arg(value_name = "A")]
    from: String,
    /// The image to end at.
    #[arg(value_name = "B")]
    to: String,
    /// Steps, the reconstructions of A and B among them.
    #[arg(long, default_value_t = 11, value_parser = clap::value_parser!(u16).range(2..=500))]
    frames: u16,
    /// Go along the great circle instead of the straight line.
    #[arg(long)]
    spherical: bool,
    /// Top-left corner of the tile, pixels [default: the tile nearest the centre].
    #[arg(long, value_name = "X,Y", value_parser = corner)]
    tile: Option<(usize, usize)>,
    /// Also draw the way of this pipeline's model, below.
    #[arg(long, value_name = "PIPELINE2")]
    beside: Option<String>,
    /// Strip to write [default: `PIPELINE-way.png`].
    #[arg(long, value_name = "FILE.png", value_parser = still)]
    out: Option<PathBuf>,
    /// Also write an animation: PNG, which keeps every colour, or GIF where the name ends in .gif (256 levels; exact for grey
    /// images, of coloured ones 256 colours a frame).
    #[arg(long, value_name = "FILE.png|FILE.gif", value_parser = animation)]
    animate: Option<PathBuf>,
}

fn corner(given: &str) -> Result<(usize, usize), String> {
    let parts = given.split_once(',').and_then(|(x, y)| Some((x.trim().parse().ok()?, y.trim().parse().ok()?)));
    parts.ok_or_else(|| "give the corner as X,Y in pixels, such as 64,0".into())
}

fn ending(path: &Path) -> String {
    path.extension().map_or(String::new(), |ending| ending.to_string_lossy().to_ascii_lowercase())
}

fn still(given: &str) -> Result<PathBuf, String> {
    let path = PathBuf::from(given);
    match &ending(&path)[..] {
        "gif" | "apng" => Err("the strip is a plain PNG; name an animation with --animate".into()),
        _ => Ok(path),
    }
}

fn animation(given: &str) -> Result<PathBuf, String> {
    let path = PathBuf::from(given);
    match &ending(&path)[..] {
        "png" | "apng" | "gif" => Ok(path),
        _ => Err("an animation is a PNG, which every browser shows, or a GIF: end the name in .png or .gif".into()),
    }
}

/// The way through one model.
struct Trip {
    title: String,
    /// A and B, instrument's units.
    ends: [(String, Vec<f32>); 2],
    steps: Vec<Vec<f32>>,
    subject: Subject,
}

/// Runs `interpolate`.
///
/// # Errors
/// A wrong pipeline, model, image or tile; [`Kind::Io`] naming the file that cannot be written.
pub fn run(args: &Args, settings: &Settings) -> Result<()> {
    let trips = std::iter::once(&args.pipeline)
        .chain(&args.beside)
        .map(|pipeline| travel(args, pipeline, settings))
        .collect::<Result<Vec<Trip>>>()?;
    let ends = &trips[0].ends;
    let stretch = Stretch::under(trips[0].subject.input().scaling, &[&ends[0].1[..], &ends[1].1].concat());
    let lines = [
        format!("{} steps, {}", args.frames, if args.spherical { "along the great circle" } else { "along the line" }),
        format!("stretched as the inputs: {}, instrument's units", stretch.caption()),
    ];
    let title = format!("{} to {}", ends[0].0, ends[1].0);
    let rows: Vec<Row> = trips.iter().map(|trip| row(trip, &stretch)).collect();
    let out = args.out.clone().unwrap_or_else(|| format!("{}-way.png", trips[0].subject.pipeline.name).into());
    write(&out, &strip(&title, &lines, &rows).png())?;
    trips.iter().for_each(|trip| sayln!("way         {}", trip.title));
    sayln!("strip       {}", out.display());
    if let Some(path) = &args.animate {
        let frames = animate(&trips, &stretch, &title);
        let (bytes, format) = match &ending(path)[..] {
            "gif" => (gif(&frames)?, "GIF, 256 levels"),
            _ => (apng(&frames)?, "animated PNG"),
        };
        write(path, &bytes)?;
        sayln!("animation   {} ({} frames, {format})", path.display(), args.frames);
    }
    Ok(())
}

fn travel(args: &Args, pipeline: &str, settings: &Settings) -> Result<Trip> {
    let mut subject = Subject::load(pipeline, settings)?;
    if args.tile.is_some() && subject.input().tile.is_none() {
        let message = format!("--tile: pipeline {} takes whole frames, it has no tiles", subject.pipeline.name);
        return Err(Failure::new(Kind::Usage, message).hint("leave --tile out"));
    }
    let read = |given: &String| Still::read(given, args.tile, subject.input(), &settings.limits);
    let (a, b) = (read(&args.from)?, read(&args.to)?);
    let (from, to) = (subject.encode(&a.pixels)?, subject.encode(&b.pixels)?);
    let way = if args.spherical { Way::Spherical } else { Way::Linear };
    let count = usize::from(args.frames);
    let latents = way.latents(&from, &to, count);
    let mut steps = Vec::with_capacity(count);
    for (index, latent) in latents.chunks_exact(from.len()).enumerate() {
        let scaling = between(a.scaling, b.scaling, index as f32 / (count - 1) as f32);
        steps.append(&mut subject.decode(latent, scaling)?);
    }
    let apart = from.iter().zip(&to).map(|(a, b)| f64::from(a - b).powi(2)).sum::<f64>().sqrt();
    let title = format!(
        "{} ({}): {}, {apart:.2} apart, at an angle of {:.0} degrees",
        subject.name(),
        subject.kind_text(),
        subject.latent_text(),
        angle(&from, &to).to_degrees()
    );
    let ends = [(named(&a, &subject), a.unscaled()), (named(&b, &subject), b.unscaled())];
    Ok(Trip { title, ends, steps, subject })
}

fn named(still: &Still, subject: &Subject) -> String {
    match (subject.input().tile, still.corner) {
        (None, _) => still.name.clone(),
        (Some(_), (x, y)) => format!("{} (tile at {x},{y})", still.name),
    }
}

/// The scaling on the way: frames that were scaled by their own ranges go from the one range to the other.
fn between(a: Scaling, b: Scaling, t: f32) -> Scaling {
    match (a, b) {
        (Scaling::Linear { black, white }, Scaling::Linear { black: to_black, white: to_white }) => {
            Scaling::Linear { black: black + t * (to_black - black), white: white + t * (to_white - white) }
        }
        _ => a,
    }
}

fn row(trip: &Trip, stretch: &Stretch) -> Row {
    let draw = |pixels: &[f32]| picture(stretch, trip.subject.values(pixels), SIDE);
    let [a, b] = &trip.ends;
    let last = trip.steps.len() - 1;
    let steps = trip.steps.iter().enumerate();
    let steps = steps.map(|(index, pixels)| (draw(pixels), format!("{:.2}", index as f64 / last as f64)));
    let pictures = std::iter::once((draw(&a.1), "input A".into())).chain(steps).chain([(draw(&b.1), "input B".into())]);
    Row { title: trip.title.clone(), pictures: pictures.collect() }
}

/// One frame a step; the models side by side.
fn animate(trips: &[Trip], stretch: &Stretch, title: &str) -> Vec<(Picture, u16)> {
    let last = trips[0].steps.len() - 1;
    let frame = |step: usize| -> (Picture, u16) {
        let drawn = |trip: &Trip| {
            let drawn = picture(stretch, trip.subject.values(&trip.steps[step]), ANIMATED_SIDE);
            (drawn, trip.subject.name())
        };
        let row =
            Row { title: format!("{:.2}", step as f64 / last as f64), pictures: trips.iter().map(drawn).collect() };
        (strip(title, &[], &[row]), if step == 0 || step == last { REST_MS } else { STEP_MS })
    };
    (0..=last).map(frame).collect()
}

fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    std::fs::write(path, bytes).map_err(|error| Failure::io(path, error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn corners_and_animations_are_checked_at_the_border() {
        assert_eq!(corner("64, 0"), Ok((64, 0)));
        assert!(corner("64").is_err() && corner("a,b").is_err() && corner("-1,0").is_err());
        assert!(animation("way.PNG").is_ok() && animation("way.gif").is_ok() && still("way.png").is_ok());
        assert!(
            animation("way.mp4").unwrap_err().contains(".gif") && still("way.gif").unwrap_err().contains("--animate")
        );
    }

    #[test]
    fn the_range_of_a_frame_goes_over_into_the_others() {
        let scaling = |black, white| Scaling::Linear { black, white };
        assert_eq!(between(scaling(0.0, 10.0), scaling(10.0, 30.0), 0.5), scaling(5.0, 20.0));
        assert_eq!(between(scaling(0.0, 10.0), scaling(10.0, 30.0), 1.0), scaling(10.0, 30.0));
    }
}
