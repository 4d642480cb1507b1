//! Thumbnails kept close at hand, within bounds of bytes: in [`memory`] and on
//! [`disk`]. Both forget what was not asked for longest. What is on disk lies in a
//! [`place`] of its own.
//!
//! The [`Tenancy`] is a part of every key: what one tenant has put into a cache
//! no other can be given, nor the same with another folder.

pub mod disk;
pub mod memory;
pub mod place;

use std::fmt;
use std::sync::Arc;

use crate::key::{Original, ThumbKey};
use crate::tenant::{TenantId, TenantSettings};

/// A tenant with its folder. When it gets another one, what was cached before
/// is not its own any more: the id may have been given to another customer.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Tenancy {
    /// Who it is.
    pub id: TenantId,
    /// The bucket, a slash, and the folder.
    home: Arc<str>,
}

impl Tenancy {
    /// The tenancy of a tenant with these settings.
    #[must_use]
    pub fn of(settings: &TenantSettings) -> Self {
        let home = format!("{}/{}", settings.bucket, settings.layout.folder());
        Self {
            id: settings.id.clone(),
            home: home.into(),
        }
    }
}

impl fmt::Display for Tenancy {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Neither an id nor the name of a bucket has a slash.
        write!(out, "{}/{}", self.id, self.home)
    }
}

/// A thumbnail of a tenant.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct CacheKey {
    /// Whose it is.
    pub tenant: Tenancy,
    /// Which it is.
    pub thumbnail: ThumbKey,
}

impl CacheKey {
    /// True for the tenant's thumbnails of this original, or of any.
    #[must_use]
    pub fn is_among(&self, tenant: &Tenancy, original: Option<Original>) -> bool {
        let same = |original| original == self.thumbnail.original();
        self.tenant == *tenant && original.is_none_or(same)
    }

    /// The keys of a tenant's thumbnails of one original.
    pub fn all_of(tenant: &Tenancy, original: Original) -> impl Iterator<Item = Self> {
        original.thumbnails().map(|thumbnail| Self {
            tenant: tenant.clone(),
            thumbnail,
        })
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::key::Layout;
    use crate::tenant::State;

    /// A tenant in a bucket of its own.
    pub(crate) fn tenancy(id: &str) -> Tenancy {
        Tenancy {
            id: id.parse().unwrap(),
            home: "bucket/".into(),
        }
    }

    /// A key of the tenant, with an original that differs by `number`.
    pub(crate) fn key(tenant: &str, number: u64, side: u32) -> CacheKey {
        let original = Original::parse(&format!("{number:032x}_{number}")).unwrap();
        CacheKey {
            tenant: tenancy(tenant),
            thumbnail: ThumbKey::new(original, side).unwrap(),
        }
    }

    #[test]
    fn tenancy_is_another_when_the_id_the_bucket_or_the_folder_is() {
        let of = |id: &str, bucket: &str, folder| {
            Tenancy::of(&TenantSettings {
                id: id.parse().unwrap(),
                bucket: bucket.to_owned(),
                layout: Layout::new(folder, None, None).unwrap(),
                state: State::Active,
                role: crate::tenant::role::RoleChoice::default(),
                quota_bytes: None,
            })
        };
        let all = [
            of("a", "b", "c"),
            of("a", "b", "d"),
            of("a", "c", "c"),
            of("b", "b", "c"),
            of("a", "b", ""),
        ];
        let names = all.iter().map(Tenancy::to_string);
        assert_eq!(names.collect::<HashSet<_>>().len(), all.len());
        assert_eq!(all.iter().collect::<HashSet<_>>().len(), all.len());
        assert_eq!(all[0], of("a", "b", "c"));
    }
}
