//! What a request asks for.

use std::collections::HashMap;

use hyper::header::HeaderName;
use hyper::http::request::Parts;
use hyper::{HeaderMap, Method};
use percent_encoding::percent_decode_str;

use super::error::S3Error;

/// The operations of S3 that the server implements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    AbortMultipartUpload,
    CompleteMultipartUpload,
    CopyObject,
    CreateBucket,
    CreateMultipartUpload,
    DeleteObject,
    DeleteObjects,
    GetObject,
    HeadBucket,
    HeadObject,
    ListMultipartUploads,
    ListObjectsV2,
    ListParts,
    PutObject,
    UploadPart,
    UploadPartCopy,
    /// Anything else.
    Unknown,
}

/// Every operation with its name and the query parameters that it takes.
const OPERATIONS: [(Operation, &str, &[&str]); 17] = [
    (
        Operation::AbortMultipartUpload,
        "AbortMultipartUpload",
        &["uploadId"],
    ),
    (
        Operation::CompleteMultipartUpload,
        "CompleteMultipartUpload",
        &["uploadId"],
    ),
    (Operation::CopyObject, "CopyObject", &[]),
    (Operation::CreateBucket, "CreateBucket", &[]),
    (
        Operation::CreateMultipartUpload,
        "CreateMultipartUpload",
        &["uploads"],
    ),
    (Operation::DeleteObject, "DeleteObject", &[]),
    (Operation::DeleteObjects, "DeleteObjects", &["delete"]),
    (Operation::GetObject, "GetObject", &[]),
    (Operation::HeadBucket, "HeadBucket", &[]),
    (Operation::HeadObject, "HeadObject", &[]),
    (
        Operation::ListMultipartUploads,
        "ListMultipartUploads",
        &[
            "encoding-type",
            "key-marker",
            "max-uploads",
            "prefix",
            "upload-id-marker",
            "uploads",
        ],
    ),
    (
        Operation::ListObjectsV2,
        "ListObjectsV2",
        &[
            "continuation-token",
            "delimiter",
            "encoding-type",
            "list-type",
            "max-keys",
            "prefix",
            "start-after",
        ],
    ),
    (
        Operation::ListParts,
        "ListParts",
        &["max-parts", "part-number-marker", "uploadId"],
    ),
    (Operation::PutObject, "PutObject", &[]),
    (
        Operation::UploadPart,
        "UploadPart",
        &["partNumber", "uploadId"],
    ),
    (
        Operation::UploadPartCopy,
        "UploadPartCopy",
        &["partNumber", "uploadId"],
    ),
    (Operation::Unknown, "Unknown", &[]),
];

/// The headers with meaning to the server, other than `x-amz-meta-*`, among
/// those that a client could send to have S3 do something.
const AMZ_HEADERS: [&str; 21] = [
    "x-amz-checksum-algorithm",
    "x-amz-checksum-crc32",
    "x-amz-checksum-crc32c",
    "x-amz-checksum-crc64nvme",
    "x-amz-checksum-mode",
    "x-amz-checksum-sha1",
    "x-amz-checksum-sha256",
    "x-amz-checksum-type",
    "x-amz-content-sha256",
    "x-amz-copy-source",
    "x-amz-copy-source-if-match",
    "x-amz-copy-source-range",
    "x-amz-date",
    "x-amz-decoded-content-length",
    "x-amz-metadata-directive",
    "x-amz-mp-object-size",
    "x-amz-region-set",
    "x-amz-sdk-checksum-algorithm",
    "x-amz-security-token",
    "x-amz-trailer",
    "x-amz-user-agent",
];

/// The standard headers that S3 understands and this server does not.
const UNSUPPORTED_HEADERS: [&str; 2] = ["if-modified-since", "if-unmodified-since"];

impl Operation {
    /// The name in the documentation of S3.
    pub fn name(self) -> &'static str {
        self.entry().1
    }

    /// Panics when there is no operation of that name, lest a test waits for
    /// requests that cannot come.
    pub fn assert_known(name: &str) {
        let known = OPERATIONS.iter().any(|(_, known, _)| *known == name);
        assert!(known, "there is no operation {name:?}");
    }

    fn entry(self) -> &'static (Self, &'static str, &'static [&'static str]) {
        OPERATIONS
            .iter()
            .find(|(operation, ..)| *operation == self)
            .expect("every operation is in the table")
    }
}

/// A request without its body.
pub struct S3Request {
    /// What is to be done.
    pub operation: Operation,
    /// The bucket, or an empty text.
    pub bucket: String,
    /// The key, or an empty text for operations on buckets.
    pub key: String,
    /// All headers.
    pub headers: HeaderMap,
    query: HashMap<String, String>,
}

