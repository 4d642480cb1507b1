//! What the log and the metrics say of a request: one line and one count, when
//! the last byte of the answer is out or nobody wants it any more.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Instant;

use axum::body::Body;
use axum::extract::{MatchedPath, Request};
use axum::http::header::CONTENT_LENGTH;
use axum::http::{Method, StatusCode};
use axum::response::Response;
use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use http_body_util::BodyExt;
use tracing::{Span, field};

use super::error::Problem;
use super::middleware::X_REQUEST_ID;
use super::pace::{Pace, TooSlow};
use super::page::{self, Language};
use super::trace;
use crate::metrics::{Metrics, RequestLabels, RouteLabels};
use crate::storage::names::nonce;
use crate::tenant::TenantId;

/// The routes that orchestrators ask again and again.
const PROBES: [&str; 3] = ["/healthz", "/readyz", "/metrics"];
/// An error's body that axum has made is read up to here.
const MAX_REJECTION_BYTES: usize = 4096;
/// What stands for the status where the client left before there was one.
const CLIENT_CLOSED: u16 = 499;

/// What the log will say of a request.
pub(super) struct Record {
    metrics: Metrics,
    pub(super) request_id: String,
    trace_id: Option<String>,
    pub(super) span: Span,
    route: String,
    method: Method,
    pub(super) tenant: Option<TenantId>,
    /// `None` while there is no answer.
    status: Option<StatusCode>,
    code: Option<&'static str>,
    internal: Option<String>,
    /// True when all of the answer has been asked for.
    complete: bool,
    /// The length that the answer announces.
    length: Option<u64>,
    received_bytes: Arc<AtomicU64>,
    sent_bytes: u64,
    begun: Instant,
}

impl Record {
    /// Begins with the request's head.
    pub(super) fn begin(request: &Request, metrics: Metrics) -> Self {
        let given = request.headers().get(X_REQUEST_ID);
        let given = given
            .and_then(|id| id.to_str().ok())
            .filter(|id| is_sane_id(id));
        let route = request.extensions().get::<MatchedPath>();
        metrics.in_flight.inc();
        let request_id = given.map_or_else(nonce, str::to_owned);
        let trace_id = trace::id_of(request.headers()).map(str::to_owned);
        Self {
            span: span(&request_id, trace_id.as_deref()),
            metrics,
            request_id,
            trace_id,
            route: route.map_or("-", MatchedPath::as_str).to_owned(),
            method: request.method().clone(),
            tenant: None,
            status: None,
            code: None,
            internal: None,
            complete: false,
            length: None,
            received_bytes: Arc::default(),
            sent_bytes: 0,
            begun: Instant::now(),
        }
    }

    /// Counts the bytes of the request's body as they come.
    pub(super) fn count_received(&self, body: Body) -> Body {
        let (received, metrics) = (Arc::clone(&self.received_bytes), self.metrics.clone());
        Body::new(body.map_frame(move |frame| {
            let bytes = frame.data_ref().map_or(0, Bytes::len) as u64;
            received.fetch_add(bytes, Ordering::Relaxed);
            metrics.received_bytes.inc_by(bytes);
            frame
        }))
    }

    /// Makes every error, also those that axum has made, the same kind of
    /// answer.
    pub(super) async fn explain(&mut self, mut response: Response) -> Response {
        let status = response.status();
        self.status = Some(status);
        if !status.is_client_error() && !status.is_server_error() {
            return response;
        }
        let person = response.extensions_mut().remove::<Language>();
        let problem = if let Some(problem) = response.extensions_mut().remove::<Problem>() {
            problem
        } else {
            let (head, body) = response.into_parts();
            let text = axum::body::to_bytes(body, MAX_REJECTION_BYTES).await;
            let text = String::from_utf8_lossy(&text.unwrap_or_default()).into_owned();
            response = Response::from_parts(head, Body::empty());
            Problem::of_status(status, text)
        };
        self.code = Some(problem.code);
        self.internal.clone_from(&problem.internal);
        match person {
            Some(language) => page::write(&problem, language, response, &self.request_id),
            None => problem.write(response, &self.request_id),
        }
    }

    /// Ends with the last byte of the answer, or when it is given up.
    pub(super) fn watch(mut self, response: Response, pace: Pace) -> Response {
        let length = response.headers().get(CONTENT_LENGTH);
        self.length = length.and_then(|length| length.to_str().ok()?.parse().ok());
        response.map(|body| {
            self.complete = body.is_end_stream() || self.method == Method::HEAD;
            Body::new(Sent {
                body,
                pace,
                offered: None,
                record: self,
            })
        })
    }

