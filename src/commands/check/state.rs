//! The state folder: there or makeable, on one filesystem, everything in it writable, with room.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustix::fs::{Access, access};
use walkdir::WalkDir;

use super::Findings;
use crate::disk::Room;
use crate::error::{Failure, Kind};
use crate::ledger::check_owner;
use crate::settings::Settings;
use crate::watch::is_remote;

/// Folders that are looked into: `reports/<table>/pipeline=<name>`. Their parts are never written again.
const DEPTH: usize = 3;

pub fn look(settings: &Settings, findings: &mut Findings) {
    let state = &settings.state;
    let before = findings.failures;
    match std::fs::metadata(state) {
        Ok(meta) if !meta.is_dir() => findings.bad(
            &Failure::new(Kind::Io, format!("state folder {} is not a folder", state.display()))
                .hint("name another with --state"),
        ),
        Ok(meta) => {
            findings.take(check_owner(state, &meta));
            on_network(state, findings);
            inside(state, &meta, findings);
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => makeable(state, findings),
        Err(error) => {
            findings.bad(&Failure::io(state, error).hint("let the user that runs anomalyd enter its parents"))
        }
    }
    room(settings, findings);
    if findings.failures == before {
        findings.good(format!("state folder {} can be written and is one filesystem", state.display()));
    }
}

/// The ledger's write-ahead log is a file that processes map together: no network filesystem promises that.
fn on_network(state: &Path, findings: &mut Findings) {
    if is_remote(state) {
        findings.doubtful(
            format!("state folder {} is on a network filesystem, where SQLite promises nothing", state.display()),
            "keep ledger and reports on a local disk; inboxes may be remote",
        );
    }
}

/// Below `min_free` the service starts and waits: that is no failure.
fn room(settings: &Settings, findings: &mut Findings) {
    let state = std::path::absolute(&settings.state).unwrap_or_else(|_| settings.state.clone());
    let Some(Ok(disk)) = state.ancestors().find(|folder| folder.exists()).map(Room::of) else { return };
    let Room { free, all, .. } = disk;
    let least = settings.min_free;
    if (1..=least).contains(&all) {
        let message = format!("min_free = {least}, but the disk of the state folder has {all} bytes in all");
        findings.bad(&Failure::new(Kind::Settings, message).hint("lower min_free, or move the state folder"));
    } else if free < least {
        let text = format!("{free} bytes are free on the disk of the state folder, less than min_free = {least}");
        findings.doubtful(text, "the service starts, and takes nothing in until there is room");
    }
}

/// A folder that `watch` will make: the nearest parent that there is must let it.
fn makeable(state: &Path, findings: &mut Findings) {
    let state = std::path::absolute(state).unwrap_or_else(|_| state.to_path_buf());
    let Some(parent) = state.ancestors().find(|folder| folder.exists()) else { return };
    if let Err(error) = access(parent, Access::WRITE_OK | Access::EXEC_OK) {
        findings.bad(
            &Failure::new(
                Kind::Io,
                format!("state folder {} cannot be made in {}: {error}", state.display(), parent.display()),
            )
            .hint("name another with --state, or make it and give it to the user that runs anomalyd"),
        );
    }
}

/// Parts are staged here and renamed there: that takes one filesystem, and the right to write. One finding of each kind is enough:
/// where one file belongs to another user, hundreds do.
fn inside(state: &Path, top: &Metadata, findings: &mut Findings) {
    let (mut locked, mut foreign) = (None, None);
    for entry in WalkDir::new(state).max_depth(DEPTH).follow_links(true) {
        // What vanishes meanwhile belongs to a daemon at work.
        let Ok(entry) = entry else { continue };
        let Ok(meta) = std::fs::metadata(entry.path()) else { continue };
        let wanted = if meta.is_dir() { Access::WRITE_OK | Access::EXEC_OK } else { Access::WRITE_OK };
        let is_part = entry.path().extension().is_some_and(|ending| ending == "parquet");
        if let (false, Err(error)) = (is_part, access(entry.path(), wanted))
            && error != rustix::io::Errno::NOENT
        {
            locked.get_or_insert_with(|| (entry.path().to_path_buf(), error));
        }
        // Folders only: an overlay gives its files numbers of their own.
        if meta.is_dir() && meta.dev() != top.dev() {
            foreign.get_or_insert_with(|| entry.path().to_path_buf());
        }
    }
    if let Some((path, error)) = locked {
        findings.bad(
            &Failure::new(Kind::Io, format!("{} cannot be written: {error}", path.display()))
                .hint(format!("give it to the user that runs anomalyd: chown -R USER: {}", state.display())),
        );
    }
    if let Some(path) = foreign {
        findings.bad(
            &Failure::new(
                Kind::Io,
                format!(
                    "{} is on another filesystem than {}: parts cannot be renamed into it",
                    path.display(),
                    state.display()
                ),
            )
            .hint("put the whole state folder on one filesystem, with --state"),
        );
    }
}
