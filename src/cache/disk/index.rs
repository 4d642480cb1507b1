//! Which files there are, how large, and which was used when: all that is
//! known of the cache on disk without looking at it.

use std::collections::HashMap;
use std::fmt;

use crate::cache::{CacheKey, Tenancy};
use crate::digest::Digest;

/// File systems give out space in blocks of this size, mostly.
const BLOCK_BYTES: u64 = 4096;
/// Room is made for some more at once, so that looking for what is oldest is
/// seldom needed.
const SLACK: u64 = 64;

const TENANT_BYTES: usize = 6;
const ORIGINAL_BYTES: usize = 9;

/// The name of a file: hashes, so that it has nothing of a tenant's, and is as
/// short in memory as it can be. Should two thumbnails ever have the same, the
/// file says whose it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct EntryId([u8; TENANT_BYTES + ORIGINAL_BYTES + 1]);

impl EntryId {
    pub(super) fn of(key: &CacheKey) -> Self {
        let original = Digest::of(key.thumbnail.original().to_string().as_bytes());
        let mut id = [key.thumbnail.rank(); TENANT_BYTES + ORIGINAL_BYTES + 1];
        let (tenant_part, rest) = id.split_at_mut(TENANT_BYTES);
        tenant_part.copy_from_slice(&tenant_hash(&key.tenant));
        rest[..ORIGINAL_BYTES].copy_from_slice(&original.as_bytes()[..ORIGINAL_BYTES]);
        Self(id)
    }

    /// Where the file lies: in one of 256 folders.
    pub(super) fn path(self) -> String {
        format!("{:02x}/{self}", self.0[TENANT_BYTES])
    }

    /// Reads the name of a file.
    pub(super) fn parse(name: &str) -> Option<Self> {
        let number = u128::from_str_radix(name, 16).ok()?;
        let id = Self(number.to_be_bytes());
        // Of all spellings of a number only one is a name.
        (id.to_string() == name).then_some(id)
    }
}

impl fmt::Display for EntryId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{:032x}", u128::from_be_bytes(self.0))
    }
}

fn tenant_hash(tenant: &Tenancy) -> [u8; TENANT_BYTES] {
    let digest = Digest::of(tenant.to_string().as_bytes());
    let mut hash = [0; TENANT_BYTES];
    hash.copy_from_slice(&digest.as_bytes()[..TENANT_BYTES]);
    hash
}

/// What is known of a file.
#[derive(Clone, Copy, Debug)]
struct Entry {
    /// Larger for what was used later.
    used: u64,
    blocks: u32,
}

/// All files of the cache.
#[derive(Debug, Default)]
pub(super) struct Index {
    entries: HashMap<EntryId, Entry>,
    blocks: u64,
    clock: u64,
}

impl Index {
    /// Times before the start are smaller than all since.
    pub(super) fn starting_at(clock: u64) -> Self {
        Self {
            clock,
            ..Self::default()
        }
    }

    pub(super) fn contains(&self, id: EntryId) -> bool {
        self.entries.contains_key(&id)
    }

    /// Notes that a file of so many bytes is there and has just been used.
    pub(super) fn note(&mut self, id: EntryId, bytes: u64) {
        self.clock += 1;
        self.insert(id, bytes, self.clock);
    }

    /// Notes a file that was there before the start, if nothing newer is known.
    pub(super) fn note_old(&mut self, id: EntryId, bytes: u64, used: u64) {
        if !self.contains(id) {
            self.insert(id, bytes, used);
        }
    }

    fn insert(&mut self, id: EntryId, bytes: u64, used: u64) {
        let blocks = u32::try_from(bytes.div_ceil(BLOCK_BYTES)).unwrap_or(u32::MAX);
        self.remove(id);
        self.blocks += u64::from(blocks);
        self.entries.insert(id, Entry { used, blocks });
    }

    pub(super) fn remove(&mut self, id: EntryId) {
        if let Some(entry) = self.entries.remove(&id) {
            self.blocks -= u64::from(entry.blocks);
        }
    }

