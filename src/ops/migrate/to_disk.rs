//! From the store into a Redmine's `files` directory: the tree that Redmine
//! itself would have made, with the times at which the files were stored.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use anyhow::{Context, Result, bail};
use futures_util::{TryStreamExt as _, stream};
use tokio::io::AsyncWriteExt as _;

use super::report::{Outcome, Report};
use super::tree::{STAGING, Source, blocking};
use super::{Failure, Job, check_size, patiently, wrong_digest};
use crate::digest::{Digest, FileDigest, Hasher};
use crate::key::{FileKey, ObjectKey};
use crate::ops::listing::Row;
use crate::ops::progress::Progress;
use crate::storage::scoped::{FileEntry, Listing};
use crate::storage::{GetOptions, StoreError};

const FILES_A_PAGE: usize = 1000;
/// Held by the one migration that has the staging folder; all else in there
/// is named by numbers.
const LOCK: &str = "lock";

/// Writes every file of the tenant; then sees what the listing names besides.
pub(super) async fn run(job: &Arc<Job>, root: &Path, report: &mut Report) -> Result<()> {
    let target = Arc::new(Target {
        staging: if job.dry_run {
            None
        } else {
            Some(Staging::open(root)?)
        },
        root: root.to_owned(),
    });
    let progress = Progress::new("writing");
    let write = |entry: FileEntry| {
        let (job, target) = (Arc::clone(job), Arc::clone(&target));
        async move {
            let outcome = job.write(&entry.key, entry.size_bytes, &target).await;
            (entry.key.to_string(), outcome)
        }
    };
    job.each(files(job), report, &progress, write).await?;
    let missing = |row: Row| async move {
        let why = "the listing names it, but it is not in the store";
        (row.key, Err(Failure::file(why)))
    };
    job.each(job.rows_left(), report, &progress, missing).await
}

/// All files of the tenant. A page is given out when the next has come: its
/// files may be removed, and not every server finds a mark that is gone.
fn files(job: &Job) -> impl futures_util::Stream<Item = Result<FileEntry>> {
    let first = (None, Some(None));
    let pages = stream::try_unfold(first, move |(fetched, mut next)| async move {
        let mut fetched: Option<Vec<FileEntry>> = fetched;
        while let Some(after) = next.take() {
            let wanted = Listing {
                prefix: String::new(),
                after,
                limit: FILES_A_PAGE,
                digests: false,
            };
            let (page, last) = patiently(|| job.store.list(&wanted)).await?;
            next = last.map(Some);
            if let Some(page) = fetched.replace(page) {
                return Ok(Some((page, (fetched, next))));
            }
        }
        Ok::<_, anyhow::Error>(fetched.map(|page| (page, (None, None))))
    });
    pages
        .map_ok(|page| stream::iter(page.into_iter().map(Ok)))
        .try_flatten()
}

/// The directory that is written to.
struct Target {
    root: PathBuf,
    /// None in a dry run.
    staging: Option<Staging>,
}

impl Job {
    async fn write(
        &self,
        key: &FileKey,
        size_bytes: u64,
        target: &Target,
    ) -> Result<Outcome, Failure> {
        if key.as_str().split('/').next() == Some(STAGING) {
            return Err(Failure::file(
                "its name is that of the folder for unfinished files",
            ));
        }
        let path = target.root.join(key.as_str());
        let row = self.row(key.as_str())?;
        check_size(row.as_ref(), size_bytes)?;
        let expected = row.and_then(|row| row.digest);
        match Source::open(&path).await {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            opened => {
                let info = self.head(key).await?;
                let info = info.ok_or_else(|| Failure::file("it was deleted meanwhile"))?;
                self.compare(key, &opened?, expected, &info).await?;
                let source_removed = self.remove_object(key).await?;
                return Ok(Outcome::There {
                    size_bytes,
                    source_removed,
                });
            }
        }
        let Some(staging) = &target.staging else {
            return Ok(Outcome::Moved {
                size_bytes,
                source_removed: false,
            });
        };
        let staged = staging.next();
        let (digest, modified) = self.receive(key, expected, &staged).await?;
        let (from, to) = (staged.clone(), path.clone());
        let root = target.root.clone();
        let placed = blocking(move || place(&from, &to, &root, modified)).await;
        let _ = fs::remove_file(&staged);
        placed?;
        if self.remove_source && Source::open(&path).await?.digest(None).await?.0 != digest {
            return Err(Failure::file("what the disk gives back is another file"));
        }
        let source_removed = self.remove_object(key).await?;
        Ok(Outcome::Moved {
            size_bytes,
            source_removed,
        })
    }

