//! `/v1/thumbnails`: small pictures of attachments.

use std::convert::Infallible;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::header::{
    CACHE_CONTROL, CONTENT_LENGTH, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, HeaderMap,
    HeaderValue, IF_MATCH, IF_NONE_MATCH, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{Response, StatusCode};
use bytes::Bytes;
use futures_util::stream;
use serde::Deserialize;
use utoipa::IntoParams;

use super::body::POLICY;
use super::conditional::Preconditions;
use super::error::{ApiError, ProblemBody};
use super::extract::{Caller, InPath, InQuery};
use super::files::refuse_conditions;
use super::{Served, TenantService};
use crate::key::{FileKey, Original, ThumbKey};
use crate::thumbnails::media_type;

/// Redmine, not Kura, says for how long a browser may show a thumbnail without
/// asking. To ask again costs no request to the store.
const CACHING: HeaderValue = HeaderValue::from_static("private, no-cache");

/// What a thumbnail is made of.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct ThumbnailQuery {
    /// The key of the file that it is made of, if it is not there yet.
    #[param(
        pattern = r"^(?!tmp/)(?!\.{1,2}(/|$))[^/\\\x00-\x1f\x7f-\x9f]+(/(?!\.{1,2}(/|$))[^/\\\x00-\x1f\x7f-\x9f]+)*$"
    )]
    source: Option<String>,
}

/// A thumbnail, made of its source if need be
///
/// The picture fits into a square of the size in the name and is never
/// enlarged. The source has to have the digest and the size in the name.
#[utoipa::path(
    get, path = "/v1/thumbnails/{name}", tag = "thumbnails",
    params(
        ("name" = String, Path, description = "`{digest}_{filesize}_{size}.thumb`: the SHA-256 or MD5 of the file in lower-case hex, its size in bytes, and a multiple of 50 up to 800", pattern = r"^([0-9a-f]{32}|[0-9a-f]{64})_(0|[1-9][0-9]{0,18})_(50|[1-7][05]0|800)\.thumb$"),
        ThumbnailQuery,
        ("If-None-Match" = Option<String>, Header, description = "The `ETag` of the thumbnail that the caller has"),
    ),
    responses(
        (status = 200, description = "The thumbnail", content_type = "*/*"),
        (status = 304, description = "The caller has it already"),
        (status = "4XX", description = "Refused: 404 when there is no such source, 409 when it is another file, 415 and 422 when no thumbnail can be made of it", body = ProblemBody, content_type = "application/problem+json"),
        (status = "5XX", description = "Failed", body = ProblemBody, content_type = "application/problem+json"),
    ),
    security(("token" = [])),
)]
pub(super) async fn read(
    State(served): State<Arc<Served>>,
    Caller(tenant): Caller,
    InPath(thumbnail): InPath<ThumbKey>,
    InQuery(query): InQuery<ThumbnailQuery>,
    headers: HeaderMap,
) -> Result<Response<Body>, ApiError> {
    refuse_conditions(&headers, &[IF_MATCH])?;
    let source = query.source.as_deref().map(FileKey::parse).transpose()?;
    let tag = format!("\"{}_{}\"", thumbnail.original(), thumbnail.side());
    let mut response = if Preconditions::from_headers(&headers).lists(&tag) {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        response
    } else {
        let TenantService { tenancy, store, .. } = &tenant.inner;
        let bytes = served
            .thumbnails
            .get(tenancy, store, thumbnail, source)
            .await?;
        let media_type = HeaderValue::from_static(media_type(&bytes));
        let length = bytes.len();
        let mut response = Response::new(Body::from(bytes));
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, media_type);
        headers.insert(CONTENT_LENGTH, length.into());
        headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        headers.insert(CONTENT_SECURITY_POLICY, POLICY);
        response
    };
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, CACHING);
    // Weak: made anew, it may look the same and have other bytes.
    if let Ok(etag) = HeaderValue::from_str(&format!("W/{tag}")) {
        headers.insert(ETAG, etag);
    }
    Ok(response)
}

/// Describes a thumbnail, made of its source if need be
#[utoipa::path(
    head, path = "/v1/thumbnails/{name}", tag = "thumbnails",
    params(
        ("name" = String, Path, description = "`{digest}_{filesize}_{size}.thumb`: the SHA-256 or MD5 of the file in lower-case hex, its size in bytes, and a multiple of 50 up to 800", pattern = r"^([0-9a-f]{32}|[0-9a-f]{64})_(0|[1-9][0-9]{0,18})_(50|[1-7][05]0|800)\.thumb$"),
        ThumbnailQuery,
        ("If-None-Match" = Option<String>, Header, description = "The `ETag` of the thumbnail that the caller has"),
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
    served: State<Arc<Served>>,
    tenant: Caller,
    name: InPath<ThumbKey>,
    query: InQuery<ThumbnailQuery>,
    headers: HeaderMap,
) -> Result<Response<Body>, ApiError> {
    let response = read(served, tenant, name, query, headers).await?;
    // A known length of 0 would be filled in for a 304, and be said of the
    // thumbnail (RFC 9110 §8.6).
    let none = stream::empty::<Result<Bytes, Infallible>>();
    Ok(response.map(|_| Body::from_stream(none)))
}

/// Removes all thumbnails of one file, wherever they are kept
#[utoipa::path(
    delete, path = "/v1/thumbnails/{name}", tag = "thumbnails",
    params(("name" = String, Path, description = "`{digest}_{filesize}`: the SHA-256 or MD5 of the file in lower-case hex and its size in bytes", pattern = r"^([0-9a-f]{32}|[0-9a-f]{64})_(0|[1-9][0-9]{0,18})$")),
    responses(
        (status = 204, description = "There are none any more, or never were"),
        (status = "4XX", description = "Refused", body = ProblemBody, content_type = "application/problem+json"),
        (status = "5XX", description = "Failed", body = ProblemBody, content_type = "application/problem+json"),
    ),
    security(("token" = [])),
)]
pub(super) async fn delete(
    State(served): State<Arc<Served>>,
    Caller(tenant): Caller,
    InPath(original): InPath<Original>,
    headers: HeaderMap,
) -> Result<StatusCode, ApiError> {
    refuse_conditions(&headers, &[IF_MATCH, IF_NONE_MATCH])?;
    let TenantService { tenancy, store, .. } = &tenant.inner;
    let thumbnails = &served.thumbnails;
    thumbnails.clear_original(tenancy, store, original).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Removes all of this tenant's thumbnails, wherever they are kept
#[utoipa::path(
    delete, path = "/v1/thumbnails", tag = "thumbnails",
    responses(
        (status = 204, description = "There are none any more"),
        (status = "4XX", description = "Refused: 409 when they lie in a folder that other tenants may use, too", body = ProblemBody, content_type = "application/problem+json"),
        (status = "5XX", description = "Failed", body = ProblemBody, content_type = "application/problem+json"),
    ),
    security(("token" = [])),
)]
pub(super) async fn clear(
    State(served): State<Arc<Served>>,
    Caller(tenant): Caller,
) -> Result<StatusCode, ApiError> {
    let TenantService { tenancy, store, .. } = &tenant.inner;
    served.thumbnails.clear(tenancy, store).await?;
    Ok(StatusCode::NO_CONTENT)
}
