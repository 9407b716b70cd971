use std::cell::RefCell;
use std::path::{Path, PathBuf};

use super::*;
use crate::ledger::{Reader, settle};
use crate::report::compact::test_house::House;
use crate::report::query::Reports;
use crate::report::retention::Keep;
use crate::report::schema::Table;

const TODAY: &str = "2026-01-05";

fn chores(house: &House, retention: &Retention) -> Vec<Chore> {
    let (rules, today) = (Compaction::default(), TODAY.parse().unwrap());
    plan(&house.reports(), &Choice::default(), Some(&rules), retention, today).unwrap()
}

fn upkeep<'a>(house: &House, waiting: &'a dyn Fn(&Day)) -> Upkeep<'a> {
    Upkeep {
        ledger: house.ledger(),
        store: house.store(),
        gate: Gate::default(),
        quiet: Duration::from_millis(60),
        patience: Duration::from_millis(200),
        min_free: 0,
        stop: &|| false,
        waiting,
    }
}

fn work(upkeep: &mut Upkeep<'_>, chores: &[Chore]) -> Vec<Outcome> {
    let mut outcomes = Vec::new();
    upkeep.work(chores, &mut |_, outcome| outcomes.push(outcome.clone())).unwrap();
    outcomes
}

fn all(house: &House) -> Vec<Outcome> {
    work(&mut upkeep(house, &|_| {}), &chores(house, &Retention::default()))
}

fn reason(outcomes: &[Outcome]) -> &str {
    let [Outcome::PutOff { reason }] = outcomes else { panic!("not put off: {outcomes:?}") };
    reason
}

#[test]
fn closed_days_become_one_part_each_and_the_second_time_there_is_nothing_to_do() {
    let house = House::new();
    for (date, batches) in [("2026-01-03", 5), ("2026-01-04", 3), (TODAY, 4), ("2026-01-02", 1)] {
        for batch in 0..batches {
            house.commit(Table::Scores, date, &batch.to_string(), 10);
        }
    }
    let before = house.rows();
    let mut reports = Reports::open(house.state()).unwrap();
    let outcomes = all(&house);
    assert!(matches!(outcomes[0], Outcome::Compacted { parts: 5, became: 1, .. }), "{outcomes:?}");
    assert!(matches!(outcomes[1], Outcome::Compacted { parts: 3, became: 1, .. }) && outcomes.len() == 2);
    assert_eq!((house.rows(), before.len()), (before, 130));
    let late = reports.query("SELECT COUNT(*) AS n FROM scores").unwrap();
    assert_eq!(late.column("n").unwrap().get(0).unwrap().extract::<i64>(), Some(130), "listed before, read after");
    assert_eq!(house.parts("2026-01-03").len() + house.parts(TODAY).len(), 5);
    assert!(chores(&house, &Retention::default()).is_empty());
    assert_eq!(Reader::open(house.state()).unwrap().counts("digits").unwrap().scored, 130);
    assert!(house.ledger().prepared().unwrap().is_empty() && house.staging().is_empty());
    house.commit(Table::Scores, "2026-01-03", "late", 7);
    assert!(matches!(all(&house)[..], [Outcome::Compacted { parts: 2, became: 1, .. }]), "closed, and one more batch");
    assert_eq!(house.rows().len(), 137);
}

#[test]
fn a_day_that_is_read_all_the_time_is_put_off_and_as_it_was() {
    let house = House::new();
    for batch in ["1", "2"] {
        house.commit(Table::Scores, "2026-01-03", batch, 10);
    }
    let stop = std::sync::atomic::AtomicBool::new(false);
    let outcomes = std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                house.parts("2026-01-03");
                std::thread::sleep(Duration::from_millis(5));
            }
        });
        // The reader may be held up for longer than it rests, not for as long as this.
        let mut upkeep = Upkeep { quiet: Duration::from_secs(5), ..upkeep(&house, &|_| {}) };
        let outcomes = work(&mut upkeep, &chores(&house, &Retention::default()));
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        outcomes
    });
    assert!(reason(&outcomes).contains("never left unread"), "{outcomes:?}");
    assert_eq!((house.parts("2026-01-03").len(), house.rows().len()), (2, 20));
    assert!(house.ledger().prepared().unwrap().is_empty() && house.staging().is_empty());
    assert!(matches!(all(&house)[..], [Outcome::Compacted { .. }]), "quiet again");
}

#[test]
fn a_part_that_comes_while_readers_are_waited_for_is_not_lost() {
    let house = House::new();
    for batch in ["1", "2"] {
        house.commit(Table::Scores, "2026-01-03", batch, 10);
    }
    let late = RefCell::new(0);
    let come = |_: &Day| {
        *late.borrow_mut() += 1;
        house.commit(Table::Scores, "2026-01-03", "3", 5);
    };
    let mut upkeep = Upkeep { quiet: Duration::from_secs(60), ..upkeep(&house, &come) };
    let outcomes = work(&mut upkeep, &chores(&house, &Retention::default()));
    assert!(reason(&outcomes).contains("came or went"), "{outcomes:?}");
    assert_eq!((*late.borrow(), house.rows().len(), house.parts("2026-01-03").len()), (1, 25, 3));
    all(&house);
    assert_eq!((house.rows().len(), house.parts("2026-01-03").len()), (25, 1));
}

