//! `/kura/t`: downloads by ticket, for browsers. Redmine has decided that they
//! may; the web server passes them on.

use std::sync::Arc;
use std::time::SystemTime;

use axum::Extension;
use axum::body::Body;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use axum::http::Response;
use axum::http::header::{CACHE_CONTROL, HeaderMap, HeaderValue, REFERRER_POLICY};
use axum::middleware::Next;
use axum::response::IntoResponse;

use super::error::{ApiError, ProblemBody};
use super::extract::Caller;
use super::page::Language;
use super::read::{self, PresentationQuery};
use super::{Served, middleware};
use crate::key::{FileKey, ObjectKey};
use crate::tenant::Ticket;
use crate::tenant::ticket::TicketError;

/// Whoever shares a cache does not share the right to the file.
const CACHING: HeaderValue = HeaderValue::from_static("private");
/// The next ticket may work.
const NO_CACHING: HeaderValue = HeaderValue::from_static("no-store");
/// The address is a right to download, and no other site's affair.
const REFERRER: HeaderValue = HeaderValue::from_static("no-referrer");

/// What a ticket allows, under the name that it was made for.
#[derive(Clone)]
pub(super) struct Allowed {
    ticket: Ticket,
    file_name: String,
}

/// Lets a ticket's request in, as if its tenant had made it. What goes wrong
/// is told to browsers in a page.
pub(super) async fn admit(
    State(served): State<Arc<Served>>,
    path: Result<Path<(String, String)>, PathRejection>,
    mut request: Request,
    next: Next,
) -> Response<Body> {
    let person = Language::of_person(request.headers());
    let admitted = path.map_err(|_| ApiError::from(TicketError::Invalid));
    let admitted = admitted.and_then(|Path((ticket, file_name))| {
        let ticket = Ticket::verify(&ticket, &file_name, &served.secrets, SystemTime::now())?;
        let unknown = || TicketError::Invalid.into();
        let tenant = middleware::active_tenant(&served, &ticket.tenant, unknown)?;
        Ok((tenant, Allowed { ticket, file_name }))
    });
    let mut response = match admitted {
        Ok((tenant, allowed)) => {
            request.extensions_mut().insert(allowed);
            middleware::let_in(&served, tenant, request, next).await
        }
        Err(error) => error.into_response(),
    };
    let failed = response.status().is_client_error() || response.status().is_server_error();
    let headers = response.headers_mut();
    headers.insert(REFERRER_POLICY, REFERRER);
    headers.insert(CACHE_CONTROL, if failed { NO_CACHING } else { CACHING });
    if let Some(language) = person {
        response.extensions_mut().insert(language);
    }
    response
}

impl Allowed {
    fn parts(self) -> Result<(ObjectKey, PresentationQuery), ApiError> {
        let Ticket {
            key,
            disposition,
            content_type,
            ..
        } = self.ticket;
        let presentation = PresentationQuery {
            disposition: Some(disposition),
            filename: Some(self.file_name),
            content_type,
        };
        Ok((ObjectKey::File(FileKey::parse(&key)?), presentation))
    }
}

/// Downloads the file that a ticket is for
///
/// The ticket says which file, in which disposition and until when; the name
/// in the path is the one that it was made for.
#[utoipa::path(
    get, path = "/kura/t/{ticket}/{filename}", tag = "tickets",
    params(
        ("ticket" = String, Path, description = "The ticket, made with the tenant's token", pattern = r"^[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+$"),
        ("filename" = String, Path, description = "The file name for the browser", pattern = r"^[^/\\\x00-\x1f\x7f-\x9f]+$"),
        ("Range" = Option<String>, Header, description = "One range of bytes"),
    ),
    responses(
        (status = 200, description = "The file", content_type = "*/*"),
        (status = 206, description = "The range of it", content_type = "*/*"),
        (status = 304, description = "The caller has it already"),
        (status = "4XX", description = "Refused: 403 when the ticket is not good, or not any more", body = ProblemBody, content_type = "application/problem+json"),
        (status = "5XX", description = "Failed", body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn read(
    Caller(tenant): Caller,
    Extension(allowed): Extension<Allowed>,
    headers: HeaderMap,
) -> Result<Response<Body>, ApiError> {
    let (key, presentation) = allowed.parts()?;
    read::get(&tenant, &key, &headers, presentation).await
}

/// Describes the file that a ticket is for
#[utoipa::path(
    head, path = "/kura/t/{ticket}/{filename}", tag = "tickets",
    params(
        ("ticket" = String, Path, description = "The ticket, made with the tenant's token", pattern = r"^[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+$"),
        ("filename" = String, Path, description = "The file name for the browser", pattern = r"^[^/\\\x00-\x1f\x7f-\x9f]+$"),
    ),
    responses(
        (status = 200, description = "The headers that a GET would have"),
        (status = 304, description = "The caller has it already"),
        (status = "4XX", description = "Refused"),
        (status = "5XX", description = "Failed"),
    ),
)]
pub(super) async fn head(
    Caller(tenant): Caller,
    Extension(allowed): Extension<Allowed>,
    headers: HeaderMap,
) -> Result<Response<Body>, ApiError> {
    let (key, presentation) = allowed.parts()?;
    read::head(&tenant, &key, &headers, presentation).await
}
