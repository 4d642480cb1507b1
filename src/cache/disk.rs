//! The cache on disk, which survives a restart.
//!
//! It is a cache: nothing is synced, and whatever goes wrong with the disk is
//! logged and otherwise as if there were none. One process has a directory;
//! another that is given the same goes without.
//!
//! What the kernel has in memory is read on the spot, if it is as it should be;
//! all else is done where a thread may block.

mod entry;
mod index;

use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use prometheus_client::metrics::counter::Counter;

use self::index::{EntryId, Index};
use super::place::{LOCK, Place, make_directory};
use super::{CacheKey, Tenancy};
use crate::key::Original;
use crate::metrics::{CacheMetrics, Metrics};
use crate::resident;

/// Nobody else may read it.
const MODE: u32 = 0o700;
/// Trouble with the disk is logged no more often.
const COMPLAINT_INTERVAL: Duration = Duration::from_mins(1);
/// A file's time says so exactly when it was used. It matters only after a
/// restart, and to write it costs more than to read the file.
const USE_INTERVAL: Duration = Duration::from_hours(1);
/// The clock of the index at the start: what was there before gets the times
/// below.
const START: u64 = 1 << 40;

/// Thumbnails on disk.
#[derive(Debug)]
pub struct DiskCache {
    place: Place,
    /// Files can be read without blocking, if they are in memory.
    resident: bool,
    max_bytes: u64,
    index: Mutex<Index>,
    /// Held while it is found out what is there.
    scanning: Mutex<()>,
    scanned: AtomicBool,
    complained: Mutex<Option<Instant>>,
    metrics: CacheMetrics,
    corrupt: Counter,
}

impl DiskCache {
    /// Takes `directory`, which is made if need be, for up to `max_bytes`, the
    /// rounding to whole blocks included. What is in it is not known before
    /// [`DiskCache::scan`], but can be had. Blocks.
    ///
    /// # Errors
    /// When the directory cannot be used, or another process has it
    /// ([`io::ErrorKind::WouldBlock`]).
    pub fn open(directory: &Path, max_bytes: u64, metrics: &Metrics) -> io::Result<Self> {
        let place = Place::take(directory.join("thumbnails"), MODE)?;
        Ok(Self {
            resident: resident::is_possible(place.root(), LOCK),
            place,
            max_bytes,
            index: Mutex::new(Index::starting_at(START)),
            scanning: Mutex::default(),
            scanned: AtomicBool::new(false),
            complained: Mutex::default(),
            metrics: metrics.cache("disk"),
            corrupt: metrics.corrupt_cached.clone(),
        })
    }

    /// Finds out what is there, and removes what is too much; only the first
    /// time. Returns how many thumbnails there are, and their bytes. Blocks.
    pub fn scan(&self) -> (usize, u64) {
        let scanning = self.scanning.lock();
        let _scanning = scanning.unwrap_or_else(PoisonError::into_inner);
        if !self.scanned.load(Ordering::Acquire) {
            let mut found = self.files();
            found.sort_unstable_by_key(|(_, _, modified)| *modified);
            let mut index = self.lock();
            for ((id, bytes, _), used) in found.into_iter().zip(0..START) {
                index.note_old(id, bytes, used);
            }
            drop(index);
            self.scanned.store(true, Ordering::Release);
            self.make_room();
        }
        let index = self.lock();
        (index.len(), index.bytes())
    }

    /// All files that thumbnails are in, their sizes and when they were used.
    fn files(&self) -> Vec<(EntryId, u64, SystemTime)> {
        let entries = |path: &Path| fs::read_dir(path).into_iter().flatten().flatten();
        let folders = entries(self.place.root()).filter(|folder| folder.file_name() != "tmp");
        let files = folders.flat_map(|folder| entries(&folder.path()));
        files
            .filter_map(|file| {
                let id = EntryId::parse(file.file_name().to_str()?)?;
                let about = file.metadata().ok()?;
                let used = about.modified().unwrap_or(UNIX_EPOCH);
                Some((id, about.len(), used))
            })
            .collect()
    }

    /// A thumbnail, if it is there.
    pub async fn get(self: &Arc<Self>, key: &CacheKey) -> Option<Bytes> {
        let id = EntryId::of(key);
        if self.scanned.load(Ordering::Acquire) && !self.lock().contains(id) {
            return None;
        }
        if let Some(thumbnail) = self.read_at_once(id, key) {
            return Some(thumbnail);
        }
        let key = key.clone();
        self.off_the_threads(move |cache| cache.read(id, &key))
            .await
            .flatten()
    }

    /// Keeps a thumbnail in place of an earlier one.
    pub async fn put(self: &Arc<Self>, key: &CacheKey, thumbnail: &Bytes) {
        let (key, thumbnail) = (key.clone(), thumbnail.clone());
        let written = self.off_the_threads(move |cache| {
            if let Err(error) = cache.write(&key, &thumbnail) {
                cache.complain(&error);
            }
            cache.make_room();
        });
        written.await;
    }

