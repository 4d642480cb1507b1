//! A directory keeps no versions, no claims, and no uploads that were begun:
//! what dead processes left is removed when the store is opened.

use async_trait::async_trait;

use super::{DirectoryStore, REMOVED_AT_ONCE, listing};
use crate::key::StoreKey;
use crate::storage::remains::{Remains, Upload, UploadPage, Version, VersionMark, VersionPage};
use crate::storage::{Entry, Page, StoreError};

#[async_trait]
impl Remains for DirectoryStore {
    async fn list_all(&self, prefix: &str, after: Option<&str>) -> Result<Page, StoreError> {
        let (prefix, after) = (prefix.to_owned(), after.map(str::to_owned));
        self.on_disk(move |store| {
            listing::list(&store.tree, &prefix, after.as_deref(), REMOVED_AT_ONCE)
        })
        .await
    }

    async fn claim(&self, _: &Entry) -> Result<Option<String>, StoreError> {
        Ok(None)
    }

    async fn release(&self, _: &StoreKey, _: &str) -> Result<(), StoreError> {
        Ok(())
    }

    async fn versions(
        &self,
        prefix: &str,
        after: Option<&VersionMark>,
    ) -> Result<VersionPage, StoreError> {
        let after = after.map(|mark| mark.key.as_str());
        Ok(self.list_all(prefix, after).await?.into())
    }

    async fn erase(&self, versions: &[Version]) -> Result<(), StoreError> {
        let keys: Vec<String> = versions.iter().map(|it| it.key.clone()).collect();
        self.on_disk(move |store| {
            let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
            store.remove(&keys).map(drop)
        })
        .await
    }

    async fn uploads(&self, _: &str, _: Option<&Upload>) -> Result<UploadPage, StoreError> {
        Ok(UploadPage::default())
    }

    async fn abort(&self, _: &Upload) -> Result<(), StoreError> {
        Ok(())
    }
}
