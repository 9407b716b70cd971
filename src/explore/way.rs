//! Ways from one latent to another.

/// How to go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// Along the straight line.
    Linear,
    /// Along the great circle, its radius going from the one length to the other (White 2016, arXiv:1609.04468): in many
    /// dimensions a straight line passes the origin closer than any draw of the prior lies.
    Spherical,
}

impl Way {
    /// `steps` latents from `a` to `b`, both ends among them: `[steps, len]`, row-major; `a` alone for one step.
    pub fn latents(self, a: &[f32], b: &[f32], steps: usize) -> Vec<f32> {
        let share = |step: usize| if steps < 2 { 0.0 } else { step as f64 / (steps - 1) as f64 };
        (0..steps).flat_map(|step| self.at(a, b, share(step))).collect()
    }

    fn at(self, a: &[f32], b: &[f32], t: f64) -> Vec<f32> {
        let (of_a, of_b) = match self {
            Self::Linear => (1.0 - t, t),
            Self::Spherical => circle(angle(a, b), t),
        };
        a.iter().zip(b).map(|(a, b)| (of_a * f64::from(*a) + of_b * f64::from(*b)) as f32).collect()
    }
}

/// The angle between two vectors, radians; 0 where one of them is zero.
pub fn angle(a: &[f32], b: &[f32]) -> f64 {
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>();
    let lengths = (dot(a, a) * dot(b, b)).sqrt();
    if lengths > 0.0 { (dot(a, b) / lengths).clamp(-1.0, 1.0).acos() } else { 0.0 }
}

/// Weights of both ends on the great circle; those of the line where the ends lie on one ray, or on opposite ones.
fn circle(angle: f64, t: f64) -> (f64, f64) {
    let sine = angle.sin();
    if sine < 1e-6 {
        return (1.0 - t, t);
    }
    (((1.0 - t) * angle).sin() / sine, (t * angle).sin() / sine)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ways_begin_and_end_where_they_should() {
        let (a, b) = ([1.0, 2.0, -1.0], [0.5, -1.0, 3.0]);
        for way in [Way::Linear, Way::Spherical] {
            let latents = way.latents(&a, &b, 5);
            assert_eq!(latents.len(), 15);
            for (found, wanted) in latents[..3].iter().chain(&latents[12..]).zip(a.iter().chain(&b)) {
                assert!((found - wanted).abs() < 1e-6, "{way:?} {latents:?}");
            }
        }
    }

    #[test]
    fn the_great_circle_keeps_the_length_that_the_line_loses() {
        let (a, b) = ([3.0, 0.0], [0.0, 3.0]);
        let middle = |way: Way| way.latents(&a, &b, 3)[2..4].to_vec();
        assert_eq!(middle(Way::Linear), [1.5, 1.5]);
        let half = 3.0 * 0.5f32.sqrt();
        assert!(middle(Way::Spherical).iter().all(|value| (value - half).abs() < 1e-6));
        assert!((angle(&a, &b) - std::f64::consts::FRAC_PI_2).abs() < 1e-12);
    }

    #[test]
    fn ends_on_one_line_or_at_zero_are_joined_straight() {
        for (a, b) in [([1.0, 0.0], [3.0, 0.0]), ([1.0, 0.0], [-1.0, 0.0]), ([0.0, 0.0], [2.0, 2.0])] {
            assert_eq!(Way::Spherical.latents(&a, &b, 4), Way::Linear.latents(&a, &b, 4));
        }
    }
}
