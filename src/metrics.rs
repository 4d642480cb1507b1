//! Every metric that Kura exports: name, unit and labels, listed once.
//!
//! Names follow Prometheus: counters get `_total` when written out.

mod process;

use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::SystemTime;

use prometheus_client::encoding::{EncodeLabelSet, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};

/// Upper bounds of the latency buckets, in seconds.
const LATENCY_BUCKETS: [f64; 12] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0,
];

/// An HTTP request that has been answered.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct RequestLabels {
    /// The route's pattern, never a path.
    pub route: String,
    /// The method; `other` for one that nobody knows.
    pub method: String,
    /// The status sent.
    pub status: u16,
}

/// A route.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct RouteLabels {
    /// The route's pattern, never a path.
    pub route: String,
}

/// One try of a request to S3.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct S3Labels {
    /// S3's name of the operation, such as `PutObject`.
    pub operation: String,
    /// The status received, or 0 when none came.
    pub status: u16,
}

/// An operation of S3's.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct OperationLabels {
    /// S3's name of the operation, such as `PutObject`.
    pub operation: String,
}

/// An attempt to get credentials for S3.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct RenewalLabels {
    /// Whose they are to be: the `server`'s own, or those of a `tenant`'s role.
    pub of: &'static str,
    /// `renewed`, `refused`, or `failed` where there was no proper answer.
    pub outcome: &'static str,
}

/// Why a request was turned away before it was tried.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct RejectionLabels {
    /// The error's code.
    pub code: &'static str,
}

/// Where an answer about a thumbnail came from.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ThumbnailLabels {
    /// `memory`, `disk`, `store`, `rendered`, `joined` (another request was
    /// being answered already), `refused` (it is remembered that there is
    /// none) or `failed`.
    pub from: &'static str,
}

/// Where a leased file came from.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct LeaseLabels {
    /// `kept`, `fetched`, `joined` (it was being looked for already) or
    /// `failed`.
    pub from: &'static str,
}

/// What became of a thumbnail that was to be made of an upload.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct EagerLabels {
    /// `made`, `failed` or `skipped`.
    pub outcome: &'static str,
}

/// A cache.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct CacheLabels {
    /// Of thumbnails `memory` or `disk`; `leases` of leased files.
    pub cache: &'static str,
}

/// What is known of one cache.
#[derive(Clone, Debug, Default)]
pub struct CacheMetrics {
    /// Bytes in it.
    pub bytes: Gauge<u64, AtomicU64>,
    /// Thumbnails or files in it.
    pub entries: Gauge<u64, AtomicU64>,
    /// Those removed to make room.
    pub evictions: Counter,
}

/// A thumbnail that was to be made.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct RenderLabels {
    /// What came of it.
    pub outcome: &'static str,
}

/// A worker that ended without having been asked to.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct LossLabels {
    /// Why it did.
    pub cause: &'static str,
}

/// The metrics, shared by all clones: each request has some.
#[derive(Clone, Debug, Default)]
pub struct Metrics(Arc<All>);

impl Deref for Metrics {
    type Target = All;

    fn deref(&self) -> &All {
        &self.0
    }
}