    /// All files of a tenant.
    pub(super) fn of_tenant(&self, tenant: &Tenancy) -> Vec<EntryId> {
        let hash = tenant_hash(tenant);
        let ids = self.entries.keys();
        ids.filter(|id| id.0.starts_with(&hash)).copied().collect()
    }

    /// Takes out what was not used for longest until the rest fits `max_bytes`,
    /// with some room to spare if anything has to go at all.
    pub(super) fn evict(&mut self, max_bytes: u64) -> Vec<EntryId> {
        if self.bytes() <= max_bytes {
            return Vec::new();
        }
        let wanted = (max_bytes - max_bytes / SLACK) / BLOCK_BYTES;
        let mut ages: Vec<(u64, u32)> = self.entries.values().map(|e| (e.used, e.blocks)).collect();
        ages.sort_unstable();
        let mut left = self.blocks;
        let first_kept = ages.iter().find_map(|(used, blocks)| {
            let kept = (left <= wanted).then_some(*used);
            left -= u64::from(*blocks);
            kept
        });
        let goes = |entry: &Entry| first_kept.is_none_or(|first| entry.used < first);
        let gone = self.entries.extract_if(|_, entry| goes(entry));
        let gone: Vec<_> = gone.collect();
        for (_, entry) in &gone {
            self.blocks -= u64::from(entry.blocks);
        }
        gone.into_iter().map(|(id, _)| id).collect()
    }

    pub(super) fn bytes(&self) -> u64 {
        self.blocks * BLOCK_BYTES
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::tests::key;

    fn id(number: u64) -> EntryId {
        EntryId::of(&key("a", number, 100))
    }

    #[test]
    fn names_tell_all_thumbnails_apart_and_read_back() {
        let all = [
            key("a", 1, 100),
            key("a", 1, 150),
            key("a", 2, 100),
            key("b", 1, 100),
        ];
        for one in &all {
            let id = EntryId::of(one);
            assert_eq!(EntryId::parse(&id.to_string()), Some(id));
            let same = all.iter().filter(|other| EntryId::of(other) == id);
            assert_eq!(same.count(), 1);
        }
        for name in ["", "lock", "+1", &"f".repeat(33), &"F".repeat(32)] {
            assert_eq!(EntryId::parse(name), None, "{name}");
        }
    }

    #[test]
    fn what_was_not_used_for_longest_goes_first() {
        let mut index = Index::starting_at(100);
        index.note(id(1), 1);
        index.note(id(2), BLOCK_BYTES + 1);
        index.note_old(id(3), 1, 7);
        // What is known is newer than what is found.
        index.note_old(id(1), 1, 7);
        assert_eq!(index.bytes(), 4 * BLOCK_BYTES);
        assert_eq!(index.evict(4 * BLOCK_BYTES), []);
        assert_eq!(index.evict(4 * BLOCK_BYTES - 1), [id(3),]);
        index.note(id(1), 1);
        assert_eq!(index.evict(2 * BLOCK_BYTES), [id(2)]);
        assert_eq!(index.bytes(), BLOCK_BYTES);
        assert_eq!(index.evict(0), [id(1)]);
        assert_eq!((index.bytes(), index.len()), (0, 0));
    }

    #[test]
    fn some_room_is_made_at_once() {
        let mut index = Index::default();
        let max = 1024;
        for number in 0..=max {
            index.note(id(number), 1);
        }
        let gone = index.evict(max * BLOCK_BYTES);
        assert_eq!(gone.len() as u64, max / SLACK + 1);
        assert!(index.contains(id(max)) && !index.contains(id(0)));
    }

    #[test]
    fn tenants_files_are_found() {
        let mut index = Index::default();
        index.note(id(1), 1);
        index.note(EntryId::of(&key("b", 1, 100)), 1);
        assert_eq!(index.of_tenant(&key("a", 9, 50).tenant), [id(1)]);
    }
}
