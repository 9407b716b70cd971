//! The control socket of a state folder: where it is, who binds it, and how to ask it.

use std::fs::{File, Permissions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Name of the socket in the state folder.
pub const NAME: &str = "control.sock";
/// Bytes of a socket's path, less the closing zero (`sockaddr_un` of Linux).
const LONGEST: usize = 107;
/// Largest answer that is read.
const MOST_BYTES: u64 = 16 << 20;

/// The path of a socket as the kernel takes it, and what has to stay open as long as the path is used.
fn short(state: &Path) -> io::Result<(PathBuf, Option<File>)> {
    let path = state.join(NAME);
    if path.as_os_str().as_bytes().len() <= LONGEST {
        return Ok((path, None));
    }
    let folder = File::open(state)?;
    Ok((PathBuf::from(format!("/proc/self/fd/{}/{NAME}", folder.as_raw_fd())), Some(folder)))
}

/// Binds the control socket, in place of one that a dead process left. The state folder's lock must be held.
///
/// # Errors
/// Those of the system.
pub fn bind(state: &Path) -> io::Result<UnixListener> {
    let (path, _folder) = short(state)?;
    match std::fs::remove_file(&path) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(&path)?;
    std::fs::set_permissions(&path, Permissions::from_mode(0o660))?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// Asks the control socket for a route, and returns status code and body.
///
/// # Errors
/// Those of the system; [`ErrorKind::TimedOut`] where the answer takes longer than `patience`; [`ErrorKind::InvalidData`] for
/// what is no HTTP.
pub fn ask(state: &Path, route: &str, patience: Duration) -> io::Result<(u16, String)> {
    let deadline = Instant::now() + patience;
    let (path, _folder) = short(state)?;
    let mut stream = UnixStream::connect(path)?;
    stream.set_write_timeout(Some(patience))?;
    write!(stream, "GET {route} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
    let mut answer = Vec::new();
    let mut buffer = [0; 1 << 14];
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() || answer.len() as u64 > MOST_BYTES {
            return Err(ErrorKind::TimedOut.into());
        }
        stream.set_read_timeout(Some(left))?;
        match stream.read(&mut buffer) {
            Ok(0) => break,
            Ok(length) => answer.extend_from_slice(&buffer[..length]),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Err(ErrorKind::TimedOut.into()),
            Err(error) => return Err(error),
        }
    }
    parse(&answer).ok_or_else(|| io::Error::new(ErrorKind::InvalidData, "not an answer of anomalyd"))
}

/// Status code and body of a whole answer whose length is told, as the daemon gives it.
fn parse(answer: &[u8]) -> Option<(u16, String)> {
    let text = std::str::from_utf8(answer).ok()?;
    let (head, body) = text.split_once("\r\n\r\n")?;
    let mut lines = head.lines();
    let code = lines.next()?.strip_prefix("HTTP/1.1 ")?.split(' ').next()?.parse().ok()?;
    let length = lines.find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().ok())?
    })?;
    (body.len() == length).then(|| (code, body.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_whole_answer_is_read_and_a_torn_one_is_not() {
        let answer = b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: x\r\ncontent-length: 4\r\n\r\nbusy";
        assert_eq!(parse(answer), Some((503, "busy".into())));
        assert_eq!(parse(&answer[..answer.len() - 1]), None);
        assert_eq!(parse(b"HTTP/1.1 200 OK\r\n\r\n"), None);
    }

    #[test]
    fn a_deep_state_folder_has_a_socket_too_and_a_stale_one_is_replaced() {
        let root = tempfile::tempdir().unwrap();
        for state in [root.path().join("s"), root.path().join("a".repeat(100)).join("b".repeat(100))] {
            std::fs::create_dir_all(&state).unwrap();
            drop(bind(&state).unwrap());
            assert!(state.join(NAME).exists(), "what a process leaves when it dies");
            // A process that another test is just starting may hold the old one for a moment.
            let dead = || ask(&state, "/status", Duration::from_secs(1)).unwrap_err().kind();
            let begun = Instant::now();
            while dead() != ErrorKind::ConnectionRefused {
                assert!(begun.elapsed() < Duration::from_secs(60), "{:?}", dead());
            }
            let listener = bind(&state).unwrap();
            assert_eq!(std::fs::metadata(state.join(NAME)).unwrap().permissions().mode() & 0o777, 0o660);
            let silent = ask(&state, "/status", Duration::from_millis(100)).unwrap_err();
            assert_eq!(silent.kind(), ErrorKind::TimedOut, "nobody answers");
            drop(listener);
        }
    }
}
