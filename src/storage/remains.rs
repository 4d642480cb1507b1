//! What a store holds besides the objects that readers see: claims, uploads
//! that were begun, and the versions that a versioned bucket keeps of what has
//! been replaced or deleted. Only the operator's commands ask for them.
//!
//! Keys and prefixes are full ones here. [`Holdings`] puts a tenant's folders
//! in front, and is what the commands use.
//!
//! [`Holdings`]: super::holdings::Holdings

use std::fmt;
use std::time::SystemTime;

use async_trait::async_trait;

use super::{Entry, Page, StoreError};
use crate::key::StoreKey;

/// How many versions one [`Remains::erase`] takes at most.
pub const MAX_ERASED: usize = 1000;

/// What the operator's commands ask of a store, beyond [`BlobStore`].
///
/// [`BlobStore`]: super::BlobStore
#[async_trait]
pub trait Remains: fmt::Debug + Send + Sync + 'static {
    /// One page of objects behind `after`, claims among them: one request,
    /// whatever it finds.
    async fn list_all(&self, prefix: &str, after: Option<&str>) -> Result<Page, StoreError>;

    /// The `ETag` of the claim that has this key; `None` when there is an
    /// object, or nothing.
    async fn claim(&self, entry: &Entry) -> Result<Option<String>, StoreError>;

    /// Removes a claim, unless something else has the key by now.
    async fn release(&self, key: &StoreKey, etag: &str) -> Result<(), StoreError>;

    /// One page of all versions behind `after`; one request. Where nothing
    /// keeps versions they are the objects.
    async fn versions(
        &self,
        prefix: &str,
        after: Option<&VersionMark>,
    ) -> Result<VersionPage, StoreError>;

    /// Removes versions for good, [`MAX_ERASED`] at most, with one request;
    /// `Ok` also for those that are gone. A version without an id is the
    /// object, of which a versioned bucket then keeps a version.
    async fn erase(&self, versions: &[Version]) -> Result<(), StoreError>;

    /// One page of the uploads of several parts that are neither completed
    /// nor aborted; one request.
    async fn uploads(&self, prefix: &str, after: Option<&Upload>)
    -> Result<UploadPage, StoreError>;

    /// Gives an upload up, with all parts that were sent.
    async fn abort(&self, upload: &Upload) -> Result<(), StoreError>;
}

/// What a version is to readers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VersionKind {
    /// The object that they see.
    Current,
    /// What they saw before.
    Old,
    /// That there is nothing any more.
    DeleteMarker,
}

/// One version of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    /// Its full key.
    pub key: String,
    /// Its id, where the store has any.
    pub id: Option<String>,
    /// What it is.
    pub kind: VersionKind,
    /// Its size; 0 for a delete marker.
    pub size_bytes: u64,
}

impl Version {
    /// The object that readers see under a key, whatever its version.
    #[must_use]
    pub fn current(key: String, size_bytes: u64) -> Self {
        Self {
            key,
            id: None,
            kind: VersionKind::Current,
            size_bytes,
        }
    }
}

/// Where a page of versions ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VersionMark {
    /// The full key of the last one.
    pub key: String,
    /// Its id, where the store has any.
    pub id: Option<String>,
}

/// One page of versions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VersionPage {
    /// The versions, in the order of their keys.
    pub versions: Vec<Version>,
    /// What the next page is behind; `None` at the end.
    pub next: Option<VersionMark>,
}

/// An upload of several parts that was begun.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upload {
    /// The full key that it would have.
    pub key: String,
    /// Its id.
    pub id: String,
    /// When it was begun.
    pub begun: SystemTime,
}

/// One page of uploads.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UploadPage {
    /// The uploads, in the order of their keys.
    pub uploads: Vec<Upload>,
    /// True when there may be more behind the last one.
    pub more: bool,
}

/// Of a store that keeps no versions.
impl From<Page> for VersionPage {
    fn from(page: Page) -> Self {
        let last = page.entries.last().filter(|_| page.more);
        let next = last.map(|entry| VersionMark {
            key: entry.key.clone(),
            id: None,
        });
        let entries = page.entries.into_iter();
        let versions = entries.map(|entry| Version::current(entry.key, entry.size_bytes));
        Self {
            versions: versions.collect(),
            next,
        }
    }
}
