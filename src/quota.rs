//! What a tenant may keep: files of so many bytes.
//!
//! How many it has is found out by listing them: in the background when an
//! upload comes and the last count is an hour old, and once more before one is
//! refused. Who would be refused waits for that, but not for ever. In between,
//! what this process stores is added. What other processes store, and all that
//! is deleted, is seen by the next count.

use std::num::NonZeroU64;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use thiserror::Error;
use tokio::sync::OwnedMutexGuard;
use tokio::time::timeout;

use crate::storage::StoreError;
use crate::storage::scoped::{Listing, TenantStore, TenantStoreError};

/// With uploads coming, files are counted so often.
const STALE: Duration = Duration::from_hours(1);
/// No upload is refused by an older count.
const FRESH: Duration = Duration::from_mins(1);
/// As many files as S3 lists at once.
const PAGE: usize = 1000;

/// Why an upload is not let in.
#[derive(Clone, Debug, Error)]
pub enum QuotaError {
    /// It is too much.
    #[error("this tenant's files may take {limit_bytes} bytes, and with this one would take more")]
    Exceeded {
        /// The quota.
        limit_bytes: NonZeroU64,
    },
    /// By an old count it is too much, and a new one takes its time.
    #[error("this tenant's files are still being counted for its quota")]
    Counting,
    /// The files cannot be counted.
    #[error(transparent)]
    Store(#[from] TenantStoreError),
}

/// One tenant's quota, and what is known of its use.
#[derive(Debug)]
pub struct Quota {
    limit_bytes: NonZeroU64,
    patience: Duration,
    used: Mutex<Used>,
    /// Held by the task that counts.
    counting: Arc<tokio::sync::Mutex<()>>,
}

#[derive(Debug, Default)]
struct Used {
    /// `None` before the first count.
    counted: Option<Counted>,
    /// What uploads under way have announced.
    announced: u64,
    /// What has been stored since the count that is under way began.
    meanwhile: u64,
}

/// The bytes of the files that were listed, and of those stored since.
#[derive(Debug)]
struct Counted {
    bytes: u64,
    at: Instant,
}

impl Used {
    fn is_older_than(&self, age: Duration) -> bool {
        let counted = self.counted.as_ref();
        counted.is_none_or(|counted| counted.at.elapsed() > age)
    }
}

/// Room that an upload takes while it is under way.
#[derive(Debug)]
pub struct Room {
    quota: Arc<Quota>,
    bytes: u64,
}

impl Quota {
    /// Files of `limit_bytes` altogether. Nobody waits longer than `patience`
    /// for a count.
    #[must_use]
    pub fn new(limit_bytes: NonZeroU64, patience: Duration) -> Self {
        Self {
            limit_bytes,
            patience,
            used: Mutex::default(),
            counting: Arc::default(),
        }
    }

    /// Lets an upload of `bytes` in, which is 0 when it does not say how many
    /// will come. While nothing has been counted yet, all are let in.
    ///
    /// # Errors
    /// See [`QuotaError`].
    pub async fn admit(
        self: Arc<Self>,
        store: &TenantStore,
        bytes: u64,
    ) -> Result<Room, QuotaError> {
        match self.take(bytes) {
            Ok(room) => {
                if self.used().is_older_than(STALE)
                    && let Ok(counting) = Arc::clone(&self.counting).try_lock_owned()
                {
                    tokio::spawn(self.count(store.clone(), counting));
                }
                Ok(room)
            }
            Err(exceeded) if !self.used().is_older_than(FRESH) => Err(exceeded),
            Err(_) => {
                let counted = timeout(self.patience, self.counted_anew(store)).await;
                counted.map_err(|_| QuotaError::Counting)??;
                self.take(bytes)
            }
        }
    }

    /// Ends with a fresh count. That is made by a task of its own, so that it
    /// comes to its end when nobody waits for it any more.
    async fn counted_anew(self: &Arc<Self>, store: &TenantStore) -> Result<(), TenantStoreError> {
        let counting = Arc::clone(&self.counting).lock_owned().await;
        // Who was counting until now has done it for all who waited.
        if !self.used().is_older_than(FRESH) {
            return Ok(());
        }
        let count = tokio::spawn(Arc::clone(self).count(store.clone(), counting)).await;
        count.unwrap_or_else(|error| Err(StoreError::Unavailable(error.to_string()).into()))
    }

    fn take(self: &Arc<Self>, bytes: u64) -> Result<Room, QuotaError> {
        let mut used = self.used();
        if let Some(counted) = &used.counted {
            let all = counted.bytes.saturating_add(used.announced);
            if all.saturating_add(bytes.max(1)) > self.limit_bytes.get() {
                let limit_bytes = self.limit_bytes;
                return Err(QuotaError::Exceeded { limit_bytes });
            }
        }
        used.announced = used.announced.saturating_add(bytes);
        let quota = Arc::clone(self);
        Ok(Room { quota, bytes })
    }

    /// Counts, and tells the log if that fails: whoever has asked for it may
    /// have gone.
    async fn count(
        self: Arc<Self>,
        store: TenantStore,
        _counting: OwnedMutexGuard<()>,
    ) -> Result<(), TenantStoreError> {
        let counted = self.count_all(&store).await;
        if let Err(error) = &counted {
            tracing::warn!(%error, "the files that count against a quota could not be listed");
        }
        counted
    }

