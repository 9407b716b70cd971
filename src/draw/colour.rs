//! Colours: the sequential map of anomaly maps, and the few named ones of plots and borders.

/// An opaque colour, 8 bits a channel.
pub type Rgb = [u8; 3];

/// Background of every picture.
pub const PAPER: Rgb = [255, 255, 255];
/// Text.
pub const INK: Rgb = [33, 37, 41];
/// Lesser text, axes, ticks.
pub const MUTED: Rgb = [108, 117, 125];
/// Faint lines: grids and empty borders.
pub const FAINT: Rgb = [222, 226, 230];
/// Normal (Okabe & Ito's blue: tells apart from the others for every colour vision).
pub const BLUE: Rgb = [0, 114, 178];
/// Anomalous (Okabe & Ito's vermilion).
pub const VERMILION: Rgb = [213, 94, 0];
/// Right (Okabe & Ito's bluish green).
pub const GREEN: Rgb = [0, 158, 115];
/// Something missed (Okabe & Ito's orange).
pub const ORANGE: Rgb = [230, 159, 0];
/// A fifth series (Okabe & Ito's reddish purple).
pub const PURPLE: Rgb = [204, 121, 167];
/// A sixth series (Okabe & Ito's sky blue).
pub const SKY: Rgb = [86, 180, 233];

/// Matplotlib's inferno (CC0) at eleven equal steps: lightness rises monotonically, so it survives a grey print.
const INFERNO: [Rgb; 11] = [
    [0x00, 0x00, 0x04],
    [0x16, 0x0b, 0x39],
    [0x42, 0x0a, 0x68],
    [0x6a, 0x17, 0x6e],
    [0x93, 0x26, 0x67],
    [0xbc, 0x37, 0x54],
    [0xdd, 0x51, 0x3a],
    [0xf3, 0x78, 0x19],
    [0xfc, 0xa5, 0x0a],
    [0xf6, 0xd7, 0x46],
    [0xfc, 0xff, 0xa4],
];

/// The sequential colour of `u` in [0, 1], linear between the steps; anything outside is clamped, NaN is the lowest.
pub fn inferno(u: f32) -> Rgb {
    let last = INFERNO.len() - 1;
    let place = if u.is_nan() { 0.0 } else { u.clamp(0.0, 1.0) * last as f32 };
    let low = (place as usize).min(last - 1);
    let share = place - low as f32;
    std::array::from_fn(|channel| {
        let (from, to) = (f32::from(INFERNO[low][channel]), f32::from(INFERNO[low + 1][channel]));
        (from + share * (to - from)).round() as u8
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_map_starts_and_ends_as_published_and_only_gets_lighter() {
        assert_eq!(inferno(0.0), INFERNO[0]);
        assert_eq!(inferno(1.0), INFERNO[10]);
        assert_eq!(inferno(7.0), INFERNO[10]);
        assert_eq!(inferno(f32::NAN), INFERNO[0]);
        let lightness = |c: Rgb| 0.2126 * f32::from(c[0]) + 0.7152 * f32::from(c[1]) + 0.0722 * f32::from(c[2]);
        let steps: Vec<f32> = (0..=100).map(|i| lightness(inferno(i as f32 / 100.0))).collect();
        assert!(steps.windows(2).all(|pair| pair[1] >= pair[0]));
    }
}
