//! Thumbnails: looked for in memory, on disk and in the tenant's folder, and
//! made if they are nowhere.
//!
//! However many ask for a thumbnail at once, it is looked for and made once
//! (`flights`). What a source proves not to be the bytes that the name of
//! the thumbnail says is kept nowhere (`source`). [`eager`] makes some as
//! soon as a picture has been uploaded.

mod clearing;
pub mod eager;
mod failures;
mod flights;
mod recent;
mod room;
mod source;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::TryStreamExt;
use prometheus_client::metrics::counter::Counter;
use thiserror::Error;
use tokio_util::task::TaskTracker;
use tracing::Instrument;

use self::eager::Eager;
use self::failures::Failures;
use self::flights::{Flights, Join, Leader};
use self::recent::Recent;
use self::room::{Room, held};
use self::source::Source;
use crate::budget::Permit;
use crate::cache::disk::DiskCache;
use crate::cache::memory::MemoryCache;
use crate::cache::{CacheKey, Tenancy};
use crate::key::{FileKey, ObjectKey, ThumbKey};
use crate::metrics::{Metrics, ThumbnailLabels};
use crate::render::format::Format;
use crate::render::pool::{Busy, Pool, RenderError, Seat};
use crate::render::protocol::MAX_THUMBNAIL_BYTES;
use crate::render::{Order, Refusal};
use crate::storage::scoped::{TenantStore, TenantStoreError};
use crate::storage::{GetOptions, Payload, StoreError};

/// A larger object is not taken for a thumbnail, whoever has stored it: no
/// worker makes a larger one.
const MAX_STORED_BYTES: usize = MAX_THUMBNAIL_BYTES;

/// How thumbnails are served.
#[derive(Clone, Debug)]
pub struct ThumbnailOptions {
    /// The largest file that a thumbnail is made of, in bytes.
    pub max_source_bytes: u64,
    /// How long it is remembered that a picture has no thumbnail.
    pub failure_ttl: Duration,
    /// The sizes that are made of each upload, in pixels a side.
    pub eager_sides: Vec<u32>,
}

/// Where thumbnails are kept and made.
#[derive(Debug)]
pub struct Places {
    /// In memory.
    pub memory: MemoryCache,
    /// On disk, where there is room for it.
    pub disk: Option<Arc<DiskCache>>,
    /// Where they are made.
    pub pool: Arc<Pool>,
}

/// Why there is no thumbnail.
#[derive(Clone, Debug, Error)]
pub enum ThumbnailError {
    /// Because of the picture.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The source does not have the digest and the size in the name.
    #[error("the source is not the file that the thumbnail is named after")]
    SourceMismatch,
    /// It is kept nowhere, and of what it could be made is not said.
    #[error("the thumbnail would have to be made, and no source is given")]
    NoSource,
    /// Too many others are being made.
    #[error(transparent)]
    Busy(#[from] Busy),
    /// None can be made; the text is for the log.
    #[error("no thumbnail can be made: {0}")]
    Unavailable(String),
    /// Not all of the folder's thumbnails are the tenant's.
    #[error("the thumbnails lie in a folder that other tenants may use, too")]
    Shared,
    /// The store's answer.
    #[error(transparent)]
    Store(#[from] TenantStoreError),
}

impl From<RenderError<StoreError>> for ThumbnailError {
    fn from(error: RenderError<StoreError>) -> Self {
        match error {
            RenderError::Refused(refusal) => Self::Refused(refusal),
            RenderError::Source(error) => Self::Store(error.into()),
            RenderError::Stalled => Self::Store(StoreError::Unavailable(error.to_string()).into()),
            RenderError::Unavailable(text) => Self::Unavailable(text),
        }
    }
}

/// A thumbnail that somebody asks for.
#[derive(Clone, Debug)]
struct Wish {
    key: CacheKey,
    /// Of what it is to be made, if need be.
    source: Option<FileKey>,
}

/// Where a thumbnail was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Origin {
    Memory,
    Disk,
    Store,
    Rendered,
}

/// A thumbnail that was found.
struct Found {
    bytes: Bytes,
    room: Permit,
    origin: Origin,
}

/// What there is before a worker begins.
enum Ready<'a> {
    Found(Found),
    ToRender(Seat<'a>, Source),
}

/// All tenants' thumbnails.
#[derive(Debug)]
pub struct Thumbnails {
    places: Places,
    max_source_bytes: u64,
    failures: Failures,
    recent: Recent,
    flights: Arc<Flights>,
    room: Room,
    eager: Eager,
    tasks: TaskTracker,
    metrics: Metrics,
    from_memory: Counter,
}

impl Thumbnails {
    /// Work that outlives its request is tracked by `tasks`.
    #[must_use]
    pub fn new(
        places: Places,
        options: ThumbnailOptions,
        tasks: TaskTracker,
        metrics: Metrics,
    ) -> Arc<Self> {
        Arc::new(Self {
            places,
            max_source_bytes: options.max_source_bytes,
            failures: Failures::new(options.failure_ttl),
            recent: Recent::default(),
            flights: Arc::default(),
            room: Room::default(),
            eager: Eager::new(options.eager_sides),
            tasks,
            from_memory: counter(&metrics, "memory"),
            metrics,
        })
    }

