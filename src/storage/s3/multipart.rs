//! Uploads of more than one part: in parallel, completed on a condition, and
//! aborted whatever happens before that.

use aws_sdk_s3::config::Builder as ConfigOverride;
use aws_sdk_s3::config::timeout::TimeoutConfig;
use aws_sdk_s3::error::ProvideErrorMetadata;
use aws_sdk_s3::operation::complete_multipart_upload::builders::CompleteMultipartUploadFluentBuilder;
use aws_sdk_s3::operation::create_multipart_upload::builders::CreateMultipartUploadFluentBuilder;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{ChecksumAlgorithm, ChecksumType, CompletedMultipartUpload, CompletedPart};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use tokio::task::JoinSet;
use tracing::Instrument;

use super::claim::Claim;
use super::conditions::Conditions;
use super::observe::Attempts;
use super::put::{DIGEST, NONCE, check_digest, content_type};
use super::{S3Store, error};
use crate::key::StoreKey;
use crate::storage::names::nonce;
use crate::storage::parts::{Part, PartReader, Summary};
use crate::storage::{PayloadError, PutMode, PutRequest, StoreError, Stored, stored_name};

/// An upload that has been begun.
pub(super) struct Multipart {
    pub(super) key: StoreKey,
    pub(super) upload_id: String,
    pub(super) nonce: String,
    /// Holds the name, where nothing may be overwritten and the server can
    /// tell.
    pub(super) claim: Option<Claim>,
}

impl S3Store {
    pub(super) async fn put_multipart(
        &self,
        request: &PutRequest,
        nonce: &str,
        first: Part,
        parts: PartReader,
    ) -> Result<Stored, StoreError> {
        let (key, claim) = self.take_name(request).await?;
        // Nobody else begins an upload to a name that is ours alone.
        let exclusive = claim.is_some() || key != request.key;
        let create = self.multipart_of(request, nonce);
        let created = self.begin(&key, exclusive, create).await;
        let upload_id = match created {
            Ok(upload_id) => upload_id,
            Err(error) => {
                self.release_any(claim.as_ref()).await;
                return Err(error);
            }
        };
        let upload = Multipart {
            key,
            upload_id,
            nonce: nonce.to_owned(),
            claim,
        };
        match self.send_parts(request, &upload, first, parts).await {
            Ok(summary) => Ok(Stored {
                key: upload.key,
                size_bytes: summary.size_bytes,
                digest: summary.digest,
            }),
            Err(error) => {
                self.abort(&upload).await;
                Err(match error {
                    // Somebody has taken the name in spite of the claim, and
                    // the payload is gone: the caller has to send it again.
                    StoreError::AlreadyExists if request.mode == PutMode::FirstFree => {
                        StoreError::Unavailable("the claimed name was taken".into())
                    }
                    error => error,
                })
            }
        }
    }

    async fn take_name(
        &self,
        request: &PutRequest,
    ) -> Result<(StoreKey, Option<Claim>), StoreError> {
        let wanted = &request.key;
        match (request.mode, self.conditions().await?) {
            (PutMode::Overwrite, _) => Ok((wanted.clone(), None)),
            (PutMode::CreateOnly, Conditions::Ignored) => {
                self.refuse_if_taken(wanted).await?;
                Ok((wanted.clone(), None))
            }
            (PutMode::CreateOnly, Conditions::Honoured) => {
                Ok((wanted.clone(), Some(self.claim(wanted).await?)))
            }
            (PutMode::FirstFree, Conditions::Ignored) => {
                Ok((wanted.with_nonce(&self::nonce()), None))
            }
            (PutMode::FirstFree, Conditions::Honoured) => {
                let claim = self.claim_first_free(wanted).await?;
                Ok((claim.key.clone(), Some(claim)))
            }
        }
    }

    async fn claim_first_free(&self, wanted: &StoreKey) -> Result<Claim, StoreError> {
        for key in self.names_for(wanted).await? {
            match self.claim(&key).await {
                Err(StoreError::AlreadyExists) => {}
                claimed => return claimed,
            }
        }
        Err(StoreError::AlreadyExists)
    }

