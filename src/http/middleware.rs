//! What happens to every request before and after its handler: an id, a token,
//! a place under the limits; a line in the log when the last byte is out.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::HeaderMap;
use axum::http::header::{AUTHORIZATION, HeaderName, HeaderValue};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use tokio::sync::OwnedSemaphorePermit;
use tracing::{Instrument, Span};

use super::error::ApiError;
use super::pace::Pace;
use super::record::Record;
use super::{Served, ServedTenant, unread};
use crate::storage::PayloadError;
use crate::tenant::{State as TenantState, TenantId};

/// The header by which a request is known in every log.
pub const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Gives the request an id, and logs and counts it when its answer has been
/// sent or given up.
pub async fn observe(State(served): State<Arc<Served>>, request: Request, next: Next) -> Response {
    let mut record = Record::begin(&request, served.metrics.clone());
    let span = record.span.clone();
    let request = request.map(|body| record.count_received(body));
    let (request, unread) = unread::lend(request);
    let mut response = next.run(request).instrument(span.clone()).await;
    record.tenant = response.extensions_mut().remove::<TenantId>();
    response = record.explain(response).instrument(span).await;
    if let Ok(id) = HeaderValue::from_str(&record.request_id) {
        response.headers_mut().insert(X_REQUEST_ID, id);
    }
    if response.status().is_client_error() || response.status().is_server_error() {
        unread.drain().await;
    }
    record.watch(response, Pace::new(served.receiving.pace))
}

/// Lets a tenant's request in, if its token is right and there is room.
pub async fn admit(State(served): State<Arc<Served>>, request: Request, next: Next) -> Response {
    let Some(id) = authenticate(&served, request.headers()) else {
        return ApiError::unauthorized().into_response();
    };
    match active_tenant(&served, &id, ApiError::unauthorized) {
        Ok(tenant) => let_in(&served, tenant, request, next).await,
        Err(error) => with_tenant(error.into_response(), id),
    }
}

/// Lets a tenant's request in, if there is room.
pub(super) async fn let_in(
    served: &Served,
    tenant: Arc<ServedTenant>,
    mut request: Request,
    next: Next,
) -> Response {
    let id = tenant.settings.id.clone();
    Span::current().record("tenant", id.as_str());
    let places = match take_places(served, &tenant) {
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

/// Whose token it is, whether that tenant is served or not.
fn authenticate(served: &Served, headers: &HeaderMap) -> Option<TenantId> {
    let token = headers
        .get(AUTHORIZATION)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split_once(' '))
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
        .map(|(_, token)| token.trim());
    served.secrets.verify(token?)
}

/// The tenant, if it is served now.
pub(super) fn active_tenant(
    served: &Served,
    id: &TenantId,
    unknown: fn() -> ApiError,
) -> Result<Arc<ServedTenant>, ApiError> {
    if served.readiness.is_draining() {
        return Err(PayloadError::ShuttingDown.into());
    }
    if !served.tenants.is_loaded() {
        return Err(ApiError::not_ready("the tenants are not loaded yet"));
    }
    let tenant = served.tenants.get(id).ok_or_else(unknown)?;
    match tenant.settings.state {
        TenantState::Active => Ok(tenant),
        TenantState::Suspended => Err(ApiError::suspended()),
    }
}

type Places = (OwnedSemaphorePermit, OwnedSemaphorePermit);

fn take_places(served: &Served, tenant: &ServedTenant) -> Result<Places, ApiError> {
    let all = Arc::clone(&served.places).try_acquire_owned();
    let all = all.map_err(|_| served.reject(ApiError::overloaded()))?;
    let own = Arc::clone(&tenant.inner.places).try_acquire_owned();
    let own = own.map_err(|_| served.reject(ApiError::tenant_busy()))?;
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
