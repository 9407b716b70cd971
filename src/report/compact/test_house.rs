//! A state folder with made-up days, as the writer leaves them.

use std::path::{Path, PathBuf};

use polars::prelude::*;

use crate::ledger::Ledger;
use crate::report::query::Reports;
use crate::report::schema::Table;
use crate::report::writer::{Part, Store};
use crate::score::Identity;

pub struct House {
    root: tempfile::TempDir,
}

impl House {
    pub fn new() -> Self {
        let house = Self { root: tempfile::tempdir().unwrap() };
        let identity = Identity {
            model_version: "1".into(),
            model_digest: "m".into(),
            calibration_digest: "c".into(),
            pipeline_digest: "p".into(),
        };
        house.ledger().identity("digits", &identity).unwrap();
        house
    }

    pub fn state(&self) -> &Path {
        self.root.path()
    }

    pub fn reports(&self) -> PathBuf {
        self.state().join("reports")
    }

    pub fn day(&self, date: &str) -> PathBuf {
        self.reports().join(format!("scores/pipeline=digits/date={date}"))
    }

    pub fn ledger(&self) -> Ledger {
        Ledger::open(self.state()).unwrap()
    }

    pub fn store(&self) -> Store {
        Store::open(self.state()).unwrap()
    }

    /// Commits a batch of rows whose `key` names date, batch and number.
    pub fn commit(&self, table: Table, date: &str, batch: &str, rows: usize) -> Part {
        let (pipeline, batch) = ("digits".to_string(), batch.to_string());
        let part = Part { table, pipeline, date: date.to_string(), batch, rows };
        let keys: Vec<String> = (0..rows).map(|row| format!("{date}/{}/{row}", part.batch)).collect();
        let scores: Vec<f64> = (0..rows).map(|row| row as f64).collect();
        let mut frame =
            DataFrame::new(rows, vec![Column::new("key".into(), keys), Column::new("score".into(), scores)]).unwrap();
        let (mut ledger, mut store) = (self.ledger(), self.store());
        let id = ledger.prepare(std::slice::from_ref(&part), &[]).unwrap();
        store.stage(&part, &mut frame).unwrap();
        store.publish(&part).unwrap();
        ledger.commit(id, &[]).unwrap();
        part
    }

    /// The keys of all scores, sorted.
    pub fn rows(&self) -> Vec<String> {
        let rows = Reports::open(self.state()).unwrap().query("SELECT key FROM scores ORDER BY key").unwrap();
        rows.column("key").unwrap().str().unwrap().iter().flatten().map(ToString::to_string).collect()
    }

    pub fn parts(&self, date: &str) -> Vec<PathBuf> {
        list(&self.day(date))
    }

    pub fn staging(&self) -> Vec<PathBuf> {
        list(&self.state().join("staging"))
    }
}

fn list(folder: &Path) -> Vec<PathBuf> {
    std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect()
}
