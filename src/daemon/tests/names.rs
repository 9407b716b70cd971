//! Contents under several names, names with several contents.

use super::*;

#[test]
fn the_same_content_is_scored_once_and_an_overwritten_file_anew() {
    let house = House::new();
    for name in ["a.png", "b.png", "c.png"] {
        house.drop_image(name, 7);
    }
    let summary = house.once("m");
    assert_eq!((summary.scored, summary.known, summary.unfinished), (1, 2, 0));
    house.drop_image("d.png", 7);
    let summary = house.once("m");
    assert_eq!((summary.scored, summary.known), (0, 1));
    let first = texts(&house.rows("scores"), "source").remove(0);
    let duplicates = house.rows("duplicates");
    let mut names = texts(&duplicates, "source");
    names.push(first.clone());
    names.sort();
    assert_eq!(names, ["a.png", "b.png", "c.png", "d.png"], "each name once");
    assert_eq!(texts(&duplicates, "first_source"), [&*first; 3]);
    house.drop_image("a.png", 8);
    assert_eq!(house.once("m").scored, 1);
    let scores = house.rows("scores");
    assert_eq!(scores.height(), 2);
    assert_eq!(house.once("m").files, 0);
    assert_eq!(house.once("n").scored, 2, "another model scores them anew");
    assert_eq!(house.rows("duplicates").height(), 3 + 2);
}

#[test]
fn a_file_touched_or_put_there_anew_with_the_same_content_gives_no_row() {
    let house = House::new();
    house.drop_image("a.png", 7);
    house.drop_image("b.png", 7);
    std::fs::write(house.inbox().join("junk"), b"no image at all").unwrap();
    house.once("m");
    let counts = || ["scores", "anomalies", "rejected", "duplicates"].map(|table| house.rows(table).height());
    let before = counts();
    assert_eq!(before, [1, 0, 1, 1]);
    for round in 1..3 {
        for name in ["a.png", "b.png", "junk"] {
            touch(&house.inbox().join(name), round * 1_000_000);
        }
        let summary = house.once("m");
        assert_eq!((summary.files, summary.known, summary.unfinished), (3, 3, 0));
        assert_eq!(counts(), before, "touched");
        for name in ["a.png", "b.png", "junk"] {
            let (fresh, place) = (house.root.path().join(name), house.inbox().join(name));
            std::fs::copy(&place, &fresh).unwrap();
            std::fs::rename(&fresh, &place).unwrap();
        }
        assert_eq!(house.once("m").known, 3);
        assert_eq!(counts(), before, "renamed over");
    }
    assert_eq!(house.once("m").files, 0);
}

#[test]
fn a_rewrite_whose_time_is_put_back_is_scored_and_what_changes_the_metadata_alone_is_not() {
    let house = House::new();
    let place = house.inbox().join("a.png");
    for value in [7, 8] {
        house.drop_image("a.png", value);
        touch(&place, 1_000_000);
        assert_eq!(house.once("m").scored, 1, "the {value}");
    }
    let changes: [&dyn Fn(); 3] = [
        &|| std::fs::set_permissions(&place, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap(),
        &|| std::fs::hard_link(&place, house.root.path().join("backup")).unwrap(),
        &|| {
            std::fs::rename(&place, house.root.path().join("away")).unwrap();
            std::fs::rename(house.root.path().join("away"), &place).unwrap();
        },
    ];
    for change in changes {
        let before = crate::watch::stat_of(&place);
        change();
        assert_ne!(crate::watch::stat_of(&place), before);
        let summary = house.once("m");
        assert_eq!((summary.files, summary.known, summary.scored), (1, 1, 0));
    }
    assert_eq!(house.once("m").files, 0);
    std::fs::rename(&place, house.inbox().join("b.png")).unwrap();
    assert_eq!(house.once("m").known, 1);
    assert_eq!(["scores", "duplicates", "rejected"].map(|table| house.rows(table).height()), [2, 1, 0]);
}

#[test]
fn a_file_read_twice_while_it_is_under_way_keeps_no_other_name_waiting() {
    let house = House::new();
    let settings = Settings { flush_rows: 1, batch_frames: 1, queue_frames: 1, ..house.settings.clone() };
    let mut names = vec!["a.png".to_string(), "a.png".to_string()];
    names.extend((0..20).map(|index| format!("other-{index}.png")));
    names.push("b.png".into());
    for (index, name) in names.iter().enumerate() {
        house.drop_image(name, if name == "a.png" || name == "b.png" { 1 } else { 100 + index as u16 });
    }
    let load = || Ok(vec![plan(&house.inbox(), "m", Duration::from_millis(30))]);
    let paths = names.iter().map(|name| house.inbox().join(name)).collect();
    let summary = run(&settings, &Orders { intake: Intake::Paths(paths), load: &load, view: None }).unwrap();
    assert_eq!((summary.scored, summary.unfinished), (21, 0));
    let duplicates = texts(&house.rows("duplicates"), "source");
    assert!(duplicates.len() == 1 && duplicates[0].ends_with("b.png"), "{duplicates:?}");
}

#[test]
fn what_could_not_be_read_and_is_named_again_is_scored() {
    let house = House::new();
    house.drop_image("a.png", 1);
    let load = || Ok(vec![plan(&house.inbox(), "m", Duration::ZERO)]);
    let orders = Orders { intake: Intake::Paths(vec![house.inbox().join("a.png")]), load: &load, view: None };
    let mut strict = house.settings.clone();
    strict.limits.file_bytes = 10;
    assert_eq!(run(&strict, &orders).unwrap().rejected, 1);
    let summary = run(&house.settings, &orders).unwrap();
    assert_eq!((summary.scored, summary.known), (1, 0), "it is not too large any more");
    assert_eq!(run(&house.settings, &orders).unwrap().known, 1);
}

#[test]
fn files_given_by_path_have_names_that_lead_nowhere_else() {
    let house = House::new();
    house.drop_image("a.png", 1);
    house.drop_image("b.png", 2);
    let load = || Ok(vec![plan(&house.inbox(), "m", Duration::ZERO)]);
    let paths = vec![house.inbox(), house.inbox().join("a.png")];
    let orders = Orders { intake: Intake::Paths(paths), load: &load, view: None };
    let summary = run(&house.settings, &orders).unwrap();
    assert_eq!((summary.scored, summary.unfinished), (2, 0));
    let name = house.inbox().join("a.png");
    assert_eq!(texts(&house.rows("scores"), "source")[0], name.strip_prefix("/").unwrap().display().to_string());
    let missing = Orders { intake: Intake::Paths(vec!["nowhere".into()]), load: &load, view: None };
    assert_eq!(run(&house.settings, &missing).unwrap_err().kind, crate::error::Kind::Io);
}
