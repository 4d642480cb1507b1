//! Which files there are, and until when each is leased: all that is known of
//! them without looking at the disk.
//!
//! What a lease was given for stays until that has expired, whatever happens
//! to the file's key meanwhile.

use std::collections::HashMap;
use std::time::SystemTime;

use crate::digest::Digest;

/// File systems give out space in blocks of this size, mostly. A file takes
/// one for its folder, too.
const BLOCK_BYTES: u64 = 4096;
/// Where room has to be made, some more is made at once, so that looking for
/// what has expired is seldom needed.
const SLACK: u64 = 64;

/// A key of a tenant, by hashes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Owner {
    /// Of the tenant and the secret: nobody else can guess it.
    pub(super) tenant: u128,
    /// Of the key.
    pub(super) key: u128,
}

/// Bytes that a key has, or had: the beginning of their SHA-256.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Version(pub(super) u128);

impl Version {
    pub(super) fn of(digest: Digest) -> Self {
        let (first, _) = digest.as_bytes().split_at(16);
        Self(
            first
                .iter()
                .fold(0, |sum, byte| sum << 8 | u128::from(*byte)),
        )
    }
}

/// A file that is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct FileId {
    pub(super) owner: Owner,
    pub(super) version: Version,
}

/// What is known of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) version: Version,
    /// What the store called these bytes, where it is known.
    pub(super) etag: Option<String>,
    pub(super) size_bytes: u64,
    pub(super) expires_at: SystemTime,
    /// False when the key may have other bytes by now, or none: then it is
    /// not leased anew by its digest.
    pub(super) current: bool,
}

/// There is not enough room that is not leased.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NoRoom;

/// All files.
#[derive(Debug, Default)]
pub(super) struct Index {
    entries: HashMap<Owner, Vec<Entry>>,
    bytes: u64,
    count: u64,
}

impl Index {
    /// What a file of this size takes on disk, in bytes.
    pub(super) fn space(size_bytes: u64) -> u64 {
        size_bytes
            .div_ceil(BLOCK_BYTES)
            .saturating_add(1)
            .saturating_mul(BLOCK_BYTES)
    }

    /// What all files take, in bytes.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// How many files there are.
    pub(super) fn count(&self) -> u64 {
        self.count
    }

    fn of(&self, owner: Owner) -> &[Entry] {
        self.entries.get(&owner).map_or(&[], Vec::as_slice)
    }

    /// True when a key has any file.
    pub(super) fn has(&self, owner: Owner) -> bool {
        !self.of(owner).is_empty()
    }

    pub(super) fn get(&self, id: FileId) -> Option<&Entry> {
        let mut entries = self.of(id.owner).iter();
        entries.find(|entry| entry.version == id.version)
    }

    /// The file that has what the store has under this digest or `ETag`.
    pub(super) fn current(
        &self,
        owner: Owner,
        digest: Option<Digest>,
        etag: &str,
    ) -> Option<Version> {
        let same = |entry: &&Entry| match digest {
            Some(digest) => entry.version == Version::of(digest),
            None => entry.etag.as_deref() == Some(etag),
        };
        let mut entries = self.of(owner).iter().filter(|entry| entry.current);
        entries.find(same).map(|entry| entry.version)
    }

    /// Notes a file, in place of what was known of it.
    pub(super) fn insert(&mut self, owner: Owner, entry: Entry) {
        let version = entry.version;
        self.remove(FileId { owner, version });
        self.bytes += Self::space(entry.size_bytes);
        self.count += 1;
        self.entries.entry(owner).or_default().push(entry);
    }

    /// Notes that a lease lasts until then at least, and returns until when.
    pub(super) fn extend(&mut self, id: FileId, until: SystemTime) -> SystemTime {
        let entries = self.entries.get_mut(&id.owner).into_iter().flatten();
        let mut expires_at = until;
        for entry in entries.filter(|entry| entry.version == id.version) {
            entry.expires_at = entry.expires_at.max(until);
            expires_at = entry.expires_at;
        }
        expires_at
    }

    /// Nothing of this key is current any more. Returns its files.
    pub(super) fn withdraw(&mut self, owner: Owner) -> Vec<FileId> {
        let entries = self.entries.get_mut(&owner).into_iter().flatten();
        entries
            .map(|entry| {
                entry.current = false;
                let version = entry.version;
                FileId { owner, version }
            })
            .collect()
    }

