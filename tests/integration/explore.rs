//! `generate`, `interpolate` and `latent` from the outside, with the shipped model of `digits`.

use std::fs;
use std::path::Path;

use anomalyd::draw::png::{decode, png16};
use polars::prelude::*;

use super::watch::{House, has_model, image};
use super::workshop;

fn succeeds(house: &House, args: &[&str]) -> String {
    let output = house.run(args);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn fails(house: &House, code: i32, args: &[&str]) -> String {
    let output = house.run(args);
    assert_eq!(output.status.code(), Some(code), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stderr).unwrap()
}

/// Dimensions of a picture.
fn size(path: &Path) -> (usize, usize) {
    let picture = decode(&fs::read(path).unwrap(), None).unwrap();
    (picture.width, picture.height)
}

#[test]
fn a_seed_gives_the_same_samples_and_frames_keep_the_instruments_units() {
    if !has_model() {
        return;
    }
    let house = House::new();
    let text = succeeds(&house, &["generate", "digits", "--count", "6", "--out", "a.png", "--frames", "frames"]);
    assert!(text.contains("the prior N(0, 1), seed 1") && text.contains("value = offset + scale * level"), "{text}");
    succeeds(&house, &["generate", "digits", "--count", "6", "--out", "b.png"]);
    succeeds(&house, &["generate", "digits", "--count", "6", "--out", "c.png", "--seed", "2"]);
    let read = |name: &str| fs::read(house.path(name)).unwrap();
    assert_eq!(read("a.png"), read("b.png"));
    assert_ne!(read("a.png"), read("c.png"));
    let frame = decode(&read("frames/sample-0006.png"), None).unwrap();
    assert_eq!((frame.width, frame.height), (28, 28));
    let highest = frame.pixels.iter().copied().fold(0.0, f32::max);
    assert!((50.0..=255.001).contains(&highest), "{highest}");
    assert_eq!(String::from_utf8(read("frames/frames.csv")).unwrap().lines().count(), 7);
    let text = succeeds(&house, &["generate", "digits", "--count", "2", "--from", "posterior", "--out", "f.png"]);
    assert!(text.contains("the aggregate posterior: a Gaussian fitted to the training latents"), "{text}");
    let beside = ["generate", "digits", "--count", "13", "--beside", "digits", "--out", "g.png", "--json"];
    let made: serde_json::Value = serde_json::from_str(&succeeds(&house, &beside)).unwrap();
    assert_eq!((&made["model"], &made["drawn_from"]), (&made["beside"]["model"], &made["beside"]["drawn_from"]));

    let units = ["generate", "digits", "--traverse", "--out", "u.png"];
    let text = succeeds(&house, &units);
    assert!((1..=16).all(|unit| text.contains(&format!("unit {unit}"))), "{text}");
    fs::write(house.path("one.png"), image(1)).unwrap();
    succeeds(&house, &[&units[..4], &["v.png", "--around", "one.png"]].concat());
    assert_eq!(size(&house.path("u.png")), size(&house.path("v.png")));
    assert_ne!(read("u.png"), read("v.png"));
    let wrong = fails(&house, 2, &["generate", "digits", "--around", "one.png"]);
    assert!(wrong.contains("--traverse"), "{wrong}");
}

#[test]
fn the_way_between_two_images_has_all_its_steps() {
    if !has_model() {
        return;
    }
    let house = House::new();
    for index in 0..2 {
        fs::write(house.path(&format!("{index}.png")), image(index)).unwrap();
    }
    let way = ["interpolate", "digits", "0.png", "1.png", "--frames", "5", "--out", "way.png"];
    let text = succeeds(&house, &[&way[..], &["--spherical", "--animate", "way.apng", "--beside", "digits"]].concat());
    assert!(text.contains("(5 frames, animated PNG)"), "{text}");
    let bytes = fs::read(house.path("way.apng")).unwrap();
    assert_eq!(bytes.windows(4).filter(|chunk| chunk == b"fcTL").count(), 5);
    let beside = size(&house.path("way.png"));
    succeeds(&house, &way);
    let alone = size(&house.path("way.png"));
    assert!(alone.0 == beside.0 && alone.1 < beside.1, "{alone:?} {beside:?}");

    let text = succeeds(&house, &[&way[..], &["--animate", "way.gif"]].concat());
    assert!(text.contains("(5 frames, GIF, 256 levels)"), "{text}");
    let bytes = fs::read(house.path("way.gif")).unwrap();
    assert!(bytes.starts_with(b"GIF89a") && bytes.windows(2).filter(|tag| tag == b"\x21\xf9").count() >= 5);

    let wrong = fails(&house, 2, &[&way[..], &["--animate", "way.mp4"]].concat());
    assert!(wrong.contains("end the name in .png or .gif"), "{wrong}");
    let wrong = fails(&house, 2, &[&way[..], &["--tile", "0,0"]].concat());
    assert!(wrong.contains("--tile: pipeline digits takes whole frames"), "{wrong}");
    let wrong = fails(&house, 5, &["interpolate", "digits", "0.png#7", "1.png"]);
    assert!(wrong.contains("no frame 7: it holds 1"), "{wrong}");
    let wrong = fails(&house, 6, &["interpolate", "digits", "0.png", "none.png"]);
    assert!(wrong.contains("none.png"), "{wrong}");
}

#[test]
fn a_map_of_latents_is_a_plot_and_a_table() {
    if !has_model() {
        return;
    }
    let house = House::new();
    fs::create_dir(house.path("data")).unwrap();
    let mut labels = "file,label\n".to_string();
    for index in 0..24 {
        let pixels: Vec<f32> = (0..784).map(|at| if at % (index + 2) == 0 { 255.0 } else { 0.0 }).collect();
        fs::write(house.path(&format!("data/{index}.png")), png16(28, 28, 1, &pixels).bytes).unwrap();
        labels.push_str(&format!("data/{index}.png,{}\n", if index % 2 == 0 { "even" } else { "odd" }));
    }
    fs::write(house.path("labels.csv"), labels).unwrap();
    let map = ["latent", "digits", "--data", "data"];
    let text = succeeds(&house, &[&map[..], &["--labels", "labels.csv", "--out", "a.svg"]].concat());
    assert!(
        text.contains("before training (weights of seed 1): the two axes hold") && text.contains("after training"),
        "{text}"
    );
    assert_eq!(text.matches(" of 16 units active, KL ").count(), 2, "{text}");
    let svg = fs::read_to_string(house.path("a.svg")).unwrap();
    assert_eq!(svg.matches("of 16 units active").count(), 2);
    assert!(svg.contains("principal axis 1") && svg.contains("even") && svg.contains("before training"));
    let rows = ParquetReader::new(fs::File::open(house.path("a.parquet")).unwrap()).finish().unwrap();
    assert_eq!(rows.height(), 24);
    for column in ["source", "frame_index", "x", "y", "label", "score", "time", "x_untrained"] {
        assert!(rows.column(column).is_ok(), "{column}");
    }
    succeeds(&house, &[&map[..], &["--trained-only", "--out", "o.svg"]].concat());
    assert!(fs::read_to_string(house.path("o.svg")).unwrap().contains("score [nats]"));
    let rows = ParquetReader::new(fs::File::open(house.path("o.parquet")).unwrap()).finish().unwrap();
    assert!(rows.column("x").is_ok() && rows.column("x_untrained").is_err());

    for kind in ["even", "odd"] {
        fs::create_dir_all(house.path(&format!("kinds/{kind}"))).unwrap();
    }
    for index in 0..24 {
        let kind = if index % 2 == 0 { "even" } else { "odd" };
        fs::copy(house.path(&format!("data/{index}.png")), house.path(&format!("kinds/{kind}/{index}.png"))).unwrap();
    }
    succeeds(&house, &["latent", "digits", "--data", "kinds", "--trained-only", "--out", "k.svg"]);
    let svg = fs::read_to_string(house.path("k.svg")).unwrap();
    assert!(svg.contains("even") && svg.contains("odd") && !svg.contains("score [nats]"), "folders are labels");

    let tsne = [&map[..], &["--method", "tsne", "--most", "21", "--trained-only", "--out"]].concat();
    let text = succeeds(&house, &[&tsne[..], &["t.svg"]].concat());
    assert!(text.contains("21 of 24, evenly spread") && text.contains("t-SNE, perplexity 6, seed 1"), "{text}");
    succeeds(&house, &[&tsne[..], &["u.svg"]].concat());
    succeeds(&house, &[&tsne[..], &["v.svg", "--seed", "2"]].concat());
    let read = |name: &str| fs::read(house.path(name)).unwrap();
    assert_eq!(read("t.svg"), read("u.svg"));
    assert_eq!(read("t.parquet"), read("u.parquet"));
    assert_ne!(read("t.parquet"), read("v.parquet"));

    let wrong = fails(&house, 5, &[&tsne[..], &["w.svg", "--perplexity", "9"]].concat());
    assert!(wrong.contains("1 to 6 does"), "{wrong}");
    let wrong = fails(&house, 2, &[&map[..], &["--perplexity", "9"]].concat());
    assert!(wrong.contains("--method tsne"), "{wrong}");
    let wrong = fails(&house, 5, &[&map[..], &["--method", "tsne", "--most", "5"]].concat());
    assert!(wrong.contains("20 vectors at least"), "{wrong}");

    let wrong = fails(&house, 2, &[&map[..], &["--colour", "label"]].concat());
    assert!(wrong.contains("needs labels"), "{wrong}");
    let wrong = fails(&house, 5, &[&map[..], &["--colour", "time"]].concat());
    assert!(wrong.contains("no frame says when it was observed"), "{wrong}");
    fs::remove_dir_all(house.path("data")).unwrap();
    fs::create_dir(house.path("data")).unwrap();
    fs::write(house.path("data/one.png"), image(1)).unwrap();
    let wrong = fails(&house, 5, &map);
    assert!(wrong.contains("a map of 1 frames shows nothing"), "{wrong}");
}

#[test]
fn an_autoencoder_has_no_prior_and_says_what_can_be_drawn_from_instead() {
    let house = workshop::House::of_spots();
    let point =
        workshop::SPOTS.replace("kind = \"dense\"", "kind = \"ae\"").replace("channels = [32]", "channels = [4, 8]");
    fs::write(house.path("spots.toml"), point).unwrap();
    let made = house.train(&[]);
    let page = fs::read_to_string(house.page(&made["version"])).unwrap();
    assert!(
        page.contains("Samples from the aggregate posterior") && page.contains("has no prior to draw samples from")
    );
    let run = |args: &[&str]| {
        let output = house.run(&[&["generate", "./spots.toml", "--count", "2"], args].concat());
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.code(), text(&output.stdout) + &text(&output.stderr))
    };
    let (code, text) = run(&[]);
    assert!(code == Some(2) && text.contains("without a prior") && text.contains("--from posterior"), "{text}");
    let (code, text) = run(&["--from", "posterior"]);
    assert!(code == Some(0) && text.contains("aggregate posterior"), "{text}");
    let (code, text) = run(&["--from", "normal"]);
    assert!(code == Some(0) && text.contains("no prior of this model"), "{text}");
    let output = house.run(&["generate", "./spots.toml", "--traverse", "--from", "posterior"]);
    assert!(output.status.success() && house.path("spots-units.png").exists());
}
