//! `/v1/files` and `/v1/move`: attachments.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::header::{
    HeaderMap, HeaderName, HeaderValue, IF_MATCH, IF_NONE_MATCH, IF_UNMODIFIED_SINCE,
};
use axum::http::{Response, StatusCode};
use axum::response::IntoResponse;
use axum::{Json, response};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::error::{ApiError, ProblemBody};
use super::extract::{Caller, InJson, InPath, InQuery, Upload};
use super::read::{self, PresentationQuery};
use super::{Served, ServedTenant, TenantService};
use crate::key::{FileKey, ObjectKey};
use crate::quota::{QuotaError, Room};
use crate::storage::scoped::{FileEntry, Listing, StoredFile, UploadHeaders};
use crate::storage::{Payload, PutMode};

/// How many files a page has at most.
const MAX_PAGE: usize = 1000;
/// How many it has when the caller does not say.
const DEFAULT_PAGE: usize = 100;

/// Where an upload is to be stored.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct CreateQuery {
    /// Redmine's `disk_directory`, such as `2026/11`; empty for none.
    #[serde(default)]
    #[param(
        pattern = r"^((?!tmp(/|$))(?!\.{1,2}(/|$))[^/\\\x00-\x1f\x7f-\x9f]+(/(?!\.{1,2}(/|$))[^/\\\x00-\x1f\x7f-\x9f]+)*)?$"
    )]
    directory: String,
    /// The wanted `disk_filename`, such as `261122194501_report.pdf`.
    #[param(pattern = r"^(?!\.{1,2}$)[^/\\\x00-\x1f\x7f-\x9f]+$")]
    name: String,
}

/// A stored file.
#[derive(Debug, Serialize, ToSchema)]
pub struct Created {
    /// The key under which it is read: `disk_directory/disk_filename`.
    key: String,
    /// For Redmine's column of this name.
    disk_directory: String,
    /// For Redmine's column of this name; another than wanted if that was taken.
    disk_filename: String,
    /// Its size, in bytes.
    size: u64,
    /// The SHA-256 of its bytes, in hex.
    digest: String,
    /// The media type kept with it.
    content_type: Option<String>,
}

impl Created {
    fn new(stored: &StoredFile, content_type: Option<String>) -> (StatusCode, Json<Self>) {
        let created = Self {
            key: stored.key.to_string(),
            disk_directory: stored.key.directory().unwrap_or_default().to_owned(),
            disk_filename: stored.key.name().to_owned(),
            size: stored.size_bytes,
            digest: stored.digest.to_string(),
            content_type,
        };
        (StatusCode::CREATED, Json(created))
    }
}

/// Stores the body under the wanted name, or the next free one
///
/// The reply says which name was taken. It is sent when the store has
/// confirmed the whole object.
#[utoipa::path(
    post, path = "/v1/files", tag = "files",
    params(
        CreateQuery,
        ("X-Kura-Filename" = Option<String>, Header, description = "The original file name, percent-encoded UTF-8", pattern = "^[ -~]+$"),
        ("X-Kura-Digest" = Option<String>, Header, description = "The SHA-256 that the body must have, in hex", pattern = "^[0-9a-fA-F]{64}$"),
        ("X-Kura-Size" = Option<u64>, Header, description = "The size that the body must have, in bytes"),
    ),
    request_body(description = "The bytes", content_type = "application/octet-stream"),
    responses(
        (status = 201, description = "Stored", body = Created),
        (status = "4XX", description = "Refused; nothing is stored", body = ProblemBody, content_type = "application/problem+json"),
        (status = "5XX", description = "Failed; nothing is stored", body = ProblemBody, content_type = "application/problem+json"),
    ),
    security(("token" = [])),
)]
pub(super) async fn create(
    State(served): State<Arc<Served>>,
    Caller(tenant): Caller,
    InQuery(query): InQuery<CreateQuery>,
    Upload(headers): Upload,
    all_headers: HeaderMap,
    body: Body,
) -> Result<impl IntoResponse, ApiError> {
    let key = FileKey::join(&query.directory, &query.name)?;
    let payload = served.receiving.payload(&all_headers, body)?;
    store(&served, &tenant, &key, PutMode::FirstFree, headers, payload).await
}