    fn count(&self) {
        let labels = RequestLabels {
            route: self.route.clone(),
            method: known_method(&self.method).to_owned(),
            status: self.status_code(),
        };
        self.metrics.requests.get_or_create(&labels).inc();
        let labels = RouteLabels {
            route: self.route.clone(),
        };
        let seconds = self.begun.elapsed().as_secs_f64();
        self.metrics
            .request_seconds
            .get_or_create(&labels)
            .observe(seconds);
    }

    fn log(&self) {
        let aborted = !self.complete;
        let tenant = self.tenant.as_ref().map(TenantId::as_str);
        let duration_ms = u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        let status = self.status_code();
        let (method, route) = (self.method.as_str(), self.route.as_str());
        let request_id = self.request_id.as_str();
        let trace_id = self.trace_id.as_deref();
        let received_bytes = self.received_bytes.load(Ordering::Relaxed);
        let (sent_bytes, code) = (self.sent_bytes, self.code);
        let detail = self.internal.as_deref();
        macro_rules! log_at {
            ($level:ident) => {
                tracing::$level!(
                    request_id,
                    trace_id,
                    tenant,
                    method,
                    route,
                    status,
                    code,
                    received_bytes,
                    sent_bytes,
                    duration_ms,
                    aborted,
                    detail,
                    "request"
                )
            };
        }
        if PROBES.contains(&route) {
            log_at!(debug);
        } else if status >= 500 || (aborted && detail.is_some()) {
            log_at!(error);
        } else {
            log_at!(info);
        }
    }

    fn status_code(&self) -> u16 {
        self.status.map_or(CLIENT_CLOSED, |status| status.as_u16())
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        self.metrics.in_flight.dec();
        self.count();
        // Not in the span: the line says all that it does.
        self.log();
    }
}

/// The method, unless it is one that nobody knows: each would become a series
/// of its own, and stay for good.
fn known_method(method: &Method) -> &str {
    let known = [
        Method::GET,
        Method::HEAD,
        Method::POST,
        Method::PUT,
        Method::DELETE,
        Method::OPTIONS,
        Method::PATCH,
        Method::CONNECT,
        Method::TRACE,
    ];
    if known.contains(method) {
        method.as_str()
    } else {
        "other"
    }
}

/// The context of all log lines of a request, also where only errors are
/// logged.
fn span(request_id: &str, trace_id: Option<&str>) -> Span {
    tracing::error_span!("request", request_id, trace_id, tenant = field::Empty)
}

/// An id that is fit to be written into logs.
fn is_sane_id(id: &str) -> bool {
    !id.is_empty()
        && id.len() <= 128
        && id
            .bytes()
            .all(|c| c.is_ascii_alphanumeric() || b"-_.:/+=".contains(&c))
}

/// The body of an answer, watched until it is sent or given up.
struct Sent {
    body: Body,
    pace: Pace,
    /// When the receiver was last given bytes, and how many.
    offered: Option<(Instant, u64)>,
    record: Record,
}

impl Sent {
    fn check_pace(&mut self) -> Result<(), TooSlow> {
        match self.offered.take() {
            Some((since, bytes)) => self.pace.note(since.elapsed(), bytes),
            None => Ok(()),
        }
    }
}

impl HttpBody for Sent {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let this = &mut *self;
        if let Err(error) = this.check_pace() {
            this.record.internal = Some(error.to_string());
            return Poll::Ready(Some(Err(axum::Error::new(error))));
        }
        let span = this.record.span.clone();
        let frame = span.in_scope(|| Pin::new(&mut this.body).poll_frame(context));
        match &frame {
            Poll::Ready(Some(Ok(frame))) => {
                let bytes = frame.data_ref().map_or(0, Bytes::len) as u64;
                this.offered = Some((Instant::now(), bytes));
                this.record.sent_bytes += bytes;
                this.record.metrics.sent_bytes.inc_by(bytes);
                // The server asks for no more than the length it has announced.
                let all = this.record.length == Some(this.record.sent_bytes);
                this.record.complete = all || this.body.is_end_stream();
            }
            Poll::Ready(Some(Err(error))) => this.record.internal = Some(error.to_string()),
            Poll::Ready(None) => this.record.complete = true,
            Poll::Pending => {}
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
