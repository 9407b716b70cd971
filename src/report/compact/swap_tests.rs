use super::*;
use crate::ledger::{Reader, settle};
use crate::report::compact::days::before;
use crate::report::compact::test_house::House;
use crate::report::schema::Table;

const DATE: &str = "2026-01-03";

fn day(house: &House) -> Day {
    before(&house.reports(), "2026-01-04".parse().unwrap()).unwrap().remove(0)
}

/// Goes so many steps and dies.
fn die_after(house: &House, steps: usize) {
    let mut ledger = house.ledger();
    let built = Built::new(&day(house), &house.store(), 0, &mut || Ok(())).unwrap();
    let batch = (steps >= 1).then(|| ledger.prepare_replacement(&built.old, &built.new).unwrap());
    if steps >= 2 {
        built.exchange(&house.store()).unwrap();
    }
    if let Some(batch) = batch.filter(|_| steps >= 3) {
        ledger.commit_replacement(batch).unwrap();
    }
    if steps >= 4 {
        fs::remove_file(built.scratch.path().join("day/part-1.parquet")).unwrap();
    }
    std::mem::forget(built);
}

#[test]
fn dead_after_any_step_the_next_start_has_every_row_once() {
    for steps in 0..=4 {
        let house = House::new();
        for batch in ["1", "2", "3"] {
            house.commit(Table::Scores, DATE, batch, 10);
        }
        let rows = house.rows();
        die_after(&house, steps);
        assert_eq!(house.rows(), rows, "before the start, after {steps} steps");
        settle(&mut house.ledger(), &mut house.store()).unwrap();
        assert_eq!(house.rows(), rows, "after {steps} steps");
        assert_eq!(house.parts(DATE).len(), if steps < 2 { 3 } else { 1 }, "after {steps} steps");
        assert!(house.staging().is_empty() && house.ledger().prepared().unwrap().is_empty(), "after {steps} steps");
        assert_eq!(Reader::open(house.state()).unwrap().counts("digits").unwrap().scored, 30, "after {steps} steps");
        house.commit(Table::Scores, DATE, "4", 5);
        let built = Built::new(&day(&house), &house.store(), 0, &mut || Ok(())).unwrap();
        let mut ledger = house.ledger();
        let batch = ledger.prepare_replacement(&built.old, &built.new).unwrap();
        built.exchange(&house.store()).unwrap();
        ledger.commit_replacement(batch).unwrap();
        built.clear().unwrap();
        assert_eq!((house.rows().len(), house.parts(DATE).len()), (35, 1), "after {steps} steps");
    }
}

#[test]
fn the_new_folder_may_be_read_by_whom_the_old_one_could() {
    use std::os::unix::fs::PermissionsExt;
    let house = House::new();
    for batch in ["1", "2"] {
        house.commit(Table::Scores, DATE, batch, 1);
    }
    fs::set_permissions(house.day(DATE), fs::Permissions::from_mode(0o751)).unwrap();
    Built::new(&day(&house), &house.store(), 0, &mut || Ok(())).unwrap().exchange(&house.store()).unwrap();
    assert_eq!(fs::metadata(house.day(DATE)).unwrap().permissions().mode() & 0o777, 0o751);
}
