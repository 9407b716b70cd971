//! What each latent unit carries over some frames: a unit whose mean does not vary with the image is not used (Burda et al.
//! 2016, section 5.1), and one whose posterior is the prior costs no KL.

use crate::error::Result;
use crate::model::Autoencoder;
use crate::train::classes::Classes;
use crate::train::data::Sample;
use crate::train::fit::TileRef;
use crate::train::judge::{Latent, judge};

/// Most tiles looked at; of more, as many, evenly spread.
const MOST: usize = 2000;
/// Units whose KL is written out; of more, those that carry most.
const WRITTEN: usize = 16;

/// What the latent units of a model carry over the tiles of some frames.
///
/// # Errors
/// [`crate::error::Kind::Internal`] when the device fails.
pub fn usage(model: &mut Autoencoder, samples: &[Sample]) -> Result<Latent> {
    let all: Vec<TileRef> = (0..samples.len())
        .flat_map(|sample| (0..samples[sample].prepared.tiles.len()).map(move |tile| TileRef { sample, tile }))
        .collect();
    let some: Vec<TileRef> = all.iter().step_by(all.len().div_ceil(MOST).max(1)).copied().collect();
    Ok(judge(model, (samples, &Classes::default()), &some, 1.0)?.1)
}

/// It in words, such as `3 of 4 units active, KL 5.1 nats (2.6 1.5 1.0 0.0)`; without KL where the encoder gives points.
pub fn words(latent: &Latent) -> String {
    let active = format!("{} of {} units active", latent.active(), latent.variance.len());
    if latent.kl.is_empty() {
        return active;
    }
    let mut kl = latent.kl.clone();
    kl.sort_by(|a, b| b.total_cmp(a));
    let written: Vec<String> = kl.iter().take(WRITTEN).map(|kl| format!("{kl:.2}")).collect();
    let more = if kl.len() > WRITTEN { " ..." } else { "" };
    format!("{active}, KL {:.1} nats ({}{more})", kl.iter().sum::<f32>(), written.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_counted_and_their_divergence_is_written_from_the_largest() {
        let latent = Latent { kl: vec![1.0, 0.0, 2.5, 1.5], variance: vec![0.5, 0.001, 0.9, 0.6] };
        assert_eq!(words(&latent), "3 of 4 units active, KL 5.0 nats (2.50 1.50 1.00 0.00)");
        assert_eq!(words(&Latent { kl: vec![], ..latent }), "3 of 4 units active");
        let many = words(&Latent { kl: vec![0.1; 20], variance: vec![0.5; 20] });
        assert!(many.ends_with("0.10 ...)") && many.matches("0.10").count() == WRITTEN, "{many}");
    }
}
