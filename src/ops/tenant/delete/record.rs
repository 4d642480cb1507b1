//! What was erased and when, as JSON: in a file of the operator's choice, or
//! beside the tenants' files.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::Estate;
use crate::tenant::TenantSettings;
use crate::tenant::source::{SourceError, TenantFile, TenantSource};

/// The record, where it is kept.
pub(super) struct Record {
    place: Place,
    /// What stands there now.
    kept: Option<TenantFile>,
    content: Content,
}

enum Place {
    File(PathBuf),
    /// Under this name beside the tenants' files.
    Beside(String),
}

#[derive(Serialize, Deserialize)]
struct Content {
    tenant: String,
    bucket: String,
    folder: String,
    began_at: String,
    /// None until all is erased.
    ended_at: Option<String>,
    /// What was there when it began.
    erased: Map<String, Value>,
    /// What had to be left, and why.
    left: Vec<String>,
}

impl Content {
    fn whose(&self) -> [&str; 3] {
        [&self.tenant, &self.bucket, &self.folder]
    }
}

impl Record {
    /// Writes what is about to be erased, unless a run that was interrupted
    /// has done so.
    pub(super) async fn begin(
        file: Option<PathBuf>,
        source: Option<&dyn TenantSource>,
        tenant: &TenantSettings,
        found: &Estate,
    ) -> Result<Self> {
        let place = match (file, source) {
            (Some(path), _) => Place::File(path),
            (None, Some(_)) => Place::Beside(format!("erased-{}.json", tenant.id)),
            (None, None) => bail!(
                "the only tenant has no file that a record could lie beside: give --record FILE"
            ),
        };
        let mut record = Self {
            place,
            kept: None,
            content: Content {
                tenant: tenant.id.to_string(),
                bucket: tenant.bucket.clone(),
                folder: tenant.layout.folder().to_owned(),
                began_at: now(),
                ended_at: None,
                erased: found.json(),
                left: Vec::new(),
            },
        };
        if let Some(before) = record.read(source).await? {
            let begun: Content = serde_json::from_str(&before.text)
                .with_context(|| format!("{} is no record of ours", record.place()))?;
            let is_same = begun.whose() == record.content.whose();
            match &begun.ended_at {
                None if is_same => record.content = begun,
                // All was erased then; what followed may have failed.
                Some(_) if is_same && found.is_empty() => record.content = begun,
                // Of an earlier tenant of this name.
                Some(ended_at) => record.archive(source, ended_at, &before.text).await?,
                None => bail!(record.of_another(&begun)),
            }
            record.kept = Some(before);
        }
        record.write(source).await?;
        Ok(record)
    }

    /// Completes it, unless an earlier run has.
    pub(super) async fn end(
        &mut self,
        source: Option<&dyn TenantSource>,
        left: Vec<String>,
    ) -> Result<()> {
        if self.content.ended_at.is_some() {
            return Ok(());
        }
        self.content.ended_at = Some(now());
        self.content.left = left;
        self.write(source).await
    }

    /// What was there when it began.
    pub(super) fn erased(&self) -> &Map<String, Value> {
        &self.content.erased
    }

    pub(super) fn text(&self) -> String {
        serde_json::to_string_pretty(&self.content).unwrap_or_default()
    }

    pub(super) fn place(&self) -> String {
        match &self.place {
            Place::File(path) => path.display().to_string(),
            Place::Beside(name) => format!("{name}, beside the tenants' files"),
        }
    }

    fn of_another(&self, content: &Content) -> String {
        let [tenant, bucket, folder] = content.whose();
        format!(
            "{} is the record of another deletion, of tenant {tenant} in folder {folder:?} of \
             bucket {bucket}: name another --record",
            self.place()
        )
    }

    async fn read(&self, source: Option<&dyn TenantSource>) -> Result<Option<TenantFile>> {
        let context = || format!("{} cannot be read", self.place());
        match (&self.place, source) {
            (Place::Beside(name), Some(source)) => match source.read(name).await {
                Err(SourceError::NotFound) => Ok(None),
                read => read.map(Some).with_context(context),
            },
            (Place::Beside(_), None) => Ok(None),
            (Place::File(path), _) => match tokio::fs::read_to_string(path).await {
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
                read => {
                    let version = String::new();
                    let text = read.with_context(context)?;
                    Ok(Some(TenantFile {
                        text,
                        version,
                        changed: None,
                    }))
                }
            },
        }
    }

    async fn write(&mut self, source: Option<&dyn TenantSource>) -> Result<()> {
        let text = self.text() + "\n";
        let context = || format!("{} cannot be written", self.place());
        let version = match (&self.place, source) {
            (Place::Beside(name), Some(source)) => {
                let written = source.write(name, &text, self.kept.as_ref()).await;
                written.with_context(context)?
            }
            (Place::Beside(_), None) => String::new(),
            (Place::File(path), _) => {
                write_durably(path.clone(), text.clone())
                    .await
                    .with_context(context)?;
                String::new()
            }
        };
        self.kept = Some(TenantFile {
            text,
            version,
            changed: None,
        });
        Ok(())
    }

    async fn archive(
        &self,
        source: Option<&dyn TenantSource>,
        ended_at: &str,
        text: &str,
    ) -> Result<()> {
        let context = || format!("the earlier record, {}, cannot be kept", self.place());
        let stamp: String = ended_at
            .chars()
            .filter(char::is_ascii_alphanumeric)
            .collect();
        match (&self.place, source) {
            (Place::Beside(name), Some(source)) => {
                let name = name.replace(".json", &format!("-{stamp}.json"));
                source
                    .write(&name, text, None)
                    .await
                    .with_context(context)?;
            }
            (Place::Beside(_), None) => {}
            (Place::File(_), _) => bail!(self.of_another(&serde_json::from_str(text)?)),
        }
        Ok(())
    }
}

/// Replaced as a whole, so that no kill leaves half of it.
async fn write_durably(path: PathBuf, text: String) -> Result<()> {
    tokio::task::spawn_blocking(move || {
        let mut name = path.file_name().unwrap_or_default().to_owned();
        name.push(".new");
        let new = path.with_file_name(name);
        let mut file = std::fs::File::create(&new)?;
        std::io::Write::write_all(&mut file, text.as_bytes())?;
        file.sync_all()?;
        std::fs::rename(new, &path)?;
        let folder = path.parent().filter(|it| !it.as_os_str().is_empty());
        Ok(std::fs::File::open(folder.unwrap_or(Path::new(".")))?.sync_all()?)
    })
    .await?
}

fn now() -> String {
    humantime::format_rfc3339_seconds(SystemTime::now()).to_string()
}
