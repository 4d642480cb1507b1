//! Tenant files under an S3 prefix.

use std::time::Duration;

use async_trait::async_trait;
use aws_sdk_s3::Client;

use super::{Connection, error};
use crate::storage::StoreError;
use crate::tenant::settings::MAX_FILE_BYTES;
use crate::tenant::source::{Listed, SourceError, TenantSource};

/// A file that stalls for so long is read again at the next refresh.
const IDLE_BODY: Duration = Duration::from_secs(20);

/// The objects directly under a prefix whose names are those of tenant files.
#[derive(Clone, Debug)]
pub struct S3Source {
    client: Client,
    bucket: String,
    prefix: String,
}

impl S3Source {
    /// `prefix` is empty or ends with a slash.
    #[must_use]
    pub fn new(connection: &Connection, bucket: &str, prefix: &str) -> Self {
        Self {
            client: connection.client(),
            bucket: bucket.to_owned(),
            prefix: prefix.to_owned(),
        }
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

    async fn read(&self, file_name: &str) -> Result<String, SourceError> {
        let get = self.client.get_object();
        let get = get
            .bucket(&self.bucket)
            .key(format!("{}{file_name}", self.prefix));
        let mut output = match get.send().await.map_err(error::meaning) {
            Ok(output) => output,
            Err(StoreError::NotFound) => return Err(SourceError::NotFound),
            Err(error) => return Err(unavailable(&error)),
        };
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
        String::from_utf8(bytes).map_err(|_| SourceError::NotText)
    }
}

fn unavailable(error: &dyn std::error::Error) -> SourceError {
    SourceError::Unavailable(error.to_string())
}
