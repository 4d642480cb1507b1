//! What handlers take from a request, validated.

use std::sync::Arc;

use axum::Json;
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::header::{CONTENT_TYPE, HeaderValue};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode};
use futures_util::TryStreamExt;
use percent_encoding::percent_decode_str;
use serde::de::DeserializeOwned;

use super::body::{Receiving, X_KURA_DIGEST, X_KURA_FILENAME};
use super::error::ApiError;
use super::{Served, ServedTenant};
use crate::budget::Permit;
use crate::digest::Digest;
use crate::key::{FileKey, ImportKey, Original, ThumbKey};
use crate::storage::StoreError;
use crate::storage::scoped::UploadHeaders;

/// The longest original file name, in bytes of UTF-8: Redmine keeps 255
/// characters.
const MAX_FILE_NAME_BYTES: usize = 1024;
/// The largest JSON body, in bytes: an archive of 10,000 files, each with 400
/// bytes for its key and name. It is held in memory as a whole.
const MAX_JSON_BYTES: u64 = 4 << 20;
/// The body, and what is read out of it.
const COPIES: usize = 2;

/// The tenant whose token came with the request.
pub struct Caller(pub Arc<ServedTenant>);

impl FromRequestParts<Arc<Served>> for Caller {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &Arc<Served>) -> Result<Self, ApiError> {
        let tenant = parts.extensions.get::<Arc<ServedTenant>>().cloned();
        tenant.map(Self).ok_or_else(ApiError::unauthorized)
    }
}

/// A key in the path.
pub struct InPath<K>(pub K);

impl<K: ParseKey> FromRequestParts<Arc<Served>> for InPath<K> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &Arc<Served>) -> Result<Self, ApiError> {
        let Path(text) = Path::<String>::from_request_parts(parts, state)
            .await
            .map_err(|error| {
                ApiError::new(StatusCode::BAD_REQUEST, "invalid_key", error.body_text())
            })?;
        Ok(Self(K::parse_key(&text)?))
    }
}

/// A key that may stand in a path.
pub trait ParseKey: Sized {
    /// Validates it.
    ///
    /// # Errors
    /// When it cannot be a key.
    fn parse_key(text: &str) -> Result<Self, ApiError>;
}

impl ParseKey for FileKey {
    fn parse_key(text: &str) -> Result<Self, ApiError> {
        Ok(Self::parse(text)?)
    }
}

impl ParseKey for ImportKey {
    fn parse_key(text: &str) -> Result<Self, ApiError> {
        Ok(Self::parse(text)?)
    }
}

impl ParseKey for ThumbKey {
    fn parse_key(text: &str) -> Result<Self, ApiError> {
        Ok(Self::parse(text)?)
    }
}

impl ParseKey for Original {
    fn parse_key(text: &str) -> Result<Self, ApiError> {
        Ok(Self::parse(text)?)
    }
}

/// The query string.
pub struct InQuery<T>(pub T);

impl<T: DeserializeOwned> FromRequestParts<Arc<Served>> for InQuery<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &Arc<Served>) -> Result<Self, ApiError> {
        let Query(query) = Query::from_request_parts(parts, state)
            .await
            .map_err(|error| ApiError::invalid_parameter(error.body_text()))?;
        Ok(Self(query))
    }
}

/// A JSON body. It is received like an upload: up to a limit, no slower, and
/// in memory taken from the budget.
pub struct InJson<T> {
    /// What it says.
    pub value: T,
    /// The memory that it takes, as long as it is needed.
    pub memory: Permit,
}

impl<T: DeserializeOwned> FromRequest<Arc<Served>> for InJson<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, served: &Arc<Served>) -> Result<Self, ApiError> {
        let (mut head, body) = request.into_parts();
        let Caller(tenant) = Caller::from_request_parts(&mut head, served).await?;
        let receiving = Receiving {
            max_bytes: served.receiving.max_bytes.min(MAX_JSON_BYTES),
            ..served.receiving.clone()
        };
        let payload = receiving.payload(&head.headers, body)?;
        let expected_bytes = payload.length.unwrap_or(receiving.max_bytes);
        let expected_bytes = usize::try_from(expected_bytes).unwrap_or(usize::MAX);
        let memory = tenant
            .inner
            .share
            .acquire(expected_bytes.saturating_mul(COPIES));
        let memory = memory.await.map_err(|_| StoreError::Busy)?;
        let received = payload
            .stream
            .try_fold(Vec::new(), |mut all, bytes| async move {
                all.extend_from_slice(&bytes);
                Ok(all)
            });
        let Json(value) = Json::from_bytes(&received.await?)
            .map_err(|error| ApiError::invalid_parameter(error.body_text()))?;
        Ok(Self { value, memory })
    }
}

/// What the headers of an upload say.
pub struct Upload(pub UploadHeaders);

impl FromRequestParts<Arc<Served>> for Upload {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &Arc<Served>) -> Result<Self, ApiError> {
        Ok(Self(UploadHeaders {
            content_type: content_type_in(&parts.headers)?,
            file_name: file_name_in(&parts.headers)?,
            expected_digest: digest_in(&parts.headers)?,
        }))
    }
}

fn content_type_in(headers: &HeaderMap) -> Result<Option<String>, ApiError> {
    let Some(value) = headers.get(CONTENT_TYPE) else {
        return Ok(None);
    };
    Ok(Some(media_type(value.to_str().unwrap_or_default())?))
}

fn file_name_in(headers: &HeaderMap) -> Result<Option<String>, ApiError> {
    let Some(value) = headers.get(X_KURA_FILENAME) else {
        return Ok(None);
    };
    let encoded = value.to_str();
    let name = encoded
        .map_err(drop)
        .and_then(|encoded| percent_decode_str(encoded).decode_utf8().map_err(drop))
        .map_err(|()| {
            ApiError::invalid_parameter("X-Kura-Filename must be percent-encoded UTF-8")
        })?;
    if name.is_empty() || name.len() > MAX_FILE_NAME_BYTES {
        return Err(ApiError::invalid_parameter(
            "X-Kura-Filename is empty or too long",
        ));
    }
    Ok(Some(name.into_owned()))
}

fn digest_in(headers: &HeaderMap) -> Result<Option<Digest>, ApiError> {
    let Some(value) = headers.get(X_KURA_DIGEST) else {
        return Ok(None);
    };
    let digest = value.to_str().ok().and_then(|text| text.parse().ok());
    digest
        .map(Some)
        .ok_or_else(|| ApiError::invalid_parameter("X-Kura-Digest must be a SHA-256 in hex"))
}

/// Validates a media type: visible ASCII with one slash before any parameter.
///
/// # Errors
/// When it is none.
pub fn media_type(text: &str) -> Result<String, ApiError> {
    let essence = text.split(';').next().unwrap_or_default().trim_end();
    let token = |part: &str| {
        !part.is_empty()
            && part
                .bytes()
                .all(|c| c.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&c))
    };
    let valid = text.len() <= 255
        && essence
            .split_once('/')
            .is_some_and(|(kind, subtype)| token(kind) && token(subtype))
        && text.bytes().all(|c| c == b' ' || c.is_ascii_graphic())
        && HeaderValue::from_str(text).is_ok();
    if valid {
        Ok(text.to_owned())
    } else {
        Err(ApiError::invalid_parameter("that is not a media type"))
    }
}
