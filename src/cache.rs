//! Thumbnails kept close at hand, within bounds of bytes: in [`memory`] and on
//! [`disk`]. Both forget what was not asked for longest. What is on disk lies in a
//! [`place`] of its own.
//!
//! The tenant is a part of every key: what one tenant has put into a cache no
//! other can be given.

pub mod disk;
pub mod memory;
pub mod place;

use crate::key::{Original, ThumbKey};
use crate::tenant::TenantId;

/// A thumbnail of a tenant.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct CacheKey {
    /// Whose it is.
    pub tenant: TenantId,
    /// Which it is.
    pub thumbnail: ThumbKey,
}

impl CacheKey {
    /// True for the tenant's thumbnails of this original, or of any.
    #[must_use]
    pub fn is_among(&self, tenant: &TenantId, original: Option<Original>) -> bool {
        let same = |original| original == self.thumbnail.original();
        self.tenant == *tenant && original.is_none_or(same)
    }

    /// The keys of a tenant's thumbnails of one original.
    pub fn all_of(tenant: &TenantId, original: Original) -> impl Iterator<Item = Self> {
        original.thumbnails().map(|thumbnail| Self {
            tenant: tenant.clone(),
            thumbnail,
        })
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A key of the tenant, with an original that differs by `number`.
    pub(crate) fn key(tenant: &str, number: u64, side: u32) -> CacheKey {
        let original = Original::parse(&format!("{number:032x}_{number}")).unwrap();
        CacheKey {
            tenant: tenant.parse().unwrap(),
            thumbnail: ThumbKey::new(original, side).unwrap(),
        }
    }
}