    /// The keys of a tenant that have any file.
    pub(super) fn owners(&self, tenant: u128) -> Vec<Owner> {
        let owners = self.entries.keys().copied();
        owners.filter(|owner| owner.tenant == tenant).collect()
    }

    pub(super) fn remove(&mut self, id: FileId) {
        let Some(entries) = self.entries.get_mut(&id.owner) else {
            return;
        };
        let gone = entries.extract_if(.., |entry| entry.version == id.version);
        for entry in gone {
            self.bytes -= Self::space(entry.size_bytes);
            self.count -= 1;
        }
        if entries.is_empty() {
            self.entries.remove(&id.owner);
        }
    }

    /// Takes out what is neither current nor leased.
    pub(super) fn sweep(&mut self, now: SystemTime) -> Vec<FileId> {
        let useless = self.expired(now, |_, entry| !entry.current);
        let useless: Vec<_> = useless.into_iter().map(|(_, _, id)| id).collect();
        for id in &useless {
            self.remove(*id);
        }
        useless
    }

    /// When the first lease of what is not current expires.
    pub(super) fn first_to_sweep(&self) -> Option<SystemTime> {
        let withdrawn = self.entries.values().flatten();
        let withdrawn = withdrawn.filter(|entry| !entry.current);
        withdrawn.map(|entry| entry.expires_at).min()
    }

    /// What the files of a tenant take, or all, in bytes.
    fn bytes_of(&self, tenant: Option<u128>) -> u64 {
        let Some(tenant) = tenant else {
            return self.bytes;
        };
        let own = self
            .entries
            .iter()
            .filter(|(owner, _)| owner.tenant == tenant);
        let own = own.flat_map(|(_, entries)| entries);
        own.map(|entry| Self::space(entry.size_bytes)).sum()
    }

    /// Takes out what is not leased, and was leased longest ago, of a tenant or
    /// of all, until what is left of it and `wanted` bytes more fit into
    /// `max_bytes`.
    pub(super) fn make_room(
        &mut self,
        tenant: Option<u128>,
        wanted: u64,
        max_bytes: u64,
        now: SystemTime,
    ) -> Result<Vec<FileId>, NoRoom> {
        let left = max_bytes.checked_sub(wanted).ok_or(NoRoom)?;
        let mut used = self.bytes_of(tenant);
        if used <= left {
            return Ok(Vec::new());
        }
        let own = |owner: Owner| tenant.is_none_or(|tenant| tenant == owner.tenant);
        let mut expired = self.expired(now, |owner, _| own(owner));
        let freed: u64 = expired.iter().map(|(_, bytes, _)| bytes).sum();
        if used - freed > left {
            return Err(NoRoom);
        }
        expired.sort_unstable_by_key(|(expired_at, ..)| *expired_at);
        let left = left.saturating_sub(max_bytes / SLACK);
        let mut gone = Vec::new();
        for (_, bytes, id) in expired {
            if used <= left {
                break;
            }
            self.remove(id);
            used -= bytes;
            gone.push(id);
        }
        Ok(gone)
    }

