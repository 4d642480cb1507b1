//! The settings file of the tenant that is erased: servers must have followed
//! it, and whoever changes it meanwhile may want the tenant back.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::config::TenantsConfig;
use crate::ops::site::Site;
use crate::tenant::TenantId;
use crate::tenant::source::{SourceError, TenantFile, TenantSource};

/// The file as it was when the tenant was found to be suspended.
pub(super) struct OwnFile {
    source: Arc<dyn TenantSource>,
    name: String,
    read: TenantFile,
    /// How often servers look at it.
    refresh: Duration,
}

impl OwnFile {
    /// None when the environment describes the tenant.
    pub(super) fn of(site: &Site, id: &TenantId) -> Result<Option<Self>> {
        let refresh = match &site.deployment.config().tenants {
            TenantsConfig::Directory { files, .. } | TenantsConfig::S3 { files, .. } => {
                files.refresh
            }
            TenantsConfig::Single(_) => return Ok(None),
        };
        let found = site.deployment.tenant_source()?.zip(site.file(id.as_str()));
        Ok(found.map(|(source, (name, read))| Self {
            source,
            name,
            read,
            refresh,
        }))
    }

    /// Waits until servers have looked at the file, and uploads that had begun
    /// before that have had as long again, twice.
    pub(super) async fn settle(&self) {
        let changed = self.read.changed;
        let age = changed.and_then(|changed| changed.elapsed().ok());
        let left = (self.refresh * 3).saturating_sub(age.unwrap_or_default());
        if !left.is_zero() {
            eprintln!(
                "kura: waiting {} s: servers may not have seen yet that the tenant is suspended",
                left.as_secs() + 1
            );
            tokio::time::sleep(left).await;
        }
    }

    /// Fails when the file is not the one any more that was read.
    pub(super) async fn check(&self) -> Result<()> {
        match self.source.read(&self.name).await {
            Ok(now) if now == self.read => Ok(()),
            Err(error @ SourceError::Unavailable(_)) => Err(error.into()),
            _ => bail!(
                "{} has been changed meanwhile, and nothing more is erased: look at it, and \
                 repeat the command if the tenant is still to go",
                self.name
            ),
        }
    }

    /// Removes it if it is as it was read.
    pub(super) async fn remove(&self) -> Result<()> {
        let removed = self.source.remove(&self.name, &self.read).await;
        removed.with_context(|| {
            format!(
                "the objects are erased, but {} was not removed: the same command tries it again",
                self.name
            )
        })
    }
}
