//! The composition root: configuration → stores → router → serve → drain.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};
use axum::Router;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::budget::Budget;
use crate::config::{Config, Listen, S3Config, StoreConfig, TenantsConfig};
use crate::http::body::Receiving;
use crate::http::health::Readiness;
use crate::http::server::Listener;
use crate::http::{self, Served, TenantService};
use crate::metrics::Metrics;
use crate::ops::secret;
use crate::storage::BlobStore;
use crate::storage::directory::DirectoryStore;
use crate::storage::s3::{Bucket, Connection, S3Source, S3Store};
use crate::storage::scoped::TenantStore;
use crate::tenant::source::{DirectorySource, TenantSource};
use crate::tenant::{Registry, TenantSettings};

/// The store is asked for a sign of life so often until it has answered once.
const FIRST_PING: Duration = Duration::from_secs(1);
/// How long aborting what is left may take in the end.
const ABORT_TIME: Duration = Duration::from_secs(2);
/// How often it is looked whether all requests have finished.
const DRAIN_TICK: Duration = Duration::from_millis(20);
/// Expired imports are looked for so soon after the start.
const FIRST_SWEEP: Duration = Duration::from_mins(5);

/// A server that is listening.
pub struct App {
    config: Config,
    listener: Listener,
    served: Arc<Served>,
    stores: Arc<Stores>,
    tasks: TaskTracker,
    abort: CancellationToken,
}

