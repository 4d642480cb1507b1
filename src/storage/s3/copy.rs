//! Copies inside S3: no byte passes through Kura.

use std::time::Duration;

use aws_sdk_s3::config::Builder as ConfigOverride;
use aws_sdk_s3::config::timeout::TimeoutConfig;
use aws_sdk_s3::types::{CompletedMultipartUpload, CompletedPart};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::claim::Claim;
use super::conditions::Conditions;
use super::put::DIGEST;
use super::{S3Store, error};
use crate::key::StoreKey;
use crate::storage::{ObjectInfo, StoreError, stored_name};

/// The ranges by which an object too large for one request is copied.
const RANGE_BYTES: u64 = 1 << 30;
/// S3 answers when it has copied, which takes longer than other answers.
const READ_TIMEOUT: Duration = Duration::from_mins(10);
/// What may stand in the header that names the source.
const IN_COPY_SOURCE: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'/')
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~');

impl S3Store {
    /// Copies to a key that must be free, and returns the `ETag` of the source.
    pub(super) async fn copy_object(
        &self,
        from: &StoreKey,
        to: &StoreKey,
    ) -> Result<String, StoreError> {
        let source = self.describe(from).await?;
        let claim = match self.conditions().await? {
            Conditions::Honoured => Some(self.claim(to).await?),
            Conditions::Ignored => {
                self.refuse_if_taken(to).await?;
                None
            }
        };
        let copied = if source.size_bytes > self.bucket.options.max_single_copy_bytes {
            self.copy_in_ranges(from, to, &source, claim.as_ref()).await
        } else {
            self.copy_at_once(from, to, &source, claim.as_ref()).await
        };
        if let (Err(_), Some(claim)) = (&copied, &claim) {
            self.release(claim).await;
        }
        match copied {
            // The target is held by the claim: it is the source that changed.
            Err(StoreError::PreconditionFailed | StoreError::NotFound) => Err(StoreError::NotFound),
            copied => copied.map(|()| source.etag),
        }
    }

    /// Deletes an object that has been copied, unless it has changed since.
    pub(super) async fn delete_unchanged(
        &self,
        key: &StoreKey,
        etag: &str,
    ) -> Result<(), StoreError> {
        let delete = self.bucket.client.delete_object();
        let delete = delete.bucket(&self.bucket.name).key(key.as_str());
        match delete.if_match(etag).send().await.map_err(error::meaning) {
            Ok(_) | Err(StoreError::NotFound) => Ok(()),
            Err(error) => Err(error),
        }
    }

    async fn copy_at_once(
        &self,
        from: &StoreKey,
        to: &StoreKey,
        source: &ObjectInfo,
        claim: Option<&Claim>,
    ) -> Result<(), StoreError> {
        let copy = self.bucket.client.copy_object();
        copy.bucket(&self.bucket.name)
            .key(to.as_str())
            .copy_source(self.copy_source(from))
            .copy_source_if_match(&source.etag)
            .set_if_match(claim.map(|claim| claim.etag.clone()))
            .customize()
            .config_override(patient())
            .send()
            .await
            .map_err(error::meaning)?;
        Ok(())
    }

    async fn copy_in_ranges(
        &self,
        from: &StoreKey,
        to: &StoreKey,
        source: &ObjectInfo,
        claim: Option<&Claim>,
    ) -> Result<(), StoreError> {
        let create = self.bucket.client.create_multipart_upload();
        let created = create
            .bucket(&self.bucket.name)
            .key(to.as_str())
            .set_content_type(source.content_type.clone())
            .set_content_disposition(source.file_name.as_deref().map(stored_name::stored_form))
            .set_metadata(
                source
                    .digest
                    .map(|digest| [(DIGEST.to_owned(), digest.to_string())].into()),
            )
            .send()
            .await
            .map_err(error::meaning)?;
        let upload_id = created.upload_id.unwrap_or_default();
        let copied = self.copy_ranges(from, to, source, &upload_id, claim).await;
        if copied.is_err() {
            let abort = self.bucket.client.abort_multipart_upload();
            let abort = abort.bucket(&self.bucket.name).key(to.as_str());
            if let Err(error) = abort
                .upload_id(&upload_id)
                .send()
                .await
                .map_err(error::meaning)
            {
                tracing::warn!(%error, "a multipart copy could not be aborted");
            }
        }
        copied
    }

    async fn copy_ranges(
        &self,
        from: &StoreKey,
        to: &StoreKey,
        source: &ObjectInfo,
        upload_id: &str,
        claim: Option<&Claim>,
    ) -> Result<(), StoreError> {
        let range_bytes = RANGE_BYTES.min(self.bucket.options.max_single_copy_bytes);
        let mut parts = CompletedMultipartUpload::builder();
        let mut first = 0;
        let mut number = 0;
        while first < source.size_bytes {
            let end = source.size_bytes.min(first + range_bytes);
            number += 1;
            let copy = self.bucket.client.upload_part_copy();
            let copied = copy
                .bucket(&self.bucket.name)
                .key(to.as_str())
                .upload_id(upload_id)
                .part_number(number)
                .copy_source(self.copy_source(from))
                .copy_source_if_match(&source.etag)
                .copy_source_range(format!("bytes={first}-{}", end - 1))
                .customize()
                .config_override(patient())
                .send()
                .await
                .map_err(error::meaning)?;
            let etag = copied.copy_part_result.and_then(|result| result.e_tag);
            let part = CompletedPart::builder().part_number(number).set_e_tag(etag);
            parts = parts.parts(part.build());
            first = end;
        }
        let complete = self.bucket.client.complete_multipart_upload();
        complete
            .bucket(&self.bucket.name)
            .key(to.as_str())
            .upload_id(upload_id)
            .multipart_upload(parts.build())
            .set_if_match(claim.map(|claim| claim.etag.clone()))
            .send()
            .await
            .map_err(error::meaning)?;
        Ok(())
    }

    fn copy_source(&self, from: &StoreKey) -> String {
        let key = utf8_percent_encode(from.as_str(), IN_COPY_SOURCE);
        format!("{}/{key}", self.bucket.name)
    }
}

fn patient() -> ConfigOverride {
    ConfigOverride::default()
        .timeout_config(TimeoutConfig::builder().read_timeout(READ_TIMEOUT).build())
}
