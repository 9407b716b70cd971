use std::sync::atomic::{AtomicU32, Ordering};

use super::*;

#[derive(Debug, Default)]
struct Twice(AtomicU32);

impl Patience for Twice {
    fn wait(&self, full: Failure) -> Result<()> {
        if self.0.fetch_add(1, Ordering::Relaxed) < 2 { Ok(()) } else { Err(full) }
    }

    fn over(&self) {
        self.0.fetch_add(100, Ordering::Relaxed);
    }

    fn queue(&self, busy: Failure) -> Result<()> {
        if self.0.fetch_add(10, Ordering::Relaxed) < 20 { Ok(()) } else { Err(busy) }
    }
}

fn trouble(errno: Errno) -> Trouble {
    Trouble::io(Path::new("/state/x"), &io::Error::from_raw_os_error(errno.raw_os_error()))
}

#[test]
fn a_full_disk_is_waited_for_and_nothing_else_is() {
    let (patience, mut tries) = (Twice::default(), 0);
    let done = patiently(&patience, || {
        tries += 1;
        if tries < 3 { Err(trouble(if tries == 1 { Errno::NOSPC } else { Errno::DQUOT })) } else { Ok(7) }
    });
    assert_eq!((done.unwrap(), tries, patience.0.load(Ordering::Relaxed)), (7, 3, 102));
    for errno in [Errno::IO, Errno::ACCESS, Errno::ROFS, Errno::NOENT] {
        let (patience, mut tries) = (Twice::default(), 0);
        let failure = patiently::<()>(&patience, || {
            tries += 1;
            Err(trouble(errno))
        })
        .unwrap_err();
        assert_eq!((failure.kind, tries, patience.0.load(Ordering::Relaxed)), (Kind::Io, 1, 0), "{errno}");
        assert!(failure.message.starts_with("/state/x: "), "{failure}");
        assert_eq!(failure.hint.is_some(), errno != Errno::NOENT);
    }
    let given_up = patiently::<()>(&Twice::default(), || Err(trouble(Errno::NOSPC)));
    assert!(given_up.unwrap_err().message.contains("No space"));
}

#[test]
fn who_holds_the_ledger_is_waited_for_and_that_is_no_full_disk() {
    let busy = || Trouble::Busy(Failure::new(Kind::Io, "ledger.sqlite: database is locked"));
    let (patience, mut tries) = (Twice::default(), 0);
    let done = patiently(&patience, || {
        tries += 1;
        if tries < 3 { Err(busy()) } else { Ok(7) }
    });
    assert_eq!((done.unwrap(), patience.0.load(Ordering::Relaxed)), (7, 20));
    assert!(patiently::<()>(&Twice::default(), || Err(busy())).unwrap_err().message.contains("locked"));
}

#[test]
fn a_full_disk_is_known_through_what_wraps_the_error() {
    for kind in [ErrorKind::StorageFull, ErrorKind::QuotaExceeded] {
        let wrapped = io::Error::new(kind, "at path \"x\"");
        assert!(matches!(Trouble::io(Path::new("x"), &wrapped), Trouble::Full(_)), "{kind}");
    }
}

#[test]
fn sqlite_says_which_is_which() {
    let error = |code| rusqlite::Error::SqliteFailure(rusqlite::ffi::Error::new(code), None);
    let place = Path::new("ledger.sqlite");
    for code in [rusqlite::ffi::SQLITE_FULL, SQLITE_IOERR_SHMSIZE] {
        assert!(matches!(Trouble::sqlite(place, &error(code)), Trouble::Full(_)), "{code}");
    }
    for code in [rusqlite::ffi::SQLITE_BUSY, rusqlite::ffi::SQLITE_BUSY_RECOVERY] {
        assert!(matches!(Trouble::sqlite(place, &error(code)), Trouble::Busy(_)), "{code}");
    }
    for code in [rusqlite::ffi::SQLITE_IOERR_FSYNC, rusqlite::ffi::SQLITE_CORRUPT, rusqlite::ffi::SQLITE_READONLY] {
        let Trouble::Final(failure) = Trouble::sqlite(place, &error(code)) else { panic!("{code} is waited for") };
        assert!(failure.hint.is_some(), "{failure}");
    }
}

#[test]
fn what_the_system_said_is_kept() {
    let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
    let mut sink = Listening::to(full);
    assert!(sink.write_all(b"x").is_err());
    let lost = PolarsError::ComputeError("underlying IO error".into());
    assert!(matches!(Trouble::parquet(Path::new("p"), &lost, sink.said()), Trouble::Full(_)));
    assert!(matches!(Trouble::parquet(Path::new("p"), &lost, None), Trouble::Final(_)));
}