impl App {
    /// Opens the stores and binds the address. Nothing is served yet.
    ///
    /// # Errors
    /// When a store cannot be opened or the address not be bound.
    pub async fn start(config: Config) -> Result<Self> {
        let metrics = Metrics::default();
        let tasks = TaskTracker::new();
        let abort = CancellationToken::new();
        let limits = config.limits;
        let budget = Budget::new(
            limits.memory_bytes,
            limits.tenant_memory_bytes,
            limits.patience,
        );
        let backend = Backend::open(&config.store, &metrics).await?;
        let stores = Arc::new(Stores {
            backend,
            budget: Arc::clone(&budget),
            tasks: tasks.clone(),
            abort: abort.clone(),
            import_ttl: config.import_ttl,
            max_tenant_requests: limits.max_tenant_requests,
            opened: Mutex::default(),
        });
        let secrets = match (&config.secrets, &config.store) {
            (Some(secrets), _) => secrets.clone(),
            (None, StoreConfig::Directory(root)) => secret::kept_in(root)?,
            (None, StoreConfig::S3(_)) => anyhow::bail!("KURA_SECRET is required"),
        };
        let served = Arc::new(Served {
            tenants: Arc::new(registry(&config.tenants, &stores)?),
            secrets,
            places: Arc::new(Semaphore::new(limits.max_requests)),
            receiving: Receiving {
                max_bytes: limits.max_body_bytes,
                pace: config.pace,
                shutdown: abort.clone(),
            },
            readiness: Readiness::default(),
            metrics,
            budget,
        });
        let listener = match &config.listen {
            Listen::Tcp(address) => Listener::tcp(address).await,
            Listen::Unix(path) => Listener::unix(path),
        };
        Ok(Self {
            listener: listener.context("KURA_LISTEN: the address cannot be listened on")?,
            config,
            served,
            stores,
            tasks,
            abort,
        })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> String {
        self.listener.address()
    }

    /// What all requests share: for tests.
    #[must_use]
    pub fn served(&self) -> Arc<Served> {
        Arc::clone(&self.served)
    }

    /// The routes without the listener: for tests.
    pub fn router(&self) -> Router {
        http::router(Arc::clone(&self.served))
    }

    /// Serves until `stop`, then lets what is under way finish within the
    /// grace time, and aborts what has not.
    pub async fn run(self, stop: CancellationToken) {
        let background = self.spawn_background();
        let router = self.router();
        let stopping = CancellationToken::new();
        let metrics = self.served.metrics.clone();
        let serving = self
            .listener
            .serve(router, self.config.serve, metrics, stopping.clone());
        let mut serving = tokio::spawn(serving);
        tokio::select! {
            () = stop.cancelled() => {}
            _ = &mut serving => {}
        }
        tracing::info!("shutting down: requests under way may finish");
        self.served.readiness.drain();
        background.cancel();
        let finish = async {
            // Until all have finished, new ones are told that it is too late.
            while self.served.places.available_permits() < self.config.limits.max_requests {
                tokio::time::sleep(DRAIN_TICK).await;
            }
            stopping.cancel();
            let _ = (&mut serving).await;
        };
        if tokio::time::timeout(self.config.grace, finish)
            .await
            .is_err()
        {
            tracing::warn!("the grace time is over: what is under way is aborted");
            self.abort.cancel();
            stopping.cancel();
            let _ = tokio::time::timeout(ABORT_TIME, serving).await;
        }
        self.tasks.close();
        let _ = tokio::time::timeout(ABORT_TIME, self.tasks.wait()).await;
        tracing::info!("stopped");
    }

    /// Starts what goes on beside requests, until the token is cancelled.
    fn spawn_background(&self) -> CancellationToken {
        let stop = CancellationToken::new();
        if let TenantsConfig::Directory { files, .. } | TenantsConfig::S3 { files, .. } =
            &self.config.tenants
        {
            let tenants = Arc::clone(&self.served.tenants);
            tokio::spawn(tenants.run(files.refresh, stop.clone()));
        }
        let (served, stores) = (Arc::clone(&self.served), Arc::clone(&self.stores));
        let every = self.config.ping_interval;
        let ping = async move {
            loop {
                let answered = stores.ping().await;
                served.readiness.note(answered);
                tokio::time::sleep(if answered {
                    every
                } else {
                    FIRST_PING.min(every)
                })
                .await;
            }
        };
        let token = stop.clone();
        tokio::spawn(async move { token.run_until_cancelled(ping).await });
        let served = Arc::clone(&self.served);
        let every = self.config.import_ttl / 4;
        let sweep = async move {
            tokio::time::sleep(every.min(FIRST_SWEEP)).await;
            loop {
                expire_imports(&served).await;
                tokio::time::sleep(every).await;
            }
        };
        let token = stop.clone();
        tokio::spawn(async move { token.run_until_cancelled(sweep).await });
        stop
    }
}

/// Removes the expired imports of all tenants, one tenant after the other.
async fn expire_imports(served: &Served) {
    for tenant in served.tenants.all() {
        match tenant.inner.store.expire_imports().await {
            Ok(removed) => {
                served.metrics.expired_imports.inc_by(removed);
            }
            Err(error) => {
                let tenant = tenant.settings.id.as_str();
                tracing::warn!(tenant, %error, "expired imports could not be removed");
            }
        }
    }
}

fn registry(config: &TenantsConfig, stores: &Arc<Stores>) -> Result<Registry<TenantService>> {
    let (source, files): (Arc<dyn TenantSource>, _) = match (config, &stores.backend) {
        (TenantsConfig::Single(settings), _) => {
            let service = stores.open(settings).map_err(anyhow::Error::msg)?;
            return Ok(Registry::single(settings.clone(), service));
        }
        (TenantsConfig::Directory { path, files }, _) => {
            (Arc::new(DirectorySource::new(path.clone())), files)
        }
        (
            TenantsConfig::S3 {
                bucket,
                prefix,
                files,
            },
            Backend::S3 { connection, .. },
        ) => (Arc::new(S3Source::new(connection, bucket, prefix)), files),
        (TenantsConfig::S3 { .. }, Backend::Directory { .. }) => {
            anyhow::bail!("KURA_TENANTS: tenants in S3 need KURA_STORE=s3")
        }
    };
    let stores = Arc::clone(stores);
    let open = move |settings: &TenantSettings| stores.open(settings);
    Ok(Registry::from_source(
        source,
        files.default_bucket.as_deref(),
        open,
    ))
}

/// Where objects are kept.
enum Backend {
    Directory {
        root: std::path::PathBuf,
    },
    S3 {
        connection: Connection,
        config: Box<S3Config>,
    },
}

impl Backend {
    async fn open(config: &StoreConfig, metrics: &Metrics) -> Result<Self> {
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
struct Stores {
    backend: Backend,
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
    fn open(&self, settings: &TenantSettings) -> Result<TenantService, String> {
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
    async fn ping(&self) -> bool {
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
