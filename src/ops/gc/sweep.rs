//! Looking through a tenant's folders. It is done by the same rules when
//! things are reported and when they are removed, with the clock of the first.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use anyhow::Result;
use futures_util::{TryStreamExt as _, pin_mut};
use serde_json::{Map, Value, json};

use crate::key::{FileKey, Kind};
use crate::ops::listing::Listing;
use crate::ops::progress::Progress;
use crate::storage::Entry;
use crate::storage::holdings::{Area, Held, Holdings, StaleClaim, Uploads};

/// What nobody needs any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Trash {
    /// A file that no attachment has.
    Orphan,
    /// An import that is older than imports are kept.
    ExpiredImport,
    /// A name taken by an upload that died.
    StaleClaim,
    /// A trial of what the store can do, whose process died.
    Trial,
    /// An upload of several parts that died.
    UnfinishedUpload,
}

impl Trash {
    pub(super) const ALL: [Self; 5] = [
        Self::Orphan,
        Self::ExpiredImport,
        Self::StaleClaim,
        Self::Trial,
        Self::UnfinishedUpload,
    ];
}

impl fmt::Display for Trash {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.pad(match self {
            Self::Orphan => "orphans",
            Self::ExpiredImport => "expired imports",
            Self::StaleClaim => "stale claims",
            Self::Trial => "trial objects",
            Self::UnfinishedUpload => "unfinished uploads",
        })
    }
}

/// What has been found of one tenant.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// All that was looked at.
    pub(super) objects: u64,
    /// Those of the files that the listing could name.
    judged_files: u64,
    counts: BTreeMap<Trash, (u64, u64)>,
    /// `None` until they have been looked for.
    pub(super) uploads: Option<Uploads>,
    /// The keys of the orphans.
    pub(super) orphans: Vec<String>,
}

impl Found {
    fn add(&mut self, trash: Trash, bytes: u64) {
        let (count, all_bytes) = self.counts.entry(trash).or_default();
        *count += 1;
        *all_bytes += bytes;
    }

    /// How many there are, and their bytes.
    pub(super) fn of(&self, trash: Trash) -> (u64, u64) {
        self.counts.get(&trash).copied().unwrap_or_default()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.counts.is_empty()
    }

    pub(super) fn counts(&self) -> Map<String, Value> {
        let counts = self.counts.iter().map(|(trash, (count, bytes))| {
            let name = trash.to_string().replace(' ', "_");
            (name, json!({"count": count, "bytes": bytes}))
        });
        counts.collect()
    }

    /// Why the orphans are probably none.
    pub(super) fn why_not(&self, listing: Option<&Listing>) -> Option<String> {
        let (orphans, _) = self.of(Trash::Orphan);
        if orphans == 0 {
            None
        } else if listing.is_some_and(Listing::is_empty) {
            Some("the listing is empty: probably not this tenant's".to_owned())
        } else if orphans * 2 > self.judged_files {
            Some(format!(
                "{orphans} of {} files of that age would be orphans: probably another tenant's \
                 listing",
                self.judged_files
            ))
        } else {
            None
        }
    }
}

/// A look through one tenant's folders.
pub(super) struct Sweep {
    pub(super) holdings: Holdings,
    pub(super) listing: Option<Arc<Listing>>,
    pub(super) now: SystemTime,
    pub(super) min_age: Duration,
    pub(super) import_ttl: Duration,
}

/// How something is removed.
enum Removal {
    Object,
    Claim(StaleClaim),
}

impl Sweep {
    /// Counts what could be removed.
    pub(super) async fn look(&self, areas: &[Area], progress: &Progress) -> Result<Found> {
        let mut found = Found::default();
        for area in areas {
            let pages = self.holdings.objects(area);
            pin_mut!(pages);
            while let Some(page) = pages.try_next().await? {
                for held in page {
                    progress.add(1, held.it.size_bytes);
                    found.objects += 1;
                    let judged = self.judge(&held).await?;
                    if matches!(judged, None | Some((Trash::Orphan, _))) {
                        let could_name = held.kind == Kind::File && self.could_name(&held.it);
                        found.judged_files += u64::from(could_name);
                    }
                    let Some((trash, _)) = judged else { continue };
                    found.add(trash, held.it.size_bytes);
                    if trash == Trash::Orphan {
                        found
                            .orphans
                            .extend(self.key(&held.it).map(|key| key.to_string()));
                    }
                }
            }
        }
        let uploads = self.holdings.each_upload(async |upload| {
            if self.is_old(upload.begun) {
                found.add(Trash::UnfinishedUpload, 0);
            }
            Ok(())
        });
        found.uploads = Some(uploads.await?);
        Ok(found)
    }

    /// Removes it.
    pub(super) async fn remove(&self, areas: &[Area]) -> Result<()> {
        // What is given up frees the names that it has claimed.
        let given_up = self.holdings.each_upload(async |upload| {
            if self.is_old(upload.begun) {
                self.holdings.abort(upload).await?;
            }
            Ok(())
        });
        let _: Uploads = given_up.await?;
        for area in areas {
            let pages = self.holdings.objects(area);
            pin_mut!(pages);
            while let Some(page) = pages.try_next().await? {
                let mut objects = Vec::new();
                for held in page {
                    match self.judge(&held).await? {
                        Some((_, Removal::Object)) => objects.push(held.it),
                        Some((_, Removal::Claim(claim))) => self.holdings.release(&claim).await?,
                        None => {}
                    }
                }
                self.holdings.remove(objects).await?;
            }
        }
        Ok(())
    }

    async fn judge(&self, held: &Held<Entry>) -> Result<Option<(Trash, Removal)>> {
        let entry = &held.it;
        let old = self.is_old(entry.modified);
        Ok(match held.kind {
            Kind::Import if old && self.age(entry.modified) > self.import_ttl => {
                Some((Trash::ExpiredImport, Removal::Object))
            }
            Kind::Other if old && self.holdings.layout().is_probe(&entry.key) => {
                Some((Trash::Trial, Removal::Object))
            }
            Kind::File if old => {
                let then = self.now - self.min_age;
                match self.holdings.stale_claim(entry, then).await? {
                    Some(claim) => Some((Trash::StaleClaim, Removal::Claim(claim))),
                    None => self
                        .is_orphan(entry)
                        .then_some((Trash::Orphan, Removal::Object)),
                }
            }
            _ => None,
        })
    }

    fn is_orphan(&self, entry: &Entry) -> bool {
        let (Some(listing), Some(key)) = (&self.listing, self.key(entry)) else {
            return false;
        };
        self.could_name(entry) && !listing.contains(key.as_str())
    }

    /// Of files that are newer the listing may not have known.
    fn could_name(&self, entry: &Entry) -> bool {
        let printed = self.listing.as_ref().map(|listing| listing.printed_at());
        let known_by_then = printed.and_then(|printed| printed.checked_sub(self.min_age));
        known_by_then.is_some_and(|then| entry.modified < then)
    }

    fn key(&self, entry: &Entry) -> Option<FileKey> {
        self.holdings.layout().file_of(&entry.key)
    }

    fn is_old(&self, time: SystemTime) -> bool {
        self.age(time) > self.min_age
    }

    fn age(&self, time: SystemTime) -> Duration {
        self.now.duration_since(time).unwrap_or_default()
    }
}
