//! Keys: the only place that spells one.
//!
//! [`FileKey`] and [`ImportKey`] are names inside a tenant, validated when
//! they are made. [`Layout`] is a tenant's folders, and alone turns them into
//! a [`StoreKey`], the full key inside a bucket or a directory. A `StoreKey`
//! therefore always lies inside its tenant's folders.

use std::fmt;

use thiserror::Error;

/// S3 allows 1,024 bytes for a key; what is left is for the tenant's folder.
const MAX_FILE_KEY_BYTES: usize = 768;
/// The longest folder of a tenant, in bytes.
const MAX_FOLDER_BYTES: usize = 255;
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

/// A tenant's folders inside a bucket. Each is empty or ends with a slash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    folder: String,
    thumb_folder: String,
    import_folder: String,
}

impl Layout {
    /// The folders of a tenant that owns `folder` of its bucket (the whole
    /// bucket when it is empty). Thumbnails and imports lie inside it unless
    /// the operator names folders elsewhere, as `redmica_s3` does.
    ///
    /// # Errors
    /// See [`KeyError`]: each folder is held to the rules of a key.
    pub fn new(
        folder: &str,
        thumb_folder: Option<&str>,
        import_folder: Option<&str>,
    ) -> Result<Self, KeyError> {
        let folder = folder_prefix(folder)?;
        let inside = |given: Option<&str>, default: &str| match given {
            Some(given) => match folder_prefix(given)?.as_str() {
                "" => Err(KeyError::EmptySegment),
                prefix => Ok(prefix.to_owned()),
            },
            None => Ok(format!("{folder}{default}")),
        };
        Ok(Self {
            thumb_folder: inside(thumb_folder, "tmp/thumbnails/")?,
            import_folder: inside(import_folder, "tmp/imports/")?,
            folder,
        })
    }

    /// The tenant's folder: empty, or ending with a slash.
    #[must_use]
    pub fn folder(&self) -> &str {
        &self.folder
    }

    /// Where imports are kept: ends with a slash.
    #[must_use]
    pub fn import_folder(&self) -> &str {
        &self.import_folder
    }

    /// The full key of an object.
    ///
    /// # Errors
    /// [`KeyError::Reserved`] when a file would lie among thumbnails or imports.
    pub fn locate(&self, key: &ObjectKey) -> Result<StoreKey, KeyError> {
        match key {
            ObjectKey::File(key) => self.file(key),
            ObjectKey::Import(key) => Ok(self.import(key)),
        }
    }

    /// The full key of an import.
    #[must_use]
    pub fn import(&self, key: &ImportKey) -> StoreKey {
        StoreKey(format!("{}{}", self.import_folder, key.0))
    }

    /// The full key of an attachment.
    ///
    /// # Errors
    /// [`KeyError::Reserved`] when it would lie among thumbnails or imports.
    pub fn file(&self, key: &FileKey) -> Result<StoreKey, KeyError> {
        let full = format!("{}{}", self.folder, key.0);
        match self.reserved_folder_of(&full) {
            Some(_) => Err(KeyError::Reserved),
            None => Ok(StoreKey(full)),
        }
    }

    /// What the full keys of all attachments begin with whose own keys begin
    /// with `prefix`.
    ///
    /// # Errors
    /// See [`KeyError`]; the last segment may be empty or cut short.
    pub fn file_prefix(&self, prefix: &str) -> Result<String, KeyError> {
        if !prefix.is_empty() {
            check_segments(
                prefix.strip_suffix('/').unwrap_or(prefix),
                MAX_FILE_KEY_BYTES,
            )?;
        }
        Ok(format!("{}{prefix}", self.folder))
    }

    /// Turns a full key that a store listed back into an import's name.
    #[must_use]
    pub fn import_of(&self, full: &str) -> Option<ImportKey> {
        ImportKey::parse(full.strip_prefix(&self.import_folder)?).ok()
    }

    /// A key of Kura's own, for trying out what the store can do.
    #[must_use]
    pub fn probe(&self, nonce: &str) -> StoreKey {
        StoreKey(format!("{}tmp/.kura-probe-{nonce}", self.folder))
    }

    /// The reserved folder that `full` lies in, if any: where thumbnails and
    /// imports are kept, and `tmp/` inside the tenant's folder.
    #[must_use]
    pub fn reserved_folder_of(&self, full: &str) -> Option<String> {
        let own = format!("{}tmp/", self.folder);
        [own, self.thumb_folder.clone(), self.import_folder.clone()]
            .into_iter()
            .find(|folder| !folder.is_empty() && full.starts_with(folder))
    }

    /// Turns a full key that a store listed back into the tenant's own;
    /// `None` when it is no attachment's.
    #[must_use]
    pub fn file_of(&self, full: &str) -> Option<FileKey> {
        if self.reserved_folder_of(full).is_some() {
            return None;
        }
        FileKey::parse(full.strip_prefix(&self.folder)?).ok()
    }

    /// The folders for thumbnails and imports that lie outside the tenant's
    /// own, and that other tenants may use as well.
    pub fn shared_folders(&self) -> impl Iterator<Item = &str> {
        [self.thumb_folder.as_str(), self.import_folder.as_str()]
            .into_iter()
            .filter(|folder| !folder.starts_with(&self.folder))
    }
}

fn folder_prefix(text: &str) -> Result<String, KeyError> {
    let text = text.strip_suffix('/').unwrap_or(text);
    if text.is_empty() {
        return Ok(String::new());
    }
    check_segments(text, MAX_FOLDER_BYTES)?;
    Ok(format!("{text}/"))
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
