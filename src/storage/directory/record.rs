//! What is kept with an object beside its bytes: one extended attribute of
//! its file, so that backups and `cp --preserve=xattr` carry both together.
//!
//! The attribute is on the file before the file has its name, and is never
//! changed afterwards. A file without one, copied in by hand, is an object of
//! which only its size and time are known.

use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt as _;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use xattr::FileExt as _;

use super::errors;
use crate::digest::Digest;
use crate::storage::{ObjectInfo, StoreError};

const ATTRIBUTE: &str = "user.kura";

/// The content of the attribute, as JSON.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Record {
    #[serde(serialize_with = "to_hex", deserialize_with = "from_hex")]
    pub(super) digest: Digest,
    /// Shows a cut-off file without reading it.
    pub(super) size_bytes: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) content_type: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) file_name: Option<String>,
}

impl Record {
    pub(super) fn write(&self, file: &File) -> io::Result<()> {
        file.set_xattr(ATTRIBUTE, &serde_json::to_vec(self)?)
    }

    /// The file's record; `None` when it was copied in by hand.
    pub(super) fn read(file: &File) -> Result<Option<Self>, StoreError> {
        let attribute = file
            .get_xattr(ATTRIBUTE)
            .map_err(|error| errors::write_error(&error))?;
        attribute
            .map(|json| serde_json::from_slice(&json).map_err(|_| StoreError::Corrupt))
            .transpose()
    }
}

/// What is known of the object in an open file. A directory, a FIFO and the
/// like are no objects.
pub(super) fn describe(file: &File, metadata: &Metadata) -> Result<ObjectInfo, StoreError> {
    if !metadata.is_file() {
        return Err(StoreError::NotFound);
    }
    let modified = metadata
        .modified()
        .map_err(|error| errors::write_error(&error))?;
    let size_bytes = metadata.len();
    let record = Record::read(file)?;
    if record
        .as_ref()
        .is_some_and(|it| it.size_bytes != size_bytes)
    {
        return Err(StoreError::Corrupt);
    }
    let digest = record.as_ref().map(|record| record.digest);
    let (content_type, file_name) =
        record.map_or((None, None), |it| (it.content_type, it.file_name));
    Ok(ObjectInfo {
        size_bytes,
        etag: etag(digest, metadata),
        modified,
        content_type,
        file_name,
        digest,
    })
}

/// A file of unknown digest is told from its successors by its inode and by
/// the nanosecond of its last change.
fn etag(digest: Option<Digest>, metadata: &Metadata) -> String {
    match digest {
        Some(digest) => format!("\"{digest}\""),
        None => format!(
            "\"{:x}.{:x}-{:x}-{:x}\"",
            metadata.mtime(),
            metadata.mtime_nsec(),
            metadata.size(),
            metadata.ino()
        ),
    }
}

fn to_hex<S: Serializer>(digest: &Digest, out: S) -> Result<S::Ok, S::Error> {
    out.collect_str(digest)
}

fn from_hex<'de, D: Deserializer<'de>>(text: D) -> Result<Digest, D::Error> {
    String::deserialize(text)?
        .parse()
        .map_err(de::Error::custom)
}
