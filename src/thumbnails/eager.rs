//! Thumbnails made of what has just been uploaded, from the bytes in hand.
//!
//! It is a favour: no upload is slower or fails because of it, so that nothing
//! is taken from the memory for uploads. Whatever there is no room for is left
//! to whoever looks at it first.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use futures_util::{TryStreamExt, stream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tracing::Instrument;

use super::{Join, Origin, Thumbnails, Wish, exactly, order};
use crate::cache::{CacheKey, Tenancy};
use crate::digest::FileDigest;
use crate::key::{FileKey, Original, ThumbKey};
use crate::metrics::EagerLabels;
use crate::render::format::Format;
use crate::render::pool::Urgency;
use crate::storage::scoped::{StoredFile, TenantStore};
use crate::storage::{Payload, StoreError};

/// A larger upload is not kept in memory for it, in bytes.
const MAX_BYTES: usize = 8 << 20;
/// Uploads whose thumbnails are being made, will be, or are being stored.
const MAX_UPLOADS: usize = 4;

/// What is made of each upload.
#[derive(Debug)]
pub(super) struct Eager {
    sides: Vec<u32>,
    places: Arc<Semaphore>,
}

impl Eager {
    pub(super) fn new(sides: Vec<u32>) -> Self {
        Self {
            sides,
            places: Arc::new(Semaphore::new(MAX_UPLOADS)),
        }
    }
}

/// An upload that is watched as it passes.
#[derive(Debug)]
pub struct Watched(Arc<Mutex<Seen>>);

/// What has been seen of an upload.
#[derive(Debug)]
enum Seen {
    /// Nothing.
    Nothing,
    /// A picture, of which all was kept so far.
    Picture(Kept),
    /// Nothing of which thumbnails are made, or too much.
    Uninteresting,
    /// A picture that there was no room for.
    Skipped,
}

/// The bytes of an upload. They are copied: pieces of the connection's buffers
/// would take more memory than they have bytes.
#[derive(Debug)]
struct Kept {
    bytes: Vec<u8>,
    room_bytes: usize,
    place: OwnedSemaphorePermit,
}

impl Thumbnails {
    /// Watches an upload, and keeps its bytes if thumbnails are to be made of
    /// them.
    #[must_use]
    pub fn watch(&self, payload: Payload) -> (Payload, Watched) {
        let seen = Arc::new(Mutex::new(Seen::Nothing));
        let watched = Watched(Arc::clone(&seen));
        if self.eager.sides.is_empty() {
            return (payload, watched);
        }
        let length = payload.length.map(usize::try_from);
        let wanted_bytes = length.map_or(MAX_BYTES, |length| length.unwrap_or(usize::MAX));
        let places = Arc::clone(&self.eager.places);
        let room = move || {
            if wanted_bytes > MAX_BYTES {
                return None;
            }
            let place = Arc::clone(&places).try_acquire_owned().ok()?;
            Some(Kept {
                bytes: Vec::with_capacity(wanted_bytes),
                room_bytes: wanted_bytes,
                place,
            })
        };
        let stream = payload.stream.inspect_ok(move |bytes| {
            let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
            seen.note(bytes, &room);
        });
        let payload = Payload {
            stream: Box::pin(stream),
            length: payload.length,
        };
        (payload, watched)
    }

    /// A watched upload has been stored: makes its thumbnails in the
    /// background.
    pub fn uploaded(
        self: &Arc<Self>,
        tenant: &Tenancy,
        store: &TenantStore,
        stored: StoredFile,
        watched: &Watched,
    ) {
        let original = Original {
            digest: FileDigest::Sha256(stored.digest),
            size_bytes: stored.size_bytes,
        };
        self.recent.stored(tenant, original);
        let seen = watched.0.lock();
        let mut seen = seen.unwrap_or_else(PoisonError::into_inner);
        match std::mem::replace(&mut *seen, Seen::Uninteresting) {
            Seen::Picture(kept) => {
                let (service, tenant, store) = (Arc::clone(self), tenant.clone(), store.clone());
                let making = async move {
                    let making = service.make(&tenant, &store, &stored.key, original, kept);
                    making.await;
                };
                self.tasks.spawn(making.in_current_span());
            }
            Seen::Skipped => self.count_eager("skipped"),
            Seen::Nothing | Seen::Uninteresting => {}
        }
    }

    async fn make(
        self: &Arc<Self>,
        tenant: &Tenancy,
        store: &TenantStore,
        source: &FileKey,
        original: Original,
        kept: Kept,
    ) {
        let Kept { bytes, place, .. } = kept;
        let bytes = Bytes::from(bytes);
        let mut landing = JoinSet::new();
        let sides = self.eager.sides.iter();
        for thumbnail in sides.filter_map(|side| ThumbKey::new(original, *side).ok()) {
            let key = CacheKey {
                tenant: tenant.clone(),
                thumbnail,
            };
            if self.places.memory.get(&key).is_some() {
                continue;
            }
            // Only then is it under way: nobody waits for what has no worker.
            let Ok(seat) = self.places.pool.seat(&tenant.id, Urgency::Bulk).await else {
                self.count_eager("skipped");
                break;
            };
            let source = Some(source.clone());
            let Ok(Join::First(leader)) = self.flights.join(Wish { key, source }) else {
                continue;
            };
            let mut all = stream::iter([Ok::<_, StoreError>(bytes.clone())]);
            let rendered = seat.render(order(thumbnail), &mut all).await;
            let found = match rendered {
                Ok(made) => {
                    self.found(tenant, exactly(made.bytes), Origin::Rendered)
                        .await
                }
                Err(error) => Err(error.into()),
            };
            self.count_eager(if found.is_ok() { "made" } else { "failed" });
            let (service, store) = (Arc::clone(self), store.clone());
            let land = async move { service.land(&leader, &store, found).await };
            landing.spawn(land.in_current_span());
        }
        // Storing them may take long, and does not need it.
        drop(bytes);
        while landing.join_next().await.is_some() {}
        drop(place);
    }

    fn count_eager(&self, outcome: &'static str) {
        let labels = EagerLabels { outcome };
        self.metrics.eager_thumbnails.get_or_create(&labels).inc();
    }
}

impl Seen {
    /// Takes the next bytes. What the first of them are says what all are.
    fn note(&mut self, bytes: &Bytes, room: impl Fn() -> Option<Kept>) {
        if matches!(self, Self::Nothing) && !bytes.is_empty() {
            *self = match Format::of(bytes) {
                Some(_) => room().map_or(Self::Skipped, Self::Picture),
                None => Self::Uninteresting,
            };
        }
        if let Self::Picture(kept) = self {
            if kept.bytes.len() + bytes.len() <= kept.room_bytes {
                kept.bytes.extend_from_slice(bytes);
            } else {
                *self = Self::Skipped;
            }
        }
    }
}
