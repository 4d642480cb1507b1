//! The conditions under which requests are carried out.

use hyper::HeaderMap;
use hyper::header::{IF_MATCH, IF_NONE_MATCH};

use super::error::S3Error;

/// Whether an object with this `ETag` is one of those that an `If-Match` or
/// `If-None-Match` header lists.
pub fn etag_matches(listed: &str, etag: &str) -> bool {
    let plain = |etag: &str| etag.trim().trim_matches('"').to_owned();
    let mut listed = listed.split(',').map(plain);
    listed.any(|listed| listed == "*" || listed == plain(etag))
}

/// The conditions of a request that stores or deletes an object.
#[derive(Default)]
pub struct WriteConditions {
    /// The `ETag`s of which the present object must have one.
    pub if_match: Option<String>,
    /// Whether there must be no object.
    pub if_none_exists: bool,
}

impl WriteConditions {
    /// Reads the conditions of a request.
    pub fn from_headers(headers: &HeaderMap) -> Result<Self, S3Error> {
        let text = |name| {
            headers
                .get(name)
                .map(|value| String::from_utf8_lossy(value.as_bytes()))
        };
        let if_none_match = text(IF_NONE_MATCH);
        if if_none_match.as_ref().is_some_and(|value| value != "*") {
            return Err(S3Error::not_implemented(
                "If-None-Match with an ETag on a write",
            ));
        }
        Ok(Self {
            if_match: text(IF_MATCH).map(String::from),
            if_none_exists: if_none_match.is_some(),
        })
    }

    /// Judges the conditions by the `ETag` of the present object, if there is
    /// an object.
    pub fn check(&self, present: Option<&str>) -> Result<(), S3Error> {
        if self.if_none_exists && present.is_some() {
            return Err(S3Error::precondition_failed());
        }
        match (&self.if_match, present) {
            (Some(_), None) => Err(S3Error::no_such_key()),
            (Some(listed), Some(etag)) if !etag_matches(listed, etag) => {
                Err(S3Error::precondition_failed())
            }
            _ => Ok(()),
        }
    }
}
