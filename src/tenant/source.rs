//! Where the tenants' settings files lie: the [`TenantSource`] trait.
//!
//! A source knows file names and texts, not what they mean. It lists cheaply,
//! with a version for each file, so that only changed ones need be read. What
//! is written takes the place only of what was read: nobody's change is lost.

mod directory;

pub use self::directory::DirectorySource;

use std::time::SystemTime;
use std::{fmt, io};

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
    async fn read(&self, file_name: &str) -> Result<TenantFile, SourceError>;

    /// Writes a file: a new one, or in place of what was read of it. Returns
    /// its new version.
    async fn write(
        &self,
        file_name: &str,
        text: &str,
        read: Option<&TenantFile>,
    ) -> Result<String, WriteError>;

    /// Removes a file that is as it was read.
    async fn remove(&self, file_name: &str, read: &TenantFile) -> Result<(), WriteError>;
}

/// A settings file as it was read.
#[derive(Clone, PartialEq, Eq)]
pub struct TenantFile {
    /// What stands in it.
    pub text: String,
    /// As in a listing, of just this text.
    pub version: String,
    /// When it came to its place, by the clock there. `None` when that is not
    /// told.
    pub changed: Option<SystemTime>,
}

impl fmt::Debug for TenantFile {
    /// The text has passwords in it.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "TenantFile({})", self.version)
    }
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

/// Why a file was not written or removed. It is then as it was, but for
/// [`WriteError::Unknown`].
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum WriteError {
    /// Another has changed or removed the file since it was read.
    #[error("the file has been changed meanwhile: look at it again")]
    Changed,
    /// A file that was to be new is there already.
    #[error("there is such a file already")]
    Exists,
    /// The file lies elsewhere, and a link to it would be replaced.
    #[error(
        "the file is a symbolic link, as in a Kubernetes ConfigMap: change what it is made from"
    )]
    Link,
    /// The file would have another owner, and the server might not be able to
    /// read it any more.
    #[error("the file's owner cannot be kept ({0}): run this as that user, or as root")]
    Owner(String),
    /// The directory or bucket could not be reached, or refused us.
    #[error("the tenant file cannot be written: {0}")]
    Unavailable(String),
    /// There was no answer: the file may have been written or not.
    #[error("it is not known whether the tenant file was written, look at it again: {0}")]
    Unknown(String),
}

impl From<io::Error> for WriteError {
    fn from(error: io::Error) -> Self {
        Self::Unavailable(error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
}
