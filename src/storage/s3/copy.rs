//! Copies inside S3: no byte passes through Kura.

use aws_sdk_s3::config::Builder as ConfigOverride;
use aws_sdk_s3::config::timeout::TimeoutConfig;
use aws_sdk_s3::operation::head_object::HeadObjectOutput;
use aws_sdk_s3::types::{CompletedMultipartUpload, CompletedPart};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::answer::info_of_head;
use super::claim::Claim;
use super::conditions::Conditions;
use super::multipart::Multipart;
use super::observe::Attempts;
use super::put::{DIGEST, NONCE};
use super::{S3Store, error};
use crate::key::StoreKey;
use crate::storage::{ObjectInfo, PayloadError, StoreError, names, stored_name};

/// The ranges by which an object too large for one request is copied.
const RANGE_BYTES: u64 = 1 << 30;
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
        let head = self.look_at(from.as_str()).await?;
        let nonce = nonce_of(&head).map_or_else(names::nonce, str::to_owned);
        let source = info_of_head(head)?;
        let claim = match self.conditions().await? {
            Conditions::Honoured => Some(self.claim(to).await?),
            Conditions::Ignored => {
                self.refuse_if_taken(to).await?;
                None
            }
        };
        let copied = if source.size_bytes > self.bucket.options.max_single_copy_bytes {
            self.copy_in_ranges(from, to, &source, nonce, claim.as_ref())
                .await
        } else {
            tokio::select! {
                copied = self.copy_at_once(from, to, &source, claim.as_ref()) => copied,
                () = self.bucket.stop.cancelled() => Err(PayloadError::ShuttingDown.into()),
            }
        };
        if let (Err(_), Some(claim)) = (&copied, &claim) {
            self.release(claim).await;
        }
        match copied {
            Err(StoreError::PreconditionFailed | StoreError::NotFound) => {
                Err(self.what_changed(from, &source).await)
            }
            copied => copied.map(|()| source.etag),
        }
    }

    /// The `ETag` of the source if the target is a copy of it: no other upload
    /// has its nonce.
    pub(super) async fn etag_of_copied(
        &self,
        from: &StoreKey,
        to: &StoreKey,
    ) -> Result<Option<String>, StoreError> {
        let head = self.head_request(from.as_str()).send().await;
        let source = head.map_err(error::meaning)?;
        let Some(nonce) = nonce_of(&source) else {
            return Ok(None);
        };
        let copied = self.etag_of_own(to, nonce).await?;
        Ok(copied.and(source.e_tag))
    }

    /// Deletes an object that has been copied, unless it has changed since.
    pub(super) async fn delete_unchanged(
        &self,
        key: &StoreKey,
        etag: &str,
    ) -> Result<(), StoreError> {
        let delete = self.delete_request(key);
        match delete.if_match(etag).send().await.map_err(error::meaning) {
            Ok(_) | Err(StoreError::NotFound) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// A condition did not hold: somebody has changed the source or, heedless
    /// of the claim, the target.
    async fn what_changed(&self, from: &StoreKey, source: &ObjectInfo) -> StoreError {
        match self.describe(from).await {
            Ok(now) if now.etag == source.etag => StoreError::AlreadyExists,
            Ok(_) => StoreError::PreconditionFailed,
            Err(error) => error,
        }
    }

    async fn copy_at_once(
        &self,
        from: &StoreKey,
        to: &StoreKey,
        source: &ObjectInfo,
        claim: Option<&Claim>,
    ) -> Result<(), StoreError> {
        let attempts = Attempts::default();
        let copy = self.bucket.client.copy_object();
        let copied = copy
            .bucket(&self.bucket.name)
            .key(to.as_str())
            .copy_source(self.copy_source(from))
            .copy_source_if_match(&source.etag)
            .set_if_match(claim.map(|claim| claim.etag.clone()))
            .customize()
            .config_override(self.patient())
            .interceptor(attempts.clone())
            .send()
            .await;
        match copied.map_err(error::meaning) {
            // The claim is gone because an earlier try has filled the name.
            Err(_) if attempts.may_have_succeeded() && self.are_copies(from, to).await => Ok(()),
            copied => copied.map(|_| ()),
        }
    }

    /// True when one object is a copy of the other: all that a copy keeps is
    /// the same, the nonce that every upload of ours has among it.
    async fn are_copies(&self, from: &StoreKey, to: &StoreKey) -> bool {
        let head = |key: &StoreKey| self.head_request(key.as_str()).send();
        let (Ok(one), Ok(other)) = tokio::join!(head(from), head(to)) else {
            return false;
        };
        let known =
            one.e_tag == other.e_tag || one.metadata.as_ref().is_some_and(|kept| !kept.is_empty());
        known && one.content_length == other.content_length && one.metadata == other.metadata
    }

    /// The copy gets the `nonce` of the source, as one by a single request
    /// does, so that a move that is repeated knows it again.
    async fn copy_in_ranges(
        &self,
        from: &StoreKey,
        to: &StoreKey,
        source: &ObjectInfo,
        nonce: String,
        claim: Option<&Claim>,
    ) -> Result<(), StoreError> {
        let create = self.bucket.client.create_multipart_upload();
        let mut create = create
            .set_content_type(source.content_type.clone())
            .set_content_disposition(source.file_name.as_deref().map(stored_name::stored_form))
            .metadata(NONCE, &nonce);
        if let Some(digest) = source.digest {
            create = create.metadata(DIGEST, digest.to_string());
        }
        let upload = Multipart {
            upload_id: self.begin(to, claim.is_some(), create).await?,
            key: to.clone(),
            nonce,
            claim: None,
        };
        let copied = tokio::select! {
            copied = self.copy_ranges(from, source, &upload, claim) => copied,
            () = self.bucket.stop.cancelled() => Err(PayloadError::ShuttingDown.into()),
        };
        if copied.is_err() {
            self.abort(&upload).await;
        }
        copied
    }

    async fn copy_ranges(
        &self,
        from: &StoreKey,
        source: &ObjectInfo,
        upload: &Multipart,
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
                .key(upload.key.as_str())
                .upload_id(&upload.upload_id)
                .part_number(number)
                .copy_source(self.copy_source(from))
                .copy_source_if_match(&source.etag)
                .copy_source_range(format!("bytes={first}-{}", end - 1))
                .customize()
                .config_override(self.patient())
                .send()
                .await
                .map_err(error::meaning)?;
            let etag = copied.copy_part_result.and_then(|result| result.e_tag);
            let part = CompletedPart::builder().part_number(number).set_e_tag(etag);
            parts = parts.parts(part.build());
            first = end;
        }
        let complete = self.bucket.client.complete_multipart_upload();
        let complete = complete
            .bucket(&self.bucket.name)
            .key(upload.key.as_str())
            .upload_id(&upload.upload_id)
            .multipart_upload(parts.build())
            .set_if_match(claim.map(|claim| claim.etag.clone()));
        self.send_complete(upload, complete).await
    }

    fn copy_source(&self, from: &StoreKey) -> String {
        let key = utf8_percent_encode(from.as_str(), IN_COPY_SOURCE);
        format!("{}/{key}", self.bucket.name)
    }

    /// S3 answers when it has copied.
    fn patient(&self) -> ConfigOverride {
        let slow_answer = self.bucket.options.slow_answer;
        let timeouts = TimeoutConfig::builder()
            .read_timeout(slow_answer)
            .operation_attempt_timeout(slow_answer);
        ConfigOverride::default().timeout_config(timeouts.build())
    }
}

/// What every upload of ours has to itself.
fn nonce_of(head: &HeadObjectOutput) -> Option<&str> {
    let nonce = head.metadata.as_ref()?.get(NONCE)?;
    Some(nonce)
}
