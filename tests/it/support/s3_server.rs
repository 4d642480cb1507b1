//! An S3 server inside the test process, on a loopback port.
//!
//! It keeps objects in memory and answers as Amazon S3 does, with every
//! condition and checksum verified; only signatures and `Content-MD5` are not.
//! A query parameter or an `x-amz-*` header that it does not understand is
//! refused with 501 `NotImplemented`, so that no test passes because something
//! was silently ignored. Buckets are addressed by path, `/{bucket}/{key}`.
//!
//! The modules stand in groups, each of which knows only itself and those
//! above. This module holds the state, and [`serve`] lets requests act on it.

#![allow(
    dead_code,
    reason = "not every test suite uses every inspection and switch"
)]

mod content;
mod error;
mod xml;

mod checksum;
mod payload;
mod request;

mod conditions;
mod store;

mod buckets;
mod listings;
mod multipart;
mod objects;

mod connection;
mod fault;
mod journal;
mod serve;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use hyper::HeaderMap;
use hyper::header::{HeaderName, HeaderValue};
use tokio::net::TcpListener;
use tokio_util::task::AbortOnDropHandle;

pub use fault::{Fault, FaultRule};
pub use journal::RequestRecord;
pub use store::StoredObject;

use content::Content;
use error::S3Error;
use fault::FaultQueue;
use journal::Journal;
use payload::Payload;
use request::Operation;
use store::Store;

/// A running server. When it is dropped it stops and closes its connections.
pub struct S3Server {
    address: SocketAddr,
    shared: Shared,
    _accepting: AbortOnDropHandle<()>,
}

/// The server's state, behind the one mutex that makes every operation atomic.
#[derive(Clone, Default)]
struct Shared(Arc<Mutex<State>>);

/// Everything the server knows.
#[derive(Default)]
struct State {
    store: Store,
    faults: FaultQueue,
    journal: Journal,
    latency: Duration,
    credentials_error: Option<S3Error>,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("no operation panics")
    }
}

/// Starting and addressing.
impl S3Server {
    /// Starts a server without buckets on a free port.
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0")
            .await
            .expect("a loopback port is free");
        let address = listener.local_addr().expect("the listener is bound");
        let shared = Shared::default();
        let accepting = tokio::spawn(serve::accept(listener, shared.clone()));
        Self {
            address,
            shared,
            _accepting: AbortOnDropHandle::new(accepting),
        }
    }

    /// Adds an empty bucket.
    #[must_use]
    pub fn with_bucket(self, name: &str) -> Self {
        self.shared.lock().store.create_bucket(name);
        self
    }

    /// The URL to give to the client as its endpoint.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }
}

/// Looking at, and arranging, what is stored.
///
/// These methods panic when the bucket or the object they name is missing,
/// because the test is wrong then.
impl S3Server {
    /// A copy of an object, or `None` when there is no such object.
    pub fn object(&self, bucket: &str, key: &str) -> Option<StoredObject> {
        let mut state = self.shared.lock();
        state.bucket(bucket).objects.get(key).cloned()
    }

    /// Stores an object without a request and returns its `ETag`. The headers
    /// are those of a `PutObject`, such as `content-type` and `x-amz-meta-*`.
    pub fn put_object(
        &self,
        bucket: &str,
        key: &str,
        bytes: impl Into<Bytes>,
        headers: &[(&str, &str)],
    ) -> String {
        let payload = Payload::of(Content::from(bytes.into()));
        let mut fields = HeaderMap::new();
        for (name, value) in headers {
            fields.append(
                HeaderName::try_from(*name).expect("a header name"),
                HeaderValue::try_from(*value).expect("a header value"),
            );
        }
        let object = StoredObject::uploaded(payload, &fields).expect("acceptable headers");
        let etag = object.etag.clone();
        let mut state = self.shared.lock();
        state.bucket(bucket).objects.insert(key.to_owned(), object);
        etag
    }

    /// Sets an object's modification time, for tests about the age of objects.
    pub fn set_modified(&self, bucket: &str, key: &str, modified: SystemTime) {
        let mut state = self.shared.lock();
        let object = state.bucket(bucket).objects.get_mut(key);
        object.expect("the object exists").modified = modified;
    }

