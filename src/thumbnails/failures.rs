//! Pictures that have no thumbnail: remembered for a while, so that each is
//! not tried again whenever a page shows it.
//!
//! Only what is known of the file in the name is remembered, so that nobody is
//! refused for a wrong source that another has named.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use lru::LruCache;

use crate::cache::{CacheKey, Tenancy};
use crate::key::Original;
use crate::render::Refusal;

/// So many are remembered.
const MAX_REMEMBERED: usize = 4096;

/// What has been refused, and until when that is remembered.
#[derive(Debug)]
pub(super) struct Failures {
    ttl: Duration,
    remembered: Mutex<LruCache<CacheKey, (Refusal, Instant)>>,
}

impl Failures {
    pub(super) fn new(ttl: Duration) -> Self {
        Self {
            ttl,
            remembered: Mutex::new(LruCache::unbounded()),
        }
    }

    pub(super) fn remember(&self, key: &CacheKey, refusal: Refusal) {
        let mut remembered = self.lock();
        remembered.put(key.clone(), (refusal, Instant::now()));
        if remembered.len() > MAX_REMEMBERED {
            remembered.pop_lru();
        }
    }

    pub(super) fn get(&self, key: &CacheKey) -> Option<Refusal> {
        let mut remembered = self.lock();
        let (refusal, since) = *remembered.peek(key)?;
        if since.elapsed() < self.ttl {
            return Some(refusal);
        }
        remembered.pop(key);
        None
    }

    /// Forgets those of an original, or all of a tenant.
    pub(super) fn remove(&self, tenant: &Tenancy, original: Option<Original>) {
        let mut remembered = self.lock();
        let keys = remembered.iter().map(|(key, _)| key);
        let keys = keys.filter(|key| key.is_among(tenant, original));
        for key in keys.cloned().collect::<Vec<_>>() {
            remembered.pop(&key);
        }
    }

    fn lock(&self) -> MutexGuard<'_, LruCache<CacheKey, (Refusal, Instant)>> {
        let remembered = self.remembered.lock();
        remembered.unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::tests::key;

    #[test]
    fn failure_is_remembered_for_a_while() {
        let failures = Failures::new(Duration::from_mins(10));
        let (one, other) = (key("a", 1, 100), key("a", 2, 100));
        failures.remember(&one, Refusal::Broken);
        assert_eq!(failures.get(&one), Some(Refusal::Broken));
        assert_eq!(failures.get(&other), None);
        let brief = Failures::new(Duration::ZERO);
        brief.remember(&one, Refusal::Broken);
        assert_eq!(brief.get(&one), None);
        assert!(brief.lock().is_empty());
    }

    #[test]
    fn so_many_are_remembered_and_cleared_ones_are_not() {
        let failures = Failures::new(Duration::from_mins(10));
        let other = key("b", 2, 100).tenant;
        let key = |number| key("a", number, 100);
        for number in 0..=MAX_REMEMBERED as u64 {
            failures.remember(&key(number), Refusal::Broken);
        }
        assert_eq!(failures.lock().len(), MAX_REMEMBERED);
        assert_eq!(failures.get(&key(0)), None);
        let tenant = key(1).tenant;
        failures.remove(&tenant, Some(key(1).thumbnail.original()));
        assert_eq!(failures.get(&key(1)), None);
        assert!(failures.get(&key(2)).is_some());
        failures.remove(&other, None);
        assert!(failures.get(&key(2)).is_some());
        failures.remove(&tenant, None);
        assert!(failures.lock().is_empty());
    }
}
