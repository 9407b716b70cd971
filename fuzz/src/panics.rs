//! Panics within libraries are counted by their place, and their first input kept; any other ends the process.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::panic::{self, PanicHookInfo};
use std::path::PathBuf;
use std::sync::{Mutex, Once, PoisonError};

thread_local! {
    static INPUT: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

static HOOK: Once = Once::new();
static PLACES: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());

/// Runs `work` on an input with the hook in place.
pub fn watch<T>(input: &[u8], work: impl FnOnce() -> T) -> T {
    HOOK.call_once(|| {
        // The decoders' guard sets a hook of its own at the first file; this one comes after it, and so before it.
        let _ = crate::image::open(vec![0], &crate::LIMITS);
        let end = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if !is_contained(info) {
                eprintln!("{info}");
                eprintln!("{}", std::backtrace::Backtrace::force_capture());
                end(info);
                std::process::abort();
            }
        }));
    });
    INPUT.with_borrow_mut(|held| {
        held.clear();
        held.extend_from_slice(input);
    });
    work()
}

/// Whether it is a library's own panic; the guard makes a rejection of it.
fn is_contained(info: &PanicHookInfo) -> bool {
    let Some(place) = info.location().filter(|place| place.file().contains("/registry/src/")) else { return false };
    let (_, file) = place.file().rsplit_once("/registry/src/").unwrap_or_default();
    let place = format!("{}:{}", file.split_once('/').map_or(file, |(_, file)| file), place.line());
    let mut places = PLACES.lock().unwrap_or_else(PoisonError::into_inner);
    if places.insert(place.clone()) {
        eprintln!("contained panic at {place}: {info}");
        if let Some(folder) = std::env::var_os("ANOMALYD_FUZZ_PANICS").map(PathBuf::from) {
            let file = folder.join(place.replace(['/', ':'], "_"));
            INPUT.with_borrow(|input| std::fs::write(&file, input)).unwrap_or_else(|error| eprintln!("{error}"));
        }
    }
    true
}
