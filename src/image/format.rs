//! What a file is, by its first bytes; names and extensions are not looked at.

/// A format that is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Portable Network Graphics.
    Png,
    /// JPEG, baseline and progressive.
    Jpeg,
    /// TIFF and BigTIFF.
    Tiff,
    /// Flexible Image Transport System.
    Fits,
    /// NumPy array.
    Npy,
    /// The format of MNIST.
    Idx,
}

impl Format {
    /// Recognises the content.
    pub(super) fn of(bytes: &[u8]) -> Option<Self> {
        match bytes {
            [0x89, b'P', b'N', b'G', b'\r', b'\n', 0x1A, b'\n', ..] => Some(Self::Png),
            [0xFF, 0xD8, 0xFF, ..] => Some(Self::Jpeg),
            [b'I', b'I', 42 | 43, 0, ..] | [b'M', b'M', 0, 42 | 43, ..] => Some(Self::Tiff),
            [0x93, b'N', b'U', b'M', b'P', b'Y', ..] => Some(Self::Npy),
            [0, 0, 0x08 | 0x09 | 0x0B..=0x0E, 1..=8, ..] => Some(Self::Idx),
            _ if bytes.starts_with(b"SIMPLE  =") => Some(Self::Fits),
            _ => None,
        }
    }

    /// The word in reports and in `inspect --json`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Png => "png",
            Self::Jpeg => "jpeg",
            Self::Tiff => "tiff",
            Self::Fits => "fits",
            Self::Npy => "npy",
            Self::Idx => "idx",
        }
    }
}