    /// When each of the files expired that have, what it takes, and which.
    fn expired(
        &self,
        now: SystemTime,
        wanted: impl Fn(Owner, &Entry) -> bool,
    ) -> Vec<(SystemTime, u64, FileId)> {
        let all = self.entries.iter();
        let all = all.flat_map(|(owner, entries)| entries.iter().map(|entry| (*owner, entry)));
        let expired = all.filter(|(owner, entry)| entry.expires_at <= now && wanted(*owner, entry));
        expired
            .map(|(owner, entry)| {
                let version = entry.version;
                let id = FileId { owner, version };
                (entry.expires_at, Self::space(entry.size_bytes), id)
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    fn at(seconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(seconds)
    }

    fn owner(key: u128) -> Owner {
        Owner { tenant: 1, key }
    }

    fn entry(version: u128, expires_at: u64) -> Entry {
        Entry {
            version: Version(version),
            etag: Some(format!("\"{version}\"")),
            size_bytes: 1,
            expires_at: at(expires_at),
            current: true,
        }
    }

    fn id(key: u128, version: u128) -> FileId {
        FileId {
            owner: owner(key),
            version: Version(version),
        }
    }

    const EACH: u64 = 2 * BLOCK_BYTES;

    #[test]
    fn what_expired_first_goes_first_and_what_is_leased_stays() {
        let mut index = Index::default();
        index.insert(owner(1), entry(1, 30));
        index.insert(owner(2), entry(1, 10));
        index.insert(owner(3), entry(1, 20));
        assert_eq!((index.bytes(), index.count()), (3 * EACH, 3));
        let room = |index: &mut Index, now| index.make_room(None, EACH, 3 * EACH, at(now));
        assert_eq!(room(&mut index, 9), Err(NoRoom));
        assert_eq!(index.count(), 3);
        assert_eq!(room(&mut index, 20), Ok(vec![id(2, 1), id(3, 1)]));
        assert_eq!(room(&mut index, 20), Ok(vec![]));
        assert_eq!(
            index.make_room(None, 4 * EACH, 3 * EACH, at(99)),
            Err(NoRoom)
        );
        assert_eq!((index.bytes(), index.count()), (EACH, 1));
    }

    #[test]
    fn tenant_makes_room_of_its_own_files() {
        let mut index = Index::default();
        let (own, other) = (owner(1), Owner { tenant: 2, key: 1 });
        index.insert(other, entry(1, 10));
        index.insert(own, entry(1, 20));
        let room = |index: &mut Index, now| index.make_room(Some(1), EACH, EACH, at(now));
        assert_eq!(room(&mut index, 19), Err(NoRoom));
        assert_eq!(room(&mut index, 20), Ok(vec![id(1, 1)]));
        assert_eq!(room(&mut index, 20), Ok(vec![]));
        assert!(index.has(other));
    }

    #[test]
    fn lease_is_extended_and_never_shortened() {
        let mut index = Index::default();
        index.insert(owner(1), entry(1, 30));
        assert_eq!(index.extend(id(1, 1), at(20)), at(30));
        assert_eq!(index.extend(id(1, 1), at(40)), at(40));
        assert_eq!(index.make_room(None, 1, EACH, at(39)), Err(NoRoom));
        assert_eq!(index.make_room(None, 1, EACH, at(40)), Ok(vec![id(1, 1)]));
    }

    #[test]
    fn what_was_withdrawn_is_not_found_and_stays_while_it_is_leased() {
        let mut index = Index::default();
        let found = |index: &Index| index.current(owner(1), None, "\"1\"");
        index.insert(owner(1), entry(1, 30));
        index.insert(owner(1), entry(2, 10));
        assert_eq!(found(&index), Some(Version(1)));
        assert_eq!(index.first_to_sweep(), None);
        assert_eq!(index.withdraw(owner(1)), [id(1, 1), id(1, 2)]);
        assert_eq!(index.withdraw(owner(2)), []);
        assert_eq!(found(&index), None);
        assert!(index.has(owner(1)) && index.get(id(1, 1)).is_some());
        assert_eq!(index.first_to_sweep(), Some(at(10)));
        assert_eq!(index.sweep(at(10)), [id(1, 2)]);
        assert_eq!(index.first_to_sweep(), Some(at(30)));
        assert_eq!(index.sweep(at(30)), [id(1, 1)]);
        assert!(!index.has(owner(1)));
        assert_eq!((index.bytes(), index.count()), (0, 0));
    }

    #[test]
    fn versions_are_found_by_digest_or_else_by_etag() {
        let mut index = Index::default();
        let (one, other) = (Digest::of(b"1"), Digest::of(b"2"));
        let etag = Some("\"e\"".to_owned());
        let version = Version::of(one);
        index.insert(
            owner(1),
            Entry {
                version,
                etag,
                ..entry(0, 1)
            },
        );
        for (key, digest, etag, expected) in [
            (1, Some(one), "\"x\"", Some(version)),
            (1, Some(other), "\"e\"", None),
            (1, None, "\"e\"", Some(version)),
            (1, None, "\"x\"", None),
            (2, Some(one), "\"e\"", None),
        ] {
            assert_eq!(index.current(owner(key), digest, etag), expected);
        }
    }

    #[test]
    fn note_of_the_same_file_replaces_the_other() {
        let mut index = Index::default();
        index.insert(owner(1), entry(1, 30));
        index.insert(owner(1), entry(1, 40));
        assert_eq!((index.bytes(), index.count()), (EACH, 1));
        assert_eq!(index.get(id(1, 1)).unwrap().expires_at, at(40));
    }
}
