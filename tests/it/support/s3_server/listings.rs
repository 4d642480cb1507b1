//! The operations that list something.

use std::fmt::Display;
use std::ops::Bound::{Excluded, Unbounded};

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::error::{Outcome, S3Error};
use super::request::S3Request;
use super::store::{Store, StoredObject};
use super::xml::{self, Writer};

const MAX_ENTRIES: usize = 1000;

/// What `encoding-type=url` encodes: as in forms, but not the slash.
const URL_ENCODED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'*')
    .remove(b'-')
    .remove(b'.')
    .remove(b'/')
    .remove(b'_')
    .remove(b' ');

/// An entry of a listing of objects.
enum Entry<'a> {
    Object(&'a str, &'a StoredObject),
    /// All keys that begin like this, up to and with the delimiter.
    CommonPrefix(&'a str),
}

impl Entry<'_> {
    /// The text behind which the rest of the listing begins.
    fn end(&self) -> String {
        match self {
            Self::Object(key, _) => (*key).to_owned(),
            Self::CommonPrefix(prefix) => format!("{prefix}{}", char::MAX),
        }
    }
}

/// `ListObjectsV2`
pub fn objects(store: &Store, request: &S3Request) -> Outcome {
    let bucket = store.bucket(&request.bucket)?;
    let encoding = Encoding::of(request)?;
    let prefix = request.parameter("prefix").unwrap_or_default();
    let delimiter = request
        .parameter("delimiter")
        .filter(|text| !text.is_empty());
    let start_after = request.parameter("start-after").unwrap_or_default();
    let token = request.parameter("continuation-token");
    let limit = request
        .number("max-keys")?
        .unwrap_or(MAX_ENTRIES)
        .min(MAX_ENTRIES);
    let after = match token {
        Some(token) => decode_token(token)?,
        None => start_after.to_owned(),
    };

    let mut entries: Vec<Entry> = Vec::new();
    let mut truncated = false;
    let rest = bucket
        .objects
        .range::<str, _>((Excluded(after.as_str()), Unbounded));
    for (key, object) in rest.filter(|(key, _)| key.starts_with(prefix)) {
        let end = delimiter.and_then(|delimiter| {
            let position = key[prefix.len()..].find(delimiter)?;
            Some(prefix.len() + position + delimiter.len())
        });
        let entry = match end {
            Some(end) => Entry::CommonPrefix(&key[..end]),
            None => Entry::Object(key, object),
        };
        if let (Entry::CommonPrefix(this), Some(Entry::CommonPrefix(last))) =
            (&entry, entries.last())
            && this == last
        {
            continue;
        }
        truncated = entries.len() == limit;
        if truncated {
            break;
        }
        entries.push(entry);
    }
    let next = entries.last().filter(|_| truncated);
    let next_token = next.map(|last| BASE64_URL_SAFE_NO_PAD.encode(last.end()));

    Ok(xml::response("ListBucketResult", |result: &mut Writer| {
        result.text("Name", &request.bucket);
        encoding.write(result, "Prefix", prefix);
        result.text("MaxKeys", limit);
        result.text("KeyCount", entries.len());
        result.text("IsTruncated", next_token.is_some());
        if let Some(delimiter) = delimiter {
            encoding.write(result, "Delimiter", delimiter);
        }
        if !start_after.is_empty() {
            encoding.write(result, "StartAfter", start_after);
        }
        write_optional(result, "EncodingType", encoding.name());
        write_optional(result, "ContinuationToken", token);
        write_optional(result, "NextContinuationToken", next_token);
        for entry in entries {
            match entry {
                Entry::CommonPrefix(prefix) => result.element("CommonPrefixes", |element| {
                    encoding.write(element, "Prefix", prefix);
                }),
                Entry::Object(key, object) => result.element("Contents", |element| {
                    encoding.write(element, "Key", key);
                    element.time("LastModified", object.modified);
                    element.text("ETag", &object.etag);
                    element.text("ChecksumAlgorithm", object.checksum.algorithm.name());
                    element.text("ChecksumType", object.checksum.coverage.name());
                    element.text("Size", object.len());
                    element.text("StorageClass", "STANDARD");
                }),
            }
        }
    }))
}