    /// A thumbnail, made of `source` if it is nowhere yet. Once a worker has
    /// begun, the work is done to its end also when all callers are dropped.
    ///
    /// # Errors
    /// See [`ThumbnailError`].
    pub async fn get(
        self: &Arc<Self>,
        tenant: &Tenancy,
        store: &TenantStore,
        thumbnail: ThumbKey,
        source: Option<FileKey>,
    ) -> Result<Bytes, ThumbnailError> {
        let tenant = tenant.clone();
        let key = CacheKey { tenant, thumbnail };
        if let Some(bytes) = self.places.memory.get(&key) {
            self.from_memory.inc();
            let room = self.room.take(&key.tenant.id, bytes.len()).await?;
            return Ok(held(bytes, room));
        }
        let wish = Wish { key, source };
        loop {
            if let Some(refusal) = self.failures.get(&wish.key) {
                self.count("refused");
                return Err(refusal.into());
            }
            match self.flights.join(wish.clone())? {
                Join::First(leader) => {
                    let waiter = leader.waiter();
                    let (service, store) = (Arc::clone(self), store.clone());
                    let flight = async move { service.fly(&leader, &store).await };
                    self.tasks.spawn(flight.in_current_span());
                    return waiter.outcome().await;
                }
                Join::Later(waiter) => {
                    self.count("joined");
                    return waiter.outcome().await;
                }
                Join::Perhaps(waiter) => {
                    if let Ok(bytes) = waiter.outcome().await {
                        self.count("joined");
                        return Ok(bytes);
                    }
                }
            }
        }
    }

    async fn fly(&self, leader: &Leader, store: &TenantStore) {
        let wish = leader.wish();
        let ready = tokio::select! {
            ready = self.prepare(wish, store) => ready,
            () = leader.deserted() => return,
        };
        let found = match ready {
            Ok(Ready::Found(found)) => Ok(found),
            Ok(Ready::ToRender(seat, source)) => self.render(wish, seat, source).await,
            Err(error) => Err(error),
        };
        self.land(leader, store, found).await;
    }

