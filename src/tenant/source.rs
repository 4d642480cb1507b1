//! Where the tenants' settings files lie: the [`TenantSource`] trait, and the
//! directory.
//!
//! A source knows file names and texts, not what they mean. It lists cheaply,
//! with a version for each file, so that only changed ones need be read.

use std::fs::{DirEntry, File, Metadata};
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::{fmt, fs};

use async_trait::async_trait;
use thiserror::Error;

use crate::tenant::settings::MAX_FILE_BYTES;

/// A place that holds one settings file per tenant.
#[async_trait]
pub trait TenantSource: fmt::Debug + Send + Sync + 'static {
    /// Lists the settings files, in any order.
    async fn list(&self) -> Result<Vec<Listed>, SourceError>;

    /// Reads a file by the name under which it was listed. No more than
    /// [`MAX_FILE_BYTES`] are read.
    async fn read(&self, file_name: &str) -> Result<String, SourceError>;
}

/// A settings file in a listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// The stem of its name: the tenant's id, unless it is not fit for one.
    pub id: String,
    /// Its name.
    pub file_name: String,
    /// Differs whenever its bytes do; otherwise without meaning.
    pub version: String,
}

impl Listed {
    /// `None` when the name is not a settings file's: those end with `.yml` or
    /// `.yaml` and are not hidden.
    #[must_use]
    pub fn new(file_name: &str, version: String) -> Option<Self> {
        let id = file_name
            .strip_suffix(".yml")
            .or_else(|| file_name.strip_suffix(".yaml"))
            .filter(|id| !id.is_empty() && !id.starts_with('.'))?;
        Some(Self {
            id: id.to_owned(),
            file_name: file_name.to_owned(),
            version,
        })
    }
}

/// Why a source could not list or read.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum SourceError {
    /// The file has gone since it was listed.
    #[error("the file is gone")]
    NotFound,
    /// The file is over [`MAX_FILE_BYTES`].
    #[error("the file has more than {MAX_FILE_BYTES} bytes")]
    TooLarge,
    /// The file is not UTF-8.
    #[error("the file is not UTF-8 text")]
    NotText,
    /// The directory or bucket could not be reached, or refused us.
    #[error("the tenant files cannot be read: {0}")]
    Unavailable(String),
}

impl From<io::Error> for SourceError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::NotFound => Self::NotFound,
            _ => Self::Unavailable(error.to_string()),
        }
    }
}

/// Settings files in one directory of the local file system.
///
/// Symbolic links are followed: Kubernetes shows the files of a `ConfigMap` so.
#[derive(Clone, Debug)]
pub struct DirectorySource {
    directory: PathBuf,
}

impl DirectorySource {
    /// The files directly inside `directory`; it is first looked at when it is
    /// listed.
    #[must_use]
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        Self {
            directory: directory.into(),
        }
    }
}

#[async_trait]
impl TenantSource for DirectorySource {
    async fn list(&self) -> Result<Vec<Listed>, SourceError> {
        let directory = self.directory.clone();
        blocking(move || list_directory(&directory)).await
    }

