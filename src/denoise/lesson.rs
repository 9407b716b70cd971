//! What a denoiser learns: tiles without noise, or without the noise added, from tiles with it.

use std::collections::HashMap;
use std::ffi::OsString;
use std::sync::atomic::AtomicBool;

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use super::compare::Twin;
use super::{Denoiser, Record, chain, law};
use crate::error::{Failure, Kind, Result};
use crate::model::device::Device;
use crate::model::{FeedForward, Observation};
use crate::pipeline::{ExtraNoise, Scaling, Spec};
use crate::prepare::Prepared;
use crate::stats::fidelity::WINDOW;
use crate::train::augment::noisy;
use crate::train::chain::{self as loops, Batch, Event, Goal, Judgement, Lesson, Plan};
use crate::train::data::Sample;
use crate::train::fit::{TileRef, evenly};

/// Most validation tiles an epoch is judged by.
const JUDGED: usize = 1024;
/// Tiles judged at once.
const BATCH: usize = 32;
/// The noise added to validation tiles is the same in every epoch.
const JUDGE_SEED: u64 = 0x6e6f_6973_6500;

/// Frames without noise, each the twin of one with it.
#[derive(Debug, Clone)]
pub struct Pairs<'a>(Vec<&'a Prepared>);

impl<'a> Pairs<'a> {
    /// Finds the clean twin of every frame, by file name and place in the file.
    ///
    /// # Errors
    /// [`Kind::Data`] naming a frame without one, one of another size, or too small for SSIM; [`Kind::Settings`] where each
    /// frame is scaled by itself, so that a pair has no common units.
    pub fn of(frames: &[Sample], clean: &'a [Sample], scaling: Scaling) -> Result<Self> {
        if scaling == Scaling::PerFrame {
            return Err(Failure::new(Kind::Settings, "clean frames need an input.scaling other than per_frame"));
        }
        let name = |sample: &Sample| sample.source.file_name().map(OsString::from).unwrap_or_default();
        let mut found: HashMap<(OsString, usize), &Prepared> =
            clean.iter().map(|sample| ((name(sample), sample.index), &sample.prepared)).collect();
        let twin = |frame: &Sample| {
            let wrong = |why: &str| {
                let at = format!("{} frame {}", frame.source.display(), frame.index);
                Failure::new(Kind::Data, format!("{at}: {why}")).hint(
                    "clean frames are found by the name of their file: anomalyd simulate --clean writes such pairs",
                )
            };
            let twin = found.remove(&(name(frame), frame.index)).ok_or_else(|| wrong("no clean frame of that name"))?;
            let size = format!("{}x{} pixels", twin.width, twin.height);
            if (twin.width, twin.height) != (frame.prepared.width, frame.prepared.height) {
                return Err(wrong(&format!("its clean frame has {size}")));
            }
            if twin.width.min(twin.height) < WINDOW {
                let why = format!("{size}: frames are held against clean ones from {WINDOW}x{WINDOW} pixels on (SSIM)");
                return Err(wrong(&why).hint("give larger frames, or train without --clean"));
            }
            Ok(twin)
        };
        Ok(Self(frames.iter().map(twin).collect::<Result<_>>()?))
    }

    /// Some of the frames with their twins.
    pub fn twins<'b>(&'b self, frames: &'b [Sample], chosen: impl IntoIterator<Item = usize>) -> Vec<Twin<'b>> {
        chosen.into_iter().map(|at| Twin { noisy: &frames[at].prepared, clean: self.0[at] }).collect()
    }
}

/// Fits the denoiser that the pipeline asks for to the tiles of `train`, judged by those of `validation`; none where it
/// asks for none.
///
/// # Errors
/// [`Kind::Settings`] when neither pairs nor the pipeline say what noise is; see [`loops::fit`] for the rest.
pub fn fit(
    spec: &Spec,
    (frames, pairs): (&[Sample], Option<&Pairs>),
    (train, validation): (&[TileRef], &[TileRef]),
    device: Device,
    (stop, on): (&AtomicBool, &mut dyn FnMut(Event)),
) -> Result<Option<(Denoiser, Record)>> {
    let Some(denoiser) = &spec.denoiser else { return Ok(None) };
    let noise = denoiser.noise(spec.model.likelihood);
    if noise.is_none() && pairs.is_none() {
        return Err(Failure::new(Kind::Settings, "denoiser.noise is missing: nothing says what noise to learn from")
            .hint("give denoiser.noise = { gaussian = SIGMA } in the frame's units, or clean frames: --clean DIR"));
    }
    let law = law(spec, denoiser);
    let lesson = Noisy { spec, frames, pairs, noise, train, judged: evenly(validation, JUDGED), law: &law };
    let plan = Plan::of(&denoiser.unet(spec), &spec.training);
    let mut network = FeedForward::new(chain(spec, denoiser)?, plan.seed, device)?;
    let history = loops::fit(&mut network, &plan, &lesson, stop, on)?;
    let passed = lesson.passed(&network)?;
    let record = Record { parameters: network.parameter_count(), pairs: pairs.is_some(), passed, worse: None, history };
    Ok(Some((Denoiser::new(network, spec, denoiser, record.passed), record)))
}

