//! The tenants in force: read on every request, changed while running.
//!
//! Readers take no lock. A [`Registry::refresh`] brings the tenants up to date
//! with their files, all at once or, when it is dropped, not at all. Whatever
//! is wrong with a file concerns its tenant only, and leaves the last good
//! version of it in force.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, UNIX_EPOCH};

use arc_swap::ArcSwap;
use tokio::sync::Mutex;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use crate::tenant::claims::Claims;
use crate::tenant::files::{FileError, Files};
use crate::tenant::source::{SourceError, TenantSource};
use crate::tenant::{TenantId, TenantSettings};

/// A tenant in force, with what was opened for it.
#[derive(Debug)]
pub struct Tenant<T> {
    /// Its settings.
    pub settings: TenantSettings,
    /// What was opened for it, for example its store. It lives as long as the
    /// settings stay the same.
    pub inner: T,
}

/// All tenants in force.
pub struct Registry<T> {
    tenants: ArcSwap<Tenants<T>>,
    /// `None` when the only tenant is described by the environment.
    origin: Option<Origin<T>>,
    loaded: AtomicBool,
    broken: AtomicUsize,
    /// When the files were last listed, in seconds since 1970.
    refreshed_at: AtomicU64,
    /// Held throughout a refresh: there is one at a time.
    files: Mutex<Files>,
}

type Tenants<T> = HashMap<TenantId, Arc<Tenant<T>>>;
type Open<T> = Box<dyn Fn(&TenantSettings) -> Result<T, String> + Send + Sync>;

/// Where tenants come from and how they are opened.
struct Origin<T> {
    source: Arc<dyn TenantSource>,
    default_bucket: Option<String>,
    open: Open<T>,
}

/// What a refresh has found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// The tenants that are newly in force.
    pub added: Vec<TenantId>,
    /// The tenants whose settings have changed.
    pub changed: Vec<TenantId>,
    /// The tenants whose files are gone.
    pub removed: Vec<TenantId>,
    /// The stem and the fault of every file that is not in force as it now is,
    /// whether this refresh found it or an earlier one.
    pub broken: Vec<(String, String)>,
    /// The former settings of the changed and removed tenants.
    pub outdated: Vec<TenantSettings>,
}

impl<T: Send + Sync + 'static> Registry<T> {
    /// A registry of one tenant that never changes.
    #[must_use]
    pub fn single(settings: TenantSettings, inner: T) -> Self {
        let id = settings.id.clone();
        let tenant = Arc::new(Tenant { settings, inner });
        Self {
            tenants: ArcSwap::from_pointee(HashMap::from([(id, tenant)])),
            origin: None,
            loaded: AtomicBool::new(true),
            broken: AtomicUsize::new(0),
            refreshed_at: AtomicU64::new(0),
            files: Mutex::default(),
        }
    }

    /// A registry of the tenants that `source` has files for. It is empty
    /// until the first [`Registry::refresh`].
    ///
    /// `open` is called whenever a tenant's settings are new or have changed,
    /// and again at each refresh after it has failed. It must not block.
    #[must_use]
    pub fn from_source(
        source: Arc<dyn TenantSource>,
        default_bucket: Option<&str>,
        open: impl Fn(&TenantSettings) -> Result<T, String> + Send + Sync + 'static,
    ) -> Self {
        Self {
            tenants: ArcSwap::default(),
            origin: Some(Origin {
                source,
                default_bucket: default_bucket.map(str::to_owned),
                open: Box::new(open),
            }),
            loaded: AtomicBool::new(false),
            broken: AtomicUsize::new(0),
            refreshed_at: AtomicU64::new(0),
            files: Mutex::default(),
        }
    }

    /// The tenant of this id, suspended ones included.
    #[must_use]
    pub fn get(&self, id: &TenantId) -> Option<Arc<Tenant<T>>> {
        self.tenants.load().get(id).cloned()
    }

    /// All tenants, suspended ones included.
    #[must_use]
    pub fn all(&self) -> Vec<Arc<Tenant<T>>> {
        self.tenants.load().values().cloned().collect()
    }

    /// How many tenants are in force.
    #[must_use]
    pub fn len(&self) -> usize {
        self.tenants.load().len()
    }

    /// How many files are not in force as they are.
    #[must_use]
    pub fn broken_len(&self) -> usize {
        self.broken.load(Ordering::Relaxed)
    }

    /// True when there is no tenant.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.tenants.load().is_empty()
    }

    /// When the files were last listed, in seconds since 1970; 0 when they have
    /// not been, or there are none.
    #[must_use]
    pub fn refreshed_at(&self) -> u64 {
        self.refreshed_at.load(Ordering::Relaxed)
    }

    /// True once the files could be listed and the good ones are in force.
    #[must_use]
    pub fn is_loaded(&self) -> bool {
        self.loaded.load(Ordering::Acquire)
    }

    /// Brings the tenants up to date with their files: one listing, and one
    /// read for each file that is new, has changed or could not be read before.
    ///
    /// # Errors
    /// The listing failed, and nothing has changed.
    pub async fn refresh(&self) -> Result<Summary, SourceError> {
        let Some(origin) = &self.origin else {
            return Ok(Summary::default());
        };
        let mut files = self.files.lock().await;
        let listed = origin.source.list().await;
        files.report_listing(listed.as_ref().err());
        let default_bucket = origin.default_bucket.as_deref();
        let read = files
            .read_outdated(&*origin.source, listed?, default_bucket)
            .await;
        // Nothing waits from here on, so that a refresh that is dropped has
        // done nothing.
        files.update(read);
        let summary = self.apply(origin, &mut files);
        let now = UNIX_EPOCH.elapsed().unwrap_or_default();
        self.refreshed_at.store(now.as_secs(), Ordering::Relaxed);
        self.loaded.store(true, Ordering::Release);
        Ok(summary)
    }

    /// Who else, of the tenants in force, has a folder where one of these
    /// settings' would lie, or the other way round.
    #[must_use]
    pub fn conflict(&self, settings: &TenantSettings) -> Option<TenantId> {
        let tenants = self.tenants.load();
        let claims: Claims = tenants.values().map(|t| &t.settings).collect();
        claims.conflict(settings).cloned()
    }

    /// Refreshes at once and then every `every`, until cancelled, and has
    /// `forget` forget what was kept under settings that are not in force any
    /// more. Failures are logged, and tried again the next time.
    pub async fn run<F: Future<Output = ()>>(
        self: Arc<Self>,
        every: Duration,
        forget: impl Fn(TenantSettings) -> F,
        cancel: CancellationToken,
    ) {
        if self.origin.is_none() {
            return;
        }
        let mut ticks = tokio::time::interval(every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let refreshing = async {
            loop {
                ticks.tick().await;
                // The refresh itself has logged what went wrong.
                let Ok(summary) = self.refresh().await else {
                    continue;
                };
                for settings in summary.outdated {
                    forget(settings).await;
                }
            }
        };
        cancel.run_until_cancelled(refreshing).await;
    }

    fn apply(&self, origin: &Origin<T>, files: &mut Files) -> Summary {
        let mut pass = Pass::new(Tenants::clone(&self.tenants.load()));
        pass.remove_gone(files);
        pass.admit_candidates(origin, files);
        pass.broken.extend(files.unusable());
        self.tenants.store(Arc::new(pass.tenants));
        pass.summary.log();
        files.report_broken(&pass.broken);
        self.broken.store(pass.broken.len(), Ordering::Relaxed);
        let in_words = |(id, error): (String, FileError)| (id, error.to_string());
        pass.summary.broken = pass.broken.into_iter().map(in_words).collect();
        pass.summary
    }
}

