//! The operations on single objects.

use std::ops::Range;
use std::time::SystemTime;

use httpdate::fmt_http_date;
use hyper::header::{
    ACCEPT_RANGES, CONTENT_LENGTH, CONTENT_RANGE, ETAG, HeaderValue, IF_MATCH, IF_NONE_MATCH,
    LAST_MODIFIED, RANGE,
};
use hyper::{Response, StatusCode};

use super::checksum::{Algorithm, Checksum};
use super::conditions::{WriteConditions, etag_matches};
use super::content::Content;
use super::error::{Outcome, S3Error};
use super::payload::Payload;
use super::request::S3Request;
use super::store::{Store, StoredObject, derived_etag, kept_headers};
use super::xml::{self, Writer};

/// `PutObject`
pub fn put(store: &mut Store, request: &S3Request, payload: Payload) -> Outcome {
    let conditions = WriteConditions::from_headers(&request.headers)?;
    let object = StoredObject::uploaded(payload, &request.headers)?;
    let response = object.checksum.add_to(Response::builder());
    let response = response.header(ETAG, &object.etag);
    store.commit(&request.bucket, &request.key, object, &conditions)?;
    Ok(response.body(Content::default())?)
}

/// `GetObject`
pub fn get(store: &Store, request: &S3Request) -> Outcome {
    let object = store.bucket(&request.bucket)?.object(&request.key)?;
    let header = |name| {
        request
            .headers
            .get(name)
            .and_then(|value| value.to_str().ok())
    };
    let mut response = Response::builder()
        .header(ETAG, &object.etag)
        .header(LAST_MODIFIED, fmt_http_date(object.modified));
    if header(IF_MATCH).is_some_and(|listed| !etag_matches(listed, &object.etag)) {
        return Err(S3Error::precondition_failed());
    }
    if header(IF_NONE_MATCH).is_some_and(|listed| etag_matches(listed, &object.etag)) {
        return Ok(response
            .status(StatusCode::NOT_MODIFIED)
            .body(Content::default())?);
    }

    for (name, value) in &object.headers {
        response = response.header(name, value);
    }
    response = response.header(ACCEPT_RANGES, "bytes");
    let size = object.len();
    let content = if let Some(range) = header(RANGE).and_then(RequestedRange::parse) {
        let range = range.within(size)?;
        let position = format!("bytes {}-{}/{size}", range.start, range.end - 1);
        response = response.status(StatusCode::PARTIAL_CONTENT);
        response = response.header(CONTENT_RANGE, position);
        object.content.slice(range)
    } else {
        if request.header("x-amz-checksum-mode") == Some("ENABLED") {
            response = object.checksum.add_to(response);
        }
        object.content.clone()
    };
    Ok(response.body(content)?)
}

/// `HeadObject`
pub fn head(store: &Store, request: &S3Request) -> Outcome {
    let (mut head, content) = get(store, request)?.into_parts();
    if head.status != StatusCode::NOT_MODIFIED {
        head.headers
            .insert(CONTENT_LENGTH, HeaderValue::from(content.len()));
    }
    Ok(Response::from_parts(head, Content::default()))
}

/// `DeleteObject`
pub fn delete(store: &mut Store, request: &S3Request) -> Outcome {
    let conditions = WriteConditions::from_headers(&request.headers)?;
    store.check(&request.bucket, &request.key, &conditions)?;
    store
        .bucket_mut(&request.bucket)?
        .objects
        .remove(&request.key);
    let response = Response::builder().status(StatusCode::NO_CONTENT);
    Ok(response.body(Content::default())?)
}

/// `CopyObject`
pub fn copy(store: &mut Store, request: &S3Request) -> Outcome {
    let conditions = WriteConditions::from_headers(&request.headers)?;
    let keeps_headers = match request.header("x-amz-metadata-directive") {
        None | Some("COPY") => true,
        Some("REPLACE") => false,
        Some(_) => return Err(S3Error::invalid_argument("Unknown metadata directive.")),
    };
    let (bucket, key) = request.copy_source()?;
    if keeps_headers && bucket == request.bucket && key == request.key {
        let message = "This copy request is illegal because it is trying to copy an object to \
                       itself without changing the object's metadata";
        return Err(S3Error::invalid_request(message));
    }
    let source = copy_source(store, request)?;
    let algorithm = match request.header("x-amz-checksum-algorithm") {
        Some(name) => Algorithm::named(name)?,
        None => source.checksum.algorithm,
    };
    let object = StoredObject {
        headers: if keeps_headers {
            source.headers.clone()
        } else {
            kept_headers(&request.headers)?
        },
        // The copy of a multipart object is not a multipart object.
        etag: if source.etag.contains('-') {
            derived_etag(&source.etag)
        } else {
            source.etag.clone()
        },
        modified: SystemTime::now(),
        checksum: match &source.checksum {
            checksum if checksum.covers_bytes_with(algorithm) => checksum.clone(),
            _ => Checksum::of(algorithm, &source.content),
        },
        content: source.content.clone(),
    };
    let response = xml::response("CopyObjectResult", |result: &mut Writer| {
        result.text("ETag", &object.etag);
        result.time("LastModified", object.modified);
        object.checksum.write_to(result);
    });
    store.commit(&request.bucket, &request.key, object, &conditions)?;
    Ok(response)
}

/// The object that a request copies from, if the condition on it holds.
pub fn copy_source<'a>(store: &'a Store, request: &S3Request) -> Result<&'a StoredObject, S3Error> {
    let (bucket, key) = request.copy_source()?;
    let source = store.bucket(&bucket)?.object(&key)?;
    match request.header("x-amz-copy-source-if-match") {
        Some(listed) if !etag_matches(listed, &source.etag) => Err(S3Error::precondition_failed()),
        _ => Ok(source),
    }
}

/// A range of bytes as a request asks for it.
pub enum RequestedRange {
    /// From a position to another one, which belongs to the range.
    Between(usize, usize),
    /// From a position to the end.
    From(usize),
    /// So many bytes at the end.
    Last(usize),
}

impl RequestedRange {
    /// Reads a header value. S3 disregards what is no single valid range.
    pub fn parse(header: &str) -> Option<Self> {
        let (first, last) = header.strip_prefix("bytes=")?.split_once('-')?;
        match (first, last) {
            ("", count) => Some(Self::Last(count.parse().ok()?)),
            (first, "") => Some(Self::From(first.parse().ok()?)),
            (first, last) => {
                let (first, last) = (first.parse().ok()?, last.parse().ok()?);
                (first <= last).then_some(Self::Between(first, last))
            }
        }
    }

    /// The bytes of an object of this size that were asked for.
    fn within(self, size: usize) -> Result<Range<usize>, S3Error> {
        let range = match self {
            Self::Between(first, last) => first..size.min(last.saturating_add(1)),
            Self::From(first) => first..size,
            Self::Last(count) => size.saturating_sub(count)..size,
        };
        if range.is_empty() {
            let message = "The requested range is not satisfiable";
            return Err(S3Error::new(416, "InvalidRange", message));
        }
        Ok(range)
    }
}
