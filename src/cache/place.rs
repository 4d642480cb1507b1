//! A directory that one process has: another that is given the same is told.
//!
//! Whoever cleans up may remove it at any time, and with it the lock that
//! keeps others out. It is made again before the next file is begun.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use rustix::fs::{FlockOperation, flock};

/// The file that is there as long as the directory is this process's.
pub const LOCK: &str = "lock";

/// A directory with a `lock`, and with a `tmp` for what is not complete.
/// Everything here blocks.
#[derive(Debug)]
pub struct Place {
    root: PathBuf,
    mode: u32,
    begun: AtomicU64,
    /// Locked as long as this process has the directory.
    lock: Mutex<File>,
}

impl Place {
    /// Takes a directory, which is made if need be and gets this mode. What is
    /// not complete in it is removed.
    ///
    /// # Errors
    /// When it cannot be used, or another process has it
    /// ([`io::ErrorKind::WouldBlock`]).
    pub fn take(root: PathBuf, mode: u32) -> io::Result<Self> {
        let lock = Mutex::new(locked(&root, mode)?);
        let begun = AtomicU64::new(0);
        let place = Self {
            root,
            mode,
            begun,
            lock,
        };
        place.clear_unfinished()?;
        Ok(place)
    }

    /// The directory.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Makes sure that this process has the directory. True when that had to
    /// be made again.
    ///
    /// # Errors
    /// As [`Place::take`].
    pub fn keep(&self) -> io::Result<bool> {
        // The state is consistent whenever the lock is free.
        let mut lock = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
        let removed = lock.metadata()?.nlink() == 0;
        if removed {
            *lock = locked(&self.root, self.mode)?;
        }
        if removed || !self.unfinished().exists() {
            self.clear_unfinished()?;
        }
        Ok(removed)
    }

    /// Where to begin the next file.
    #[must_use]
    pub fn begin(&self) -> PathBuf {
        let number = self.begun.fetch_add(1, Ordering::Relaxed);
        self.unfinished().join(number.to_string())
    }

    fn unfinished(&self) -> PathBuf {
        self.root.join("tmp")
    }

    fn clear_unfinished(&self) -> io::Result<()> {
        let unfinished = self.unfinished();
        match fs::remove_dir_all(&unfinished) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => make_directory(&unfinished, 0o700),
        }
    }
}

fn locked(root: &Path, mode: u32) -> io::Result<File> {
    make_directory(root, mode)?;
    fs::set_permissions(root, Permissions::from_mode(mode))?;
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(false).mode(0o600);
    let lock = options.open(root.join(LOCK))?;
    flock(&lock, FlockOperation::NonBlockingLockExclusive)?;
    Ok(lock)
}

/// Makes a directory, and those around it, unless it is there.
///
/// # Errors
/// When it cannot be made.
pub fn make_directory(path: &Path, mode: u32) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(mode).create(path)
}
