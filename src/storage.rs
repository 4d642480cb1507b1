//! The [`BlobStore`] trait: what Kura asks of the place where bytes are kept,
//! and its errors by meaning.
//!
//! Two stores implement it, [`s3`] and [`directory`], and both pass the one
//! suite in [`contract`]. [`scoped::TenantStore`] puts a tenant's folders in
//! front of either; nothing above it can spell another tenant's key.

pub mod buffer;
#[doc(hidden)]
pub mod contract;
pub mod directory;
pub mod holdings;
#[doc(hidden)]
pub mod memory;
#[doc(hidden)]
pub mod model;
pub mod names;
pub mod parts;
pub mod remains;
pub mod s3;
pub mod scoped;
pub mod stored_name;
pub mod verify;

use std::fmt;
use std::time::SystemTime;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream::BoxStream;
use thiserror::Error;

use crate::digest::Digest;
use crate::key::StoreKey;

/// A place that keeps objects under keys.
///
/// Every method says whether it had happened by the time it returned: an `Ok`
/// is durable and visible to every other reader of the same store.
#[async_trait]
pub trait BlobStore: fmt::Debug + Send + Sync + 'static {
    /// Stores the whole payload, or nothing.
    async fn put(&self, request: PutRequest, payload: Payload) -> Result<Stored, StoreError>;

    /// Opens an object for reading. The body is not read ahead of the caller
    /// beyond a bound, and ends with an error rather than short.
    async fn get(&self, key: &StoreKey, options: GetOptions) -> Result<Object, StoreError>;

    /// Describes an object.
    async fn head(&self, key: &StoreKey) -> Result<ObjectInfo, StoreError>;

    /// Copies an object with all its headers to a key that must be free.
    async fn copy(&self, from: &StoreKey, to: &StoreKey) -> Result<(), StoreError>;

    /// Moves an object to a key that must be free. At no moment is there no
    /// copy; interrupted, it may leave both. A target that holds a copy of the
    /// object may then count as free.
    async fn rename(&self, from: &StoreKey, to: &StoreKey) -> Result<(), StoreError> {
        self.copy(from, to).await?;
        self.delete(from).await
    }

    /// Removes an object; `Ok` also when there was none.
    async fn delete(&self, key: &StoreKey) -> Result<(), StoreError>;

    /// Removes every object whose key begins with `prefix` and says how many.
    async fn delete_prefix(&self, prefix: &str) -> Result<u64, StoreError>;

    /// Lists up to `limit` objects whose keys begin with `prefix`, in the
    /// byte order of their keys, starting behind the key `after`.
    async fn list(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Page, StoreError>;

    /// Asks the store for a sign of life, at the cost of one request.
    async fn ping(&self) -> Result<(), StoreError>;
}

/// What to do about the key when something is there already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PutMode {
    /// Replace it.
    Overwrite,
    /// Fail with [`StoreError::AlreadyExists`].
    CreateOnly,
    /// Take the first free of the key's successors (see
    /// [`StoreKey::successor`]); the payload is read only once.
    FirstFree,
}

/// Where and how to store a payload.
#[derive(Clone, Debug)]
pub struct PutRequest {
    /// The wanted key.
    pub key: StoreKey,
    /// What to do when it is taken.
    pub mode: PutMode,
    /// The media type kept with the object.
    pub content_type: Option<String>,
    /// The original file name kept with the object, not encoded.
    pub file_name: Option<String>,
    /// The SHA-256 the payload must have; a mismatch stores nothing.
    pub expected_digest: Option<Digest>,
}

impl PutRequest {
    /// A request with no headers to keep and nothing expected.
    #[must_use]
    pub fn new(key: StoreKey, mode: PutMode) -> Self {
        Self {
            key,
            mode,
            content_type: None,
            file_name: None,
            expected_digest: None,
        }
    }
}

/// The bytes to be stored, as they arrive.
pub struct Payload {
    /// The bytes. An error means that no more will come.
    pub stream: BoxStream<'static, Result<Bytes, PayloadError>>,
    /// How many bytes will come, when the sender has said so. A stream of
    /// another length stores nothing.
    pub length: Option<u64>,
}

impl Payload {
    /// A payload that is already in memory.
    #[must_use]
    pub fn from_bytes(bytes: impl Into<Bytes>) -> Self {
        let bytes = bytes.into();
        let length = Some(bytes.len() as u64);
        let chunks = (!bytes.is_empty()).then_some(Ok(bytes));
        Self {
            stream: Box::pin(futures_util::stream::iter(chunks)),
            length,
        }
    }
}

impl fmt::Debug for Payload {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Payload")
            .field("length", &self.length)
            .finish_non_exhaustive()
    }
}

/// What has been stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// The key that was taken.
    pub key: StoreKey,
    /// Its size.
    pub size_bytes: u64,
    /// The digest of its bytes.
    pub digest: Digest,
}

