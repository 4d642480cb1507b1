//! The names of thumbnails. Redmine names one by what it is of, so that files
//! with the same bytes share it, and by its size.

use std::fmt;

use super::KeyError;
use crate::digest::FileDigest;

/// Redmine asks for thumbnails of multiples of so many pixels a side.
const SIDE_STEP: u32 = 50;
/// The largest that Redmine asks for.
const MAX_SIDE: u32 = 800;
/// What the names of thumbnails end with.
const EXTENSION: &str = ".thumb";

/// What a thumbnail is of: bytes, known by their digest and their number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Original {
    /// Their digest, as Redmine's database has it.
    pub digest: FileDigest,
    /// How many there are.
    pub size_bytes: u64,
}

impl Original {
    /// Reads `{digest}_{filesize}`.
    ///
    /// # Errors
    /// [`KeyError::NotThumbnail`] for anything else.
    pub fn parse(text: &str) -> Result<Self, KeyError> {
        let parsed = text.split_once('_').and_then(|(digest, size)| {
            Some(Self {
                digest: digest.parse().ok()?,
                size_bytes: number(size)?,
            })
        });
        parsed.ok_or(KeyError::NotThumbnail)
    }

    /// Its thumbnails of all sizes.
    pub fn thumbnails(self) -> impl Iterator<Item = ThumbKey> {
        (SIDE_STEP..=MAX_SIDE)
            .step_by(SIDE_STEP as usize)
            .map(move |side| ThumbKey {
                original: self,
                side,
            })
    }
}

impl fmt::Display for Original {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}_{}", self.digest, self.size_bytes)
    }
}

/// The key of a thumbnail inside its tenant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ThumbKey {
    original: Original,
    side: u32,
}

impl ThumbKey {
    /// Reads `{digest}_{filesize}_{size}.thumb`.
    ///
    /// # Errors
    /// [`KeyError::NotThumbnail`] for anything else, and for a size that
    /// Redmine does not ask for.
    pub fn parse(text: &str) -> Result<Self, KeyError> {
        let (original, side) = text
            .strip_suffix(EXTENSION)
            .and_then(|stem| stem.rsplit_once('_'))
            .ok_or(KeyError::NotThumbnail)?;
        let side = number(side).and_then(|side| u32::try_from(side).ok());
        Self::new(
            Original::parse(original)?,
            side.ok_or(KeyError::NotThumbnail)?,
        )
    }

    /// The thumbnail of so many pixels a side.
    ///
    /// # Errors
    /// [`KeyError::NotThumbnail`] for a size that Redmine does not ask for.
    pub fn new(original: Original, side: u32) -> Result<Self, KeyError> {
        if (SIDE_STEP..=MAX_SIDE).contains(&side) && side.is_multiple_of(SIDE_STEP) {
            Ok(Self { original, side })
        } else {
            Err(KeyError::NotThumbnail)
        }
    }

    /// What it is of.
    #[must_use]
    pub fn original(&self) -> Original {
        self.original
    }

    /// It fits into a square of so many pixels a side.
    #[must_use]
    pub fn side(&self) -> u32 {
        self.side
    }

    /// Which of the sizes it has: 0 for the smallest, 15 for the largest.
    #[must_use]
    pub fn rank(&self) -> u8 {
        u8::try_from(self.side / SIDE_STEP - 1).unwrap_or(u8::MAX)
    }
}

impl fmt::Display for ThumbKey {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}_{}{EXTENSION}", self.original, self.side)
    }
}

/// Reads a number as Redmine writes it: of all spellings only one is a key.
fn number(text: &str) -> Option<u64> {
    let plain = text == "0" || !text.starts_with(['0', '+']);
    text.parse().ok().filter(|_| plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MD5: &str = "d41d8cd98f00b204e9800998ecf8427e";
    const SHA256: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    #[test]
    fn names_of_thumbnails_read_back() {
        for digest in [MD5, SHA256] {
            for (size, side) in [("0", 50), ("1", 100), ("18446744073709551615", 800)] {
                let name = format!("{digest}_{size}_{side}.thumb");
                let key = ThumbKey::parse(&name).unwrap();
                assert_eq!(key.to_string(), name);
                assert_eq!(key.side(), side);
                assert_eq!(key.original().to_string(), format!("{digest}_{size}"));
            }
        }
    }

    #[test]
    fn anything_else_is_refused() {
        for name in [
            "",
            ".thumb",
            "_.thumb",
            "__.thumb",
            &format!("{MD5}_1_100"),
            &format!("{MD5}_1_100.thumb/"),
            &format!("{MD5}_1_.thumb"),
            &format!("{MD5}__100.thumb"),
            &format!("{MD5}_1_0.thumb"),
            &format!("{MD5}_1_75.thumb"),
            &format!("{MD5}_1_850.thumb"),
            &format!("{MD5}_1_0100.thumb"),
            &format!("{MD5}_01_100.thumb"),
            &format!("{MD5}_+1_100.thumb"),
            &format!("{MD5}_-1_100.thumb"),
            &format!("{MD5}_18446744073709551616_100.thumb"),
            &format!("{MD5}_1_4294967396.thumb"),
            &format!("{}_1_100.thumb", MD5.to_uppercase()),
            &format!("{}_1_100.thumb", SHA256.to_uppercase()),
            &format!("{}_1_100.thumb", &SHA256[1..]),
            &format!("../{MD5}_1_100.thumb"),
        ] {
            assert_eq!(ThumbKey::parse(name), Err(KeyError::NotThumbnail), "{name}");
        }
    }

    #[test]
    fn an_original_has_a_thumbnail_of_each_size() {
        let original = Original::parse(&format!("{MD5}_1")).unwrap();
        let all: Vec<_> = original.thumbnails().collect();
        assert_eq!(all.len(), 16);
        for (rank, key) in (0..).zip(all) {
            assert_eq!(key.rank(), rank);
            assert_eq!(ThumbKey::parse(&key.to_string()), Ok(key));
        }
    }
}
