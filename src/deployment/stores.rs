//! Opens tenants' stores on the backend that the configuration names.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::Probe;
use crate::budget::{Budget, Share};
use crate::cache::Tenancy;
use crate::config::{CACHE_FOLDER, DeploymentConfig, S3Config, StoreConfig};
use crate::http::TenantService;
use crate::metrics::Metrics;
use crate::quota::Quota;
use crate::storage::BlobStore;
use crate::storage::directory::DirectoryStore;
use crate::storage::holdings::Holdings;
use crate::storage::remains::Remains;
use crate::storage::s3::{Bucket, Connection, S3Store};
use crate::storage::scoped::TenantStore;
use crate::tenant::role::{Role, RoleChoice};
use crate::tenant::{TenantId, TenantSettings};

/// A store that has not answered by then is taken for unreachable.
const PING_TIMEOUT: Duration = Duration::from_secs(5);
/// So many are asked before all are taken for unreachable: of the roles of
/// hundreds of tenants some may be broken.
const MAX_PINGS: usize = 5;

/// Where objects are kept.
pub(super) enum Backend {
    Directory {
        root: PathBuf,
    },
    S3 {
        connection: Box<Connection>,
        config: Box<S3Config>,
    },
}

impl Backend {
    pub(super) async fn open(config: &StoreConfig, metrics: &Metrics) -> Result<Self> {
        Ok(match config {
            StoreConfig::Directory(root) => Self::Directory { root: root.clone() },
            StoreConfig::S3(config) => Self::S3 {
                connection: Box::new(Connection::open(&config.connect, metrics.clone()).await?),
                config: config.clone(),
            },
        })
    }
}

/// Opens tenants' stores; those of one bucket share what is known of it,
/// whatever credentials they have.
pub(super) struct Stores {
    pub(super) backend: Backend,
    probe: Probe,
    budget: Arc<Budget>,
    tasks: TaskTracker,
    abort: CancellationToken,
    import_ttl: Duration,
    patience: Duration,
    max_tenant_requests: usize,
    default_role: RoleChoice,
    opened: Mutex<HashMap<String, Opened>>,
    asked: Mutex<BTreeMap<Access, Arc<dyn BlobStore>>>,
    /// Whom to ask first for a sign of life, as a place among those.
    ask_first: AtomicUsize,
    limits: Mutex<HashMap<TenantId, Limits>>,
}

/// What one tenant may have at once.
#[derive(Clone)]
struct Limits {
    share: Share,
    places: Arc<Semaphore>,
}

/// A bucket that has been opened.
#[derive(Clone)]
enum Opened {
    /// A directory, whose store is one for all.
    Directory(Arc<DirectoryStore>),
    /// What its tenants' stores share.
    S3(Arc<Bucket>),
}

/// A bucket by credentials: one for each is asked for a sign of life.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Access {
    /// The server's own, to this bucket.
    Server(String),
    /// Those of this tenant's role.
    Role(TenantId),
}

impl Stores {
    /// Stores that share `budget`; what outlives a request is tracked by
    /// `tasks` and ends with `abort`.
    pub(super) fn new(
        backend: Backend,
        probe: Probe,
        config: &DeploymentConfig,
        budget: &Arc<Budget>,
        tasks: &TaskTracker,
        abort: &CancellationToken,
    ) -> Self {
        Self {
            backend,
            probe,
            budget: Arc::clone(budget),
            tasks: tasks.clone(),
            abort: abort.clone(),
            import_ttl: config.import_ttl,
            patience: config.limits.patience,
            max_tenant_requests: config.limits.max_tenant_requests,
            default_role: config.role.clone(),
            opened: Mutex::default(),
            asked: Mutex::default(),
            ask_first: AtomicUsize::new(0),
            limits: Mutex::default(),
        }
    }

    pub(super) fn open(&self, settings: &TenantSettings) -> Result<TenantService, String> {
        let Limits { share, places } = self.limits(&settings.id);
        let store = self.store(settings, &share);
        let store = store.map_err(|error| format!("{error:#}"))?;
        Ok(TenantService {
            share,
            places,
            quota: settings
                .quota_bytes
                .map(|limit| Arc::new(Quota::new(limit, self.patience))),
            store: TenantStore::new(store, settings.layout.clone(), self.import_ttl),
            tenancy: Tenancy::of(settings),
        })
    }

    /// All that is a tenant's, by the server's own credentials: unfinished
    /// uploads can only be listed for a whole bucket, which no role of one
    /// tenant should be able to.
    pub(super) fn holdings(&self, settings: &TenantSettings) -> Result<Holdings, String> {
        let Limits { share, .. } = self.limits(&settings.id);
        let opened = self.bucket(&settings.bucket);
        let remains: Arc<dyn Remains> = match opened.map_err(|error| format!("{error:#}"))?.0 {
            Opened::Directory(store) => store,
            Opened::S3(bucket) => Arc::new(S3Store::new(bucket, settings.layout.clone(), share)),
        };
        Ok(Holdings::new(remains, settings.layout.clone()))
    }

