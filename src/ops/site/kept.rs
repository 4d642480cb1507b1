//! A source that keeps what was read through it: what the server knows of a
//! tenant is not all that stands in its file.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;

use crate::tenant::source::{Listed, SourceError, TenantFile, TenantSource, WriteError};

/// Another source, and the files that were read from it, by their names.
#[derive(Debug)]
pub(super) struct Kept {
    source: Arc<dyn TenantSource>,
    files: Mutex<HashMap<String, TenantFile>>,
}

impl Kept {
    pub(super) fn new(source: Arc<dyn TenantSource>) -> Self {
        let files = Mutex::default();
        Self { source, files }
    }

    /// The file of this stem, with its name.
    pub(super) fn file(&self, stem: &str) -> Option<(String, TenantFile)> {
        let files = self.files();
        let mut names = [format!("{stem}.yml"), format!("{stem}.yaml")].into_iter();
        names.find_map(|name| files.get(&name).cloned().map(|file| (name, file)))
    }

    fn files(&self) -> MutexGuard<'_, HashMap<String, TenantFile>> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl TenantSource for Kept {
    async fn list(&self) -> Result<Vec<Listed>, SourceError> {
        self.source.list().await
    }

    async fn read(&self, file_name: &str) -> Result<TenantFile, SourceError> {
        let file = self.source.read(file_name).await?;
        self.files().insert(file_name.to_owned(), file.clone());
        Ok(file)
    }

    async fn write(
        &self,
        file_name: &str,
        text: &str,
        read: Option<&TenantFile>,
    ) -> Result<String, WriteError> {
        self.source.write(file_name, text, read).await
    }

    async fn remove(&self, file_name: &str, read: &TenantFile) -> Result<(), WriteError> {
        self.source.remove(file_name, read).await
    }
}
