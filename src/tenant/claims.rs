//! Which tenant owns which folder of which bucket.
//!
//! No two claimed folders of a bucket contain one another. Looking for a
//! conflict touches the folder's ancestors and its neighbour in the sorted
//! folders, however many tenants there are.

use std::collections::{BTreeMap, HashMap};
use std::iter;

use crate::tenant::{TenantId, TenantSettings};

/// The folders in force: bucket → folder → owner. A folder is empty or ends
/// with a slash, so that one contains another exactly when it begins it.
#[derive(Default)]
pub(super) struct Claims(HashMap<String, BTreeMap<String, TenantId>>);

impl Claims {
    /// Who else owns a folder that contains the tenant's, or lies in it.
    pub(super) fn conflict(&self, tenant: &TenantSettings) -> Option<&TenantId> {
        let owners = self.0.get(&tenant.bucket)?;
        let folder = tenant.layout.folder();
        let around = ancestors(folder).filter_map(|ancestor| owners.get(ancestor));
        let inside = owners
            .range(folder.to_owned()..)
            .take_while(|(other, _)| other.starts_with(folder))
            .map(|(_, owner)| owner);
        // Of all that these yield only one can be the tenant itself, so the
        // search ends at the second at the latest.
        around.chain(inside).find(|owner| **owner != tenant.id)
    }

    /// Takes the tenant's folder for it.
    pub(super) fn insert(&mut self, tenant: &TenantSettings) {
        self.0
            .entry(tenant.bucket.clone())
            .or_default()
            .insert(tenant.layout.folder().to_owned(), tenant.id.clone());
    }

    /// Gives the tenant's folder up.
    pub(super) fn remove(&mut self, tenant: &TenantSettings) {
        if let Some(owners) = self.0.get_mut(&tenant.bucket) {
            owners.remove(tenant.layout.folder());
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
        }
    }

    fn owner<'a>(claims: &'a Claims, tenant: &TenantSettings) -> Option<&'a str> {
        claims.conflict(tenant).map(TenantId::as_str)
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
                .any(|other| other.bucket == new.bucket && other.layout.overlaps(&new.layout));
            prop_assert_eq!(claims.conflict(&new).is_some(), overlapping);
        }
    }
}
