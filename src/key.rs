//! Keys: the only place that spells one.
//!
//! [`FileKey`], [`ThumbKey`] and [`ImportKey`] are names inside a tenant,
//! validated when they are made. [`Layout`] is a tenant's folders, and alone
//! turns them into a [`StoreKey`], the full key inside a bucket or a directory.
//! A `StoreKey` therefore always lies inside its tenant's folders.

mod kind;
mod layout;
mod thumb;

use std::fmt;

use thiserror::Error;

pub use self::kind::Kind;
pub use self::layout::Layout;
pub use self::thumb::{Original, ThumbKey};

/// S3 allows 1,024 bytes for a key; what is left is for the tenant's folder.
const MAX_FILE_KEY_BYTES: usize = 768;
/// The longest name that Linux file systems take.
const MAX_SEGMENT_BYTES: usize = 255;
/// What a wanted name is kept shorter by, so that any name near it fits, too.
const ROOM_FOR_SUCCESSORS: usize = 25;

/// Why a key was refused. Each text is fit for the caller to read.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum KeyError {
    /// The key, or a segment between two slashes, is empty.
    #[error("the key has an empty segment")]
    EmptySegment,
    /// A segment is `.` or `..`.
    #[error("the key has a `.` or `..` segment")]
    DotSegment,
    /// A control character (NUL included) or a backslash.
    #[error("the key has a control character or a backslash")]
    ForbiddenCharacter,
    /// A segment over 255 bytes, or a key over 768.
    #[error("the key is too long (a segment may have 255 bytes, all of it 768)")]
    TooLong,
    /// The key lies where the tenant's thumbnails or imports are kept.
    #[error("the key lies in a folder kept for thumbnails or imports")]
    Reserved,
    /// An import is not named by 16 to 64 hex digits.
    #[error("an import is named by 16 to 64 hex digits")]
    NotHex,
    /// A thumbnail, or the file that it is of, is not named as Redmine does.
    #[error(
        "a thumbnail is named {{digest}}_{{filesize}}_{{size}}.thumb, with a lower-case SHA-256 or MD5 and a size that is a multiple of 50 up to 800; the file that it is of, {{digest}}_{{filesize}}"
    )]
    NotThumbnail,
}

fn check_segments(text: &str, max_bytes: usize) -> Result<(), KeyError> {
    if text.len() > max_bytes {
        return Err(KeyError::TooLong);
    }
    for segment in text.split('/') {
        match segment {
            "" => return Err(KeyError::EmptySegment),
            "." | ".." => return Err(KeyError::DotSegment),
            _ if segment.len() > MAX_SEGMENT_BYTES => return Err(KeyError::TooLong),
            _ if segment.chars().any(|c| c.is_control() || c == '\\') => {
                return Err(KeyError::ForbiddenCharacter);
            }
            _ => {}
        }
    }
    Ok(())
}

/// The key of an attachment inside its tenant: `{disk_directory}/{disk_filename}`,
/// or only `{disk_filename}` for attachments of old Redmines.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FileKey(String);

impl FileKey {
    /// Validates a key as Redmine's database spells it.
    ///
    /// # Errors
    /// See [`KeyError`].
    pub fn parse(text: &str) -> Result<Self, KeyError> {
        check_segments(text, MAX_FILE_KEY_BYTES)?;
        Ok(Self(text.to_owned()))
    }

    /// Joins a `disk_directory` (may be empty) and a wanted `disk_filename`,
    /// which may have 230 bytes: it may have to grow.
    ///
    /// # Errors
    /// See [`KeyError`].
    pub fn join(directory: &str, name: &str) -> Result<Self, KeyError> {
        if name.contains('/') {
            return Err(KeyError::ForbiddenCharacter);
        }
        let key = match directory {
            "" => Self::parse(name),
            _ => Self::parse(&format!("{directory}/{name}")),
        }?;
        let fits = name.len() <= MAX_SEGMENT_BYTES - ROOM_FOR_SUCCESSORS
            && key.0.len() <= MAX_FILE_KEY_BYTES - ROOM_FOR_SUCCESSORS;
        if fits {
            Ok(key)
        } else {
            Err(KeyError::TooLong)
        }
    }

