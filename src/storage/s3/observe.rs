//! Sees every try of a request: counts, times and logs it, and tells a caller
//! whether a try may have succeeded unheard.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Instant;

use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::interceptors::Intercept;
use aws_smithy_runtime_api::client::interceptors::context::{
    BeforeDeserializationInterceptorContextRef, BeforeTransmitInterceptorContextRef,
    FinalizerInterceptorContextRef,
};
use aws_smithy_runtime_api::client::orchestrator::Metadata;
use aws_smithy_runtime_api::client::retries::RequestAttempts;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::config_bag::{ConfigBag, Storable, StoreReplace};

use crate::metrics::{Metrics, OperationLabels, S3Labels};

/// Counts, times and logs tries by operation. The log line is one of the
/// request's that they are made for, and has S3's own ids, by which AWS finds
/// a request again. It has no key.
#[derive(Debug)]
pub(super) struct Observe(pub(super) Metrics);

/// When a try began.
#[derive(Debug)]
struct Begun(Instant);

impl Storable for Begun {
    type Storer = StoreReplace<Self>;
}

#[aws_smithy_runtime_api::client::interceptors::dyn_dispatch_hint]
impl Intercept for Observe {
    fn name(&self) -> &'static str {
        "Observe"
    }

    fn read_before_attempt(
        &self,
        _: &BeforeTransmitInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        config.interceptor_state().store_put(Begun(Instant::now()));
        Ok(())
    }

    fn read_after_attempt(
        &self,
        context: &FinalizerInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let operation = config.load::<Metadata>().map_or("unknown", Metadata::name);
        let response = context.response();
        let status = response.map_or(0, |response| response.status().as_u16());
        let header = |name| response.and_then(|response| response.headers().get(name));
        let took = config.load::<Begun>().map(|begun| begun.0.elapsed());
        let took = took.unwrap_or_default();
        let attempt = config.load::<RequestAttempts>();
        let attempt = attempt.map_or(1, RequestAttempts::attempts);
        tracing::debug!(
            operation,
            status,
            attempt,
            duration_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
            s3_request_id = header("x-amz-request-id").or_else(|| header("x-amzn-requestid")),
            s3_host_id = header("x-amz-id-2"),
            "S3 answered"
        );
        let operation = operation.to_owned();
        let of = OperationLabels { operation };
        let seconds = self.0.s3_request_seconds.get_or_create(&of);
        seconds.observe(took.as_secs_f64());
        if attempt > 1 {
            self.0.s3_retries.get_or_create(&of).inc();
        }
        let labels = S3Labels {
            operation: of.operation,
            status,
        };
        self.0.s3_requests.get_or_create(&labels).inc();
        Ok(())
    }
}

/// Watches the tries of one request for one whose outcome is not known.
#[derive(Clone, Debug, Default)]
pub(super) struct Attempts(Arc<AtomicU32>);

impl Attempts {
    /// True when a try may have been carried out without our hearing of it:
    /// it was sent, and then there was no answer, or one that blames the
    /// server.
    pub(super) fn may_have_succeeded(&self) -> bool {
        self.0.load(Ordering::Relaxed) > 0
    }

    /// The same of the tries before the one that did succeed.
    pub(super) fn may_have_succeeded_before(&self) -> bool {
        self.0.load(Ordering::Relaxed) > 1
    }
}

#[aws_smithy_runtime_api::client::interceptors::dyn_dispatch_hint]
impl Intercept for Attempts {
    fn name(&self) -> &'static str {
        "Attempts"
    }

    fn read_before_transmit(
        &self,
        _: &BeforeTransmitInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        self.0.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    fn read_after_transmit(
        &self,
        context: &BeforeDeserializationInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let status = context.response().status();
        // An error that S3 sends with status 200 is one of the server's, too.
        if status.is_client_error() {
            self.0.fetch_sub(1, Ordering::Relaxed);
        }
        Ok(())
    }
}