    async fn count_all(&self, store: &TenantStore) -> Result<(), TenantStoreError> {
        self.used().meanwhile = 0;
        let mut listed = 0;
        let mut listing = Listing {
            prefix: String::new(),
            after: None,
            limit: PAGE,
            digests: false,
        };
        loop {
            let (files, next) = store.list(&listing).await?;
            listed += files.iter().map(|file| file.size_bytes).sum::<u64>();
            if next.is_none() {
                break;
            }
            listing.after = next;
        }
        let mut used = self.used();
        used.counted = Some(Counted {
            bytes: listed.saturating_add(used.meanwhile),
            at: Instant::now(),
        });
        Ok(())
    }

    fn used(&self) -> MutexGuard<'_, Used> {
        self.used.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Room {
    /// The upload is stored, and had `bytes`.
    pub fn filled(self, bytes: u64) {
        let mut used = self.quota.used();
        if let Some(counted) = &mut used.counted {
            counted.bytes = counted.bytes.saturating_add(bytes);
        }
        used.meanwhile = used.meanwhile.saturating_add(bytes);
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        let mut used = self.quota.used();
        used.announced = used.announced.saturating_sub(self.bytes);
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;
    use crate::key::{FileKey, Layout};
    use crate::storage::memory::MemoryStore;
    use crate::storage::scoped::UploadHeaders;
    use crate::storage::{Payload, PutMode};

    struct Tenant {
        quota: Arc<Quota>,
        store: TenantStore,
    }

    impl Tenant {
        /// It may have 100 bytes, and has what `files` have.
        async fn with(files: &[(&str, usize)]) -> Self {
            let layout = Layout::new("user001", None, None).unwrap();
            let store = TenantStore::new(Arc::new(MemoryStore::default()), layout, STALE);
            let quota = Arc::new(Quota::new(NonZeroU64::new(100).unwrap(), FRESH));
            let tenant = Self { quota, store };
            for (name, bytes) in files {
                tenant.write(name, *bytes).await;
            }
            tenant
        }

        /// As another process does.
        async fn write(&self, name: &str, bytes: usize) {
            let key = FileKey::parse(name).unwrap();
            let payload = Payload::from_bytes(vec![0; bytes]);
            let headers = UploadHeaders::default();
            let put = self
                .store
                .put_file(&key, PutMode::Overwrite, headers, payload);
            put.await.unwrap();
        }

        async fn admit(&self, bytes: u64) -> Result<Room, QuotaError> {
            Arc::clone(&self.quota).admit(&self.store, bytes).await
        }

        /// As if the last count had been made so long ago.
        fn age(&self, by: Duration) {
            let mut used = self.quota.used();
            let counted = used.counted.as_mut().unwrap();
            counted.at = counted.at.checked_sub(by).unwrap();
        }

        /// The first upload, and the count that it begins.
        async fn first(&self) {
            self.admit(0).await.unwrap();
            while self.quota.used().counted.is_none() {
                tokio::task::yield_now().await;
            }
        }
    }

    #[tokio::test]
    async fn uploads_under_way_and_stored_ones_take_room_and_failed_ones_give_it_back() {
        let tenant = Tenant::with(&[("a", 40), ("2026/11/b", 10)]).await;
        tenant.first().await;
        let failed = tenant.admit(30).await.unwrap();
        assert!(tenant.admit(30).await.is_err());
        drop(failed);
        tenant.admit(30).await.unwrap().filled(30);
        assert!(tenant.admit(21).await.is_err());
        tenant.admit(20).await.unwrap().filled(20);
        assert!(tenant.admit(0).await.is_err(), "there is no room at all");
    }

    #[tokio::test]
    async fn before_an_upload_is_refused_files_are_counted_but_once_a_minute() {
        let tenant = Tenant::with(&[("a", 90)]).await;
        tenant.first().await;
        tenant.write("a", 10).await;
        assert!(tenant.admit(50).await.is_err());
        tenant.age(FRESH);
        assert!(tenant.admit(50).await.is_ok());
    }

    #[tokio::test]
    async fn who_waits_too_long_for_a_count_is_sent_away_and_the_count_goes_on_without_them() {
        let mut tenant = Tenant::with(&[("a", 90)]).await;
        Arc::get_mut(&mut tenant.quota).unwrap().patience = Duration::ZERO;
        tenant.first().await;
        tenant.write("a", 10).await;
        tenant.age(FRESH);
        let counting = Arc::clone(&tenant.quota.counting).lock_owned().await;
        let refused = tenant.admit(50).await;
        assert!(matches!(refused, Err(QuotaError::Counting)));
        drop(counting);
        let gone_at_once = tenant.admit(50).now_or_never();
        assert!(gone_at_once.is_none());
        while tenant.quota.used().is_older_than(FRESH) {
            tokio::task::yield_now().await;
        }
        assert!(tenant.admit(50).await.is_ok());
    }

    #[tokio::test]
    async fn what_others_store_counts_when_the_last_count_is_old() {
        let tenant = Tenant::with(&[]).await;
        tenant.first().await;
        tenant.write("a", 100).await;
        assert!(tenant.admit(1).await.is_ok());
        tenant.age(STALE);
        assert!(tenant.admit(1).await.is_ok(), "it only begins the count");
        while tenant.quota.used().is_older_than(FRESH) {
            tokio::task::yield_now().await;
        }
        assert!(tenant.admit(1).await.is_err());
    }
}