#[test]
fn a_folder_is_not_swapped_while_a_batch_is_on_its_way() {
    let house = House::new();
    for batch in ["1", "2"] {
        house.commit(Table::Scores, "2026-01-03", batch, 10);
    }
    let gate = Gate::default();
    let held = gate.enter();
    std::thread::scope(|scope| {
        let compaction = scope.spawn(|| {
            let mut upkeep = Upkeep { gate: gate.clone(), ..upkeep(&house, &|_| {}) };
            work(&mut upkeep, &chores(&house, &Retention::default()))
        });
        while house.ledger().prepared().unwrap().is_empty() {
            assert!(!compaction.is_finished());
            std::thread::sleep(Duration::from_millis(5));
        }
        std::thread::sleep(Duration::from_millis(100));
        assert_eq!(house.ledger().prepared().unwrap().len(), 1, "it waits at the gate");
        assert_eq!(house.parts("2026-01-03").len(), 2);
        house.commit(Table::Scores, "2026-01-03", "3", 10);
        drop(held);
        assert!(reason(&compaction.join().unwrap()).contains("came or went"));
    });
    assert_eq!(house.rows().len(), 30);
}

#[test]
fn strangers_and_short_space_and_unknown_parts_leave_a_day_alone() {
    let house = House::new();
    for batch in ["1", "2"] {
        house.commit(Table::Scores, "2026-01-03", batch, 10);
    }
    let mut greedy = Upkeep { min_free: u64::MAX, ..upkeep(&house, &|_| {}) };
    assert!(reason(&work(&mut greedy, &chores(&house, &Retention::default()))).contains("free space"));
    let notes = house.day("2026-01-03").join("notes.txt");
    std::fs::write(&notes, "mine").unwrap();
    assert!(reason(&all(&house)).contains("notes.txt"));
    let strict = Retention { scores: Keep { days: Some(1), bytes: None }, ..Retention::default() };
    assert!(reason(&work(&mut upkeep(&house, &|_| {}), &chores(&house, &strict))).contains("notes.txt"));
    assert_eq!(std::fs::read_to_string(&notes).unwrap(), "mine");
    std::fs::remove_file(&notes).unwrap();
    std::fs::copy(house.day("2026-01-03").join("part-1.parquet"), house.day("2026-01-03").join("part-9.parquet"))
        .unwrap();
    assert!(reason(&all(&house)).contains("no such committed part"), "the ledger is asked first");
    assert!(house.staging().is_empty());
}

#[test]
fn what_retention_lets_go_is_gone_and_known_still() {
    let house = House::new();
    for date in ["2026-01-01", "2026-01-03", TODAY] {
        for batch in ["1", "2"] {
            house.commit(Table::Scores, date, batch, 10);
        }
    }
    let retention = Retention { scores: Keep { days: Some(3), bytes: None }, ..Retention::default() };
    let chores = chores(&house, &retention);
    assert_eq!(chores.iter().map(|chore| chore.drop).collect::<Vec<_>>(), [true, false]);
    let outcomes = work(&mut upkeep(&house, &|_| {}), &chores);
    assert!(matches!(outcomes[..], [Outcome::Dropped { parts: 2, .. }, Outcome::Compacted { .. }]), "{outcomes:?}");
    assert!(!house.day("2026-01-01").exists() && house.staging().is_empty());
    assert_eq!(house.rows().len(), 40);
    settle(&mut house.ledger(), &mut house.store()).unwrap();
    assert_eq!(house.rows().len(), 40);
    assert_eq!(
        Reader::open(house.state()).unwrap().counts("digits").unwrap().scored,
        60,
        "what was scored stays counted"
    );
}

#[test]
fn a_day_let_go_before_a_crash_is_removed_whole_at_the_next_start() {
    let house = House::new();
    let parts: Vec<Part> =
        ["1", "2"].iter().map(|batch| house.commit(Table::Scores, "2026-01-01", batch, 10)).collect();
    house.ledger().retire_parts(&parts).unwrap();
    settle(&mut house.ledger(), &mut house.store()).unwrap();
    assert!(!house.day("2026-01-01").exists() && house.staging().is_empty());
}

#[test]
fn nobody_is_asked_twice_to_stop() {
    let house = House::new();
    for date in ["2026-01-01", "2026-01-02"] {
        for batch in ["1", "2"] {
            house.commit(Table::Scores, date, batch, 10);
        }
    }
    let mut upkeep = Upkeep { stop: &|| true, ..upkeep(&house, &|_| {}) };
    assert!(work(&mut upkeep, &chores(&house, &Retention::default())).is_empty());
    let left: Vec<PathBuf> = house.staging();
    assert!(left.is_empty() && house.rows().len() == 40, "{left:?}");
    assert!(Path::new(house.state()).join("ledger.sqlite").exists());
}

/// Counts how often a full disk was waited for.
#[derive(Debug, Default)]
struct Waits(std::sync::atomic::AtomicUsize);

impl crate::disk::Patience for Waits {
    fn wait(&self, full: Failure) -> Result<()> {
        self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        Err(full)
    }

    fn over(&self) {}

    fn queue(&self, busy: Failure) -> Result<()> {
        Err(busy)
    }
}

#[test]
fn what_was_merged_does_not_take_up_space_while_a_full_disk_is_waited_for() {
    let house = House::new();
    // More names than the pages hold that the ledger has.
    for batch in 0..40 {
        house.commit(Table::Scores, "2026-01-03", &format!("{batch:0>180}"), 2);
    }
    let waits = std::sync::Arc::new(Waits::default());
    let ledger = Ledger::open_with(house.state(), waits.clone()).unwrap();
    ledger.fill();
    let mut upkeep = Upkeep { ledger, ..upkeep(&house, &|_| {}) };
    let outcomes = work(&mut upkeep, &chores(&house, &Retention::default()));
    assert!(reason(&outcomes).contains("full"), "{outcomes:?}");
    assert_eq!(waits.0.load(std::sync::atomic::Ordering::Relaxed), 0);
    assert!(house.staging().is_empty() && house.parts("2026-01-03").len() == 40);
}
