//! [`DirectoryStore`]: objects as plain files under a local directory.
//!
//! `{root}/objects` looks just like Redmine's own `files` directory: an
//! operator may copy one to the other, and back it up with any tool. Headers
//! and digest are an extended attribute of each file (see `record`).
//! `{root}/tmp` holds what is still being written.
//!
//! An object is written outside of the tree, made durable, and then named in one
//! step; hence no reader, and no crash, ever meets a part of one. A file that
//! has a name is never written to again. Several processes may share a root.
//!
//! What the kernel has in memory is opened and, if it is small, read on the spot;
//! all else is done where a thread may block.

mod errors;
mod known;
mod listing;
mod reading;
mod record;
mod remains;
mod staging;
mod tree;
mod writing;

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use thiserror::Error;
use tokio::task::{self, JoinHandle};

use self::known::Known;
use self::reading::Remaining;
use self::record::Record;
use self::staging::{StagedFile, Staging};
use self::tree::Tree;
use super::names::Names;
use super::{
    BlobStore, GetOptions, Object, ObjectInfo, Page, Payload, PayloadError, PutMode, PutRequest,
    StoreError, Stored,
};
use crate::key::StoreKey;
use crate::resident;

/// How many objects are listed at a time in order to be removed.
const REMOVED_AT_ONCE: usize = 1000;

/// Why a directory cannot be used as a store. The texts are for the operator.
#[derive(Debug, Error)]
pub enum OpenError {
    /// Headers and digests have nowhere to be kept.
    #[error(
        "the file system of {0} has no user extended attributes, which the store needs for \
         content types and digests; ext4, XFS, Btrfs, ZFS and (since Linux 6.6) tmpfs have them"
    )]
    NoExtendedAttributes(PathBuf),
    /// A file cannot be named in one step across file systems.
    #[error("{0}/objects and {0}/tmp must lie on one file system")]
    TwoFileSystems(PathBuf),
    /// The directory cannot be made, read or written.
    #[error("cannot use {root} as a store: {source}")]
    Io {
        /// The directory.
        root: PathBuf,
        /// The system's error.
        source: io::Error,
    },
}

/// A store in a local directory.
#[derive(Clone, Debug)]
pub struct DirectoryStore {
    tree: Tree,
    staging: Arc<Staging>,
    names: Arc<Names>,
    known: Arc<Known>,
    /// Files can be read without blocking, if they are in memory.
    resident: bool,
}

impl DirectoryStore {
    /// Opens the store in the directory `root`, which is made if need be, and
    /// removes what dead processes left unfinished there. Blocks.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn open(root: &Path) -> Result<Self, OpenError> {
        let failed = |source| OpenError::Io {
            root: root.to_owned(),
            source,
        };
        let (objects, tmp) = make_folders(root).map_err(failed)?;
        if device(&objects).map_err(failed)? != device(&tmp).map_err(failed)? {
            return Err(OpenError::TwoFileSystems(root.to_owned()));
        }
        let staging = Arc::new(Staging::open(&tmp).map_err(failed)?);
        match probe_attributes(&staging) {
            Err(error) if error.kind() == io::ErrorKind::Unsupported => {
                return Err(OpenError::NoExtendedAttributes(root.to_owned()));
            }
            probed => probed.map_err(failed)?,
        }
        Ok(Self {
            tree: Tree::new(&objects),
            staging,
            names: Arc::default(),
            known: Arc::default(),
            resident: resident::is_possible(&tmp, staging::LOCK),
        })
    }

    /// Gives a whole payload its name.
    fn publish(&self, mut staged: StagedFile, request: PutRequest) -> Result<Stored, StoreError> {
        let digest = staged.finish();
        if request.expected_digest.is_some_and(|it| it != digest) {
            return Err(PayloadError::WrongDigest.into());
        }
        let size_bytes = staged.size_bytes();
        let record = Record {
            digest,
            size_bytes,
            content_type: request.content_type,
            file_name: request.file_name,
        };
        staged
            .seal(&record)
            .map_err(|error| errors::write_error(&error))?;
        let key = request.key;
        let key = match request.mode {
            PutMode::Overwrite => self.tree.replace(&staged, &key).map(|()| key)?,
            PutMode::CreateOnly => self.tree.create(&staged, &key).map(|()| key)?,
            PutMode::FirstFree => self.claim_first_free(&staged, &key)?,
        };
        Ok(Stored {
            key,
            size_bytes,
            digest,
        })
    }

    fn claim_first_free(
        &self,
        staged: &StagedFile,
        wanted: &StoreKey,
    ) -> Result<StoreKey, StoreError> {
        for key in self.names.candidates(wanted.clone()) {
            match self.tree.create(staged, &key) {
                Err(StoreError::AlreadyExists) => {}
                created => return created.map(|()| key),
            }
        }
        Err(StoreError::AlreadyExists)
    }

    fn open_object(&self, key: &StoreKey, options: &GetOptions) -> Result<Object, StoreError> {
        let file = self.tree.open(key)?;
        let info = self.known.describe(&file)?;
        let (range, body) = Remaining::of(file, &info, options)?;
        Ok(Object {
            info,
            range,
            body: body.into_body(),
        })
    }

    /// An object whose attribute is known, and whose bytes are in memory if they
    /// are few. What is wrong with any is for [`DirectoryStore::open_object`] to
    /// tell.
    fn object_at_once(&self, key: &StoreKey, options: &GetOptions) -> Option<Object> {
        let (file, info) = self.find_at_once(key)?;
        let (range, body) = Remaining::of(file, &info, options).ok()?;
        Some(Object {
            info,
            range,
            body: body.at_once()?,
        })
    }

    fn find_at_once(&self, key: &StoreKey) -> Option<(File, ObjectInfo)> {
        let file = self.resident.then(|| self.tree.open_at_once(key))??;
        let info = self.known.recall(&file)?;
        Some((file, info))
    }

    fn remove_all(&self, prefix: &str) -> Result<u64, StoreError> {
        let mut removed = 0;
        let mut after: Option<String> = None;
        loop {
            let page = listing::list(&self.tree, prefix, after.as_deref(), REMOVED_AT_ONCE)?;
            let keys: Vec<&str> = page
                .entries
                .iter()
                .map(|entry| entry.key.as_str())
                .collect();
            removed += self.remove(&keys)?;
            if !page.more {
                return Ok(removed);
            }
            after = keys.last().map(|&key| key.to_owned());
        }
    }

    /// Removes those of `keys` that are there and says how many were.
    fn remove(&self, keys: &[&str]) -> Result<u64, StoreError> {
        let siblings = keys.chunk_by(|a, b| tree::split(a).0 == tree::split(b).0);
        siblings.map(|keys| self.tree.delete(keys)).sum()
    }

    /// Runs `act` on this store, on a thread that may block.
    async fn on_disk<T: Send + 'static>(
        &self,
        act: impl FnOnce(&Self) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let store = self.clone();
        blocking(move || act(&store)).await
    }
}

