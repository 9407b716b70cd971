use std::path::Path;
use std::sync::Mutex;

use super::*;
use crate::daemon::access::Access;
use crate::daemon::owed::Owed;
use crate::daemon::work::Work;
use crate::watch::Stat;

struct House {
    state: tempfile::TempDir,
    overseer: Overseer,
    events: tokio::sync::mpsc::UnboundedReceiver<Ended>,
}

/// The inbox of each lane is named like it.
fn house(lanes: &[&str]) -> House {
    let state = tempfile::tempdir().unwrap();
    work::left_behind(state.path()).unwrap();
    let (sender, events) = tokio::sync::mpsc::unbounded_channel();
    let accesses = lanes.iter().map(|lane| Access::inbox(lane, &Path::new("/").join(lane))).collect();
    let overseer = Overseer {
        posts: Arc::default(),
        accesses: Arc::new(Mutex::new(accesses)),
        condition: Arc::default(),
        patience: Patience { decode_s: 5.0, score_s: 40.0 },
        state: state.path().to_path_buf(),
        events: sender,
        progress: Arc::default(),
        end: crossbeam_channel::never(),
        waited: Box::new(|| 0.0),
        held: HashMap::new(),
        said: BTreeSet::new(),
    };
    House { state, overseer, events }
}

/// The thread asks the filesystem of `/far`.
fn reach_far(post: &Post) {
    post.say(Doing::Reach { place: Path::new("/far").into(), path: "/far/a".into() });
}

fn work_on(post: &Post) {
    post.say(Doing::Work { source: "cube.fits".into(), frame: 7 });
}

#[test]
fn an_inbox_that_does_not_answer_is_unreachable_until_it_does() {
    let House { mut overseer, .. } = house(&["far", "near"]);
    let reader = overseer.posts.post("decode-0");
    reach_far(&reader);
    overseer.look(1.0);
    assert!(overseer.condition.list().is_empty());
    overseer.look(STALL_S);
    let held = overseer.condition.list();
    assert_eq!(held[0].reason, Reason::InboxUnreachable("far".into()));
    assert!(held[0].detail.contains("/far/a"), "{held:?}");
    reach_far(&reader);
    overseer.look(1.0);
    assert!(overseer.condition.list().is_empty(), "it has answered");
    overseer.accesses.lock().unwrap()[1].say(Some("no such folder".into()));
    overseer.look(1.0);
    assert_eq!(overseer.condition.list()[0].reason, Reason::InboxUnreachable("near".into()));
    overseer.accesses.lock().unwrap().pop();
    overseer.look(1.0);
    assert!(overseer.condition.list().is_empty(), "the lane is no longer fed");
}

#[test]
fn an_inbox_is_not_blamed_for_the_one_that_the_pipeline_had_before() {
    let House { mut overseer, .. } = house(&["far"]);
    let reader = overseer.posts.post("decode-0");
    reach_far(&reader);
    overseer.look(1.0);
    overseer.look(STALL_S);
    assert_eq!(overseer.condition.list().len(), 1);
    overseer.accesses.lock().unwrap()[0] = Access::inbox("far", Path::new("/elsewhere"));
    let beats = overseer.progress.decode.beats();
    overseer.look(1000.0);
    assert!(overseer.condition.list().is_empty(), "the thread still hangs over the old one");
    assert_ne!(overseer.progress.decode.beats(), beats, "nor is the stage, which goes on without the thread");
}

#[test]
fn an_archive_that_does_not_answer_is_said_and_hinders_nobody() {
    let House { mut overseer, .. } = house(&["near"]);
    let owed = Owed::new(overseer.progress.tally("near"));
    let places = vec![("[after] scored", Path::new("/far").into()), ("[after] rejected", Path::new("/bin").into())];
    overseer.accesses.lock().unwrap().push(Access::after("near", places, owed.clone()));
    let hand = overseer.posts.post("after-near");
    reach_far(&hand);
    owed.wait(Path::new("a"), true);
    overseer.look(1.0);
    overseer.look(STALL_S);
    let held = overseer.condition.list();
    assert_eq!((held.len(), &held[0].reason), (1, &Reason::AfterFailing("near".into())));
    let detail = &held[0].detail;
    assert!(detail.starts_with("[after] scored: /far/a has not answered for 30 s; 1 scored"), "{detail}");
    assert!(overseer.condition.hindrances().is_empty());
    hand.say(Doing::Rest);
    owed.fail(Path::new("a"), "[after] rejected: cannot delete a: no rights".into());
    overseer.look(1.0);
    assert_eq!(overseer.condition.list()[0].since, held[0].since, "one condition, said once");
    assert!(overseer.condition.list()[0].detail.contains("no rights"));
    owed.end(Path::new("a"));
    overseer.look(1.0);
    assert!(overseer.condition.list().is_empty());
}

