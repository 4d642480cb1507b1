//! What the bucket holds besides objects. See [`Remains`].

use std::time::UNIX_EPOCH;

use async_trait::async_trait;
use aws_sdk_s3::error::ProvideErrorMetadata;
use aws_sdk_s3::operation::list_object_versions::ListObjectVersionsOutput;
use aws_sdk_s3::types::ObjectIdentifier;

use super::answer::unsigned;
use super::listing::MAX_BATCH;
use super::{S3Store, claim, error};
use crate::key::StoreKey;
use crate::storage::remains::{
    Remains, Upload, UploadPage, Version, VersionKind, VersionMark, VersionPage,
};
use crate::storage::{Entry, Page, StoreError};

#[async_trait]
impl Remains for S3Store {
    async fn list_all(&self, prefix: &str, after: Option<&str>) -> Result<Page, StoreError> {
        self.list_all_objects(prefix, after, MAX_BATCH).await
    }

    async fn claim(&self, entry: &Entry) -> Result<Option<String>, StoreError> {
        if entry.size_bytes != claim::SIZE_BYTES {
            return Ok(None);
        }
        match self.look_at(&entry.key).await {
            Ok(output) => {
                let kept = output.metadata.unwrap_or_default();
                Ok(output.e_tag.filter(|_| kept.contains_key(claim::METADATA)))
            }
            Err(StoreError::NotFound) => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn release(&self, key: &StoreKey, etag: &str) -> Result<(), StoreError> {
        match self.delete_unchanged(key, etag).await {
            Ok(()) | Err(StoreError::PreconditionFailed) => Ok(()),
            Err(error) => Err(error),
        }
    }

    async fn versions(
        &self,
        prefix: &str,
        after: Option<&VersionMark>,
    ) -> Result<VersionPage, StoreError> {
        let list = self.bucket.client.list_object_versions();
        let answer = list
            .bucket(&self.bucket.name)
            .prefix(prefix)
            .set_key_marker(after.map(|mark| mark.key.clone()))
            .set_version_id_marker(after.and_then(|mark| mark.id.clone()))
            .send()
            .await;
        match answer {
            Ok(output) => page_of(output),
            // A server that does not know versions has none.
            Err(error) if error.code() == Some("NotImplemented") => {
                let after = after.map(|mark| mark.key.as_str());
                let page = self.list_all_objects(prefix, after, MAX_BATCH).await?;
                Ok(page.into())
            }
            Err(error) => Err(error::meaning(error)),
        }
    }

    async fn erase(&self, versions: &[Version]) -> Result<(), StoreError> {
        let objects = versions.iter().map(|version| {
            ObjectIdentifier::builder()
                .key(&version.key)
                .set_version_id(version.id.clone())
        });
        self.delete_batch(objects).await
    }

    async fn uploads(
        &self,
        prefix: &str,
        after: Option<&Upload>,
    ) -> Result<UploadPage, StoreError> {
        let list = self.bucket.client.list_multipart_uploads();
        let output = list
            .bucket(&self.bucket.name)
            .prefix(prefix)
            .set_key_marker(after.map(|upload| upload.key.clone()))
            .set_upload_id_marker(after.map(|upload| upload.id.clone()))
            .send()
            .await
            .map_err(error::meaning)?;
        let more = output.is_truncated.unwrap_or(false);
        let uploads = output.uploads.unwrap_or_default().into_iter();
        let uploads = uploads.filter_map(|upload| {
            Some(Upload {
                key: upload.key?,
                id: upload.upload_id?,
                begun: upload
                    .initiated
                    .and_then(|time| time.try_into().ok())
                    .unwrap_or(UNIX_EPOCH),
            })
        });
        Ok(UploadPage {
            uploads: uploads.collect(),
            more,
        })
    }

    async fn abort(&self, upload: &Upload) -> Result<(), StoreError> {
        let abort = self.bucket.client.abort_multipart_upload();
        let answer = abort
            .bucket(&self.bucket.name)
            .key(&upload.key)
            .upload_id(&upload.id)
            .send()
            .await;
        match answer.map_err(error::meaning) {
            Ok(_) | Err(StoreError::NotFound) => Ok(()),
            Err(error) => Err(error),
        }
    }
}

/// S3 gives versions and delete markers in two lists, each in order.
fn page_of(output: ListObjectVersionsOutput) -> Result<VersionPage, StoreError> {
    let next = match (output.is_truncated, output.next_key_marker) {
        (Some(true), Some(key)) => Some(VersionMark {
            key,
            id: output.next_version_id_marker,
        }),
        _ => None,
    };
    let mut versions = Vec::new();
    for version in output.versions.unwrap_or_default() {
        let current = version.is_latest.unwrap_or(false);
        versions.push(Version {
            key: version.key.unwrap_or_default(),
            id: version.version_id,
            kind: if current {
                VersionKind::Current
            } else {
                VersionKind::Old
            },
            size_bytes: unsigned(version.size)?,
        });
    }
    let markers = output.delete_markers.unwrap_or_default().into_iter();
    versions.extend(markers.map(|marker| Version {
        key: marker.key.unwrap_or_default(),
        id: marker.version_id,
        kind: VersionKind::DeleteMarker,
        size_bytes: 0,
    }));
    versions.sort_by(|one, other| one.key.cmp(&other.key));
    Ok(VersionPage { versions, next })
}