    /// Removes the thumbnails of one original, or all of the tenant's.
    pub async fn remove(self: &Arc<Self>, tenant: &Tenancy, original: Option<Original>) {
        let tenant = tenant.clone();
        let removed = self.off_the_threads(move |cache| {
            let ids = if let Some(original) = original {
                let keys = CacheKey::all_of(&tenant, original);
                keys.map(|key| EntryId::of(&key)).collect()
            } else {
                cache.scan();
                cache.lock().of_tenant(&tenant)
            };
            for id in ids {
                cache.delete(id);
            }
        });
        removed.await;
    }

    async fn off_the_threads<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Self) -> T + Send + 'static,
    ) -> Option<T> {
        let cache = Arc::clone(self);
        tokio::task::spawn_blocking(move || work(&cache)).await.ok()
    }

    /// A thumbnail with which there is nothing to do but to hand it out.
    fn read_at_once(&self, id: EntryId, key: &CacheKey) -> Option<Bytes> {
        let file = self
            .resident
            .then(|| resident::open(self.place.root(), &id.path()))??;
        let about = file.metadata().ok().filter(|about| !is_stale(about))?;
        let bytes = resident::read(&file, 0, about.len())?;
        let thumbnail = entry::thumbnail_in(&bytes, key)?;
        self.lock().note(id, about.len());
        Some(thumbnail)
    }

    fn read(&self, id: EntryId, key: &CacheKey) -> Option<Bytes> {
        match self.read_file(id) {
            Ok(file) => {
                let thumbnail = entry::thumbnail_in(&file, key);
                if thumbnail.is_some() {
                    self.lock().note(id, file.len() as u64);
                } else {
                    tracing::warn!("a damaged file was found in the cache on disk and is removed");
                    self.corrupt.inc();
                    self.delete(id);
                }
                self.report();
                thumbnail
            }
            Err(error) => {
                if error.kind() != io::ErrorKind::NotFound {
                    self.complain(&error);
                }
                self.lock().remove(id);
                None
            }
        }
    }

    fn read_file(&self, id: EntryId) -> io::Result<Vec<u8>> {
        let file = File::open(self.path(id))?;
        let mut bytes = Vec::new();
        (&file).take(entry::MAX_BYTES).read_to_end(&mut bytes)?;
        if is_stale(&file.metadata()?) {
            // So that it is among the last to go after a restart, too.
            let _ = file.set_modified(SystemTime::now());
        }
        Ok(bytes)
    }

    /// The file gets its name when it is complete.
    fn write(&self, key: &CacheKey, thumbnail: &[u8]) -> io::Result<()> {
        let head = entry::head(key, thumbnail);
        let bytes = (head.len() + thumbnail.len()) as u64;
        if bytes > self.max_bytes.min(entry::MAX_BYTES) {
            return Ok(());
        }
        let id = EntryId::of(key);
        self.place.keep()?;
        let unfinished = self.place.begin();
        let written = new_file(&unfinished).and_then(|mut file| {
            file.write_all(&head)?;
            file.write_all(thumbnail)?;
            let path = self.path(id);
            match fs::rename(&unfinished, &path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    path.parent()
                        .map_or(Ok(()), |folder| make_directory(folder, MODE))?;
                    fs::rename(&unfinished, &path)
                }
                renamed => renamed,
            }
        });
        match &written {
            Ok(()) => self.lock().note(id, bytes),
            Err(_) => drop(fs::remove_file(&unfinished)),
        }
        written
    }

    fn make_room(&self) {
        let gone = self.lock().evict(self.max_bytes);
        self.metrics.evictions.inc_by(gone.len() as u64);
        for id in gone {
            self.delete(id);
        }
        self.report();
    }

    fn delete(&self, id: EntryId) {
        match fs::remove_file(self.path(id)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => self.complain(&error),
            _ => {}
        }
        self.lock().remove(id);
        self.report();
    }

    fn path(&self, id: EntryId) -> PathBuf {
        self.place.root().join(id.path())
    }

    fn report(&self) {
        let index = self.lock();
        self.metrics.bytes.set(index.bytes());
        self.metrics.entries.set(index.len() as u64);
    }

    fn complain(&self, error: &io::Error) {
        let complained = self.complained.lock();
        let mut complained = complained.unwrap_or_else(PoisonError::into_inner);
        if complained.is_none_or(|at| at.elapsed() > COMPLAINT_INTERVAL) {
            *complained = Some(Instant::now());
            tracing::warn!(%error, "the cache on disk cannot be used as it should");
        }
    }

    fn lock(&self) -> MutexGuard<'_, Index> {
        // The state is consistent whenever the lock is free.
        self.index.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// True when the time of a file that is being used has to be set anew.
fn is_stale(about: &Metadata) -> bool {
    let modified = about.modified().unwrap_or(UNIX_EPOCH);
    modified.elapsed().is_ok_and(|age| age > USE_INTERVAL)
}

fn new_file(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    options.open(path)
}

#[cfg(test)]
mod tests;
