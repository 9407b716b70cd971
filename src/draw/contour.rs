//! The contour of a mask: a line around its pixels, outside of them, so that they stay to be seen.

use super::canvas::Picture;
use super::colour::Rgb;

/// Pixels of a frame that are marked, `[height, width]`.
#[derive(Debug, Clone, Copy)]
pub struct Marks<'a> {
    /// Pixels a row.
    pub width: usize,
    /// Whether each is marked.
    pub inside: &'a [bool],
}

/// Draws the contour of marks on a picture of their frame, whatever its size: a line one pixel wide.
pub fn contour(picture: &mut Picture, marks: Marks<'_>, colour: Rgb) {
    let height = marks.inside.len() / marks.width.max(1);
    if height == 0 || picture.width == 0 {
        return;
    }
    let (wide, high) = (picture.width, picture.height);
    // Every picture pixel that a marked pixel touches: one of many pixels is marked if any of them is.
    let mut covered = vec![false; wide * high];
    let span = |at: usize, from: usize, to: usize| at * to / from..((at + 1) * to).div_ceil(from);
    for at in (0..marks.inside.len()).filter(|&at| marks.inside[at]) {
        for y in span(at / marks.width, height, high) {
            covered[y * wide..(y + 1) * wide][span(at % marks.width, marks.width, wide)].fill(true);
        }
    }
    let near = |x: usize, y: usize| {
        let rows = y.saturating_sub(1)..(y + 2).min(high);
        rows.flat_map(|row| row * wide + x.saturating_sub(1)..row * wide + (x + 2).min(wide)).any(|at| covered[at])
    };
    for (x, y) in (0..wide * high).map(|at| (at % wide, at / wide)) {
        if !covered[y * wide + x] && near(x, y) {
            picture.set(x, y, colour);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::draw::colour::{GREEN, PAPER};

    fn drawn(size: usize) -> Picture {
        let mut inside = vec![false; 8 * 8];
        inside[8 * 3 + 5] = true;
        let mut picture = Picture::new(size, size);
        contour(&mut picture, Marks { width: 8, inside: &inside }, GREEN);
        picture
    }

    #[test]
    fn the_line_goes_around_and_leaves_what_it_marks() {
        let count = |picture: &Picture| {
            (0..picture.width * picture.height)
                .filter(|at| picture.at(at % picture.width, at / picture.width) == GREEN)
                .count()
        };
        let [same, large, small] = [8, 32, 4].map(drawn);
        assert_eq!((same.at(5, 3), same.at(4, 2), same.at(3, 3)), (PAPER, GREEN, PAPER));
        assert_eq!((large.at(20, 12), large.at(19, 12), large.at(24, 15)), (PAPER, GREEN, GREEN));
        assert_eq!([count(&same), count(&large), count(&small)], [8, 20, 8]);
        assert_eq!(small.at(2, 1), PAPER);
    }
}
