//! The HTTP surface: the route table and its layers.
//!
//! [`middleware`] gives each request an id, a tenant and a place under the
//! limits; handlers translate between HTTP and the tenant's store; [`error`]
//! alone chooses an error's status.

pub mod archives;
pub mod body;
pub mod conditional;
pub mod disposition;
pub mod error;
pub mod extract;
pub mod files;
pub mod health;
pub mod imports;
pub mod leases;
pub mod middleware;
pub mod openapi;
pub mod pace;
mod page;
pub mod range;
pub mod read;
mod record;
pub mod server;
pub mod thumbnails;
pub mod tickets;
mod trace;
mod unread;
pub mod zip;

use std::any::Any;
use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::StatusCode;
use axum::middleware::{from_fn_with_state, map_response};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post};
use tokio::sync::Semaphore;
use tower::ServiceBuilder;
use tower_http::catch_panic::CatchPanicLayer;

use self::body::Receiving;
use self::error::ApiError;
use self::health::Readiness;
use crate::budget::{Budget, Share};
use crate::cache::Tenancy;
use crate::key::FileKey;
use crate::leases::Leases;
use crate::metrics::{Metrics, RejectionLabels};
use crate::quota::Quota;
use crate::storage::scoped::TenantStore;
use crate::tenant::{Registry, Secrets, Tenant, TenantSettings};
use crate::thumbnails::Thumbnails;

/// What is served of a tenant.
#[derive(Debug)]
pub struct TenantService {
    /// Its objects.
    pub store: TenantStore,
    /// Whose its thumbnails are.
    pub tenancy: Tenancy,
    /// Its part of the memory for buffers.
    pub share: Share,
    /// Its places under the limit of requests under way.
    pub places: Arc<Semaphore>,
    /// What its files may take, where that is limited.
    pub quota: Option<Arc<Quota>>,
}

/// A tenant as the registry holds it.
pub type ServedTenant = Tenant<TenantService>;

/// What all requests share.
pub struct Served {
    /// The tenants.
    pub tenants: Arc<Registry<TenantService>>,
    /// What tokens are derived from.
    pub secrets: Secrets,
    /// The places for all tenants' requests under way.
    pub places: Arc<Semaphore>,
    /// All tenants' thumbnails.
    pub thumbnails: Arc<Thumbnails>,
    /// All tenants' leases, where there is a directory for them.
    pub leases: Option<Arc<Leases>>,
    /// How request bodies are received.
    pub receiving: Receiving,
    /// Whether requests are wanted.
    pub readiness: Readiness,
    /// What is counted.
    pub metrics: Metrics,
    /// The memory for buffers.
    pub budget: Arc<Budget>,
}

impl Served {
    /// Counts a request that is turned away because a limit is reached.
    fn reject(&self, error: ApiError) -> ApiError {
        let labels = RejectionLabels { code: error.code() };
        self.metrics.rejections.get_or_create(&labels).inc();
        error
    }

    /// A file has been written to or removed, or may have been: what is kept
    /// of it is not leased anew.
    async fn forget(&self, tenant: &ServedTenant, key: &FileKey) {
        if let Some(leases) = &self.leases {
            leases.forget(&tenant.inner.tenancy, key).await;
        }
    }

    /// These settings are not in force any more: nothing that was kept close
    /// at hand under them is handed out again. What is under way may finish.
    pub async fn forget_tenant(&self, settings: &TenantSettings) {
        let tenancy = Tenancy::of(settings);
        self.thumbnails.forget_tenant(&tenancy).await;
        if let Some(leases) = &self.leases {
            leases.forget_tenant(&tenancy).await;
        }
    }
}

/// The whole API.
pub fn router(served: Arc<Served>) -> Router {
    let v1 = Router::new()
        .route("/v1/files", get(files::list).post(files::create))
        .route(
            "/v1/files/{*key}",
            get(files::read)
                .head(files::head)
                .put(files::put)
                .delete(files::delete),
        )
        .route("/v1/move", post(files::rename))
        .route(
            "/v1/imports/{hex}",
            get(imports::read)
                .head(imports::head)
                .put(imports::put)
                .delete(imports::delete),
        )
        .route("/v1/archives", post(archives::create))
        .route("/v1/leases", post(leases::create))
        .route("/v1/thumbnails", delete(thumbnails::clear))
        .route(
            "/v1/thumbnails/{name}",
            get(thumbnails::read)
                .head(thumbnails::head)
                .delete(thumbnails::delete),
        )
        .route_layer(
            ServiceBuilder::new()
                .layer(from_fn_with_state(Arc::clone(&served), middleware::admit))
                .layer(DefaultBodyLimit::disable()),
        );
    let ticketed = Router::new()
        .route(
            "/kura/t/{ticket}/{filename}",
            get(tickets::read).head(tickets::head),
        )
        .route_layer(from_fn_with_state(Arc::clone(&served), tickets::admit));
    Router::new()
        .merge(v1)
        .merge(ticketed)
        .route("/healthz", get(health::alive))
        .route("/readyz", get(health::ready))
        .route("/metrics", get(health::metrics))
        .route("/openapi.json", get(openapi::document))
        .fallback(no_such_route)
        .method_not_allowed_fallback(method_not_allowed)
        // Together: each layer of the router is cloned with all below it,
        // for each request.
        .layer(
            ServiceBuilder::new()
                .layer(map_response(server::name))
                .layer(from_fn_with_state(Arc::clone(&served), middleware::observe))
                .layer(CatchPanicLayer::custom(panicked)),
        )
        .with_state(served)
}

async fn no_such_route() -> ApiError {
    ApiError::new(
        StatusCode::NOT_FOUND,
        "no_such_route",
        "there is nothing at this path",
    )
}

async fn method_not_allowed() -> ApiError {
    let detail = "this path does not take that method";
    ApiError::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", detail)
}

#[expect(clippy::needless_pass_by_value, reason = "it is what the layer gives")]
fn panicked(panic: Box<dyn Any + Send>) -> Response {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
    ApiError::internal(format!("a handler panicked: {}", text.unwrap_or_default())).into_response()
}
