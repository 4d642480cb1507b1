//! Pictures that have no thumbnail: remembered for a while, so that each is
//! not tried again whenever a page shows it.
//!
//! The source is a part of what is remembered. It need not have been read to
//! its end, so that it may not be what the name says; only who names the same
//! source again is told the same.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use lru::LruCache;

use super::Wish;
use crate::key::Original;
use crate::render::Refusal;
use crate::tenant::TenantId;

/// So many are remembered.
const MAX_REMEMBERED: usize = 4096;

/// What has been refused, and until when that is remembered.
#[derive(Debug)]
pub(super) struct Failures {
    ttl: Duration,
    remembered: Mutex<LruCache<Wish, (Refusal, Instant)>>,
}

impl Failures {
    pub(super) fn new(ttl: Duration) -> Self {
        Self {
            ttl,
            remembered: Mutex::new(LruCache::unbounded()),
        }
    }

    pub(super) fn remember(&self, wish: &Wish, refusal: Refusal) {
        let mut remembered = self.lock();
        remembered.put(wish.clone(), (refusal, Instant::now()));
        if remembered.len() > MAX_REMEMBERED {
            remembered.pop_lru();
        }
    }

    pub(super) fn get(&self, wish: &Wish) -> Option<Refusal> {
        let mut remembered = self.lock();
        let (refusal, since) = *remembered.peek(wish)?;
        if since.elapsed() < self.ttl {
            return Some(refusal);
        }
        remembered.pop(wish);
        None
    }

    /// Forgets those of an original, or all of a tenant.
    pub(super) fn remove(&self, tenant: &TenantId, original: Option<Original>) {
        let mut remembered = self.lock();
        let wishes = remembered.iter().map(|(wish, _)| wish);
        let wishes = wishes.filter(|wish| wish.key.is_among(tenant, original));
        for wish in wishes.cloned().collect::<Vec<_>>() {
            remembered.pop(&wish);
        }
    }

    fn lock(&self) -> MutexGuard<'_, LruCache<Wish, (Refusal, Instant)>> {
        let remembered = self.remembered.lock();
        remembered.unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::tests::key;
    use crate::key::FileKey;

    fn wish(number: u64, source: &str) -> Wish {
        Wish {
            key: key("a", number, 100),
            source: FileKey::parse(source).ok(),
        }
    }

    #[test]
    fn failure_is_remembered_of_one_source_for_a_while() {
        let failures = Failures::new(Duration::from_mins(10));
        failures.remember(&wish(1, "x"), Refusal::Broken);
        assert_eq!(failures.get(&wish(1, "x")), Some(Refusal::Broken));
        assert_eq!(failures.get(&wish(1, "y")), None);
        assert_eq!(failures.get(&wish(2, "x")), None);
        let brief = Failures::new(Duration::ZERO);
        brief.remember(&wish(1, "x"), Refusal::Broken);
        assert_eq!(brief.get(&wish(1, "x")), None);
        assert!(brief.lock().is_empty());
    }

    #[test]
    fn so_many_are_remembered_and_cleared_ones_are_not() {
        let failures = Failures::new(Duration::from_mins(10));
        for number in 0..=MAX_REMEMBERED as u64 {
            failures.remember(&wish(number, "x"), Refusal::Broken);
        }
        assert_eq!(failures.lock().len(), MAX_REMEMBERED);
        assert_eq!(failures.get(&wish(0, "x")), None);
        let Wish { key, .. } = wish(1, "x");
        failures.remove(&key.tenant, Some(key.thumbnail.original()));
        assert_eq!(failures.get(&wish(1, "x")), None);
        assert!(failures.get(&wish(2, "x")).is_some());
        failures.remove(&"b".parse().unwrap(), None);
        assert!(failures.get(&wish(2, "x")).is_some());
        failures.remove(&key.tenant, None);
        assert!(failures.lock().is_empty());
    }
}
