//! The API's description, generated from the handlers.

use axum::Json;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::{Modify, OpenApi};

use super::{archives, files, health, imports, leases, thumbnails, tickets};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Kura",
        description = "Attachment storage for Redmine. Every error is a problem (RFC 9457) with a stable code.",
    ),
    paths(
        files::create, files::put, files::read, files::head, files::delete, files::list, files::rename,
        imports::put, imports::read, imports::head, imports::delete,
        archives::create,
        leases::create,
        thumbnails::read, thumbnails::head, thumbnails::delete, thumbnails::clear,
        tickets::read, tickets::head,
        health::alive, health::ready, health::metrics,
    ),
    modifiers(&BearerToken),
)]
struct Description;

struct BearerToken;

impl Modify for BearerToken {
    fn modify(&self, openapi: &mut utoipa::openapi::OpenApi) {
        let token = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build();
        let components = openapi.components.get_or_insert_default();
        components.add_security_scheme("token", SecurityScheme::Http(token));
    }
}

/// The description, as kept in `docs/openapi.json`.
#[must_use]
pub fn description() -> utoipa::openapi::OpenApi {
    Description::openapi()
}

/// Answers with the description.
pub(super) async fn document() -> Json<utoipa::openapi::OpenApi> {
    Json(description())
}
