//! Where files are written before they have a name: a directory of each
//! process under `tmp/`.
//!
//! A process holds a lock in its directory for as long as it lives. Whoever
//! opens the store removes the directories whose lock is free, and so clears
//! up after processes that were killed, but never under one that still runs.

use std::fs::{self, File, TryLockError};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;

use super::record::Record;
use crate::digest::{Digest, Hasher};

/// Locked by a process that opens the store, and by each in its own directory.
pub(super) const LOCK: &str = "lock";

/// This process's directory of unfinished files.
#[derive(Debug)]
pub(super) struct Staging {
    folder: PathBuf,
    /// Holds the lock until it is closed.
    _lock: File,
    next_file: AtomicU64,
}

impl Staging {
    /// Makes a directory for this process inside `tmp` and sweeps out those
    /// of dead ones.
    pub(super) fn open(tmp: &Path) -> io::Result<Self> {
        // Between making a directory and locking it, it looks like a dead
        // process's; only one process at a time is in that state or sweeps.
        let opening = File::create(tmp.join(LOCK))?;
        opening.lock()?;
        sweep(tmp)?;
        let nonce = getrandom::u64().map_err(io::Error::other)?;
        let folder = tmp.join(format!("{}-{nonce:016x}", std::process::id()));
        fs::create_dir(&folder)?;
        let lock = File::create(folder.join(LOCK))?;
        lock.lock()?;
        Ok(Self {
            folder,
            _lock: lock,
            next_file: AtomicU64::new(0),
        })
    }

    /// Makes an empty file outside of the store's tree.
    pub(super) fn create(self: &Arc<Self>) -> io::Result<StagedFile> {
        let number = self.next_file.fetch_add(1, Ordering::Relaxed);
        let path = self.folder.join(number.to_string());
        Ok(StagedFile {
            file: File::create_new(&path)?,
            path,
            hasher: Hasher::default(),
            size_bytes: 0,
            _staging: Arc::clone(self),
        })
    }

    /// Sees whether the directory is still there.
    pub(super) fn check(&self) -> io::Result<()> {
        fs::metadata(&self.folder).map(drop)
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        // What cannot be removed now is swept when the store is next opened.
        drop(fs::remove_dir_all(&self.folder));
    }
}

fn sweep(tmp: &Path) -> io::Result<()> {
    for entry in fs::read_dir(tmp)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() && is_dead(&entry.path())? {
            fs::remove_dir_all(entry.path())?;
        }
    }
    Ok(())
}

fn is_dead(folder: &Path) -> io::Result<bool> {
    let lock = match File::options().write(true).open(folder.join(LOCK)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(true),
        opened => opened?,
    };
    match lock.try_lock() {
        Ok(()) => Ok(true),
        Err(TryLockError::WouldBlock) => Ok(false),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

/// A file on its way into the store. Dropped, it is gone; its bytes live on
/// only under the name that they were given meanwhile.
pub(super) struct StagedFile {
    file: File,
    path: PathBuf,
    hasher: Hasher,
    size_bytes: u64,
    /// Keeps the directory while there is a file in it.
    _staging: Arc<Staging>,
}

impl StagedFile {
    pub(super) fn write(&mut self, chunks: &[Bytes]) -> io::Result<()> {
        for chunk in chunks {
            self.hasher.update(chunk);
            self.file.write_all(chunk)?;
            self.size_bytes += chunk.len() as u64;
        }
        Ok(())
    }

    /// The digest of all that was written. Nothing may be written afterwards.
    pub(super) fn finish(&mut self) -> Digest {
        std::mem::take(&mut self.hasher).finish()
    }

    /// Makes the bytes and `record` durable; the file is then fit to be named.
    pub(super) fn seal(&self, record: &Record) -> io::Result<()> {
        record.write(&self.file)?;
        self.file.sync_all()
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn size_bytes(&self) -> u64 {
        self.size_bytes
    }
}

impl Drop for StagedFile {
    fn drop(&mut self) {
        // A file renamed into the store is no longer here, which is as well.
        drop(fs::remove_file(&self.path));
    }
}