    /// A tenant's limits. They outlive its settings: a change of these must not
    /// give it everything a second time.
    fn limits(&self, id: &TenantId) -> Limits {
        let mut limits = self.limits.lock().unwrap_or_else(PoisonError::into_inner);
        let new = || Limits {
            share: self.budget.share(),
            places: Arc::new(Semaphore::new(self.max_tenant_requests)),
        };
        limits.entry(id.clone()).or_insert_with(new).clone()
    }

    fn store(&self, settings: &TenantSettings, share: &Share) -> Result<Arc<dyn BlobStore>> {
        let (opened, is_first) = self.bucket(&settings.bucket)?;
        let store: Arc<dyn BlobStore> = match opened {
            Opened::Directory(store) => store,
            Opened::S3(bucket) => {
                let store = self.s3_store(&bucket, settings, share)?;
                if is_first && self.probe == Probe::AtOnce {
                    find_out_conditions(store.clone());
                }
                Arc::new(store)
            }
        };
        let own = Access::Role(settings.id.clone());
        let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        // The tenant may have had another role before, or none.
        asked.remove(&own);
        let access = match self.role(settings) {
            Some(_) => own,
            None => Access::Server(settings.bucket.clone()),
        };
        asked.entry(access).or_insert_with(|| Arc::clone(&store));
        Ok(store)
    }

    /// The role by which a tenant's objects are reached, if there is one.
    pub(super) fn role(&self, settings: &TenantSettings) -> Option<Role> {
        match &self.backend {
            Backend::Directory { .. } => None,
            Backend::S3 { .. } => settings.role.over(&self.default_role),
        }
    }

    /// A tenant's store for who has to know that it is in S3; `None` when it
    /// is not.
    pub(super) fn in_s3(&self, settings: &TenantSettings) -> Result<Option<S3Store>> {
        if matches!(self.backend, Backend::Directory { .. }) {
            return Ok(None);
        }
        let Limits { share, .. } = self.limits(&settings.id);
        match self.bucket(&settings.bucket)?.0 {
            Opened::Directory(_) => Ok(None),
            Opened::S3(bucket) => self.s3_store(&bucket, settings, &share).map(Some),
        }
    }

    fn s3_store(
        &self,
        bucket: &Arc<Bucket>,
        settings: &TenantSettings,
        share: &Share,
    ) -> Result<S3Store> {
        let layout = settings.layout.clone();
        let bucket = match (self.role(settings), &self.backend) {
            (Some(role), Backend::S3 { connection, .. }) => {
                bucket.assuming(connection, &role, &settings.id, &layout)?
            }
            _ => Arc::clone(bucket),
        };
        Ok(S3Store::new(bucket, layout, share.clone()))
    }

    /// The bucket, and whether it has been opened by this.
    fn bucket(&self, name: &str) -> Result<(Opened, bool)> {
        let mut opened = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = opened.get(name) {
            return Ok((known.clone(), false));
        }
        let new = match &self.backend {
            Backend::Directory { root } => Opened::Directory(open_directory(root, name)?),
            Backend::S3 { connection, config } => {
                let (tasks, stop) = (self.tasks.clone(), self.abort.clone());
                Opened::S3(Bucket::new(connection, name, config.options, tasks, stop))
            }
        };
        opened.insert(name.to_owned(), new.clone());
        Ok((new, true))
    }

    /// True when any bucket answers, or there is none to ask: trouble with one
    /// tenant's bucket or role must not take the others out of service.
    pub(super) async fn ping(&self) -> bool {
        let mut stores: Vec<_> = {
            let asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
            let stores = asked.iter();
            stores
                .map(|(access, store)| (access.clone(), Arc::clone(store)))
                .collect()
        };
        if stores.is_empty() {
            return true;
        }
        let first = self.ask_first.load(Ordering::Relaxed) % stores.len();
        stores.rotate_left(first);
        for (place, (access, store)) in stores.iter().take(MAX_PINGS).enumerate() {
            self.ask_first.store(first + place, Ordering::Relaxed);
            let error = match tokio::time::timeout(PING_TIMEOUT, store.ping()).await {
                Ok(Ok(())) => return true,
                Ok(Err(error)) => error.to_string(),
                Err(elapsed) => elapsed.to_string(),
            };
            tracing::warn!(?access, error, "the store does not answer as it should");
        }
        self.ask_first.fetch_add(1, Ordering::Relaxed);
        false
    }
}

fn open_directory(root: &Path, bucket: &str) -> Result<Arc<DirectoryStore>> {
    anyhow::ensure!(
        bucket != CACHE_FOLDER,
        "a directory store has its cache in `{CACHE_FOLDER}`: no bucket can have this name"
    );
    let path = root.join(bucket);
    let store = DirectoryStore::open(&path)
        .with_context(|| format!("the directory {} cannot be used as a store", path.display()))?;
    Ok(Arc::new(store))
}

/// Uploads wait for the answer, so it is asked for before the first.
fn find_out_conditions(store: S3Store) {
    tokio::spawn(async move {
        if let Err(error) = store.find_out_conditions().await {
            tracing::warn!(%error, "whether conditional writes are honoured is not known yet");
        }
    });
}