/// Stores a file, and has its thumbnails made where that is wanted.
async fn store(
    served: &Served,
    tenant: &ServedTenant,
    key: &FileKey,
    mode: PutMode,
    headers: UploadHeaders,
    payload: Payload,
) -> Result<(StatusCode, Json<Created>), ApiError> {
    let content_type = headers.content_type.clone();
    let TenantService { tenancy, store, .. } = &tenant.inner;
    let room = take_room(served, tenant, payload.length).await?;
    let (payload, watched) = served.thumbnails.watch(payload);
    let stored = store.put_file(key, mode, headers, payload).await;
    if mode == PutMode::Overwrite {
        served.forget(tenant, key).await;
    }
    let stored = stored?;
    if let Some(room) = room {
        room.filled(stored.size_bytes);
    }
    let created = Created::new(&stored, content_type);
    let thumbnails = &served.thumbnails;
    thumbnails.uploaded(tenancy, store, stored, &watched);
    Ok(created)
}

/// Room under the tenant's quota, where it has one.
async fn take_room(
    served: &Served,
    tenant: &ServedTenant,
    length: Option<u64>,
) -> Result<Option<Room>, ApiError> {
    let TenantService { store, quota, .. } = &tenant.inner;
    let Some(quota) = quota else {
        return Ok(None);
    };
    let admitted = Arc::clone(quota).admit(store, length.unwrap_or(0)).await;
    admitted.map(Some).map_err(|error| match error {
        QuotaError::Exceeded { .. } => served.reject(error.into()),
        error => error.into(),
    })
}

/// Stores the body under exactly this key
///
/// A file that is there is replaced, unless `If-None-Match: *` is sent.
#[utoipa::path(
    put, path = "/v1/files/{key}", tag = "files",
    params(
        ("key" = String, Path, description = "The file's key; it may have slashes. Segments have 1 to 255 bytes, all of it 768; none is `.` or `..`, and `tmp/` is reserved", pattern = r"^(?!tmp/)(?!\.{1,2}(/|$))[^/\\\x00-\x1f\x7f-\x9f]+(/(?!\.{1,2}(/|$))[^/\\\x00-\x1f\x7f-\x9f]+)*$"),
        ("If-None-Match" = Option<String>, Header, description = "`*`: only if there is none", pattern = r"^\*$"),
        ("X-Kura-Filename" = Option<String>, Header, description = "The original file name, percent-encoded UTF-8", pattern = "^[ -~]+$"),
        ("X-Kura-Digest" = Option<String>, Header, description = "The SHA-256 that the body must have, in hex", pattern = "^[0-9a-fA-F]{64}$"),
        ("X-Kura-Size" = Option<u64>, Header, description = "The size that the body must have, in bytes"),
    ),
    request_body(description = "The bytes", content_type = "application/octet-stream"),
    responses(
        (status = 201, description = "Stored", body = Created),
        (status = "4XX", description = "Refused; nothing is stored", body = ProblemBody, content_type = "application/problem+json"),
        (status = "5XX", description = "Failed; nothing is stored", body = ProblemBody, content_type = "application/problem+json"),
    ),
    security(("token" = [])),
)]
pub(super) async fn put(
    State(served): State<Arc<Served>>,
    Caller(tenant): Caller,
    InPath(key): InPath<FileKey>,
    Upload(headers): Upload,
    all_headers: HeaderMap,
    body: Body,
) -> Result<impl IntoResponse, ApiError> {
    let mode = put_mode(&all_headers)?;
    let payload = served.receiving.payload(&all_headers, body)?;
    let created = store(&served, &tenant, &key, mode, headers, payload).await;
    created.map_err(|error| match mode {
        PutMode::CreateOnly if error.is_already_exists() => ApiError::key_taken(),
        _ => error,
    })
}

fn put_mode(headers: &HeaderMap) -> Result<PutMode, ApiError> {
    refuse_conditions(headers, &[IF_MATCH, IF_UNMODIFIED_SINCE])?;
    match headers.get(IF_NONE_MATCH).map(HeaderValue::as_bytes) {
        None => Ok(PutMode::Overwrite),
        Some(b"*") => Ok(PutMode::CreateOnly),
        Some(_) => Err(ApiError::invalid_parameter("If-None-Match must be * here")),
    }
}

/// What cannot be promised must not be ignored.
pub(super) fn refuse_conditions(
    headers: &HeaderMap,
    unsupported: &[HeaderName],
) -> Result<(), ApiError> {
    match unsupported.iter().find(|name| headers.contains_key(*name)) {
        None => Ok(()),
        Some(name) => Err(ApiError::invalid_parameter(format!(
            "{name} is not supported here"
        ))),
    }
}

