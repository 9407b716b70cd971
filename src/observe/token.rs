//! The token that whoever asks from another machine has to show.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{PoisonError, RwLock};

use crate::error::{Failure, Kind, Result};

/// A shorter token is soon guessed.
const LEAST_BYTES: usize = 16;

/// A token, kept as a digest: two digests are compared in constant time.
#[derive(Debug)]
pub struct Token {
    path: PathBuf,
    digest: RwLock<blake3::Hash>,
}

impl Token {
    /// Reads a token from a file that others cannot read.
    ///
    /// # Errors
    /// [`Kind::Settings`] where the file cannot be read, is readable for everybody, or holds no token.
    pub fn read(path: &Path) -> Result<Self> {
        Ok(Self { path: path.to_path_buf(), digest: RwLock::new(digest(path)?) })
    }

    /// Reads the file again; the old token stays where that fails.
    ///
    /// # Errors
    /// Those of [`Self::read`].
    pub fn reload(&self) -> Result<()> {
        let digest = digest(&self.path)?;
        *self.digest.write().unwrap_or_else(PoisonError::into_inner) = digest;
        Ok(())
    }

    /// Whether an `Authorization` header shows the token.
    pub fn admits(&self, authorization: Option<&[u8]>) -> bool {
        let shown = authorization.and_then(|value| value.split_at_checked(7));
        let Some((_, token)) = shown.filter(|(scheme, _)| scheme.eq_ignore_ascii_case(b"bearer ")) else {
            return false;
        };
        blake3::hash(token.trim_ascii()) == *self.digest.read().unwrap_or_else(PoisonError::into_inner)
    }
}

fn digest(path: &Path) -> Result<blake3::Hash> {
    let refuse = |message: String| {
        Failure::new(Kind::Settings, format!("http.token_file {}: {message}", path.display()))
            .hint("for example: (umask 077; openssl rand -hex 32 > FILE), owned by the user that runs anomalyd")
    };
    let meta = std::fs::metadata(path).map_err(|error| refuse(error.to_string()))?;
    if meta.permissions().mode() & 0o007 != 0 {
        return Err(refuse("everybody can read or write it".into()));
    }
    let text = std::fs::read(path).map_err(|error| refuse(error.to_string()))?;
    let token = text.trim_ascii();
    if token.len() < LEAST_BYTES || token.iter().any(|byte| !byte.is_ascii_graphic()) {
        return Err(refuse(format!("not a token: one word of at least {LEAST_BYTES} printable characters")));
    }
    Ok(blake3::hash(token))
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;

    use super::*;

    #[test]
    fn only_the_token_is_admitted_and_a_new_one_after_a_reload() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        let write = |text: &str, mode: u32| {
            std::fs::write(&path, text).unwrap();
            std::fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        };
        write("a-token-of-some-length\n", 0o640);
        let token = Token::read(&path).unwrap();
        assert!(
            token.admits(Some(b"Bearer a-token-of-some-length"))
                && token.admits(Some(b"bearer a-token-of-some-length"))
        );
        for wrong in
            [None, Some(&b"Bearer"[..]), Some(b"Bearer a-token-of-some"), Some(b"Basic a-token-of-some-length")]
        {
            assert!(!token.admits(wrong), "{wrong:?}");
        }
        for (text, mode) in [("a-token-of-some-length", 0o644), ("short", 0o600), ("two words, quite long", 0o600)] {
            write(text, mode);
            assert_eq!(token.reload().unwrap_err().kind, Kind::Settings, "{text}");
            assert!(token.admits(Some(b"Bearer a-token-of-some-length")), "the old one stays");
        }
        write("another-token-entirely", 0o600);
        token.reload().unwrap();
        assert!(token.admits(Some(b"Bearer another-token-entirely")));
        assert!(!token.admits(Some(b"Bearer a-token-of-some-length")));
    }
}
