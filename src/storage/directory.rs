//! temp
use super::*;
use std::path::Path;
/// t
#[derive(Debug)]
pub struct DirectoryStore;
impl DirectoryStore {
    /// t
    /// # Errors
    /// t
    pub fn open(_: &Path) -> std::io::Result<Self> {
        Err(std::io::ErrorKind::Unsupported.into())
    }
}
#[async_trait]
impl BlobStore for DirectoryStore {
    async fn put(&self, _: PutRequest, _: Payload) -> Result<Stored, StoreError> {
        Err(StoreError::NotFound)
    }
    async fn get(&self, _: &StoreKey, _: GetOptions) -> Result<Object, StoreError> {
        Err(StoreError::NotFound)
    }
    async fn head(&self, _: &StoreKey) -> Result<ObjectInfo, StoreError> {
        Err(StoreError::NotFound)
    }
    async fn copy(&self, _: &StoreKey, _: &StoreKey) -> Result<(), StoreError> {
        Err(StoreError::NotFound)
    }
    async fn delete(&self, _: &StoreKey) -> Result<(), StoreError> {
        Err(StoreError::NotFound)
    }
    async fn delete_prefix(&self, _: &str) -> Result<u64, StoreError> {
        Err(StoreError::NotFound)
    }
    async fn list(&self, _: &str, _: Option<&str>, _: usize) -> Result<Page, StoreError> {
        Err(StoreError::NotFound)
    }
    async fn ping(&self) -> Result<(), StoreError> {
        Err(StoreError::NotFound)
    }
}