    /// Does all that comes before a worker begins.
    async fn prepare<'a>(
        &'a self,
        wish: &'a Wish,
        store: &TenantStore,
    ) -> Result<Ready<'a>, ThumbnailError> {
        if let Some(found) = self.find(wish, store).await? {
            return Ok(Ready::Found(found));
        }
        let original = wish.key.thumbnail.original();
        let source = wish.source.as_ref().ok_or(ThumbnailError::NoSource)?;
        if original.size_bytes > self.max_source_bytes {
            return Err(Refusal::TooLarge.into());
        }
        let turn = self.places.pool.turn(&wish.key.tenant.id).await?;
        // Before there is a worker that would have to wait for it.
        let source = turn.open(Source::open(store, source, original)).await??;
        Ok(Ready::ToRender(turn.seat().await?, source))
    }

    async fn find(
        &self,
        wish: &Wish,
        store: &TenantStore,
    ) -> Result<Option<Found>, ThumbnailError> {
        let tenant = &wish.key.tenant;
        // It may have come since it was looked for.
        if let Some(bytes) = self.places.memory.get(&wish.key) {
            return self.found(tenant, bytes, Origin::Memory).await.map(Some);
        }
        if let Some(disk) = &self.places.disk
            && let Some(bytes) = disk.get(&wish.key).await
        {
            return self.found(tenant, bytes, Origin::Disk).await.map(Some);
        }
        let unlikely_stored = wish.source.is_some() && self.recent.is_unmade(&wish.key);
        if !unlikely_stored && let Some(stored) = self.stored(&wish.key, store).await? {
            if !store.owns_thumbnails() {
                // It may be another's. Who has the file may see what it shows.
                let source = wish.source.as_ref().ok_or(ThumbnailError::NoSource)?;
                source::find(store, source, wish.key.thumbnail.original()).await?;
            }
            return Ok(Some(stored));
        }
        Ok(None)
    }

    async fn found(
        &self,
        tenant: &Tenancy,
        bytes: Bytes,
        origin: Origin,
    ) -> Result<Found, ThumbnailError> {
        let room = self.room.take(&tenant.id, bytes.len()).await?;
        Ok(Found {
            bytes,
            room,
            origin,
        })
    }

    /// The thumbnail in the tenant's folder; `None` also for one that cannot be.
    async fn stored(
        &self,
        key: &CacheKey,
        store: &TenantStore,
    ) -> Result<Option<Found>, ThumbnailError> {
        let name = ObjectKey::Thumbnail(key.thumbnail);
        let object = match store.get(&name, GetOptions::default()).await {
            Err(TenantStoreError::Store(StoreError::NotFound | StoreError::Corrupt)) => {
                return Ok(None);
            }
            opened => opened?,
        };
        let size = object.info.size_bytes;
        let size = usize::try_from(size)
            .ok()
            .filter(|size| (1..=MAX_STORED_BYTES).contains(size));
        let Some(size) = size else { return Ok(None) };
        let room = self.room.take(&key.tenant.id, size).await?;
        let bytes = object
            .body
            .try_fold(Vec::with_capacity(size), async |mut all, bytes| {
                all.extend_from_slice(&bytes);
                Ok(all)
            });
        match bytes.await {
            Ok(bytes) => Ok(Some(Found {
                bytes: exactly(bytes),
                room,
                origin: Origin::Store,
            })),
            Err(StoreError::Corrupt) => Ok(None),
            Err(error) => Err(TenantStoreError::from(error).into()),
        }
    }

    async fn render(
        &self,
        wish: &Wish,
        seat: Seat<'_>,
        mut source: Source,
    ) -> Result<Found, ThumbnailError> {
        let rendered = seat.render(order(wish.key.thumbnail), &mut source).await;
        // A refusal, too, is said of the file in the name.
        if let Ok(_) | Err(RenderError::Refused(_)) = rendered {
            source.verify().await?;
        }
        let bytes = exactly(rendered?.bytes);
        self.found(&wish.key.tenant, bytes, Origin::Rendered).await
    }

    /// Hands out what was found, and keeps it where it is not yet.
    async fn land(
        &self,
        leader: &Leader,
        store: &TenantStore,
        found: Result<Found, ThumbnailError>,
    ) {
        // Held to the end: who clears waits for it.
        let keeping = leader.keeping().await;
        let wish = leader.wish();
        let Found {
            bytes,
            room,
            origin,
        } = match found {
            Ok(found) => found,
            Err(error) => {
                self.count("failed");
                if let (ThumbnailError::Refused(refusal), true) = (&error, keeping.is_wanted()) {
                    self.failures.remember(&wish.key, *refusal);
                }
                return leader.publish(Err(error));
            }
        };
        self.count(match origin {
            Origin::Memory => "memory",
            Origin::Disk => "disk",
            Origin::Store => "store",
            Origin::Rendered => "rendered",
        });
        if keeping.is_wanted() && origin != Origin::Memory {
            let memory = &self.places.memory;
            memory.put(wish.key.clone(), bytes.clone());
        }
        let bytes = held(bytes, room);
        leader.publish(Ok(bytes.clone()));
        if !keeping.is_wanted() {
            return;
        }
        if let Some(disk) = &self.places.disk
            && matches!(origin, Origin::Store | Origin::Rendered)
        {
            disk.put(&wish.key, &bytes).await;
        }
        if origin == Origin::Rendered {
            self.store(store, &wish.key, bytes).await;
        }
    }

    async fn store(&self, store: &TenantStore, key: &CacheKey, bytes: Bytes) {
        let content_type = media_type(&bytes);
        let payload = Payload::from_bytes(bytes);
        match store
            .put_thumbnail(&key.thumbnail, content_type, payload)
            .await
        {
            Ok(()) => self.recent.made(key),
            Err(error) => {
                self.metrics.unstored_thumbnails.inc();
                tracing::warn!(tenant = key.tenant.id.as_str(), %error, "a thumbnail could not be stored");
            }
        }
    }

    /// Has the first worker started, which tells the log what holds it in.
    pub async fn warm_up(&self) {
        self.places.pool.warm_up().await;
    }

    fn count(&self, from: &'static str) {
        counter(&self.metrics, from).inc();
    }
}

fn counter(metrics: &Metrics, from: &'static str) -> Counter {
    let labels = ThumbnailLabels { from };
    metrics.thumbnails.get_or_create_owned(&labels)
}

fn order(thumbnail: ThumbKey) -> Order {
    Order {
        side: thumbnail.side(),
    }
}

/// Bytes that take no more memory than they are: they may be cached for long.
fn exactly(bytes: Vec<u8>) -> Bytes {
    bytes.into_boxed_slice().into()
}

/// The media type of a thumbnail, whoever has made it. It is shown in a page:
/// no document is one.
#[must_use]
pub fn media_type(thumbnail: &[u8]) -> &'static str {
    let picture = Format::of(thumbnail).filter(|format| *format != Format::Pdf);
    picture.map_or("application/octet-stream", Format::media_type)
}

#[cfg(test)]
mod tests {
    use crate::render::{MAX_SIDE, SIDE_STEP};

    #[test]
    fn sizes_in_names_are_those_that_are_made() {
        let key = crate::cache::tests::key("a", 1, 50);
        let named = key.thumbnail.original().thumbnails().map(|key| key.side());
        let made = (SIDE_STEP..=MAX_SIDE).filter(|side| side.is_multiple_of(SIDE_STEP));
        assert!(named.eq(made));
    }
}
