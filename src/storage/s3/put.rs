//! Uploads: what fits one part is one request.

use std::time::Duration;

use aws_sdk_s3::operation::put_object::builders::PutObjectFluentBuilder;
use aws_sdk_s3::primitives::ByteStream;
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use tokio_util::sync::CancellationToken;

use super::conditions::Conditions;
use super::observe::Attempts;
use super::{S3Store, error};
use crate::digest::Digest;
use crate::key::StoreKey;
use crate::storage::names::nonce;
use crate::storage::parts::PartReader;
use crate::storage::{Payload, PayloadError, PutMode, PutRequest, StoreError, Stored, stored_name};

/// S3 allows this many parts.
const MAX_PARTS: u64 = 10_000;
/// How often a conditional write that met another is tried.
const MAX_CONFLICTS: u32 = 6;
/// The metadata by which a write that was tried twice knows itself again.
pub(super) const NONCE: &str = "kura-nonce";
/// The metadata that `redmica_s3`, too, keeps the SHA-256 in.
pub(super) const DIGEST: &str = "digest";

impl S3Store {
    /// Stores a payload. When `abandoned`, because nobody waits for the answer
    /// any more, what has been created is removed again.
    pub(super) async fn upload(
        &self,
        request: PutRequest,
        payload: Payload,
        abandoned: CancellationToken,
    ) -> Result<Stored, StoreError> {
        let part_bytes = self.part_bytes_for(payload.length);
        let mut parts = PartReader::new(payload, self.share.clone(), part_bytes, abandoned.clone());
        let first = parts.next().await?;
        let nonce = nonce();
        // Boxed, since this future is moved from thread to thread and those
        // would make it one of 100 KB and more.
        let stored = if parts.is_at_end().await? {
            let digest = parts.summary().digest;
            Box::pin(self.put_single(&request, &nonce, first.bytes, digest)).await?
        } else {
            Box::pin(self.put_multipart(&request, &nonce, first, parts)).await?
        };
        if abandoned.is_cancelled() && request.mode != PutMode::Overwrite {
            Box::pin(self.delete_own(&stored.key, &nonce)).await;
        }
        Ok(stored)
    }

    /// Removes what has been stored with this nonce, and nothing that has
    /// replaced it since.
    async fn delete_own(&self, key: &StoreKey, nonce: &str) {
        let deleted = match self.etag_of_own(key, nonce).await {
            Ok(Some(etag)) => self.delete_unchanged(key, &etag).await,
            Ok(None) => Ok(()),
            Err(error) => Err(error),
        };
        if let Err(error) = deleted {
            tracing::warn!(%error, "an upload that nobody waits for could not be removed");
        }
    }

    /// The size of parts: larger where 10,000 would not be enough.
    fn part_bytes_for(&self, length: Option<u64>) -> usize {
        let options = &self.bucket.options;
        let payload_bytes = length.unwrap_or(options.max_payload_bytes);
        let needed = usize::try_from(payload_bytes.div_ceil(MAX_PARTS)).unwrap_or(usize::MAX);
        options.part_bytes.max(needed)
    }

    async fn put_single(
        &self,
        request: &PutRequest,
        nonce: &str,
        bytes: Bytes,
        digest: Digest,
    ) -> Result<Stored, StoreError> {
        check_digest(request, digest)?;
        let size_bytes = bytes.len() as u64;
        let with_body = |put: PutObjectFluentBuilder| {
            let put = put
                .content_type(content_type(request))
                .set_content_disposition(request.file_name.as_deref().map(stored_name::stored_form))
                .metadata(DIGEST, digest.to_string())
                .metadata(NONCE, nonce)
                .body(ByteStream::from(bytes.clone()));
            if self.bucket.options.checksums {
                put.checksum_sha256(BASE64.encode(digest.as_bytes()))
            } else {
                put
            }
        };
        let key = match request.mode {
            PutMode::Overwrite => {
                let put = || with_body(self.new_put(&request.key));
                self.put_once(&request.key, nonce, put).await?;
                request.key.clone()
            }
            PutMode::CreateOnly => {
                self.refuse_if_taken(&request.key).await?;
                self.create(&request.key, nonce, &with_body).await?;
                request.key.clone()
            }
            PutMode::FirstFree => {
                let mut names = self.names_for(&request.key).await?;
                loop {
                    let key = names.next().ok_or(StoreError::AlreadyExists)?;
                    match self.create(&key, nonce, &with_body).await {
                        Ok(_) => break key,
                        Err(StoreError::AlreadyExists) => {}
                        Err(error) => return Err(error),
                    }
                }
            }
        };
        Ok(Stored {
            key,
            size_bytes,
            digest,
        })
    }

