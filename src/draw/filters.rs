//! What an encoder sees: a tile, and the channels that the input's filters add to it.

use super::Values;
use super::colour::{BLUE, GREEN, Rgb};
use super::sheet::{Heading, Tile, contact_sheet, thumbnail, thumbnail_as};
use super::stretch::{Stretch, short};
use crate::model::graph::Shape;
use crate::model::sobel;
use crate::pipeline::Filter;

/// A tile in the model's units as a picture, and one of each channel that the filters add: middle grey is 0 where a
/// channel has both signs. A colour image's channels are shown in its colours.
pub fn seen(image: Values<'_>, caption: Vec<String>, filters: &[Filter]) -> Vec<Tile> {
    let mut tiles = vec![Tile { image: thumbnail(image), caption, border: BLUE }];
    for filter in filters {
        match filter {
            Filter::Sobel => gradient(image, &mut tiles),
        }
    }
    tiles
}

fn gradient(image: Values<'_>, tiles: &mut Vec<Tile>) {
    let shape = Shape { c: image.channels, h: image.height, w: image.width };
    let channels = sobel::channels(image.pixels, shape);
    for (name, pixels) in sobel::NAMES.into_iter().zip(channels.chunks_exact(shape.len()).skip(1)) {
        let highest = pixels.iter().fold(f32::MIN_POSITIVE, |most, value| most.max(value.abs()));
        let (black, white) = match name {
            "magnitude" => (0.0, highest),
            "angle" => (-1.0, 1.0),
            _ => (-highest, highest),
        };
        let stretch = Stretch { black, white, softening: None };
        let caption = vec![name.to_string(), format!("{} to {}", short(black), short(white))];
        tiles.push(Tile { image: thumbnail_as(Values { pixels, ..image }, &stretch, &[]), caption, border: GREEN });
    }
}

/// A sheet of such tiles as an 8-bit PNG, a row an image.
pub fn sheet(title: String, tiles: &[Tile], filters: &[Filter]) -> Vec<u8> {
    let columns = 1 + filters.len() * sobel::NAMES.len();
    let mut lines = vec!["the image is stretched linearly between its own percentiles".to_string()];
    let mut legend: Vec<(Rgb, String)> = vec![(BLUE, "image".into())];
    if filters.contains(&Filter::Sobel) {
        lines[0] += ", its channels are linear from black to white as their captions say";
        lines.push(
            "Gx, Gy: slope to the right and downwards, scaled units a pixel; angle: from the vertical to the right"
                .into(),
        );
        legend.push((GREEN, "added for the encoder".into()));
    }
    contact_sheet(&Heading { title, lines, legend }, tiles, columns)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A disc, brighter than what is around it.
    fn disc(side: usize) -> Vec<f32> {
        let off = |at: usize| (at as f32 + 0.5 - side as f32 / 2.0).powi(2);
        (0..side * side).map(|i| f32::from(off(i % side) + off(i / side) < (side as f32 / 3.0).powi(2))).collect()
    }

    #[test]
    fn the_left_edge_of_a_disc_is_bright_in_gx_and_its_upper_one_in_gy() {
        let pixels = disc(32);
        let tiles = seen(Values::grey(32, 32, &pixels), vec!["disc".into()], &[Filter::Sobel]);
        let captions: Vec<&str> = tiles.iter().map(|tile| tile.caption[0].as_str()).collect();
        assert_eq!(captions, ["disc", "Gx", "Gy", "magnitude", "angle"]);
        assert_eq!(tiles[4].caption[1], "-1 to 1");
        // Pictures of 256 pixels; the disc's edge is 5.3 pixels of 32 inside.
        let at = |tile: usize, x: usize, y: usize| tiles[tile].image.at(8 * x + 4, 8 * y + 4)[0];
        let (left, right, top, bottom) = ((5, 16), (26, 16), (16, 5), (16, 26));
        for (tile, bright, dark) in [(1, left, right), (2, top, bottom), (4, left, right)] {
            assert!(at(tile, bright.0, bright.1) > 200 && at(tile, dark.0, dark.1) < 55, "{tile}");
            assert!(at(tile, 16, 16).abs_diff(128) <= 1, "{tile}");
        }
        assert!([left, right, top, bottom].iter().all(|&(x, y)| at(3, x, y) > 150) && at(3, 16, 16) == 0);
        assert_eq!(seen(Values::grey(32, 32, &pixels), vec![], &[]).len(), 1);
    }
}
