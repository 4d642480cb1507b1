//! The deployment that the settings describe, opened for a command, and its
//! tenants as their files are at this moment.

mod kept;

use std::os::unix::fs::MetadataExt as _;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use self::kept::Kept;
use crate::config::{StoreConfig, Values};
use crate::deployment::{Deployment, Probe};
use crate::http::TenantService;
use crate::metrics::Metrics;
use crate::storage::holdings::Holdings;
use crate::tenant::registry::Summary;
use crate::tenant::source::{TenantFile, TenantSource};
use crate::tenant::{Registry, TenantId, TenantSettings};

/// How long a transfer waits for others to give memory back; their bandwidth
/// may be limited.
const PATIENCE: Duration = Duration::from_hours(24);

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
        let mut config = values.deployment()?;
        // There is nobody to share the memory with, and nobody who waits for
        // an answer.
        config.limits.tenant_memory_bytes = config.limits.memory_bytes;
        config.limits.patience = PATIENCE;
        let deployment = Deployment::open(config, Probe::WhenNeeded, &metrics).await?;
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
    /// When its bucket cannot be used, or belongs to another user.
    pub fn open_tenant(&self, settings: &TenantSettings) -> Result<TenantService> {
        self.is_ours(settings)?;
        let opened = self.deployment.open_tenant(settings);
        opened.map_err(anyhow::Error::msg)
    }

    /// All that a tenant's store holds of it.
    ///
    /// # Errors
    /// As [`Site::open_tenant`].
    pub fn holdings(&self, settings: &TenantSettings) -> Result<Holdings> {
        self.is_ours(settings)?;
        let holdings = self.deployment.holdings(settings);
        holdings.map_err(anyhow::Error::msg)
    }

    /// Fails when a directory store is another user's: in folders that root
    /// makes there, the server could not write. The server has made `objects`.
    fn is_ours(&self, settings: &TenantSettings) -> Result<()> {
        let StoreConfig::Directory(root) = &self.deployment.config().store else {
            return Ok(());
        };
        let bucket = root.join(&settings.bucket);
        let folders = [&bucket.join("objects"), &bucket, root];
        let found = folders
            .into_iter()
            .find_map(|it| Some((it, it.metadata().ok()?)));
        let own = rustix::process::geteuid().as_raw();
        if let Some((folder, about)) = found
            && about.uid() != own
        {
            let (folder, user) = (folder.display(), about.uid());
            bail!(
                "{folder} belongs to user {user}, and a server of that user could not change what \
                 user {own} writes there: run this as `sudo -u '#{user}' kura …`"
            );
        }
        Ok(())
    }
}
