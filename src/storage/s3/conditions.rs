//! Whether the server honours `If-None-Match: *`.
//!
//! A 200 does not prove that the name was free: some S3-compatible servers
//! ignore the condition and overwrite. That has to be found out before the
//! first name is claimed, by writing one object twice.

use aws_sdk_s3::primitives::ByteStream;

use super::{S3Store, error};
use crate::storage::names::nonce;
use crate::storage::{BlobStore as _, StoreError};

/// What the server does with a conditional write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Conditions {
    /// It refuses one whose condition does not hold.
    Honoured,
    /// It writes regardless. Names are then made unique instead.
    Ignored,
}

impl S3Store {
    /// What the server does; found out once for each bucket.
    pub(super) async fn conditions(&self) -> Result<Conditions, StoreError> {
        let find_out = || async {
            let conditions = match self.bucket.options.conditional_writes {
                Some(true) => Conditions::Honoured,
                Some(false) => Conditions::Ignored,
                None => self.probe_conditions().await?,
            };
            self.report(conditions);
            Ok(conditions)
        };
        self.bucket
            .known
            .conditions
            .get_or_try_init(find_out)
            .await
            .copied()
    }

    async fn probe_conditions(&self) -> Result<Conditions, StoreError> {
        // Some servers would make a bucket whose name is mistyped.
        self.list_objects(self.layout.folder(), None, 1).await?;
        let key = self.layout.probe(&nonce());
        let put = || {
            self.bucket
                .client
                .put_object()
                .bucket(&self.bucket.name)
                .key(key.as_str())
                .if_none_match("*")
                .body(ByteStream::from_static(b"probe"))
                .send()
        };
        let first = put().await.map_err(error::meaning);
        // Of a key that is ours alone, a first write is refused only after a
        // try whose success we did not hear of.
        let last = match first {
            Ok(_) => put().await.map_err(error::meaning),
            Err(StoreError::PreconditionFailed) => Err(StoreError::PreconditionFailed),
            Err(error) => return Err(error),
        };
        if let Err(error) = self.delete(&key).await {
            tracing::warn!(%error, "the object that was written as a trial could not be removed");
        }
        match last {
            Ok(_) => Ok(Conditions::Ignored),
            Err(StoreError::PreconditionFailed) => Ok(Conditions::Honoured),
            Err(error) => Err(error),
        }
    }

    fn report(&self, conditions: Conditions) {
        let bucket = &self.bucket.name;
        match conditions {
            Conditions::Honoured => tracing::info!(bucket, "the server honours conditional writes"),
            Conditions::Ignored => tracing::warn!(
                bucket,
                "the server ignores conditional writes: stored names get a unique part"
            ),
        }
    }
}