/// The metrics themselves.
#[derive(Debug)]
pub struct All {
    registry: Registry,
    started: SystemTime,
    /// Requests answered.
    pub requests: Family<RequestLabels, Counter>,
    /// Time from the request's head to the end of the answer's body.
    pub request_seconds: Family<RouteLabels, Histogram, fn() -> Histogram>,
    /// Requests being answered.
    pub in_flight: Gauge,
    /// Connections open.
    pub connections: Gauge,
    /// Bytes of request bodies received.
    pub received_bytes: Counter,
    /// Bytes of response bodies sent.
    pub sent_bytes: Counter,
    /// Requests turned away because a limit was reached.
    pub rejections: Family<RejectionLabels, Counter>,
    /// Tries of requests to S3, which S3 bills.
    pub s3_requests: Family<S3Labels, Counter>,
    /// Time from a try's first byte to the head of its answer.
    pub s3_request_seconds: Family<OperationLabels, Histogram, fn() -> Histogram>,
    /// Tries after the first of a request.
    pub s3_retries: Family<OperationLabels, Counter>,
    /// Attempts to get credentials.
    pub credential_renewals: Family<RenewalLabels, Counter>,
    /// When the server's own credentials end, in seconds since 1970; 0 when
    /// they do not.
    pub credentials_end: Gauge<u64, AtomicU64>,
    /// 1 when requests are wanted, else 0.
    pub ready: Gauge,
    /// Memory of part buffers in use.
    pub buffer_bytes: Gauge<u64, AtomicU64>,
    /// The most memory of part buffers ever in use at once.
    pub buffer_peak_bytes: Gauge<u64, AtomicU64>,
    /// Memory that part buffers may take.
    pub buffer_limit_bytes: Gauge<u64, AtomicU64>,
    /// Tenants being served.
    pub tenants: Gauge<u64, AtomicU64>,
    /// Tenant files that cannot be used as they are.
    pub broken_tenants: Gauge<u64, AtomicU64>,
    /// When the tenant files were last listed, in seconds since 1970; 0 when
    /// there are none.
    pub tenants_refreshed: Gauge<u64, AtomicU64>,
    /// Imports removed because they had expired.
    pub expired_imports: Counter,
    /// Answers about thumbnails.
    pub thumbnails: Family<ThumbnailLabels, Counter>,
    /// Answers about leases.
    pub leases: Family<LeaseLabels, Counter>,
    /// Thumbnails that were made and could not be stored.
    pub unstored_thumbnails: Counter,
    /// Thumbnails made of uploads, before anybody asked for them.
    pub eager_thumbnails: Family<EagerLabels, Counter>,
    /// Damaged files found in the cache on disk.
    pub corrupt_cached: Counter,
    cache_bytes: Family<CacheLabels, Gauge<u64, AtomicU64>>,
    cache_entries: Family<CacheLabels, Gauge<u64, AtomicU64>>,
    cache_evictions: Family<CacheLabels, Counter>,
    /// Thumbnails that were to be made.
    pub renders: Family<RenderLabels, Counter>,
    /// Time that a worker had a thumbnail, the wait for its source included.
    pub render_seconds: Histogram,
    /// CPU time that a worker took for a thumbnail.
    pub render_cpu_seconds: Histogram,
    /// Thumbnails that wait for a worker.
    pub render_queue: Gauge,
    /// Worker processes.
    pub render_workers: Gauge,
    /// Workers that ended without having been asked to.
    pub render_workers_lost: Family<LossLabels, Counter>,
}

impl Default for All {
    fn default() -> Self {
        let latency: fn() -> Histogram = || Histogram::new(LATENCY_BUCKETS);
        let mut metrics = Self {
            registry: Registry::default(),
            started: SystemTime::now(),
            requests: Family::default(),
            request_seconds: Family::new_with_constructor(latency),
            in_flight: Gauge::default(),
            connections: Gauge::default(),
            received_bytes: Counter::default(),
            sent_bytes: Counter::default(),
            rejections: Family::default(),
            s3_requests: Family::default(),
            s3_request_seconds: Family::new_with_constructor(latency),
            s3_retries: Family::default(),
            credential_renewals: Family::default(),
            credentials_end: Gauge::default(),
            ready: Gauge::default(),
            buffer_bytes: Gauge::default(),
            buffer_peak_bytes: Gauge::default(),
            buffer_limit_bytes: Gauge::default(),
            tenants: Gauge::default(),
            broken_tenants: Gauge::default(),
            tenants_refreshed: Gauge::default(),
            expired_imports: Counter::default(),
            thumbnails: Family::default(),
            leases: Family::default(),
            unstored_thumbnails: Counter::default(),
            eager_thumbnails: Family::default(),
            corrupt_cached: Counter::default(),
            cache_bytes: Family::default(),
            cache_entries: Family::default(),
            cache_evictions: Family::default(),
            renders: Family::default(),
            render_seconds: latency(),
            render_cpu_seconds: latency(),
            render_queue: Gauge::default(),
            render_workers: Gauge::default(),
            render_workers_lost: Family::default(),
        };
        metrics.registry = metrics.register();
        metrics
    }
}

