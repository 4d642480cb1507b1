//! Listing, and deleting what is listed.

use aws_sdk_s3::error::BuildError;
use aws_sdk_s3::types::builders::ObjectIdentifierBuilder;
use aws_sdk_s3::types::{Delete, ObjectIdentifier};
use futures_util::{StreamExt, TryStreamExt, stream};

use super::answer::unsigned;
use super::{S3Store, claim, error};
use crate::storage::remains::MAX_ERASED;
use crate::storage::{Entry, Page, StoreError};

/// S3 lists and deletes at most so many objects with one request.
pub(super) const MAX_BATCH: usize = MAX_ERASED;
/// How many objects are looked at more closely at once.
const PARALLEL_HEADS: usize = 16;

impl S3Store {
    /// One page; claims are left out. It is empty only at the end.
    pub(super) async fn list_objects(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Page, StoreError> {
        let mut after = after.map(str::to_owned);
        loop {
            let page = self
                .list_all_objects(prefix, after.as_deref(), limit)
                .await?;
            after = page.entries.last().map(|entry| entry.key.clone());
            let entries = self.without_claims(page.entries).await?;
            if !entries.is_empty() || !page.more || after.is_none() {
                let more = page.more;
                return Ok(Page { entries, more });
            }
        }
    }

    async fn without_claims(&self, entries: Vec<Entry>) -> Result<Vec<Entry>, StoreError> {
        stream::iter(entries)
            .map(|entry| async {
                let keep = entry.size_bytes != claim::SIZE_BYTES || !self.is_claim(&entry).await?;
                Ok::<_, StoreError>(keep.then_some(entry))
            })
            .buffered(PARALLEL_HEADS)
            .try_filter_map(|entry| async { Ok(entry) })
            .try_collect()
            .await
    }

    pub(super) async fn list_all_objects(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Page, StoreError> {
        let list = self.bucket.client.list_objects_v2();
        let output = list
            .bucket(&self.bucket.name)
            .prefix(prefix)
            .set_start_after(after.map(str::to_owned))
            .max_keys(i32::try_from(limit.min(MAX_BATCH)).unwrap_or(i32::MAX))
            .send()
            .await
            .map_err(error::meaning)?;
        let more = output.is_truncated.unwrap_or(false);
        let entries = output.contents.unwrap_or_default().into_iter();
        let entries = entries
            .map(|object| {
                Ok(Entry {
                    size_bytes: unsigned(object.size)?,
                    modified: object
                        .last_modified
                        .and_then(|time| time.try_into().ok())
                        .unwrap_or(std::time::UNIX_EPOCH),
                    key: object.key.unwrap_or_default(),
                    digest: None,
                })
            })
            .collect::<Result<_, StoreError>>()?;
        Ok(Page { entries, more })
    }

    async fn is_claim(&self, entry: &Entry) -> Result<bool, StoreError> {
        match self.look_at(&entry.key).await {
            Ok(output) => {
                let metadata = output.metadata.unwrap_or_default();
                Ok(metadata.contains_key(claim::METADATA))
            }
            Err(StoreError::NotFound) => Ok(true),
            Err(error) => Err(error),
        }
    }

    pub(super) async fn delete_listed(&self, prefix: &str) -> Result<u64, StoreError> {
        let mut deleted = 0;
        loop {
            let page = self.list_all_objects(prefix, None, MAX_BATCH).await?;
            if page.entries.is_empty() {
                return Ok(deleted);
            }
            deleted += page.entries.len() as u64;
            let entries = page.entries.into_iter();
            self.delete_batch(entries.map(|it| ObjectIdentifier::builder().key(it.key)))
                .await?;
            if !page.more {
                return Ok(deleted);
            }
        }
    }

    /// Deletes up to [`MAX_BATCH`] objects, or versions of them.
    pub(super) async fn delete_batch(
        &self,
        objects: impl Iterator<Item = ObjectIdentifierBuilder>,
    ) -> Result<(), StoreError> {
        let mut delete = Delete::builder().quiet(true);
        for object in objects {
            let object = object.build();
            delete = delete.objects(object.map_err(|error| impossible(&error))?);
        }
        let request = self.bucket.client.delete_objects();
        let output = request
            .bucket(&self.bucket.name)
            .delete(delete.build().map_err(|error| impossible(&error))?)
            .send()
            .await
            .map_err(error::meaning)?;
        match output.errors().first() {
            None => Ok(()),
            Some(error) => Err(match error.code() {
                Some("SlowDown") => StoreError::Throttled,
                Some(code @ "AccessDenied") => StoreError::Forbidden(code.to_owned()),
                code => StoreError::Unavailable(format!(
                    "S3 could not delete an object: {}",
                    code.unwrap_or("-")
                )),
            }),
        }
    }
}

/// The builders fail only without the fields that are set above.
fn impossible(error: &BuildError) -> StoreError {
    StoreError::Unavailable(error.to_string())
}
