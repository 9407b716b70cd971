//! Elementary functions of single precision that the compiler can turn into vector instructions.
#![allow(clippy::excessive_precision)] // coefficients as their source prints them

/// `e^x` to 2 ulp, without branches (Cephes' expf); held within the finite range.
#[inline(always)]
pub(crate) fn exp(x: f32) -> f32 {
    const ROUND: f32 = 12_582_912.0; // 1.5 * 2^23: adding it leaves the nearest integer in the low bits
    let x = x.clamp(-87.0, 88.0);
    let shifted = x * std::f32::consts::LOG2_E + ROUND;
    let n = shifted - ROUND;
    let r = x - n * 0.693_359_4 + n * 2.121_944_4e-4;
    let p =
        ((((1.987_569_1e-4 * r + 1.398_2e-3) * r + 8.333_452e-3) * r + 4.166_579_6e-2) * r + 1.666_666_5e-1) * r + 0.5;
    let power = (shifted.to_bits() as i32).wrapping_sub(ROUND.to_bits() as i32).wrapping_add(127) << 23;
    (p * r * r + r + 1.0) * f32::from_bits(power as u32)
}

/// `ln x` of a positive normal number to 2 ulp, without branches (Cephes' logf).
#[inline(always)]
pub(crate) fn ln(x: f32) -> f32 {
    let bits = x.to_bits();
    // Mantissa in [sqrt(1/2), sqrt(2)): shift the exponent's border there.
    let shifted = bits.wrapping_sub(0x3f35_04f3);
    let exponent = (shifted as i32 >> 23) as f32;
    let m = f32::from_bits((shifted & 0x007f_ffff).wrapping_add(0x3f35_04f3)) - 1.0;
    let low = ((7.037_683_6e-2 * m - 1.151_461e-1) * m + 1.167_699_9e-1) * m - 1.242_014_1e-1;
    let p = ((((low * m + 1.424_932_3e-1) * m - 1.666_805_8e-1) * m + 2.000_071_5e-1) * m - 2.499_999_4e-1) * m
        + 3.333_333e-1;
    let square = m * m;
    m + (p * m * square - 0.5 * square + exponent * -2.121_944_4e-4) + exponent * 0.693_359_4
}

/// `tanh x` to 2 ulp, without branches (Cephes' tanhf).
#[inline(always)]
pub(crate) fn tanh(x: f32) -> f32 {
    let s = x * x;
    let p = (((-5.704_988_7e-3 * s + 2.063_908_9e-2) * s - 5.373_971_5e-2) * s + 1.333_144_2e-1) * s - 3.333_328_2e-1;
    let near = p * s * x + x;
    let far = 1.0 - 2.0 / (exp(2.0 * x.abs()) + 1.0);
    if x.abs() < 0.625 { near } else { far.copysign(x) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_are_exact_to_a_few_ulp() {
        for i in -8000..8000 {
            let x = i as f32 * 0.01;
            let error = (exp(x) / x.exp() - 1.0).abs();
            assert!(error < 4e-7, "exp({x}) is off by {error}");
        }
        for i in -20_000..20_000 {
            let x = i as f32 * 0.001;
            let error = (tanh(x) - x.tanh()).abs();
            assert!(error <= 3e-7 * x.tanh().abs(), "tanh({x}) is off by {error}");
        }
        assert!(tanh(f32::NAN).is_nan());
        for i in 1..100_000 {
            let x = (i as f32 * 0.37).powi(3) * 1e-6;
            let error = (ln(x) - x.ln()).abs();
            assert!(error <= 3e-7 * x.ln().abs().max(1.0), "ln({x}) is off by {error}");
        }
    }
}
