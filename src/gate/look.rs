//! What a version makes of frames.

use crate::components::Component;
use crate::error::Result;
use crate::pipeline::Spec;
use crate::prepare::Prepared;
use crate::score::Scorer;

/// Frames examined at once.
const FRAMES_AT_ONCE: usize = 64;

/// One frame under a version.
#[derive(Debug, Clone, Copy)]
pub struct Seen {
    /// `-ELBO`, the mean of its tiles, nats; the latent at its mean.
    pub loss: f64,
    /// Frozen score.
    pub score: f64,
    /// Above the certified threshold.
    pub flagged: bool,
    /// Of another size than the version was calibrated on: its certificate does not hold for the frame.
    pub other_size: bool,
}

/// Looks at frames.
///
/// # Errors
/// [`crate::error::Kind::Internal`] when the device fails.
pub fn look(scorer: &mut Scorer, frames: &[&Prepared], spec: &Spec) -> Result<Vec<Seen>> {
    let threshold = scorer.calibration().threshold();
    scorer.detector().want_all();
    let beta = if spec.model.is_variational() { f64::from(spec.model.beta) } else { 0.0 };
    let mut seen = Vec::with_capacity(frames.len());
    for some in frames.chunks(FRAMES_AT_ONCE) {
        let examined = scorer.detector().examine(some)?;
        let other_sizes: Vec<bool> = some.iter().map(|frame| scorer.other_size(frame).is_some()).collect();
        let tails = &scorer.detector().fitted.tails;
        for (frame, other_size) in examined.into_iter().zip(other_sizes) {
            let mean = |component: Component| {
                frame.tiles.iter().map(|tile| tile[component as usize]).sum::<f64>() / frame.tiles.len().max(1) as f64
            };
            let kl = if beta > 0.0 { beta * mean(Component::Kl) } else { 0.0 };
            let score = tails.frame_score(&frame.tiles, &spec.score);
            let loss = mean(Component::ReconstructionNll) + kl;
            seen.push(Seen { loss, score, flagged: score > threshold, other_size });
        }
    }
    Ok(seen)
}
