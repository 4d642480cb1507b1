//! Opens tenants' stores on the backend that the configuration names.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::budget::Budget;
use crate::config::{Config, S3Config, StoreConfig};
use crate::http::TenantService;
use crate::metrics::Metrics;
use crate::storage::BlobStore;
use crate::storage::directory::DirectoryStore;
use crate::storage::s3::{Bucket, Connection, S3Store};
use crate::storage::scoped::TenantStore;
use crate::tenant::TenantSettings;

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
    budget: Arc<Budget>,
    tasks: TaskTracker,
    abort: CancellationToken,
    import_ttl: Duration,
    max_tenant_requests: usize,
    opened: Mutex<HashMap<String, Opened>>,
}

/// A bucket that has been opened.
#[derive(Clone)]
struct Opened {
    kind: OpenedKind,
    /// The store that is asked whether the bucket's server is alive.
    first: Arc<dyn BlobStore>,
}

#[derive(Clone)]
enum OpenedKind {
    Directory(Arc<dyn BlobStore>),
    S3(Arc<Bucket>),
}

impl Stores {
    /// Stores that share `budget`; what outlives a request is tracked by
    /// `tasks` and ends with `abort`.
    pub(super) fn new(
        backend: Backend,
        config: &Config,
        budget: &Arc<Budget>,
        tasks: &TaskTracker,
        abort: &CancellationToken,
    ) -> Self {
        Self {
            backend,
            budget: Arc::clone(budget),
            tasks: tasks.clone(),
            abort: abort.clone(),
            import_ttl: config.import_ttl,
            max_tenant_requests: config.limits.max_tenant_requests,
            opened: Mutex::default(),
        }
    }

    pub(super) fn open(&self, settings: &TenantSettings) -> Result<TenantService, String> {
        let store = self.store(settings).map_err(|error| format!("{error:#}"))?;
        Ok(TenantService {
            store: TenantStore::new(store, settings.layout.clone(), self.import_ttl),
            places: Arc::new(Semaphore::new(self.max_tenant_requests)),
        })
    }

    fn store(&self, settings: &TenantSettings) -> Result<Arc<dyn BlobStore>> {
        let mut opened = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = opened.get(&settings.bucket) {
            return Ok(match &known.kind {
                OpenedKind::Directory(store) => Arc::clone(store),
                OpenedKind::S3(bucket) => Arc::new(self.s3_store(bucket, settings)),
            });
        }
        let new = match &self.backend {
            Backend::Directory { root } => {
                let store = open_directory(root, &settings.bucket)?;
                Opened {
                    kind: OpenedKind::Directory(Arc::clone(&store)),
                    first: store,
                }
            }
            Backend::S3 { connection, config } => {
                let (tasks, stop) = (self.tasks.clone(), self.abort.clone());
                let bucket = Bucket::new(connection, &settings.bucket, config.options, tasks, stop);
                let store = self.s3_store(&bucket, settings);
                find_out_conditions(store.clone());
                Opened {
                    kind: OpenedKind::S3(bucket),
                    first: Arc::new(store),
                }
            }
        };
        let store = Arc::clone(&new.first);
        opened.insert(settings.bucket.clone(), new);
        Ok(store)
    }

    fn s3_store(&self, bucket: &Arc<Bucket>, settings: &TenantSettings) -> S3Store {
        S3Store::new(
            Arc::clone(bucket),
            settings.layout.clone(),
            self.budget.share(),
        )
    }

    /// True when any bucket answers, or there is none to ask: trouble with one
    /// tenant's bucket must not take the others out of service.
    pub(super) async fn ping(&self) -> bool {
        let stores: Vec<_> = {
            let opened = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
            opened
                .values()
                .map(|opened| Arc::clone(&opened.first))
                .collect()
        };
        let mut answered = stores.is_empty();
        for store in stores {
            match store.ping().await {
                Ok(()) => answered = true,
                Err(error) => tracing::warn!(?store, %error, "the store does not answer"),
            }
        }
        answered
    }
}

fn open_directory(root: &Path, bucket: &str) -> Result<Arc<dyn BlobStore>> {
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
