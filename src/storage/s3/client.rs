//! Makes the SDK's client: where the server is, how it is trusted, and how
//! long anything may take.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use aws_config::{BehaviorVersion, ConfigLoader, Region, SdkConfig};
use aws_sdk_s3::Client;
use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::config::timeout::TimeoutConfig;
use aws_sdk_s3::config::{
    Builder as ConfigBuilder, Credentials, IdentityCache, ProvideCredentials,
    RequestChecksumCalculation, ResponseChecksumValidation, SharedCredentialsProvider,
    StalledStreamProtectionConfig,
};
use aws_smithy_http_client::Builder as HttpClientBuilder;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_http_client::tls::{Provider, TlsContext, TrustStore};
use aws_smithy_runtime_api::client::http::SharedHttpClient;
use thiserror::Error;

use super::credentials::{Holder, Renewed};
use super::observe::Observe;
use super::role::{RoleError, Sessions};
use crate::key::Layout;
use crate::metrics::Metrics;
use crate::tenant::TenantId;
use crate::tenant::role::Role;

/// S3 closes idle connections after about 20 s; a request sent into one that
/// is closing costs a retry.
const POOL_IDLE: Duration = Duration::from_secs(12);

/// Where the server is and how to talk to it.
#[derive(Clone, Debug)]
pub struct ConnectOptions {
    /// The server's URL, for one that is not AWS.
    pub endpoint: Option<String>,
    /// The URL that sessions of roles are asked for at, where it is not that of
    /// AWS in the region.
    pub sts_endpoint: Option<String>,
    /// The region; needed by the signature also where there is an endpoint.
    pub region: Option<String>,
    /// Buckets in the path instead of the host name.
    pub path_style: bool,
    /// A static key, in place of the SDK's default chain.
    pub static_key: Option<StaticKey>,
    /// A PEM file of certificates to trust besides the system's.
    pub ca_bundle: Option<PathBuf>,
    /// How long a connection may take.
    pub connect_timeout: Duration,
    /// How long the head of an answer may take.
    pub read_timeout: Duration,
    /// How often a request is tried at most.
    pub max_attempts: u32,
}

/// A key that does not change, where roles cannot be had.
#[derive(Clone)]
pub struct StaticKey {
    /// Its id.
    pub id: String,
    /// Its secret.
    pub secret: String,
}

impl fmt::Debug for StaticKey {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("StaticKey").finish_non_exhaustive()
    }
}

/// Why no client could be made.
#[derive(Debug, Error)]
pub enum ConnectError {
    /// The file of certificates cannot be used.
    #[error("AWS_CA_BUNDLE: {0}")]
    CaBundle(String),
    /// There is nothing to ask for credentials.
    #[error("there is nothing to ask for AWS credentials")]
    NoCredentials,
    /// There is no region.
    #[error("no AWS region is set (AWS_REGION)")]
    NoRegion,
}

/// A client, and the credentials that it has.
#[derive(Clone, Debug)]
pub(super) struct Access {
    pub(super) client: Client,
    pub(super) credentials: Renewed,
}

/// A way to an S3 server, for any number of buckets and roles.
#[derive(Clone, Debug)]
pub struct Connection {
    own: Access,
    /// All that the clients of roles have in common, connections included.
    config: Arc<ConfigBuilder>,
    sts: aws_sdk_sts::Client,
    metrics: Metrics,
    read_timeout: Duration,
}

impl Connection {
    /// Makes a client whose credentials come from the SDK's default chain, and
    /// loads them, so that the first request need not wait.
    ///
    /// # Errors
    /// See [`ConnectError`]. Credentials that cannot be had now are logged and
    /// tried again with each request.
    pub async fn open(options: &ConnectOptions, metrics: Metrics) -> Result<Self, ConnectError> {
        let shared = shared_config(options)?.load().await;
        if shared.region().is_none() {
            return Err(ConnectError::NoRegion);
        }
        let source = match (&options.static_key, shared.credentials_provider()) {
            (Some(key), _) => {
                let key = Credentials::new(&key.id, &key.secret, None, None, "static key");
                SharedCredentialsProvider::new(key)
            }
            (None, Some(chain)) => chain,
            (None, None) => return Err(ConnectError::NoCredentials),
        };
        let own = Renewed::new(source, Holder::Server, metrics.clone());
        // What goes wrong is logged there.
        let _ = own.provide_credentials().await;
        let config = s3_config(&shared, options, &metrics);
        let mut sts = aws_sdk_sts::config::Builder::from(&shared)
            .credentials_provider(own.clone())
            .identity_cache(IdentityCache::no_cache())
            .interceptor(Observe(metrics.clone()));
        sts.set_endpoint_url(options.sts_endpoint.clone());
        Ok(Self {
            own: Access::new(&config, own),
            config: Arc::new(config),
            sts: aws_sdk_sts::Client::from_conf(sts.build()),
            metrics,
            read_timeout: options.read_timeout,
        })
    }

