//! Opens tenants' stores on the backend that the configuration names.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
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
use crate::storage::BlobStore;
use crate::storage::directory::DirectoryStore;
use crate::storage::holdings::Holdings;
use crate::storage::remains::Remains;
use crate::storage::s3::{Bucket, Connection, S3Store};
use crate::storage::scoped::TenantStore;
use crate::tenant::{TenantId, TenantSettings};

/// A store that has not answered by then is taken for unreachable.
const PING_TIMEOUT: Duration = Duration::from_secs(5);

/// Where objects are kept.
pub(super) enum Backend {
    Directory {
        root: PathBuf,
    },
    S3 {
        connection: Connection,
        config: Box<S3Config>,
    },
}

impl Backend {
    pub(super) async fn open(config: &StoreConfig, metrics: &Metrics) -> Result<Self> {
        Ok(match config {
            StoreConfig::Directory(root) => Self::Directory { root: root.clone() },
            StoreConfig::S3(config) => Self::S3 {
                connection: Connection::open(&config.connect, metrics.clone()).await?,
                config: config.clone(),
            },
        })
    }
}

/// Opens tenants' stores; those of one bucket share what is known of it.
pub(super) struct Stores {
    pub(super) backend: Backend,
    probe: Probe,
    budget: Arc<Budget>,
    tasks: TaskTracker,
    abort: CancellationToken,
    import_ttl: Duration,
    max_tenant_requests: usize,
    opened: Mutex<HashMap<String, Opened>>,
    limits: Mutex<HashMap<TenantId, Limits>>,
}

/// What one tenant may have at once.
#[derive(Clone)]
struct Limits {
    share: Share,
    places: Arc<Semaphore>,
}

/// A bucket that has been opened.
enum Opened {
    /// One store for all tenants.
    Directory(Arc<DirectoryStore>),
    S3 {
        /// What the tenants' stores share.
        bucket: Arc<Bucket>,
        /// The store that is asked whether the bucket's server is alive.
        first: Arc<S3Store>,
    },
}

/// A tenant's store, for all that may be asked of it.
#[derive(Clone)]
enum Store {
    Directory(Arc<DirectoryStore>),
    S3(Arc<S3Store>),
}

impl Store {
    fn objects(self) -> Arc<dyn BlobStore> {
        match self {
            Self::Directory(store) => store,
            Self::S3(store) => store,
        }
    }

    fn remains(self) -> Arc<dyn Remains> {
        match self {
            Self::Directory(store) => store,
            Self::S3(store) => store,
        }
    }
}

impl Opened {
    fn first(&self) -> Store {
        match self {
            Self::Directory(store) => Store::Directory(Arc::clone(store)),
            Self::S3 { first, .. } => Store::S3(Arc::clone(first)),
        }
    }

    fn store_of(&self, settings: &TenantSettings, share: &Share) -> Store {
        match self {
            Self::Directory(store) => Store::Directory(Arc::clone(store)),
            Self::S3 { bucket, .. } => Store::S3(Arc::new(s3_store(bucket, settings, share))),
        }
    }
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
            max_tenant_requests: config.limits.max_tenant_requests,
            opened: Mutex::default(),
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
            store: TenantStore::new(store.objects(), settings.layout.clone(), self.import_ttl),
            tenancy: Tenancy::of(settings),
        })
    }

    pub(super) fn holdings(&self, settings: &TenantSettings) -> Result<Holdings, String> {
        let Limits { share, .. } = self.limits(&settings.id);
        let store = self.store(settings, &share);
        let store = store.map_err(|error| format!("{error:#}"))?;
        Ok(Holdings::new(store.remains(), settings.layout.clone()))
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

    fn store(&self, settings: &TenantSettings, share: &Share) -> Result<Store> {
        let mut opened = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = opened.get(&settings.bucket) {
            return Ok(known.store_of(settings, share));
        }
        let new = match &self.backend {
            Backend::Directory { root } => {
                Opened::Directory(open_directory(root, &settings.bucket)?)
            }
            Backend::S3 { connection, config } => {
                let (tasks, stop) = (self.tasks.clone(), self.abort.clone());
                let bucket = Bucket::new(connection, &settings.bucket, config.options, tasks, stop);
                let store = s3_store(&bucket, settings, share);
                if self.probe == Probe::AtOnce {
                    find_out_conditions(store.clone());
                }
                Opened::S3 {
                    bucket,
                    first: Arc::new(store),
                }
            }
        };
        let store = new.first();
        opened.insert(settings.bucket.clone(), new);
        Ok(store)
    }

    /// True when any bucket answers, or there is none to ask: trouble with one
    /// tenant's bucket must not take the others out of service.
    pub(super) async fn ping(&self) -> bool {
        let stores: Vec<_> = {
            let opened = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
            opened
                .iter()
                .map(|(bucket, opened)| (bucket.clone(), opened.first().objects()))
                .collect()
        };
        if stores.is_empty() {
            return true;
        }
        for (bucket, store) in stores {
            let error = match tokio::time::timeout(PING_TIMEOUT, store.ping()).await {
                Ok(Ok(())) => return true,
                Ok(Err(error)) => error.to_string(),
                Err(elapsed) => elapsed.to_string(),
            };
            tracing::warn!(bucket, error, "the store does not answer as it should");
        }
        false
    }
}

fn s3_store(bucket: &Arc<Bucket>, settings: &TenantSettings, share: &Share) -> S3Store {
    S3Store::new(Arc::clone(bucket), settings.layout.clone(), share.clone())
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