    /// The keys of a bucket in byte order.
    pub fn keys(&self, bucket: &str) -> Vec<String> {
        let mut state = self.shared.lock();
        state.bucket(bucket).objects.keys().cloned().collect()
    }

    /// The key and the upload ID of every multipart upload, in any bucket,
    /// that is neither completed nor aborted.
    pub fn open_uploads(&self) -> Vec<(String, String)> {
        let state = self.shared.lock();
        let buckets = state.store.buckets.values();
        buckets
            .flat_map(|bucket| bucket.uploads.keys().cloned())
            .collect()
    }

    /// Sets when a multipart upload was started, for tests about stale uploads.
    pub fn set_initiated(&self, upload_id: &str, initiated: SystemTime) {
        let mut state = self.shared.lock();
        let buckets = state.store.buckets.values_mut();
        let mut uploads = buckets.flat_map(|bucket| bucket.uploads.iter_mut());
        let (_, upload) = uploads
            .find(|((_, id), _)| id == upload_id)
            .expect("the upload is open");
        upload.initiated = initiated;
    }
}

/// Looking at the traffic.
impl S3Server {
    /// Every request that has arrived, in the order of arrival.
    pub fn requests(&self) -> Vec<RequestRecord> {
        self.shared.lock().journal.requests()
    }

    /// Like [`requests`](Self::requests), and forgets them.
    pub fn take_requests(&self) -> Vec<RequestRecord> {
        let mut state = self.shared.lock();
        let requests = state.journal.requests();
        state.journal.forget_requests();
        requests
    }

    /// How many requests of an operation, such as `"PutObject"`, have arrived.
    pub fn count(&self, operation: &str) -> usize {
        Operation::assert_known(operation);
        let requests = self.requests();
        requests
            .iter()
            .filter(|request| request.operation == operation)
            .count()
    }

    /// Forgets the requests and starts the byte and concurrency counts anew.
    pub fn reset_counts(&self) {
        self.shared.lock().journal.reset();
    }

    /// How many bytes of request bodies have been received, transfer framing
    /// such as `aws-chunked` included.
    pub fn total_bytes_received(&self) -> usize {
        self.shared.lock().journal.bytes_received
    }

    /// The largest number of requests that were in progress at one time. A
    /// request is in progress from its arrival to the end of its response.
    pub fn max_concurrent(&self) -> usize {
        self.shared.lock().journal.max_concurrent
    }
}

/// Switches and faults.
impl S3Server {
    /// Makes the server disregard `If-Match` and `If-None-Match` on writes and
    /// deletions, as stores without conditional writes do.
    pub fn ignore_conditions(&self, ignore: bool) {
        self.shared.lock().store.ignore_conditions = ignore;
    }

    /// Sets the smallest size that a multipart upload accepts for a part other
    /// than the last. It is 5 MiB at first, as in Amazon S3.
    pub fn min_part_bytes(&self, bytes: usize) {
        self.shared.lock().store.min_part_bytes = bytes;
    }

    /// Delays every request by this long between its arrival and its body.
    pub fn latency(&self, latency: Duration) {
        self.shared.lock().latency = latency;
    }

    /// Refuses every request with a credentials error such as `"AccessDenied"`
    /// or `"ExpiredToken"`, with the status that S3 gives it.
    pub fn reject_credentials(&self, s3_code: &str) {
        self.shared.lock().credentials_error = Some(S3Error::credentials(s3_code));
    }

    /// Ends what [`reject_credentials`](Self::reject_credentials) began.
    pub fn accept_credentials(&self) {
        self.shared.lock().credentials_error = None;
    }

    /// Adds a rule. A request suffers the fault of the first rule that applies
    /// to it, in the order in which the rules were added.
    pub fn fail(&self, rule: FaultRule) {
        if let Some(operation) = rule.operation {
            Operation::assert_known(operation);
        }
        self.shared.lock().faults.push(rule);
    }

    /// Removes all rules.
    pub fn clear_faults(&self) {
        self.shared.lock().faults.clear();
    }
}

impl State {
    fn bucket(&mut self, name: &str) -> &mut store::Bucket {
        self.store.bucket_mut(name).expect("the bucket exists")
    }
}