impl All {
    #[rustfmt::skip]
    fn register(&self) -> Registry {
        let mut all = Registry::with_prefix("kura");
        let bytes = || Unit::Bytes;
        all.register("build", "The version of Kura", Info::new([("version", env!("CARGO_PKG_VERSION"))]));
        all.register("ready", "1 when requests are wanted, as /readyz has it", self.ready.clone());
        all.register("http_requests", "Requests answered, by route, method and status", self.requests.clone());
        all.register_with_unit("http_request_duration", "Time from a request's head to the end of its answer", Unit::Seconds, self.request_seconds.clone());
        all.register("http_requests_in_flight", "Requests being answered", self.in_flight.clone());
        all.register("http_connections", "Connections open", self.connections.clone());
        all.register_with_unit("http_received", "Bytes of request bodies received", bytes(), self.received_bytes.clone());
        all.register_with_unit("http_sent", "Bytes of response bodies sent", bytes(), self.sent_bytes.clone());
        all.register("http_rejections", "Requests turned away because a limit was reached, by error code", self.rejections.clone());
        all.register("s3_requests", "Tries of requests to S3, by operation and status (0: no answer)", self.s3_requests.clone());
        all.register_with_unit("s3_request_duration", "Time from a try's first byte to the head of its answer, by operation", Unit::Seconds, self.s3_request_seconds.clone());
        all.register("s3_retries", "Tries after the first of a request to S3, by operation", self.s3_retries.clone());
        all.register("credential_renewals", "Attempts to get credentials for S3, by whose they are to be and outcome", self.credential_renewals.clone());
        all.register_with_unit("credentials_end_timestamp", "When the server's own credentials end, since 1970; 0 when they do not", Unit::Seconds, self.credentials_end.clone());
        all.register_with_unit("buffer", "Memory of part buffers in use", bytes(), self.buffer_bytes.clone());
        all.register_with_unit("buffer_peak", "Most memory of part buffers ever in use at once", bytes(), self.buffer_peak_bytes.clone());
        all.register_with_unit("buffer_limit", "Memory that part buffers may take", bytes(), self.buffer_limit_bytes.clone());
        all.register("tenants", "Tenants being served", self.tenants.clone());
        all.register("tenants_broken", "Tenant files that cannot be used as they are", self.broken_tenants.clone());
        all.register_with_unit("tenants_refreshed_timestamp", "When the tenant files were last listed, since 1970; 0 when there are none", Unit::Seconds, self.tenants_refreshed.clone());
        all.register("imports_expired", "Imports removed because they had expired", self.expired_imports.clone());
        all.register("thumbnails", "Answers about thumbnails, by where they came from", self.thumbnails.clone());
        all.register("leases", "Answers about leases, by where the file came from", self.leases.clone());
        all.register("thumbnails_unstored", "Thumbnails that were made and could not be stored", self.unstored_thumbnails.clone());
        all.register("thumbnails_eager", "Thumbnails to be made of uploads, by what became of them", self.eager_thumbnails.clone());
        all.register_with_unit("cache", "Bytes in a cache of thumbnails or leased files", bytes(), self.cache_bytes.clone());
        all.register("cache_entries", "Thumbnails or files in a cache", self.cache_entries.clone());
        all.register("cache_evictions", "Thumbnails or files removed from a cache to make room", self.cache_evictions.clone());
        all.register("cache_corrupt", "Damaged files found in the cache on disk", self.corrupt_cached.clone());
        all.register("renders", "Thumbnails that were to be made, by what came of it", self.renders.clone());
        all.register_with_unit("render_duration", "Time that a worker had a thumbnail, the wait for its source included", Unit::Seconds, self.render_seconds.clone());
        all.register_with_unit("render_cpu", "CPU time that a worker took for a thumbnail", Unit::Seconds, self.render_cpu_seconds.clone());
        all.register("render_queue", "Thumbnails that wait for a worker", self.render_queue.clone());
        all.register("render_workers", "Worker processes", self.render_workers.clone());
        all.register("render_workers_lost", "Workers that ended without having been asked to, by cause", self.render_workers_lost.clone());
        all
    }

    /// The metrics of one cache.
    #[must_use]
    pub fn cache(&self, cache: &'static str) -> CacheMetrics {
        let labels = CacheLabels { cache };
        CacheMetrics {
            bytes: self.cache_bytes.get_or_create_owned(&labels),
            entries: self.cache_entries.get_or_create_owned(&labels),
            evictions: self.cache_evictions.get_or_create_owned(&labels),
        }
    }

    /// All metrics in the OpenMetrics text format.
    #[must_use]
    pub fn encode(&self) -> String {
        let mut out = String::new();
        // Writing to a `String` cannot fail.
        let _ = text::encode_registry(&mut out, &self.registry)
            .and_then(|()| text::encode_registry(&mut out, &process::registry(self.started)))
            .and_then(|()| text::encode_eof(&mut out));
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics_are_written_with_unit_and_labels() {
        let metrics = Metrics::default();
        let labels = S3Labels {
            operation: "PutObject".into(),
            status: 200,
        };
        metrics.s3_requests.get_or_create(&labels).inc();
        let text = metrics.encode();
        assert!(text.contains("kura_s3_requests_total{operation=\"PutObject\",status=\"200\"} 1"));
        assert!(text.contains("# UNIT kura_buffer_bytes bytes"));
    }
}