/// `ListMultipartUploads`
pub fn uploads(store: &Store, request: &S3Request) -> Outcome {
    let bucket = store.bucket(&request.bucket)?;
    let encoding = Encoding::of(request)?;
    let prefix = request.parameter("prefix").unwrap_or_default();
    let key_marker = request.parameter("key-marker").unwrap_or_default();
    let id_marker = request.parameter("upload-id-marker");
    let limit = request
        .number("max-uploads")?
        .unwrap_or(MAX_ENTRIES)
        .min(MAX_ENTRIES);
    // Without an ID, all uploads of the key marker lie behind.
    let is_behind = |key: &str, id: &str| match id_marker {
        Some(id_marker) => (key, id) > (key_marker, id_marker),
        None => key > key_marker,
    };
    let uploads = bucket.uploads.iter();
    let mut uploads =
        uploads.filter(|((key, id), _)| key.starts_with(prefix) && is_behind(key, id));
    let page: Vec<_> = uploads.by_ref().take(limit).collect();
    let next = page.last().filter(|_| uploads.next().is_some());

    Ok(xml::response(
        "ListMultipartUploadsResult",
        |result: &mut Writer| {
            result.text("Bucket", &request.bucket);
            encoding.write(result, "Prefix", prefix);
            encoding.write(result, "KeyMarker", key_marker);
            result.text("UploadIdMarker", id_marker.unwrap_or_default());
            result.text("MaxUploads", limit);
            result.text("IsTruncated", next.is_some());
            write_optional(result, "EncodingType", encoding.name());
            if let Some(((key, id), _)) = next {
                encoding.write(result, "NextKeyMarker", key);
                result.text("NextUploadIdMarker", id);
            }
            for ((key, id), upload) in &page {
                result.element("Upload", |element| {
                    encoding.write(element, "Key", key);
                    element.text("UploadId", id);
                    element.time("Initiated", upload.initiated);
                    element.text("StorageClass", "STANDARD");
                    element.text("ChecksumAlgorithm", upload.algorithm().name());
                    element.text("ChecksumType", upload.coverage.name());
                });
            }
        },
    ))
}

/// `ListParts`
pub fn parts(store: &mut Store, request: &S3Request) -> Outcome {
    let marker = request.number("part-number-marker")?.unwrap_or(0);
    let limit = request
        .number("max-parts")?
        .unwrap_or(MAX_ENTRIES)
        .min(MAX_ENTRIES);
    let upload = store.upload(request)?;
    let mut parts = upload.parts.range((Excluded(marker), Unbounded));
    let page: Vec<_> = parts.by_ref().take(limit).collect();
    let next = page.last().filter(|_| parts.next().is_some());

    Ok(xml::response("ListPartsResult", |result: &mut Writer| {
        result.text("Bucket", &request.bucket);
        result.text("Key", &request.key);
        write_optional(result, "UploadId", request.parameter("uploadId"));
        result.text("PartNumberMarker", marker);
        write_optional(
            result,
            "NextPartNumberMarker",
            next.map(|(number, _)| number),
        );
        result.text("MaxParts", limit);
        result.text("IsTruncated", next.is_some());
        result.text("ChecksumAlgorithm", upload.algorithm().name());
        result.text("ChecksumType", upload.coverage.name());
        for (number, part) in &page {
            result.element("Part", |element| {
                element.text("PartNumber", number);
                element.time("LastModified", part.modified);
                element.text("ETag", &part.etag);
                element.text("Size", part.content.len());
                element.text(&part.checksum.algorithm.element(), &part.checksum.value);
            });
        }
    }))
}

/// How a listing writes keys.
enum Encoding {
    Plain,
    Url,
}

impl Encoding {
    fn of(request: &S3Request) -> Result<Self, S3Error> {
        match request.parameter("encoding-type") {
            None => Ok(Self::Plain),
            Some("url") => Ok(Self::Url),
            Some(_) => Err(S3Error::invalid_argument(
                "Invalid Encoding Method specified in Request",
            )),
        }
    }

    fn name(&self) -> Option<&'static str> {
        match self {
            Self::Plain => None,
            Self::Url => Some("url"),
        }
    }

    fn write(&self, element: &mut Writer, name: &str, key: &str) {
        match self {
            Self::Plain => element.text(name, key),
            Self::Url => {
                let encoded = utf8_percent_encode(key, URL_ENCODED).to_string();
                element.text(name, encoded.replace(' ', "+"));
            }
        }
    }
}

fn write_optional(element: &mut Writer, name: &str, text: Option<impl Display>) {
    if let Some(text) = text {
        element.text(name, text);
    }
}

fn decode_token(token: &str) -> Result<String, S3Error> {
    let bytes = BASE64_URL_SAFE_NO_PAD.decode(token).ok();
    let text = bytes.and_then(|bytes| String::from_utf8(bytes).ok());
    text.ok_or_else(|| S3Error::invalid_argument("The continuation token provided is incorrect"))
}
