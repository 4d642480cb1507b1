//! The file that a thumbnail is made of, checked while it is read: whoever
//! names a source may name a wrong one, and its thumbnail must not be kept
//! under another's name.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures_util::stream::BoxStream;
use futures_util::{Stream, StreamExt, TryStreamExt, stream};

use super::ThumbnailError;
use crate::digest::{FileDigest, FileHasher};
use crate::key::{FileKey, ObjectKey, Original};
use crate::storage::scoped::TenantStore;
use crate::storage::{GetOptions, ObjectInfo, StoreError};

/// The bytes of a source, on their way to a worker.
pub(super) struct Source {
    body: BoxStream<'static, Result<Bytes, StoreError>>,
    hasher: FileHasher,
    original: Original,
}

impl Source {
    /// Opens the file `key`, and waits for its first bytes.
    ///
    /// # Errors
    /// [`ThumbnailError::SourceMismatch`] when it is known already that it is
    /// not the original, and the store's.
    pub(super) async fn open(
        store: &TenantStore,
        key: &FileKey,
        original: Original,
    ) -> Result<Self, ThumbnailError> {
        let key = ObjectKey::File(key.clone());
        let object = store.get(&key, GetOptions::default()).await?;
        compare(&object.info, original)?;
        let mut rest = object.body;
        let first = stream::iter(rest.next().await);
        Ok(Self {
            body: first.chain(rest).boxed(),
            hasher: original.digest.hasher(),
            original,
        })
    }

    /// Reads what a worker has left unread, and makes sure that all was right.
    ///
    /// # Errors
    /// [`ThumbnailError::SourceMismatch`] when it was not, and the store's.
    pub(super) async fn verify(mut self) -> Result<(), ThumbnailError> {
        while self.try_next().await.map_err(store_error)?.is_some() {}
        if self.hasher.finish() == self.original.digest {
            Ok(())
        } else {
            Err(ThumbnailError::SourceMismatch)
        }
    }
}

/// Makes sure that there is the file `key`, and that it is the original as far
/// as can be known without reading it.
///
/// # Errors
/// As [`Source::open`].
pub(super) async fn find(
    store: &TenantStore,
    key: &FileKey,
    original: Original,
) -> Result<(), ThumbnailError> {
    let info = store.head(&ObjectKey::File(key.clone())).await?;
    compare(&info, original)
}

fn compare(info: &ObjectInfo, original: Original) -> Result<(), ThumbnailError> {
    let is_other = match (original.digest, info.digest) {
        (FileDigest::Sha256(wanted), Some(kept)) => wanted != kept,
        _ => false,
    };
    if is_other || info.size_bytes != original.size_bytes {
        return Err(ThumbnailError::SourceMismatch);
    }
    Ok(())
}

fn store_error(error: StoreError) -> ThumbnailError {
    ThumbnailError::Store(error.into())
}

impl Stream for Source {
    type Item = Result<Bytes, StoreError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let next = ready!(self.body.poll_next_unpin(context));
        if let Some(Ok(bytes)) = &next {
            self.hasher.update(bytes);
        }
        Poll::Ready(next)
    }
}
