//! One row: what the database says of a file on disk.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};
use csv::{ByteRecord, StringRecord};
use serde::{Deserialize, Serialize};

use crate::digest::FileDigest;

/// How far the database's clock may be ahead.
const CLOCKS_DIFFER: Duration = Duration::from_mins(10);

/// How rows are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    /// CSV, of `psql --csv` and `sqlite3 -csv`.
    Commas,
    /// What `mysql --batch` prints: tabs, its own escapes, and `NULL`.
    Tabs,
    /// A JSON object a line, in the order in which an export has the files.
    Manifest,
}

/// What is known of an attachment's file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::ops) struct Row {
    /// `{disk_directory}/{disk_filename}`, valid as a key or not.
    pub(in crate::ops) key: String,
    /// The original file name.
    pub(in crate::ops) file_name: Option<String>,
    /// Its media type.
    pub(in crate::ops) content_type: Option<String>,
    /// Its size.
    pub(in crate::ops) size_bytes: Option<u64>,
    /// Its digest: for old rows an MD5.
    pub(in crate::ops) digest: Option<FileDigest>,
    /// When the row was printed.
    pub(in crate::ops) printed_at: Option<SystemTime>,
}

/// A line of an export's manifest.
#[derive(Serialize, Deserialize)]
pub(in crate::ops) struct ManifestLine {
    /// The key of the file, which lies in the archive under `files/`.
    pub(in crate::ops) key: String,
    /// Its size.
    pub(in crate::ops) size_bytes: u64,
    /// The SHA-256 of the bytes in the archive.
    pub(in crate::ops) sha256: String,
    /// Its media type.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(in crate::ops) content_type: Option<String>,
    /// The original file name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(in crate::ops) file_name: Option<String>,
    /// When it was stored, as RFC 3339 has it.
    #[serde(default)]
    pub(in crate::ops) modified: String,
    /// Where its bytes begin in the archive.
    #[serde(default)]
    pub(in crate::ops) offset: u64,
}

/// Which column has what.
#[derive(Debug, Default)]
pub(super) struct Columns {
    /// How many there are: a row with more or fewer is cut or shifted.
    count: usize,
    directory: usize,
    name: usize,
    file_name: Option<usize>,
    content_type: Option<usize>,
    size: Option<usize>,
    digest: Option<usize>,
    pub(super) printed_at: Option<usize>,
}

impl Columns {
    pub(super) fn named(header: &StringRecord) -> Result<Self> {
        let column = |name: &str| header.iter().position(|column| column.trim() == name);
        let needed = |name: &str| {
            column(name).with_context(|| format!("its first line names no column {name}"))
        };
        Ok(Self {
            count: header.len(),
            name: needed("disk_filename")?,
            directory: needed("disk_directory")?,
            file_name: column("filename"),
            content_type: column("content_type"),
            size: column("filesize"),
            digest: column("digest"),
            printed_at: column("printed_at"),
        })
    }
}

impl Format {
    pub(super) fn row(self, record: &ByteRecord, columns: &Columns) -> Result<Row> {
        ensure!(
            record.len() == columns.count,
            "it has {} columns, and the first line {}",
            record.len(),
            columns.count
        );
        let text = |column: Option<usize>| -> Result<Option<String>> {
            let Some(bytes) = column.and_then(|column| record.get(column)) else {
                return Ok(None);
            };
            let text = std::str::from_utf8(bytes).context("it is not UTF-8")?;
            Ok(match self {
                _ if text.is_empty() => None,
                Self::Tabs if text == "NULL" => None,
                Self::Tabs => Some(unescaped(text)),
                Self::Commas | Self::Manifest => Some(text.to_owned()),
            })
        };
        let name = text(Some(columns.name))?.context("disk_filename is empty")?;
        let key = match text(Some(columns.directory))? {
            Some(directory) => format!("{directory}/{name}"),
            None => name,
        };
        let size = text(columns.size)?;
        let size = size.map(|size| size.parse().context("filesize is not a number"));
        Ok(Row {
            key,
            file_name: text(columns.file_name)?,
            content_type: text(columns.content_type)?,
            size_bytes: size.transpose()?,
            digest: digest(text(columns.digest)?)?,
            printed_at: columns
                .printed_at
                .map(|_| time(text(columns.printed_at)?))
                .transpose()?,
        })
    }
}

impl Row {
    pub(super) fn of_manifest(line: &str) -> Result<Self> {
        let line: ManifestLine = serde_json::from_str(line)?;
        Ok(Self {
            key: line.key,
            file_name: line.file_name,
            content_type: line.content_type,
            size_bytes: Some(line.size_bytes),
            digest: digest(Some(line.sha256))?,
            printed_at: None,
        })
    }

    /// Takes what another row of the same file knows better: `Attachment#copy`
    /// shares the file, and each row may have been given a digest at another
    /// time.
    pub(super) fn learn(&mut self, other: Self) {
        if !matches!(self.digest, Some(FileDigest::Sha256(_))) {
            self.digest = other.digest.or(self.digest);
        }
        self.size_bytes = self.size_bytes.or(other.size_bytes);
        self.file_name = self.file_name.take().or(other.file_name);
        self.content_type = self.content_type.take().or(other.content_type);
    }
}

fn digest(text: Option<String>) -> Result<Option<FileDigest>> {
    let Some(text) = text else { return Ok(None) };
    let digest = text.to_ascii_lowercase().parse();
    ensure!(digest.is_ok(), "digest is neither a SHA-256 nor an MD5");
    Ok(digest.ok())
}

/// A time in seconds since 1970, which all databases can print.
fn time(text: Option<String>) -> Result<SystemTime> {
    let seconds = text
        .and_then(|text| text.parse().ok())
        .map(Duration::from_secs);
    let time = seconds.and_then(|seconds| UNIX_EPOCH.checked_add(seconds));
    time.filter(|time| *time <= SystemTime::now() + CLOCKS_DIFFER)
        .context("printed_at is not a time that has been, in seconds since 1970")
}

/// What `mysql --batch` escapes.
fn unescaped(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            plain.push(c);
            continue;
        }
        plain.extend(chars.next().map(|escaped| match escaped {
            't' => '\t',
            'n' => '\n',
            '0' => '\0',
            other => other,
        }));
    }
    plain
}
