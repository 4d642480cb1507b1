//! Reading a range of an object: taken up again where it broke, and given up
//! when the object is no longer the same.

use std::ops::Range;
use std::time::Duration;

use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::ChecksumMode;
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use tokio_util::task::AbortOnDropHandle;
use tracing::Instrument;

use super::answer::received_range;
use super::{S3Store, error};
use crate::key::StoreKey;
use crate::storage::buffer::Buffer;
use crate::storage::verify::{Expected, Verifier};
use crate::storage::{ByteRange, ObjectInfo, StoreError};

/// How often a body is taken up again without a byte of progress.
const MAX_RESUMES: u32 = 5;
/// The wait before the first of them; doubled each time.
const RESUME_BACKOFF: Duration = Duration::from_millis(100);

/// The object that is being read: every request for more of it makes sure that
/// it is still the same.
#[derive(Clone)]
pub(super) struct Source {
    pub(super) store: S3Store,
    pub(super) key: StoreKey,
    pub(super) etag: String,
}

impl Source {
    async fn open(&self, first: u64, last: u64) -> Result<ByteStream, StoreError> {
        let range = ByteRange::Inclusive(first, last);
        let output = self
            .store
            .open(&self.key, Some(range), Some(&self.etag))
            .await?;
        let (received, _) = received_range(&output)?;
        if received.start != first {
            return Err(StoreError::Unavailable("S3 sent another range".into()));
        }
        Ok(output.body)
    }

    /// Knows the whole object again by the digest in its metadata or, for a
    /// large upload whose digest was not known beforehand, by the checksum
    /// that S3 keeps, which costs one HEAD among the many requests.
    pub(super) fn verifier(&self, info: &ObjectInfo) -> Verifier {
        let large = info.size_bytes > self.store.part_bytes();
        let source = self.clone();
        let expected = match info.digest {
            Some(digest) => Expected::Digest(digest),
            None if large && self.store.bucket.options.checksums => {
                Expected::Crc64(AbortOnDropHandle::new(tokio::spawn(
                    async move { source.stored_crc64().await }.in_current_span(),
                )))
            }
            None => Expected::Nothing,
        };
        Verifier::new(expected, info.size_bytes)
    }

    async fn stored_crc64(&self) -> Option<u64> {
        let head = self.store.head_request(self.key.as_str());
        let head = head
            .if_match(&self.etag)
            .checksum_mode(ChecksumMode::Enabled);
        let output = head.send().await.map_err(error::meaning);
        // To fail for it would be worse for whoever waits than to go without.
        let output = output.inspect_err(|error| {
            tracing::warn!(%error, "a download is not verified: its checksum could not be had");
        });
        let encoded = output.ok()?.checksum_crc64_nvme?;
        let bytes = BASE64.decode(encoded).ok()?;
        Some(u64::from_be_bytes(bytes.try_into().ok()?))
    }
}

/// A range that is read byte by byte, and taken up again where it broke.
pub(super) struct Streaming {
    source: Source,
    position: u64,
    end: u64,
    body: Option<ByteStream>,
}

impl Streaming {
    /// Reads `range`, beginning with the `body` that has been opened for it,
    /// if one has.
    pub(super) fn new(source: Source, range: Range<u64>, body: Option<ByteStream>) -> Self {
        Self {
            source,
            position: range.start,
            end: range.end,
            body,
        }
    }

    /// The next bytes; `None` at the end of the range.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, StoreError> {
        let mut resumes = 0;
        while self.position < self.end {
            let broken = match self.try_next().await {
                Ok(bytes) => {
                    self.position += bytes.len() as u64;
                    return Ok(Some(bytes));
                }
                Err(StoreError::Unavailable(detail)) => detail,
                Err(StoreError::Throttled) => StoreError::Throttled.to_string(),
                // It is not the same object any more.
                Err(StoreError::NotFound | StoreError::PreconditionFailed) => {
                    return Err(StoreError::PreconditionFailed);
                }
                Err(error) => return Err(error),
            };
            self.body = None;
            if resumes == MAX_RESUMES {
                return Err(StoreError::Unavailable(broken));
            }
            tracing::info!(detail = broken, "a download from S3 broke and is resumed");
            tokio::time::sleep(RESUME_BACKOFF * 2u32.pow(resumes)).await;
            resumes += 1;
        }
        Ok(None)
    }

    async fn try_next(&mut self) -> Result<Bytes, StoreError> {
        let idle = self.source.store.bucket.options.idle_body;
        let body = match &mut self.body {
            Some(body) => body,
            none => none.insert(self.source.open(self.position, self.end - 1).await?),
        };
        let broken = |detail: &str| StoreError::Unavailable(detail.to_owned());
        match tokio::time::timeout(idle, body.next()).await {
            Ok(Some(Ok(bytes))) if bytes.len() as u64 > self.end - self.position => {
                Err(StoreError::Corrupt)
            }
            Ok(Some(Ok(bytes))) => Ok(bytes),
            Ok(Some(Err(error))) => Err(broken(&error::chain(&error))),
            Ok(None) => Err(broken("the body ended early")),
            Err(_) => Err(broken("the body stalled")),
        }
    }

    /// All that is left of the range.
    pub(super) async fn collect(mut self, mut buffer: Buffer) -> Result<Bytes, StoreError> {
        while let Some(bytes) = self.next().await? {
            buffer.fill(&bytes);
        }
        Ok(buffer.freeze())
    }
}
