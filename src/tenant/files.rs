//! What a registry knows of the settings files from one refresh to the next.
//!
//! A file is read when its version is new, and again only when it could not
//! be read. Each fault of a version is logged once.

use std::collections::{BTreeMap, BTreeSet};
use std::mem;

use futures_util::{StreamExt as _, stream};
use thiserror::Error;

use crate::tenant::settings::{self, SettingsError};
use crate::tenant::source::{Listed, SourceError, TenantSource};
use crate::tenant::{InvalidTenantId, TenantId, TenantSettings};

/// How many files are read at once. With S3 each takes a round trip, so 900 of
/// them one after the other would take a minute at start.
const MAX_READS: usize = 16;

/// Why a file's settings are not in force.
#[derive(Clone, Debug, Error)]
pub(super) enum FileError {
    #[error("the file's name gives no id: {0}")]
    Name(#[from] InvalidTenantId),
    #[error("there are two files for this tenant, `{0}` and `{1}`")]
    Twice(String, String),
    #[error(transparent)]
    Source(#[from] SourceError),
    #[error(transparent)]
    Settings(#[from] SettingsError),
    #[error("its folder contains, or lies in, the folder of tenant `{0}` in the same bucket")]
    Overlap(TenantId),
    #[error("the tenant cannot be opened: {0}")]
    Open(String),
}

/// Tells faults apart without their texts: that of a store that cannot be
/// reached may differ each time.
type FaultKind = (
    mem::Discriminant<FileError>,
    Option<mem::Discriminant<SourceError>>,
);

impl FileError {
    fn kind(&self) -> FaultKind {
        let source = match self {
            Self::Source(error) => Some(mem::discriminant(error)),
            _ => None,
        };
        (mem::discriminant(self), source)
    }
}

/// The files of the last listing that succeeded, by the stem of their names.
#[derive(Default)]
pub(super) struct Files {
    known: BTreeMap<String, KnownFile>,
    listing_fails: bool,
}

struct KnownFile {
    /// What the listing said: one file, or several that are in each other's way.
    listed: Vec<Listed>,
    settings: Result<TenantSettings, FileError>,
    /// The kind of fault that the log says this version has.
    reported: Option<FaultKind>,
}

/// What a refresh has learned of the files, not yet remembered.
pub(super) struct Update {
    stems: BTreeSet<String>,
    read: Vec<(String, KnownFile)>,
}

impl Files {
    /// Reads those of the listed files that have to be.
    pub(super) async fn read_outdated(
        &self,
        source: &dyn TenantSource,
        listed: Vec<Listed>,
        default_bucket: Option<&str>,
    ) -> Update {
        let mut by_stem: BTreeMap<String, Vec<Listed>> = BTreeMap::new();
        for file in listed {
            by_stem.entry(file.id.clone()).or_default().push(file);
        }
        let stems = by_stem.keys().cloned().collect();
        let mut reads = Vec::new();
        for (stem, mut listed) in by_stem {
            listed.sort_by(|one, other| one.file_name.cmp(&other.file_name));
            if !self.is_current(&stem, &listed) {
                reads.push(read(source, stem, listed, default_bucket));
            }
        }
        let read = stream::iter(reads).buffer_unordered(MAX_READS);
        Update {
            stems,
            read: read.collect().await,
        }
    }

    fn is_current(&self, stem: &str, listed: &[Listed]) -> bool {
        self.known.get(stem).is_some_and(|file| {
            file.listed == listed && !matches!(file.settings, Err(FileError::Source(_)))
        })
    }

    /// Remembers what was learned.
    pub(super) fn update(&mut self, update: Update) {
        self.known.retain(|stem, _| update.stems.contains(stem));
        for (stem, mut file) in update.read {
            if let Some(before) = self.known.remove(&stem)
                && before.listed == file.listed
            {
                file.reported = before.reported;
            }
            self.known.insert(stem, file);
        }
    }

    /// True when the tenant has a file, be it broken.
    pub(super) fn contains(&self, id: &TenantId) -> bool {
        self.known.contains_key(id.as_str())
    }

    /// The settings of all files that could be read, in the order of their ids.
    pub(super) fn settings(&self) -> impl Iterator<Item = &TenantSettings> {
        self.known
            .values()
            .filter_map(|file| file.settings.as_ref().ok())
    }

    /// The files that could not be read, by stem, each with its fault.
    pub(super) fn unusable(&self) -> impl Iterator<Item = (String, FileError)> {
        self.known.iter().filter_map(|(stem, file)| {
            let error = file.settings.as_ref().err()?;
            Some((stem.clone(), error.clone()))
        })
    }

    /// Logs each fault that the log does not tell of already.
    pub(super) fn report_broken(&mut self, broken: &BTreeMap<String, FileError>) {
        for (stem, file) in &mut self.known {
            let Some(error) = broken.get(stem) else {
                file.reported = None;
                continue;
            };
            let kind = Some(error.kind());
            if file.reported != kind {
                file.reported = kind;
                tracing::error!(tenant = stem, %error, "tenant file is broken");
            }
        }
    }

    /// Logs when listing begins to fail, and when it works again.
    pub(super) fn report_listing(&mut self, failure: Option<&SourceError>) {
        match failure {
            Some(error) if !self.listing_fails => {
                tracing::error!(%error, "tenant files cannot be listed");
            }
            None if self.listing_fails => tracing::info!("tenant files can be listed again"),
            _ => {}
        }
        self.listing_fails = failure.is_some();
    }
}

async fn read(
    source: &dyn TenantSource,
    stem: String,
    listed: Vec<Listed>,
    default_bucket: Option<&str>,
) -> (String, KnownFile) {
    let settings = read_settings(source, &stem, &listed, default_bucket).await;
    let file = KnownFile {
        listed,
        settings,
        reported: None,
    };
    (stem, file)
}

async fn read_settings(
    source: &dyn TenantSource,
    stem: &str,
    listed: &[Listed],
    default_bucket: Option<&str>,
) -> Result<TenantSettings, FileError> {
    let id = stem.parse()?;
    if let [one, other, ..] = listed {
        let names = (one.file_name.clone(), other.file_name.clone());
        return Err(FileError::Twice(names.0, names.1));
    }
    let file = listed.first().ok_or(SourceError::NotFound)?;
    let text = source.read(&file.file_name).await?.text;
    Ok(settings::parse(id, &text, default_bucket)?)
}
