//! Retention: which closed days are dropped, by table. Off unless the settings ask for it.

use std::path::Path;

use chrono::{Days, NaiveDate};
use serde::Deserialize;

use super::compact::days::{Day, before};
use super::schema::Table;
use crate::error::{Failure, Kind, Result};

/// What of a table is kept. Today always is; files stay known, and are not scored again because their rows were dropped.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Keep {
    /// So many days before today.
    pub days: Option<u32>,
    /// So many bytes, of all pipelines together; the oldest days go first.
    pub bytes: Option<u64>,
}

/// What of each table is kept; all of it where nothing is said.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Retention {
    /// Of `scores`. These rows are the verdicts themselves: what is dropped is nowhere else, and is not scored again.
    pub scores: Keep,
    /// Of `anomalies`, whose rows repeat those of `scores` beside their pictures.
    pub anomalies: Keep,
    /// Of `denoised`.
    pub denoised: Keep,
    /// Of `rejected`.
    pub rejected: Keep,
    /// Of `duplicates`.
    pub duplicates: Keep,
}

impl Retention {
    /// What is kept of a table.
    pub fn of(&self, table: Table) -> Keep {
        match table {
            Table::Scores => self.scores,
            Table::Anomalies => self.anomalies,
            Table::Denoised => self.denoised,
            Table::Rejected => self.rejected,
            Table::Duplicates => self.duplicates,
        }
    }

    /// Whether anything is ever dropped.
    pub fn is_on(&self) -> bool {
        Table::ALL.into_iter().any(|table| self.of(table) != Keep::default())
    }

    /// What is worth a word at the start of a service, so that nobody loses verdicts unaware.
    pub fn warning(&self) -> Option<String> {
        (self.scores != Keep::default()).then(|| {
            "retention.scores is set: verdicts are dropped for good, and their files are not scored again".to_string()
        })
    }

    /// Numbers that cannot be worked with.
    ///
    /// # Errors
    /// [`Kind::Settings`] naming the key.
    pub fn check(&self) -> Result<()> {
        for table in Table::ALL {
            let Keep { days, bytes } = self.of(table);
            for (key, zero) in [("days", days == Some(0)), ("bytes", bytes == Some(0))] {
                if zero {
                    let key = format!("retention.{}.{key}", table.name());
                    return Err(Failure::new(
                        Kind::Settings,
                        format!("settings: {key} = 0, but it must be at least 1"),
                    )
                    .hint("leave the key out to keep everything"));
                }
            }
        }
        Ok(())
    }

    /// Which of the closed days are dropped; they come oldest first.
    ///
    /// # Errors
    /// [`Kind::Io`] where the sizes cannot be found.
    pub fn dropped(&self, reports: &Path, days: &[Day], today: NaiveDate) -> Result<Vec<bool>> {
        let mut excess = [0u64; Table::ALL.len()];
        for (table, excess) in Table::ALL.into_iter().zip(&mut excess) {
            if let Some(most) = self.of(table).bytes {
                let days = before(reports, NaiveDate::MAX)?;
                let all: u64 = days.iter().filter(|day| day.table == table).map(Day::bytes).sum();
                *excess = all.saturating_sub(most);
            }
        }
        let drop = |day: &Day| {
            let excess = &mut excess[day.table as usize];
            let oldest = self.of(day.table).days.and_then(|days| today.checked_sub_days(Days::new(days.into())));
            let drop = *excess > 0 || oldest.is_some_and(|oldest| day.date < oldest);
            if drop {
                *excess = excess.saturating_sub(day.bytes());
            }
            drop
        };
        Ok(days.iter().map(drop).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    /// A tree with one part of a size on each of some days of January 2026.
    fn tree(parts: &[(&str, &str, u32, usize)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for (table, pipeline, day, bytes) in parts {
            let folder = root.path().join(format!("{table}/pipeline={pipeline}/date=2026-01-{day:02}"));
            fs::create_dir_all(&folder).unwrap();
            fs::write(folder.join("part-1.parquet"), vec![0; *bytes]).unwrap();
        }
        root
    }

    fn gone(retention: &Retention, root: &Path, today: &str) -> Vec<String> {
        let today = today.parse().unwrap();
        let days = before(root, today).unwrap();
        let dropped = retention.dropped(root, &days, today).unwrap();
        let name = |day: &Day| format!("{} {} {}", day.table.name(), day.pipeline, day.date_text());
        days.iter().zip(dropped).filter(|(_, drop)| *drop).map(|(day, _)| name(day)).collect()
    }

    #[test]
    fn days_beyond_the_age_go_and_those_of_other_tables_stay() {
        let root = tree(&[
            ("scores", "a", 1, 9),
            ("anomalies", "a", 1, 9),
            ("anomalies", "a", 7, 9),
            ("anomalies", "b", 8, 9),
        ]);
        let retention = Retention { anomalies: Keep { days: Some(3), bytes: None }, ..Retention::default() };
        assert_eq!(gone(&retention, root.path(), "2026-01-10"), ["anomalies a 2026-01-01"]);
        assert_eq!(gone(&retention, root.path(), "2026-01-11"), ["anomalies a 2026-01-01", "anomalies a 2026-01-07"]);
        assert!(gone(&Retention::default(), root.path(), "2030-01-01").is_empty());
    }

    #[test]
    fn the_oldest_days_of_all_pipelines_go_until_the_bytes_fit_and_today_stays() {
        let root = tree(&[
            ("denoised", "a", 1, 10),
            ("denoised", "b", 2, 10),
            ("denoised", "a", 3, 10),
            ("denoised", "a", 4, 50),
        ]);
        let keep = |bytes| Retention { denoised: Keep { days: None, bytes: Some(bytes) }, ..Retention::default() };
        assert!(gone(&keep(80), root.path(), "2026-01-04").is_empty());
        assert_eq!(gone(&keep(79), root.path(), "2026-01-04"), ["denoised a 2026-01-01"]);
        assert_eq!(gone(&keep(69), root.path(), "2026-01-04"), ["denoised a 2026-01-01", "denoised b 2026-01-02"]);
        assert_eq!(gone(&keep(1), root.path(), "2026-01-04").len(), 3, "today is never dropped");
    }

    #[test]
    fn nothing_is_no_amount_and_dropped_verdicts_are_worth_a_word() {
        let nothing = Retention { rejected: Keep { days: Some(0), bytes: None }, ..Retention::default() };
        assert!(nothing.check().unwrap_err().message.contains("retention.rejected.days"));
        assert!(nothing.is_on() && nothing.warning().is_none() && !Retention::default().is_on());
        let scores = Retention { scores: Keep { days: Some(9), bytes: None }, ..Retention::default() };
        assert!(scores.check().is_ok() && scores.warning().is_some());
    }
}