    /// The names to try, in order. Where the server would not tell that one
    /// is taken, it is unique instead.
    pub(super) async fn names_for(
        &self,
        key: &StoreKey,
    ) -> Result<Box<dyn Iterator<Item = StoreKey> + Send + '_>, StoreError> {
        Ok(match self.conditions().await? {
            Conditions::Honoured => Box::new(self.bucket.known.names.candidates(key.clone())),
            Conditions::Ignored => Box::new(std::iter::once(key.with_nonce(&nonce()))),
        })
    }

    /// On a server that ignores conditions, the best that can be done for a
    /// key that must be this one: look first.
    pub(super) async fn refuse_if_taken(&self, key: &StoreKey) -> Result<(), StoreError> {
        if self.conditions().await? == Conditions::Honoured {
            return Ok(());
        }
        match self.describe(key).await {
            Ok(_) => Err(StoreError::AlreadyExists),
            Err(StoreError::NotFound) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Creates an object, and returns its `ETag`. `nonce` is in its metadata.
    ///
    /// # Errors
    /// [`StoreError::AlreadyExists`] when another has the key; never when it
    /// is only that an earlier try of this very request had succeeded.
    pub(super) async fn create(
        &self,
        key: &StoreKey,
        nonce: &str,
        with_body: impl Fn(PutObjectFluentBuilder) -> PutObjectFluentBuilder,
    ) -> Result<String, StoreError> {
        let put = || with_body(self.new_put(key).if_none_match("*"));
        match self.put_once(key, nonce, put).await {
            Err(StoreError::PreconditionFailed) => Err(StoreError::AlreadyExists),
            result => result,
        }
    }

    /// Sends a PUT whose metadata has `nonce`. Where the outcome of a try is
    /// not known the object is looked at: what was refused or given up may be
    /// what that try had stored.
    async fn put_once(
        &self,
        key: &StoreKey,
        nonce: &str,
        put: impl Fn() -> PutObjectFluentBuilder,
    ) -> Result<String, StoreError> {
        let attempts = Attempts::default();
        let error = match self.send_put(put, &attempts).await {
            Err(error) if attempts.may_have_succeeded() => error,
            result => return result,
        };
        match (error, self.etag_of_own(key, nonce).await) {
            (_, Ok(Some(etag))) => Ok(etag),
            // Whether the name is taken by another or by ourselves cannot be
            // told.
            (StoreError::PreconditionFailed, Err(unknown)) => Err(unknown),
            (error, _) => Err(error),
        }
    }

    fn new_put(&self, key: &StoreKey) -> PutObjectFluentBuilder {
        let put = self.bucket.client.put_object();
        put.bucket(&self.bucket.name).key(key.as_str())
    }

    async fn send_put(
        &self,
        put: impl Fn() -> PutObjectFluentBuilder,
        attempts: &Attempts,
    ) -> Result<String, StoreError> {
        let mut conflicts = 0;
        loop {
            let put = put();
            let body = put.get_body().as_ref().and_then(ByteStream::bytes);
            let bytes = body.map_or(0, <[u8]>::len);
            let mut request = put
                .customize()
                .config_override(self.bucket.time_to_send(bytes))
                .interceptor(attempts.clone());
            if self.bucket.options.checksums {
                // The checksum is signed, so the payload need not be.
                request = request.disable_payload_signing();
            }
            match request.send().await {
                Ok(output) => return Ok(output.e_tag.unwrap_or_default()),
                // Another conditional write of this key was under way.
                Err(error) if error::is_conflict(&error) && conflicts < MAX_CONFLICTS => {
                    conflicts += 1;
                    tokio::time::sleep(Duration::from_millis(10 << conflicts)).await;
                }
                Err(error) => return Err(error::meaning(error)),
            }
        }
    }

    /// The object's `ETag` if it was written with this nonce.
    pub(super) async fn etag_of_own(
        &self,
        key: &StoreKey,
        nonce: &str,
    ) -> Result<Option<String>, StoreError> {
        let head = self.head_request(key.as_str()).send().await;
        let output = match head.map_err(error::meaning) {
            Ok(output) => output,
            Err(StoreError::NotFound) => return Ok(None),
            Err(error) => return Err(error),
        };
        let own = output.metadata.as_ref().is_some_and(|metadata| {
            [NONCE, super::claim::METADATA]
                .iter()
                .any(|name| metadata.get(*name).is_some_and(|value| value == nonce))
        });
        Ok(if own { output.e_tag } else { None })
    }
}

/// Always given: some servers guess one where there is none.
pub(super) fn content_type(request: &PutRequest) -> &str {
    request
        .content_type
        .as_deref()
        .unwrap_or("application/octet-stream")
}

/// The caller's expectation comes before anything is stored.
pub(super) fn check_digest(request: &PutRequest, digest: Digest) -> Result<(), StoreError> {
    match request.expected_digest {
        Some(expected) if expected != digest => Err(PayloadError::WrongDigest.into()),
        _ => Ok(()),
    }
}
