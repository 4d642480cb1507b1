//! GET and HEAD of any object: conditions, ranges, presentation.

use axum::body::Body;
use axum::http::Response;
use axum::http::header::{HeaderMap, HeaderValue, IF_MATCH, IF_UNMODIFIED_SINCE, RANGE};
use serde::Deserialize;
use utoipa::IntoParams;

use super::ServedTenant;
use super::body::{Presentation, head_response, not_modified_response, object_response};
use super::conditional::{Outcome, Preconditions};
use super::error::ApiError;
use super::extract::media_type;
use super::range;
use crate::key::ObjectKey;
use crate::storage::scoped::TenantStoreError;
use crate::storage::{GetOptions, StoreError};

/// How an object is to be presented, in place of what is kept with it.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct PresentationQuery {
    /// `inline` or `attachment`; `inline` when not given.
    #[param(pattern = "^(inline|attachment)$")]
    pub(super) disposition: Option<String>,
    /// The file name for the browser.
    pub(super) filename: Option<String>,
    /// The media type.
    #[serde(rename = "type")]
    #[param(
        rename = "type",
        pattern = r"^[A-Za-z0-9!#$&^_.+-]+/[A-Za-z0-9!#$&^_.+-]+$"
    )]
    pub(super) content_type: Option<String>,
}

impl TryFrom<PresentationQuery> for Presentation {
    type Error = ApiError;

    fn try_from(query: PresentationQuery) -> Result<Self, ApiError> {
        let disposition = query.disposition.map(|text| text.parse()).transpose();
        let content_type = query
            .content_type
            .map(|text| media_type(&text))
            .transpose()?;
        Ok(Self {
            disposition: disposition.map_err(|_| {
                ApiError::invalid_parameter("disposition must be inline or attachment")
            })?,
            file_name: query.filename,
            content_type: content_type.and_then(|text| HeaderValue::from_str(&text).ok()),
        })
    }
}

/// The answer to a GET. Conditions cost one HEAD of the store, and when the
/// caller has the object already, nothing more.
///
/// # Errors
/// See [`ApiError`].
pub async fn get(
    tenant: &ServedTenant,
    key: &ObjectKey,
    headers: &HeaderMap,
    presentation: PresentationQuery,
) -> Result<Response<Body>, ApiError> {
    let presentation = presentation.try_into()?;
    let store = &tenant.inner.store;
    let mut options = GetOptions {
        range: headers.get(RANGE).and_then(range::parse),
        if_match: None,
    };
    let preconditions = Preconditions::from_headers(headers);
    if !preconditions.is_empty() {
        let info = store.head(key).await?;
        match preconditions.evaluate(&info.etag, info.modified) {
            Outcome::Proceed => {}
            Outcome::NotModified => return Ok(not_modified_response(&info)),
            Outcome::Failed => return Err(ApiError::precondition_failed()),
        }
        if !preconditions.range_applies(&info.etag, info.modified) {
            options.range = None;
        }
        options.if_match = Some(info.etag);
    }
    let wants_the_same =
        headers.contains_key(IF_MATCH) || headers.contains_key(IF_UNMODIFIED_SINCE);
    let object = match store.get(key, options).await {
        // It was replaced since it was looked at: then all of the new one.
        Err(TenantStoreError::Store(StoreError::PreconditionFailed)) if !wants_the_same => {
            store.get(key, GetOptions::default()).await
        }
        opened => opened,
    };
    Ok(object_response(object?, &presentation))
}

/// The answer to a HEAD.
///
/// # Errors
/// See [`ApiError`].
pub async fn head(
    tenant: &ServedTenant,
    key: &ObjectKey,
    headers: &HeaderMap,
    presentation: PresentationQuery,
) -> Result<Response<Body>, ApiError> {
    let presentation = presentation.try_into()?;
    let info = tenant.inner.store.head(key).await?;
    match Preconditions::from_headers(headers).evaluate(&info.etag, info.modified) {
        Outcome::Proceed => Ok(head_response(&info, &presentation)),
        Outcome::NotModified => Ok(not_modified_response(&info)),
        Outcome::Failed => Err(ApiError::precondition_failed()),
    }
}
