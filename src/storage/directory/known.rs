//! What is known of objects that were looked at before.
//!
//! A file's attribute lies on the disk by itself, and reading it may block. So
//! it is remembered here, for as long as the inode is the same and has not been
//! changed: only then does its change time stay. Where that is so new that
//! another change might not move it, nothing is remembered.

use std::fs::{File, Metadata};
use std::num::NonZeroUsize;
use std::os::unix::fs::MetadataExt as _;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use lru::LruCache;

use super::{errors, record};
use crate::storage::{ObjectInfo, StoreError};

/// So many objects are remembered, a few hundred bytes each.
const REMEMBERED: NonZeroUsize = NonZeroUsize::new(4096).unwrap();
/// No file system counts time in larger steps.
const STEP_SECONDS: u64 = 2;

/// Objects looked at before.
#[derive(Debug)]
pub(super) struct Known(Mutex<LruCache<State, ObjectInfo>>);

/// What an inode is like: two files, or one before and after a change, differ.
#[derive(Debug, PartialEq, Eq, Hash)]
struct State {
    device: u64,
    inode: u64,
    /// In seconds and nanoseconds.
    changed: (i64, i64),
}

impl Default for Known {
    fn default() -> Self {
        Self(Mutex::new(LruCache::new(REMEMBERED)))
    }
}

impl Known {
    /// Describes the object in an open file, and remembers it. Blocks.
    pub(super) fn describe(&self, file: &File) -> Result<ObjectInfo, StoreError> {
        let about = file
            .metadata()
            .map_err(|error| errors::write_error(&error))?;
        let info = record::describe(file, &about)?;
        self.remember(&about, &info, SystemTime::now());
        Ok(info)
    }

    /// The same from memory, which does not block.
    pub(super) fn recall(&self, file: &File) -> Option<ObjectInfo> {
        let state = State::of(&file.metadata().ok()?);
        self.lock().get(&state).cloned()
    }

    /// Remembers an object unless its file has been changed just before `now`.
    pub(super) fn remember(&self, about: &Metadata, info: &ObjectInfo, now: SystemTime) {
        let changed = u64::try_from(about.ctime()).unwrap_or_default();
        let now = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        if now > changed.saturating_add(STEP_SECONDS) {
            self.lock().put(State::of(about), info.clone());
        }
    }

    fn lock(&self) -> MutexGuard<'_, LruCache<State, ObjectInfo>> {
        // The state is consistent whenever the lock is free.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn of(about: &Metadata) -> Self {
        Self {
            device: about.dev(),
            inode: about.ino(),
            changed: (about.ctime(), about.ctime_nsec()),
        }
    }
}
