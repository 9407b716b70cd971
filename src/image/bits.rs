//! Packed samples of 1 to 16 bits, most significant bit first, each row starting on a byte.

/// Calls `emit` with the `count` samples of one row, in order; missing bytes read as nothing.
pub(super) fn unpack_row(row: &[u8], bits: u8, count: usize, mut emit: impl FnMut(u16)) {
    let mask = ((1u32 << bits) - 1) as u16;
    let (mut window, mut held) = (0u32, 0u8);
    let mut bytes = row.iter();
    for _ in 0..count {
        while held < bits {
            let Some(&byte) = bytes.next() else { return };
            window = (window << 8) | u32::from(byte);
            held += 8;
        }
        held -= bits;
        emit((window >> held) as u16 & mask);
    }
}

/// Bytes of a row of `count` samples of `bits` bits.
pub(super) fn row_bytes(bits: u8, count: usize) -> usize {
    count.saturating_mul(usize::from(bits)).div_ceil(8)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unpacked(row: &[u8], bits: u8, count: usize) -> Vec<u16> {
        let mut out = Vec::new();
        unpack_row(row, bits, count, |value| out.push(value));
        out
    }

    #[test]
    fn any_width_in_order() {
        assert_eq!(unpacked(&[0b1010_0000], 1, 3), [1, 0, 1]);
        assert_eq!(unpacked(&[0x12, 0x30], 4, 3), [1, 2, 3]);
        assert_eq!(unpacked(&[0x12, 0x34, 0x56], 12, 2), [0x123, 0x456]);
        assert_eq!(unpacked(&[0x01, 0x02], 16, 2), [0x0102]);
        assert_eq!(row_bytes(12, 3), 5);
    }
}
