//! What a configuration names, opened: the store, and the tenants with their
//! files. `kura serve` serves it; the operator's commands work on it.

mod stores;

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::stores::{Backend, Stores};
use crate::budget::Budget;
use crate::config::{DeploymentConfig, TenantsConfig};
use crate::http::TenantService;
use crate::metrics::Metrics;
use crate::storage::holdings::Holdings;
use crate::storage::s3::{Connection, S3Source, S3Store};
use crate::tenant::role::Role;
use crate::tenant::source::{DirectorySource, TenantSource};
use crate::tenant::{Registry, TenantSettings};

/// How long what is left may take in the end.
const CLOSING_TIME: Duration = Duration::from_secs(2);

/// When a bucket is asked whether it honours conditional writes, which takes
/// writing to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Probe {
    /// When it is opened, so that the first upload need not wait.
    AtOnce,
    /// With the first upload.
    WhenNeeded,
}

/// A store and its tenants. Clones are the same one.
#[derive(Clone)]
pub struct Deployment {
    config: Arc<DeploymentConfig>,
    stores: Arc<Stores>,
    budget: Arc<Budget>,
    tasks: TaskTracker,
    abort: CancellationToken,
}

impl Deployment {
    /// Opens the store. No request is made of it yet, but for credentials.
    ///
    /// # Errors
    /// When there is no way to the store.
    pub async fn open(config: DeploymentConfig, probe: Probe, metrics: &Metrics) -> Result<Self> {
        let (tasks, abort) = (TaskTracker::new(), CancellationToken::new());
        let limits = config.limits;
        let budget = Budget::new(
            limits.memory_bytes,
            limits.tenant_memory_bytes,
            limits.patience,
        );
        // Boxed: it would make the future of every start a large one.
        let backend = Box::pin(Backend::open(&config.store, metrics)).await?;
        let stores = Stores::new(backend, probe, &config, &budget, &tasks, &abort);
        Ok(Self {
            config: Arc::new(config),
            stores: Arc::new(stores),
            budget,
            tasks,
            abort,
        })
    }

    /// What it was opened from.
    #[must_use]
    pub fn config(&self) -> &DeploymentConfig {
        &self.config
    }

    /// The memory for part buffers.
    #[must_use]
    pub fn budget(&self) -> &Arc<Budget> {
        &self.budget
    }

    /// What outlives its request, and is waited for in the end.
    #[must_use]
    pub fn tasks(&self) -> &TaskTracker {
        &self.tasks
    }

    /// Cancelled when what is under way is to be given up.
    #[must_use]
    pub fn abort(&self) -> &CancellationToken {
        &self.abort
    }

    /// Where the tenants' files lie; `None` when the environment describes
    /// the only tenant.
    ///
    /// # Errors
    /// When they lie in S3 and the store does not.
    pub fn tenant_source(&self) -> Result<Option<Arc<dyn TenantSource>>> {
        Ok(match (&self.config.tenants, &self.stores.backend) {
            (TenantsConfig::Single(_), _) => None,
            (TenantsConfig::Directory { path, .. }, _) => {
                Some(Arc::new(DirectorySource::new(path.clone())))
            }
            (TenantsConfig::S3 { bucket, prefix, .. }, Backend::S3 { connection, config }) => {
                let conditions = config.options.conditional_writes;
                let source = S3Source::new(connection, bucket, prefix, conditions);
                Some(Arc::new(source))
            }
            (TenantsConfig::S3 { .. }, Backend::Directory { .. }) => {
                anyhow::bail!("KURA_TENANTS: tenants in S3 need KURA_STORE=s3")
            }
        })
    }

    /// The tenants, with what `open` opens for each; those of files are there
    /// after the first [`Registry::refresh`].
    ///
    /// # Errors
    /// When their files cannot be had, or the only one not be opened.
    pub fn registry<T: Send + Sync + 'static>(
        &self,
        open: impl Fn(&TenantSettings) -> Result<T, String> + Send + Sync + 'static,
    ) -> Result<Registry<T>> {
        self.registry_of(self.tenant_source()?, open)
    }

    /// The same with the files of `source`.
    ///
    /// # Errors
    /// As [`Deployment::registry`].
    pub fn registry_of<T: Send + Sync + 'static>(
        &self,
        source: Option<Arc<dyn TenantSource>>,
        open: impl Fn(&TenantSettings) -> Result<T, String> + Send + Sync + 'static,
    ) -> Result<Registry<T>> {
        match (&self.config.tenants, source) {
            (TenantsConfig::Single(settings), _) => {
                let inner = open(settings).map_err(anyhow::Error::msg)?;
                Ok(Registry::single(settings.clone(), inner))
            }
            (
                TenantsConfig::Directory { files, .. } | TenantsConfig::S3 { files, .. },
                Some(source),
            ) => {
                let bucket = files.default_bucket.as_deref();
                let config = Arc::clone(&self.config);
                let open = move |settings: &TenantSettings| {
                    config.tenants.keep_apart(settings)?;
                    open(settings)
                };
                Ok(Registry::from_source(source, bucket, open))
            }
            (_, None) => anyhow::bail!("KURA_TENANTS: there are no tenant files"),
        }
    }

    /// Opens a tenant's store.
    ///
    /// # Errors
    /// When its bucket cannot be used.
    pub fn open_tenant(&self, settings: &TenantSettings) -> Result<TenantService, String> {
        self.stores.open(settings)
    }

    /// The way to S3, where the store is there.
    #[must_use]
    pub fn connection(&self) -> Option<&Connection> {
        match &self.stores.backend {
            Backend::Directory { .. } => None,
            Backend::S3 { connection, .. } => Some(connection),
        }
    }

    /// A tenant's store, as far as it is in S3.
    ///
    /// # Errors
    /// When its bucket cannot be used.
    pub fn in_s3(&self, settings: &TenantSettings) -> Result<Option<S3Store>> {
        self.stores.in_s3(settings)
    }

    /// The role by which a tenant's objects are reached, if there is one.
    #[must_use]
    pub fn role(&self, settings: &TenantSettings) -> Option<Role> {
        self.stores.role(settings)
    }

    /// Opens all that a tenant's store holds of it.
    ///
    /// # Errors
    /// When its bucket cannot be used.
    pub fn holdings(&self, settings: &TenantSettings) -> Result<Holdings, String> {
        self.stores.holdings(settings)
    }

    /// True when any bucket answers, or there is none to ask.
    pub async fn ping(&self) -> bool {
        self.stores.ping().await
    }

    /// Waits for what outlives its request, for a moment.
    pub async fn close(&self) {
        self.tasks.close();
        let _ = tokio::time::timeout(CLOSING_TIME, self.tasks.wait()).await;
    }
}
