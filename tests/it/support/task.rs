//! What outlives a Kura: a store, a directory for its cache, tenant files.

use std::path::Path;

use bytes::Bytes;
use tempfile::TempDir;

use super::app::{BUCKET, FOLDER, TestApp};
use super::s3_server::S3Server;

/// A place for a Kura on S3 with a cache directory, and for one that is
/// started after it.
pub struct Task {
    pub server: S3Server,
    pub disk: TempDir,
}

impl Task {
    /// One in which nothing has run yet.
    pub async fn new() -> Self {
        Self {
            server: S3Server::start().await.with_bucket(BUCKET),
            disk: tempfile::tempdir().unwrap(),
        }
    }

    /// Starts a Kura.
    pub async fn start(&self) -> TestApp {
        self.start_with(&[]).await
    }

    /// Starts a Kura with more settings.
    pub async fn start_with(&self, settings: &[(&'static str, &str)]) -> TestApp {
        let disk = self.disk.path().to_str().unwrap();
        let mut all = vec![("KURA_CACHE_DIR", disk), ("KURA_S3_MAX_ATTEMPTS", "1")];
        all.extend_from_slice(settings);
        TestApp::s3_with(&self.server, &all, |_| {}).await
    }

    /// Puts a file into the tenant's folder, past any Kura.
    pub fn hold(&self, key: &str, body: &Bytes) {
        let key = format!("{FOLDER}/{key}");
        self.server.put_object(BUCKET, &key, body.clone(), &[]);
    }
}

/// A directory of tenant files.
pub struct TenantFiles(TempDir);

impl TenantFiles {
    /// A file for each id.
    pub fn new<'a>(files: impl IntoIterator<Item = (&'a str, String)>) -> Self {
        let tenants = Self(tempfile::tempdir().unwrap());
        for (id, yaml) in files {
            tenants.write(id, &yaml);
        }
        tenants
    }

    /// Tenants whose folders have the names of their ids.
    pub fn with_folders<'a>(ids: impl IntoIterator<Item = &'a str>) -> Self {
        let yaml = |id| format!("s3: {{bucket: {BUCKET}, folder: {id}}}\n");
        Self::new(ids.into_iter().map(|id| (id, yaml(id))))
    }

    /// Writes a tenant's file, or writes it anew.
    pub fn write(&self, id: &str, yaml: &str) {
        std::fs::write(self.0.path().join(format!("{id}.yml")), yaml).unwrap();
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        self.0.path()
    }

    /// What `KURA_TENANTS` calls it.
    pub fn source(&self) -> String {
        format!("dir:{}", self.0.path().display())
    }
}
