//! `/v1/archives`: many files as one ZIP, made while it is sent.

use std::sync::Arc;

use axum::body::Body;
use axum::http::Response;
use axum::http::header::{
    CONTENT_DISPOSITION, CONTENT_LENGTH, CONTENT_TYPE, HeaderValue, X_CONTENT_TYPE_OPTIONS,
};
use futures_util::{StreamExt, TryStreamExt, stream};
use serde::Deserialize;
use utoipa::ToSchema;

use super::ServedTenant;
use super::disposition::{self, Disposition};
use super::error::{ApiError, ProblemBody};
use super::extract::{Caller, InJson};
use super::zip::{self, Plan, PlanEntry};
use crate::budget::Permit;
use crate::key::{FileKey, ObjectKey};
use crate::storage::scoped::TenantStoreError;
use crate::storage::{GetOptions, ObjectInfo, StoreError};

/// How many files an archive has at most.
const MAX_ENTRIES: usize = 10_000;
/// How many of them are looked at at once beforehand.
const PARALLEL_HEADS: usize = 16;

/// What to put in an archive.
#[derive(Debug, Deserialize, ToSchema)]
pub struct ArchiveRequest {
    /// The files, in order: 1 to 10,000.
    #[schema(min_items = 1, max_items = 10000)]
    entries: Vec<ArchiveEntry>,
    /// The archive's own file name, for the browser.
    filename: Option<String>,
}

/// A file of an archive.
#[derive(Debug, Deserialize, ToSchema)]
pub struct ArchiveEntry {
    /// Its key.
    #[schema(
        pattern = r"^(?!tmp/)(?!\.{1,2}(/|$))[^/\\\x00-\x1f\x7f-\x9f]+(/(?!\.{1,2}(/|$))[^/\\\x00-\x1f\x7f-\x9f]+)*$"
    )]
    key: String,
    /// Its name in the archive. Names that occur again are numbered.
    name: String,
}

/// A file that was there when the archive was begun.
struct Found {
    key: ObjectKey,
    name: String,
    info: ObjectInfo,
}

/// Streams a ZIP of files
///
/// Its length is known beforehand; memory does not grow with it. When a file
/// cannot be read to its end the connection is closed early.
#[utoipa::path(
    post, path = "/v1/archives", tag = "archives",
    request_body = ArchiveRequest,
    responses(
        (status = 200, description = "The archive", content_type = "application/zip"),
        (status = "4XX", description = "Refused: 404 when a file is not there", body = ProblemBody, content_type = "application/problem+json"),
        (status = "5XX", description = "Failed", body = ProblemBody, content_type = "application/problem+json"),
    ),
    security(("token" = [])),
)]
pub(super) async fn create(
    Caller(tenant): Caller,
    InJson {
        value: request,
        memory,
    }: InJson<ArchiveRequest>,
) -> Result<Response<Body>, ApiError> {
    if !(1..=MAX_ENTRIES).contains(&request.entries.len()) {
        return Err(ApiError::invalid_parameter(
            "an archive has 1 to 10,000 files",
        ));
    }
    let found = find(&tenant, request.entries).await?;
    let plan = Plan::new(found.iter().map(PlanEntry::from).collect());
    let length = plan.total_bytes();
    let mut response = Response::new(Body::from_stream(stream_of(tenant, plan, found, memory)));
    let headers = response.headers_mut();
    let file_name = request.filename.as_deref();
    let save = disposition::header(Disposition::Attachment, file_name);
    headers.insert(CONTENT_LENGTH, length.into());
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/zip"));
    headers.insert(CONTENT_DISPOSITION, save);
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    Ok(response)
}

impl From<&Found> for PlanEntry {
    fn from(found: &Found) -> Self {
        Self {
            name: found.name.clone(),
            size_bytes: found.info.size_bytes,
            modified: found.info.modified,
        }
    }
}

async fn find(tenant: &ServedTenant, entries: Vec<ArchiveEntry>) -> Result<Vec<Found>, ApiError> {
    let keys = entries
        .into_iter()
        .map(|entry| Ok((ObjectKey::File(FileKey::parse(&entry.key)?), entry.name)))
        .collect::<Result<Vec<_>, ApiError>>()?;
    stream::iter(keys)
        .map(|(key, name)| async {
            let info = tenant.inner.store.head(&key).await?;
            Ok(Found { key, name, info })
        })
        .buffered(PARALLEL_HEADS)
        .try_collect()
        .await
}

fn stream_of(
    tenant: Arc<ServedTenant>,
    plan: Plan,
    found: Vec<Found>,
    memory: Permit,
) -> impl futures_util::Stream<Item = Result<bytes::Bytes, zip::ArchiveError<StoreError>>> {
    zip::stream(plan, move |index| {
        // Held as long as anything of the archive may be sent.
        let _ = &memory;
        let tenant = Arc::clone(&tenant);
        let Found { key, info, .. } = &found[index];
        let (key, etag) = (key.clone(), info.etag.clone());
        async move {
            let options = GetOptions {
                range: None,
                if_match: Some(etag),
            };
            match tenant.inner.store.get(&key, options).await {
                Ok(object) => Ok(object.body),
                Err(TenantStoreError::Store(error)) => Err(error),
                Err(TenantStoreError::Key(_)) => Err(StoreError::NotFound),
            }
        }
    })
}
