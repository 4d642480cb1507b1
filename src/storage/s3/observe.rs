//! Sees every try of a request: counts it for the metrics, and tells a caller
//! whether a try may have succeeded unheard.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::interceptors::Intercept;
use aws_smithy_runtime_api::client::interceptors::context::{
    BeforeDeserializationInterceptorContextRef, BeforeTransmitInterceptorContextRef,
    FinalizerInterceptorContextRef,
};
use aws_smithy_runtime_api::client::orchestrator::Metadata;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::config_bag::ConfigBag;

use crate::metrics::{Metrics, S3Labels};

/// Counts tries by operation and status.
#[derive(Debug)]
pub(super) struct Observe(pub(super) Metrics);

#[aws_smithy_runtime_api::client::interceptors::dyn_dispatch_hint]
impl Intercept for Observe {
    fn name(&self) -> &'static str {
        "Observe"
    }

    fn read_after_attempt(
        &self,
        context: &FinalizerInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let operation = config.load::<Metadata>().map_or("unknown", Metadata::name);
        let status = context
            .response()
            .map_or(0, |response| response.status().as_u16());
        tracing::debug!(operation, status, "S3 answered");
        let labels = S3Labels {
            operation: operation.to_owned(),
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
