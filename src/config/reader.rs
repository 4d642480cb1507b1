//! Understands settings one by one, and collects everything that is wrong.

use std::fmt;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

use super::memory::default_memory_bytes;
use super::{
    CACHE_FOLDER, Config, ConfigErrors, DeploymentConfig, Limits, Listen, LogConfig, S3Config,
    SETTINGS, StoreConfig, TenantFiles, TenantsConfig, Values,
};
use crate::http::pace::PaceLimit;
use crate::http::server::ServeOptions;
use crate::key::Layout;
use crate::storage::s3::{ConnectOptions, S3Options};
use crate::tenant::role::RoleChoice;
use crate::tenant::settings::is_bucket;
use crate::tenant::{Secrets, State, TenantId, TenantSettings};

/// Understands settings one by one, and collects what is wrong.
pub(super) struct Reader<'a> {
    values: &'a Values,
    errors: Vec<String>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(values: &'a Values) -> Self {
        Self {
            values,
            errors: Vec::new(),
        }
    }

    /// The value, unless something is wrong.
    pub(super) fn finish<T>(self, value: Option<T>) -> Result<T, ConfigErrors> {
        match value {
            Some(value) if self.errors.is_empty() => Ok(value),
            _ => Err(ConfigErrors(self.errors)),
        }
    }

    pub(super) fn error(&mut self, name: &str, error: impl fmt::Display) {
        let file = self.values.file.as_ref();
        let from = file.is_ok_and(|file| file.settings.iter().any(|(set, _)| *set == name));
        let from = if from { " (from KURA_REDMICA_S3)" } else { "" };
        self.errors.push(format!("{name}{from}: {error}"));
    }

    pub(super) fn text(&self, name: &'static str) -> String {
        let default = SETTINGS.iter().find(|setting| setting.name == name);
        debug_assert!(default.is_some(), "{name} is not listed");
        let set = self.values.set.get(name).cloned();
        set.unwrap_or_else(|| default.map_or("", |setting| setting.default).to_owned())
    }

    fn is_set(&self, name: &'static str) -> bool {
        self.values.set.contains_key(name)
    }

    /// How to log.
    pub(super) fn log(&mut self) -> LogConfig {
        let filter = self.text("KURA_LOG");
        // A lone word that is no level would be taken for a module, and turn
        // the log off.
        let lone_word = !filter.contains(['=', ',']) && filter.parse::<LevelFilter>().is_err();
        if lone_word || EnvFilter::try_new(&filter).is_err() {
            self.error("KURA_LOG", "must be a level, or as in RUST_LOG");
        }
        let json = match self.text("KURA_LOG_FORMAT").as_str() {
            "json" => Some(true),
            "text" => Some(false),
            "auto" => None,
            _ => {
                self.error("KURA_LOG_FORMAT", "must be json, text or auto");
                None
            }
        };
        LogConfig { filter, json }
    }

    pub(super) fn optional(&self, name: &'static str) -> Option<String> {
        Some(self.text(name)).filter(|text| !text.is_empty())
    }

    /// A number within `range`. What is wrong is noted, and the range's start
    /// stands in for it.
    pub(super) fn number<T>(&mut self, name: &'static str, range: RangeInclusive<T>) -> T
    where
        T: Copy + FromStr + PartialOrd + fmt::Display,
    {
        match self.text(name).parse() {
            Ok(number) if range.contains(&number) => number,
            _ => {
                let (least, most) = (range.start(), range.end());
                self.error(
                    name,
                    format_args!("must be a number from {least} to {most}"),
                );
                *range.start()
            }
        }
    }

    pub(super) fn seconds(&mut self, name: &'static str) -> Duration {
        Duration::from_secs(self.number(name, 1..=31_536_000))
    }

    /// `yes`, `no`, or `None` for `auto`.
    fn switch(&mut self, name: &'static str) -> Option<bool> {
        match self.text(name).as_str() {
            "yes" => Some(true),
            "no" => Some(false),
            "auto" => None,
            _ => {
                self.error(name, "must be yes, no or auto");
                None
            }
        }
    }

    fn yes_or_no(&mut self, name: &'static str) -> bool {
        match self.text(name).as_str() {
            "yes" => true,
            "no" => false,
            _ => {
                self.error(name, "must be yes or no");
                true
            }
        }
    }

    pub(super) fn config(&mut self) -> Option<Config> {
        let deployment = self.deployment();
        let secrets = self.secrets();
        let in_s3 = self.text("KURA_STORE") == "s3";
        if in_s3 && !self.is_set("KURA_SECRET") {
            self.error("KURA_SECRET", "is required when objects are kept in S3");
        }
        self.log();
        let idle = self.seconds("KURA_IDLE_SECONDS");
        Some(Config {
            listen: self.listen(),
            cache: self.cache(),
            render: self.render(),
            thumbnail_failure_ttl: self.seconds("KURA_THUMBNAIL_FAILURE_SECONDS"),
            eager_thumbnails: self.eager_thumbnails(),
            secrets,
            serve: ServeOptions {
                max_connections: self.number("KURA_MAX_CONNECTIONS", 1..=1_000_000),
                head_timeout: idle,
                write_timeout: idle,
            },
            pace: PaceLimit {
                idle,
                min_bytes_per_second: self.number("KURA_MIN_BYTES_PER_SECOND", 0..=u64::MAX),
            },
            ping_interval: self.seconds("KURA_PING_SECONDS"),
            grace: self.seconds("KURA_GRACE_SECONDS"),
            // Last, so that everything else that is wrong has been noted.
            deployment: deployment?,
        })
    }

    pub(super) fn deployment(&mut self) -> Option<DeploymentConfig> {
        for error in self.values.file.as_ref().err().into_iter().flatten() {
            self.error("KURA_REDMICA_S3", error);
        }
        let store = self.store();
        let tenants = self.tenants(&store);
        let single = matches!(tenants, Some(TenantsConfig::Single(_)));
        Some(DeploymentConfig {
            limits: self.limits(&store, single),
            import_ttl: self.seconds("KURA_IMPORT_TTL_SECONDS"),
            role: self.role(&store),
            store,
            tenants: tenants?,
        })
    }

    pub(super) fn listen(&mut self) -> Listen {
        let text = self.text("KURA_LISTEN");
        if let Some(path) = text.strip_prefix("unix:").filter(|path| !path.is_empty()) {
            return Listen::Unix(path.into());
        }
        if text.starts_with("unix:") || !text.contains(':') {
            self.error("KURA_LISTEN", "must be HOST:PORT or unix:PATH");
        }
        Listen::Tcp(text)
    }

    pub(super) fn store(&mut self) -> StoreConfig {
        let text = self.text("KURA_STORE");
        match text.strip_prefix("dir:") {
            Some(path) if !path.is_empty() => StoreConfig::Directory(path.into()),
            _ if text == "s3" => StoreConfig::S3(Box::new(self.s3())),
            _ => {
                self.error("KURA_STORE", "must be dir:PATH or s3");
                StoreConfig::Directory(PathBuf::new())
            }
        }
    }

    fn s3(&mut self) -> S3Config {
        let endpoint = self.url("AWS_ENDPOINT_URL_S3");
        let path_style = self
            .switch("KURA_S3_PATH_STYLE")
            .unwrap_or(endpoint.is_some());
        let file = self.values.file.as_ref();
        S3Config {
            connect: ConnectOptions {
                region: self.optional("AWS_REGION"),
                path_style,
                static_key: file.ok().and_then(|file| file.static_key.clone()),
                ca_bundle: self.optional("AWS_CA_BUNDLE").map(PathBuf::from),
                connect_timeout: self.seconds("KURA_S3_CONNECT_TIMEOUT_SECONDS"),
                read_timeout: self.seconds("KURA_S3_READ_TIMEOUT_SECONDS"),
                max_attempts: self.number("KURA_S3_MAX_ATTEMPTS", 1..=20),
                sts_endpoint: self.url("AWS_ENDPOINT_URL_STS"),
                endpoint,
            },
            options: S3Options {
                part_bytes: self.number("KURA_PART_BYTES", (5 << 20)..=(1 << 30)),
                parallel_parts: self.number("KURA_PARALLEL_PARTS", 1..=64),
                max_payload_bytes: self.number("KURA_MAX_BODY_BYTES", 1..=u64::MAX),
                checksums: self.yes_or_no("KURA_S3_CHECKSUMS"),
                conditional_writes: self.switch("KURA_S3_CONDITIONAL_WRITES"),
                idle_body: self.seconds("KURA_S3_IDLE_BODY_SECONDS"),
                min_bytes_per_second: self.number("KURA_S3_MIN_BYTES_PER_SECOND", 1..=u64::MAX),
                ..S3Options::default()
            },
        }
    }

    fn url(&mut self, name: &'static str) -> Option<String> {
        let url = self.optional(name);
        let is_url = |url: &String| url.starts_with("http://") || url.starts_with("https://");
        if !url.as_ref().is_none_or(is_url) {
            self.error(name, "must begin with http:// or https://");
        }
        url
    }

    pub(super) fn secrets(&mut self) -> Option<Secrets> {
        let text = self.optional("KURA_SECRET")?;
        Secrets::parse(&text)
            .map_err(|error| self.error("KURA_SECRET", error))
            .ok()
    }

    fn tenants(&mut self, store: &StoreConfig) -> Option<TenantsConfig> {
        let text = self.text("KURA_TENANTS");
        let files = TenantFiles {
            default_bucket: self.optional("S3_BUCKET_NAME").or_else(|| match store {
                StoreConfig::Directory(_) => Some("files".into()),
                StoreConfig::S3(_) => None,
            }),
            refresh: self.seconds("KURA_TENANTS_REFRESH_SECONDS"),
        };
        if matches!(store, StoreConfig::Directory(_))
            && files.default_bucket.as_deref() == Some(CACHE_FOLDER)
        {
            self.error("S3_BUCKET_NAME", "a directory store has its cache there");
        }
        let in_s3 = text
            .strip_prefix("s3://")
            .and_then(|rest| rest.split_once('/'));
        match (text.strip_prefix("dir:"), in_s3) {
            (Some(path), _) if !path.is_empty() => Some(TenantsConfig::Directory {
                path: path.into(),
                files,
            }),
            (_, Some((bucket, prefix))) if !bucket.is_empty() => {
                if matches!(store, StoreConfig::Directory(_)) {
                    self.error("KURA_TENANTS", "tenants in S3 need KURA_STORE=s3");
                }
                let prefix = prefix.trim_matches('/');
                Some(TenantsConfig::S3 {
                    bucket: bucket.to_owned(),
                    prefix: format!("{prefix}/").trim_start_matches('/').to_owned(),
                    files,
                })
            }
            _ if text == "env" => self.single(files.default_bucket).map(TenantsConfig::Single),
            _ => {
                self.error(
                    "KURA_TENANTS",
                    "must be env, dir:PATH or s3://BUCKET/PREFIX/",
                );
                None
            }
        }
    }

    fn single(&mut self, default_bucket: Option<String>) -> Option<TenantSettings> {
        let id = self.text("KURA_TENANT").parse::<TenantId>();
        let id = self.noted("KURA_TENANT", id);
        let bucket = match default_bucket {
            None => Err("is required when objects are kept in S3"),
            Some(bucket) if !is_bucket(&bucket) => Err("no bucket can have this name"),
            Some(bucket) => Ok(bucket),
        };
        let bucket = self.noted("S3_BUCKET_NAME", bucket);
        let folder = self.text("S3_FOLDER_NAME");
        let alone = Layout::new(&folder, None, None);
        let has_folder = self.noted("S3_FOLDER_NAME", alone).is_some();
        let (thumbs, imports) = (
            self.optional("KURA_THUMB_FOLDER"),
            self.optional("KURA_IMPORT_FOLDER"),
        );
        for (name, thumbs, imports) in [
            ("KURA_THUMB_FOLDER", thumbs.as_deref(), None),
            ("KURA_IMPORT_FOLDER", None, imports.as_deref()),
        ] {
            let inside = if has_folder { folder.as_str() } else { "" };
            let layout = self.noted(name, Layout::new(inside, thumbs, imports));
            let contains = |layout: Layout| layout.reserved_folder_of(layout.folder()).is_some();
            if layout.is_some_and(contains) {
                self.error(name, "contains the tenant's own folder");
            }
        }
        let layout = Layout::new(&folder, thumbs.as_deref(), imports.as_deref()).ok()?;
        Some(TenantSettings {
            id: id?,
            bucket: bucket?,
            layout,
            state: State::Active,
            role: RoleChoice::default(),
            quota_bytes: None,
        })
    }

    fn role(&mut self, store: &StoreConfig) -> RoleChoice {
        let role = RoleChoice {
            arn: self.parsed("KURA_ROLE_ARN"),
            external_id: self.parsed("KURA_ROLE_EXTERNAL_ID"),
            session: self.parsed("KURA_ROLE_SESSION"),
        };
        if role.arn.is_some() && matches!(store, StoreConfig::Directory(_)) {
            self.error("KURA_ROLE_ARN", "a role needs KURA_STORE=s3");
        }
        role
    }

    fn parsed<T: FromStr<Err: fmt::Display>>(&mut self, name: &'static str) -> Option<T> {
        let parsed = self.optional(name)?.parse();
        self.noted(name, parsed)
    }

    /// The value, or nothing and a note of what is wrong with the setting.
    fn noted<T>(&mut self, name: &str, value: Result<T, impl fmt::Display>) -> Option<T> {
        value.map_err(|error| self.error(name, error)).ok()
    }

    fn limits(&mut self, store: &StoreConfig, single: bool) -> Limits {
        let memory_bytes = match self.text("KURA_MEMORY_BYTES").as_str() {
            "auto" => default_memory_bytes(),
            _ => self.number("KURA_MEMORY_BYTES", 1..=usize::MAX),
        };
        let max_requests: usize = self.number("KURA_MAX_REQUESTS", 1..=1_000_000);
        let fair = |all: usize| if single { all } else { all.div_ceil(2) };
        let max_tenant_requests = match self.text("KURA_MAX_TENANT_REQUESTS").as_str() {
            "auto" => fair(max_requests),
            _ => self.number("KURA_MAX_TENANT_REQUESTS", 1..=1_000_000),
        };
        let max_body_bytes: u64 = self.number("KURA_MAX_BODY_BYTES", 1..=u64::MAX);
        if let StoreConfig::S3(s3) = store {
            // Parts grow so that 10,000 are enough for the largest body.
            let largest = (s3.options.part_bytes as u64).max(max_body_bytes.div_ceil(10_000));
            if (fair(memory_bytes) as u64) < 2 * largest {
                let times = if single { 2 } else { 4 };
                self.error(
                    "KURA_MEMORY_BYTES",
                    format_args!("must be at least {times} parts of {largest} bytes"),
                );
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
