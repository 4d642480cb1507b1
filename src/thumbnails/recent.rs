//! Files that this process has just stored. Most likely nobody has asked for
//! their thumbnails yet, so that looking for these in the store would cost a
//! request to S3 and find nothing.
//!
//! It may be wrong: another task may have made one, or the file may have been
//! there under another name. Then the thumbnail is made a second time, which
//! does no harm; for that to be rare it is believed only for a while.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use lru::LruCache;

use crate::cache::{CacheKey, Tenancy};
use crate::key::Original;

/// So many files are remembered.
const MAX_REMEMBERED: usize = 4096;
/// Long enough to write the text of an issue after choosing its files.
const BELIEVED: Duration = Duration::from_mins(10);

/// Files stored lately.
#[derive(Debug)]
pub(super) struct Recent {
    files: Mutex<LruCache<(Tenancy, Original), File>>,
}

#[derive(Clone, Copy, Debug)]
struct File {
    stored: Instant,
    /// A bit for each size of thumbnail that has been made since.
    made: u16,
}

impl Default for Recent {
    fn default() -> Self {
        Self {
            files: Mutex::new(LruCache::unbounded()),
        }
    }
}

impl Recent {
    /// A file has been stored.
    pub(super) fn stored(&self, tenant: &Tenancy, original: Original) {
        let stored = Instant::now();
        let mut files = self.lock();
        files.put((tenant.clone(), original), File { stored, made: 0 });
        if files.len() > MAX_REMEMBERED {
            files.pop_lru();
        }
    }

    /// A thumbnail has been stored.
    pub(super) fn made(&self, key: &CacheKey) {
        let file = (key.tenant.clone(), key.thumbnail.original());
        if let Some(file) = self.lock().peek_mut(&file) {
            file.made |= bit(key);
        }
    }

    /// True when the thumbnail is not to be expected in the store.
    pub(super) fn is_unmade(&self, key: &CacheKey) -> bool {
        let file = (key.tenant.clone(), key.thumbnail.original());
        let files = self.lock();
        let file = files.peek(&file);
        file.is_some_and(|file| file.made & bit(key) == 0 && file.stored.elapsed() < BELIEVED)
    }

    /// Forgets those of a tenant.
    pub(super) fn remove(&self, tenant: &Tenancy) {
        let mut files = self.lock();
        let own = files.iter().map(|(file, _)| file);
        let own = own.filter(|(owner, _)| owner == tenant);
        for file in own.cloned().collect::<Vec<_>>() {
            files.pop(&file);
        }
    }

    fn lock(&self) -> MutexGuard<'_, LruCache<(Tenancy, Original), File>> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn bit(key: &CacheKey) -> u16 {
    1 << key.thumbnail.rank()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::tests::key;

    #[test]
    fn thumbnails_of_new_files_are_unmade_until_they_are_made() {
        let recent = Recent::default();
        let (small, large) = (key("a", 1, 50), key("a", 1, 800));
        assert!(!recent.is_unmade(&small));
        recent.stored(&small.tenant, small.thumbnail.original());
        assert!(recent.is_unmade(&small) && recent.is_unmade(&large));
        assert!(!recent.is_unmade(&key("b", 1, 50)));
        recent.made(&large);
        assert!(recent.is_unmade(&small) && !recent.is_unmade(&large));
    }

    #[test]
    fn only_so_many_files_are_remembered() {
        let recent = Recent::default();
        let file = |number| key("a", number, 50);
        for number in 0..=MAX_REMEMBERED as u64 {
            let key = file(number);
            recent.stored(&key.tenant, key.thumbnail.original());
        }
        assert!(!recent.is_unmade(&file(0)));
        assert!(recent.is_unmade(&file(1)));
    }
}
