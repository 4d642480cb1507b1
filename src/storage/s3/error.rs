//! The one place where the SDK's errors get a meaning.

use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::operation::{RequestId, RequestIdExt};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;

use crate::storage::StoreError;

/// What an SDK error means. The text is for the log; it has S3's own words
/// and request id, and never anything of the request.
#[expect(clippy::needless_pass_by_value, reason = "it is what `map_err` gives")]
pub(super) fn meaning<E>(error: SdkError<E, HttpResponse>) -> StoreError
where
    E: ProvideErrorMetadata + RequestId + RequestIdExt + std::error::Error + 'static,
{
    let status = error
        .raw_response()
        .map(|response| response.status().as_u16());
    let code = error.code().unwrap_or_default().to_owned();
    let detail = detail(&error, status, &code);
    match (status, code.as_str()) {
        (_, "SlowDown" | "RequestLimitExceeded" | "TooManyRequests" | "Throttling")
        | (Some(429), _) => StoreError::Throttled,
        (_, "NoSuchBucket") => StoreError::Forbidden(format!("there is no such bucket: {detail}")),
        // The answer to a HEAD has no code. Kura's are well-formed, so it is
        // the credentials that are refused with 400.
        (_, "ExpiredToken" | "InvalidToken" | "AuthorizationHeaderMalformed")
        | (Some(401 | 403), _)
        | (Some(400), "" | "BadRequest" | "Bad Request") => StoreError::Forbidden(detail),
        (Some(404), _) => StoreError::NotFound,
        (Some(412), _) => StoreError::PreconditionFailed,
        // The size is filled in by who knows it.
        (Some(416), _) => StoreError::RangeNotSatisfiable { size_bytes: 0 },
        _ if no_credentials(&error) => StoreError::Forbidden(detail),
        _ => StoreError::Unavailable(detail),
    }
}

/// True for the answer to a conditional write that met another: try again.
pub(super) fn is_conflict<E>(error: &SdkError<E, HttpResponse>) -> bool {
    error
        .raw_response()
        .is_some_and(|response| response.status().as_u16() == 409)
}

/// True when a multipart upload is not, or no longer, known to S3.
pub(super) fn is_no_such_upload<E: ProvideErrorMetadata>(
    error: &SdkError<E, HttpResponse>,
) -> bool {
    error.code() == Some("NoSuchUpload")
}

fn detail<E>(error: &SdkError<E, HttpResponse>, status: Option<u16>, code: &str) -> String
where
    E: ProvideErrorMetadata + RequestId + RequestIdExt + std::error::Error + 'static,
{
    match status {
        Some(status) => {
            let id = error.request_id().unwrap_or("-");
            let host = error.extended_request_id().unwrap_or("-");
            format!("S3 answered {status} {code} (request id {id}, {host})")
        }
        None => match credentials_error(error) {
            Some(error) => format!("no credentials: {}", of_credentials(error)),
            None => chain(error),
        },
    }
}

/// Why there are no credentials, without the SDK's words around it.
pub(super) fn of_credentials(error: &CredentialsError) -> String {
    let cause = std::error::Error::source(error);
    cause.map_or_else(|| error.to_string(), chain)
}

/// The error and what caused it, in one line.
pub(super) fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

/// True when there are no credentials, and trying again would not help.
fn no_credentials(error: &(dyn std::error::Error + 'static)) -> bool {
    matches!(
        credentials_error(error),
        Some(CredentialsError::CredentialsNotLoaded(_) | CredentialsError::InvalidConfiguration(_))
    )
}

fn credentials_error<'a>(
    error: &'a (dyn std::error::Error + 'static),
) -> Option<&'a CredentialsError> {
    let mut causes = std::iter::successors(Some(error), |error| error.source());
    causes.find_map(|error| error.downcast_ref())
}
