//! One tenant's settings file, in the operator's own YAML.
//!
//! The same file serves the operator's other programs, so whatever Kura does
//! not know is skipped, `db` and its password above all. An error names the
//! key and the place, never a value.

mod document;
pub mod edit;
mod section;
mod yaml;

pub use self::document::{Node, Value, document};
pub use self::section::{SectionText, section};

use std::fmt;
use std::num::ParseIntError;
use std::str::FromStr;

use thiserror::Error;

use crate::key::{KeyError, Layout};
use crate::tenant::role::{InvalidExternalId, InvalidRoleArn, InvalidRoleSession, RoleChoice};
use crate::tenant::{State, TenantId, TenantSettings};

/// The largest settings file that is read, in bytes. Real ones have hundreds.
pub const MAX_FILE_BYTES: usize = 64 * 1024;
/// The longest bucket name that S3 ever allowed.
const MAX_BUCKET_BYTES: usize = 255;

const BUCKET: &str = "s3.bucket";
const FOLDER: &str = "s3.folder";
const STATE: &str = "kura.state";
const THUMB_FOLDER: &str = "kura.thumb_folder";
const IMPORT_FOLDER: &str = "kura.import_folder";
const ROLE_ARN: &str = "kura.role_arn";
const ROLE_EXTERNAL_ID: &str = "kura.role_external_id";
const ROLE_SESSION: &str = "kura.role_session";
const QUOTA: &str = "kura.quota_bytes";

/// What is wrong with a settings file, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SettingsError {
    /// The key path, for example `s3.folder`; `None` when it is the whole file
    /// or something outside the sections that Kura reads.
    pub key: Option<&'static str>,
    /// What is wrong.
    pub problem: Problem,
    /// The line and column, both counted from 1, where the parser knows them.
    pub place: Option<(u64, u64)>,
}

/// What is wrong. Never holds a value: the file has passwords in it.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum Problem {
    /// The file is over [`MAX_FILE_BYTES`].
    #[error("the file has more than {MAX_FILE_BYTES} bytes")]
    TooLarge,
    /// The text is not YAML, or not one document of it.
    #[error("this is not valid YAML, or not a single document")]
    NotYaml,
    /// Nesting or aliases beyond what a settings file needs.
    #[error("nested or repeated by aliases beyond all need")]
    TooComplex,
    /// Two readers of the file might each take another of the two.
    #[error("the same key stands twice in one mapping")]
    DuplicateKey,
    /// Text where a mapping belongs, or the other way round.
    #[error("a mapping where text is expected, or the other way round")]
    WrongShape,
    /// A required key is absent, and there is no default.
    #[error("required, but missing")]
    Missing,
    /// An empty folder would be the whole bucket, with all other tenants.
    #[error("must name a folder, not the whole bucket")]
    WholeBucket,
    /// The bucket's name has characters that none has.
    #[error("not a bucket's name")]
    InvalidBucket,
    /// A folder is not fit to begin a key.
    #[error(transparent)]
    InvalidFolder(KeyError),
    /// Every attachment would lie among thumbnails or imports.
    #[error("must not contain the tenant's own folder")]
    ContainsTenant,
    /// The state is neither of the known ones.
    #[error("must be `active` or `suspended`")]
    UnknownState,
    /// What should name a role does not.
    #[error(transparent)]
    InvalidRole(#[from] InvalidRoleArn),
    /// What a role's trust policy wants to hear cannot be this.
    #[error(transparent)]
    InvalidExternalId(#[from] InvalidExternalId),
    /// Neither of the ways to hold a session of a role.
    #[error(transparent)]
    InvalidRoleSession(#[from] InvalidRoleSession),
    /// The quota is no number, or none that leaves room for anything.
    #[error("must be a number of bytes, such as 10000000000")]
    InvalidQuota,
}

impl From<ParseIntError> for Problem {
    fn from(_: ParseIntError) -> Self {
        Self::InvalidQuota
    }
}

impl std::error::Error for SettingsError {}

impl fmt::Display for SettingsError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(key) = self.key {
            write!(out, "{key}: ")?;
        }
        write!(out, "{}", self.problem)?;
        if let Some((line, column)) = self.place {
            write!(out, " (line {line}, column {column})")?;
        }
        Ok(())
    }
}