/// Which bytes of an object are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ByteRange {
    /// From this offset to the end.
    From(u64),
    /// From the first offset to the second, both included.
    Inclusive(u64, u64),
    /// The last so many bytes.
    Last(u64),
}

impl ByteRange {
    /// The first and last offset meant in an object of `size` bytes; `None`
    /// when it has no such bytes.
    #[must_use]
    pub fn resolve(self, size: u64) -> Option<(u64, u64)> {
        let last = size.checked_sub(1)?;
        match self {
            Self::From(first) if first <= last => Some((first, last)),
            Self::Inclusive(first, end) if first <= last && first <= end => {
                Some((first, end.min(last)))
            }
            Self::Last(count) if count > 0 => Some((size.saturating_sub(count), last)),
            _ => None,
        }
    }
}

/// What is wanted of an object.
#[derive(Clone, Debug, Default)]
pub struct GetOptions {
    /// Only these bytes.
    pub range: Option<ByteRange>,
    /// Only while the object still has this `ETag`; otherwise
    /// [`StoreError::PreconditionFailed`].
    pub if_match: Option<String>,
}

/// What is known of an object without reading it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectInfo {
    /// Its size.
    pub size_bytes: u64,
    /// A strong entity tag in double quotes: it differs when the bytes do.
    pub etag: String,
    /// When it was stored, to the second at least.
    pub modified: SystemTime,
    /// The media type kept with it.
    pub content_type: Option<String>,
    /// The original file name kept with it, not encoded.
    pub file_name: Option<String>,
    /// Its SHA-256, where the store keeps it.
    pub digest: Option<Digest>,
}

/// An object opened for reading.
pub struct Object {
    /// What is known of it.
    pub info: ObjectInfo,
    /// The offsets of the first and last byte of `body` within the object;
    /// `None` when it is all of it.
    pub range: Option<(u64, u64)>,
    /// Its bytes.
    pub body: BoxStream<'static, Result<Bytes, StoreError>>,
}

impl fmt::Debug for Object {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Object")
            .field("info", &self.info)
            .field("range", &self.range)
            .finish_non_exhaustive()
    }
}

/// One page of a listing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// The objects, in the byte order of their keys.
    pub entries: Vec<Entry>,
    /// True when there may be more behind the last one.
    pub more: bool,
}

/// One object of a listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its full key, as the store spells it.
    pub key: String,
    /// Its size.
    pub size_bytes: u64,
    /// When it was stored.
    pub modified: SystemTime,
    /// Its SHA-256, where a listing shows it. S3's does not.
    pub digest: Option<Digest>,
}

/// Why a store did not do what it was asked.
#[derive(Clone, Debug, Error)]
pub enum StoreError {
    /// There is no such object. Never used for trouble with the store.
    #[error("there is no such object")]
    NotFound,
    /// The key is taken.
    #[error("the key is taken")]
    AlreadyExists,
    /// A directory store cannot keep `a` and `a/b` both.
    #[error("the key cannot lie beside one that the store already has")]
    KeyConflict,
    /// The object is no longer the one asked for.
    #[error("the object has changed")]
    PreconditionFailed,
    /// The object does not have the bytes asked for.
    #[error("the object has {size_bytes} bytes, none of them in the range")]
    RangeNotSatisfiable {
        /// The size of the object.
        size_bytes: u64,
    },
    /// The store asked to be called less often, after retries.
    #[error("the store is throttling")]
    Throttled,
    /// The store did not answer in time or answered with a fault of its own,
    /// after retries.
    #[error("the store is unavailable: {0}")]
    Unavailable(String),
    /// The store refused our credentials or what they allow.
    #[error("the store refused access: {0}")]
    Forbidden(String),
    /// What came back is not what was stored.
    #[error("the stored bytes are damaged")]
    Corrupt,
    /// The file system is full or over its quota.
    #[error("the store has no space left")]
    NoSpace,
    /// The memory for buffers was not to be had in time.
    #[error("all buffers are in use")]
    Busy,
    /// The payload, not the store, was the trouble.
    #[error(transparent)]
    Payload(#[from] PayloadError),
}

/// Why the bytes to be stored did not arrive as they should have.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum PayloadError {
    /// The sender went away before the end.
    #[error("the body ended before it was complete")]
    Interrupted,
    /// The sender sent too little for too long.
    #[error("the body arrived too slowly")]
    TooSlow,
    /// The body is over the limit.
    #[error("the body has more than {limit_bytes} bytes")]
    TooLarge {
        /// The limit.
        limit_bytes: u64,
    },
    /// The body is not as long as the sender said.
    #[error("the body is not as long as was said")]
    WrongLength,
    /// The body does not have the digest that the sender expects.
    #[error("the body does not have the expected SHA-256")]
    WrongDigest,
    /// Kura is shutting down and could not wait for the rest.
    #[error("the server is shutting down")]
    ShuttingDown,
}