/// Reads a file
#[utoipa::path(
    get, path = "/v1/files/{key}", tag = "files",
    params(
        ("key" = String, Path, description = "The file's key; it may have slashes. Segments have 1 to 255 bytes, all of it 768; none is `.` or `..`, and `tmp/` is reserved", pattern = r"^(?!tmp/)(?!\.{1,2}(/|$))[^/\\\x00-\x1f\x7f-\x9f]+(/(?!\.{1,2}(/|$))[^/\\\x00-\x1f\x7f-\x9f]+)*$"),
        PresentationQuery,
        ("Range" = Option<String>, Header, description = "One range of bytes"),
    ),
    responses(
        (status = 200, description = "The file", content_type = "*/*"),
        (status = 206, description = "The range of it", content_type = "*/*"),
        (status = 304, description = "The caller has it already"),
        (status = "4XX", description = "Refused", body = ProblemBody, content_type = "application/problem+json"),
        (status = "5XX", description = "Failed", body = ProblemBody, content_type = "application/problem+json"),
    ),
    security(("token" = [])),
)]
pub(super) async fn read(
    Caller(tenant): Caller,
    InPath(key): InPath<FileKey>,
    InQuery(presentation): InQuery<PresentationQuery>,
    headers: HeaderMap,
) -> Result<Response<Body>, ApiError> {
    read::get(&tenant, &ObjectKey::File(key), &headers, presentation).await
}

/// Describes a file
#[utoipa::path(
    head, path = "/v1/files/{key}", tag = "files",
    params(
        ("key" = String, Path, description = "The file's key; it may have slashes. Segments have 1 to 255 bytes, all of it 768; none is `.` or `..`, and `tmp/` is reserved", pattern = r"^(?!tmp/)(?!\.{1,2}(/|$))[^/\\\x00-\x1f\x7f-\x9f]+(/(?!\.{1,2}(/|$))[^/\\\x00-\x1f\x7f-\x9f]+)*$"),
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
    InPath(key): InPath<FileKey>,
    InQuery(presentation): InQuery<PresentationQuery>,
    headers: HeaderMap,
) -> Result<Response<Body>, ApiError> {
    read::head(&tenant, &ObjectKey::File(key), &headers, presentation).await
}

/// Removes a file, if it is there
#[utoipa::path(
    delete, path = "/v1/files/{key}", tag = "files",
    params(("key" = String, Path, description = "The file's key; it may have slashes. Segments have 1 to 255 bytes, all of it 768; none is `.` or `..`, and `tmp/` is reserved", pattern = r"^(?!tmp/)(?!\.{1,2}(/|$))[^/\\\x00-\x1f\x7f-\x9f]+(/(?!\.{1,2}(/|$))[^/\\\x00-\x1f\x7f-\x9f]+)*$")),
    responses(
        (status = 204, description = "It is not there any more, or never was"),
        (status = "4XX", description = "Refused", body = ProblemBody, content_type = "application/problem+json"),
        (status = "5XX", description = "Failed", body = ProblemBody, content_type = "application/problem+json"),
    ),
    security(("token" = [])),
)]
pub(super) async fn delete(
    State(served): State<Arc<Served>>,
    Caller(tenant): Caller,
    InPath(key): InPath<FileKey>,
    headers: HeaderMap,
) -> Result<StatusCode, ApiError> {
    refuse_conditions(&headers, &[IF_MATCH, IF_NONE_MATCH, IF_UNMODIFIED_SINCE])?;
    let object = ObjectKey::File(key.clone());
    let deleted = tenant.inner.store.delete(&object).await;
    served.forget(&tenant, &key).await;
    deleted?;
    Ok(StatusCode::NO_CONTENT)
}

/// Which files to list.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct ListQuery {
    /// What their keys begin with.
    #[serde(default)]
    #[param(
        pattern = r"^((?!\.{1,2}(/|$))[^/\\\x00-\x1f\x7f-\x9f]+(/(?!\.{1,2}(/|$))[^/\\\x00-\x1f\x7f-\x9f]+)*/?)?$"
    )]
    prefix: String,
    /// The `next` of the page before.
    cursor: Option<String>,
    /// How many at most: 1 to 1000, 100 when not given.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<usize>,
    /// Whether each file's digest is looked up. S3 charges one request a file.
    #[serde(default = "yes")]
    digests: bool,
}

