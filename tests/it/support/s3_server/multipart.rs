//! The operations on multipart uploads, other than listings.

use std::collections::BTreeMap;
use std::time::SystemTime;

use hyper::header::ETAG;
use hyper::{Response, StatusCode};

use super::checksum::{self, Algorithm, Checksum, Coverage};
use super::conditions::{WriteConditions, etag_matches};
use super::content::Content;
use super::error::{Outcome, S3Error};
use super::objects::{RequestedRange, copy_source};
use super::payload::Payload;
use super::request::S3Request;
use super::store::{Part, Store, StoredObject, Upload, derived_etag, etag, kept_headers};
use super::xml::{self, Element, Writer};

const MAX_PART_NUMBER: usize = 10_000;

/// `CreateMultipartUpload`
pub fn create(store: &mut Store, request: &S3Request) -> Outcome {
    let algorithm = request.header("x-amz-checksum-algorithm");
    let algorithm = algorithm.map(Algorithm::named).transpose()?;
    let coverage = request.header("x-amz-checksum-type");
    let coverage = coverage.map(Coverage::named).transpose()?;
    if coverage.is_some() && algorithm.is_none() {
        return Err(S3Error::invalid_request(
            "The x-amz-checksum-type header can only be used with the x-amz-checksum-algorithm header.",
        ));
    }
    let effective = algorithm.unwrap_or(Algorithm::Crc64Nvme);
    let coverage = coverage.unwrap_or(effective.default_coverage());
    if !effective.allows(coverage) {
        return Err(S3Error::invalid_request(format!(
            "The {} checksum type cannot be used with the {} checksum algorithm.",
            coverage.name(),
            effective.name()
        )));
    }
    let upload = Upload {
        headers: kept_headers(&request.headers)?,
        initiated: SystemTime::now(),
        requested_algorithm: algorithm,
        coverage,
        parts: BTreeMap::new(),
    };
    store.bucket(&request.bucket)?;
    let id = store.next_upload_id();
    let name = (request.key.clone(), id.clone());
    store
        .bucket_mut(&request.bucket)?
        .uploads
        .insert(name, upload);
    Ok(xml::response(
        "InitiateMultipartUploadResult",
        |result: &mut Writer| {
            result.text("Bucket", &request.bucket);
            result.text("Key", &request.key);
            result.text("UploadId", id);
        },
    ))
}

/// `UploadPart`
pub fn upload_part(store: &mut Store, request: &S3Request, payload: Payload) -> Outcome {
    let number = part_number(request)?;
    let upload = store.upload(request)?;
    let declared = payload.checksum.as_ref().map(|checksum| checksum.algorithm);
    let optional = upload.coverage == Coverage::FullObject;
    if let Some(requested) = upload.requested_algorithm
        && declared != Some(requested)
        && !(declared.is_none() && optional)
    {
        return Err(wrong_algorithm(requested, declared));
    }
    // S3 verifies whatever checksum comes, but keeps only that of the upload.
    let kept = match &payload.checksum {
        Some(checksum) if checksum.algorithm == upload.algorithm() => checksum.clone(),
        _ => Checksum::of(upload.algorithm(), &payload.content),
    };
    let answered = payload.checksum.as_ref().unwrap_or(&kept);
    let etag = etag(&payload.sha256);
    let response = Response::builder()
        .header(answered.algorithm.header(), &answered.value)
        .header(ETAG, &etag);
    let part = Part {
        etag,
        modified: SystemTime::now(),
        checksum: kept,
        content: payload.content,
    };
    upload.parts.insert(number, part);
    Ok(response.body(Content::default())?)
}

/// `UploadPartCopy`
pub fn upload_part_copy(store: &mut Store, request: &S3Request) -> Outcome {
    let number = part_number(request)?;
    let algorithm = store.upload(request)?.algorithm();
    let source = copy_source(store, request)?;
    let range = match request.header("x-amz-copy-source-range") {
        None => 0..source.len(),
        Some(header) => match RequestedRange::parse(header) {
            Some(RequestedRange::Between(first, last)) if last < source.len() => first..last + 1,
            _ => {
                let size = source.len();
                return Err(S3Error::invalid_argument(format!(
                    "Range specified is not valid for source object of size: {size}"
                )));
            }
        },
    };
    let content = source.content.slice(range.clone());
    let part = Part {
        etag: derived_etag(&format!("{} {range:?}", source.etag)),
        modified: SystemTime::now(),
        checksum: Checksum::of(algorithm, &content),
        content,
    };
    let response = xml::response("CopyPartResult", |result: &mut Writer| {
        result.text("ETag", &part.etag);
        result.time("LastModified", part.modified);
        result.text(&part.checksum.algorithm.element(), &part.checksum.value);
    });
    store.upload(request)?.parts.insert(number, part);
    Ok(response)
}

/// `CompleteMultipartUpload`
pub fn complete(store: &mut Store, request: &S3Request, payload: &Payload) -> Outcome {
    let conditions = WriteConditions::from_headers(&request.headers)?;
    let min_part_bytes = store.min_part_bytes;
    let upload = store.upload(request)?;
    let document = Element::parse(&payload.content.to_bytes());
    let document = document.ok_or_else(S3Error::malformed_xml)?;
    let parts = chosen_parts(upload, &document, min_part_bytes)?;
    let object = assemble(upload, &parts);
    verify_claims(request, &object)?;

    let response = xml::response("CompleteMultipartUploadResult", |result: &mut Writer| {
        result.text(
            "Location",
            format_args!("/{}/{}", request.bucket, request.key),
        );
        result.text("Bucket", &request.bucket);
        result.text("Key", &request.key);
        result.text("ETag", &object.etag);
        object.checksum.write_to(result);
    });
    store.commit(&request.bucket, &request.key, object, &conditions)?;
    store.remove_upload(request)?;
    Ok(response)
}

