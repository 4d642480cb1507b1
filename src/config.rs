//! The configuration: the only reader of the environment.
//!
//! [`SETTINGS`] lists every setting once, with its default and its unit; the
//! flags of the command line, the parser and a test of
//! `docs/CONFIGURATION.md` all go by it. All errors are reported at once.

use std::collections::HashMap;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use crate::http::pace::PaceLimit;
use crate::http::server::ServeOptions;
use crate::key::Layout;
use crate::storage::s3::{ConnectOptions, S3Options};
use crate::tenant::{Secrets, State, TenantId, TenantSettings};

/// A setting: an environment variable and a flag of the same name.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    /// The environment variable.
    pub name: &'static str,
    /// What holds when it is not set; empty for nothing.
    pub default: &'static str,
    /// What it means, with its unit.
    pub help: &'static str,
}

const fn setting(name: &'static str, default: &'static str, help: &'static str) -> Setting {
    Setting {
        name,
        default,
        help,
    }
}

/// Every setting.
#[rustfmt::skip]
pub const SETTINGS: &[Setting] = &[
    setting("KURA_LISTEN", "127.0.0.1:8950", "Address to listen on, or unix:PATH"),
    setting("KURA_STORE", "dir:./kura-data", "Where objects are kept: dir:PATH or s3"),
    setting("KURA_SECRET", "", "Secret that tokens are derived from: current[,previous], each of 16 bytes or more. Made and kept by a directory store; required with s3"),
    setting("KURA_TENANTS", "env", "Where tenants come from: env, dir:PATH or s3://BUCKET/PREFIX/"),
    setting("KURA_TENANT", "default", "Id of the single tenant when KURA_TENANTS is env"),
    setting("KURA_TENANTS_REFRESH_SECONDS", "10", "How often tenant files are looked at, in seconds"),
    setting("S3_BUCKET_NAME", "", "Bucket of the single tenant, and of tenants that name none"),
    setting("S3_FOLDER_NAME", "", "Folder of the single tenant in its bucket; empty for all of it"),
    setting("KURA_THUMB_FOLDER", "", "Folder of the single tenant's thumbnails from the bucket's root; empty for tmp/thumbnails/ inside its folder"),
    setting("KURA_IMPORT_FOLDER", "", "Folder of the single tenant's imports from the bucket's root; empty for tmp/imports/ inside its folder"),
    setting("AWS_REGION", "", "Region of the bucket; also needed beside an endpoint"),
    setting("AWS_ENDPOINT_URL_S3", "", "URL of an S3-compatible server"),
    setting("AWS_CA_BUNDLE", "", "PEM file of certificates to trust besides the system's"),
    setting("KURA_S3_PATH_STYLE", "auto", "Bucket in the path, not in the host name: yes, no, or auto (yes with an endpoint)"),
    setting("KURA_S3_CHECKSUMS", "yes", "Send checksums with uploads: yes, or no for servers that refuse them"),
    setting("KURA_S3_CONDITIONAL_WRITES", "auto", "Whether the server honours If-None-Match: yes, no, or auto to find out"),
    setting("KURA_S3_MAX_ATTEMPTS", "4", "Tries of a request to S3"),
    setting("KURA_S3_CONNECT_TIMEOUT_SECONDS", "3", "Longest time to connect to S3, in seconds"),
    setting("KURA_S3_READ_TIMEOUT_SECONDS", "30", "Longest wait for the head of an answer from S3, in seconds"),
    setting("KURA_S3_IDLE_BODY_SECONDS", "20", "Longest wait for a byte of a body from S3 before it is asked for anew, in seconds"),
    setting("KURA_PART_BYTES", "8388608", "Size of a part of an upload and of a range read ahead, in bytes (5 MiB or more)"),
    setting("KURA_PARALLEL_PARTS", "4", "Parts of one upload, or ranges of one download, under way at once"),
    setting("KURA_MEMORY_BYTES", "auto", "Memory for all part buffers, in bytes; auto for a quarter of what the cgroup or machine has, within 64 MiB and 1 GiB"),
    setting("KURA_WAIT_SECONDS", "30", "Longest wait for such memory before 503, in seconds"),
    setting("KURA_MAX_BODY_BYTES", "5368709120", "Largest upload, in bytes"),
    setting("KURA_MAX_CONNECTIONS", "1024", "Connections open at once"),
    setting("KURA_MAX_REQUESTS", "512", "Requests under way at once"),
    setting("KURA_MAX_TENANT_REQUESTS", "auto", "Requests of one tenant under way at once; auto for all of them with a single tenant, half with many"),
    setting("KURA_IDLE_SECONDS", "30", "Longest wait for a byte from or to a client, in seconds"),
    setting("KURA_MIN_BYTES_PER_SECOND", "1024", "Least rate of a client, in bytes a second, measured over the time above"),
    setting("KURA_IMPORT_TTL_SECONDS", "86400", "Age at which an import expires, in seconds"),
    setting("KURA_PING_SECONDS", "15", "How often the store is asked for a sign of life, in seconds: one request each"),
    setting("KURA_GRACE_SECONDS", "25", "Longest time to finish requests after SIGTERM, in seconds"),
    setting("KURA_LOG", "info", "What is logged, as in RUST_LOG"),
    setting("KURA_LOG_FORMAT", "auto", "json, text, or auto (text on a terminal)"),
];

