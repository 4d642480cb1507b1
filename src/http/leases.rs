//! `/v1/leases`: files as paths, for programs that share the cache directory.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::error::{ApiError, ProblemBody};
use super::extract::{Caller, InJson};
use super::{Served, TenantService};
use crate::key::FileKey;
use crate::leases::{Lease, LeaseError, Wanted};

/// How long a lease lasts when the caller does not say, in seconds.
const DEFAULT_SECONDS: u64 = 300;
/// How long it may last, in seconds.
const MAX_SECONDS: u64 = 3600;

/// What is to be leased.
#[derive(Debug, Deserialize, ToSchema)]
pub struct LeaseRequest {
    /// The file's key.
    #[schema(
        pattern = r"^(?!tmp/)(?!\.{1,2}(/|$))[^/\\\x00-\x1f\x7f-\x9f]+(/(?!\.{1,2}(/|$))[^/\\\x00-\x1f\x7f-\x9f]+)*$"
    )]
    key: String,
    /// The SHA-256 that the file must have, in hex. When it is known the store
    /// need not be asked.
    #[schema(pattern = "^[0-9a-fA-F]{64}$")]
    digest: Option<String>,
    /// For how long, in seconds: 1 to 3600, 300 when not given.
    #[schema(minimum = 1, maximum = 3600)]
    seconds: Option<u64>,
}

/// A file that stays at a path for a while.
#[derive(Debug, Serialize, ToSchema)]
pub struct Leased {
    /// Its absolute path in the cache directory.
    path: String,
    /// Until when it stays there at least (RFC 3339, UTC).
    expires_at: String,
    /// Its size, in bytes.
    size: u64,
}

impl TryFrom<LeaseRequest> for Wanted {
    type Error = ApiError;

    fn try_from(request: LeaseRequest) -> Result<Self, ApiError> {
        let seconds = request.seconds.unwrap_or(DEFAULT_SECONDS);
        if !(1..=MAX_SECONDS).contains(&seconds) {
            return Err(ApiError::invalid_parameter("seconds must be 1 to 3600"));
        }
        let digest = request.digest.map(|text| text.parse()).transpose();
        Ok(Self {
            key: FileKey::parse(&request.key)?,
            digest: digest
                .map_err(|_| ApiError::invalid_parameter("digest must be a SHA-256 in hex"))?,
            time: Duration::from_secs(seconds),
        })
    }
}

impl TryFrom<Lease> for Leased {
    type Error = ApiError;

    fn try_from(lease: Lease) -> Result<Self, ApiError> {
        let path = lease.path.into_os_string().into_string();
        Ok(Self {
            path: path.map_err(|_| ApiError::internal("the cache directory is not UTF-8"))?,
            expires_at: humantime::format_rfc3339_seconds(lease.expires_at).to_string(),
            size: lease.size_bytes,
        })
    }
}

/// Leases a file: it is at a path in the cache directory for a while
///
/// The file there is complete and read-only. Asking again prolongs the lease.
#[utoipa::path(
    post, path = "/v1/leases", tag = "leases",
    request_body = LeaseRequest,
    responses(
        (status = 200, description = "The lease", body = Leased),
        (status = "4XX", description = "Refused: 404 when there is no such file, 409 when it has another digest or there is no cache directory, 413 when it is larger than all the room", body = ProblemBody, content_type = "application/problem+json"),
        (status = "5XX", description = "Failed: 503 when all the room is leased", body = ProblemBody, content_type = "application/problem+json"),
    ),
    security(("token" = [])),
)]
pub(super) async fn create(
    State(served): State<Arc<Served>>,
    Caller(tenant): Caller,
    InJson { value, memory }: InJson<LeaseRequest>,
) -> Result<Json<Leased>, ApiError> {
    let wanted = Wanted::try_from(value)?;
    // A large file takes its time.
    drop(memory);
    let leases = served.leases.as_ref().ok_or(LeaseError::Off)?;
    let TenantService { tenancy, store, .. } = &tenant.inner;
    let lease = leases.lease(tenancy, store, &wanted).await?;
    Ok(Json(lease.try_into()?))
}
