//! The same Kura on either store, for behaviour that must not depend on it.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::app::{BUCKET, FOLDER, TestApp};
use super::s3_server::S3Server;

/// What takes longer than this does not happen.
const PATIENCE: Duration = Duration::from_secs(20);

/// A Kura and the store under it.
pub struct Stand {
    /// The Kura.
    pub app: TestApp,
    /// Its S3 server; none if it keeps objects in a directory.
    pub server: Option<S3Server>,
}

impl Stand {
    /// One on each store.
    pub async fn both() -> [Self; 2] {
        Self::both_with(&[]).await
    }

    /// One on each store, with more settings.
    pub async fn both_with(settings: &[(&'static str, &str)]) -> [Self; 2] {
        [Self::directory(settings).await, Self::s3(settings).await]
    }

    /// On a directory.
    pub async fn directory(settings: &[(&'static str, &str)]) -> Self {
        let mut all = vec![("S3_BUCKET_NAME", BUCKET), ("S3_FOLDER_NAME", FOLDER)];
        all.extend_from_slice(settings);
        let app = TestApp::with(&all, |_| {}).await;
        Self { app, server: None }
    }

    /// On S3.
    pub async fn s3(settings: &[(&'static str, &str)]) -> Self {
        let server = S3Server::start().await.with_bucket(BUCKET);
        let app = TestApp::s3_with(&server, settings, |_| {}).await;
        let server = Some(server);
        Self { app, server }
    }

    /// Which of the two it is, for messages.
    pub fn name(&self) -> &'static str {
        self.server.as_ref().map_or("directory", |_| "s3")
    }

    /// The full keys of everything in the bucket, in order.
    pub fn keys(&self) -> Vec<String> {
        match &self.server {
            Some(server) => server.keys(BUCKET),
            None => files_under(&self.root().join("objects")),
        }
    }

    /// What has been begun and is neither finished nor cleared away.
    pub fn unfinished(&self) -> Vec<String> {
        match &self.server {
            Some(server) => server.open_uploads().into_iter().map(|it| it.0).collect(),
            None => files_under(&self.root().join("tmp"))
                .into_iter()
                .filter(|path| !path.ends_with("lock"))
                .collect(),
        }
    }

    /// The file that an object is, in a directory store.
    pub fn path(&self, full_key: &str) -> PathBuf {
        self.root().join("objects").join(full_key)
    }

    /// Panics unless nothing is stored nor left of any attempt.
    pub fn assert_empty(&self, after: &str) {
        assert_eq!(self.keys(), [""; 0], "{}: {after}", self.name());
        assert_eq!(self.unfinished(), [""; 0], "{}: {after}", self.name());
    }

    /// The same once what goes on behind an answer, or a lost connection, has
    /// been done.
    pub async fn assert_soon_empty(&self, after: &str) {
        let is_empty = || self.keys().is_empty() && self.unfinished().is_empty();
        let deadline = Instant::now() + PATIENCE;
        while !is_empty() && Instant::now() < deadline {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        self.assert_empty(after);
    }

    fn root(&self) -> PathBuf {
        self.app.root.path().join(BUCKET)
    }
}

/// Waits until it is so.
pub async fn eventually(what: &str, is_so: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < deadline, "never: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn files_under(root: &Path) -> Vec<String> {
    let mut files = Vec::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let inside = path.strip_prefix(root).unwrap();
                files.push(inside.to_str().unwrap().to_owned());
            }
        }
    }
    files.sort();
    files
}
