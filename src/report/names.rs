//! What reports call things: files and scorings.

use std::ffi::OsString;
use std::fmt::Write;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Component, Path, PathBuf};

use crate::score::Identity;

/// Name of a scoring: 16 hex digits, stable for file digest, frame, model digest and calibration digest.
pub fn frame_id(file_digest: &str, frame_index: u32, identity: &Identity) -> String {
    let mut hasher = blake3::Hasher::new();
    for part in [file_digest, &frame_index.to_string(), &identity.model_digest, &identity.calibration_digest] {
        hasher.update(part.as_bytes()).update(b"\n");
    }
    hasher.finalize().to_hex()[..16].to_string()
}

/// What reports call a file that was given by its path: relative, below the working folder where it lies there, else below the
/// root. Never out of anything: there is no `..` in it.
pub fn given_name(path: &Path) -> PathBuf {
    let climbs = path.components().any(|part| part == Component::ParentDir);
    let whole = if climbs { path.canonicalize() } else { std::path::absolute(path) };
    let whole = whole.unwrap_or_else(|_| path.to_path_buf());
    let here = std::env::current_dir().unwrap_or_default();
    let below = whole.strip_prefix(&here).unwrap_or(&whole);
    below.components().filter(|part| matches!(part, Component::Normal(_))).collect()
}

/// A path as text without loss: UTF-8 as it is; a backslash, control characters, which a terminal would obey, and every byte that
/// is not UTF-8 as `\xHH`.
pub fn source_name(path: &Path) -> String {
    let mut text = String::new();
    let escape = |text: &mut String, bytes: &[u8]| {
        for byte in bytes {
            let _ = write!(text, "\\x{byte:02x}");
        }
    };
    for chunk in path.as_os_str().as_bytes().utf8_chunks() {
        for letter in chunk.valid().chars() {
            if letter == '\\' || letter.is_control() {
                escape(&mut text, letter.encode_utf8(&mut [0; 4]).as_bytes());
            } else {
                text.push(letter);
            }
        }
        escape(&mut text, chunk.invalid());
    }
    text
}

/// The path that [`source_name`] wrote; `None` where it did not write that.
pub fn source_path(name: &str) -> Option<PathBuf> {
    let mut pieces = name.split('\\');
    let mut bytes = pieces.next()?.as_bytes().to_vec();
    for piece in pieces {
        let (escape, rest) = piece.split_at_checked(3)?;
        let digits = escape.strip_prefix('x').filter(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit()))?;
        bytes.push(u8::from_str_radix(digits, 16).ok()?);
        bytes.extend(rest.as_bytes());
    }
    Some(OsString::from_vec(bytes).into())
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_keep_every_byte() {
        assert_eq!(source_name(Path::new("night/frå.fits")), "night/frå.fits");
        assert_eq!(source_name(Path::new(OsStr::from_bytes(b"a\xff\\b"))), "a\\xff\\x5cb");
        assert_eq!(source_name(Path::new("a\u{1b}[2J\n\u{7f}\u{9b}")), "a\\x1b[2J\\x0a\\x7f\\xc2\\x9b");
        for wrong in ["a\\", "\\x", "\\xf", "\\xfg", "\\y41", "\\x+1", "\\x\u{e5}"] {
            assert_eq!(source_path(wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn a_file_given_by_its_path_never_leads_out() {
        let here = std::env::current_dir().unwrap();
        for (given, name) in
            [("./src//lib.rs", "src/lib.rs"), ("src/../src/lib.rs", "src/lib.rs"), ("/no/such.png", "no/such.png")]
        {
            assert_eq!(given_name(Path::new(given)), Path::new(name), "{given}");
        }
        assert_eq!(given_name(&here.join("src/lib.rs")), Path::new("src/lib.rs"));
        assert_eq!(given_name(Path::new("../no/such.png")), Path::new("no/such.png"), "not there, and still not out");
        let above = given_name(&here.join("..").join(here.file_name().unwrap()).join("Cargo.toml"));
        assert_eq!(above, Path::new("Cargo.toml"));
    }

    proptest! {
        #[test]
        fn every_name_comes_back(bytes in proptest::collection::vec(prop_oneof![any::<u8>(), Just(b'\\'), Just(b'x'), Just(0x1b)], 0..24)) {
            let path = Path::new(OsStr::from_bytes(&bytes));
            prop_assert_eq!(source_path(&source_name(path)), Some(path.to_path_buf()));
        }
    }

    #[test]
    fn a_frame_id_depends_on_all_of_its_parts() {
        let identity = |model: &str, calibration: &str| Identity {
            model_version: "1".into(),
            model_digest: model.into(),
            calibration_digest: calibration.into(),
            pipeline_digest: String::new(),
        };
        let base = frame_id("f", 0, &identity("m", "c"));
        assert_eq!(base, frame_id("f", 0, &identity("m", "c")));
        for other in [
            frame_id("g", 0, &identity("m", "c")),
            frame_id("f", 1, &identity("m", "c")),
            frame_id("f", 0, &identity("n", "c")),
            frame_id("f", 0, &identity("m", "d")),
        ] {
            assert_ne!(base, other);
        }
    }
}
