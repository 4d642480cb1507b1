//! A tenant's view of a store: it takes the tenant's own keys, so that no
//! caller can name another tenant's object.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use futures_util::{StreamExt, TryStreamExt, stream};
use thiserror::Error;

use super::{
    BlobStore, Entry, GetOptions, Object, ObjectInfo, Payload, PutMode, PutRequest, StoreError,
};
use crate::digest::Digest;
use crate::key::{FileKey, ImportKey, KeyError, Layout, ObjectKey, Original, StoreKey, ThumbKey};

/// How many objects a listing looks at more closely at once.
const PARALLEL_HEADS: usize = 16;
/// How many objects are looked at by one request when some are removed.
const ENTRIES_A_PAGE: usize = 1000;
/// How many are removed at once.
const PARALLEL_DELETES: usize = 16;

/// Why a tenant's store did not do what it was asked.
#[derive(Clone, Debug, Error)]
pub enum TenantStoreError {
    /// The key cannot be one of the tenant's.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The store's answer.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// One tenant's objects.
#[derive(Clone, Debug)]
pub struct TenantStore {
    store: Arc<dyn BlobStore>,
    layout: Layout,
    import_ttl: Duration,
}

/// What is kept with an upload and expected of it.
#[derive(Clone, Debug, Default)]
pub struct UploadHeaders {
    /// The media type.
    pub content_type: Option<String>,
    /// The original file name, not encoded.
    pub file_name: Option<String>,
    /// The SHA-256 that the payload must have.
    pub expected_digest: Option<Digest>,
}

/// A stored upload, by the tenant's own key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredFile {
    /// Its key.
    pub key: FileKey,
    /// Its size.
    pub size_bytes: u64,
    /// The SHA-256 of its bytes.
    pub digest: Digest,
}

/// A listed attachment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileEntry {
    /// Its key.
    pub key: FileKey,
    /// Its size.
    pub size_bytes: u64,
    /// When it was stored.
    pub modified: SystemTime,
    /// Its SHA-256, where it is kept and was asked for.
    pub digest: Option<Digest>,
}

/// Which attachments are to be listed.
#[derive(Clone, Debug)]
pub struct Listing {
    /// What their keys begin with.
    pub prefix: String,
    /// Behind this one.
    pub after: Option<FileKey>,
    /// So many at most.
    pub limit: usize,
    /// With their digests, even if each costs a request.
    pub digests: bool,
}

impl TenantStore {
    /// The part of `store` that `layout` describes. Imports older than
    /// `import_ttl` are taken not to be there.
    #[must_use]
    pub fn new(store: Arc<dyn BlobStore>, layout: Layout, import_ttl: Duration) -> Self {
        Self {
            store,
            layout,
            import_ttl,
        }
    }

