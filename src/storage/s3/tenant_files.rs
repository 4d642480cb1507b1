//! Tenant files under an S3 prefix.
//!
//! A file is replaced under the condition that it still has the `ETag` that
//! was read. Of a server that ignores the condition, which is found out before
//! the first write, the file is read again before and after.

use std::time::Duration;

use async_trait::async_trait;
use aws_sdk_s3::Client;
use aws_sdk_s3::operation::put_object::builders::PutObjectFluentBuilder;
use aws_sdk_s3::primitives::ByteStream;
use tokio::sync::OnceCell;

use super::conditions::Conditions;
use super::{Connection, error};
use crate::storage::StoreError;
use crate::storage::names::nonce;
use crate::tenant::settings::MAX_FILE_BYTES;
use crate::tenant::source::{Listed, SourceError, TenantFile, TenantSource, WriteError};

/// A file that stalls for so long is read again at the next refresh.
const IDLE_BODY: Duration = Duration::from_secs(20);

/// The objects directly under a prefix whose names are those of tenant files.
#[derive(Debug)]
pub struct S3Source {
    client: Client,
    bucket: String,
    prefix: String,
    /// Whether the server honours `If-Match`, once that is known.
    conditions: OnceCell<Conditions>,
}

impl S3Source {
    /// `prefix` is empty or ends with a slash. Conditional writes are not
    /// relied upon when the server is said to honour none.
    #[must_use]
    pub fn new(
        connection: &Connection,
        bucket: &str,
        prefix: &str,
        conditional_writes: Option<bool>,
    ) -> Self {
        let ignored = (conditional_writes == Some(false)).then_some(Conditions::Ignored);
        Self {
            client: connection.client(),
            bucket: bucket.to_owned(),
            prefix: prefix.to_owned(),
            conditions: OnceCell::new_with(ignored),
        }
    }

    fn put(&self, file_name: &str, text: &str) -> PutObjectFluentBuilder {
        self.client
            .put_object()
            .bucket(&self.bucket)
            .key(format!("{}{file_name}", self.prefix))
            .content_type("application/yaml")
            .body(ByteStream::from(text.as_bytes().to_vec()))
    }

    /// Whether the server refuses to replace what is not as it was read. That
    /// it does so for new names says little about it.
    async fn conditions(&self) -> Result<Conditions, WriteError> {
        let probe = || async {
            // Hidden, so that nobody takes it for a tenant's.
            let name = format!(".kura-probe-{}", nonce());
            let put = self.put(&name, "probe").send().await;
            put.map_err(error::meaning).map_err(refused)?;
            let other = format!("\"{:032x}\"", 0);
            let second = self.put(&name, "probe").if_match(other).send().await;
            let delete = self.client.delete_object().bucket(&self.bucket);
            let delete = delete.key(format!("{}{name}", self.prefix));
            if let Err(error) = delete.send().await.map_err(error::meaning) {
                tracing::warn!(%error, name, "the object that was written as a trial could not be removed");
            }
            match second.map_err(error::meaning) {
                Err(StoreError::PreconditionFailed) => Ok(Conditions::Honoured),
                Err(error) => Err(refused(error)),
                Ok(_) => {
                    tracing::warn!(
                        "the server ignores conditional writes: nobody else must change tenants at this moment"
                    );
                    Ok(Conditions::Ignored)
                }
            }
        };
        self.conditions.get_or_try_init(probe).await.copied()
    }

    /// Fails unless the file is as it was read.
    async fn check(&self, file_name: &str, read: Option<&TenantFile>) -> Result<(), WriteError> {
        match (self.read(file_name).await, read) {
            (Ok(now), Some(read)) if now.text == read.text => Ok(()),
            (Err(SourceError::NotFound), None) => Ok(()),
            (Err(SourceError::Unavailable(error)), _) => Err(WriteError::Unavailable(error)),
            (Ok(_), None) => Err(WriteError::Exists),
            _ => Err(WriteError::Changed),
        }
    }

    /// The version of the file if it has this text.
    async fn version_of(&self, file_name: &str, text: &str) -> Option<String> {
        let now = self.read(file_name).await.ok()?;
        (now.text == text).then_some(now.version)
    }
}

