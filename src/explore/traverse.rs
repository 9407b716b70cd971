//! One latent unit varied at a time, the others at rest: what each has learnt to mean.

use std::cmp::Reverse;

use super::Law;
use crate::train::judge::{ACTIVE_VARIANCE, Latent};

/// Deviations that a unit goes to either side.
const REACH: f32 = 3.0;
/// Values that it takes, both ends and its middle among them.
pub const STEPS: usize = 9;

/// A unit of a latent: a value of a vector, or a channel of a map, at all positions together.
#[derive(Debug, Clone, PartialEq)]
pub struct Unit {
    /// Its place in the latent, from 0.
    pub index: usize,
    /// Its KL from the prior, nats; none for a model without one, or where training did not record it.
    pub kl: Option<f64>,
    /// How much its mean varies over the validation tiles (of a channel: at most, over its positions).
    pub variance: Option<f64>,
}

impl Unit {
    /// Whether it tells tiles apart; none where training did not record it.
    pub fn is_active(&self) -> Option<bool> {
        self.variance.map(|variance| variance > ACTIVE_VARIANCE)
    }

    /// What is known of it, in words.
    pub fn text(&self) -> String {
        let mut text = format!("unit {}", self.index + 1);
        if let Some(kl) = self.kl {
            text += &format!(": KL {kl:.2} nats");
        }
        if let Some(variance) = self.variance {
            text += &format!("{} its mean varies by {variance:.3}", if self.kl.is_some() { "," } else { ":" });
        }
        text + if self.is_active() == Some(false) { " (not active)" } else { "" }
    }
}

/// The units of a latent `[channels, positions]`, those that carry most first; in their order where training recorded nothing.
pub fn units(recorded: &Latent, channels: usize, positions: usize) -> Vec<Unit> {
    let each = |values: &[f32], join: fn(f64, f64) -> f64| -> Vec<f64> {
        values.chunks_exact(positions).map(|some| some.iter().copied().map(f64::from).fold(0.0, join)).collect()
    };
    let (kl, variance) = (each(&recorded.kl, |a, b| a + b), each(&recorded.variance, f64::max));
    let unit = |index: usize| Unit { index, kl: kl.get(index).copied(), variance: variance.get(index).copied() };
    let mut units: Vec<Unit> = (0..channels).map(unit).collect();
    let carries = |unit: &Unit| unit.kl.or(unit.variance).unwrap_or(0.0);
    units.sort_by_key(|unit| Reverse(ordered(carries(unit))));
    units
}

/// A value that is at least zero, as an integer of the same order.
fn ordered(value: f64) -> u64 {
    value.max(0.0).to_bits()
}

/// The values of a unit, in deviations of the law.
pub fn offsets() -> [f32; STEPS] {
    std::array::from_fn(|step| REACH * (2.0 * step as f32 / (STEPS - 1) as f32 - 1.0))
}

/// Latents `[STEPS, len]`, equal to `rest` but for one unit, which goes through [`offsets`] about the law's mean.
pub fn latents(law: &Law, rest: &[f32], unit: usize, positions: usize) -> Vec<f32> {
    let moments = law.moments();
    let at = |offset: f32| {
        let mut latent = rest.to_vec();
        let places = unit * positions..(unit + 1) * positions;
        for (value, (mean, deviation)) in latent[places.clone()].iter_mut().zip(&moments[places]) {
            *value = mean + offset * deviation;
        }
        latent
    };
    offsets().into_iter().flat_map(at).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_come_by_what_they_carry() {
        let recorded = Latent { kl: vec![0.1, 2.0, 0.0, 3.0], variance: vec![0.2, 0.9, 0.001, 0.95] };
        let order = |units: &[Unit]| units.iter().map(|unit| unit.index).collect::<Vec<_>>();
        let vector = units(&recorded, 4, 1);
        assert_eq!(order(&vector), [3, 1, 0, 2]);
        assert_eq!(vector[0].text(), "unit 4: KL 3.00 nats, its mean varies by 0.950");
        assert!(vector[3].text().ends_with("(not active)"));
        let map = units(&recorded, 2, 2);
        assert_eq!((order(&map), map[0].kl, map[0].variance), (vec![1, 0], Some(3.0), Some(f64::from(0.95f32))));
        let points = units(&Latent { kl: vec![], variance: vec![0.5, 4.0] }, 2, 1);
        assert_eq!((order(&points), &points[0].text()[..]), (vec![1, 0], "unit 2: its mean varies by 4.000"));
        let none = units(&Latent::default(), 2, 1);
        assert_eq!((order(&none), &none[1].text()[..]), (vec![0, 1], "unit 2"));
    }

    #[test]
    fn one_unit_goes_and_the_others_rest() {
        let law = Law::Channels { moments: vec![(1.0, 2.0), (0.0, 1.0)], positions: 2 };
        let rest = [9.0, 8.0, 7.0, 6.0];
        let latents = latents(&law, &rest, 0, 2);
        let rows: Vec<&[f32]> = latents.chunks(4).collect();
        assert_eq!(
            (rows.len(), rows[0], rows[4], rows[8]),
            (9, &[-5.0, -5.0, 7.0, 6.0][..], &[1.0, 1.0, 7.0, 6.0][..], &[7.0, 7.0, 7.0, 6.0][..])
        );
    }
}
