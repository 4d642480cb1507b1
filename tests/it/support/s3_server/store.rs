//! The buckets with their objects and multipart uploads.

use std::collections::BTreeMap;
use std::time::SystemTime;

use bytes::Bytes;
use hyper::HeaderMap;
use hyper::header::{
    CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_ENCODING, CONTENT_LANGUAGE, CONTENT_TYPE, EXPIRES,
    HeaderName, HeaderValue,
};
use sha2::{Digest as _, Sha256};

use super::checksum::{Algorithm, Checksum, Coverage};
use super::conditions::WriteConditions;
use super::content::{Content, hex};
use super::error::S3Error;
use super::payload::Payload;
use super::request::S3Request;

const MAX_KEY_BYTES: usize = 1024;
const MAX_METADATA_BYTES: usize = 2048;
const METADATA_PREFIX: &str = "x-amz-meta-";

/// The standard headers that are kept with an object.
const KEPT_HEADERS: [HeaderName; 6] = [
    CACHE_CONTROL,
    CONTENT_DISPOSITION,
    CONTENT_ENCODING,
    CONTENT_LANGUAGE,
    CONTENT_TYPE,
    EXPIRES,
];

/// An object as it is stored.
#[derive(Clone, Debug)]
pub struct StoredObject {
    /// The headers that were stored with the object and come back with it:
    /// the user metadata, `content-type`, `content-disposition` and the like.
    pub headers: HeaderMap,
    /// The entity tag, with its quotes.
    pub etag: String,
    /// When the object was stored; for a multipart object, when its upload was
    /// started, as S3 has it.
    pub modified: SystemTime,
    pub(super) content: Content,
    pub(super) checksum: Checksum,
}

impl StoredObject {
    /// The bytes, which are copied into one piece if they are not in one yet.
    pub fn bytes(&self) -> Bytes {
        self.content.to_bytes()
    }

    /// The number of bytes.
    pub fn len(&self) -> usize {
        self.content.len()
    }

    /// The media type.
    pub fn content_type(&self) -> Option<&str> {
        self.header(CONTENT_TYPE.as_str())
    }

    /// How to present the object to people, including its file name.
    pub fn content_disposition(&self) -> Option<&str> {
        self.header(CONTENT_DISPOSITION.as_str())
    }

    /// The user metadata of a name, which is given without `x-amz-meta-`.
    pub fn metadata(&self, name: &str) -> Option<&str> {
        self.header(&format!("{METADATA_PREFIX}{name}"))
    }

    /// The names of the checksum's algorithm, such as `SHA256`, and of what it
    /// covers, such as `FULL_OBJECT`. Unless the client declares one when it
    /// uploads in one request, that is CRC64NVME.
    pub fn checksum_kind(&self) -> (&'static str, &'static str) {
        let checksum = &self.checksum;
        (checksum.algorithm.name(), checksum.coverage.name())
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The object that an upload in one request makes.
    pub(super) fn uploaded(payload: Payload, headers: &HeaderMap) -> Result<Self, S3Error> {
        Ok(Self {
            headers: kept_headers(headers)?,
            etag: etag(&payload.sha256),
            modified: SystemTime::now(),
            checksum: payload.checksum_or_default(),
            content: payload.content,
        })
    }
}

/// A multipart upload that is neither completed nor aborted.
pub struct Upload {
    /// The headers to be kept with the object.
    pub headers: HeaderMap,
    /// When the upload was started.
    pub initiated: SystemTime,
    /// The algorithm that the client asked for, if it did.
    pub requested_algorithm: Option<Algorithm>,
    /// What the checksum of the object will cover.
    pub coverage: Coverage,
    /// The parts by their numbers.
    pub parts: BTreeMap<usize, Part>,
}

/// A part of a multipart upload.
pub struct Part {
    /// The bytes.
    pub content: Content,
    /// The entity tag, with its quotes.
    pub etag: String,
    /// When the part was uploaded.
    pub modified: SystemTime,
    /// The checksum, with the algorithm of the upload.
    pub checksum: Checksum,
}

impl Upload {
    /// The algorithm of the checksums that are kept for the object and its
    /// parts.
    pub fn algorithm(&self) -> Algorithm {
        self.requested_algorithm.unwrap_or(Algorithm::Crc64Nvme)
    }
}

/// A bucket. Texts order by their bytes, as keys do in S3.
#[derive(Default)]
pub struct Bucket {
    /// The objects by their keys.
    pub objects: BTreeMap<String, StoredObject>,
    /// The uploads by key and upload ID.
    pub uploads: BTreeMap<(String, String), Upload>,
}

impl Bucket {
    /// The object of a key.
    pub fn object(&self, key: &str) -> Result<&StoredObject, S3Error> {
        self.objects.get(key).ok_or_else(S3Error::no_such_key)
    }
}

/// All buckets, and the rules that a test can change.
pub struct Store {
    /// The buckets by their names.
    pub buckets: BTreeMap<String, Bucket>,
    /// Whether writes and deletions happen whatever their conditions are.
    pub ignore_conditions: bool,
    /// The smallest acceptable size of a part other than the last.
    pub min_part_bytes: usize,
    uploads_started: usize,
}

impl Default for Store {
    fn default() -> Self {
        Self {
            buckets: BTreeMap::new(),
            ignore_conditions: false,
            min_part_bytes: 5 * 1024 * 1024,
            uploads_started: 0,
        }
    }
}

impl Store {
    /// Adds a bucket and returns true, unless there is one already.
    pub fn create_bucket(&mut self, name: &str) -> bool {
        let exists = self.buckets.contains_key(name);
        self.buckets.entry(name.to_owned()).or_default();
        !exists
    }

