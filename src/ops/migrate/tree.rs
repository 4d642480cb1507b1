//! Redmine's `files` directory: every entry of it, in order, with the key that
//! it has or the reason why it has none; and reading one of its files.

use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::{FileExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use futures_util::stream::{self, Stream};
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;
use walkdir::{DirEntry, WalkDir};

use super::pace::Pace;
use super::report::Outcome;
use crate::digest::{Digest, FileDigest, FileHasher, Hasher};
use crate::key::FileKey;
use crate::storage::{Payload, PayloadError};

/// Where a migration to disk keeps unfinished files.
pub(super) const STAGING: &str = ".kura-migrate";
/// Redmine's own sources have this file, so that the directory is there.
const PLACEHOLDER: &str = "delete.me";
const CHUNK_BYTES: usize = 256 << 10;
/// How far the walk is ahead of the transfers.
const AHEAD: usize = 256;

/// An entry of the tree that is no directory.
pub(super) struct Found {
    /// Where it lies.
    pub(super) path: PathBuf,
    /// Its path inside the tree, for people.
    pub(super) name: String,
    /// Its key, or what there is to say of it instead.
    pub(super) key: Result<FileKey, Outcome>,
}

/// Walks the tree.
pub(super) fn walk(root: PathBuf) -> impl Stream<Item = Found> {
    let (sender, mut receiver) = mpsc::channel(AHEAD);
    spawn_blocking(move || {
        let entries = WalkDir::new(&root).min_depth(1).sort_by_file_name();
        let entries = entries.into_iter();
        let is_staging = |entry: &DirEntry| entry.depth() == 1 && entry.file_name() == STAGING;
        for entry in entries.filter_entry(|entry| !is_staging(entry)) {
            if let Some(found) = found(&root, entry)
                && sender.blocking_send(found).is_err()
            {
                return;
            }
        }
    });
    stream::poll_fn(move |context| receiver.poll_recv(context))
}

fn found(root: &Path, entry: walkdir::Result<DirEntry>) -> Option<Found> {
    let name_of = |path: &Path| {
        let inside = path.strip_prefix(root).unwrap_or(path);
        inside.to_string_lossy().into_owned()
    };
    let entry = match entry {
        Ok(entry) if entry.file_type().is_dir() => return None,
        Ok(entry) => entry,
        Err(error) => {
            let path = error.path().unwrap_or(root).to_owned();
            let why = error
                .io_error()
                .map_or_else(|| error.to_string(), ToString::to_string);
            return Some(Found {
                name: name_of(&path),
                path,
                key: Err(Outcome::Skipped(why)),
            });
        }
    };
    Some(Found {
        name: name_of(entry.path()),
        key: key_of(root, &entry),
        path: entry.into_path(),
    })
}

fn key_of(root: &Path, entry: &DirEntry) -> Result<FileKey, Outcome> {
    let skipped = |why: &str| Outcome::Skipped(why.to_owned());
    if entry.path_is_symlink() {
        return Err(skipped("it is a symbolic link"));
    }
    if !entry.file_type().is_file() {
        return Err(skipped("it is no regular file"));
    }
    if entry.file_name() == PLACEHOLDER {
        return Err(Outcome::LeftOut("it comes with Redmine".to_owned()));
    }
    let inside = entry.path().strip_prefix(root).unwrap_or(entry.path());
    let name = inside
        .to_str()
        .ok_or_else(|| skipped("its name is not UTF-8"))?;
    FileKey::parse(name).map_err(|error| skipped(&error.to_string()))
}

/// A file opened for reading, as it was at that moment.
pub(super) struct Source {
    file: Arc<File>,
    pub(super) metadata: Metadata,
}

impl Source {
    /// Opens a regular file, and nothing else.
    pub(super) async fn open(path: &Path) -> io::Result<Self> {
        let path = path.to_owned();
        blocking(move || {
            // It may have been replaced since the walk came by.
            let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK;
            let mut options = File::options();
            let file = options.read(true).custom_flags(flags).open(path)?;
            let metadata = file.metadata()?;
            if !metadata.is_file() {
                return Err(io::Error::other("it is no regular file"));
            }
            let file = Arc::new(file);
            Ok(Self { file, metadata })
        })
        .await
    }

    /// True while it is as it was when it was opened.
    pub(super) fn is_unchanged(&self) -> bool {
        self.file
            .metadata()
            .is_ok_and(|now| is_same(&now, &self.metadata))
    }

    /// True while the path still leads to it.
    pub(super) fn is_at(&self, path: &Path) -> bool {
        let now = path.symlink_metadata();
        self.is_unchanged() && now.is_ok_and(|now| is_same(&now, &self.metadata))
    }

    /// Its SHA-256 and, where one is given, whether it has this digest.
    pub(super) async fn digest(&self, expected: Option<FileDigest>) -> io::Result<(Digest, bool)> {
        let file = Arc::clone(&self.file);
        blocking(move || {
            let mut hasher = Hasher::default();
            let mut other = expected.map(|expected| expected.hasher());
            let mut chunk = vec![0; CHUNK_BYTES];
            let mut offset = 0;
            loop {
                let read = file.read_at(&mut chunk, offset)?;
                if read == 0 {
                    break;
                }
                offset += read as u64;
                hasher.update(&chunk[..read]);
                if let Some(other) = &mut other {
                    other.update(&chunk[..read]);
                }
            }
            let right = other.map(FileHasher::finish) == expected;
            Ok((hasher.finish(), right))
        })
        .await
    }

    /// Its bytes, for the store. They end with an error, and `trouble` with
    /// the reason, when the file changes meanwhile or has not the digest
    /// that is expected.
    pub(super) fn payload(
        &self,
        expected: Option<FileDigest>,
        pace: Option<Arc<Pace>>,
        trouble: Arc<OnceLock<String>>,
    ) -> Payload {
        let reading = Reading {
            file: Arc::clone(&self.file),
            offset: 0,
            metadata: self.metadata.clone(),
            check: expected.map(|expected| (expected.hasher(), expected)),
            pace,
            trouble,
        };
        Payload {
            stream: Box::pin(stream::try_unfold(reading, Reading::next)),
            length: Some(self.metadata.len()),
        }
    }
}

struct Reading {
    file: Arc<File>,
    offset: u64,
    metadata: Metadata,
    check: Option<(FileHasher, FileDigest)>,
    pace: Option<Arc<Pace>>,
    trouble: Arc<OnceLock<String>>,
}

impl Reading {
    async fn next(mut self) -> Result<Option<(Bytes, Self)>, PayloadError> {
        let (file, offset) = (Arc::clone(&self.file), self.offset);
        let left = self.metadata.len().saturating_sub(offset);
        // One more byte shows that the file has grown.
        let wanted = usize::try_from(left + 1).map_or(CHUNK_BYTES, |left| left.min(CHUNK_BYTES));
        let read = blocking(move || {
            let mut chunk = vec![0; wanted];
            let read = file.read_at(&mut chunk, offset)?;
            chunk.truncate(read);
            Ok(Bytes::from(chunk))
        })
        .await;
        let chunk = match read {
            Ok(chunk) => chunk,
            Err(error) => return Err(self.stopped(error.to_string())),
        };
        if let Some((hasher, _)) = &mut self.check {
            hasher.update(&chunk);
        }
        if !chunk.is_empty() {
            self.offset += chunk.len() as u64;
            if let Some(pace) = &self.pace {
                pace.wait(chunk.len()).await;
            }
            return Ok(Some((chunk, self)));
        }
        let same = self
            .file
            .metadata()
            .is_ok_and(|now| is_same(&now, &self.metadata));
        if !same {
            return Err(self.stopped("it changed while it was read".to_owned()));
        }
        let check = self.check.take();
        if check.is_some_and(|(hasher, expected)| hasher.finish() != expected) {
            return Err(self.stopped("its digest is not that of the listing".to_owned()));
        }
        Ok(None)
    }

    fn stopped(&self, why: String) -> PayloadError {
        let _ = self.trouble.set(why);
        PayloadError::Interrupted
    }
}

fn is_same(one: &Metadata, other: &Metadata) -> bool {
    let facts = |it: &Metadata| (it.dev(), it.ino(), it.len(), it.mtime(), it.mtime_nsec());
    facts(one) == facts(other)
}

pub(super) async fn blocking<T: Send + 'static>(
    act: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    spawn_blocking(act).await.map_err(io::Error::other)?
}
