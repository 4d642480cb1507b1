//! One search for a file: asks the store, fetches the file into its place, and
//! makes it known.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use futures_util::TryStreamExt;
use futures_util::stream::BoxStream;
use tokio::sync::watch;

use super::folder::Unfinished;
use super::index::{Entry, FileId, Owner, Version};
use super::{LeaseError, Leases, Wanted};
use crate::digest::Digest;
use crate::key::ObjectKey;
use crate::storage::scoped::{TenantStore, TenantStoreError};
use crate::storage::{GetOptions, Object, StoreError};

/// So much is written at once, in bytes.
const BATCH_BYTES: usize = 1 << 20;

/// What one search is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Wish {
    pub(super) owner: Owner,
    pub(super) digest: Option<Digest>,
}

pub(super) type Outcome = Result<Version, LeaseError>;

#[derive(Debug)]
pub(super) struct Flight(pub(super) watch::Sender<Option<Outcome>>);

/// Who searches. Dropped without an outcome, it fails all who wait.
pub(super) struct Leader {
    pub(super) leases: Arc<Leases>,
    pub(super) wish: Wish,
    pub(super) flight: Arc<Flight>,
}

/// Room for a file, given back when this is dropped.
pub(super) struct Room {
    pub(super) leases: Arc<Leases>,
    pub(super) tenant: u128,
    pub(super) bytes: u64,
}

/// A file that has been fetched, on its way to its place.
struct Fetched {
    file: Unfinished,
    /// Not given back before the file is accounted for.
    room: Room,
    name: String,
    etag: String,
    modified: SystemTime,
    expires_at: SystemTime,
}

impl Leader {
    /// Looks for the file, and fetches it if it is not there.
    pub(super) async fn search(&self, store: &TenantStore, wanted: &Wanted) -> Outcome {
        let key = ObjectKey::File(wanted.key.clone());
        if let Some(version) = self.kept(store, &key).await? {
            self.leases.count("kept");
            return Ok(version);
        }
        let object = store.get(&key, GetOptions::default()).await?;
        self.expect(object.info.digest)?;
        let room = self
            .leases
            .room(self.wish.owner.tenant, object.info.size_bytes);
        let room = room.await?;
        let (etag, modified) = (object.info.etag.clone(), object.info.modified);
        let file = fetch(&self.leases, object).await?;
        self.expect(Some(file.written().1))?;
        let fetched = Fetched {
            file,
            room,
            name: wanted.key.name().to_owned(),
            etag,
            modified,
            expires_at: SystemTime::now() + wanted.time,
        };
        let version = self.land(fetched).await?;
        self.leases.count("fetched");
        Ok(version)
    }

    /// What is there, if the store says that it is still right: that costs less
    /// than to fetch it. By a digest it has been looked for already.
    async fn kept(
        &self,
        store: &TenantStore,
        key: &ObjectKey,
    ) -> Result<Option<Version>, LeaseError> {
        let Wish { owner, digest } = self.wish;
        if digest.is_some() || !self.leases.lock().index.has(owner) {
            return Ok(None);
        }
        let info = store.head(key).await?;
        let state = self.leases.lock();
        Ok(state.index.current(owner, info.digest, &info.etag))
    }

    fn expect(&self, found: Option<Digest>) -> Result<(), LeaseError> {
        match (self.wish.digest, found) {
            (Some(expected), Some(found)) if expected != found => Err(LeaseError::Mismatch),
            _ => Ok(()),
        }
    }

    /// Puts the file into its place, unless it is there, and makes it known.
    async fn land(&self, fetched: Fetched) -> Outcome {
        let (wish, flight) = (self.wish, Arc::clone(&self.flight));
        let landed = self.leases.off_the_threads(move |leases| {
            let (size_bytes, digest) = fetched.file.written();
            let (owner, version) = (wish.owner, Version::of(digest));
            let id = FileId { owner, version };
            let mut state = leases.lock();
            // Otherwise the key has been written to since the search began.
            let current = state.is_under_way(&wish, &flight);
            let (folder, name) = (&leases.folder, &fetched.name);
            if !folder.has(id, name, size_bytes) {
                folder.land(&fetched.file, id, name, fetched.modified)?;
            }
            let known = state.index.get(id).map(|known| known.expires_at);
            let expires_at = fetched.expires_at.max(known.unwrap_or(UNIX_EPOCH));
            folder.mark(id, current)?;
            folder.extend(id, expires_at)?;
            let entry = Entry {
                version,
                etag: Some(fetched.etag),
                size_bytes,
                expires_at,
                current,
            };
            state.index.insert(owner, entry);
            drop(state);
            if !current {
                leases.withdrawn.send_replace(());
            }
            drop(fetched.room);
            leases.report();
            Ok(version)
        });
        landed.await
    }
}

impl Drop for Leader {
    fn drop(&mut self) {
        let mut state = self.leases.lock();
        // It may be another's by now.
        if state.is_under_way(&self.wish, &self.flight) {
            state.under_way.remove(&self.wish);
        }
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        self.leases.lock().give_back(self.tenant, self.bytes);
    }
}

/// Writes an object to a file, all of it.
async fn fetch(leases: &Arc<Leases>, object: Object) -> Result<Unfinished, LeaseError> {
    let mut file = leases
        .off_the_threads(|leases| Ok(leases.folder.begin()?))
        .await?;
    let mut body = object.body;
    loop {
        let batch = next_batch(&mut body)
            .await
            .map_err(TenantStoreError::from)?;
        if batch.is_empty() {
            break;
        }
        let written = leases.off_the_threads(move |_| {
            file.write(&batch)?;
            Ok(file)
        });
        file = written.await?;
    }
    if file.written().0 == object.info.size_bytes {
        Ok(file)
    } else {
        Err(TenantStoreError::from(StoreError::Corrupt).into())
    }
}

/// The next chunks; none at the end.
async fn next_batch(
    body: &mut BoxStream<'static, Result<Bytes, StoreError>>,
) -> Result<Vec<Bytes>, StoreError> {
    let mut batch = Vec::new();
    let mut batch_bytes = 0;
    while batch_bytes < BATCH_BYTES
        && let Some(chunk) = body.try_next().await?
    {
        batch_bytes += chunk.len();
        if !chunk.is_empty() {
            batch.push(chunk);
        }
    }
    Ok(batch)
}
