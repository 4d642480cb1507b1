//! The erasing itself: uploads, thumbnails in shared folders, then everything
//! in the tenant's own folder until there is nothing left.

use std::collections::HashSet;

use anyhow::{Result, bail};
use futures_util::{TryStreamExt as _, pin_mut, stream};

use crate::digest::FileDigest;
use crate::key::{Kind, ObjectKey, Original};
use crate::ops::progress::Progress;
use crate::storage::StoreError;
use crate::storage::holdings::{Holdings, Uploads};
use crate::storage::scoped::{TenantStore, TenantStoreError};

const PARALLEL_HEADS: usize = 16;
/// An upload that had begun before the tenant was suspended may end between.
const MAX_PASSES: usize = 5;

pub(super) struct Eraser<'a> {
    pub(super) holdings: &'a Holdings,
    pub(super) store: TenantStore,
}

impl Eraser<'_> {
    /// Erases everything, and says what had to be left.
    pub(super) async fn erase(&self, progress: &Progress) -> Result<Vec<String>> {
        let (_, uploads) = self.abort_uploads().await?;
        // Before the files: they tell whose the thumbnails are.
        let mut left = self.erase_shared(progress).await?;
        if uploads == Uploads::Hidden {
            left.push(Uploads::WHY_HIDDEN.to_owned());
        }
        for _ in 0..MAX_PASSES {
            let erased = self.erase_own(progress).await?;
            let (aborted, _) = self.abort_uploads().await?;
            if erased + aborted == 0 {
                return Ok(left);
            }
        }
        bail!("new objects keep coming: is the tenant still in use?")
    }

    async fn abort_uploads(&self) -> Result<(u64, Uploads), StoreError> {
        let mut aborted = 0;
        let abort = self.holdings.each_upload(async |upload| {
            aborted += 1;
            self.holdings.abort(upload).await
        });
        let uploads = abort.await?;
        Ok((aborted, uploads))
    }

    async fn erase_own(&self, progress: &Progress) -> Result<u64, StoreError> {
        let mut erased = 0;
        let pages = self.holdings.versions(&self.holdings.own());
        pin_mut!(pages);
        while let Some(page) = pages.try_next().await? {
            let versions: Vec<_> = page.into_iter().map(|held| held.it).collect();
            self.holdings.erase(&versions).await?;
            let bytes = versions.iter().map(|version| version.size_bytes).sum();
            progress.add(versions.len() as u64, bytes);
            erased += versions.len() as u64;
        }
        Ok(erased)
    }

    /// Thumbnails of this tenant's files, wherever else they lie. Another
    /// tenant's file of the same bytes gets its thumbnails made anew.
    async fn erase_shared(&self, progress: &Progress) -> Result<Vec<String>> {
        let mut left = Vec::new();
        let shared = self.holdings.shared();
        if shared.is_empty() {
            return Ok(left);
        }
        let own = if self.store.owns_thumbnails() {
            HashSet::new()
        } else {
            self.originals().await?
        };
        for area in shared {
            let (mut erased, mut unknown) = (0, 0);
            let pages = self.holdings.versions(&area);
            pin_mut!(pages);
            while let Some(page) = pages.try_next().await? {
                let (ours, others): (Vec<_>, Vec<_>) =
                    page.into_iter().map(|held| held.it).partition(|version| {
                        let thumbnail = self.holdings.layout().thumbnail_of(&version.key);
                        thumbnail.is_some_and(|it| own.contains(&it.original()))
                    });
                self.holdings.erase(&ours).await?;
                progress.add(ours.len() as u64, 0);
                erased += ours.len();
                unknown += others.len();
            }
            left.push(format!(
                "{}: {erased} erased; {unknown} left, which may be other tenants'",
                area.prefix()
            ));
        }
        Ok(left)
    }

    /// What the tenant's files are, as their thumbnails are named after them.
    async fn originals(&self) -> Result<HashSet<Original>> {
        let pages = self.holdings.objects(&self.holdings.own());
        let files = pages
            .map_err(anyhow::Error::from)
            .map_ok(|page| stream::iter(page.into_iter().map(Ok)))
            .try_flatten()
            .try_filter(|held| std::future::ready(held.kind == Kind::File));
        files
            .map_ok(async |held| {
                let Some(key) = self.holdings.layout().file_of(&held.it.key) else {
                    return Ok(None);
                };
                let digest = match held.it.digest {
                    Some(digest) => Some(digest),
                    None => match self.store.head(&ObjectKey::File(key)).await {
                        Ok(info) => info.digest,
                        Err(TenantStoreError::Store(StoreError::NotFound)) => None,
                        Err(error) => return Err(error.into()),
                    },
                };
                Ok(digest.map(|digest| Original {
                    digest: FileDigest::Sha256(digest),
                    size_bytes: held.it.size_bytes,
                }))
            })
            .try_buffer_unordered(PARALLEL_HEADS)
            .try_filter_map(|original| std::future::ready(Ok(original)))
            .try_collect()
            .await
    }
}
