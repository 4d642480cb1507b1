//! A closed loop of calls: so many clients, each on a connection of its own,
//! one call after the other. On hyper's bare connection, so that what is
//! measured is the server and not a client library.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::future::join_all;
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use hyper::client::conn::http1;
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use crate::support::pattern;

const CHUNK_BYTES: usize = 256 * 1024;

/// One call.
#[derive(Clone)]
pub(crate) struct Call {
    pub(crate) method: Method,
    /// Host and port.
    pub(crate) address: String,
    /// Path and query.
    pub(crate) path: String,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) body: Payload,
}

/// What is sent.
#[derive(Clone)]
pub(crate) enum Payload {
    Bytes(Bytes),
    /// So many bytes of noise.
    Noise(u64),
}

impl Call {
    pub(crate) fn get(address: &str, path: impl Into<String>) -> Self {
        Self {
            method: Method::GET,
            address: address.to_owned(),
            path: path.into(),
            headers: Vec::new(),
            body: Payload::Bytes(Bytes::new()),
        }
    }

    pub(crate) fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    pub(crate) fn method(mut self, method: Method) -> Self {
        self.method = method;
        self
    }

    pub(crate) fn body(mut self, body: Payload) -> Self {
        self.body = body;
        self
    }

    pub(crate) fn request(&self) -> Request<Sending> {
        let mut request = Request::builder()
            .method(self.method.clone())
            .uri(&self.path)
            .header("host", &self.address);
        for (name, value) in &self.headers {
            request = request.header(*name, value);
        }
        request.body(Sending::new(&self.body)).unwrap()
    }
}

/// What came of all calls.
#[derive(Default)]
pub(crate) struct Outcome {
    pub(crate) seconds: f64,
    pub(crate) bytes: u64,
    /// Until the first byte of the body, or the end where there is none, in
    /// milliseconds; sorted.
    pub(crate) first_byte: Vec<f64>,
}

/// Makes `calls` calls by `clients` at once; `make` is given the number of each.
pub(crate) async fn run(clients: usize, calls: usize, make: &dyn Fn(usize) -> Call) -> Outcome {
    let next = AtomicUsize::new(0);
    let begun = Instant::now();
    let parts = join_all((0..clients.min(calls)).map(|_| async {
        let mut outcome = Outcome::default();
        let mut connection = None;
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= calls {
                return outcome;
            }
            let call = make(number);
            let connection = match &mut connection {
                Some(connection) => connection,
                none => none.insert(connect(&call.address).await),
            };
            one(connection, &call, &mut outcome).await;
        }
    }))
    .await;
    let mut all = Outcome {
        seconds: begun.elapsed().as_secs_f64(),
        ..Outcome::default()
    };
    for part in parts {
        all.bytes += part.bytes;
        all.first_byte.extend(part.first_byte);
    }
    all.first_byte.sort_by(f64::total_cmp);
    all
}

pub(crate) async fn connect(address: &str) -> http1::SendRequest<Sending> {
    let stream = TcpStream::connect(address).await.unwrap();
    stream.set_nodelay(true).unwrap();
    let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    sender
}

async fn one(connection: &mut http1::SendRequest<Sending>, call: &Call, outcome: &mut Outcome) {
    connection.ready().await.unwrap();
    let begun = Instant::now();
    let response = connection.send_request(call.request()).await.unwrap();
    let status = response.status();
    let mut body = response.into_body();
    if !(status.is_success() || status == 304) {
        let text = body.collect().await.unwrap().to_bytes();
        panic!("{} {}: {status} {text:?}", call.method, call.path);
    }
    let mut first = None;
    while let Some(frame) = body.frame().await {
        let frame = frame.unwrap();
        first.get_or_insert_with(|| begun.elapsed());
        outcome.bytes += frame.data_ref().map_or(0, Bytes::len) as u64;
    }
    let first = first.unwrap_or_else(|| begun.elapsed());
    outcome.first_byte.push(milliseconds(first));
}

pub(crate) fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

/// A body being sent.
pub(crate) struct Sending {
    chunk: Bytes,
    left: u64,
}

impl Sending {
    fn new(payload: &Payload) -> Self {
        match payload {
            Payload::Bytes(bytes) => Self {
                chunk: bytes.clone(),
                left: bytes.len() as u64,
            },
            Payload::Noise(size) => Self {
                chunk: noise(),
                left: *size,
            },
        }
    }
}

fn noise() -> Bytes {
    static NOISE: std::sync::OnceLock<Arc<Bytes>> = std::sync::OnceLock::new();
    let noise = NOISE.get_or_init(|| Arc::new(pattern(1, CHUNK_BYTES)));
    Bytes::clone(noise)
}

impl Body for Sending {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        let len = self.left.min(self.chunk.len() as u64);
        self.left -= len;
        Poll::Ready(Some(Ok(Frame::data(self.chunk.slice(..len as usize)))))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}
