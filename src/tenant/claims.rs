//! Which tenant owns which folder of which bucket.
//!
//! No two owned folders of a bucket contain one another, and no tenant keeps
//! thumbnails or imports where another owns the folder. Looking for a conflict
//! touches a folder's ancestors and its neighbours in the sorted folders,
//! however many tenants there are.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::iter;

use crate::tenant::{TenantId, TenantSettings};

/// The folders in force, by bucket. A folder is empty or ends with a slash, so
/// that one contains another exactly when it begins it.
#[derive(Default)]
pub(super) struct Claims(HashMap<String, Folders>);

/// The folders of one bucket.
#[derive(Default)]
struct Folders {
    owned: Users,
    /// Outside of their users' own folders, where `redmica_s3` keeps the
    /// thumbnails and imports of all tenants together.
    shared: Users,
}

/// Folder → who uses it.
type Users = BTreeMap<String, BTreeSet<TenantId>>;

impl Claims {
    /// Who else owns a folder that contains one of the tenant's, or lies in
    /// it; or shares one that contains the tenant's own, or lies in it.
    pub(super) fn conflict(&self, tenant: &TenantSettings) -> Option<&TenantId> {
        let Folders { owned, shared } = self.0.get(&tenant.bucket)?;
        let folder = tenant.layout.folder();
        let mut others = overlapping(owned, folder)
            .chain(overlapping(shared, folder))
            .chain(
                tenant
                    .layout
                    .shared_folders()
                    .flat_map(|folder| overlapping(owned, folder)),
            );
        others.find(|other| **other != tenant.id)
    }

    /// Takes the tenant's folders for it.
    pub(super) fn insert(&mut self, tenant: &TenantSettings) {
        let folders = self.0.entry(tenant.bucket.clone()).or_default();
        let insert = |users: &mut Users, folder: &str| {
            users
                .entry(folder.to_owned())
                .or_default()
                .insert(tenant.id.clone());
        };
        insert(&mut folders.owned, tenant.layout.folder());
        for folder in tenant.layout.shared_folders() {
            insert(&mut folders.shared, folder);
        }
    }

    /// Gives the tenant's folders up.
    pub(super) fn remove(&mut self, tenant: &TenantSettings) {
        let Some(folders) = self.0.get_mut(&tenant.bucket) else {
            return;
        };
        let remove = |users: &mut Users, folder: &str| {
            if let Some(tenants) = users.get_mut(folder) {
                tenants.remove(&tenant.id);
                if tenants.is_empty() {
                    users.remove(folder);
                }
            }
        };
        remove(&mut folders.owned, tenant.layout.folder());
        for folder in tenant.layout.shared_folders() {
            remove(&mut folders.shared, folder);
        }
    }
}

impl<'a> FromIterator<&'a TenantSettings> for Claims {
    fn from_iter<I: IntoIterator<Item = &'a TenantSettings>>(tenants: I) -> Self {
        let mut claims = Self::default();
        for tenant in tenants {
            claims.insert(tenant);
        }
        claims
    }
}

/// Who uses a folder that contains this one, or lies in it.
fn overlapping<'a>(users: &'a Users, folder: &str) -> impl Iterator<Item = &'a TenantId> {
    let around: Vec<_> = ancestors(folder)
        .filter_map(|ancestor| users.get(ancestor))
        .collect();
    let folder = folder.to_owned();
    let inside = users
        .range(folder.clone()..)
        .take_while(move |(other, _)| other.starts_with(&folder))
        .map(|(_, tenants)| tenants);
    around.into_iter().chain(inside).flatten()
}

