//! Finding a free name near a taken one without walking past every taken one.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{LazyLock, Mutex, PoisonError};

use lru::LruCache;

use crate::key::StoreKey;

/// After so many taken names, unique ones are made up.
const MAX_TRIES: u32 = 100;
/// For so many names it is remembered how far they have been counted up.
const REMEMBERED: NonZeroUsize = NonZeroUsize::new(1024).unwrap();

/// Hands out the names to try. Uploads of one name in one process never try
/// the same successor twice, so that a thousand of them do not each walk past
/// all those before.
#[derive(Debug)]
pub struct Names(Mutex<LruCache<StoreKey, u64>>);

impl Default for Names {
    fn default() -> Self {
        Self(Mutex::new(LruCache::new(REMEMBERED)))
    }
}

impl Names {
    /// The names to try for `key`, in order: itself, then its successors, and
    /// at last unique ones. There is always a next.
    pub fn candidates(&self, key: StoreKey) -> impl Iterator<Item = StoreKey> + Send + '_ {
        let mut tries = 0;
        std::iter::from_fn(move || {
            tries += 1;
            match tries {
                1 => Some(key.clone()),
                2..=MAX_TRIES => Some(key.successor(self.next(&key))),
                _ => Some(key.with_nonce(&nonce())),
            }
        })
    }

    fn next(&self, key: &StoreKey) -> u64 {
        let mut names = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let last = names.get_or_insert_mut(key.clone(), || 0);
        *last += 1;
        *last
    }
}

/// 16 hex digits that hardly anybody else has, in whatever process: a count,
/// hashed with a key that the system's randomness was asked for once.
#[must_use]
pub fn nonce() -> String {
    static KEY: LazyLock<RandomState> = LazyLock::new(RandomState::new);
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    format!("{:016x}", KEY.hash_one(count))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::{FileKey, Layout};

    fn key(text: &str) -> StoreKey {
        let layout = Layout::new("", None, None).unwrap();
        layout.file(&FileKey::parse(text).unwrap()).unwrap()
    }

    #[test]
    fn the_wanted_name_comes_first_and_nobody_tries_a_successor_twice() {
        let names = Names::default();
        let (mut one, mut other) = (
            names.candidates(key("2026/100_a")),
            names.candidates(key("2026/100_a")),
        );
        assert_eq!(one.next(), Some(key("2026/100_a")));
        assert_eq!(other.next(), Some(key("2026/100_a")));
        assert_eq!(one.next(), Some(key("2026/101_a")));
        assert_eq!(other.next(), Some(key("2026/102_a")));
        assert_eq!(one.next(), Some(key("2026/103_a")));
    }

    #[test]
    fn in_the_end_a_name_is_made_up() {
        let names = Names::default();
        let last = names
            .candidates(key("100_a"))
            .nth(MAX_TRIES as usize)
            .unwrap();
        assert!(last.as_str().starts_with("100_") && last.as_str().ends_with("_a"));
        assert_eq!(last.as_str().len(), "100_0123456789abcdef_a".len());
    }
}
