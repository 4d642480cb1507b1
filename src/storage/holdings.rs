//! A tenant's view of all that a store holds of it: objects of every kind,
//! claims, versions and unfinished uploads, in its own folder and in those that
//! it shares. What may be another tenant's does not come into sight, so that
//! it cannot be removed by mistake.

use std::sync::Arc;
use std::time::SystemTime;

use futures_util::stream::{self, Stream};
use futures_util::{TryStreamExt as _, pin_mut};

use super::remains::{MAX_ERASED, Remains, Upload, Version, VersionMark};
use super::{Entry, StoreError};
use crate::key::{FileKey, Kind, Layout};

/// All that is one tenant's.
#[derive(Clone, Debug)]
pub struct Holdings {
    remains: Arc<dyn Remains>,
    layout: Layout,
}

/// A folder of a tenant, with whatever lies below it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Area {
    prefix: String,
    shared: bool,
}

impl Area {
    /// What the full keys in it begin with.
    #[must_use]
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// True when other tenants may use the folder as well.
    #[must_use]
    pub fn is_shared(&self) -> bool {
        self.shared
    }
}

/// Something in a tenant's folders.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held<T> {
    /// What it is.
    pub kind: Kind,
    /// The object, the version or the upload.
    pub it: T,
}

/// Whether unfinished uploads could be looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Uploads {
    /// All of them.
    Seen,
    /// The credentials do not allow to list them, which nothing else needs.
    Hidden,
}

impl Uploads {
    /// What to tell whoever expected to see them.
    pub const WHY_HIDDEN: &str = "the credentials may not list unfinished uploads \
        (s3:ListBucketMultipartUploads on the bucket)";
}

/// A name taken by an upload that may have died.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StaleClaim {
    key: FileKey,
    etag: String,
}

impl Holdings {
    /// The part of a store that `layout` describes.
    #[must_use]
    pub fn new(remains: Arc<dyn Remains>, layout: Layout) -> Self {
        Self { remains, layout }
    }

    /// Its folders.
    #[must_use]
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// The tenant's own folder.
    #[must_use]
    pub fn own(&self) -> Area {
        Area {
            prefix: self.layout.folder().to_owned(),
            shared: false,
        }
    }

    /// The folders outside of it, each once.
    #[must_use]
    pub fn shared(&self) -> Vec<Area> {
        let mut folders: Vec<_> = self.layout.shared_folders().collect();
        folders.sort_unstable();
        // One that lies in the folder before it is listed with that.
        folders.dedup_by(|later, before| later.starts_with(&**before));
        let area = |prefix: &str| Area {
            prefix: prefix.to_owned(),
            shared: true,
        };
        folders.into_iter().map(area).collect()
    }

    /// Objects and claims, in pages: a request each.
    pub fn objects(
        &self,
        area: &Area,
    ) -> impl Stream<Item = Result<Vec<Held<Entry>>, StoreError>> + use<> {
        let (holdings, prefix) = (self.clone(), area.prefix.clone());
        pages(move |after: Option<String>| {
            let (holdings, prefix) = (holdings.clone(), prefix.clone());
            async move {
                let page = holdings.remains.list_all(&prefix, after.as_deref()).await?;
                let last = page.entries.last().filter(|_| page.more);
                let last = last.map(|entry| entry.key.clone());
                Ok((holdings.held(page.entries, |entry| &entry.key), last))
            }
        })
    }

    /// Versions of objects, in pages: a request each.
    pub fn versions(
        &self,
        area: &Area,
    ) -> impl Stream<Item = Result<Vec<Held<Version>>, StoreError>> + use<> {
        let (holdings, prefix) = (self.clone(), area.prefix.clone());
        pages(move |after: Option<VersionMark>| {
            let (holdings, prefix) = (holdings.clone(), prefix.clone());
            async move {
                let page = holdings.remains.versions(&prefix, after.as_ref()).await?;
                let held = holdings.held(page.versions, |version| &version.key);
                Ok((held, page.next))
            }
        })
    }

