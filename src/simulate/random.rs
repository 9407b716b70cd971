//! Random numbers: independent streams of one seed, so that any frame can be made alone and in any order.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// What a stream of a frame is for; scene, anomaly and noise never share numbers, so that twins share their scene.
#[derive(Debug, Clone, Copy)]
pub enum Purpose {
    /// What is in front of the instrument.
    Scene = 0,
    /// What goes wrong.
    Anomaly = 1,
    /// What the instrument adds.
    Noise = 2,
}

/// The stream of frame `index` for this purpose.
pub fn stream(seed: u64, index: u64, purpose: Purpose) -> ChaCha8Rng {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(index.wrapping_mul(4).wrapping_add(purpose as u64));
    rng
}

/// The stream that lays out the sequence: no frame's own.
pub fn plan_stream(seed: u64) -> ChaCha8Rng {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(u64::MAX);
    rng
}

/// Uniform in the logarithm between two positive numbers.
pub fn log_uniform(rng: &mut impl Rng, low: f64, high: f64) -> f64 {
    (rng.random_range(low.ln()..high.ln())).exp()
}
