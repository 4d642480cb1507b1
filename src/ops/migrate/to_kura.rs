//! From Redmine's `files` directory into the store.

use std::path::Path;
use std::sync::{Arc, OnceLock};

use anyhow::{Context, Result};
use futures_util::StreamExt as _;

use super::report::{Outcome, Report};
use super::tree::{self, Found, Source, blocking};
use super::{Failure, Job, check_size, patiently, wrong_digest};
use crate::digest::{Digest, FileDigest};
use crate::key::FileKey;
use crate::ops::listing::Row;
use crate::ops::progress::Progress;
use crate::storage::scoped::{Listing, TenantStoreError, UploadHeaders};
use crate::storage::{PutMode, StoreError};

/// Stores every file of the tree; then sees what the listing names besides.
pub(super) async fn run(job: &Arc<Job>, root: &Path, report: &mut Report) -> Result<()> {
    let context = || format!("the directory {}", root.display());
    let root = tokio::fs::canonicalize(root).await.with_context(context)?;
    let first = Listing {
        prefix: String::new(),
        after: None,
        limit: 1,
        digests: false,
    };
    // Into an empty store each file is one request. The store refuses what
    // turns out to be there all the same.
    let look_first = !job.store.list(&first).await?.0.is_empty();
    let progress = Progress::new("storing");
    let found = tree::walk(root).map(Ok);
    let store = |found: Found| {
        let job = Arc::clone(job);
        async move {
            let outcome = match found.key {
                Ok(key) => job.store(&key, &found.path, look_first).await,
                Err(outcome) => Ok(outcome),
            };
            (found.name, outcome)
        }
    };
    job.each(found, report, &progress, store).await?;
    let look_up = |row: Row| {
        let job = Arc::clone(job);
        async move { (row.key.clone(), job.look_up(&row).await) }
    };
    job.each(job.rows_left(), report, &progress, look_up).await
}

impl Job {
    async fn store(
        &self,
        key: &FileKey,
        path: &Path,
        look_first: bool,
    ) -> Result<Outcome, Failure> {
        let source = Source::open(path).await?;
        let size_bytes = source.metadata.len();
        let row = self.row(key.as_str())?;
        check_size(row.as_ref(), size_bytes)?;
        let expected = row.as_ref().and_then(|row| row.digest);
        let mut there = if look_first {
            self.head(key).await?
        } else {
            None
        };
        if there.is_none() && self.dry_run {
            let (_, right) = source.digest(expected).await?;
            let would_move = Outcome::Moved {
                size_bytes,
                source_removed: false,
            };
            return right.then_some(would_move).ok_or_else(wrong_digest);
        }
        if there.is_none() {
            if let Some(digest) = self.send(key, &source, row.as_ref()).await? {
                let source_removed = self.remove(key, path, &source, digest).await?;
                return Ok(Outcome::Moved {
                    size_bytes,
                    source_removed,
                });
            }
            there = self.head(key).await?;
        }
        let there = there.ok_or_else(|| Failure::file("its name is taken at the destination"))?;
        let digest = self.compare(key, &source, expected, &there).await?;
        let source_removed = self.remove(key, path, &source, digest).await?;
        Ok(Outcome::There {
            size_bytes,
            source_removed,
        })
    }

    /// Sends a file, and says what it was; `None` when its name is taken.
    async fn send(
        &self,
        key: &FileKey,
        source: &Source,
        row: Option<&Row>,
    ) -> Result<Option<Digest>, Failure> {
        let expected = row.and_then(|row| row.digest);
        let trouble = Arc::new(OnceLock::new());
        let sent = patiently(|| {
            let headers = UploadHeaders {
                content_type: Some(content_type(key, row)),
                file_name: Some(file_name(key, row)),
                expected_digest: match expected {
                    Some(FileDigest::Sha256(digest)) => Some(digest),
                    _ => None,
                },
            };
            let payload = source.payload(expected, self.pace.clone(), Arc::clone(&trouble));
            self.store
                .put_file(key, PutMode::CreateOnly, headers, payload)
        });
        match sent.await {
            Ok(stored) => Ok(Some(stored.digest)),
            Err(TenantStoreError::Store(StoreError::AlreadyExists)) => Ok(None),
            Err(TenantStoreError::Store(StoreError::Payload(error))) => {
                let why = trouble.get().cloned();
                Err(Failure::File(why.unwrap_or_else(|| error.to_string())))
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Removes the source, if asked for, after the stored bytes have proved
    /// to be those of the file that is there now.
    async fn remove(
        &self,
        key: &FileKey,
        path: &Path,
        source: &Source,
        digest: Digest,
    ) -> Result<bool, Failure> {
        if !self.remove_source || self.dry_run {
            return Ok(false);
        }
        if self.read_back(key).await? != digest {
            return Err(Failure::file("what the store gives back is another file"));
        }
        if !source.is_at(path) {
            return Err(Failure::file("it changed after it was read"));
        }
        let path = path.to_owned();
        blocking(move || std::fs::remove_file(path)).await?;
        Ok(true)
    }

    /// A row whose file is not in the tree: it may have been moved before.
    async fn look_up(&self, row: &Row) -> Result<Outcome, Failure> {
        let key = FileKey::parse(&row.key).map_err(|error| Failure::File(error.to_string()))?;
        let info = self.head(&key).await?;
        let info = info.ok_or_else(|| {
            Failure::file("the listing names it, but it is neither on disk nor in the store")
        })?;
        check_size(Some(row), info.size_bytes)?;
        match (row.digest, info.digest) {
            (Some(FileDigest::Sha256(listed)), Some(stored)) if listed != stored => {
                Err(wrong_digest())
            }
            _ => Ok(Outcome::There {
                size_bytes: info.size_bytes,
                source_removed: false,
            }),
        }
    }
}

fn content_type(key: &FileKey, row: Option<&Row>) -> String {
    let listed = row.and_then(|row| row.content_type.clone());
    listed.unwrap_or_else(|| {
        let guess = mime_guess::from_path(key.name()).first_raw();
        guess.unwrap_or("application/octet-stream").to_owned()
    })
}

/// Without a listing: what is left of the name on disk without the time that
/// Redmine puts before it.
fn file_name(key: &FileKey, row: Option<&Row>) -> String {
    if let Some(listed) = row.and_then(|row| row.file_name.clone()) {
        return listed;
    }
    let name = key.name();
    let stamped = name.split_once('_').filter(|(stamp, rest)| {
        stamp.len() == 12 && stamp.bytes().all(|c| c.is_ascii_digit()) && !rest.is_empty()
    });
    stamped.map_or(name, |(_, rest)| rest).to_owned()
}
