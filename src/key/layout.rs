//! A tenant's folders, and the full keys of what lies in them. Whatever is
//! spelled here lies in one of those folders.

use super::{
    FileKey, ImportKey, KeyError, MAX_FILE_KEY_BYTES, ObjectKey, Original, StoreKey, ThumbKey,
    check_segments,
};

/// The longest folder of a tenant, in bytes.
const MAX_FOLDER_BYTES: usize = 255;
/// What the names of trial objects begin with.
const PROBE: &str = "tmp/.kura-probe-";

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

    /// Where thumbnails are kept: ends with a slash.
    #[must_use]
    pub fn thumb_folder(&self) -> &str {
        &self.thumb_folder
    }

    /// True when all thumbnails of [`Layout::thumb_folder`] are the tenant's own.
    #[must_use]
    pub fn owns_thumb_folder(&self) -> bool {
        self.thumb_folder.starts_with(&self.folder)
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
            ObjectKey::Thumbnail(key) => Ok(self.thumbnail(key)),
            ObjectKey::Import(key) => Ok(self.import(key)),
        }
    }

    /// The full key of a thumbnail.
    #[must_use]
    pub fn thumbnail(&self, key: &ThumbKey) -> StoreKey {
        StoreKey(format!("{}{key}", self.thumb_folder))
    }

    /// What the full keys of all thumbnails of a file begin with.
    #[must_use]
    pub fn thumbnails_of(&self, original: &Original) -> String {
        format!("{}{original}_", self.thumb_folder)
    }

    /// Turns a full key that a store listed back into a thumbnail's.
    #[must_use]
    pub fn thumbnail_of(&self, full: &str) -> Option<ThumbKey> {
        ThumbKey::parse(full.strip_prefix(&self.thumb_folder)?).ok()
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
        StoreKey(format!("{}{PROBE}{nonce}", self.folder))
    }

    /// True for the full key of one of those.
    #[must_use]
    pub fn is_probe(&self, full: &str) -> bool {
        let name = full.strip_prefix(&self.folder);
        name.is_some_and(|name| name.starts_with(PROBE))
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
