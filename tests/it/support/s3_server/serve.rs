//! From a connection to an operation and back.

use std::fmt;
use std::time::Duration;

use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::header::{CONTENT_LENGTH, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinSet, spawn_blocking};

use super::Shared;
use super::connection::{Connection, Cutter, Ending, ResponseBody};
use super::content::Content;
use super::error::{Outcome, S3Error};
use super::fault::Fault;
use super::journal::RequestRecord;
use super::payload::Payload;
use super::request::{Operation, S3Request};
use super::{buckets, listings, multipart, objects};

/// Serves connections until it is cancelled.
pub async fn accept(listener: TcpListener, shared: Shared) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            Ok((stream, _)) = listener.accept() => {
                connections.spawn(serve(stream, shared.clone()));
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn serve(stream: TcpStream, shared: Shared) {
    // Without this, small responses wait for acknowledgements.
    stream.set_nodelay(true).expect("TCP has this option");
    let cutter = Cutter::default();
    let connection = TokioIo::new(Connection::new(stream, cutter.clone()));
    let service = service_fn(|request| answer(request, shared.clone(), cutter.clone()));
    // A connection that breaks is intended, or the client's affair.
    let _ = http1::Builder::new()
        .serve_connection(connection, service)
        .await;
}

/// The connection is to be closed without a response.
#[derive(Debug)]
struct NoResponse;

impl fmt::Display for NoResponse {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("there is no response")
    }
}

impl std::error::Error for NoResponse {}

/// Answers a request, unless a fault prevents it.
async fn answer(
    request: Request<Incoming>,
    shared: Shared,
    cutter: Cutter,
) -> Result<Response<ResponseBody<InProgress>>, NoResponse> {
    let (head, body) = request.into_parts();
    let request = S3Request::new(head);
    let arrival = Arrival::new(&request, shared.clone());
    tokio::time::sleep(arrival.latency).await;

    if let Some(Fault::ResetRequestAfter(bytes)) = arrival.fault {
        read(body, bytes, &shared).await?;
        return Err(NoResponse);
    }
    let body = read(body, usize::MAX, &shared).await?;
    let outcome = match (&arrival.refusal, &arrival.fault) {
        (Some(refusal), _) => Err(refusal.clone()),
        (None, Some(Fault::StallRequest)) => std::future::pending().await,
        (None, Some(Fault::Status { code, s3_code })) => {
            Err(S3Error::new(*code, s3_code, "The test wants this failure."))
        }
        (None, Some(Fault::OkWithErrorBody { s3_code })) => {
            Err(S3Error::new(200, s3_code, "The test wants this failure."))
        }
        (None, _) => spawn_blocking(move || perform(&shared, &request, body))
            .await
            .expect("operations do not panic"),
    };
    if let Some(Fault::LostSuccess) = arrival.fault {
        return Err(NoResponse);
    }
    Ok(arrival.respond(outcome, cutter))
}

/// Reads a body up to the frame in which a number of bytes is reached.
async fn read(mut body: Incoming, bytes: usize, shared: &Shared) -> Result<Content, NoResponse> {
    let mut content = Content::default();
    while content.len() < bytes
        && let Some(frame) = body.frame().await
    {
        if let Ok(data) = frame.map_err(|_| NoResponse)?.into_data() {
            shared.lock().journal.bytes_received += data.len();
            content.push(data);
        }
    }
    Ok(content)
}

/// Carries out an operation. Other requests wait only while it changes or
/// reads the store, not while its body is verified.
fn perform(shared: &Shared, request: &S3Request, body: Content) -> Outcome {
    request.refuse_unsupported()?;
    let payload = match request.operation {
        // The checksum in the headers is that of the object.
        Operation::CompleteMultipartUpload => Payload::receive_unchecked(&request.headers, body)?,
        _ => Payload::receive(&request.headers, body)?,
    };
    let store = &mut shared.lock().store;
    match request.operation {
        Operation::AbortMultipartUpload => multipart::abort(store, request),
        Operation::CompleteMultipartUpload => multipart::complete(store, request, &payload),
        Operation::CopyObject => objects::copy(store, request),
        Operation::CreateBucket => buckets::create(store, request),
        Operation::CreateMultipartUpload => multipart::create(store, request),
        Operation::DeleteObject => objects::delete(store, request),
        Operation::DeleteObjects => buckets::delete_objects(store, request, &payload),
        Operation::GetObject => objects::get(store, request),
        Operation::HeadBucket => buckets::head(store, request),
        Operation::HeadObject => objects::head(store, request),
        Operation::ListMultipartUploads => listings::uploads(store, request),
        Operation::ListObjectsV2 => listings::objects(store, request),
        Operation::ListParts => listings::parts(store, request),
        Operation::PutObject => objects::put(store, request, payload),
        Operation::UploadPart => multipart::upload_part(store, request, payload),
        Operation::UploadPartCopy => multipart::upload_part_copy(store, request),
        Operation::Unknown => Err(S3Error::not_implemented("This operation")),
    }
}

/// What was decided about a request when it arrived.
struct Arrival {
    id: u64,
    latency: Duration,
    refusal: Option<S3Error>,
    fault: Option<Fault>,
    in_progress: InProgress,
}

/// A request that is in progress until this is dropped.
struct InProgress(Shared);

impl Drop for InProgress {
    fn drop(&mut self) {
        self.0.lock().journal.ended();
    }
}

impl Arrival {
    /// Notes the arrival of a request. One that is refused for its credentials
    /// uses up no fault.
    fn new(request: &S3Request, shared: Shared) -> Self {
        let mut state = shared.lock();
        let operation = request.operation.name();
        let refusal = state.credentials_error.clone();
        let fault = match refusal {
            Some(_) => None,
            None => state.faults.take(operation, &request.key),
        };
        let id = state.journal.arrived(RequestRecord {
            operation,
            bucket: request.bucket.clone(),
            key: request.key.clone(),
            status: None,
        });
        let latency = state.latency;
        drop(state);
        Self {
            id,
            latency,
            refusal,
            fault,
            in_progress: InProgress(shared),
        }
    }

    /// Makes the response, with what the fault does to it.
    fn respond(self, outcome: Outcome, cutter: Cutter) -> Response<ResponseBody<InProgress>> {
        let response = outcome.unwrap_or_else(|error| error.to_response());
        let (mut head, content) = response.into_parts();
        let mut length = content.len();
        let (content, ending) = match self.fault {
            Some(Fault::ResetResponseAfter(bytes)) => {
                (content.slice(0..bytes), Ending::Cut(cutter))
            }
            Some(Fault::StallResponseAfter(bytes)) => (content.slice(0..bytes), Ending::Stalled),
            Some(Fault::ShortBody(bytes)) => {
                length = length.min(bytes);
                (content.slice(0..bytes), Ending::Clean)
            }
            Some(Fault::WrongBytes) => (content.with_wrong_byte(), Ending::Clean),
            _ => (content, Ending::Clean),
        };
        head.headers
            .insert("x-amz-request-id", HeaderValue::from(self.id));
        if !matches!(
            head.status,
            StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED
        ) {
            let length = HeaderValue::from(length);
            head.headers.entry(CONTENT_LENGTH).or_insert(length);
        }
        self.in_progress
            .0
            .lock()
            .journal
            .answered(self.id, head.status.as_u16());
        Response::from_parts(head, ResponseBody::new(&content, ending, self.in_progress))
    }
}