fn yes() -> bool {
    true
}

/// A page of files, in the byte order of their keys.
#[derive(Debug, Serialize, ToSchema)]
pub struct FilePage {
    /// The files.
    files: Vec<ListedFile>,
    /// The cursor of the next page; absent at the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

/// One file of a page.
#[derive(Debug, Serialize, ToSchema)]
pub struct ListedFile {
    /// Its key.
    key: String,
    /// Its size, in bytes.
    size: u64,
    /// The SHA-256 of its bytes, in hex, where it is kept.
    digest: Option<String>,
    /// When it was stored (RFC 3339, UTC).
    modified: String,
}

impl From<FileEntry> for ListedFile {
    fn from(file: FileEntry) -> Self {
        Self {
            key: file.key.to_string(),
            size: file.size_bytes,
            digest: file.digest.map(|digest| digest.to_string()),
            modified: humantime::format_rfc3339_seconds(file.modified).to_string(),
        }
    }
}

/// Lists this tenant's files
#[utoipa::path(
    get, path = "/v1/files", tag = "files",
    params(ListQuery),
    responses(
        (status = 200, description = "A page", body = FilePage),
        (status = "4XX", description = "Refused", body = ProblemBody, content_type = "application/problem+json"),
        (status = "5XX", description = "Failed", body = ProblemBody, content_type = "application/problem+json"),
    ),
    security(("token" = [])),
)]
pub(super) async fn list(
    Caller(tenant): Caller,
    InQuery(query): InQuery<ListQuery>,
) -> Result<response::Json<FilePage>, ApiError> {
    let limit = query.limit.unwrap_or(DEFAULT_PAGE);
    if !(1..=MAX_PAGE).contains(&limit) {
        return Err(ApiError::invalid_parameter("limit must be 1 to 1000"));
    }
    let listing = Listing {
        prefix: query.prefix,
        after: query.cursor.as_deref().map(parse_cursor).transpose()?,
        limit,
        digests: query.digests,
    };
    let (files, next) = tenant.inner.store.list(&listing).await?;
    Ok(Json(FilePage {
        next: next.map(|key| BASE64URL.encode(key.as_str())),
        files: files.into_iter().map(ListedFile::from).collect(),
    }))
}

fn parse_cursor(cursor: &str) -> Result<FileKey, ApiError> {
    let key = BASE64URL
        .decode(cursor)
        .ok()
        .and_then(|bytes| String::from_utf8(bytes).ok());
    key.and_then(|key| FileKey::parse(&key).ok())
        .ok_or_else(|| ApiError::invalid_parameter("cursor must be the `next` of another page"))
}

/// A move of one file.
#[derive(Debug, Deserialize, ToSchema)]
pub struct Move {
    /// The key it has.
    #[schema(
        pattern = r"^(?!tmp/)(?!\.{1,2}(/|$))[^/\\\x00-\x1f\x7f-\x9f]+(/(?!\.{1,2}(/|$))[^/\\\x00-\x1f\x7f-\x9f]+)*$"
    )]
    from: String,
    /// The key it is to have.
    #[schema(
        pattern = r"^(?!tmp/)(?!\.{1,2}(/|$))[^/\\\x00-\x1f\x7f-\x9f]+(/(?!\.{1,2}(/|$))[^/\\\x00-\x1f\x7f-\x9f]+)*$"
    )]
    to: String,
}

/// Moves a file to a key that must be free
///
/// At no moment is there no copy.
#[utoipa::path(
    post, path = "/v1/move", tag = "files",
    request_body = Move,
    responses(
        (status = 204, description = "Moved"),
        (status = "4XX", description = "Refused: 404 when there is no such file, 409 when the target is taken", body = ProblemBody, content_type = "application/problem+json"),
        (status = "5XX", description = "Failed", body = ProblemBody, content_type = "application/problem+json"),
    ),
    security(("token" = [])),
)]
pub(super) async fn rename(
    State(served): State<Arc<Served>>,
    Caller(tenant): Caller,
    InJson { value: request, .. }: InJson<Move>,
) -> Result<StatusCode, ApiError> {
    let (from, to) = (FileKey::parse(&request.from)?, FileKey::parse(&request.to)?);
    let moved = tenant.inner.store.rename(&from, &to).await;
    served.forget(&tenant, &from).await;
    served.forget(&tenant, &to).await;
    moved?;
    Ok(StatusCode::NO_CONTENT)
}
