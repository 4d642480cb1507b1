//! What happens to every request before and after its handler: an id, a token,
//! a place under the limits; a line in the log when the last byte is out.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Instant;

use axum::body::Body;
use axum::extract::{MatchedPath, Request, State};
use axum::http::header::{AUTHORIZATION, CONTENT_LENGTH, HeaderName, HeaderValue};
use axum::http::{HeaderMap, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use http_body_util::BodyExt;
use tokio::sync::OwnedSemaphorePermit;
use tracing::Instrument;

use super::error::{ApiError, Problem};
use super::pace::{Pace, TooSlow};
use super::{Served, ServedTenant};
use crate::metrics::{Metrics, RejectionLabels, RequestLabels, RouteLabels};
use crate::storage::PayloadError;
use crate::storage::names::nonce;
use crate::tenant::{State as TenantState, TenantId};

/// The header by which a request is known in every log.
pub const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// The routes that orchestrators ask again and again.
const PROBES: [&str; 3] = ["/healthz", "/readyz", "/metrics"];
/// An error's body that axum has made is read up to here.
const MAX_REJECTION_BYTES: usize = 4096;

/// Gives the request an id, and logs and counts it when its answer has been
/// sent or given up.
pub async fn observe(State(served): State<Arc<Served>>, request: Request, next: Next) -> Response {
    let mut record = Record::begin(&request, served.metrics.clone());
    let span = tracing::info_span!("request", request_id = record.request_id);
    let request = request.map(|body| record.count_received(body));
    let mut response = next.run(request).instrument(span.clone()).await;
    record.tenant = response.extensions_mut().remove::<TenantId>();
    record.status = response.status();
    response = span.in_scope(|| record.explain(response)).await;
    if let Ok(id) = HeaderValue::from_str(&record.request_id) {
        response.headers_mut().insert(X_REQUEST_ID, id);
    }
    let pace = Pace::new(served.receiving.pace);
    let length = response.headers().get(CONTENT_LENGTH);
    record.length = length.and_then(|length| length.to_str().ok()?.parse().ok());
    response.map(|body| {
        Body::new(Sent {
            complete: body.is_end_stream() || record.method == Method::HEAD,
            body,
            pace: Some(pace),
            offered: None,
            record,
            span,
        })
    })
}

/// Lets a tenant's request in, if its token is right and there is room.
pub async fn admit(
    State(served): State<Arc<Served>>,
    mut request: Request,
    next: Next,
) -> Response {
    let tenant = match authenticate(&served, request.headers()) {
        Ok(tenant) => tenant,
        Err(error) => return error.into_response(),
    };
    let id = tenant.settings.id.clone();
    let places = match take_places(&served, &tenant) {
        Ok(places) => places,
        Err(error) => return with_tenant(error.into_response(), id),
    };
    request.extensions_mut().insert(tenant);
    let response = next.run(request).await;
    let response = response.map(|body| {
        Body::new(Placed {
            body,
            _places: places,
        })
    });
    with_tenant(response, id)
}

fn with_tenant(mut response: Response, id: TenantId) -> Response {
    response.extensions_mut().insert(id);
    response
}

fn authenticate(served: &Served, headers: &HeaderMap) -> Result<Arc<ServedTenant>, ApiError> {
    let token = headers
        .get(AUTHORIZATION)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split_once(' '))
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
        .map(|(_, token)| token.trim());
    let id = token.and_then(|token| served.secrets.verify(token));
    let id = id.ok_or_else(ApiError::unauthorized)?;
    if served.readiness.is_draining() {
        return Err(PayloadError::ShuttingDown.into());
    }
    if !served.tenants.is_loaded() {
        return Err(ApiError::not_ready("the tenants are not loaded yet"));
    }
    let tenant = served.tenants.get(&id).ok_or_else(ApiError::unauthorized)?;
    match tenant.settings.state {
        TenantState::Active => Ok(tenant),
        TenantState::Suspended => Err(ApiError::suspended()),
    }
}

type Places = (OwnedSemaphorePermit, OwnedSemaphorePermit);

fn take_places(served: &Served, tenant: &ServedTenant) -> Result<Places, ApiError> {
    let rejected = |code, error| {
        let labels = RejectionLabels { code };
        served.metrics.rejections.get_or_create(&labels).inc();
        error
    };
    let all = Arc::clone(&served.places).try_acquire_owned();
    let all = all.map_err(|_| rejected("overloaded", ApiError::overloaded()))?;
    let own = Arc::clone(&tenant.inner.places).try_acquire_owned();
    let own = own.map_err(|_| rejected("tenant_busy", ApiError::tenant_busy()))?;
    Ok((own, all))
}