/// The folders that contain this one, the whole bucket first, itself last.
fn ancestors(folder: &str) -> impl Iterator<Item = &str> {
    let ends = folder.match_indices('/').map(|(slash, _)| slash + 1);
    iter::once(0).chain(ends).map(|end| &folder[..end])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::key::Layout;
    use crate::tenant::State;

    fn tenant(id: &str, bucket: &str, folder: &str) -> TenantSettings {
        TenantSettings {
            id: id.parse().unwrap(),
            bucket: bucket.to_owned(),
            layout: Layout::new(folder, None, None).unwrap(),
            state: State::Active,
            role: crate::tenant::role::RoleChoice::default(),
            quota_bytes: None,
        }
    }

    fn contain(one: &str, other: &str) -> bool {
        one.starts_with(other) || other.starts_with(one)
    }

    fn owner<'a>(claims: &'a Claims, tenant: &TenantSettings) -> Option<&'a str> {
        claims.conflict(tenant).map(TenantId::as_str)
    }

    #[test]
    fn thumbnails_cannot_be_kept_where_another_tenant_owns_the_folder() {
        let with_thumbs = |id, folder, thumbs| TenantSettings {
            layout: Layout::new(folder, Some(thumbs), None).unwrap(),
            ..tenant(id, "b", folder)
        };
        let claims: Claims = [&with_thumbs("owner", "x", "tmp")].into_iter().collect();
        let conflict = |tenant| owner(&claims, &tenant);
        assert_eq!(conflict(with_thumbs("new", "y", "x")), Some("owner"));
        assert_eq!(conflict(with_thumbs("new", "y", "x/tmp")), Some("owner"));
        assert_eq!(conflict(tenant("new", "b", "tmp")), Some("owner"));
        assert_eq!(
            conflict(with_thumbs("new", "y", "tmp")),
            None,
            "shared by consent"
        );
    }

    #[test]
    fn equal_containing_and_contained_folders_conflict() {
        let claims: Claims = [&tenant("owner", "b", "x/y")].into_iter().collect();
        for folder in ["", "x", "x/y", "x/y/", "x/y/z", "x/y/z/1"] {
            let conflict = owner(&claims, &tenant("new", "b", folder));
            assert_eq!(conflict, Some("owner"), "{folder}");
        }
        for folder in ["x/yy", "x/z", "xx", "y", "x/y.old", "x/Y"] {
            assert_eq!(
                owner(&claims, &tenant("new", "b", folder)),
                None,
                "{folder}"
            );
        }
        assert_eq!(owner(&claims, &tenant("new", "other", "x/y")), None);
    }

    #[test]
    fn tenant_does_not_conflict_with_itself_but_its_new_folder_may_with_others() {
        let (one, other) = (tenant("one", "b", "x/1"), tenant("other", "b", "x/2"));
        let mut claims: Claims = [&one, &other].into_iter().collect();
        assert_eq!(owner(&claims, &one), None);
        assert_eq!(owner(&claims, &tenant("one", "b", "x/1/deeper")), None);
        assert_eq!(owner(&claims, &tenant("one", "b", "x")), Some("other"));
        claims.remove(&other);
        assert_eq!(owner(&claims, &tenant("one", "b", "x")), None);
    }

    proptest! {
        #[test]
        fn conflicts_are_those_that_comparing_all_pairs_finds(
            claimed in prop::collection::vec(("[bc]", "[xy]{1,2}(/[xy]{1,2}){0,2}"), 0..12),
            (bucket, folder) in ("[bc]", "([xy]{1,2}(/[xy]{1,2}){0,2})?"),
        ) {
            let mut held: Vec<TenantSettings> = Vec::new();
            let mut claims = Claims::default();
            for (index, (bucket, folder)) in claimed.iter().enumerate() {
                let next = tenant(&index.to_string(), bucket, folder);
                if claims.conflict(&next).is_none() {
                    claims.insert(&next);
                    held.push(next);
                }
            }
            let new = tenant("new", &bucket, &folder);
            let overlapping = held
                .iter()
                .any(|other| other.bucket == new.bucket && contain(other.layout.folder(), new.layout.folder()));
            prop_assert_eq!(claims.conflict(&new).is_some(), overlapping);
        }
    }
}