/// The tenants on their way from what was in force to what will be.
struct Pass<T> {
    tenants: Tenants<T>,
    summary: Summary,
    broken: BTreeMap<String, FileError>,
}

impl<T> Pass<T> {
    fn new(tenants: Tenants<T>) -> Self {
        Self {
            tenants,
            summary: Summary::default(),
            broken: BTreeMap::new(),
        }
    }

    fn remove_gone(&mut self, files: &Files) {
        let Summary {
            removed, outdated, ..
        } = &mut self.summary;
        self.tenants.retain(|id, tenant| {
            let listed = files.contains(id);
            if !listed {
                removed.push(id.clone());
                outdated.push(tenant.settings.clone());
            }
            listed
        });
        removed.sort();
    }

    /// Puts new and changed settings in force as far as their folders are free
    /// and the tenant can be opened.
    fn admit_candidates(&mut self, origin: &Origin<T>, files: &Files) {
        let candidates = self.candidates(files);
        if candidates.is_empty() {
            return;
        }
        let mut claims: Claims = self.tenants.values().map(|t| &t.settings).collect();
        for settings in candidates {
            let id = &settings.id;
            let tenant = match origin.open(&claims, settings) {
                Ok(tenant) => Arc::new(tenant),
                Err(error) => {
                    self.broken.insert(id.as_str().to_owned(), error);
                    continue;
                }
            };
            match self.tenants.insert(id.clone(), tenant) {
                Some(before) => {
                    claims.remove(&before.settings);
                    self.summary.outdated.push(before.settings.clone());
                    self.summary.changed.push(id.clone());
                }
                None => self.summary.added.push(id.clone()),
            }
            claims.insert(settings);
        }
    }

    /// The settings that are not in force yet, in the order of their ids, but
    /// those of known tenants first: a folder that one of them leaves is free
    /// for a new tenant at once.
    fn candidates<'a>(&self, files: &'a Files) -> Vec<&'a TenantSettings> {
        let current = |settings: &TenantSettings| {
            let tenant = self.tenants.get(&settings.id);
            tenant.is_some_and(|tenant| tenant.settings == *settings)
        };
        let mut candidates: Vec<_> = files.settings().filter(|wanted| !current(wanted)).collect();
        candidates.sort_by_key(|wanted| !self.tenants.contains_key(&wanted.id));
        candidates
    }
}

impl<T> Origin<T> {
    fn open(&self, claims: &Claims, settings: &TenantSettings) -> Result<Tenant<T>, FileError> {
        if let Some(owner) = claims.conflict(settings) {
            return Err(FileError::Overlap(owner.clone()));
        }
        let inner = (self.open)(settings).map_err(FileError::Open)?;
        Ok(Tenant {
            settings: settings.clone(),
            inner,
        })
    }
}

impl Summary {
    fn log(&self) {
        for (tenants, change) in [
            (&self.added, "tenant added"),
            (&self.changed, "tenant changed"),
            (&self.removed, "tenant removed"),
        ] {
            for tenant in tenants {
                tracing::info!(%tenant, "{change}");
            }
        }
    }
}

#[cfg(test)]
mod tests;