    /// The bucket of a name.
    pub fn bucket(&self, name: &str) -> Result<&Bucket, S3Error> {
        self.buckets.get(name).ok_or_else(no_such_bucket)
    }

    /// The bucket of a name, to change it.
    pub fn bucket_mut(&mut self, name: &str) -> Result<&mut Bucket, S3Error> {
        self.buckets.get_mut(name).ok_or_else(no_such_bucket)
    }

    /// Judges the conditions of a write or a deletion.
    pub fn check(
        &self,
        bucket: &str,
        key: &str,
        conditions: &WriteConditions,
    ) -> Result<(), S3Error> {
        let present = self.bucket(bucket)?.objects.get(key);
        if self.ignore_conditions {
            return Ok(());
        }
        conditions.check(present.map(|object| object.etag.as_str()))
    }

    /// Stores an object if the conditions hold.
    pub fn commit(
        &mut self,
        bucket: &str,
        key: &str,
        object: StoredObject,
        conditions: &WriteConditions,
    ) -> Result<(), S3Error> {
        self.check(bucket, key, conditions)?;
        if key.len() > MAX_KEY_BYTES {
            return Err(S3Error::new(400, "KeyTooLongError", "Your key is too long"));
        }
        self.bucket_mut(bucket)?
            .objects
            .insert(key.to_owned(), object);
        Ok(())
    }

    /// The upload that a request is about.
    pub fn upload(&mut self, request: &S3Request) -> Result<&mut Upload, S3Error> {
        let uploads = &mut self.bucket_mut(&request.bucket)?.uploads;
        uploads
            .get_mut(&upload_name(request))
            .ok_or_else(no_such_upload)
    }

    /// Removes the upload that a request is about.
    pub fn remove_upload(&mut self, request: &S3Request) -> Result<(), S3Error> {
        let uploads = &mut self.bucket_mut(&request.bucket)?.uploads;
        let removed = uploads.remove(&upload_name(request));
        removed.map(drop).ok_or_else(no_such_upload)
    }

    /// A fresh upload ID. Later ones are greater.
    pub fn next_upload_id(&mut self) -> String {
        self.uploads_started += 1;
        format!("upload-{:08}", self.uploads_started)
    }
}

/// The entity tag for a digest: as long as the MD5 of S3, but not the MD5.
pub fn etag(digest: &[u8]) -> String {
    format!("\"{}\"", hex(&digest[..16]))
}

/// The entity tag for content that was not received but derived from content
/// that is stored; `origin` describes how.
pub fn derived_etag(origin: &str) -> String {
    etag(&Sha256::digest(origin))
}

/// The headers of a request that are kept with the object.
pub fn kept_headers(headers: &HeaderMap) -> Result<HeaderMap, S3Error> {
    let mut kept = HeaderMap::new();
    kept.insert(
        CONTENT_TYPE,
        HeaderValue::from_static("binary/octet-stream"),
    );
    let mut metadata_bytes = 0;
    for (name, value) in headers {
        if let Some(short_name) = name.as_str().strip_prefix(METADATA_PREFIX) {
            metadata_bytes += short_name.len() + value.len();
            kept.append(name, value.clone());
        } else if name == CONTENT_ENCODING {
            // The framing of the request is no property of the object.
            let text = value.to_str().unwrap_or_default();
            let encodings = text.split(',').map(str::trim);
            let encodings: Vec<&str> = encodings.filter(|name| *name != "aws-chunked").collect();
            if let (false, Ok(value)) = (encodings.is_empty(), encodings.join(",").try_into()) {
                kept.insert(name, value);
            }
        } else if KEPT_HEADERS.contains(name) {
            kept.insert(name, value.clone());
        }
    }
    if metadata_bytes > MAX_METADATA_BYTES {
        let message = "Your metadata headers exceed the maximum allowed metadata size";
        return Err(S3Error::new(400, "MetadataTooLarge", message));
    }
    Ok(kept)
}

fn upload_name(request: &S3Request) -> (String, String) {
    let id = request.parameter("uploadId").unwrap_or_default();
    (request.key.clone(), id.to_owned())
}

fn no_such_upload() -> S3Error {
    let message = "The specified multipart upload does not exist.";
    S3Error::new(404, "NoSuchUpload", message)
}

fn no_such_bucket() -> S3Error {
    S3Error::new(404, "NoSuchBucket", "The specified bucket does not exist")
}
