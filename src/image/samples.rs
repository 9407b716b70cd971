//! Raw numbers as files store them, to f32.

use super::Depth;

/// The type of a stored number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sample {
    U8,
    I8,
    U16,
    I16,
    U32,
    I32,
    U64,
    I64,
    F16,
    F32,
    F64,
}

/// Byte order of a stored number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    Little,
    Big,
}

macro_rules! convert {
    ($bytes:expr, $order:expr, $out:expr, $type:ty, $value:expr) => {{
        let (chunks, _) = $bytes.as_chunks::<{ size_of::<$type>() }>();
        match $order {
            Order::Little => $out.extend(chunks.iter().map(|&chunk| $value(<$type>::from_le_bytes(chunk)))),
            Order::Big => $out.extend(chunks.iter().map(|&chunk| $value(<$type>::from_be_bytes(chunk)))),
        }
    }};
}

impl Sample {
    /// Bytes a number.
    pub(super) fn size(self) -> usize {
        match self {
            Self::U8 | Self::I8 => 1,
            Self::U16 | Self::I16 | Self::F16 => 2,
            Self::U32 | Self::I32 | Self::F32 => 4,
            Self::U64 | Self::I64 | Self::F64 => 8,
        }
    }

    /// What a frame says of it.
    pub(super) fn depth(self) -> Depth {
        let bits = 8 * self.size() as u8;
        match self {
            Self::U8 | Self::U16 | Self::U32 | Self::U64 => Depth::Unsigned(bits),
            Self::I8 | Self::I16 | Self::I32 | Self::I64 => Depth::Signed(bits),
            Self::F16 | Self::F32 | Self::F64 => Depth::Float(bits),
        }
    }

    /// Appends every whole number of `bytes` to `out`, rounded to the nearest f32.
    pub(super) fn extend(self, bytes: &[u8], order: Order, out: &mut Vec<f32>) {
        match self {
            Self::U8 => out.extend(bytes.iter().map(|&byte| f32::from(byte))),
            Self::I8 => out.extend(bytes.iter().map(|&byte| f32::from(byte as i8))),
            Self::U16 => convert!(bytes, order, out, u16, f32::from),
            Self::I16 => convert!(bytes, order, out, i16, f32::from),
            Self::U32 => convert!(bytes, order, out, u32, |value| value as f32),
            Self::I32 => convert!(bytes, order, out, i32, |value| value as f32),
            Self::U64 => convert!(bytes, order, out, u64, |value| value as f32),
            Self::I64 => convert!(bytes, order, out, i64, |value| value as f32),
            Self::F16 => convert!(bytes, order, out, u16, half_to_f32),
            Self::F32 => convert!(bytes, order, out, f32, |value| value),
            Self::F64 => convert!(bytes, order, out, f64, |value| value as f32),
        }
    }
}

/// IEEE 754 binary16, given by its bits.
fn half_to_f32(bits: u16) -> f32 {
    let sign = if bits & 0x8000 == 0 { 1.0 } else { -1.0 };
    let (exponent, fraction) = (i32::from((bits >> 10) & 0x1F), f32::from(bits & 0x3FF));
    match exponent {
        0 => sign * fraction * 2f32.powi(-24),
        31 if fraction == 0.0 => sign * f32::INFINITY,
        31 => f32::NAN,
        _ => sign * (1.0 + fraction / 1024.0) * 2f32.powi(exponent - 15),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_precision_matches_numpy() {
        // numpy.array([0x3c00, 0xc000, 0x7bff, 0x0001, 0x8000, 0x7c00], 'u2').view('f2')
        let expected = [1.0, -2.0, 65504.0, 5.960_464_5e-8, -0.0, f32::INFINITY];
        for (bits, value) in [0x3c00, 0xc000, 0x7bff, 0x0001, 0x8000, 0x7c00].into_iter().zip(expected) {
            assert_eq!(half_to_f32(bits).to_bits(), value.to_bits());
        }
        assert!(half_to_f32(0x7e00).is_nan());
    }

    #[test]
    fn both_byte_orders() {
        let mut out = Vec::new();
        Sample::I16.extend(&[0xFF, 0xFE], Order::Big, &mut out);
        Sample::I16.extend(&[0xFE, 0xFF], Order::Little, &mut out);
        Sample::U32.extend(&[0, 0, 1, 0], Order::Big, &mut out);
        Sample::F64.extend(&1.5f64.to_be_bytes(), Order::Big, &mut out);
        assert_eq!(out, [-2.0, -2.0, 256.0, 1.5]);
    }
}
