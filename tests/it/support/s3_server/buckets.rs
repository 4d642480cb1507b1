//! The operations on buckets, other than listings.

use hyper::Response;

use super::conditions::WriteConditions;
use super::error::{Outcome, S3Error};
use super::payload::Payload;
use super::request::S3Request;
use super::store::Store;
use super::xml::{self, Element, Writer};

const MAX_DELETED_KEYS: usize = 1000;

/// `CreateBucket`
pub fn create(store: &mut Store, request: &S3Request) -> Outcome {
    if store.create_bucket(&request.bucket) {
        Ok(Response::default())
    } else {
        let message = "The bucket you tried to create already exists, and you own it.";
        Err(S3Error::new(409, "BucketAlreadyOwnedByYou", message))
    }
}

/// `HeadBucket`
pub fn head(store: &Store, request: &S3Request) -> Outcome {
    store.bucket(&request.bucket)?;
    Ok(Response::default())
}

/// `DeleteObjects`
pub fn delete_objects(store: &mut Store, request: &S3Request, payload: &Payload) -> Outcome {
    store.bucket(&request.bucket)?;
    if payload.checksum.is_none() && !request.headers.contains_key("content-md5") {
        let message = "Missing required header for this request: Content-MD5 OR x-amz-checksum-*";
        return Err(S3Error::invalid_request(message));
    }
    let document =
        Element::parse(&payload.content.to_bytes()).ok_or_else(S3Error::malformed_xml)?;
    let quiet = document.child_text("Quiet") == Some("true");
    let objects: Vec<&Element> = document.children("Object").collect();
    if objects.is_empty() || objects.len() > MAX_DELETED_KEYS {
        return Err(S3Error::malformed_xml());
    }
    let mut results = Vec::new();
    for object in objects {
        let key = object
            .child_text("Key")
            .ok_or_else(S3Error::malformed_xml)?;
        let conditions = WriteConditions {
            if_match: object.child_text("ETag").map(str::to_owned),
            ..WriteConditions::default()
        };
        let result = store.check(&request.bucket, key, &conditions);
        if result.is_ok() {
            store.bucket_mut(&request.bucket)?.objects.remove(key);
        }
        results.push((key, result));
    }
    Ok(xml::response("DeleteResult", |document: &mut Writer| {
        for (key, result) in results {
            match result {
                Ok(()) if quiet => {}
                Ok(()) => document.element("Deleted", |deleted| deleted.text("Key", key)),
                Err(error) => document.element("Error", |element| {
                    element.text("Key", key);
                    element.text("Code", error.code());
                    element.text("Message", error.message());
                }),
            }
        }
    }))
}
