//! What the heads of S3's answers say of an object.

use std::collections::HashMap;
use std::ops::Range;
use std::time::UNIX_EPOCH;

use aws_sdk_s3::operation::get_object::GetObjectOutput;
use aws_sdk_s3::operation::head_object::HeadObjectOutput;
use aws_sdk_s3::primitives::ByteStream;
use aws_smithy_types::DateTime;

use super::claim;
use super::put::DIGEST;
use crate::storage::{ObjectInfo, StoreError, stored_name};

/// Which bytes an answer has, and the size of the whole object.
pub(super) fn received_range(output: &GetObjectOutput) -> Result<(Range<u64>, u64), StoreError> {
    let Some(text) = output.content_range() else {
        let size_bytes = unsigned(output.content_length())?;
        return Ok((0..size_bytes, size_bytes));
    };
    let parse = || {
        let (range, size) = text.strip_prefix("bytes ")?.split_once('/')?;
        let (first, last) = range.split_once('-')?;
        let (first, last): (u64, u64) = (first.parse().ok()?, last.parse().ok()?);
        Some((first..last.checked_add(1)?, size.parse().ok()?))
    };
    parse().ok_or_else(|| StoreError::Unavailable(format!("S3 sent Content-Range: {text}")))
}

pub(super) fn info_of_head(output: HeadObjectOutput) -> Result<ObjectInfo, StoreError> {
    info(
        unsigned(output.content_length)?,
        output.e_tag,
        output.last_modified,
        output.content_type,
        output.content_disposition.as_deref(),
        output.metadata,
    )
}

pub(super) fn info_of_get(
    output: GetObjectOutput,
    size_bytes: u64,
) -> Result<(ObjectInfo, ByteStream), StoreError> {
    let info = info(
        size_bytes,
        output.e_tag,
        output.last_modified,
        output.content_type,
        output.content_disposition.as_deref(),
        output.metadata,
    )?;
    Ok((info, output.body))
}

fn info(
    size_bytes: u64,
    etag: Option<String>,
    modified: Option<DateTime>,
    content_type: Option<String>,
    content_disposition: Option<&str>,
    metadata: Option<HashMap<String, String>>,
) -> Result<ObjectInfo, StoreError> {
    let metadata = metadata.unwrap_or_default();
    if metadata.contains_key(claim::METADATA) {
        return Err(StoreError::NotFound);
    }
    let modified = modified.and_then(|time| time.try_into().ok());
    Ok(ObjectInfo {
        size_bytes,
        etag: etag.ok_or_else(|| StoreError::Unavailable("S3 sent no ETag".into()))?,
        modified: modified.unwrap_or(UNIX_EPOCH),
        content_type,
        file_name: content_disposition.and_then(stored_name::parse_stored),
        digest: metadata.get(DIGEST).and_then(|digest| digest.parse().ok()),
    })
}

pub(super) fn unsigned(length: Option<i64>) -> Result<u64, StoreError> {
    length
        .and_then(|length| u64::try_from(length).ok())
        .ok_or_else(|| StoreError::Unavailable("S3 sent no length".into()))
}