    /// Shows `act` the uploads to the tenant's own folder that are neither
    /// completed nor aborted. Whose those to a shared folder are cannot be
    /// known.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn each_upload(
        &self,
        mut act: impl AsyncFnMut(&Upload) -> Result<(), StoreError>,
    ) -> Result<Uploads, StoreError> {
        let holdings = self.clone();
        let pages = pages(move |after: Option<Upload>| {
            let holdings = holdings.clone();
            async move {
                let folder = holdings.layout.folder();
                let page = holdings.remains.uploads(folder, after.as_ref()).await?;
                let last = page.uploads.last().filter(|_| page.more).cloned();
                Ok((page.uploads, last))
            }
        });
        pin_mut!(pages);
        loop {
            let page = match pages.try_next().await {
                Err(StoreError::Forbidden(_)) => return Ok(Uploads::Hidden),
                page => page?,
            };
            let Some(page) = page else {
                return Ok(Uploads::Seen);
            };
            for upload in &page {
                act(upload).await?;
            }
        }
    }

    /// The claim that an object is, if it is one and was made before `then`:
    /// a request, for the few objects that have a claim's size.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn stale_claim(
        &self,
        entry: &Entry,
        then: SystemTime,
    ) -> Result<Option<StaleClaim>, StoreError> {
        let Some(key) = self.layout.file_of(&entry.key) else {
            return Ok(None);
        };
        if entry.modified >= then {
            return Ok(None);
        }
        let etag = self.remains.claim(entry).await?;
        Ok(etag.map(|etag| StaleClaim { key, etag }))
    }

    /// Removes a claim, unless an upload has been completed under its name.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn release(&self, claim: &StaleClaim) -> Result<(), StoreError> {
        match self.layout.file(&claim.key) {
            Ok(key) => self.remains.release(&key, &claim.etag).await,
            Err(_) => Ok(()),
        }
    }

    /// Removes versions for good, with a request for each thousand.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn erase(&self, versions: &[Version]) -> Result<(), StoreError> {
        let own = |version: &&Version| self.layout.kind_of(&version.key).is_some();
        let own: Vec<_> = versions.iter().filter(own).cloned().collect();
        for batch in own.chunks(MAX_ERASED) {
            self.remains.erase(batch).await?;
        }
        Ok(())
    }

    /// Removes objects; a versioned bucket keeps a version of each.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn remove(&self, objects: Vec<Entry>) -> Result<(), StoreError> {
        let objects = objects.into_iter();
        let current = objects.map(|entry| Version::current(entry.key, entry.size_bytes));
        self.erase(&current.collect::<Vec<_>>()).await
    }

    /// Gives an upload up.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn abort(&self, upload: &Upload) -> Result<(), StoreError> {
        self.remains.abort(upload).await
    }

    fn held<T>(&self, all: Vec<T>, key: impl Fn(&T) -> &str) -> Vec<Held<T>> {
        let held = all.into_iter().filter_map(|it| {
            let kind = self.layout.kind_of(key(&it))?;
            Some(Held { kind, it })
        });
        held.collect()
    }
}

/// Pages by the mark behind which each begins. One is given out when the next
/// has come: it may be removed, and not every server finds a mark that is gone.
fn pages<T, M, F>(fetch: impl Fn(Option<M>) -> F) -> impl Stream<Item = Result<Vec<T>, StoreError>>
where
    F: Future<Output = Result<(Vec<T>, Option<M>), StoreError>>,
{
    let fetch = Arc::new(fetch);
    let first = (None, Some(None));
    stream::try_unfold(first, move |(fetched, mut next)| {
        let fetch = Arc::clone(&fetch);
        async move {
            let mut fetched: Option<Vec<T>> = fetched;
            while let Some(mark) = next.take() {
                let (page, last) = fetch(mark).await?;
                next = last.map(Some);
                if let Some(page) = fetched.replace(page) {
                    return Ok(Some((page, (fetched, next))));
                }
            }
            Ok(fetched.map(|page| (page, (None, None))))
        }
    })
}