#[async_trait]
impl TenantSource for S3Source {
    async fn list(&self) -> Result<Vec<Listed>, SourceError> {
        let mut listed = Vec::new();
        let list = self.client.list_objects_v2();
        let list = list
            .bucket(&self.bucket)
            .prefix(&self.prefix)
            .delimiter("/");
        let mut pages = list.into_paginator().send();
        while let Some(page) = pages.next().await {
            let page = page
                .map_err(error::meaning)
                .map_err(|error| unavailable(&error))?;
            listed.extend(
                page.contents
                    .unwrap_or_default()
                    .into_iter()
                    .filter_map(|object| {
                        let key = object.key?;
                        let name = key.strip_prefix(&self.prefix)?;
                        Listed::new(name, object.e_tag?)
                    }),
            );
        }
        Ok(listed)
    }

    async fn read(&self, file_name: &str) -> Result<TenantFile, SourceError> {
        let get = self.client.get_object();
        let get = get
            .bucket(&self.bucket)
            .key(format!("{}{file_name}", self.prefix));
        let mut output = match get.send().await.map_err(error::meaning) {
            Ok(output) => output,
            Err(StoreError::NotFound) => return Err(SourceError::NotFound),
            Err(error) => return Err(unavailable(&error)),
        };
        let version = output.e_tag.take().unwrap_or_default();
        let changed = output.last_modified.and_then(|time| time.try_into().ok());
        let mut bytes = Vec::new();
        loop {
            let next = tokio::time::timeout(IDLE_BODY, output.body.next()).await;
            let Some(chunk) = next.map_err(|error| unavailable(&error))? else {
                break;
            };
            let chunk = chunk.map_err(|error| unavailable(&error))?;
            bytes.extend_from_slice(&chunk);
            if bytes.len() > MAX_FILE_BYTES {
                return Err(SourceError::TooLarge);
            }
        }
        let text = String::from_utf8(bytes).map_err(|_| SourceError::NotText)?;
        Ok(TenantFile {
            text,
            version,
            changed,
        })
    }

    async fn write(
        &self,
        file_name: &str,
        text: &str,
        read: Option<&TenantFile>,
    ) -> Result<String, WriteError> {
        let ignored = self.conditions().await? == Conditions::Ignored;
        if ignored {
            self.check(file_name, read).await?;
        }
        let put = self.put(file_name, text);
        let put = match read {
            Some(read) => put.if_match(&read.version),
            None => put.if_none_match("*"),
        };
        let error = match put.send().await {
            Ok(_) if ignored => None,
            Ok(output) => return Ok(output.e_tag.unwrap_or_default()),
            Err(error) if error::is_conflict(&error) => Some(StoreError::PreconditionFailed),
            Err(error) => Some(error::meaning(error)),
        };
        // A first try may have been written although its answer was lost.
        let version = self.version_of(file_name, text).await;
        match (version, error) {
            (Some(version), _) => Ok(version),
            (None, None) => Err(WriteError::Changed),
            (None, Some(error)) => Err(match (error, read) {
                (StoreError::PreconditionFailed, None) => WriteError::Exists,
                (StoreError::PreconditionFailed | StoreError::NotFound, _) => WriteError::Changed,
                (StoreError::Unavailable(error), _) => WriteError::Unknown(error),
                (error, _) => refused(error),
            }),
        }
    }

    /// Not every server knows conditions for this: the file is read once more,
    /// too.
    async fn remove(&self, file_name: &str, read: &TenantFile) -> Result<(), WriteError> {
        self.check(file_name, Some(read)).await?;
        let delete = self.client.delete_object().bucket(&self.bucket);
        let delete = delete.key(format!("{}{file_name}", self.prefix));
        let deleted = delete.if_match(&read.version).send().await;
        match deleted.map_err(error::meaning) {
            Ok(_) => Ok(()),
            Err(StoreError::PreconditionFailed | StoreError::NotFound) => Err(WriteError::Changed),
            Err(StoreError::Unavailable(error)) => Err(WriteError::Unknown(error)),
            Err(error) => Err(refused(error)),
        }
    }
}

fn unavailable(error: &dyn std::error::Error) -> SourceError {
    SourceError::Unavailable(error.to_string())
}

#[expect(clippy::needless_pass_by_value, reason = "it is what `map_err` gives")]
fn refused(error: StoreError) -> WriteError {
    WriteError::Unavailable(error.to_string())
}