/// `AbortMultipartUpload`
pub fn abort(store: &mut Store, request: &S3Request) -> Outcome {
    store.remove_upload(request)?;
    let response = Response::builder().status(StatusCode::NO_CONTENT);
    Ok(response.body(Content::default())?)
}

/// The parts that the client lists, if the list is right.
fn chosen_parts<'a>(
    upload: &'a Upload,
    document: &Element,
    min_part_bytes: usize,
) -> Result<Vec<&'a Part>, S3Error> {
    let needs_checksums =
        upload.requested_algorithm.is_some() && upload.coverage == Coverage::Composite;
    let mut chosen: Vec<&Part> = Vec::new();
    let mut last_number = 0;
    for listed in document.children("Part") {
        let number = listed
            .child_text("PartNumber")
            .and_then(|number| number.parse().ok());
        let number = number.ok_or_else(S3Error::malformed_xml)?;
        let etag = listed
            .child_text("ETag")
            .ok_or_else(S3Error::malformed_xml)?;
        if number <= last_number {
            let message = "The list of parts was not in ascending order.";
            return Err(S3Error::new(400, "InvalidPartOrder", message));
        }
        last_number = number;
        let part = upload.parts.get(&number).ok_or_else(invalid_part)?;
        let checksum = listed_checksum(listed);
        let matches = |(algorithm, value): (Algorithm, &str)| {
            algorithm == part.checksum.algorithm && value == part.checksum.value
        };
        if !etag_matches(etag, &part.etag) || !checksum.is_none_or(matches) {
            return Err(invalid_part());
        }
        if needs_checksums && checksum.is_none() {
            return Err(S3Error::invalid_request(format!(
                "The complete request must include the checksum for each part. \
                 It was missing for part {number} in the request."
            )));
        }
        chosen.push(part);
    }
    let (_, all_but_last) = chosen.split_last().ok_or_else(S3Error::malformed_xml)?;
    if all_but_last
        .iter()
        .any(|part| part.content.len() < min_part_bytes)
    {
        let message = "Your proposed upload is smaller than the minimum allowed size";
        return Err(S3Error::new(400, "EntityTooSmall", message));
    }
    Ok(chosen)
}

fn listed_checksum(part: &Element) -> Option<(Algorithm, &str)> {
    let mut algorithms = Algorithm::ALL.into_iter();
    algorithms.find_map(|algorithm| Some((algorithm, part.child_text(&algorithm.element())?)))
}

fn assemble(upload: &Upload, parts: &[&Part]) -> StoredObject {
    let mut content = Content::default();
    let mut checksums = Vec::new();
    let mut etags = String::new();
    for part in parts {
        content.append(part.content.clone());
        checksums.push((&part.checksum, part.content.len()));
        etags += &part.etag;
    }
    let etag = derived_etag(&etags);
    StoredObject {
        headers: upload.headers.clone(),
        etag: format!("{}-{}\"", etag.trim_end_matches('"'), parts.len()),
        modified: upload.initiated,
        checksum: Checksum::of_parts(upload.algorithm(), upload.coverage, &checksums),
        content,
    }
}

/// Verifies what the client says about the object that is to be.
fn verify_claims(request: &S3Request, object: &StoredObject) -> Result<(), S3Error> {
    let checksum = &object.checksum;
    if let Some((algorithm, value)) = checksum::declared(&request.headers)? {
        if algorithm != checksum.algorithm {
            return Err(wrong_algorithm(checksum.algorithm, Some(algorithm)));
        }
        // The number of the parts behind a composite checksum may be left out.
        let bare = checksum.value.split('-').next();
        if value != checksum.value && Some(value) != bare {
            return Err(S3Error::bad_digest(algorithm.name()));
        }
    }
    let coverage = request.header("x-amz-checksum-type");
    if coverage.is_some_and(|name| name != checksum.coverage.name()) {
        return Err(S3Error::invalid_request(format!(
            "The upload was created using the {} checksum mode. \
             The complete request must use the same checksum mode.",
            checksum.coverage.name()
        )));
    }
    let size = request.header("x-amz-mp-object-size");
    if size.is_some_and(|size| size != object.len().to_string()) {
        return Err(S3Error::invalid_request(
            "The provided 'x-amz-mp-object-size' does not match.",
        ));
    }
    Ok(())
}

fn part_number(request: &S3Request) -> Result<usize, S3Error> {
    match request.number("partNumber")? {
        Some(number @ 1..=MAX_PART_NUMBER) => Ok(number),
        _ => Err(S3Error::invalid_argument(
            "Part number must be an integer between 1 and 10000, inclusive",
        )),
    }
}

fn wrong_algorithm(expected: Algorithm, actual: Option<Algorithm>) -> S3Error {
    let message = format!(
        "Checksum Type mismatch occurred, expected checksum Type: {}, actual checksum Type: {}",
        expected.name(),
        actual.map_or("null", Algorithm::name)
    );
    S3Error::invalid_request(message)
}

fn invalid_part() -> S3Error {
    let message = "One or more of the specified parts could not be found. The part may not have \
                   been uploaded, or the specified entity tag may not match the part's entity tag.";
    S3Error::new(400, "InvalidPart", message)
}
