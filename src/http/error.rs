//! The one place that turns an error into a status: `application/problem+json`
//! (RFC 9457) with a stable `code` and the request's id, and without internals.

use axum::body::Body;
use axum::http::StatusCode;
use axum::http::header::{
    CONNECTION, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, HeaderValue, RETRY_AFTER,
    WWW_AUTHENTICATE,
};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use super::range;
use crate::key::KeyError;
use crate::leases::LeaseError;
use crate::quota::QuotaError;
use crate::render::Refusal;
use crate::storage::scoped::TenantStoreError;
use crate::storage::{PayloadError, StoreError};
use crate::tenant::ticket::TicketError;
use crate::thumbnails::ThumbnailError;

/// When a caller turned away may try again, in seconds.
const RETRY_AFTER_SECONDS: HeaderValue = HeaderValue::from_static("2");

/// Why a request was not carried out.
#[derive(Debug)]
pub struct ApiError {
    problem: Problem,
    size_bytes: Option<u64>,
}

/// A problem as the log and the caller see it. It travels in the response's
/// extensions, so that it is written and logged once, where the request's id
/// is known.
#[derive(Clone, Debug)]
pub struct Problem {
    /// The status.
    pub status: StatusCode,
    /// The stable code.
    pub code: &'static str,
    /// What to tell the caller.
    pub detail: String,
    /// What to tell the log besides.
    pub internal: Option<String>,
}

/// The body of every error.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Problem)]
pub struct ProblemBody<'a> {
    /// Always `about:blank`: the code says it all.
    #[serde(rename = "type")]
    kind: &'a str,
    /// The status's own words.
    title: &'a str,
    /// The status.
    status: u16,
    /// A stable code, for programs.
    code: &'a str,
    /// What happened, for people.
    detail: &'a str,
    /// The request's id, as in the log and in `X-Request-Id`.
    request_id: &'a str,
}

impl ApiError {
    /// An error with a stable code and a text for the caller.
    #[must_use]
    pub fn new(status: StatusCode, code: &'static str, detail: impl Into<String>) -> Self {
        Self {
            problem: Problem {
                status,
                code,
                detail: detail.into(),
                internal: None,
            },
            size_bytes: None,
        }
    }

    /// The stable code.
    #[must_use]
    pub fn code(&self) -> &'static str {
        self.problem.code
    }

    /// The caller's parameters are not what they must be.
    #[must_use]
    pub fn invalid_parameter(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid_parameter", detail)
    }

    /// There is no valid token.
    #[must_use]
    pub fn unauthorized() -> Self {
        let detail = "a valid tenant token is needed: Authorization: Bearer …";
        Self::new(StatusCode::UNAUTHORIZED, "unauthorized", detail)
    }

    /// The tenant is suspended.
    #[must_use]
    pub fn suspended() -> Self {
        Self::new(
            StatusCode::FORBIDDEN,
            "tenant_suspended",
            "this tenant is suspended",
        )
    }

    /// The body is larger than allowed.
    #[must_use]
    pub fn too_large(limit_bytes: u64) -> Self {
        Self::from(StoreError::from(PayloadError::TooLarge { limit_bytes }))
    }

    /// Requests are not wanted yet, or not any more.
    #[must_use]
    pub fn not_ready(reason: &str) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "not_ready", reason)
    }

    /// The tenant has as many requests under way as it may.
    #[must_use]
    pub fn tenant_busy() -> Self {
        let detail = "this tenant has too many requests under way";
        Self::new(StatusCode::TOO_MANY_REQUESTS, "tenant_busy", detail)
    }

    /// There are as many requests under way as there may be.
    #[must_use]
    pub fn overloaded() -> Self {
        let detail = "too many requests are under way";
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "overloaded", detail)
    }

    /// There are as many connections as there may be.
    #[must_use]
    pub fn too_many_connections() -> Self {
        let detail = "too many connections are open";
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "overloaded", detail)
    }

    /// The body of the answer.
    #[must_use]
    pub fn to_json(&self, request_id: &str) -> Vec<u8> {
        self.problem.to_json(request_id)
    }

    /// There is a file where the caller wants to have put the first.
    #[must_use]
    pub fn key_taken() -> Self {
        let detail = "there is a file under this key";
        Self::new(
            StatusCode::PRECONDITION_FAILED,
            "precondition_failed",
            detail,
        )
    }

    /// A condition that the caller set does not hold.
    #[must_use]
    pub fn precondition_failed() -> Self {
        Self::from(StoreError::PreconditionFailed)
    }

    /// A fault of Kura's own; the text is for the log.
    #[must_use]
    pub fn internal(text: impl Into<String>) -> Self {
        let detail = "something went wrong here";
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", detail).logging(text)
    }

    /// True when a key was taken.
    #[must_use]
    pub fn is_already_exists(&self) -> bool {
        self.problem.code == "already_exists"
    }

    fn logging(mut self, text: impl Into<String>) -> Self {
        self.problem.internal = Some(text.into());
        self
    }
}

