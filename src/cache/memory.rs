//! The cache in memory: the least recently used goes first.

use std::mem;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use lru::LruCache;

use super::{CacheKey, Tenancy};
use crate::key::Original;
use crate::metrics::{CacheMetrics, Metrics};

/// What an entry takes besides its bytes: the key and the tenant's id in it,
/// the links of the list, the slot of the table and the allocator's share.
const ENTRY_BYTES: usize = mem::size_of::<CacheKey>() + 160;

/// Thumbnails in memory.
#[derive(Debug)]
pub struct MemoryCache {
    max_bytes: usize,
    kept: Mutex<Kept>,
    metrics: CacheMetrics,
}

#[derive(Debug)]
struct Kept {
    entries: LruCache<CacheKey, Bytes>,
    bytes: usize,
}

impl MemoryCache {
    /// A cache of so many bytes, all that it takes included; 0 for none.
    #[must_use]
    pub fn new(max_bytes: usize, metrics: &Metrics) -> Self {
        Self {
            max_bytes,
            kept: Mutex::new(Kept {
                entries: LruCache::unbounded(),
                bytes: 0,
            }),
            metrics: metrics.cache("memory"),
        }
    }

    /// A thumbnail, if it is there.
    #[must_use]
    pub fn get(&self, key: &CacheKey) -> Option<Bytes> {
        self.lock().entries.get(key).cloned()
    }

    /// Keeps a thumbnail in place of an earlier one. The memory of `bytes` is
    /// taken to be no larger than they are.
    pub fn put(&self, key: CacheKey, bytes: Bytes) {
        let mut kept = self.lock();
        kept.remove(&key);
        let cost = cost(&bytes);
        if cost > self.max_bytes {
            return self.report(&kept);
        }
        kept.bytes += cost;
        kept.entries.put(key, bytes);
        while kept.bytes > self.max_bytes
            && let Some((_, oldest)) = kept.entries.pop_lru()
        {
            kept.bytes -= self::cost(&oldest);
            self.metrics.evictions.inc();
        }
        self.report(&kept);
    }

    /// Removes the thumbnails of one original, or all of the tenant's.
    pub fn remove(&self, tenant: &Tenancy, original: Option<Original>) {
        let mut kept = self.lock();
        let keys: Vec<_> = if let Some(original) = original {
            CacheKey::all_of(tenant, original).collect()
        } else {
            let keys = kept.entries.iter().map(|(key, _)| key);
            keys.filter(|key| key.tenant == *tenant).cloned().collect()
        };
        for key in &keys {
            kept.remove(key);
        }
        self.report(&kept);
    }

    fn report(&self, kept: &Kept) {
        self.metrics.bytes.set(kept.bytes as u64);
        self.metrics.entries.set(kept.entries.len() as u64);
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        // The state is consistent whenever the lock is free.
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    fn remove(&mut self, key: &CacheKey) {
        if let Some(bytes) = self.entries.pop(key) {
            self.bytes -= cost(&bytes);
        }
    }
}

fn cost(bytes: &Bytes) -> usize {
    bytes.len() + ENTRY_BYTES
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::tests::key;

    const SIZE: usize = 1000;

    fn cache(entries: usize) -> MemoryCache {
        MemoryCache::new(entries * (SIZE + ENTRY_BYTES), &Metrics::default())
    }

    fn thumbnail() -> Bytes {
        Bytes::from(vec![7; SIZE])
    }

    #[test]
    fn least_recently_used_makes_room() {
        let cache = cache(2);
        cache.put(key("a", 1, 100), thumbnail());
        cache.put(key("a", 2, 100), thumbnail());
        assert!(cache.get(&key("a", 1, 100)).is_some());
        cache.put(key("a", 3, 100), thumbnail());
        assert!(cache.get(&key("a", 1, 100)).is_some());
        assert!(cache.get(&key("a", 2, 100)).is_none());
        assert!(cache.get(&key("a", 3, 100)).is_some());
        assert_eq!(cache.metrics.evictions.get(), 1);
    }

    #[test]
    fn bytes_are_those_of_what_is_there() {
        let cache = cache(2);
        let all = (SIZE + ENTRY_BYTES) as u64;
        cache.put(key("a", 1, 100), thumbnail());
        cache.put(key("a", 1, 100), thumbnail());
        assert_eq!(cache.metrics.bytes.get(), all);
        // What is larger than the whole cache leaves it alone.
        cache.put(key("a", 2, 100), Bytes::from(vec![7; 4 * SIZE]));
        assert_eq!(cache.metrics.bytes.get(), all);
        cache.put(key("a", 1, 100), Bytes::from(vec![7; 4 * SIZE]));
        assert_eq!(cache.metrics.bytes.get(), 0);
        assert_eq!(cache.metrics.entries.get(), 0);
    }

    #[test]
    fn removing_concerns_one_tenant_and_if_wanted_one_original() {
        let cache = cache(10);
        let keys = [
            key("a", 1, 100),
            key("a", 1, 200),
            key("a", 2, 100),
            key("b", 1, 100),
        ];
        for key in &keys {
            cache.put(key.clone(), thumbnail());
        }
        let there = || keys.each_ref().map(|key| cache.get(key).is_some());
        cache.remove(&keys[0].tenant, Some(keys[0].thumbnail.original()));
        assert_eq!(there(), [false, false, true, true]);
        cache.remove(&keys[0].tenant, None);
        assert_eq!(there(), [false, false, false, true]);
        let cost = (SIZE + ENTRY_BYTES) as u64;
        assert_eq!(cache.metrics.bytes.get(), cost);
    }

    #[test]
    fn tenants_share_nothing() {
        let cache = cache(10);
        cache.put(key("a", 1, 100), thumbnail());
        assert!(cache.get(&key("b", 1, 100)).is_none());
        assert!(cache.get(&key("A", 1, 100)).is_none());
    }
}