    /// Stores an attachment; its key may be another when `mode` allows it.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn put_file(
        &self,
        key: &FileKey,
        mode: PutMode,
        headers: UploadHeaders,
        payload: Payload,
    ) -> Result<StoredFile, TenantStoreError> {
        let request = PutRequest {
            key: self.layout.file(key)?,
            mode,
            content_type: headers.content_type,
            file_name: headers.file_name,
            expected_digest: headers.expected_digest,
        };
        let stored = self.store.put(request, payload).await?;
        Ok(StoredFile {
            key: self
                .layout
                .file_of(stored.key.as_str())
                .ok_or(KeyError::TooLong)?,
            size_bytes: stored.size_bytes,
            digest: stored.digest,
        })
    }

    /// Stores an import, in place of one of the same name.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn put_import(
        &self,
        key: &ImportKey,
        headers: UploadHeaders,
        payload: Payload,
    ) -> Result<(u64, Digest), TenantStoreError> {
        let request = PutRequest {
            content_type: headers.content_type,
            file_name: headers.file_name,
            expected_digest: headers.expected_digest,
            ..PutRequest::new(self.layout.import(key), PutMode::Overwrite)
        };
        let stored = self.store.put(request, payload).await?;
        Ok((stored.size_bytes, stored.digest))
    }

    /// Stores a thumbnail, in place of one of the same name.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn put_thumbnail(
        &self,
        key: &ThumbKey,
        content_type: &str,
        payload: Payload,
    ) -> Result<(), StoreError> {
        let request = PutRequest {
            content_type: Some(content_type.to_owned()),
            ..PutRequest::new(self.layout.thumbnail(key), PutMode::Overwrite)
        };
        self.store.put(request, payload).await.map(|_| ())
    }

    /// True when all thumbnails in their folder are the tenant's own.
    #[must_use]
    pub fn owns_thumbnails(&self) -> bool {
        self.layout.owns_thumb_folder()
    }

    /// Removes the thumbnails of an original. In a folder that several tenants
    /// use they are those of all who have the same file.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn delete_thumbnails_of(&self, original: &Original) -> Result<(), TenantStoreError> {
        let prefix = self.layout.thumbnails_of(original);
        self.store.delete_prefix(&prefix).await?;
        Ok(())
    }

    /// Removes all thumbnails, and nothing else that their folder may have.
    /// False, and nothing is removed, when other tenants may use the folder.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn delete_thumbnails(&self) -> Result<bool, TenantStoreError> {
        if !self.owns_thumbnails() {
            return Ok(false);
        }
        let folder = self.layout.thumb_folder();
        let chosen = |entry: &Entry| {
            let key = self.layout.thumbnail_of(&entry.key)?;
            Some(self.layout.thumbnail(&key))
        };
        let delete = |key| async move { self.store.delete(&key).await.map(|()| true) };
        self.delete_chosen(folder, chosen, delete).await?;
        Ok(true)
    }

    /// Opens an object for reading.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn get(
        &self,
        key: &ObjectKey,
        options: GetOptions,
    ) -> Result<Object, TenantStoreError> {
        let object = self.store.get(&self.layout.locate(key)?, options).await?;
        self.check_age(key, &object.info)?;
        Ok(object)
    }

    /// Describes an object.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn head(&self, key: &ObjectKey) -> Result<ObjectInfo, TenantStoreError> {
        let info = self.store.head(&self.layout.locate(key)?).await?;
        self.check_age(key, &info)?;
        Ok(info)
    }

    fn check_age(&self, key: &ObjectKey, info: &ObjectInfo) -> Result<(), StoreError> {
        match key {
            ObjectKey::Import(_) if self.is_expired(info.modified) => Err(StoreError::NotFound),
            _ => Ok(()),
        }
    }

    fn is_expired(&self, modified: SystemTime) -> bool {
        modified.elapsed().is_ok_and(|age| age > self.import_ttl)
    }

    /// Removes an object, if it is there.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn delete(&self, key: &ObjectKey) -> Result<(), TenantStoreError> {
        Ok(self.store.delete(&self.layout.locate(key)?).await?)
    }

    /// Moves an attachment to a key that must be free.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn rename(&self, from: &FileKey, to: &FileKey) -> Result<(), TenantStoreError> {
        let (from, to) = (self.layout.file(from)?, self.layout.file(to)?);
        Ok(self.store.rename(&from, &to).await?)
    }

    /// One page of attachments, and the key to go on behind, if there are more.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn list(
        &self,
        listing: &Listing,
    ) -> Result<(Vec<FileEntry>, Option<FileKey>), TenantStoreError> {
        let prefix = self.layout.file_prefix(&listing.prefix)?;
        let mut after = match &listing.after {
            Some(key) => Some(self.layout.file(key)?.as_str().to_owned()),
            None => None,
        };
        let mut files = Vec::new();
        let more = loop {
            let wanted = listing.limit - files.len();
            let page = self.store.list(&prefix, after.as_deref(), wanted).await?;
            let Some(last) = page.entries.last().map(|entry| entry.key.clone()) else {
                break page.more && !files.is_empty();
            };
            // What is kept for thumbnails and imports can be large: it is
            // stepped over as a whole.
            after = Some(match self.layout.reserved_folder_of(&last) {
                Some(folder) => format!("{folder}\u{10ffff}"),
                None => last,
            });
            files.extend(
                page.entries
                    .into_iter()
                    .filter_map(|entry| self.layout.file_of(&entry.key).map(|key| (key, entry))),
            );
            if !page.more || files.len() >= listing.limit {
                break page.more;
            }
        };
        // The last that was listed, even if it is gone by the time it is
        // looked at more closely.
        let next = files.last().map(|(key, _)| key.clone()).filter(|_| more);
        let files = stream::iter(files)
            .map(|(key, entry)| self.file_entry(key, entry, listing.digests))
            .buffered(PARALLEL_HEADS)
            .try_filter_map(|file| async { Ok(file) })
            .try_collect()
            .await?;
        Ok((files, next))
    }

    async fn file_entry(
        &self,
        key: FileKey,
        entry: Entry,
        with_digest: bool,
    ) -> Result<Option<FileEntry>, TenantStoreError> {
        let digest = match entry.digest {
            None if with_digest => match self.store.head(&self.layout.file(&key)?).await {
                Ok(info) => info.digest,
                // Deleted since it was listed.
                Err(StoreError::NotFound) => return Ok(None),
                Err(error) => return Err(error.into()),
            },
            digest => digest,
        };
        Ok(Some(FileEntry {
            key,
            size_bytes: entry.size_bytes,
            modified: entry.modified,
            digest,
        }))
    }

    /// Removes expired imports, and says how many.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn expire_imports(&self) -> Result<u64, TenantStoreError> {
        let folder = self.layout.import_folder();
        let chosen = |entry: &Entry| {
            // The folder may be one that others use, too.
            let key = self.layout.import_of(&entry.key)?;
            self.is_expired(entry.modified)
                .then(|| self.layout.import(&key))
        };
        let delete = |key| self.delete_expired(key);
        Ok(self.delete_chosen(folder, chosen, delete).await?)
    }

    /// Removes an import unless it has been stored anew since it was listed,
    /// and says whether it did.
    async fn delete_expired(&self, key: StoreKey) -> Result<bool, StoreError> {
        let expired = match self.store.head(&key).await {
            Ok(info) => self.is_expired(info.modified),
            Err(StoreError::NotFound) => false,
            // It was expired when it was listed, and is of no use to anyone.
            Err(StoreError::Corrupt) => true,
            Err(error) => return Err(error),
        };
        if expired {
            self.store.delete(&key).await?;
        }
        Ok(expired)
    }

    /// Removes what is `chosen` of a folder, page by page, by `delete`, which
    /// says whether it did; and says how many that were.
    async fn delete_chosen<D: Future<Output = Result<bool, StoreError>>>(
        &self,
        folder: &str,
        chosen: impl Fn(&Entry) -> Option<StoreKey>,
        delete: impl Fn(StoreKey) -> D,
    ) -> Result<u64, StoreError> {
        let mut removed = 0;
        let mut after: Option<String> = None;
        loop {
            let page = self
                .store
                .list(folder, after.as_deref(), ENTRIES_A_PAGE)
                .await?;
            let keys: Vec<_> = page.entries.iter().filter_map(&chosen).collect();
            removed += stream::iter(keys)
                .map(&delete)
                .buffer_unordered(PARALLEL_DELETES)
                .try_fold(0, async |sum, deleted| Ok(sum + u64::from(deleted)))
                .await?;
            after = page.entries.into_iter().next_back().map(|entry| entry.key);
            if !page.more || after.is_none() {
                return Ok(removed);
            }
        }
    }

    /// Asks the store for a sign of life.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn ping(&self) -> Result<(), StoreError> {
        self.store.ping().await
    }
}