#[test]
fn a_batch_that_takes_too_long_ends_the_run_and_its_files_alone_are_blamed() {
    let House { state, mut overseer, mut events } = house(&[]);
    let stat = Stat { size: 1, mtime_ns: 2, inode: 3, ctime_ns: 4 };
    let mut innocent = Work::new(state.path(), "decode-0", &overseer.posts).unwrap();
    let mut guilty = Work::new(state.path(), work::SCORE, &overseer.posts).unwrap();
    innocent.begin(&[("p", b"innocent", stat, 0, 0)]);
    guilty.begin(&[("p", b"guilty", stat, 4, 7)]);
    work_on(&overseer.posts.all()[1]);
    overseer.look(1.0);
    overseer.look(39.0);
    assert!(events.try_recv().is_err());
    overseer.look(1.0);
    let failure = events.try_recv().unwrap().outcome.unwrap_err();
    assert_eq!(failure.kind, Kind::Hung);
    assert!(failure.message.contains("frame 7 of cube.fits"), "{failure}");
    let blamed = work::left_behind(state.path()).unwrap();
    assert_eq!(blamed.len(), 1);
    assert_eq!((blamed[0].path.as_slice(), blamed[0].frames, blamed[0].stalled), (&b"guilty"[..], (4, 7), true));
}

#[test]
fn a_batch_on_a_machine_with_too_much_to_do_is_given_more_time() {
    let House { state: _state, mut overseer, mut events } = house(&[]);
    let judge = overseer.posts.post(work::SCORE);
    overseer.waited = Box::new(|| 30.0);
    work_on(&judge);
    overseer.look(1.0);
    for _ in 0..3 {
        overseer.look(39.0);
        assert!(events.try_recv().is_err(), "it waited for a processor nearly all the time");
    }
    overseer.waited = Box::new(|| 0.0);
    overseer.look(14.0);
    assert_eq!(events.try_recv().unwrap().outcome.unwrap_err().kind, Kind::Hung);
    overseer.waited = Box::new(|| 1000.0);
    work_on(&judge);
    overseer.look(1.0);
    overseer.look(ASLEEP * 40.0);
    assert_eq!(events.try_recv().unwrap().outcome.unwrap_err().kind, Kind::Hung, "not for ever");
}

#[test]
fn a_worker_that_goes_on_in_the_last_moment_is_not_blamed_for_its_next_piece() {
    let House { state, overseer, mut events } = house(&[]);
    let mut work = Work::new(state.path(), work::SCORE, &overseer.posts).unwrap();
    work_on(&work.post);
    let (turn, _) = work.post.doing();
    work.begin(&[("p", b"next", Stat { size: 1, mtime_ns: 2, inode: 3, ctime_ns: 4 }, 0, 0)]);
    work_on(&work.post);
    overseer.end_over(&work.post, turn, "cube.fits", 7);
    assert!(events.try_recv().is_err());
    assert!(!work::left_behind(state.path()).unwrap()[0].stalled);
}

#[test]
fn a_decoder_hangs_by_its_own_time_or_by_far_too_much_of_ours() {
    let House { mut overseer, mut events, .. } = house(&[]);
    let decoder = overseer.posts.post("decode-0");
    decoder.take();
    work_on(&decoder);
    overseer.look(1.0);
    overseer.look(5.0 + MARGIN_S);
    assert!(events.try_recv().is_err(), "the thread did not get to compute");
    work_on(&decoder);
    overseer.look(1.0);
    overseer.look(ASLEEP * (5.0 + MARGIN_S));
    assert_eq!(events.try_recv().unwrap().outcome.unwrap_err().kind, Kind::Hung);
    decoder.say(Doing::Rest);
    overseer.look(1.0);
    overseer.look(1e6);
    assert!(events.try_recv().is_err(), "who waits does not hang");
}
