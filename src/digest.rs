//! SHA-256 digests: the identity of a file's bytes in Redmine's database, in
//! the `digest` metadata of an object and in the `ETag` of a local file; and
//! the MD5 that old rows of the database still have in their place.

use std::fmt;
use std::str::FromStr;

use md5::Md5;
use sha2::{Digest as _, Sha256};
use thiserror::Error;

/// A SHA-256 digest, written as 64 lower-case hex digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Digest([u8; 32]);

/// The text is not 64 hex digits.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("a SHA-256 digest is 64 hex digits")]
pub struct InvalidDigest;

impl Digest {
    /// The digest of bytes that are already in memory.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        let mut hasher = Hasher::default();
        hasher.update(bytes);
        hasher.finish()
    }

    /// The 32 raw bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(&self.0, out)
    }
}

/// Writes up to 32 bytes.
fn write_hex(bytes: &[u8], out: &mut fmt::Formatter<'_>) -> fmt::Result {
    let mut digits = [0; 64];
    let digits = base16ct::lower::encode_str(bytes, &mut digits);
    out.write_str(digits.map_err(|_| fmt::Error)?)
}

impl fmt::Debug for Digest {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, out)
    }
}

impl FromStr for Digest {
    type Err = InvalidDigest;

    fn from_str(text: &str) -> Result<Self, InvalidDigest> {
        read_hex(text).map(Self).ok_or(InvalidDigest)
    }
}

/// Reads exactly `N` bytes; `None` for anything else.
fn read_hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    let decoded = base16ct::mixed::decode(text, &mut bytes).ok()?;
    (decoded.len() == N).then_some(bytes)
}

/// Computes a [`Digest`] from bytes as they pass by.
#[derive(Clone, Default)]
pub struct Hasher(Sha256);

impl Hasher {
    /// Takes the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The digest of all bytes taken.
    #[must_use]
    pub fn finish(self) -> Digest {
        Digest(self.0.finalize().into())
    }
}

/// The digest of a file as Redmine's database has it: lower-case hex digits,
/// 64 of a SHA-256 or 32 of an old row's MD5.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub enum FileDigest {
    /// Of files stored by a Redmine of today.
    Sha256(Digest),
    /// Of files stored long ago. It tells files apart that nobody has forged.
    Md5([u8; 16]),
}

/// The text is no digest of Redmine's.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("a digest is 64 or 32 lower-case hex digits")]
pub struct InvalidFileDigest;

impl FileDigest {
    /// What computes a digest of the same kind.
    #[must_use]
    pub fn hasher(&self) -> FileHasher {
        match self {
            Self::Sha256(_) => FileHasher::Sha256(Hasher::default()),
            Self::Md5(_) => FileHasher::Md5(Md5::default()),
        }
    }
}

impl fmt::Display for FileDigest {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sha256(digest) => fmt::Display::fmt(digest, out),
            Self::Md5(bytes) => write_hex(bytes, out),
        }
    }
}

impl fmt::Debug for FileDigest {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, out)
    }
}

impl FromStr for FileDigest {
    type Err = InvalidFileDigest;

    fn from_str(text: &str) -> Result<Self, InvalidFileDigest> {
        if text.bytes().any(|c| c.is_ascii_uppercase()) {
            return Err(InvalidFileDigest);
        }
        let sha256 = read_hex(text).map(|bytes| Self::Sha256(Digest(bytes)));
        let digest = sha256.or_else(|| read_hex(text).map(Self::Md5));
        digest.ok_or(InvalidFileDigest)
    }
}

/// Computes a [`FileDigest`] from bytes as they pass by.
#[derive(Clone)]
pub enum FileHasher {
    /// A SHA-256.
    Sha256(Hasher),
    /// An MD5.
    Md5(Md5),
}

impl FileHasher {
    /// Takes the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Sha256(hasher) => hasher.update(bytes),
            Self::Md5(hasher) => hasher.update(bytes),
        }
    }

    /// The digest of all bytes taken.
    #[must_use]
    pub fn finish(self) -> FileDigest {
        match self {
            Self::Sha256(hasher) => FileDigest::Sha256(hasher.finish()),
            Self::Md5(hasher) => FileDigest::Md5(hasher.finalize().into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digest_is_written_as_redmine_writes_it_and_read_back() {
        let digest = Digest::of(b"abc");
        let text = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(digest.to_string(), text);
        assert_eq!(text.to_uppercase().parse(), Ok(digest));
    }

    #[test]
    fn anything_else_is_refused() {
        for text in [
            "",
            "ba78",
            &"+1".repeat(32),
            &"é".repeat(32),
            &"0".repeat(65),
        ] {
            assert_eq!(text.parse::<Digest>(), Err(InvalidDigest), "{text}");
        }
    }

    #[test]
    fn digest_of_a_file_is_computed_in_the_kind_that_the_database_has() {
        for text in [
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
            "900150983cd24fb0d6963f7d28e17f72",
        ] {
            let digest: FileDigest = text.parse().unwrap();
            assert_eq!(digest.to_string(), text);
            let mut hasher = digest.hasher();
            hasher.update(b"a");
            hasher.update(b"bc");
            assert_eq!(hasher.finish(), digest);
            let shouted = text.to_uppercase().parse::<FileDigest>();
            assert_eq!(shouted, Err(InvalidFileDigest));
        }
    }
}
