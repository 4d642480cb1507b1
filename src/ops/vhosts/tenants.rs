//! All tenants with the texts of their files, each read once: what the server
//! would take, with what it never looks at.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context as _, Result, ensure};
use async_trait::async_trait;

use crate::config::{TenantsConfig, Values};
use crate::deployment::{Deployment, Probe};
use crate::metrics::Metrics;
use crate::tenant::source::{Listed, SourceError, TenantSource};
use crate::tenant::{Registry, TenantSettings};

/// The tenants.
pub(super) struct Tenants {
    /// Those in force, in the order of their ids.
    pub(super) all: Vec<TenantSettings>,
    /// What is wrong with the files of the others, by their stems.
    pub(super) broken: Vec<(String, String)>,
    /// The texts, by the names of the files.
    texts: HashMap<String, String>,
}

impl Tenants {
    /// Reads them: a listing, and a read for each file.
    pub(super) async fn read(values: &Values) -> Result<Self> {
        let metrics = Metrics::default();
        let deployment =
            Deployment::open(values.deployment()?, Probe::WhenNeeded, &metrics).await?;
        let source = deployment.tenant_source()?.context(
            "there are no tenant files to read: KURA_TENANTS must name their place, dir:PATH or s3://BUCKET/PREFIX/",
        )?;
        let bucket = match &deployment.config().tenants {
            TenantsConfig::Directory { files, .. } | TenantsConfig::S3 { files, .. } => {
                files.default_bucket.as_deref()
            }
            TenantsConfig::Single(_) => None,
        };
        let kept = Arc::new(Kept {
            source,
            texts: Mutex::default(),
        });
        let registry = Registry::from_source(kept.clone(), bucket, |_| Ok(()));
        let broken = registry.refresh().await?.broken;
        // An empty place is rather the wrong one, and all files would go.
        ensure!(
            !registry.is_empty() || !broken.is_empty(),
            "there is no tenant file in the place that KURA_TENANTS names"
        );
        let all = registry.all();
        let mut all: Vec<_> = all.iter().map(|tenant| tenant.settings.clone()).collect();
        all.sort_by(|one, other| one.id.cmp(&other.id));
        let texts = std::mem::take(&mut *kept.texts());
        Ok(Self { all, broken, texts })
    }

    /// The name and the text of a tenant's file; the text is empty when it
    /// could not be read.
    pub(super) fn file(&self, stem: &str) -> (String, &str) {
        let names = ["yml", "yaml"].map(|ending| format!("{stem}.{ending}"));
        let found = names.iter().find_map(|name| self.texts.get_key_value(name));
        found.map_or_else(
            || (names[0].clone(), ""),
            |(name, text)| (name.clone(), text.as_str()),
        )
    }
}

/// A source that keeps what is read from it.
struct Kept {
    source: Arc<dyn TenantSource>,
    texts: Mutex<HashMap<String, String>>,
}

impl Kept {
    fn texts(&self) -> std::sync::MutexGuard<'_, HashMap<String, String>> {
        self.texts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The texts have passwords.
impl fmt::Debug for Kept {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.source.fmt(out)
    }
}

#[async_trait]
impl TenantSource for Kept {
    async fn list(&self) -> Result<Vec<Listed>, SourceError> {
        self.source.list().await
    }

    async fn read(&self, file_name: &str) -> Result<String, SourceError> {
        let text = self.source.read(file_name).await?;
        self.texts().insert(file_name.to_owned(), text.clone());
        Ok(text)
    }
}
