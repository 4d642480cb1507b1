//! What a small request spends its time on, piece by piece, and all of it
//! through the router without a socket. `cargo bench --bench micro [NAME]`.

#![allow(
    clippy::unwrap_used,
    missing_docs,
    reason = "a program that measures may stop"
)]

#[allow(dead_code, unreachable_pub, clippy::expect_used)]
#[path = "../tests/it/support/mod.rs"]
mod support;

use std::sync::OnceLock;
use std::time::SystemTime;

use axum::Router;
use axum::body::Body;
use axum::http::header::{HeaderMap, HeaderValue, IF_NONE_MATCH};
use axum::http::{Request, StatusCode};
use bytes::Bytes;
use divan::counter::BytesCount;
use divan::{Bencher, black_box};
use futures_util::StreamExt;
use http_body_util::BodyExt;
use kura::cache::CacheKey;
use kura::cache::memory::MemoryCache;
use kura::digest::Hasher;
use kura::http::conditional::Preconditions;
use kura::http::zip::{Plan, PlanEntry};
use kura::http::{range, router, zip};
use kura::key::{FileKey, Layout, ObjectKey, ThumbKey};
use kura::tenant::Secrets;
use tokio::runtime::Runtime;
use tower::Service;

use support::app::{FOLDER, SECRET, TestApp};
use support::pattern;

const NAME: &str = "2026/11/261122194501_report.pdf";
const TAG: &str = "\"0123456789abcdef0123456789abcdef\"";

fn main() {
    // As in production, but that nobody keeps what is written.
    tracing_subscriber::fmt()
        .with_writer(std::io::sink)
        .with_target(false)
        .json()
        .flatten_event(true)
        .with_current_span(true)
        .with_span_list(false)
        .init();
    divan::main();
}

fn secrets() -> Secrets {
    Secrets::parse(SECRET).unwrap()
}

#[divan::bench]
fn token_is_verified(bencher: Bencher<'_, '_>) {
    let secrets = secrets();
    let token = secrets.token(&"default".parse().unwrap());
    bencher.bench(|| secrets.verify(black_box(&token)));
}

#[divan::bench]
fn key_is_parsed() -> FileKey {
    FileKey::parse(black_box(NAME)).unwrap()
}

#[divan::bench]
fn key_gets_its_place(bencher: Bencher<'_, '_>) {
    let layout = Layout::new(FOLDER, None, None).unwrap();
    let key = ObjectKey::File(FileKey::parse(NAME).unwrap());
    bencher.bench(|| layout.locate(black_box(&key)));
}

#[divan::bench]
fn range_is_parsed(bencher: Bencher<'_, '_>) {
    let value = HeaderValue::from_static("bytes=1048576-2097151");
    bencher.bench(|| range::parse(black_box(&value)));
}

#[divan::bench]
fn conditions_are_weighed(bencher: Bencher<'_, '_>) {
    let mut headers = HeaderMap::new();
    headers.insert(IF_NONE_MATCH, HeaderValue::from_static(TAG));
    let now = SystemTime::now();
    bencher.bench(|| Preconditions::from_headers(black_box(&headers)).evaluate(TAG, now));
}

#[divan::bench]
fn a_megabyte_is_hashed(bencher: Bencher<'_, '_>) {
    let bytes = pattern(1, 1 << 20);
    bencher.counter(BytesCount::of_slice(&bytes)).bench(|| {
        let mut hasher = Hasher::default();
        hasher.update(black_box(&bytes));
        hasher.finish()
    });
}

#[divan::bench]
fn a_megabyte_gets_its_checksum(bencher: Bencher<'_, '_>) {
    let bytes = pattern(1, 1 << 20);
    bencher
        .counter(BytesCount::of_slice(&bytes))
        .bench(|| crc_fast::checksum(crc_fast::CrcAlgorithm::Crc64Nvme, black_box(&bytes)));
}

#[divan::bench]
fn thumbnail_is_found_in_memory(bencher: Bencher<'_, '_>) {
    let (runtime, app) = server();
    let tenant = app.served.tenants.all().into_iter().next().unwrap();
    let cache = MemoryCache::new(32 << 20, &app.served.metrics);
    let key = |number: u32| CacheKey {
        tenant: tenant.inner.tenancy.clone(),
        thumbnail: ThumbKey::parse(&format!("{number:064x}_1_100.thumb")).unwrap(),
    };
    (0..1000).for_each(|number| cache.put(key(number), Bytes::from_static(&[1; 9000])));
    let wanted = key(500);
    bencher.bench(|| cache.get(black_box(&wanted)));
    let _ = runtime;
}

/// Headers, checksums and directory of a hundred files of 4 KB.
#[divan::bench]
fn archive_of_100_is_written(bencher: Bencher<'_, '_>) {
    let (runtime, _) = server();
    let content = pattern(1, 4096);
    let entry = |number: usize| PlanEntry {
        name: format!("report-{number}.pdf"),
        size_bytes: 4096,
        modified: SystemTime::now(),
    };
    bencher.bench(|| {
        let plan = Plan::new((0..100).map(entry).collect());
        let open = |_| {
            let file = futures_util::stream::iter([Ok::<_, std::io::Error>(content.clone())]);
            async { Ok(file.boxed()) }
        };
        runtime.block_on(zip::stream(plan, open).count())
    });
}

fn server() -> &'static (Runtime, TestApp) {
    static SERVER: OnceLock<(Runtime, TestApp)> = OnceLock::new();
    SERVER.get_or_init(|| {
        let runtime = Runtime::new().unwrap();
        let app = runtime.block_on(TestApp::directory());
        (runtime, app)
    })
}

/// A request through all layers, and its line in the log.
fn ask(bencher: Bencher<'_, '_>, path: &str, wanted: StatusCode) {
    let (runtime, app) = server();
    let mut router: Router = router(app.served.clone());
    let token = format!("Bearer {}", app.token("default"));
    let request = || {
        let request = Request::get(path).header("authorization", &token);
        request.body(Body::empty()).unwrap()
    };
    bencher.with_inputs(request).bench_local_values(|request| {
        runtime.block_on(async {
            let response = router.call(request).await.unwrap();
            assert_eq!(response.status(), wanted);
            response.into_body().collect().await.unwrap().to_bytes()
        })
    });
}

#[divan::bench]
fn request_for_a_small_file(bencher: Bencher<'_, '_>) {
    let (runtime, app) = server();
    runtime.block_on(async {
        let path = format!("/v1/files/{NAME}");
        let put = app.request(axum::http::Method::PUT, &path);
        let put = put.body(pattern(1, 4096)).send().await.unwrap();
        assert_eq!(put.status(), StatusCode::CREATED);
    });
    ask(bencher, &format!("/v1/files/{NAME}"), StatusCode::OK);
}

#[divan::bench]
fn request_for_nothing(bencher: Bencher<'_, '_>) {
    ask(bencher, "/v1/nothing", StatusCode::NOT_FOUND);
}
