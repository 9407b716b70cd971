//! Point and extended sources of a frame, and the profile of each: what a star, a galaxy, a cosmic ray look like by radius.

use rayon::prelude::*;

/// A source is a maximum of the 3 x 3 mean above this, in units of the noise.
const DETECTION: f32 = 3.0;
/// Most sources of a frame, the brightest: a frame of the wrong gain has a peak everywhere.
const MOST: usize = 20_000;
/// Sources nearer to the frame's edge than this are left out, pixels.
const EDGE: usize = 3;
/// Squared radii of the rings, pixels^2, from and to.
const RINGS: [(i32, i32); 5] = [(4, 5), (8, 10), (13, 20), (25, 37), (40, 82)];
/// Weight of a ring's upper quartile beside its median.
const QUARTILE_WEIGHT: f32 = 0.5;
/// Length of a profile: the core, then median and upper quartile of each ring.
pub const PROFILE: usize = 1 + 2 * RINGS.len();

/// One source.
#[derive(Debug, Clone, PartialEq)]
pub struct Source {
    /// Column of its peak, pixels.
    pub x: usize,
    /// Row of its peak, pixels.
    pub y: usize,
    /// asinh of the 3 x 3 mean at the peak, then of each ring the median and the weighted upper quartile of asinh(value).
    pub profile: [f32; PROFILE],
}

/// The sources of a plane in asinh units of the noise, `[height, width]`, row by row.
pub fn find(plane: &[f32], width: usize, height: usize) -> Vec<Source> {
    if width <= 2 * EDGE || height <= 2 * EDGE {
        return Vec::new();
    }
    let smooth = box_mean(plane, width, height);
    let rings = rings();
    let mut sources: Vec<Source> = (EDGE..height - EDGE)
        .into_par_iter()
        .flat_map_iter(|y| {
            let (smooth, rings) = (&smooth, &rings);
            (EDGE..width - EDGE).filter(move |&x| is_peak(smooth, width, x, y)).map(move |x| Source {
                x,
                y,
                profile: profile(plane, (width, height), (x, y), smooth[y * width + x], rings),
            })
        })
        .collect();
    if sources.len() > MOST {
        sources.sort_by(|a, b| b.profile[0].total_cmp(&a.profile[0]).then((a.y, a.x).cmp(&(b.y, b.x))));
        sources.truncate(MOST);
    }
    sources
}

/// 3 x 3 mean of the values (sinh of the plane); 0 at the frame's edge, where no source is sought.
fn box_mean(plane: &[f32], width: usize, height: usize) -> Vec<f32> {
    let mut mean = vec![0.0; plane.len()];
    mean.par_chunks_exact_mut(width).enumerate().skip(1).take(height - 2).for_each(|(y, row)| {
        let column = |x: usize| (y - 1..=y + 1).map(|y| plane[y * width + x].sinh()).sum::<f32>();
        let (mut left, mut middle) = (column(0), column(1));
        for (x, value) in row.iter_mut().enumerate().take(width - 1).skip(1) {
            let right = column(x + 1);
            *value = (left + middle + right) / 9.0;
            (left, middle) = (middle, right);
        }
    });
    mean
}

/// Whether the smoothed value is above detection and the largest of its 5 x 5 neighbours (the first of equals).
fn is_peak(smooth: &[f32], width: usize, x: usize, y: usize) -> bool {
    let at = y * width + x;
    let value = smooth[at];
    value > DETECTION
        && (y - 2..=y + 2).all(|row| {
            (row * width + x - 2..=row * width + x + 2)
                .all(|other| smooth[other] < value || other == at || (smooth[other] == value && other > at))
        })
}

/// Offsets of each ring's pixels.
fn rings() -> Vec<Vec<(i32, i32)>> {
    let reach = -9..=9;
    let offsets: Vec<(i32, i32)> = reach.clone().flat_map(|dy| reach.clone().map(move |dx| (dx, dy))).collect();
    RINGS
        .iter()
        .map(|&(from, to)| {
            offsets.iter().copied().filter(|(dx, dy)| (from..=to).contains(&(dx * dx + dy * dy))).collect()
        })
        .collect()
}

fn profile(
    plane: &[f32],
    (width, height): (usize, usize),
    (x, y): (usize, usize),
    core: f32,
    rings: &[Vec<(i32, i32)>],
) -> [f32; PROFILE] {
    let mut profile = [0.0; PROFILE];
    profile[0] = core.asinh();
    let mut values = Vec::new();
    for (ring, out) in rings.iter().zip(profile[1..].chunks_exact_mut(2)) {
        values.clear();
        values.extend(ring.iter().filter_map(|&(dx, dy)| {
            let (x, y) = (x.checked_add_signed(dx as isize)?, y.checked_add_signed(dy as isize)?);
            (x < width && y < height).then(|| plane[y * width + x])
        }));
        values.sort_unstable_by(f32::total_cmp);
        out[0] = quantile(&values, 0.5);
        out[1] = QUARTILE_WEIGHT * quantile(&values, 0.75);
    }
    profile
}

/// Linearly interpolated quantile of ascending values, as NumPy's default; 0 where there are none.
fn quantile(sorted: &[f32], share: f32) -> f32 {
    let Some(last) = sorted.len().checked_sub(1) else { return 0.0 };
    let place = share * last as f32;
    let below = place as usize;
    let above = (below + 1).min(last);
    sorted[below] + (place - below as f32) * (sorted[above] - sorted[below])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn field(stars: &[(usize, usize, f32)]) -> Vec<f32> {
        let mut plane = vec![0.0f32; 64 * 48];
        for &(cx, cy, flux) in stars {
            for (at, value) in plane.iter_mut().enumerate() {
                let (dx, dy) = ((at % 64) as f32 - cx as f32, (at / 64) as f32 - cy as f32);
                *value += flux * (-(dx * dx + dy * dy) / 4.0).exp();
            }
        }
        plane.iter().map(|value| value.asinh()).collect()
    }

    #[test]
    fn stars_are_found_where_they_stand_and_noise_is_not() {
        let sources = find(&field(&[(20, 10, 50.0), (45, 30, 200.0)]), 64, 48);
        let places: Vec<(usize, usize)> = sources.iter().map(|source| (source.x, source.y)).collect();
        assert_eq!(places, [(20, 10), (45, 30)]);
        assert!(find(&field(&[(20, 10, 2.0)]), 64, 48).is_empty());
        assert!(find(&[9.0; 25], 5, 5).is_empty());
    }

    #[test]
    fn a_plateau_is_one_source() {
        let mut plane = vec![0.0f32; 64 * 48];
        for y in 20..24 {
            plane[y * 64 + 20..y * 64 + 24].fill(5.0);
        }
        assert_eq!(find(&plane, 64, 48).len(), 1);
    }

    #[test]
    fn a_profile_falls_with_radius() {
        let source = &find(&field(&[(30, 24, 500.0)]), 64, 48)[0];
        let medians: Vec<f32> = source.profile[1..].iter().step_by(2).copied().collect();
        assert!(source.profile[0] > medians[0] && medians.is_sorted_by(|a, b| a >= b));
    }

    #[test]
    fn quantiles_interpolate_as_numpy() {
        // numpy.quantile([1, 2, 4, 8], [0.5, 0.75]) = [3, 5]
        assert_eq!((quantile(&[1.0, 2.0, 4.0, 8.0], 0.5), quantile(&[1.0, 2.0, 4.0, 8.0], 0.75)), (3.0, 5.0));
    }
}
