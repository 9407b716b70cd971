//! What becomes of a file after its commit.

use super::*;

#[test]
fn what_is_scored_is_moved_and_what_is_rejected_is_deleted_after_the_commit() {
    let house = House::new();
    let archive = house.root.path().join("archive");
    std::fs::create_dir(&archive).unwrap();
    let after = crate::pipeline::After {
        scored: crate::pipeline::Action::Move(archive.clone()),
        rejected: crate::pipeline::Action::Delete,
    };
    let once = |after: &crate::pipeline::After| {
        let load = || {
            let mut plan = plan(&house.inbox(), "m", Duration::ZERO);
            plan.pipeline.spec.after = after.clone();
            Ok(vec![plan])
        };
        run(&house.settings, &Orders { intake: Intake::Watch { once: true }, load: &load, view: None })
    };
    let names = |folder: &Path| {
        let mut names: Vec<String> = crate::watch::files_below(folder)
            .map(|(path, _)| path.strip_prefix(folder).unwrap().display().to_string())
            .collect();
        names.sort();
        names
    };
    std::fs::create_dir(house.inbox().join("night")).unwrap();
    house.drop_image("night/a.png", 7);
    house.drop_image("copy.png", 7);
    std::fs::write(house.inbox().join("junk"), b"no image at all").unwrap();
    // A process that died between commit and action leaves them so.
    assert_eq!(once(&crate::pipeline::After::default()).unwrap().scored, 1);
    assert_eq!(names(&house.inbox()), ["copy.png", "junk", "night/a.png"]);
    house.drop_image("b.png", 8);
    let summary = once(&after).unwrap();
    assert_eq!((summary.scored, summary.rejected), (1, 0));
    assert_eq!(names(&archive), ["b.png", "copy.png", "night/a.png"]);
    assert!(names(&house.inbox()).is_empty());
    let inside = crate::pipeline::After { scored: crate::pipeline::Action::Move(house.inbox()), ..after.clone() };
    assert_eq!(once(&inside).unwrap_err().kind, Kind::Settings);
    let reports = house.settings.state.join("reports");
    let inside = crate::pipeline::After { scored: crate::pipeline::Action::Move(reports), ..after.clone() };
    assert_eq!(once(&inside).unwrap_err().kind, Kind::Settings);
    let nowhere = crate::pipeline::After { scored: crate::pipeline::Action::Move("/nowhere".into()), ..after };
    assert_eq!(once(&nowhere).unwrap_err().kind, Kind::Io);
}

#[test]
fn what_was_rejected_and_is_seen_again_is_not_taken_for_scored() {
    let house = House::new();
    let junk = house.inbox().join("junk");
    std::fs::write(&junk, b"no image").unwrap();
    let once = || {
        let load = || {
            let mut plan = plan(&house.inbox(), "m", Duration::ZERO);
            plan.pipeline.spec.after.scored = crate::pipeline::Action::Delete;
            Ok(vec![plan])
        };
        run(&house.settings, &Orders { intake: Intake::Watch { once: true }, load: &load, view: None }).unwrap()
    };
    assert_eq!(once().rejected, 1);
    for day in 1..3 {
        let touched = std::time::SystemTime::now() - Duration::from_secs(86_400 * day);
        std::fs::File::options().write(true).open(&junk).unwrap().set_modified(touched).unwrap();
        assert_eq!(once().rejected, 0, "it has its row");
        assert!(junk.exists());
    }
    once();
    assert!(junk.exists(), "neither at once nor at a later start");
}