    /// The text, as Redmine's database spells it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Redmine's `disk_directory`; `None` for a root-level name.
    #[must_use]
    pub fn directory(&self) -> Option<&str> {
        self.0.rsplit_once('/').map(|(directory, _)| directory)
    }

    /// Redmine's `disk_filename`.
    #[must_use]
    pub fn name(&self) -> &str {
        last_segment(&self.0)
    }
}

impl fmt::Display for FileKey {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

/// The name of a CSV file being imported: Redmine's random hex string.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ImportKey(String);

impl ImportKey {
    /// Validates an import's name.
    ///
    /// # Errors
    /// [`KeyError::NotHex`] for anything but 16 to 64 lower-case hex digits.
    pub fn parse(text: &str) -> Result<Self, KeyError> {
        let hex = |c: u8| c.is_ascii_digit() || (b'a'..=b'f').contains(&c);
        if !(16..=64).contains(&text.len()) || !text.bytes().all(hex) {
            return Err(KeyError::NotHex);
        }
        Ok(Self(text.to_owned()))
    }
}

/// What a tenant keeps, by kind.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ObjectKey {
    /// An attachment.
    File(FileKey),
    /// A thumbnail of one.
    Thumbnail(ThumbKey),
    /// A CSV file being imported.
    Import(ImportKey),
}

/// A key inside a bucket or a store's directory, made only by a [`Layout`].
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StoreKey(String);

impl StoreKey {
    /// The whole key.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The `n`-th name to try when this one is taken; the 0th is itself.
    ///
    /// Redmine's own rule (`Attachment.create_diskfile`): the number that the
    /// name begins with, which is its timestamp, is counted up. A name that
    /// begins with none gets `n_` before it.
    #[must_use]
    pub fn successor(&self, n: u64) -> Self {
        if n == 0 {
            return self.clone();
        }
        let (folder, name) = self.split();
        let digits = name.bytes().take_while(u8::is_ascii_digit).count();
        let (number, rest) = name.split_at(digits);
        Self(match number.parse::<u128>() {
            Ok(value) if digits <= 32 => {
                format!("{folder}{:0digits$}{rest}", value + u128::from(n))
            }
            _ => format!("{folder}{n}_{name}"),
        })
    }

    /// The same name made unique by `nonce`, placed behind the timestamp so
    /// that names still sort by time: for stores that cannot tell whether a
    /// name is taken.
    #[must_use]
    pub fn with_nonce(&self, nonce: &str) -> Self {
        let (folder, name) = self.split();
        let digits = name.bytes().take_while(u8::is_ascii_digit).count();
        match name.split_at(digits) {
            (number, rest) if digits > 0 && rest.starts_with('_') => {
                Self(format!("{folder}{number}_{nonce}{rest}"))
            }
            _ => Self(format!("{folder}{nonce}_{name}")),
        }
    }

    fn split(&self) -> (&str, &str) {
        self.0.split_at(self.0.len() - last_segment(&self.0).len())
    }
}

