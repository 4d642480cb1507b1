//! Claims: small objects that hold a name while the real object is made.
//!
//! A multipart upload shows whether its name is free only when it completes,
//! when the payload has passed and cannot be sent again; and a copy need not
//! be conditional at all. So the name is taken first, atomically, by a claim,
//! which the finished object replaces. To readers a claim is not there.

use aws_sdk_s3::primitives::ByteStream;

use super::S3Store;
use crate::key::StoreKey;
use crate::storage::StoreError;
use crate::storage::names::nonce;

/// Of a size that hardly any file has, so that a listing, which does not show
/// metadata, has to look more closely at few objects.
const TEXT: &str = "Claimed by an upload to Kura: ";
/// The size of a claim, in bytes: the text, a nonce that makes its `ETag` its
/// own, and a line end.
pub(super) const SIZE_BYTES: u64 = TEXT.len() as u64 + 16 + 1;
/// The metadata that makes an object a claim.
pub(super) const METADATA: &str = "kura-claim";

/// A name that is ours.
#[derive(Debug)]
pub(super) struct Claim {
    pub(super) key: StoreKey,
    /// The claim's own `ETag`: whoever replaces it makes sure it is there.
    pub(super) etag: String,
}

impl S3Store {
    /// Takes the name `key`.
    ///
    /// # Errors
    /// [`StoreError::AlreadyExists`] when it is taken.
    pub(super) async fn claim(&self, key: &StoreKey) -> Result<Claim, StoreError> {
        let nonce = nonce();
        let etag = self
            .create(key, &nonce, |put| {
                let body = format!("{TEXT}{nonce}\n").into_bytes();
                put.metadata(METADATA, &nonce).body(ByteStream::from(body))
            })
            .await?;
        Ok(Claim {
            key: key.clone(),
            etag,
        })
    }

    /// Gives a name back, unless something else has it by now.
    pub(super) async fn release(&self, claim: &Claim) {
        if let Err(error) = self.delete_unchanged(&claim.key, &claim.etag).await {
            tracing::warn!(%error, "a claim could not be removed");
        }
    }
}
