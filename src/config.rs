//! The configuration: the only reader of the environment.
//!
//! [`SETTINGS`] lists every setting once, with its default and its unit; the
//! flags of the command line, the parser and a test of
//! `docs/CONFIGURATION.md` all go by it. All errors are reported at once.

mod memory;
mod reader;
pub mod redmica;
mod rendering;
mod settings;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

pub use self::memory::memory_limit_bytes;
use self::reader::Reader;
use self::redmica::S3Yml;
pub use self::settings::{SETTINGS, Setting};
use crate::http::pace::PaceLimit;
use crate::http::server::ServeOptions;
use crate::render::pool::PoolOptions;
use crate::storage::s3::{ConnectOptions, S3Options};
use crate::tenant::role::RoleChoice;
use crate::tenant::{Secrets, TenantSettings};

/// What is kept close at hand lies there in a directory store, beside the
/// buckets.
pub const CACHE_FOLDER: &str = "cache";

/// The configuration of `kura serve`.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where to listen.
    pub listen: Listen,
    /// What is served.
    pub deployment: DeploymentConfig,
    /// What tokens are derived from; `None` to make and keep one.
    pub secrets: Option<Secrets>,
    /// How connections are served.
    pub serve: ServeOptions,
    /// How slow clients may be.
    pub pace: PaceLimit,
    /// Where thumbnails are kept besides the store.
    pub cache: CacheConfig,
    /// How thumbnails are made.
    pub render: PoolOptions,
    /// How long it is remembered that a picture has no thumbnail.
    pub thumbnail_failure_ttl: Duration,
    /// The thumbnails made of each upload, in pixels a side.
    pub eager_thumbnails: Vec<u32>,
    /// How often the store is asked for a sign of life.
    pub ping_interval: Duration,
    /// How long requests may take to finish in the end.
    pub grace: Duration,
}

/// The store and its tenants: what the operator's commands need, too.
#[derive(Clone, Debug)]
pub struct DeploymentConfig {
    /// Where objects are kept.
    pub store: StoreConfig,
    /// Where tenants come from.
    pub tenants: TenantsConfig,
    /// The limits of what is under way.
    pub limits: Limits,
    /// Age at which an import expires.
    pub import_ttl: Duration,
    /// The role of tenants that name none, where there is one.
    pub role: RoleChoice,
}

/// Where to listen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Listen {
    /// A TCP address.
    Tcp(String),
    /// A Unix socket.
    Unix(PathBuf),
}

/// Where objects are kept.
#[derive(Clone, Debug)]
pub enum StoreConfig {
    /// In a directory.
    Directory(PathBuf),
    /// In S3.
    S3(Box<S3Config>),
}

/// How S3 is used.
#[derive(Clone, Debug)]
pub struct S3Config {
    /// Where it is.
    pub connect: ConnectOptions,
    /// How the store goes about its work.
    pub options: S3Options,
}

/// What is kept close at hand, and how much of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CacheConfig {
    /// Where on disk; `None` for nowhere.
    pub directory: Option<PathBuf>,
    /// Most on disk, in bytes.
    pub disk_bytes: u64,
    /// Most in memory, in bytes.
    pub memory_bytes: usize,
    /// Most on disk for leased files, in bytes.
    pub lease_bytes: u64,
}

/// Where tenants come from.
#[derive(Clone, Debug)]
pub enum TenantsConfig {
    /// The environment describes the only one.
    Single(TenantSettings),
    /// Files in a directory.
    Directory {
        /// The directory.
        path: PathBuf,
        /// How they are read.
        files: TenantFiles,
    },
    /// Objects in S3.
    S3 {
        /// Their bucket.
        bucket: String,
        /// What their keys begin with: ends with a slash.
        prefix: String,
        /// How they are read.
        files: TenantFiles,
    },
}

impl TenantsConfig {
    /// Fails when the tenant files lie in this tenant's folder: whoever has its
    /// token could read and write all of them, and what erases the tenant would
    /// erase them.
    ///
    /// # Errors
    /// What is in the way, and what to do.
    pub fn keep_apart(&self, tenant: &TenantSettings) -> Result<(), String> {
        match self {
            Self::S3 { bucket, prefix, .. }
                if *bucket == tenant.bucket && prefix.starts_with(tenant.layout.folder()) =>
            {
                Err(format!(
                    "the tenant files, s3://{bucket}/{prefix}, lie in its folder: move them out \
                     of it, and let KURA_TENANTS name the new place"
                ))
            }
            _ => Ok(()),
        }
    }
}

/// How tenant files are read.
#[derive(Clone, Debug)]
pub struct TenantFiles {
    /// The bucket of tenants that name none.
    pub default_bucket: Option<String>,
    /// How often they are looked at.
    pub refresh: Duration,
}

/// The limits of what is under way.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Memory for all part buffers, in bytes.
    pub memory_bytes: usize,
    /// What one tenant may hold of it, in bytes.
    pub tenant_memory_bytes: usize,
    /// How long to wait for such memory.
    pub patience: Duration,
    /// The largest upload, in bytes.
    pub max_body_bytes: u64,
    /// Requests under way at once.
    pub max_requests: usize,
    /// Requests of one tenant under way at once.
    pub max_tenant_requests: usize,
}

/// What the log is like; known before the rest, which may have to be logged.
#[derive(Clone, Debug)]
pub struct LogConfig {
    /// What is logged.
    pub filter: String,
    /// As JSON; `None` unless standard output is a terminal.
    pub json: Option<bool>,
}

/// Everything that is wrong with a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigErrors(pub Vec<String>);

