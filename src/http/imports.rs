//! `/v1/imports`: CSV files while they are being imported. Any task of the
//! deployment can read what another has stored.

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::header::{HeaderMap, IF_MATCH, IF_NONE_MATCH, IF_UNMODIFIED_SINCE};
use axum::http::{Response, StatusCode};
use axum::response::IntoResponse;
use serde::Serialize;
use utoipa::ToSchema;

use super::Served;
use super::error::{ApiError, ProblemBody};
use super::extract::{Caller, InPath, InQuery, Upload};
use super::files::refuse_conditions;
use super::read::{self, PresentationQuery};
use crate::key::{ImportKey, ObjectKey};

/// A stored import.
#[derive(Debug, Serialize, ToSchema)]
pub struct ImportStored {
    /// Its size, in bytes.
    size: u64,
    /// The SHA-256 of its bytes, in hex.
    digest: String,
}

/// Stores an import, in place of one of the same name
#[utoipa::path(
    put, path = "/v1/imports/{hex}", tag = "imports",
    params(
        ("hex" = String, Path, description = "16 to 64 lower-case hex digits", pattern = "^[0-9a-f]{16,64}$"),
        ("X-Kura-Digest" = Option<String>, Header, description = "The SHA-256 that the body must have, in hex", pattern = "^[0-9a-fA-F]{64}$"),
        ("X-Kura-Size" = Option<u64>, Header, description = "The size that the body must have, in bytes"),
    ),
    request_body(description = "The bytes", content_type = "text/csv"),
    responses(
        (status = 201, description = "Stored", body = ImportStored),
        (status = "4XX", description = "Refused; nothing is stored", body = ProblemBody, content_type = "application/problem+json"),
        (status = "5XX", description = "Failed; nothing is stored", body = ProblemBody, content_type = "application/problem+json"),
    ),
    security(("token" = [])),
)]
pub(super) async fn put(
    State(served): State<Arc<Served>>,
    Caller(tenant): Caller,
    InPath(key): InPath<ImportKey>,
    Upload(headers): Upload,
    all_headers: HeaderMap,
    body: Body,
) -> Result<impl IntoResponse, ApiError> {
    refuse_conditions(
        &all_headers,
        &[IF_MATCH, IF_NONE_MATCH, IF_UNMODIFIED_SINCE],
    )?;
    let payload = served.receiving.payload(&all_headers, body)?;
    let (size, digest) = tenant
        .inner
        .store
        .put_import(&key, headers, payload)
        .await?;
    let digest = digest.to_string();
    Ok((StatusCode::CREATED, Json(ImportStored { size, digest })))
}

/// Reads an import
#[utoipa::path(
    get, path = "/v1/imports/{hex}", tag = "imports",
    params(
        ("hex" = String, Path, description = "16 to 64 lower-case hex digits", pattern = "^[0-9a-f]{16,64}$"),
        PresentationQuery,
        ("Range" = Option<String>, Header, description = "One range of bytes"),
    ),
    responses(
        (status = 200, description = "The import", content_type = "*/*"),
        (status = 206, description = "The range of it", content_type = "*/*"),
        (status = 304, description = "The caller has it already"),
        (status = "4XX", description = "Refused; 404 also when it has expired", body = ProblemBody, content_type = "application/problem+json"),
        (status = "5XX", description = "Failed", body = ProblemBody, content_type = "application/problem+json"),
    ),
    security(("token" = [])),
)]
pub(super) async fn read(
    Caller(tenant): Caller,
    InPath(key): InPath<ImportKey>,
    InQuery(presentation): InQuery<PresentationQuery>,
    headers: HeaderMap,
) -> Result<Response<Body>, ApiError> {
    read::get(&tenant, &ObjectKey::Import(key), &headers, presentation).await
}

/// Describes an import
#[utoipa::path(
    head, path = "/v1/imports/{hex}", tag = "imports",
    params(
        ("hex" = String, Path, description = "16 to 64 lower-case hex digits", pattern = "^[0-9a-f]{16,64}$"),
        PresentationQuery,
    ),
    responses(
        (status = 200, description = "The headers that a GET would have"),
        (status = 304, description = "The caller has it already"),
        (status = "4XX", description = "Refused"),
        (status = "5XX", description = "Failed"),
    ),
    security(("token" = [])),
)]
pub(super) async fn head(
    Caller(tenant): Caller,
    InPath(key): InPath<ImportKey>,
    InQuery(presentation): InQuery<PresentationQuery>,
    headers: HeaderMap,
) -> Result<Response<Body>, ApiError> {
    read::head(&tenant, &ObjectKey::Import(key), &headers, presentation).await
}

/// Removes an import, if it is there
#[utoipa::path(
    delete, path = "/v1/imports/{hex}", tag = "imports",
    params(("hex" = String, Path, description = "16 to 64 lower-case hex digits", pattern = "^[0-9a-f]{16,64}$")),
    responses(
        (status = 204, description = "It is not there any more, or never was"),
        (status = "4XX", description = "Refused", body = ProblemBody, content_type = "application/problem+json"),
        (status = "5XX", description = "Failed", body = ProblemBody, content_type = "application/problem+json"),
    ),
    security(("token" = [])),
)]
pub(super) async fn delete(
    Caller(tenant): Caller,
    InPath(key): InPath<ImportKey>,
    headers: HeaderMap,
) -> Result<StatusCode, ApiError> {
    refuse_conditions(&headers, &[IF_MATCH, IF_NONE_MATCH, IF_UNMODIFIED_SINCE])?;
    tenant.inner.store.delete(&ObjectKey::Import(key)).await?;
    Ok(StatusCode::NO_CONTENT)
}