impl From<KeyError> for ApiError {
    fn from(error: KeyError) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid_key", error.to_string())
    }
}

impl From<TicketError> for ApiError {
    fn from(error: TicketError) -> Self {
        let code = match error {
            TicketError::Invalid => "ticket_invalid",
            TicketError::Expired => "ticket_expired",
        };
        Self::new(StatusCode::FORBIDDEN, code, error.to_string())
    }
}

impl From<TenantStoreError> for ApiError {
    fn from(error: TenantStoreError) -> Self {
        match error {
            TenantStoreError::Key(error) => error.into(),
            TenantStoreError::Store(error) => error.into(),
        }
    }
}

impl From<ThumbnailError> for ApiError {
    #[rustfmt::skip]
    fn from(error: ThumbnailError) -> Self {
        use StatusCode as S;
        let detail = error.to_string();
        let (status, code) = match error {
            ThumbnailError::Refused(Refusal::NotAnImage) => (S::UNSUPPORTED_MEDIA_TYPE, "not_an_image"),
            ThumbnailError::Refused(Refusal::Broken) => (S::UNPROCESSABLE_ENTITY, "broken_image"),
            ThumbnailError::Refused(Refusal::TooLarge) => (S::UNPROCESSABLE_ENTITY, "image_too_large"),
            ThumbnailError::Refused(Refusal::TooCostly) => (S::UNPROCESSABLE_ENTITY, "image_too_costly"),
            ThumbnailError::SourceMismatch => (S::CONFLICT, "source_mismatch"),
            ThumbnailError::NoSource => (S::NOT_FOUND, "source_needed"),
            ThumbnailError::Shared => (S::CONFLICT, "thumbnails_shared"),
            ThumbnailError::Busy(_) => (S::SERVICE_UNAVAILABLE, "render_busy"),
            ThumbnailError::Unavailable(internal) => {
                let detail = "thumbnails cannot be made at the moment";
                return Self::new(S::SERVICE_UNAVAILABLE, "render_unavailable", detail).logging(internal);
            }
            ThumbnailError::Store(error) => return error.into(),
        };
        Self::new(status, code, detail)
    }
}

impl From<LeaseError> for ApiError {
    fn from(error: LeaseError) -> Self {
        use StatusCode as S;
        let (status, code) = match &error {
            LeaseError::Off => (S::CONFLICT, "leases_off"),
            LeaseError::NoRoom => (S::SERVICE_UNAVAILABLE, "lease_space"),
            LeaseError::TooLarge => (S::PAYLOAD_TOO_LARGE, "too_large"),
            LeaseError::Mismatch => (S::CONFLICT, "source_mismatch"),
            LeaseError::Busy => (S::SERVICE_UNAVAILABLE, "busy"),
            LeaseError::Disk(internal) => return Self::internal(internal),
            LeaseError::Store(error) => return error.clone().into(),
        };
        Self::new(status, code, error.to_string())
    }
}

impl From<QuotaError> for ApiError {
    fn from(error: QuotaError) -> Self {
        let detail = error.to_string();
        let (status, code) = match error {
            QuotaError::Exceeded { .. } => (StatusCode::PAYLOAD_TOO_LARGE, "quota_exceeded"),
            QuotaError::Counting => (StatusCode::SERVICE_UNAVAILABLE, "busy"),
            QuotaError::Store(error) => return error.into(),
        };
        Self::new(status, code, detail)
    }
}

impl From<PayloadError> for ApiError {
    fn from(error: PayloadError) -> Self {
        StoreError::from(error).into()
    }
}