impl fmt::Display for ConfigErrors {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "the configuration cannot be used:")?;
        self.0
            .iter()
            .try_for_each(|error| write!(out, "\n  {error}"))
    }
}

impl std::error::Error for ConfigErrors {}

/// The values of all settings, before they are understood.
#[derive(Clone, Debug)]
pub struct Values {
    set: HashMap<&'static str, String>,
    /// What `redmica_s3`'s file adds to them, and what is wrong with it.
    file: Result<S3Yml, Vec<String>>,
}

impl Default for Values {
    fn default() -> Self {
        Self::with_file(HashMap::new(), &|_| None)
    }
}

impl Values {
    /// Takes the environment, and `given` (from flags) in place of it.
    #[must_use]
    pub fn from_environment(given: impl Fn(&'static str) -> Option<String>) -> Self {
        let value = |name| given(name).or_else(|| from_environment(name));
        let set = SETTINGS
            .iter()
            .filter_map(|s| Some((s.name, value(s.name)?)));
        Self::with_file(set.collect(), &|name| std::env::var(name).ok())
    }

    /// Takes only what is `given`: for tests.
    #[must_use]
    pub fn from_pairs(given: &[(&'static str, &str)]) -> Self {
        let set = given.iter();
        let set: HashMap<_, _> = set
            .map(|(name, value)| (*name, (*value).to_owned()))
            .collect();
        Self::with_file(set.clone(), &|name| set.get(name).cloned())
    }

    /// What is `set`, and what `redmica_s3`'s file has besides, where there is
    /// one. It has its own values from `env`.
    fn with_file(
        mut set: HashMap<&'static str, String>,
        env: &dyn Fn(&str) -> Option<String>,
    ) -> Self {
        let Some(path) = set.get("KURA_REDMICA_S3") else {
            let file = Ok(S3Yml::default());
            return Self { set, file };
        };
        let section = set.get("RAILS_ENV").map_or("production", String::as_str);
        let mut file = redmica::read(Path::new(path), section, env);
        if let Ok(file) = &mut file {
            file.settings.retain(|(name, _)| !set.contains_key(name));
            set.extend(file.settings.iter().cloned());
            let has = |name| env(name).is_some_and(|value| !value.is_empty());
            if has("AWS_ACCESS_KEY_ID") || has("AWS_PROFILE") {
                file.static_key = None;
            }
        }
        Self { set, file }
    }

    /// What was taken from `redmica_s3`'s file, without secrets.
    #[must_use]
    pub fn taken(&self) -> Vec<String> {
        let Ok(file) = &self.file else {
            return Vec::new();
        };
        let settings = file.settings.iter();
        let mut taken: Vec<_> = settings
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        if file.static_key.is_some() {
            taken.push("a static key for S3".to_owned());
        }
        taken
    }

    /// What of it was left out, and why.
    #[must_use]
    pub fn warnings(&self) -> &[String] {
        self.file.as_ref().map_or(&[], |file| &file.warnings)
    }

    /// How to log; whatever is wrong with that is told by [`Values::config`].
    #[must_use]
    pub fn log(&self) -> LogConfig {
        Reader::new(self).log()
    }

    /// How a command is to log whose results are what is wanted: only what
    /// goes wrong, unless more is asked for.
    #[must_use]
    pub fn log_for_command(&self) -> LogConfig {
        let mut log = self.log();
        if !self.set.contains_key("KURA_LOG") {
            // What is wrong with tenants' files the commands tell themselves.
            "warn,kura::tenant::files=off".clone_into(&mut log.filter);
        }
        log
    }

    /// The tokens' secrets, where set.
    ///
    /// # Errors
    /// When they cannot be used.
    pub fn secrets(&self) -> Result<Option<Secrets>, ConfigErrors> {
        let mut reader = Reader::new(self);
        let secrets = reader.secrets();
        reader.finish(Some(secrets))
    }

    /// Where objects are kept.
    ///
    /// # Errors
    /// When that cannot be understood.
    pub fn store(&self) -> Result<StoreConfig, ConfigErrors> {
        let mut reader = Reader::new(self);
        let store = reader.store();
        reader.finish(Some(store))
    }

    /// Where to listen.
    ///
    /// # Errors
    /// When that cannot be understood.
    pub fn listen(&self) -> Result<Listen, ConfigErrors> {
        let mut reader = Reader::new(self);
        let listen = reader.listen();
        reader.finish(Some(listen))
    }

    /// The store and its tenants.
    ///
    /// # Errors
    /// Everything that is wrong with the settings that describe them.
    pub fn deployment(&self) -> Result<DeploymentConfig, ConfigErrors> {
        let mut reader = Reader::new(self);
        let deployment = reader.deployment();
        reader.finish(deployment)
    }

    /// Understands all settings.
    ///
    /// # Errors
    /// Everything that is wrong.
    pub fn config(&self) -> Result<Config, ConfigErrors> {
        let mut reader = Reader::new(self);
        let config = reader.config();
        reader.finish(config)
    }
}

/// Who is at the keyboard, as far as the environment tells: for the record of
/// what was changed.
#[must_use]
pub fn operator() -> Option<String> {
    ["SUDO_USER", "USER", "LOGNAME"]
        .into_iter()
        .find_map(from_environment)
}

fn from_environment(name: &str) -> Option<String> {
    let set = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
    // The SDK's own general names, too.
    match name {
        "AWS_ENDPOINT_URL_S3" | "AWS_ENDPOINT_URL_STS" => {
            set(name).or_else(|| set("AWS_ENDPOINT_URL"))
        }
        "AWS_REGION" => set(name).or_else(|| set("AWS_DEFAULT_REGION")),
        _ => set(name),
    }
}
