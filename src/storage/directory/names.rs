//! Which successor of a taken name to try next.
//!
//! Counting up from the first each time would make the n-th upload of one
//! name cost n tries. The store remembers where it was; the tree alone decides
//! whether a name is free.

use std::num::NonZeroUsize;
use std::sync::{Mutex, PoisonError};

use lru::LruCache;

use crate::key::StoreKey;

/// Names are taken again and again only while an upload storm lasts.
const REMEMBERED: NonZeroUsize = NonZeroUsize::new(1024).unwrap();

/// The last successor tried of each name that was taken lately.
#[derive(Debug)]
pub(super) struct Names {
    last_tried: Mutex<LruCache<StoreKey, u64>>,
}

impl Default for Names {
    fn default() -> Self {
        Self {
            last_tried: Mutex::new(LruCache::new(REMEMBERED)),
        }
    }
}

impl Names {
    /// A successor that nobody else in this process is trying.
    pub(super) fn next(&self, taken: &StoreKey) -> StoreKey {
        let mut last_tried = self
            .last_tried
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let n = last_tried.get_or_insert_mut(taken.clone(), || 0);
        *n += 1;
        taken.successor(*n)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::{FileKey, Layout};

    #[test]
    fn each_try_gets_another_successor() {
        let layout = Layout::new("", None, None).unwrap();
        let key = |text| layout.file(&FileKey::parse(text).unwrap()).unwrap();
        let names = Names::default();
        let taken = key("2026/100_a");
        assert_eq!(names.next(&taken), key("2026/101_a"));
        assert_eq!(names.next(&key("2026/100_b")), key("2026/101_b"));
        assert_eq!(names.next(&taken), key("2026/102_a"));
    }
}
