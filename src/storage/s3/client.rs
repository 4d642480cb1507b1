//! Makes the SDK's client: where the server is, how it is trusted, and how
//! long anything may take.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use aws_config::{BehaviorVersion, Region};
use aws_sdk_s3::Client;
use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::config::timeout::TimeoutConfig;
use aws_sdk_s3::config::{
    Credentials, ProvideCredentials, RequestChecksumCalculation, ResponseChecksumValidation,
    StalledStreamProtectionConfig,
};
use aws_smithy_http_client::Builder as HttpClientBuilder;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_http_client::tls::{Provider, TlsContext, TrustStore};
use aws_smithy_runtime_api::client::http::SharedHttpClient;
use thiserror::Error;

use super::error::chain;
use super::observe::Observe;
use crate::metrics::Metrics;

/// S3 closes idle connections after about 20 s; a request sent into one that
/// is closing costs a retry.
const POOL_IDLE: Duration = Duration::from_secs(12);

/// Where the server is and how to talk to it.
#[derive(Clone, Debug)]
pub struct ConnectOptions {
    /// The server's URL, for one that is not AWS.
    pub endpoint: Option<String>,
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
    /// There is no region.
    #[error("no AWS region is set (AWS_REGION)")]
    NoRegion,
}

/// A way to an S3 server, for any number of buckets.
#[derive(Clone, Debug)]
pub struct Connection {
    client: Client,
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
        Ok(Self {
            client: connect(options, metrics).await?,
            read_timeout: options.read_timeout,
        })
    }

    /// The SDK's client.
    pub(super) fn client(&self) -> Client {
        self.client.clone()
    }

    /// How long the head of an answer may take.
    pub(super) fn read_timeout(&self) -> Duration {
        self.read_timeout
    }
}

async fn connect(options: &ConnectOptions, metrics: Metrics) -> Result<Client, ConnectError> {
    let http_client = http_client(options)?;
    let mut loader = aws_config::defaults(BehaviorVersion::v2026_01_12())
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
    if let Some(key) = &options.static_key {
        let credentials = Credentials::new(&key.id, &key.secret, None, None, "static key");
        loader = loader.credentials_provider(credentials);
    }
    if let Some(region) = &options.region {
        loader = loader.region(Region::new(region.clone()));
    }
    if let Some(endpoint) = &options.endpoint {
        loader = loader.endpoint_url(endpoint);
    }
    let shared = loader.load().await;
    if shared.region().is_none() {
        return Err(ConnectError::NoRegion);
    }
    if let Some(credentials) = shared.credentials_provider()
        && let Err(error) = credentials.provide_credentials().await
    {
        tracing::warn!(error = chain(&error), "no AWS credentials yet");
    }
    let config = aws_sdk_s3::config::Builder::from(&shared)
        .force_path_style(options.path_style)
        // The store gives the checksums itself: it has them anyway, and they
        // can be turned off for servers that refuse them.
        .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
        .response_checksum_validation(ResponseChecksumValidation::WhenRequired)
        .interceptor(Observe(metrics))
        .build();
    Ok(Client::from_conf(config))
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