/// Reads the settings of the tenant `id` from the text of its file. A file
/// that names no bucket means `default_bucket`.
///
/// # Errors
/// The first thing that is wrong with the file.
pub fn parse(
    id: TenantId,
    text: &str,
    default_bucket: Option<&str>,
) -> Result<TenantSettings, SettingsError> {
    if text.len() > MAX_FILE_BYTES {
        return Err(SettingsError {
            key: None,
            problem: Problem::TooLarge,
            place: None,
        });
    }
    let values = Values(yaml::read(text)?);
    Ok(TenantSettings {
        id,
        bucket: values.bucket(default_bucket)?,
        layout: values.layout()?,
        state: values.state()?,
        role: values.role()?,
        quota_bytes: values.parsed(QUOTA)?,
    })
}

/// Whether a bucket can have this name. It is a directory's in a directory
/// store, so that this is a matter of safety, too.
#[must_use]
pub fn is_bucket(name: &str) -> bool {
    let allowed = |c: u8| c.is_ascii_alphanumeric() || b"._-".contains(&c);
    name.len() <= MAX_BUCKET_BYTES
        && name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name.bytes().all(allowed)
}

/// The settings as texts, on their way to their meaning.
struct Values(yaml::Texts);

impl Values {
    fn text(&self, key: &str) -> Option<&str> {
        self.0.get(key).map(|text| text.value.as_str())
    }

    fn error(&self, key: &'static str, problem: Problem) -> SettingsError {
        let found = self.0.get(key);
        SettingsError {
            key: Some(key),
            problem,
            place: found.and_then(|text| yaml::place_of(text.referenced)),
        }
    }

    fn bucket(&self, default: Option<&str>) -> Result<String, SettingsError> {
        let bucket = self.text(BUCKET).or(default);
        let bucket = bucket.ok_or_else(|| self.error(BUCKET, Problem::Missing))?;
        is_bucket(bucket)
            .then(|| bucket.to_owned())
            .ok_or_else(|| self.error(BUCKET, Problem::InvalidBucket))
    }

    fn layout(&self) -> Result<Layout, SettingsError> {
        let folder = self.text(FOLDER);
        let folder = folder.ok_or_else(|| self.error(FOLDER, Problem::Missing))?;
        self.check_folder(FOLDER)?;
        self.check_folder(THUMB_FOLDER)?;
        self.check_folder(IMPORT_FOLDER)?;
        let layout = |thumb_folder, import_folder| {
            Layout::new(folder, thumb_folder, import_folder)
                .map_err(|error| self.error(FOLDER, Problem::InvalidFolder(error)))
        };
        for (key, alone) in [
            (THUMB_FOLDER, layout(self.text(THUMB_FOLDER), None)?),
            (IMPORT_FOLDER, layout(None, self.text(IMPORT_FOLDER))?),
        ] {
            if alone.reserved_folder_of(alone.folder()).is_some() {
                return Err(self.error(key, Problem::ContainsTenant));
            }
        }
        layout(self.text(THUMB_FOLDER), self.text(IMPORT_FOLDER))
    }

    /// A layout takes the empty folder for the whole bucket; in a file it is
    /// a slip of the pen.
    fn check_folder(&self, key: &'static str) -> Result<(), SettingsError> {
        let Some(folder) = self.text(key) else {
            return Ok(());
        };
        let layout = Layout::new(folder, None, None)
            .map_err(|error| self.error(key, Problem::InvalidFolder(error)))?;
        match layout.folder() {
            "" => Err(self.error(key, Problem::WholeBucket)),
            _ => Ok(()),
        }
    }

    fn state(&self) -> Result<State, SettingsError> {
        match self.text(STATE) {
            None | Some("active") => Ok(State::Active),
            Some("suspended") => Ok(State::Suspended),
            Some(_) => Err(self.error(STATE, Problem::UnknownState)),
        }
    }

    fn role(&self) -> Result<RoleChoice, SettingsError> {
        Ok(RoleChoice {
            arn: self.parsed(ROLE_ARN)?,
            external_id: self.parsed(ROLE_EXTERNAL_ID)?,
            session: self.parsed(ROLE_SESSION)?,
        })
    }

    fn parsed<T>(&self, key: &'static str) -> Result<Option<T>, SettingsError>
    where
        T: FromStr<Err: Into<Problem>>,
    {
        let parsed = self.text(key).map(str::parse).transpose();
        parsed.map_err(|error: T::Err| self.error(key, error.into()))
    }
}

#[cfg(test)]
mod tests;
