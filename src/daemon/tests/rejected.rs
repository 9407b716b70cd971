//! What cannot be scored.

use super::crash::victim_command;
use super::*;

#[test]
fn what_cannot_be_scored_is_a_row_under_each_of_its_names() {
    let house = House::new();
    std::fs::write(house.inbox().join("empty"), b"").unwrap();
    for name in ["junk-1", "junk-2"] {
        std::fs::write(house.inbox().join(name), b"no image at all").unwrap();
    }
    let half = png(3);
    std::fs::write(house.inbox().join("half.png"), &half[..half.len() / 2]).unwrap();
    house.drop_image("poison.png", 66);
    house.drop_image("good.png", 5);
    let summary = house.once("m");
    assert_eq!((summary.scored, summary.rejected, summary.unfinished), (1, 5, 0));
    let rejected = house.rows("rejected");
    assert_eq!(texts(&rejected, "source"), ["empty", "half.png", "junk-1", "junk-2", "poison.png"]);
    assert!(texts(&rejected, "reason").contains(&"poisonous".to_string()));
    assert_eq!(house.once("m").files, 0, "a rejected file is not tried again");
}

/// A FITS file of one image HDU a value, each `SIDE` by `SIDE`; where there is no value, one too large.
fn fits(values: &[Option<u8>]) -> Vec<u8> {
    let header = |cards: &[&str]| {
        let cards: String = cards.iter().chain(&["END"]).map(|card| format!("{card:80}")).collect();
        format!("{cards:2880}").into_bytes()
    };
    let mut file = header(&["SIMPLE  = T", "BITPIX  = 8", "NAXIS   = 0"]);
    for value in values {
        let rows = SIDE + usize::from(value.is_none());
        let axes = [format!("NAXIS1  = {SIDE}"), format!("NAXIS2  = {rows}")];
        let start = ["XTENSION= 'IMAGE   '", "BITPIX  = 8", "NAXIS   = 2", &axes[0], &axes[1]];
        file.extend(header(&[&start[..], &["PCOUNT  = 0", "GCOUNT  = 1"]].concat()));
        file.extend([value.unwrap_or(0); 2880]);
    }
    file
}

#[test]
fn a_frame_that_cannot_be_decoded_is_a_row_and_the_file_goes_on() {
    let mut house = House::new();
    house.settings.limits.frame_pixels = (SIDE * SIDE) as u64;
    // A batch of one row, so that the file is committed in pieces.
    house.settings.flush_rows = 1;
    std::fs::write(house.inbox().join("many.fits"), fits(&[Some(5), None, Some(7), None])).unwrap();
    let summary = house.once("m");
    assert_eq!((summary.scored, summary.unfinished), (2, 0));
    let places = |table: &str| {
        let rows = house.rows(table);
        let mut places: Vec<u32> = rows.column("frame_index").unwrap().u32().unwrap().iter().flatten().collect();
        places.sort_unstable();
        places
    };
    assert_eq!((places("scores"), places("rejected")), (vec![0, 2], vec![1, 3]));
    assert_eq!(house.once("m").files, 0);
}

#[test]
fn what_is_said_of_a_whole_file_is_committed_with_its_end() {
    let house = House::new();
    for index in 0..5 {
        std::fs::write(house.inbox().join(format!("junk-{index}")), format!("junk {index}")).unwrap();
    }
    let settings = Settings { flush_rows: 1, ..settings(house.root.path()) };
    once(&settings, &house.inbox(), "m", Duration::ZERO).unwrap();
    assert_eq!(house.rows("rejected").height(), 5);
    let ledger = rusqlite::Connection::open(house.root.path().join("state/ledger.sqlite")).unwrap();
    let alone = "SELECT COUNT(*) FROM parts WHERE batch NOT IN (SELECT batch FROM files)";
    assert_eq!(
        ledger.query_row(alone, [], |row| row.get::<_, i64>(0)).unwrap(),
        0,
        "a crash now would refuse it again"
    );
}