struct Noisy<'a> {
    spec: &'a Spec,
    frames: &'a [Sample],
    pairs: Option<&'a Pairs<'a>>,
    noise: Option<ExtraNoise>,
    train: &'a [TileRef],
    judged: Vec<TileRef>,
    law: &'a Observation,
}

impl Noisy<'_> {
    /// Tiles with noise and without, both `[N, C, S, S]`.
    fn both(&self, tiles: &[TileRef], random: &mut ChaCha8Rng) -> [Vec<f32>; 2] {
        let seen = self.gather(tiles, |tile| &self.frames[tile.sample].prepared);
        if let Some(Pairs(clean)) = self.pairs {
            return [seen, self.gather(tiles, |tile| clean[tile.sample])];
        }
        let (mut x, likelihood) = (seen.clone(), self.spec.model.likelihood);
        for (tile, x) in tiles.iter().zip(x.chunks_exact_mut(self.image())) {
            let scaling = self.frames[tile.sample].prepared.scaling;
            if let Some(noise) = self.noise {
                noisy(x, scaling, (noise, likelihood), random);
            }
        }
        if self.spec.input.clip {
            x.iter_mut().for_each(|value| *value = value.clamp(0.0, 1.0));
        }
        [x, seen]
    }

    /// The network's mean response to the noise added, in scaled units: `<f(y + n) - f(y), n> / <n, n>`, at most what a
    /// perfect network passes on. None where the noise of the frames themselves is not known.
    fn passed(&self, network: &FeedForward) -> Result<Option<f32>> {
        let (Some(ExtraNoise::Instrument(amplitude)), None) = (self.noise, self.pairs) else { return Ok(None) };
        let (mut random, mut response, mut power) = (ChaCha8Rng::seed_from_u64(JUDGE_SEED), 0.0, 0.0);
        for tiles in self.judged.chunks(BATCH) {
            let [z, y] = self.both(tiles, &mut random);
            let [of_z, of_y] = [network.forward(&z)?, network.forward(&y)?];
            for (((z, y), of_z), of_y) in z.iter().zip(&y).zip(&of_z).zip(&of_y) {
                let noise = f64::from(z - y);
                response += f64::from(of_z - of_y) * noise;
                power += noise * noise;
            }
        }
        let perfect = 1.0 / (1.0 + f64::from(amplitude).powi(2));
        Ok((power > 0.0).then(|| (response / power).clamp(0.0, perfect) as f32))
    }

    fn image(&self) -> usize {
        self.spec.input.channels * self.spec.input.size * self.spec.input.size
    }

    fn gather<'a>(&'a self, tiles: &[TileRef], frame: impl Fn(&TileRef) -> &'a Prepared) -> Vec<f32> {
        let mut x = vec![0.0; tiles.len() * self.image()];
        for (tile, x) in tiles.iter().zip(x.chunks_exact_mut(self.image())) {
            let corner = self.frames[tile.sample].prepared.tiles[tile.tile];
            frame(tile).copy_tile(corner, self.spec.input.size, x);
        }
        x
    }
}

impl Lesson for Noisy<'_> {
    fn count(&self) -> usize {
        self.train.len()
    }

    fn batch(&self, items: &[usize], random: &mut ChaCha8Rng) -> Batch<'_> {
        let tiles: Vec<TileRef> = items.iter().map(|&item| self.train[item]).collect();
        let [x, wanted] = self.both(&tiles, random);
        Batch { x, goal: Goal::Images(wanted, self.law) }
    }

    fn judge(&self, network: &FeedForward) -> Result<Judgement> {
        let (mut random, mut loss) = (ChaCha8Rng::seed_from_u64(JUDGE_SEED), 0.0);
        for tiles in self.judged.chunks(BATCH) {
            let [x, wanted] = self.both(tiles, &mut random);
            let output = network.forward(&x)?;
            let images = wanted.chunks_exact(self.image()).zip(output.chunks_exact(self.image()));
            loss += images.map(|(wanted, output)| self.law.nll(wanted, output)).sum::<f64>();
        }
        Ok(Judgement { loss: loss / self.judged.len().max(1) as f64, accuracy: None })
    }
}