impl S3Request {
    /// Finds out what a request asks for. Requests that make no sense are for
    /// an unknown operation.
    pub fn new(head: Parts) -> Self {
        let decode = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
        let path = head.uri.path().trim_start_matches('/');
        let (bucket, key) = path.split_once('/').unwrap_or((path, ""));
        let parameters = head.uri.query().unwrap_or_default().split('&');
        let parameters = parameters.filter(|parameter| !parameter.is_empty());
        let mut request = Self {
            operation: Operation::Unknown,
            bucket: decode(bucket),
            key: decode(key),
            headers: head.headers,
            query: parameters
                .map(|parameter| parameter.split_once('=').unwrap_or((parameter, "")))
                .map(|(name, value)| (decode(name), decode(&value.replace('+', " "))))
                .collect(),
        };
        request.operation = request.recognize(&head.method);
        request
    }

    fn recognize(&self, method: &Method) -> Operation {
        let has = |parameter| self.query.contains_key(parameter);
        let copies = self.headers.contains_key("x-amz-copy-source");
        match (method.as_str(), self.bucket.as_str(), self.key.as_str()) {
            (_, "", _) => Operation::Unknown,
            ("PUT", _, "") => Operation::CreateBucket,
            ("HEAD", _, "") => Operation::HeadBucket,
            ("GET", _, "") if has("list-type") => Operation::ListObjectsV2,
            ("GET", _, "") if has("uploads") => Operation::ListMultipartUploads,
            ("POST", _, "") if has("delete") => Operation::DeleteObjects,
            (_, _, "") => Operation::Unknown,
            ("PUT", ..) if has("uploadId") && copies => Operation::UploadPartCopy,
            ("PUT", ..) if has("uploadId") => Operation::UploadPart,
            ("PUT", ..) if copies => Operation::CopyObject,
            ("PUT", ..) => Operation::PutObject,
            ("GET", ..) if has("uploadId") => Operation::ListParts,
            ("GET", ..) => Operation::GetObject,
            ("HEAD", ..) => Operation::HeadObject,
            ("DELETE", ..) if has("uploadId") => Operation::AbortMultipartUpload,
            ("DELETE", ..) => Operation::DeleteObject,
            ("POST", ..) if has("uploads") => Operation::CreateMultipartUpload,
            ("POST", ..) if has("uploadId") => Operation::CompleteMultipartUpload,
            _ => Operation::Unknown,
        }
    }

    /// Refuses what the server would otherwise disregard.
    pub fn refuse_unsupported(&self) -> Result<(), S3Error> {
        let (_, _, known) = self.operation.entry();
        let ignorable = |name: &str| name == "x-id" || name.starts_with("X-Amz-");
        let mut names = self.query.keys().map(String::as_str);
        if let Some(name) = names.find(|name| !known.contains(name) && !ignorable(name)) {
            return Err(S3Error::not_implemented(&format!("Query parameter {name}")));
        }
        let supported = |name: &str| {
            AMZ_HEADERS.contains(&name)
                || name.starts_with("x-amz-meta-")
                || !(name.starts_with("x-amz-") || UNSUPPORTED_HEADERS.contains(&name))
        };
        let mut names = self.headers.keys().map(HeaderName::as_str);
        match names.find(|name| !supported(name)) {
            Some(name) => Err(S3Error::not_implemented(&format!("Header {name}"))),
            None => Ok(()),
        }
    }

    /// The value of a header that is readable text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The value of a query parameter.
    pub fn parameter(&self, name: &str) -> Option<&str> {
        self.query.get(name).map(String::as_str)
    }

    /// The value of a query parameter that is a number.
    pub fn number(&self, name: &str) -> Result<Option<usize>, S3Error> {
        let invalid = |_| S3Error::invalid_argument(format!("{name} is not a number"));
        self.parameter(name)
            .map(str::parse)
            .transpose()
            .map_err(invalid)
    }

    /// The bucket and the key to copy from.
    pub fn copy_source(&self) -> Result<(String, String), S3Error> {
        let source = self.header("x-amz-copy-source").unwrap_or_default();
        if source.contains("?versionId=") {
            return Err(S3Error::not_implemented("Copying of versions"));
        }
        let decoded = percent_decode_str(source).decode_utf8().unwrap_or_default();
        let (bucket, key) = decoded
            .strip_prefix('/')
            .unwrap_or(&decoded)
            .split_once('/')
            .ok_or_else(|| S3Error::invalid_argument("Invalid copy source"))?;
        Ok((bucket.to_owned(), key.to_owned()))
    }
}