#[test]
fn a_batch_that_ends_between_a_rejection_and_its_file_forgets_no_other_name() {
    let mut house = House::new();
    house.settings.flush_rows = 1;
    let names: Vec<String> = (0..6).map(|index| format!("empty-{index}")).collect();
    for name in &names {
        std::fs::write(house.inbox().join(name), b"").unwrap();
    }
    assert_eq!(house.once("m").unfinished, 0);
    assert_eq!(texts(&house.rows("rejected"), "source"), names);
}

#[test]
fn what_cannot_be_read_is_rejected_once_and_read_again_when_its_rights_change() {
    use std::os::unix::fs::PermissionsExt;
    use std::os::unix::process::CommandExt;

    let house = House::new();
    house.drop_image("closed.png", 7);
    house.drop_image("open.png", 8);
    let closed = house.inbox().join("closed.png");
    let allow = |path: &Path, mode| std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
    allow(&closed, 0o000);
    // A daemon in this process may have narrowed its umask.
    allow(&house.inbox(), 0o755);
    allow(&house.inbox().join("open.png"), 0o644);
    allow(house.root.path(), 0o777);
    let run = || {
        let mut command = victim_command(&house);
        // root may read everything
        if rustix::process::geteuid().is_root() {
            command.uid(65534).gid(65534);
        }
        command.stdout(std::process::Stdio::piped()).output()
    };
    match run() {
        Ok(output) => assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout)),
        Err(error) => return println!("no other user can run this test program ({error}): not tested"),
    }
    let rejected = || (texts(&house.rows("rejected"), "source"), texts(&house.rows("rejected"), "reason"));
    assert_eq!(rejected(), (vec!["closed.png".into()], vec!["unreadable".into()]));
    assert_eq!(texts(&house.rows("scores"), "source"), ["open.png"]);
    assert!(run().unwrap().status.success());
    assert_eq!(rejected().0.len(), 1, "nothing has changed: no second row");
    allow(&closed, 0o444);
    assert!(run().unwrap().status.success());
    assert_eq!(texts(&house.rows("scores"), "source"), ["closed.png", "open.png"]);
}

#[test]
fn a_file_that_ends_among_the_frames_that_were_committed_before_says_so_of_the_rest() {
    let mut house = House::new();
    house.settings.limits.frame_pixels = (SIDE * SIDE) as u64;
    let bytes = fits(&[vec![Some(5)], vec![None; 20], vec![Some(7); 9]].concat());
    let path = house.inbox().join("cube.fits");
    std::fs::write(&path, &bytes).unwrap();
    // As a process leaves it that had higher limits, and died.
    std::fs::create_dir(&house.settings.state).unwrap();
    let mut ledger = Ledger::open(&house.settings.state).unwrap();
    let lane = Lane::new(plan(&house.inbox(), "m", Duration::ZERO), &mut ledger, &Progress::default()).unwrap();
    let row = crate::ledger::FileRow {
        identity: lane.number,
        pipeline: "mean".into(),
        path: b"cube.fits".to_vec(),
        stat: crate::watch::stat_of(&path).unwrap(),
        digest: Some(*blake3::hash(&bytes).as_bytes()),
        outcome: crate::ledger::Outcome::Partial,
        frames: 25,
    };
    let batch = ledger.prepare(&[], std::slice::from_ref(&row)).unwrap();
    ledger.commit(batch, &[row]).unwrap();
    drop((ledger, lane));
    assert_eq!(house.once("m").unfinished, 0);
    let rejected = house.rows("rejected");
    assert_eq!(rejected.height(), 1, "frames 25 to 29 were not read, and nobody says so");
    assert_eq!(rejected.column("frame_index").unwrap().u32().unwrap().get(0), Some(25));
    assert!(texts(&rejected, "detail")[0].contains("in a row"), "{:?}", texts(&rejected, "detail"));
}