impl fmt::Display for StoreKey {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

fn last_segment(text: &str) -> &str {
    text.rsplit_once('/').map_or(text, |(_, name)| name)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn layout() -> Layout {
        Layout::new("user001", None, None).unwrap()
    }

    fn stored(text: &str) -> StoreKey {
        layout().file(&FileKey::parse(text).unwrap()).unwrap()
    }

    #[test]
    fn odd_keys_are_refused() {
        for (text, error) in [
            ("", KeyError::EmptySegment),
            ("/etc/passwd", KeyError::EmptySegment),
            ("a//b", KeyError::EmptySegment),
            ("a/", KeyError::EmptySegment),
            ("..", KeyError::DotSegment),
            ("2026/../../other/x", KeyError::DotSegment),
            ("./x", KeyError::DotSegment),
            ("a\0b", KeyError::ForbiddenCharacter),
            ("a\\b", KeyError::ForbiddenCharacter),
            ("a\nb", KeyError::ForbiddenCharacter),
            (&"x".repeat(256), KeyError::TooLong),
            (&"x/".repeat(400), KeyError::TooLong),
        ] {
            assert_eq!(FileKey::parse(text), Err(error), "{text:?}");
        }
    }

    #[test]
    fn successor_counts_the_timestamp_up_as_redmine_does() {
        let key = stored("2026/11/261122194559_a.pdf");
        assert_eq!(key.successor(0), key);
        assert_eq!(
            key.successor(1).as_str(),
            "user001/2026/11/261122194560_a.pdf"
        );
        assert_eq!(stored("099_a").successor(2).as_str(), "user001/101_a");
        assert_eq!(stored("a.pdf").successor(2).as_str(), "user001/2_a.pdf");
    }

    #[test]
    fn nonce_goes_behind_the_timestamp() {
        let key = stored("2026/11/261122194501_a.pdf");
        assert_eq!(
            key.with_nonce("ff").as_str(),
            "user001/2026/11/261122194501_ff_a.pdf"
        );
        assert_eq!(
            stored("a.pdf").with_nonce("ff").as_str(),
            "user001/ff_a.pdf"
        );
    }

    #[test]
    fn thumbnails_lie_in_their_folder_wherever_that_is() {
        let name = "900150983cd24fb0d6963f7d28e17f72_3_100.thumb";
        let key = ThumbKey::parse(name).unwrap();
        for (layout, folder, own) in [
            (layout(), "user001/tmp/thumbnails/", true),
            (
                Layout::new("", None, None).unwrap(),
                "tmp/thumbnails/",
                true,
            ),
            (
                Layout::new("user001", Some("tmp"), None).unwrap(),
                "tmp/",
                false,
            ),
        ] {
            let full = layout.thumbnail(&key);
            assert_eq!(full.as_str(), format!("{folder}{name}"));
            assert_eq!(layout.thumbnail_of(full.as_str()), Some(key));
            assert!(
                full.as_str()
                    .starts_with(&layout.thumbnails_of(&key.original()))
            );
            assert_eq!(layout.owns_thumb_folder(), own);
            assert_eq!(layout.thumbnail_of(name), None);
        }
    }

    #[test]
    fn files_cannot_be_put_among_imports_or_thumbnails() {
        let key = FileKey::parse("tmp/imports/0123").unwrap();
        assert_eq!(layout().file(&key), Err(KeyError::Reserved));
        let old = Layout::new("", Some("tmp"), Some("imp")).unwrap();
        assert_eq!(
            old.file(&FileKey::parse("imp/x").unwrap()),
            Err(KeyError::Reserved)
        );
    }

    proptest! {
        #[test]
        fn every_accepted_key_stays_in_the_folder_and_reads_back(text in "[a-z./ %\\\\é]{1,20}") {
            if let Ok(key) = FileKey::parse(&text)
                && let Ok(full) = layout().file(&key)
            {
                prop_assert!(full.as_str().starts_with("user001/"));
                prop_assert!(full.as_str().split('/').all(|s| !s.is_empty() && s != ".." && s != "."));
                prop_assert_eq!(layout().file_of(full.as_str()), Some(key));
            }
        }

        #[test]
        fn successors_differ_and_keep_the_rest_of_the_name(n in 1u64..1000, m in 1001u64..2000) {
            let key = stored("2026/11/261122194559_a.pdf");
            prop_assert_ne!(key.successor(n), key.successor(m));
            prop_assert!(key.successor(n).as_str().ends_with("_a.pdf"));
        }
    }
}