impl From<StoreError> for ApiError {
    #[rustfmt::skip]
    fn from(error: StoreError) -> Self {
        use StatusCode as S;
        let (status, code) = match &error {
            StoreError::NotFound => (S::NOT_FOUND, "not_found"),
            StoreError::AlreadyExists => (S::CONFLICT, "already_exists"),
            StoreError::KeyConflict => (S::CONFLICT, "key_conflict"),
            StoreError::PreconditionFailed => (S::PRECONDITION_FAILED, "precondition_failed"),
            StoreError::RangeNotSatisfiable { .. } => (S::RANGE_NOT_SATISFIABLE, "range_not_satisfiable"),
            StoreError::Throttled => (S::SERVICE_UNAVAILABLE, "storage_throttled"),
            StoreError::Unavailable(_) => (S::SERVICE_UNAVAILABLE, "storage_unavailable"),
            StoreError::Forbidden(_) => (S::BAD_GATEWAY, "storage_forbidden"),
            StoreError::Corrupt => (S::BAD_GATEWAY, "storage_corrupt"),
            StoreError::NoSpace => (S::INSUFFICIENT_STORAGE, "storage_full"),
            StoreError::Busy => (S::SERVICE_UNAVAILABLE, "busy"),
            StoreError::Payload(PayloadError::Interrupted) => (S::BAD_REQUEST, "body_incomplete"),
            StoreError::Payload(PayloadError::TooSlow) => (S::REQUEST_TIMEOUT, "body_too_slow"),
            StoreError::Payload(PayloadError::TooLarge { .. }) => (S::PAYLOAD_TOO_LARGE, "body_too_large"),
            StoreError::Payload(PayloadError::WrongLength) => (S::UNPROCESSABLE_ENTITY, "size_mismatch"),
            StoreError::Payload(PayloadError::WrongDigest) => (S::UNPROCESSABLE_ENTITY, "digest_mismatch"),
            StoreError::Payload(PayloadError::ShuttingDown) => (S::SERVICE_UNAVAILABLE, "shutting_down"),
        };
        match error {
            StoreError::Unavailable(internal) => Self::new(status, code, "the store is unavailable").logging(internal),
            StoreError::Forbidden(internal) => Self::new(status, code, "the store refused access").logging(internal),
            StoreError::RangeNotSatisfiable { size_bytes } => Self {
                size_bytes: Some(size_bytes),
                ..Self::new(status, code, error.to_string())
            },
            error => Self::new(status, code, error.to_string()),
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let status = self.problem.status;
        let mut response = status.into_response();
        let headers = response.headers_mut();
        match status {
            StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS => {
                headers.insert(RETRY_AFTER, RETRY_AFTER_SECONDS);
            }
            StatusCode::UNAUTHORIZED => {
                headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            }
            // What is left of the body is of no use to anyone.
            StatusCode::REQUEST_TIMEOUT | StatusCode::PAYLOAD_TOO_LARGE => {
                headers.insert(CONNECTION, HeaderValue::from_static("close"));
            }
            _ => {}
        }
        if let Some(size_bytes) = self.size_bytes {
            headers.insert(CONTENT_RANGE, range::unsatisfied(size_bytes));
        }
        response.extensions_mut().insert(self.problem);
        response
    }
}

impl Problem {
    /// What is said of an error that no handler of ours has made.
    #[must_use]
    pub fn of_status(status: StatusCode, detail: String) -> Self {
        let code = match status {
            StatusCode::NOT_FOUND => "no_such_route",
            StatusCode::METHOD_NOT_ALLOWED => "method_not_allowed",
            StatusCode::PAYLOAD_TOO_LARGE => "body_too_large",
            status if status.is_client_error() => "invalid_request",
            _ => "internal",
        };
        Self {
            status,
            code,
            detail: if status.is_client_error() && !detail.is_empty() {
                detail
            } else {
                status.canonical_reason().unwrap_or_default().to_owned()
            },
            internal: None,
        }
    }

    /// Writes the problem into a response, whose other headers are kept.
    #[must_use]
    pub fn write(&self, response: Response, request_id: &str) -> Response {
        let json_type = HeaderValue::from_static("application/problem+json");
        with_body(response, json_type, self.to_json(request_id))
    }

    fn to_json(&self, request_id: &str) -> Vec<u8> {
        let body = ProblemBody {
            kind: "about:blank",
            title: self.status.canonical_reason().unwrap_or_default(),
            status: self.status.as_u16(),
            code: self.code,
            detail: &self.detail,
            request_id,
        };
        serde_json::to_vec(&body).unwrap_or_default()
    }
}

/// The response with another body, and what is said of that.
pub(super) fn with_body(
    response: Response,
    media_type: HeaderValue,
    body: impl Into<Body>,
) -> Response {
    let (mut head, _) = response.into_parts();
    head.headers.remove(CONTENT_LENGTH);
    head.headers.insert(CONTENT_TYPE, media_type);
    Response::from_parts(head, body.into())
}
