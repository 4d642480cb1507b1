//! Thumbnails taken out of all their places, or out of those close at hand.

use super::flights::Clearing;
use super::{ThumbnailError, Thumbnails};
use crate::cache::Tenancy;
use crate::key::Original;
use crate::storage::scoped::{TenantStore, TenantStoreError};

impl Thumbnails {
    /// Removes all thumbnails of an original from all places of the tenant.
    ///
    /// # Errors
    /// The store's; what is kept close at hand has then been removed all the
    /// same.
    pub async fn clear_original(
        &self,
        tenant: &Tenancy,
        store: &TenantStore,
        original: Original,
    ) -> Result<(), TenantStoreError> {
        let _clearing = self.forget(tenant, Some(original)).await;
        store.delete_thumbnails_of(&original).await
    }

    /// Removes all of the tenant's thumbnails.
    ///
    /// # Errors
    /// As [`Thumbnails::clear_original`]; so, too, with
    /// [`ThumbnailError::Shared`].
    pub async fn clear(&self, tenant: &Tenancy, store: &TenantStore) -> Result<(), ThumbnailError> {
        let _clearing = self.forget(tenant, None).await;
        if store.delete_thumbnails().await? {
            Ok(())
        } else {
            Err(ThumbnailError::Shared)
        }
    }

    /// Forgets all that is kept close at hand of a tenant. What lies in its
    /// folder stays.
    pub async fn forget_tenant(&self, tenant: &Tenancy) {
        drop(self.forget(tenant, None).await);
        self.recent.remove(tenant);
    }

    /// Forgets what is kept close at hand, and keeps nothing until the outcome
    /// is dropped.
    async fn forget(&self, tenant: &Tenancy, original: Option<Original>) -> Clearing<'_> {
        let clearing = self.flights.clear(tenant, original).await;
        self.failures.remove(tenant, original);
        self.places.memory.remove(tenant, original);
        if let Some(disk) = &self.places.disk {
            disk.remove(tenant, original).await;
        }
        clearing
    }
}
