//! The composition root: configuration → stores → router → serve → drain.

mod near;

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use axum::Router;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::config::{Config, Listen, StoreConfig, TenantsConfig};
use crate::deployment::{Deployment, Probe};
use crate::http::body::Receiving;
use crate::http::health::Readiness;
use crate::http::server::Listener;
use crate::http::{self, Served};
use crate::metrics::Metrics;
use crate::ops::secret;
use crate::tenant::TenantSettings;

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
    deployment: Deployment,
}

impl App {
    /// Opens the stores and binds the address. Nothing is served yet.
    ///
    /// # Errors
    /// When a store cannot be opened or the address not be bound.
    pub async fn start(config: Config) -> Result<Self> {
        let metrics = Metrics::default();
        let deployment = config.deployment.clone();
        let deployment = Deployment::open(deployment, Probe::AtOnce, &metrics).await?;
        let (limits, tasks) = (deployment.config().limits, deployment.tasks());
        let opener = deployment.clone();
        let open = move |settings: &TenantSettings| opener.open_tenant(settings);
        let secrets = match (&config.secrets, &config.deployment.store) {
            (Some(secrets), _) => secrets.clone(),
            (None, StoreConfig::Directory(root)) => secret::kept_in(root)?,
            (None, StoreConfig::S3(_)) => anyhow::bail!("KURA_SECRET is required"),
        };
        let served = Arc::new(Served {
            tenants: Arc::new(deployment.registry(open)?),
            // Before the cache of thumbnails, which would keep others out.
            leases: near::leases(&config, &secrets, tasks, &metrics),
            thumbnails: near::thumbnails(&config, tasks, &metrics),
            secrets,
            places: Arc::new(Semaphore::new(limits.max_requests)),
            receiving: Receiving {
                max_bytes: limits.max_body_bytes,
                pace: config.pace,
                shutdown: deployment.abort().clone(),
            },
            readiness: Readiness::default(),
            metrics,
            budget: Arc::clone(deployment.budget()),
        });
        let listener = match &config.listen {
            Listen::Tcp(address) => Listener::tcp(address).await,
            Listen::Unix(path) => Listener::unix(path),
        };
        Ok(Self {
            listener: listener.context("KURA_LISTEN: the address cannot be listened on")?,
            config,
            served,
            deployment,
        })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> String {
        self.listener.address()
    }

    /// Starts the first worker that makes thumbnails ahead of need. Whether
    /// there is one says the log, and nothing depends on it.
    pub fn warm_up(&self) {
        let thumbnails = Arc::clone(&self.served.thumbnails);
        tokio::spawn(async move { thumbnails.warm_up().await });
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
        stop.cancelled().await;
        tracing::info!("shutting down: requests under way may finish");
        self.served.readiness.drain();
        background.cancel();
        let finish = async {
            // Until all have finished, new ones are told that it is too late.
            while self.served.places.available_permits()
                < self.config.deployment.limits.max_requests
            {
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
            self.deployment.abort().cancel();
            stopping.cancel();
            let _ = tokio::time::timeout(ABORT_TIME, serving).await;
        }
        self.deployment.close().await;
        tracing::info!("stopped");
    }

    /// Starts what goes on beside requests, until the token is cancelled.
    fn spawn_background(&self) -> CancellationToken {
        let stop = CancellationToken::new();
        if let TenantsConfig::Directory { files, .. } | TenantsConfig::S3 { files, .. } =
            &self.config.deployment.tenants
        {
            let (served, tenants) = (Arc::clone(&self.served), Arc::clone(&self.served.tenants));
            let forget = move |settings| {
                let served = Arc::clone(&served);
                async move { served.forget_tenant(&settings).await }
            };
            tokio::spawn(tenants.run(files.refresh, forget, stop.clone()));
        }
        let (served, deployment) = (Arc::clone(&self.served), self.deployment.clone());
        let every = self.config.ping_interval;
        let ping = async move {
            let mut answered_before = true;
            loop {
                let answered = deployment.ping().await;
                if answered && !answered_before {
                    tracing::info!("the store answers again");
                }
                answered_before = answered;
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
        let every = self.config.deployment.import_ttl / 4;
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