    async fn read(&self, file_name: &str) -> Result<String, SourceError> {
        let path = self.directory.join(file_name);
        blocking(move || read_text(&path)).await
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, SourceError> + Send + 'static,
) -> Result<T, SourceError> {
    tokio::task::spawn_blocking(work)
        .await
        .unwrap_or_else(|error| Err(SourceError::Unavailable(error.to_string())))
}

fn list_directory(directory: &Path) -> Result<Vec<Listed>, SourceError> {
    // A missing directory is not an empty one: the volume may not be mounted.
    let unavailable = |error: io::Error| SourceError::Unavailable(error.to_string());
    let mut files = Vec::new();
    for entry in fs::read_dir(directory).map_err(unavailable)? {
        files.extend(list_entry(&entry.map_err(unavailable)?));
    }
    Ok(files)
}

fn list_entry(entry: &DirEntry) -> Option<Listed> {
    // A name that is not UTF-8 becomes one that no tenant can have, and is
    // reported as such.
    let name = entry.file_name().to_string_lossy().into_owned();
    let version = match fs::metadata(entry.path()) {
        Ok(metadata) if metadata.is_file() => version_of(&metadata),
        Ok(_) => return None,
        Err(_) if is_gone(entry) => return None,
        // Only this file is broken: reading it will tell how.
        Err(error) => error.to_string(),
    };
    Listed::new(&name, version)
}

/// True when the entry was removed while the directory was being listed. A
/// link to nothing is still there.
fn is_gone(entry: &DirEntry) -> bool {
    fs::symlink_metadata(entry.path()).is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
}

/// The inode tells a file apart from the one that it replaced by renaming.
fn version_of(metadata: &Metadata) -> String {
    format!(
        "{}.{:09}-{}-{}",
        metadata.mtime(),
        metadata.mtime_nsec(),
        metadata.len(),
        metadata.ino()
    )
}

fn read_text(path: &Path) -> Result<String, SourceError> {
    let mut bytes = Vec::new();
    let limit = MAX_FILE_BYTES as u64 + 1;
    File::open(path)?.take(limit).read_to_end(&mut bytes)?;
    if bytes.len() > MAX_FILE_BYTES {
        return Err(SourceError::TooLarge);
    }
    String::from_utf8(bytes).map_err(|_| SourceError::NotText)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    async fn listed_ids(directory: &Path) -> Vec<String> {
        let listed = DirectorySource::new(directory).list().await.unwrap();
        let mut names: Vec<_> = listed.into_iter().map(|file| file.file_name).collect();
        names.sort();
        names
    }

    async fn version(directory: &Path) -> String {
        let listed = DirectorySource::new(directory).list().await.unwrap();
        listed[0].version.clone()
    }

    #[test]
    fn only_visible_yaml_files_are_tenants() {
        let id = |name| Listed::new(name, String::new()).map(|file| file.id);
        assert_eq!(id("a.yml"), Some("a".to_owned()));
        assert_eq!(id("site.example.yaml"), Some("site.example".to_owned()));
        for name in [
            ".yml",
            ".a.yml",
            "a.yml~",
            "a.YML",
            "a.yml.swp",
            "README",
            "..yaml",
            "",
        ] {
            assert_eq!(id(name), None, "{name}");
        }
    }

    #[tokio::test]
    async fn directory_lists_files_and_links_but_neither_folders_nor_what_is_in_them() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("folder.yml")).unwrap();
        fs::write(root.path().join("folder.yml/inner.yml"), "").unwrap();
        for name in ["a.yml", "b.yaml", "README.md", ".c.yml"] {
            fs::write(root.path().join(name), "").unwrap();
        }
        symlink(root.path().join("README.md"), root.path().join("d.yml")).unwrap();
        assert_eq!(listed_ids(root.path()).await, ["a.yml", "b.yaml", "d.yml"]);
    }

    #[tokio::test]
    async fn link_to_nothing_is_listed_and_cannot_be_read() {
        let root = tempfile::tempdir().unwrap();
        symlink("nowhere", root.path().join("a.yml")).unwrap();
        assert_eq!(listed_ids(root.path()).await, ["a.yml"]);
        let read = DirectorySource::new(root.path()).read("a.yml").await;
        assert_eq!(read, Err(SourceError::NotFound));
    }

    #[tokio::test]
    async fn version_changes_with_the_file_and_not_by_itself() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("a.yml");
        fs::write(&path, "one").unwrap();
        let first = version(root.path()).await;
        assert_eq!(version(root.path()).await, first);
        fs::write(&path, "three").unwrap();
        let second = version(root.path()).await;
        assert_ne!(second, first);

        // As long as before and as old, but another file.
        let modified = fs::metadata(&path).unwrap().modified().unwrap();
        let other = root.path().join("other");
        fs::write(&other, "seven").unwrap();
        let file = File::options().write(true).open(&other).unwrap();
        file.set_modified(modified).unwrap();
        fs::rename(&other, &path).unwrap();
        assert_ne!(version(root.path()).await, second);
    }

    #[tokio::test]
    async fn text_is_read_as_it_is_and_anything_else_refused() {
        let root = tempfile::tempdir().unwrap();
        let source = DirectorySource::new(root.path());
        for (bytes, expected) in [
            ("s3: é".as_bytes().to_vec(), Ok("s3: é".to_owned())),
            (b"s3: \xff".to_vec(), Err(SourceError::NotText)),
            (
                "s3".encode_utf16()
                    .flat_map(u16::to_be_bytes)
                    .chain([0xff])
                    .collect(),
                Err(SourceError::NotText),
            ),
            (vec![b'x'; MAX_FILE_BYTES + 1], Err(SourceError::TooLarge)),
            (vec![b'x'; MAX_FILE_BYTES], Ok("x".repeat(MAX_FILE_BYTES))),
        ] {
            fs::write(root.path().join("a.yml"), bytes).unwrap();
            assert_eq!(source.read("a.yml").await, expected);
        }
        assert_eq!(source.read("b.yml").await, Err(SourceError::NotFound));
    }

    #[tokio::test]
    async fn missing_directory_is_unavailable_rather_than_empty() {
        let root = tempfile::tempdir().unwrap();
        let listed = DirectorySource::new(root.path().join("nowhere"))
            .list()
            .await;
        assert!(matches!(listed, Err(SourceError::Unavailable(_))));
    }
}