    /// Writes an object's bytes to a file without a name in the tree.
    async fn receive(
        &self,
        key: &FileKey,
        expected: Option<FileDigest>,
        staged: &Path,
    ) -> Result<(Digest, SystemTime), Failure> {
        let key = ObjectKey::File(key.clone());
        let received = patiently(|| async {
            let get = self.store.get(&key, GetOptions::default());
            let object = get.await?;
            let mut body = object.body;
            let mut hasher = Hasher::default();
            let mut other = expected.map(|expected| expected.hasher());
            // The disk's trouble is not the store's: it is not tried again.
            let mut written = match tokio::fs::File::create(staged).await {
                Ok(file) => Ok(file),
                Err(error) => return Ok(Err(error)),
            };
            while let Some(chunk) = body.try_next().await? {
                hasher.update(&chunk);
                if let Some(other) = &mut other {
                    other.update(&chunk);
                }
                if let Some(pace) = &self.pace {
                    pace.wait(chunk.len()).await;
                }
                if let Ok(file) = &mut written
                    && let Err(error) = file.write_all(&chunk).await
                {
                    written = Err(error);
                    break;
                }
            }
            let flushed = match &mut written {
                Ok(file) => file.flush().await,
                Err(_) => Ok(()),
            };
            let right = other.map(crate::digest::FileHasher::finish) == expected;
            let facts = (
                hasher.finish(),
                right,
                object.info.digest,
                object.info.modified,
            );
            Ok(written.and(flushed).map(|()| facts))
        });
        let (digest, right, stored, modified) = received.await??;
        if stored.is_some_and(|stored| stored != digest) {
            return Err(Failure::File(StoreError::Corrupt.to_string()));
        }
        right.then_some((digest, modified)).ok_or_else(wrong_digest)
    }

    async fn remove_object(&self, key: &FileKey) -> Result<bool, Failure> {
        if !self.remove_source || self.dry_run {
            return Ok(false);
        }
        let key = ObjectKey::File(key.clone());
        patiently(|| self.store.delete(&key)).await?;
        Ok(true)
    }
}

/// Makes a whole file durable and gives it its name, which must be free.
fn place(staged: &Path, path: &Path, root: &Path, modified: SystemTime) -> io::Result<()> {
    let file = File::options().write(true).open(staged)?;
    file.set_modified(modified)?;
    file.sync_all()?;
    let folder = path.parent().unwrap_or(root);
    fs::create_dir_all(folder)?;
    fs::hard_link(staged, path)?;
    for folder in folder.ancestors() {
        File::open(folder)?.sync_all()?;
        if folder == root {
            break;
        }
    }
    Ok(())
}

/// Where files are written before they have a name in the tree. Only one
/// migration at a time has it.
struct Staging {
    folder: PathBuf,
    next: AtomicU64,
    _lock: File,
}

impl Staging {
    fn open(root: &Path) -> Result<Self> {
        let folder = root.join(STAGING);
        let context = || format!("the directory {} cannot be written to", root.display());
        fs::create_dir_all(&folder).with_context(context)?;
        let lock = File::create(folder.join(LOCK)).with_context(context)?;
        match lock.try_lock() {
            Err(TryLockError::WouldBlock) => {
                bail!("another migration to {} is under way", root.display());
            }
            locked => locked.map_err(io::Error::from).with_context(context)?,
        }
        let staging = Self {
            folder,
            next: AtomicU64::new(0),
            _lock: lock,
        };
        // What a killed one has left.
        staging.clear().with_context(context)?;
        Ok(staging)
    }

    /// Removes what has been staged, and nothing else.
    fn clear(&self) -> io::Result<()> {
        for entry in fs::read_dir(&self.folder)? {
            let entry = entry?;
            let name = entry.file_name();
            if name.as_encoded_bytes().iter().all(u8::is_ascii_digit) {
                fs::remove_file(entry.path())?;
            }
        }
        Ok(())
    }

    fn next(&self) -> PathBuf {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        self.folder.join(number.to_string())
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        let _ = self.clear();
        let _ = fs::remove_file(self.folder.join(LOCK));
        // Fails when it has what somebody else has put there.
        let _ = fs::remove_dir(&self.folder);
    }
}