#[async_trait]
impl BlobStore for DirectoryStore {
    async fn put(&self, request: PutRequest, payload: Payload) -> Result<Stored, StoreError> {
        let staged = writing::receive(Arc::clone(&self.staging), payload).await?;
        self.on_disk(|store| store.publish(staged, request)).await
    }

    async fn get(&self, key: &StoreKey, options: GetOptions) -> Result<Object, StoreError> {
        if let Some(object) = self.object_at_once(key, &options) {
            return Ok(object);
        }
        let key = key.clone();
        self.on_disk(move |store| store.open_object(&key, &options))
            .await
    }

    async fn head(&self, key: &StoreKey) -> Result<ObjectInfo, StoreError> {
        if let Some((_, info)) = self.find_at_once(key) {
            return Ok(info);
        }
        let key = key.clone();
        self.on_disk(move |store| store.known.describe(&store.tree.open(&key)?))
            .await
    }

    async fn copy(&self, from: &StoreKey, to: &StoreKey) -> Result<(), StoreError> {
        let (from, to) = (from.clone(), to.clone());
        self.on_disk(move |store| store.tree.copy(&from, &to)).await
    }

    async fn rename(&self, from: &StoreKey, to: &StoreKey) -> Result<(), StoreError> {
        let (from, to) = (from.clone(), to.clone());
        self.on_disk(move |store| store.tree.rename(&from, &to))
            .await
    }

    async fn delete(&self, key: &StoreKey) -> Result<(), StoreError> {
        let key = key.clone();
        self.on_disk(move |store| store.tree.delete(&[key.as_str()]).map(drop))
            .await
    }

    async fn delete_prefix(&self, prefix: &str) -> Result<u64, StoreError> {
        let prefix = prefix.to_owned();
        self.on_disk(move |store| store.remove_all(&prefix)).await
    }

    async fn list(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Page, StoreError> {
        let (prefix, after) = (prefix.to_owned(), after.map(str::to_owned));
        self.on_disk(move |store| listing::list(&store.tree, &prefix, after.as_deref(), limit))
            .await
    }

    async fn ping(&self) -> Result<(), StoreError> {
        self.on_disk(|store| {
            store.tree.check()?;
            store
                .staging
                .check()
                .map_err(|error| errors::write_error(&error))
        })
        .await
    }
}

fn make_folders(root: &Path) -> io::Result<(PathBuf, PathBuf)> {
    fs::create_dir_all(root)?;
    // A later change of the working directory must not move the store.
    let root = root.canonicalize()?;
    let (objects, tmp) = (root.join("objects"), root.join("tmp"));
    fs::create_dir_all(&objects)?;
    fs::create_dir_all(&tmp)?;
    File::open(&root)?.sync_all()?;
    // A parent that may not be opened was made by somebody else.
    if let Some(Ok(parent)) = root.parent().map(File::open) {
        parent.sync_all()?;
    }
    Ok((objects, tmp))
}

fn device(folder: &Path) -> io::Result<u64> {
    fs::metadata(folder).map(|metadata| metadata.dev())
}

fn probe_attributes(staging: &Arc<Staging>) -> io::Result<()> {
    let mut probe = staging.create()?;
    let record = Record {
        digest: probe.finish(),
        size_bytes: 0,
        content_type: None,
        file_name: None,
    };
    probe.seal(&record)
}

async fn blocking<T: Send + 'static>(
    act: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    finished(task::spawn_blocking(act)).await
}

/// A blocking task fails to finish only when the runtime is shut down, or by
/// a defect, which has then been reported as a panic already.
async fn finished<T>(task: JoinHandle<Result<T, StoreError>>) -> Result<T, StoreError> {
    task.await
        .map_err(|_| StoreError::Unavailable("the task was stopped".to_owned()))?
}

#[cfg(test)]
mod tests;