    fn multipart_of(
        &self,
        request: &PutRequest,
        nonce: &str,
    ) -> CreateMultipartUploadFluentBuilder {
        let mut create = self
            .bucket
            .client
            .create_multipart_upload()
            .content_type(content_type(request))
            .set_content_disposition(request.file_name.as_deref().map(stored_name::stored_form))
            .metadata(NONCE, nonce);
        // S3 wants the metadata before the first part, so the digest can be
        // there only if the caller knows it.
        if let Some(digest) = request.expected_digest {
            create = create.metadata(DIGEST, digest.to_string());
        }
        if self.bucket.options.checksums {
            create = create
                .checksum_algorithm(ChecksumAlgorithm::Crc64Nvme)
                .checksum_type(ChecksumType::FullObject);
        }
        create
    }

    /// Begins an upload and returns its id. Where the name is `exclusive`, no
    /// other try of the request leaves an upload open.
    pub(super) async fn begin(
        &self,
        key: &StoreKey,
        exclusive: bool,
        create: CreateMultipartUploadFluentBuilder,
    ) -> Result<String, StoreError> {
        let attempts = Attempts::default();
        let create = create.bucket(&self.bucket.name).key(key.as_str());
        let create = create.customize().interceptor(attempts.clone());
        let upload_id = match create.send().await.map_err(error::meaning) {
            Ok(created) => created
                .upload_id
                .ok_or_else(|| StoreError::Unavailable("S3 gave no upload id".into())),
            Err(error) => Err(error),
        };
        let stray = match upload_id {
            Ok(_) => attempts.may_have_succeeded_before(),
            Err(_) => attempts.may_have_succeeded(),
        };
        if exclusive && stray {
            let keep = upload_id.as_deref().ok();
            self.abort_strays(key, keep).await;
        }
        upload_id
    }

    /// Sends all parts and completes the upload. On an error no part is under
    /// way any more.
    async fn send_parts(
        &self,
        request: &PutRequest,
        upload: &Multipart,
        first: Part,
        mut parts: PartReader,
    ) -> Result<Summary, StoreError> {
        let mut sending = JoinSet::new();
        let abandoned = parts.abandoned();
        // The payload ends with these, too, but S3 may be what is waited for.
        let sent = tokio::select! {
            sent = self.send_in_parallel(upload, first, &mut parts, &mut sending) => sent,
            () = abandoned.cancelled() => Err(PayloadError::Interrupted.into()),
            () = self.bucket.stop.cancelled() => Err(PayloadError::ShuttingDown.into()),
        };
        sending.shutdown().await;
        let completed = sent?;
        let summary = parts.summary();
        check_digest(request, summary.digest)?;
        self.complete(upload, completed, &summary).await?;
        Ok(summary)
    }

    async fn send_in_parallel(
        &self,
        upload: &Multipart,
        first: Part,
        parts: &mut PartReader,
        sending: &mut JoinSet<Result<CompletedPart, StoreError>>,
    ) -> Result<Vec<CompletedPart>, StoreError> {
        let mut completed = Vec::new();
        let mut next = Some(first);
        let mut number = 0;
        while let Some(part) = next.take() {
            while sending.len() >= self.bucket.options.parallel_parts {
                completed.push(joined(sending.join_next().await)?);
            }
            number += 1;
            let send = self.clone().send_part(upload, number, part);
            sending.spawn(send.in_current_span());
            if !parts.is_at_end().await? {
                next = Some(parts.next().await?);
            }
        }
        while !sending.is_empty() {
            completed.push(joined(sending.join_next().await)?);
        }
        completed.sort_by_key(CompletedPart::part_number);
        Ok(completed)
    }

    fn send_part(
        self,
        upload: &Multipart,
        number: i32,
        part: Part,
    ) -> impl Future<Output = Result<CompletedPart, StoreError>> + Send + use<> {
        let checksum = self
            .bucket
            .options
            .checksums
            .then(|| BASE64.encode(part.crc64.to_be_bytes()));
        let bytes = part.bytes.len();
        let request = self
            .bucket
            .client
            .upload_part()
            .bucket(&self.bucket.name)
            .key(upload.key.as_str())
            .upload_id(&upload.upload_id)
            .part_number(number)
            .set_checksum_crc64_nvme(checksum.clone())
            .body(ByteStream::from(part.bytes));
        async move {
            let time_to_send = self.bucket.time_to_send(bytes);
            let mut request = request.customize().config_override(time_to_send);
            if self.bucket.options.checksums {
                request = request.disable_payload_signing();
            }
            let output = request.send().await.map_err(error::meaning)?;
            Ok(CompletedPart::builder()
                .part_number(number)
                .set_e_tag(output.e_tag)
                .set_checksum_crc64_nvme(checksum)
                .build())
        }
    }

