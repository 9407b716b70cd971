//! Between an instrument's physical units and the model's.

use crate::pipeline::Scaling;

impl Scaling {
    /// Physical `v` to the model's `u`. Identity for [`Scaling::PerFrame`], whose extremes only the frame knows.
    pub fn scale(self, v: f32) -> f32 {
        match self {
            Self::Linear { black, white } => (v - black) / (white - black),
            Self::Asinh { black, scale } => ((v - black) / scale).asinh(),
            Self::Log { black, white, scale } => {
                ((v - black).max(0.0) / scale).ln_1p() / log_range(black, white, scale)
            }
            Self::PerFrame => v,
        }
    }

    /// The model's `u` to physical `v`; `u` is held within [`Scaling::bounds`], so the result is finite.
    pub fn unscale(self, u: f32) -> f32 {
        let (low, high) = self.bounds();
        let u = u.clamp(low, high);
        match self {
            Self::Linear { black, white } => black + u * (white - black),
            Self::Asinh { black, scale } => black + scale * u.sinh(),
            Self::Log { black, white, scale } => black + scale * (u * log_range(black, white, scale)).exp_m1(),
            Self::PerFrame => u,
        }
    }

    /// The range of `u` that means anything. A decoder's output outside it counts as its edge, so that neither
    /// `unscale` nor the square of its result overflows.
    pub fn bounds(self) -> (f32, f32) {
        match self {
            Self::Linear { .. } | Self::PerFrame => (-100.0, 100.0),
            Self::Asinh { .. } => (-16.0, 16.0),
            Self::Log { .. } => (-1.5, 1.5),
        }
    }
}

/// `ln(1 + (white - black) / scale)`: what makes white 1 on the logarithmic scale.
pub(crate) fn log_range(black: f32, white: f32, scale: f32) -> f32 {
    ((white - black) / scale).ln_1p()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unscale_inverts_scale() {
        let all = [
            Scaling::Linear { black: 100.0, white: 4000.0 },
            Scaling::Asinh { black: 200.0, scale: 5.0 },
            Scaling::Log { black: 10.0, white: 65535.0, scale: 3.0 },
            Scaling::PerFrame,
        ];
        for scaling in all {
            for v in [10.0, 50.0, 199.0, 200.5, 3000.0, 60000.0] {
                let v = if scaling == Scaling::PerFrame { v / 60000.0 } else { v };
                let back = scaling.unscale(scaling.scale(v));
                assert!((back - v).abs() <= 1e-4 * v.abs().max(1.0), "{scaling:?}: {v} came back as {back}");
            }
        }
    }

    #[test]
    fn unscale_stays_finite() {
        for scaling in
            [Scaling::Asinh { black: 0.0, scale: 10.0 }, Scaling::Log { black: 0.0, white: 65535.0, scale: 1.0 }]
        {
            assert!(scaling.unscale(f32::MAX).is_finite() && scaling.unscale(f32::MIN).is_finite());
        }
    }
}
