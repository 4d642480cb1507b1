//! Bodies: request body → [`Payload`], [`Object`] → response.

use std::time::Instant;

use axum::body::Body;
use axum::http::header::{
    ACCEPT_RANGES, CONTENT_DISPOSITION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE,
    CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, HeaderName, HeaderValue, LAST_MODIFIED,
    X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderMap, Response, StatusCode};
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use tokio_util::sync::CancellationToken;

use super::disposition::{self, Disposition};
use super::error::ApiError;
use super::pace::{Pace, PaceLimit};
use super::range;
use crate::storage::{Object, ObjectInfo, Payload, PayloadError};

/// The SHA-256 of the bytes, in hex: asked for with an upload, told with a
/// download.
pub const X_KURA_DIGEST: HeaderName = HeaderName::from_static("x-kura-digest");
/// The size that an upload must have, in bytes.
pub const X_KURA_SIZE: HeaderName = HeaderName::from_static("x-kura-size");
/// The original file name, percent-encoded.
pub const X_KURA_FILENAME: HeaderName = HeaderName::from_static("x-kura-filename");

/// Redmine's own policy for attachments: nothing in them may run.
pub(super) const POLICY: HeaderValue =
    HeaderValue::from_static("default-src 'none'; style-src 'unsafe-inline'; sandbox");

/// How request bodies are received.
#[derive(Clone, Debug)]
pub struct Receiving {
    /// The largest body, in bytes.
    pub max_bytes: u64,
    /// How slow its sender may be.
    pub pace: PaceLimit,
    /// Cancelled when the server can no longer wait.
    pub shutdown: CancellationToken,
}

impl Receiving {
    /// Turns a request's body into a payload.
    ///
    /// # Errors
    /// When the body is said to be too large, or of a size that the caller
    /// does not expect; before a byte of it is read.
    pub fn payload(&self, headers: &HeaderMap, body: Body) -> Result<Payload, ApiError> {
        for name in [CONTENT_RANGE, CONTENT_ENCODING] {
            if headers.contains_key(&name) {
                let detail = format!("{name} is not supported here: the body is stored as it is");
                return Err(ApiError::invalid_parameter(detail));
            }
        }
        let announced = length_in(headers, &CONTENT_LENGTH)?;
        let expected = length_in(headers, &X_KURA_SIZE)?;
        if let (Some(announced), Some(expected)) = (announced, expected)
            && announced != expected
        {
            return Err(PayloadError::WrongLength.into());
        }
        let length = announced.or(expected);
        if length.is_some_and(|length| length > self.max_bytes) {
            return Err(ApiError::too_large(self.max_bytes));
        }
        let receiver = Receiver {
            body: body.into_data_stream(),
            pace: Pace::new(self.pace),
            received_bytes: 0,
            receiving: self.clone(),
        };
        let stream = stream::try_unfold(receiver, |mut receiver| async {
            Ok(receiver.next().await?.map(|bytes| (bytes, receiver)))
        });
        Ok(Payload {
            stream: Box::pin(stream),
            length,
        })
    }
}

struct Receiver {
    body: axum::body::BodyDataStream,
    pace: Pace,
    received_bytes: u64,
    receiving: Receiving,
}

impl Receiver {
    async fn next(&mut self) -> Result<Option<Bytes>, PayloadError> {
        let since = Instant::now();
        let received = tokio::select! {
            biased;
            () = self.receiving.shutdown.cancelled() => return Err(PayloadError::ShuttingDown),
            received = tokio::time::timeout(self.receiving.pace.idle, self.body.next()) => received,
        };
        let bytes = match received {
            Err(_) => return Err(PayloadError::TooSlow),
            Ok(None) => return Ok(None),
            Ok(Some(Err(_))) => return Err(PayloadError::Interrupted),
            Ok(Some(Ok(bytes))) => bytes,
        };
        let count = bytes.len() as u64;
        self.pace
            .note(since.elapsed(), count)
            .map_err(|_| PayloadError::TooSlow)?;
        self.received_bytes += count;
        let limit_bytes = self.receiving.max_bytes;
        if self.received_bytes > limit_bytes {
            return Err(PayloadError::TooLarge { limit_bytes });
        }
        Ok(Some(bytes))
    }
}

fn length_in(headers: &HeaderMap, name: &HeaderName) -> Result<Option<u64>, ApiError> {
    let Some(value) = headers.get(name) else {
        return Ok(None);
    };
    let length = value.to_str().ok().and_then(|text| text.parse().ok());
    length
        .map(Some)
        .ok_or_else(|| ApiError::invalid_parameter(format!("{name} must be a number of bytes")))
}

/// What the caller wants in place of what is kept with the object.
#[derive(Clone, Debug, Default)]
pub struct Presentation {
    /// Whether the browser shows or saves it.
    pub disposition: Option<Disposition>,
    /// Its name.
    pub file_name: Option<String>,
    /// Its media type.
    pub content_type: Option<HeaderValue>,
}

/// The response to a GET.
#[must_use]
pub fn object_response(object: Object, presentation: &Presentation) -> Response<Body> {
    let size_bytes = object.info.size_bytes;
    let mut response = Response::new(Body::from_stream(object.body));
    describe(response.headers_mut(), &object.info, presentation);
    let length = match object.range {
        None => size_bytes,
        Some((first, last)) => {
            *response.status_mut() = StatusCode::PARTIAL_CONTENT;
            let content_range = range::content_range(first, last, size_bytes);
            response.headers_mut().insert(CONTENT_RANGE, content_range);
            last + 1 - first
        }
    };
    response.headers_mut().insert(CONTENT_LENGTH, length.into());
    response
}

/// The response to a HEAD.
#[must_use]
pub fn head_response(info: &ObjectInfo, presentation: &Presentation) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    describe(response.headers_mut(), info, presentation);
    response
        .headers_mut()
        .insert(CONTENT_LENGTH, info.size_bytes.into());
    response
}

/// The response to a GET or HEAD of what the caller has already.
#[must_use]
pub fn not_modified_response(info: &ObjectInfo) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NOT_MODIFIED;
    validators(response.headers_mut(), info);
    // Otherwise a length of 0 is filled in, which would be said of the object
    // (RFC 9110 §8.6).
    let headers = response.headers_mut();
    headers.insert(CONTENT_LENGTH, info.size_bytes.into());
    response
}

fn describe(headers: &mut HeaderMap, info: &ObjectInfo, presentation: &Presentation) {
    validators(headers, info);
    let kept = info
        .content_type
        .as_deref()
        .and_then(|kept| kept.parse().ok());
    let content_type = presentation.content_type.clone().or(kept);
    let unknown = HeaderValue::from_static("application/octet-stream");
    headers.insert(CONTENT_TYPE, content_type.unwrap_or(unknown));
    let file_name = presentation
        .file_name
        .as_deref()
        .or(info.file_name.as_deref());
    let kind = presentation.disposition.unwrap_or(Disposition::Inline);
    headers.insert(CONTENT_DISPOSITION, disposition::header(kind, file_name));
    headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(CONTENT_SECURITY_POLICY, POLICY);
    if let Some(digest) = info.digest
        && let Ok(digest) = digest.to_string().parse()
    {
        headers.insert(X_KURA_DIGEST, digest);
    }
}

fn validators(headers: &mut HeaderMap, info: &ObjectInfo) {
    if let Ok(etag) = info.etag.parse() {
        headers.insert(ETAG, etag);
    }
    if let Ok(modified) = httpdate::fmt_http_date(info.modified).parse() {
        headers.insert(LAST_MODIFIED, modified);
    }
}