    async fn complete(
        &self,
        upload: &Multipart,
        parts: Vec<CompletedPart>,
        summary: &Summary,
    ) -> Result<(), StoreError> {
        let parts = CompletedMultipartUpload::builder()
            .set_parts(Some(parts))
            .build();
        let mut complete = self
            .bucket
            .client
            .complete_multipart_upload()
            .bucket(&self.bucket.name)
            .key(upload.key.as_str())
            .upload_id(&upload.upload_id)
            .multipart_upload(parts);
        if let Some(claim) = &upload.claim {
            complete = complete.if_match(&claim.etag);
        }
        if self.bucket.options.checksums {
            complete = complete
                .checksum_type(ChecksumType::FullObject)
                .checksum_crc64_nvme(BASE64.encode(summary.crc64.to_be_bytes()));
        }
        self.send_complete(upload, complete).await
    }

    pub(super) async fn send_complete(
        &self,
        upload: &Multipart,
        complete: CompleteMultipartUploadFluentBuilder,
    ) -> Result<(), StoreError> {
        // While S3 puts the parts together it sends the head of its answer,
        // and then blanks.
        let timeouts = TimeoutConfig::builder()
            .operation_attempt_timeout(self.bucket.options.slow_answer)
            .build();
        let patient = ConfigOverride::default().timeout_config(timeouts);
        let complete = complete.customize().config_override(patient);
        let failure = tokio::select! {
            completed = complete.send() => match completed {
                Ok(_) => return Ok(()),
                Err(failure) => Some(failure),
            },
            () = self.bucket.stop.cancelled() => None,
        };
        // An earlier try may have succeeded: then the upload is no longer
        // known, the claim is gone, or the answer was lost for good.
        let own = self.etag_of_own(&upload.key, &upload.nonce).await;
        if let Ok(Some(_)) = own {
            return Ok(());
        }
        let Some(failure) = failure else {
            return Err(PayloadError::ShuttingDown.into());
        };
        let conflict = error::is_conflict(&failure) || error::is_no_such_upload(&failure);
        let code = failure.code().unwrap_or("-").to_owned();
        match error::meaning(failure) {
            StoreError::PreconditionFailed => Err(StoreError::AlreadyExists),
            // Something else has meddled with the upload: all of it would have
            // to be sent again, which only the caller can do.
            _ if conflict => Err(StoreError::Unavailable(format!(
                "the upload could not be completed: {code}"
            ))),
            StoreError::NotFound => Err(StoreError::AlreadyExists),
            error => Err(error),
        }
    }

    pub(super) async fn abort(&self, upload: &Multipart) {
        self.abort_upload(&upload.key, &upload.upload_id).await;
        self.release_any(upload.claim.as_ref()).await;
    }

    async fn abort_upload(&self, key: &StoreKey, upload_id: &str) {
        let abort = self.bucket.client.abort_multipart_upload();
        let abort = abort
            .bucket(&self.bucket.name)
            .key(key.as_str())
            .upload_id(upload_id);
        match abort.send().await.map_err(error::meaning) {
            Ok(_) | Err(StoreError::NotFound) => {}
            Err(error) => tracing::warn!(%error, "a multipart upload could not be aborted"),
        }
    }

    /// Aborts the uploads to `key` but the one to `keep`: those that were
    /// begun by tries whose answers were lost. Their parts would be paid for
    /// until somebody finds them.
    async fn abort_strays(&self, key: &StoreKey, keep: Option<&str>) {
        let list = self.bucket.client.list_multipart_uploads();
        let list = list.bucket(&self.bucket.name).prefix(key.as_str());
        let uploads = match list.send().await.map_err(error::meaning) {
            Ok(output) => output.uploads.unwrap_or_default(),
            Err(error) => {
                tracing::warn!(%error, "a multipart upload may have been left open");
                return;
            }
        };
        for upload in uploads {
            let id = upload.upload_id();
            if upload.key() == Some(key.as_str()) && id.is_some() && id != keep {
                self.abort_upload(key, id.unwrap_or_default()).await;
            }
        }
    }

    async fn release_any(&self, claim: Option<&Claim>) {
        if let Some(claim) = claim {
            self.release(claim).await;
        }
    }
}

fn joined(
    part: Option<Result<Result<CompletedPart, StoreError>, tokio::task::JoinError>>,
) -> Result<CompletedPart, StoreError> {
    match part {
        Some(Ok(result)) => result,
        Some(Err(error)) => Err(StoreError::Unavailable(error.to_string())),
        None => Err(StoreError::Unavailable("a part went missing".into())),
    }
}
