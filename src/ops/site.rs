//! The deployment that the settings describe, opened for a command, and its
//! tenants as their files are at this moment.

mod kept;

use std::sync::Arc;

use anyhow::{Context, Result, bail};

use self::kept::Kept;

use crate::config::Values;
use crate::deployment::{Deployment, Probe};
use crate::http::TenantService;
use crate::metrics::Metrics;
use crate::tenant::registry::Summary;
use crate::tenant::source::{TenantFile, TenantSource};
use crate::tenant::{Registry, TenantId, TenantSettings};

/// A deployment and its tenants.
pub struct Site {
    /// The store and where the tenants' files lie.
    pub deployment: Deployment,
    /// The numbers of what the command does, such as its requests to S3.
    pub metrics: Metrics,
    /// What is wrong with files, by their stems.
    pub broken: Vec<(String, String)>,
    tenants: Registry<()>,
    /// `None` when the environment describes the only tenant.
    files: Option<Arc<Kept>>,
}

impl Site {
    /// Opens the deployment and reads all tenants' files: only who knows all
    /// knows that no folder is another's, too.
    ///
    /// # Errors
    /// When the settings cannot be used, or the files not be listed.
    pub async fn open(values: &Values) -> Result<Self> {
        let metrics = Metrics::default();
        let deployment =
            Deployment::open(values.deployment()?, Probe::WhenNeeded, &metrics).await?;
        let files = deployment.tenant_source()?.map(Kept::new).map(Arc::new);
        let source = files.clone().map(|files| files as Arc<dyn TenantSource>);
        let tenants = deployment.registry_of(source, |_| Ok(()))?;
        let Summary { broken, .. } = tenants.refresh().await?;
        Ok(Self {
            deployment,
            metrics,
            broken,
            tenants,
            files,
        })
    }

    /// All tenants whose files are good, in the order of their ids.
    #[must_use]
    pub fn tenants(&self) -> Vec<TenantSettings> {
        let tenants = self.tenants.all();
        let mut all: Vec<_> = tenants.iter().map(|t| t.settings.clone()).collect();
        all.sort_by(|one, other| one.id.cmp(&other.id));
        all
    }

    /// A tenant's settings.
    ///
    /// # Errors
    /// When there is no such tenant, or its file cannot be used as it is.
    pub fn tenant(&self, id: &TenantId) -> Result<TenantSettings> {
        if let Some((_, why)) = self.broken.iter().find(|(stem, _)| stem == id.as_str()) {
            bail!("the file of tenant {id} cannot be used: {why}");
        }
        let tenant = self.tenants.get(id);
        let tenant = tenant.with_context(|| format!("there is no tenant {id}"))?;
        Ok(tenant.settings.clone())
    }

    /// A tenant's file as it was read, with its name. There is none when the
    /// environment describes the tenant.
    #[must_use]
    pub fn file(&self, id: &str) -> Option<(String, TenantFile)> {
        self.files.as_ref()?.file(id)
    }

    /// A tenant's store.
    ///
    /// # Errors
    /// When its bucket cannot be used.
    pub fn open_tenant(&self, settings: &TenantSettings) -> Result<TenantService> {
        let opened = self.deployment.open_tenant(settings);
        opened.map_err(anyhow::Error::msg)
    }
}