/// A body that holds its request's places under the limits until it is sent.
struct Placed {
    body: Body,
    _places: Places,
}

impl HttpBody for Placed {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// What the log will say of a request.
struct Record {
    metrics: Metrics,
    request_id: String,
    route: String,
    method: Method,
    tenant: Option<TenantId>,
    status: StatusCode,
    code: Option<&'static str>,
    internal: Option<String>,
    /// The length that the answer announces.
    length: Option<u64>,
    received_bytes: Arc<AtomicU64>,
    sent_bytes: u64,
    begun: Instant,
}

impl Record {
    fn begin(request: &Request, metrics: Metrics) -> Self {
        let given = request.headers().get(X_REQUEST_ID);
        let given = given
            .and_then(|id| id.to_str().ok())
            .filter(|id| is_sane_id(id));
        let route = request.extensions().get::<MatchedPath>();
        metrics.in_flight.inc();
        Self {
            metrics,
            request_id: given.map_or_else(nonce, str::to_owned),
            route: route.map_or("-", MatchedPath::as_str).to_owned(),
            method: request.method().clone(),
            tenant: None,
            status: StatusCode::OK,
            code: None,
            internal: None,
            length: None,
            received_bytes: Arc::default(),
            sent_bytes: 0,
            begun: Instant::now(),
        }
    }

    fn count_received(&self, body: Body) -> Body {
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
    async fn explain(&mut self, mut response: Response) -> Response {
        if !self.status.is_client_error() && !self.status.is_server_error() {
            return response;
        }
        let problem = if let Some(problem) = response.extensions_mut().remove::<Problem>() {
            problem
        } else {
            let (head, body) = response.into_parts();
            let text = axum::body::to_bytes(body, MAX_REJECTION_BYTES).await;
            let text = String::from_utf8_lossy(&text.unwrap_or_default()).into_owned();
            response = Response::from_parts(head, Body::empty());
            Problem::of_status(self.status, text)
        };
        self.code = Some(problem.code);
        self.internal.clone_from(&problem.internal);
        problem.write(response, &self.request_id)
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
    pace: Option<Pace>,
    /// When the receiver was last given bytes, and how many.
    offered: Option<(Instant, u64)>,
    complete: bool,
    record: Record,
    span: tracing::Span,
}

impl Sent {
    fn check_pace(&mut self) -> Result<(), TooSlow> {
        match (self.offered.take(), &mut self.pace) {
            (Some((since, bytes)), Some(pace)) => pace.note(since.elapsed(), bytes),
            _ => Ok(()),
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
        let span = this.span.clone();
        let frame = span.in_scope(|| Pin::new(&mut this.body).poll_frame(context));
        match &frame {
            Poll::Ready(Some(Ok(frame))) => {
                let bytes = frame.data_ref().map_or(0, Bytes::len) as u64;
                this.offered = Some((Instant::now(), bytes));
                this.record.sent_bytes += bytes;
                this.record.metrics.sent_bytes.inc_by(bytes);
                // The server asks for no more than the length it has announced.
                let all = this.record.length == Some(this.record.sent_bytes);
                this.complete = all || this.body.is_end_stream();
            }
            Poll::Ready(Some(Err(error))) => this.record.internal = Some(error.to_string()),
            Poll::Ready(None) => this.complete = true,
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

impl Drop for Sent {
    fn drop(&mut self) {
        let record = &self.record;
        record.metrics.in_flight.dec();
        record.count();
        self.span.in_scope(|| record.log(!self.complete));
    }
}

impl Record {
    fn count(&self) {
        let labels = RequestLabels {
            route: self.route.clone(),
            method: known_method(&self.method).to_owned(),
            status: self.status.as_u16(),
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

    fn log(&self, aborted: bool) {
        let tenant = self.tenant.as_ref().map(TenantId::as_str);
        let duration_ms = u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        let status = self.status.as_u16();
        let (method, route) = (self.method.as_str(), self.route.as_str());
        let request_id = self.request_id.as_str();
        let received_bytes = self.received_bytes.load(Ordering::Relaxed);
        let (sent_bytes, code) = (self.sent_bytes, self.code);
        let detail = self.internal.as_deref();
        macro_rules! log_at {
            ($level:ident) => {
                tracing::$level!(
                    request_id,
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
        if status >= 500 || (aborted && detail.is_some()) {
            log_at!(error);
        } else if PROBES.contains(&route) {
            log_at!(debug);
        } else {
            log_at!(info);
        }
    }
}
