//! `/healthz`, `/readyz` and `/metrics`: for the orchestrator and the operator.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use axum::extract::State;
use axum::http::header::{CONTENT_TYPE, HeaderName};

use super::Served;
use super::error::ApiError;

/// So many failures in a row make the server not ready: one hiccup of the
/// store must not take it out of service.
const FAILURES_IN_A_ROW: u32 = 3;

/// Whether requests are wanted.
#[derive(Debug, Default)]
pub struct Readiness {
    answered_once: AtomicBool,
    failures: AtomicU32,
    draining: AtomicBool,
}

impl Readiness {
    /// The store has answered, or has not. One answer makes good all failures.
    pub fn note(&self, answered: bool) {
        if answered {
            self.answered_once.store(true, Ordering::Relaxed);
            self.failures.store(0, Ordering::Relaxed);
        } else {
            self.failures.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// The server is shutting down.
    pub fn drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    /// True when the server is shutting down.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    /// Why requests are not wanted, if they are not.
    #[must_use]
    pub fn objection(&self) -> Option<&'static str> {
        if self.is_draining() {
            Some("shutting down")
        } else if !self.answered_once.load(Ordering::Relaxed) {
            Some("the store has not answered yet")
        } else if self.failures.load(Ordering::Relaxed) >= FAILURES_IN_A_ROW {
            Some("the store does not answer")
        } else {
            None
        }
    }
}

/// Says that the process is alive
#[utoipa::path(get, path = "/healthz", tag = "operation", responses((status = 200, description = "Alive", body = String)))]
pub(super) async fn alive() -> &'static str {
    "ok\n"
}

/// Says whether requests are wanted
#[utoipa::path(
    get, path = "/readyz", tag = "operation",
    responses(
        (status = 200, description = "Ready", body = String),
        (status = 503, description = "Not ready, or draining", body = super::error::ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn ready(State(served): State<Arc<Served>>) -> Result<&'static str, ApiError> {
    match objection(&served) {
        None => Ok("ready\n"),
        Some(reason) => Err(ApiError::not_ready(reason)),
    }
}

/// Why requests are not wanted, if they are not.
fn objection(served: &Served) -> Option<&'static str> {
    let not_loaded = (!served.tenants.is_loaded()).then_some("the tenants are not loaded yet");
    not_loaded.or_else(|| served.readiness.objection())
}

/// The metrics, for Prometheus
#[utoipa::path(get, path = "/metrics", tag = "operation", responses((status = 200, description = "OpenMetrics text", body = String, content_type = "application/openmetrics-text")))]
pub(super) async fn metrics(
    State(served): State<Arc<Served>>,
) -> ([(HeaderName, &'static str); 1], String) {
    let metrics = &served.metrics;
    metrics.buffer_bytes.set(served.budget.used_bytes() as u64);
    metrics
        .buffer_peak_bytes
        .set(served.budget.peak_bytes() as u64);
    metrics
        .buffer_limit_bytes
        .set(served.budget.total_bytes() as u64);
    let objection = objection(&served);
    metrics.ready.set(i64::from(objection.is_none()));
    metrics.tenants_refreshed.set(served.tenants.refreshed_at());
    metrics.tenants.set(served.tenants.len() as u64);
    metrics
        .broken_tenants
        .set(served.tenants.broken_len() as u64);
    let content_type = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(CONTENT_TYPE, content_type)], metrics.encode())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_hiccup_is_forgiven_and_one_answer_makes_good() {
        let readiness = Readiness::default();
        assert!(readiness.objection().is_some());
        readiness.note(true);
        readiness.note(false);
        readiness.note(false);
        assert_eq!(readiness.objection(), None);
        readiness.note(false);
        assert!(readiness.objection().is_some());
        readiness.note(true);
        assert_eq!(readiness.objection(), None);
        readiness.drain();
        assert!(readiness.objection().is_some());
    }
}
