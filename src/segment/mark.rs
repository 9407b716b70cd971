//! What is marked in an anomaly map: how many pixels, and where.

/// The pixels of a map from a threshold on.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Mark {
    /// From this probability on.
    pub threshold: f32,
    /// How many.
    pub area: u32,
    /// Their centre, pixels from the middle of the first one, each weighted by its probability; none where none is marked.
    pub centre: Option<[f32; 2]>,
}

impl Mark {
    /// Of a map `[height, width]`.
    pub fn of(map: &[f32], width: usize, threshold: f32) -> Self {
        let (mut area, mut sums) = (0, [0f64; 3]);
        for (at, &p) in map.iter().enumerate().filter(|(_, p)| **p >= threshold) {
            let (p, x, y) = (f64::from(p), (at % width) as f64, (at / width) as f64);
            area += 1;
            sums = [sums[0] + p, sums[1] + p * x, sums[2] + p * y];
        }
        let centre = (sums[0] > 0.0).then(|| [sums[1] / sums[0], sums[2] / sums[0]].map(|place| place as f32));
        Self { threshold, area, centre }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_likelier_draws_the_centre() {
        let mut map = vec![0.1; 5 * 4];
        (map[5 * 2 + 1], map[5 * 2 + 4]) = (1.0, 0.5);
        let mark = Mark::of(&map, 5, 0.5);
        assert_eq!((mark.area, mark.centre), (2, Some([2.0, 2.0])));
        assert_eq!(Mark::of(&map, 5, 1.5), Mark { threshold: 1.5, area: 0, centre: None });
    }
}
