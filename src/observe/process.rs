//! What the process and its filesystem look like from the outside, looked up every few seconds so that no answer waits for it.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::disk::Room;

/// The last look.
#[derive(Debug, Default)]
pub struct Process {
    /// Resident memory, bytes.
    pub resident_bytes: AtomicU64,
    /// Open file descriptors.
    pub open_files: AtomicU64,
    /// Bytes that are free on the filesystem of the state folder.
    pub free_bytes: AtomicU64,
}

impl Process {
    /// Looks again. May wait for the filesystem of the state folder.
    pub fn look(&self, state: &Path) {
        if let Some(bytes) = resident() {
            self.resident_bytes.store(bytes, Relaxed);
        }
        if let Ok(entries) = std::fs::read_dir("/proc/self/fd") {
            // The listing itself has one open.
            self.open_files.store((entries.count() as u64).saturating_sub(1), Relaxed);
        }
        if let Ok(room) = Room::of(state) {
            self.free_bytes.store(room.free, Relaxed);
        }
    }
}

fn resident() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix(" kB")?.parse::<u64>().ok().map(|kib| kib * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_look_finds_memory_descriptors_and_free_bytes() {
        let process = Process::default();
        process.look(Path::new("/"));
        assert!(process.resident_bytes.load(Relaxed) > 1 << 20);
        assert!(process.open_files.load(Relaxed) >= 3);
        assert!(process.free_bytes.load(Relaxed) > 0);
    }
}
