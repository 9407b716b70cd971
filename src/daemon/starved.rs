//! How long this process has waited for a processor: on a machine with too much to do, who is slow does not hang.

use std::collections::HashMap;
use std::ffi::OsString;
use std::path::Path;

/// Seconds that the thread which waited longest has waited since the call before; nothing where the kernel does not tell.
pub fn meter() -> Box<dyn FnMut() -> f64 + Send> {
    let mut before = HashMap::new();
    Box::new(move || {
        let now = waited(Path::new("/proc/self/task"));
        let since = |(thread, ns): (&OsString, &u64)| Some(ns.saturating_sub(*before.get(thread)?));
        let most = now.iter().filter_map(since).max().unwrap_or(0);
        before = now;
        most as f64 / 1e9
    })
}

/// Nanoseconds that each thread has been ready to run and did not.
fn waited(tasks: &Path) -> HashMap<OsString, u64> {
    let entries = std::fs::read_dir(tasks).into_iter().flatten().flatten();
    entries
        .filter_map(|task| {
            let text = std::fs::read_to_string(task.path().join("schedstat")).ok()?;
            Some((task.file_name(), text.split_ascii_whitespace().nth(1)?.parse().ok()?))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
    use std::time::{Duration, Instant};

    use super::*;

    #[test]
    fn the_time_that_threads_waited_is_read_as_the_kernel_tells_it() {
        let tasks = tempfile::tempdir().unwrap();
        for (thread, text) in [("7", "1000 250 3\n"), ("8", ""), ("9", "5 x 1\n")] {
            std::fs::create_dir(tasks.path().join(thread)).unwrap();
            std::fs::write(tasks.path().join(thread).join("schedstat"), text).unwrap();
        }
        assert_eq!(waited(tasks.path()), HashMap::from([("7".into(), 250)]));
        assert!(waited(&tasks.path().join("none")).is_empty());
    }

    #[test]
    fn more_threads_than_processors_wait_for_each_other() {
        let mut meter = meter();
        assert_eq!(meter(), 0.0, "nothing to compare with");
        let threads = 2 * std::thread::available_parallelism().map_or(1, usize::from);
        let (done, begun) = (AtomicBool::new(false), Instant::now());
        let mut waited = 0.0;
        std::thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(|| {
                    while !done.load(Relaxed) {
                        std::hint::black_box((0..10_000u64).sum::<u64>());
                    }
                });
            }
            while waited < 0.01 && begun.elapsed() < Duration::from_secs(60) {
                std::thread::sleep(Duration::from_millis(20));
                waited += meter();
            }
            done.store(true, Relaxed);
        });
        // A kernel without these figures has nothing to be read.
        assert!(waited >= 0.01 || !Path::new("/proc/self/schedstat").exists());
    }
}