/// The configuration of `kura serve`.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where to listen.
    pub listen: Listen,
    /// Where objects are kept.
    pub store: StoreConfig,
    /// What tokens are derived from; `None` to make and keep one.
    pub secrets: Option<Secrets>,
    /// Where tenants come from.
    pub tenants: TenantsConfig,
    /// How connections are served.
    pub serve: ServeOptions,
    /// How slow clients may be.
    pub pace: PaceLimit,
    /// The limits of what is under way.
    pub limits: Limits,
    /// Age at which an import expires.
    pub import_ttl: Duration,
    /// How often the store is asked for a sign of life.
    pub ping_interval: Duration,
    /// How long requests may take to finish in the end.
    pub grace: Duration,
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
#[derive(Clone, Debug, Default)]
pub struct Values(HashMap<&'static str, String>);

impl Values {
    /// Takes the environment, and `given` (from flags) in place of it.
    #[must_use]
    pub fn from_environment(given: impl Fn(&'static str) -> Option<String>) -> Self {
        let value = |name| given(name).or_else(|| from_environment(name));
        let values = SETTINGS
            .iter()
            .filter_map(|s| Some((s.name, value(s.name)?)));
        Self(values.collect())
    }

    /// Takes only what is `given`: for tests.
    #[must_use]
    pub fn from_pairs(given: &[(&'static str, &str)]) -> Self {
        Self(
            given
                .iter()
                .map(|(name, value)| (*name, (*value).to_owned()))
                .collect(),
        )
    }

    /// How to log.
    #[must_use]
    pub fn log(&self) -> LogConfig {
        let reader = Reader::new(self);
        LogConfig {
            filter: reader.text("KURA_LOG"),
            json: match reader.text("KURA_LOG_FORMAT").as_str() {
                "json" => Some(true),
                "text" => Some(false),
                _ => None,
            },
        }
    }

    /// The tokens' secrets, where set.
    ///
    /// # Errors
    /// When they cannot be used.
    pub fn secrets(&self) -> Result<Option<Secrets>, ConfigErrors> {
        let mut reader = Reader::new(self);
        let secrets = reader.secrets();
        reader.finish(secrets)
    }

    /// Where objects are kept.
    ///
    /// # Errors
    /// When that cannot be understood.
    pub fn store(&self) -> Result<StoreConfig, ConfigErrors> {
        let mut reader = Reader::new(self);
        let store = reader.store();
        reader.finish(store)
    }

    /// Where to listen.
    ///
    /// # Errors
    /// When that cannot be understood.
    pub fn listen(&self) -> Result<Listen, ConfigErrors> {
        let mut reader = Reader::new(self);
        let listen = reader.listen();
        reader.finish(listen)
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

fn from_environment(name: &str) -> Option<String> {
    let set = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
    // The SDK's own general name, too.
    match name {
        "AWS_ENDPOINT_URL_S3" => set(name).or_else(|| set("AWS_ENDPOINT_URL")),
        "AWS_REGION" => set(name).or_else(|| set("AWS_DEFAULT_REGION")),
        _ => set(name),
    }
}

/// Understands settings one by one, and collects what is wrong.
struct Reader<'a> {
    values: &'a Values,
    errors: Vec<String>,
}

impl<'a> Reader<'a> {
    fn new(values: &'a Values) -> Self {
        Self {
            values,
            errors: Vec::new(),
        }
    }

    fn finish<T>(self, value: T) -> Result<T, ConfigErrors> {
        if self.errors.is_empty() {
            Ok(value)
        } else {
            Err(ConfigErrors(self.errors))
        }
    }

    fn text(&self, name: &'static str) -> String {
        let default = SETTINGS.iter().find(|setting| setting.name == name);
        debug_assert!(default.is_some(), "{name} is not listed");
        let set = self.values.0.get(name).cloned();
        set.unwrap_or_else(|| default.map_or("", |setting| setting.default).to_owned())
    }

    fn optional(&self, name: &'static str) -> Option<String> {
        Some(self.text(name)).filter(|text| !text.is_empty())
    }

    fn number<T>(&mut self, name: &'static str, range: impl std::ops::RangeBounds<T>) -> T
    where
        T: FromStr + PartialOrd + Default,
    {
        match self.text(name).parse() {
            Ok(number) if range.contains(&number) => number,
            _ => {
                self.errors.push(format!(
                    "{name}: must be a number in the range that makes sense"
                ));
                T::default()
            }
        }
    }

    fn seconds(&mut self, name: &'static str) -> Duration {
        Duration::from_secs(self.number(name, 1..=31_536_000))
    }

    /// `yes`, `no`, or `None` for `auto`.
    fn switch(&mut self, name: &'static str) -> Option<bool> {
        match self.text(name).as_str() {
            "yes" => Some(true),
            "no" => Some(false),
            "auto" => None,
            _ => {
                self.errors.push(format!("{name}: must be yes, no or auto"));
                None
            }
        }
    }

    fn config(&mut self) -> Config {
        let store = self.store();
        let secrets = self.secrets();
        if secrets.is_none() && matches!(store, StoreConfig::S3(_)) && self.errors.is_empty() {
            self.errors
                .push("KURA_SECRET: is required when objects are kept in S3".into());
        }
        let tenants = self.tenants(&store);
        let idle = self.seconds("KURA_IDLE_SECONDS");
        Config {
            listen: self.listen(),
            limits: self.limits(&store, matches!(tenants, TenantsConfig::Single(_))),
            store,
            secrets,
            tenants,
            serve: ServeOptions {
                max_connections: self.number("KURA_MAX_CONNECTIONS", 1..=1_000_000),
                head_timeout: idle,
                write_timeout: idle,
            },
            pace: PaceLimit {
                idle,
                min_bytes_per_second: self.number("KURA_MIN_BYTES_PER_SECOND", 0..),
            },
            import_ttl: self.seconds("KURA_IMPORT_TTL_SECONDS"),
            ping_interval: self.seconds("KURA_PING_SECONDS"),
            grace: self.seconds("KURA_GRACE_SECONDS"),
        }
    }

    fn listen(&mut self) -> Listen {
        let text = self.text("KURA_LISTEN");
        if let Some(path) = text.strip_prefix("unix:") {
            return Listen::Unix(path.into());
        }
        if !text.contains(':') {
            let error = "KURA_LISTEN: must be HOST:PORT or unix:PATH";
            self.errors.push(error.into());
        }
        Listen::Tcp(text)
    }

    fn store(&mut self) -> StoreConfig {
        let text = self.text("KURA_STORE");
        match text.strip_prefix("dir:") {
            Some(path) if !path.is_empty() => StoreConfig::Directory(path.into()),
            _ if text == "s3" => StoreConfig::S3(Box::new(self.s3())),
            _ => {
                self.errors
                    .push("KURA_STORE: must be dir:PATH or s3".into());
                StoreConfig::Directory(PathBuf::new())
            }
        }
    }

    fn s3(&mut self) -> S3Config {
        let endpoint = self.optional("AWS_ENDPOINT_URL_S3");
        let path_style = self
            .switch("KURA_S3_PATH_STYLE")
            .unwrap_or(endpoint.is_some());
        S3Config {
            connect: ConnectOptions {
                region: self.optional("AWS_REGION"),
                path_style,
                static_key: None,
                ca_bundle: self.optional("AWS_CA_BUNDLE").map(PathBuf::from),
                connect_timeout: self.seconds("KURA_S3_CONNECT_TIMEOUT_SECONDS"),
                read_timeout: self.seconds("KURA_S3_READ_TIMEOUT_SECONDS"),
                max_attempts: self.number("KURA_S3_MAX_ATTEMPTS", 1..=20),
                endpoint,
            },
            options: S3Options {
                part_bytes: self.number("KURA_PART_BYTES", (5 << 20)..=(1 << 30)),
                parallel_parts: self.number("KURA_PARALLEL_PARTS", 1..=64),
                max_payload_bytes: self.number("KURA_MAX_BODY_BYTES", 1..),
                checksums: self.switch("KURA_S3_CHECKSUMS").unwrap_or(true),
                conditional_writes: self.switch("KURA_S3_CONDITIONAL_WRITES"),
                idle_body: self.seconds("KURA_S3_IDLE_BODY_SECONDS"),
                ..S3Options::default()
            },
        }
    }

    fn secrets(&mut self) -> Option<Secrets> {
        let text = self.optional("KURA_SECRET")?;
        Secrets::parse(&text)
            .map_err(|error| self.errors.push(format!("KURA_SECRET: {error}")))
            .ok()
    }

    fn tenants(&mut self, store: &StoreConfig) -> TenantsConfig {
        let text = self.text("KURA_TENANTS");
        let files = TenantFiles {
            default_bucket: self.optional("S3_BUCKET_NAME").or_else(|| match store {
                StoreConfig::Directory(_) => Some("files".into()),
                StoreConfig::S3(_) => None,
            }),
            refresh: self.seconds("KURA_TENANTS_REFRESH_SECONDS"),
        };
        let in_s3 = text
            .strip_prefix("s3://")
            .and_then(|rest| rest.split_once('/'));
        match (text.strip_prefix("dir:"), in_s3) {
            (Some(path), _) if !path.is_empty() => TenantsConfig::Directory {
                path: path.into(),
                files,
            },
            (_, Some((bucket, prefix))) if !bucket.is_empty() => {
                if matches!(store, StoreConfig::Directory(_)) {
                    let error = "KURA_TENANTS: tenants in S3 need KURA_STORE=s3";
                    self.errors.push(error.into());
                }
                TenantsConfig::S3 {
                    bucket: bucket.to_owned(),
                    prefix: format!("{}/", prefix.trim_end_matches('/'))
                        .trim_start_matches('/')
                        .to_owned(),
                    files,
                }
            }
            _ => {
                if text != "env" {
                    let error = "KURA_TENANTS: must be env, dir:PATH or s3://BUCKET/PREFIX/";
                    self.errors.push(error.into());
                }
                self.single(files)
            }
        }
    }

    fn single(&mut self, files: TenantFiles) -> TenantsConfig {
        let id = self.text("KURA_TENANT").parse::<TenantId>();
        let thumbs = self.optional("KURA_THUMB_FOLDER");
        let imports = self.optional("KURA_IMPORT_FOLDER");
        let folder = self.text("S3_FOLDER_NAME");
        let layout = Layout::new(&folder, thumbs.as_deref(), imports.as_deref());
        let mut failed = |name: &str, error: &dyn fmt::Display| {
            self.errors.push(format!("{name}: {error}"));
        };
        let settings = match (id, layout, files.default_bucket) {
            (Ok(id), Ok(layout), Some(bucket)) => TenantSettings {
                id,
                bucket,
                layout,
                state: State::Active,
            },
            (id, layout, bucket) => {
                if let Err(error) = id {
                    failed("KURA_TENANT", &error);
                }
                if let Err(error) = layout {
                    failed("S3_FOLDER_NAME", &error);
                }
                if bucket.is_none() {
                    failed("S3_BUCKET_NAME", &"is required when objects are kept in S3");
                }
                return TenantsConfig::Directory {
                    path: PathBuf::new(),
                    files: TenantFiles {
                        default_bucket: None,
                        refresh: Duration::ZERO,
                    },
                };
            }
        };
        TenantsConfig::Single(settings)
    }

    fn limits(&mut self, store: &StoreConfig, single: bool) -> Limits {
        let memory_bytes = match self.text("KURA_MEMORY_BYTES").as_str() {
            "auto" => default_memory_bytes(),
            _ => self.number("KURA_MEMORY_BYTES", 1..),
        };
        let max_requests: usize = self.number("KURA_MAX_REQUESTS", 1..=1_000_000);
        let fair = |all: usize| if single { all } else { all.div_ceil(2) };
        let max_tenant_requests = match self.text("KURA_MAX_TENANT_REQUESTS").as_str() {
            "auto" => fair(max_requests),
            _ => self.number("KURA_MAX_TENANT_REQUESTS", 1..=1_000_000),
        };
        let max_body_bytes: u64 = self.number("KURA_MAX_BODY_BYTES", 1..);
        if let StoreConfig::S3(s3) = store {
            // Parts grow so that 10,000 are enough for the largest body.
            let largest = (s3.options.part_bytes as u64).max(max_body_bytes.div_ceil(10_000));
            if (fair(memory_bytes) as u64) < 2 * largest {
                let times = if single { 2 } else { 4 };
                self.errors.push(format!(
                    "KURA_MEMORY_BYTES: must be at least {times} times the size of a part ({largest} bytes)"
                ));
            }
        }
        Limits {
            memory_bytes,
            tenant_memory_bytes: fair(memory_bytes),
            patience: self.seconds("KURA_WAIT_SECONDS"),
            max_body_bytes,
            max_requests,
            max_tenant_requests,
        }
    }
}

/// A quarter of the memory that this process may have, within sane bounds.
fn default_memory_bytes() -> usize {
    const MIN: u64 = 64 << 20;
    const MAX: u64 = 1 << 30;
    let quarter = memory_limit_bytes().map_or(MIN, |limit| limit / 4);
    usize::try_from(quarter.clamp(MIN, MAX)).unwrap_or(usize::MAX)
}

/// The smallest of the cgroup's limits (version 2, then 1) and the machine's
/// memory, as far as they can be read.
fn memory_limit_bytes() -> Option<u64> {
    let read = |path: &str| std::fs::read_to_string(path).ok();
    let limit = |path: &str| read(path)?.trim().parse::<u64>().ok();
    let machine = || {
        let meminfo = read("/proc/meminfo")?;
        let line = meminfo
            .lines()
            .find_map(|line| line.strip_prefix("MemTotal:"))?;
        let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
        Some(kib * 1024)
    };
    [
        limit("/sys/fs/cgroup/memory.max"),
        limit("/sys/fs/cgroup/memory/memory.limit_in_bytes"),
        machine(),
    ]
    .into_iter()
    .flatten()
    .min()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_set_is_a_directory_and_one_tenant() {
        let config = Values::default().config().unwrap();
        assert!(matches!(config.store, StoreConfig::Directory(_)));
        assert_eq!(config.listen, Listen::Tcp("127.0.0.1:8950".into()));
        let TenantsConfig::Single(tenant) = config.tenants else {
            panic!()
        };
        assert_eq!(tenant.id.as_str(), "default");
        assert!((64 << 20..=1 << 30).contains(&config.limits.memory_bytes));
        assert_eq!(
            config.limits.memory_bytes,
            config.limits.tenant_memory_bytes
        );
    }

    #[test]
    fn every_error_is_reported_at_once_and_no_value_is_shown() {
        let values = Values::from_pairs(&[
            ("KURA_STORE", "tape"),
            ("KURA_SECRET", "short"),
            ("KURA_PARALLEL_PARTS", "four"),
            ("KURA_MAX_REQUESTS", "0"),
            ("KURA_TENANT", "no/slash"),
            ("KURA_TENANTS", "ldap"),
        ]);
        let errors = values.config().unwrap_err();
        let text = errors.to_string();
        for name in [
            "KURA_STORE",
            "KURA_SECRET",
            "KURA_MAX_REQUESTS",
            "KURA_TENANT:",
            "KURA_TENANTS",
        ] {
            assert!(text.contains(name), "{name} is missing in {text}");
        }
        assert!(!text.contains("short"), "{text}");
    }

    #[test]
    fn s3_needs_a_secret_and_a_bucket() {
        let text = Values::from_pairs(&[("KURA_STORE", "s3")])
            .config()
            .unwrap_err()
            .to_string();
        assert!(
            text.contains("KURA_SECRET") && text.contains("S3_BUCKET_NAME"),
            "{text}"
        );
    }

    #[test]
    fn memory_must_hold_two_parts_of_each_tenant() {
        let values = Values::from_pairs(&[
            ("KURA_STORE", "s3"),
            ("KURA_SECRET", "0123456789abcdef"),
            ("S3_BUCKET_NAME", "b"),
            ("KURA_MEMORY_BYTES", "10000000"),
        ]);
        let text = values.config().unwrap_err().to_string();
        assert!(text.contains("KURA_MEMORY_BYTES"), "{text}");
    }

    #[test]
    fn tenants_may_be_described_in_s3() {
        let values = Values::from_pairs(&[
            ("KURA_STORE", "s3"),
            ("KURA_SECRET", "0123456789abcdef"),
            ("KURA_TENANTS", "s3://conf/tenants"),
        ]);
        let TenantsConfig::S3 { bucket, prefix, .. } = values.config().unwrap().tenants else {
            panic!()
        };
        assert_eq!((bucket.as_str(), prefix.as_str()), ("conf", "tenants/"));
    }
}