    /// The SDK's client, with the server's own credentials.
    pub(super) fn client(&self) -> Client {
        self.own.client.clone()
    }

    /// The same, with the credentials themselves.
    pub(super) fn own(&self) -> Access {
        self.own.clone()
    }

    /// A client with the credentials of a tenant's role, which are asked for
    /// with its first request.
    pub(super) fn assuming(
        &self,
        role: &Role,
        tenant: &TenantId,
        bucket: &str,
        layout: &Layout,
    ) -> Result<Access, RoleError> {
        let sessions = Sessions::new(self.sts.clone(), role, tenant, bucket, layout)?;
        let of = Holder::Tenant(tenant.to_string());
        let credentials = Renewed::new(sessions, of, self.metrics.clone());
        Ok(Access::new(&self.config, credentials))
    }

    /// Who gives out sessions of roles, asked with the server's own
    /// credentials.
    pub(super) fn sts(&self) -> &aws_sdk_sts::Client {
        &self.sts
    }

    /// How long the head of an answer may take.
    pub(super) fn read_timeout(&self) -> Duration {
        self.read_timeout
    }
}

impl Access {
    fn new(config: &ConfigBuilder, credentials: Renewed) -> Self {
        let config = config.clone();
        let config = config
            .credentials_provider(credentials.clone())
            .retry_classifier(credentials.clone());
        Self {
            client: Client::from_conf(config.build()),
            credentials,
        }
    }
}

fn s3_config(shared: &SdkConfig, options: &ConnectOptions, metrics: &Metrics) -> ConfigBuilder {
    let mut config = ConfigBuilder::from(shared);
    if let Some(endpoint) = &options.endpoint {
        config = config.endpoint_url(endpoint);
    }
    config
        .force_path_style(options.path_style)
        // The credentials keep themselves.
        .identity_cache(IdentityCache::no_cache())
        // The store gives the checksums itself: it has them anyway, and they
        // can be turned off for servers that refuse them.
        .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
        .response_checksum_validation(ResponseChecksumValidation::WhenRequired)
        .interceptor(Observe(metrics.clone()))
}

fn shared_config(options: &ConnectOptions) -> Result<ConfigLoader, ConnectError> {
    let http_client = http_client(options)?;
    let loader = aws_config::defaults(BehaviorVersion::v2026_01_12())
        .http_client(http_client)
        .retry_config(RetryConfig::standard().with_max_attempts(options.max_attempts))
        .timeout_config(
            TimeoutConfig::builder()
                .connect_timeout(options.connect_timeout)
                .read_timeout(options.read_timeout)
                // The read timeout ends with the head of an answer. This one
                // covers the XML behind it, but not what is downloaded.
                .operation_attempt_timeout(options.read_timeout * 2)
                .build(),
        )
        // Downloads are watched by the store itself, which can resume them.
        .stalled_stream_protection(
            StalledStreamProtectionConfig::enabled()
                .upload_enabled(true)
                .download_enabled(false)
                .build(),
        );
    Ok(match &options.region {
        Some(region) => loader.region(Region::new(region.clone())),
        None => loader,
    })
}

fn http_client(options: &ConnectOptions) -> Result<SharedHttpClient, ConnectError> {
    let mut trust = TrustStore::default();
    if let Some(path) = &options.ca_bundle {
        let pem = std::fs::read(path)
            .map_err(|error| ConnectError::CaBundle(format!("{}: {error}", path.display())))?;
        trust = trust.with_pem_certificate(pem);
    }
    let tls = TlsContext::builder()
        .with_trust_store(trust)
        .build()
        .map_err(|error| ConnectError::CaBundle(error.to_string()))?;
    Ok(HttpClientBuilder::new()
        .pool_idle_timeout(POOL_IDLE)
        .tls_provider(Provider::Rustls(CryptoMode::Ring))
        .tls_context(tls)
        .build_https())
}
