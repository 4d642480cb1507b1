//! What happens when there is more to do than may be done at once.

use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::{StreamExt, future, stream};
use reqwest::{Body, Method, Response};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::support::app::{BUCKET, TestApp, problem_code};
use crate::support::pattern;
use crate::support::raw::{RawAnswer, read_answer};
use crate::support::s3_server::S3Server;
use crate::support::stand::{Stand, eventually};
use crate::support::task::TenantFiles;

/// An upload that has been begun and waits to be ended.
struct Held {
    end: oneshot::Sender<()>,
    answer: JoinHandle<Response>,
}

/// Begins an upload of `bytes` whose end does not come by itself. Its length
/// is not announced.
fn hold(app: &TestApp, id: &str, name: &str, bytes: Bytes) -> Held {
    let (end, ended) = oneshot::channel::<()>();
    let last = stream::once(async {
        let _ = ended.await;
        Ok(Bytes::new())
    });
    let body = stream::iter([Ok::<_, std::io::Error>(bytes)]).chain(last);
    let path = format!("/v1/files?name={name}");
    let request = app.request_as(id, Method::POST, &path);
    let request = request.body(Body::wrap_stream(body));
    let answer = tokio::spawn(async move { request.send().await.unwrap() });
    Held { end, answer }
}

impl Held {
    async fn finish(self) -> Response {
        let _ = self.end.send(());
        self.answer.await.unwrap()
    }
}

/// Begins an upload and waits until it has its places under the limits.
async fn hold_place(app: &TestApp, name: &str) -> Held {
    let metrics = &app.served.metrics;
    let before = metrics.received_bytes.get();
    let held = hold(app, "default", name, Bytes::from_static(b"x"));
    eventually("it is begun", || metrics.received_bytes.get() > before).await;
    held
}

fn rejections(app: &TestApp, code: &str) -> bool {
    let text = app.served.metrics.encode();
    text.contains(&format!(
        "kura_http_rejections_total{{code=\"{code}\"}} 1\n"
    ))
}

#[tokio::test]
async fn tenant_over_its_requests_is_told_429() {
    for stand in Stand::both_with(&[("KURA_MAX_TENANT_REQUESTS", "2")]).await {
        let app = &stand.app;
        let (one, two) = (hold_place(app, "1").await, hold_place(app, "2").await);
        let refused = app.upload("3", "x").send().await.unwrap();
        assert_eq!(refused.status(), 429);
        assert_eq!(refused.headers()["retry-after"], "2");
        assert_eq!(problem_code(refused).await, "tenant_busy");
        assert!(rejections(app, "tenant_busy"));
        assert_eq!(app.raw("GET", "/healthz", &[], b"").await.status, 200);
        assert_eq!(one.finish().await.status(), 201);
        // The place is free again as soon as the answer has been sent.
        let served = app.upload("3", "x").send().await.unwrap();
        assert_eq!(served.status(), 201);
        assert_eq!(two.finish().await.status(), 201);
    }
}

#[tokio::test]
async fn requests_over_the_limit_of_all_are_told_503() {
    for stand in Stand::both_with(&[("KURA_MAX_REQUESTS", "1")]).await {
        let app = &stand.app;
        let held = hold_place(app, "1").await;
        let refused = app.get("/v1/files").send().await.unwrap();
        assert_eq!(refused.status(), 503);
        assert_eq!(refused.headers()["retry-after"], "2");
        assert_eq!(problem_code(refused).await, "overloaded");
        assert!(rejections(app, "overloaded"));
        assert_eq!(held.finish().await.status(), 201);
        assert_eq!(app.get("/v1/files").send().await.unwrap().status(), 200);
    }
}

#[tokio::test]
async fn connection_over_the_limit_is_told_503() {
    let stand = Stand::directory(&[("KURA_MAX_CONNECTIONS", "2")]).await;
    let open = |count: i64| {
        let connections = &stand.app.served.metrics.connections;
        move || connections.get() == count
    };
    let one = stand.app.connect().await;
    let two = stand.app.connect().await;
    eventually("both are open", open(2)).await;
    let mut third = stand.app.connect().await;
    third
        .write_all(b"GET /healthz HTTP/1.1\r\nHost: kura\r\n\r\n")
        .await
        .unwrap();
    let mut received = Vec::new();
    third.read_to_end(&mut received).await.unwrap();
    let answer: RawAnswer = read_answer(&mut received.as_slice()).await.unwrap();
    assert_eq!(answer.status, 503);
    assert_eq!(answer.header("retry-after"), Some("2"));
    assert_eq!(answer.header("connection"), Some("close"));
    assert_eq!(answer.code(), "overloaded");
    assert!(
        received.ends_with(&answer.body),
        "more came than was announced"
    );
    assert!(answer.body.ends_with(b"}"));
    drop(one);
    eventually("one is closed", open(1)).await;
    assert_eq!(stand.app.raw("GET", "/healthz", &[], b"").await.status, 200);
    drop(two);
}

#[tokio::test]
async fn slow_sender_is_told_408_and_leaves_nothing() {
    for stand in Stand::both_with(&[("KURA_IDLE_SECONDS", "1")]).await {
        for (target, sent) in [
            ("/v1/files?name=a.bin", 10),
            ("/v1/files?name=a.bin", 17 << 20),
            ("/v1/imports/0123456789abcdef", 10),
            ("/v1/move", 10),
        ] {
            let method = if target.contains("imports") {
                "PUT"
            } else {
                "POST"
            };
            let length = if target == "/v1/move" {
                "1000"
            } else {
                "30000000"
            };
            let mut stream = stand.app.connect().await;
            let head = stand
                .app
                .head(method, target, &[("Content-Length", length)]);
            stream.write_all(head.as_bytes()).await.unwrap();
            stream.write_all(&pattern(1, sent)).await.unwrap();
            let answer = read_answer(&mut stream).await.unwrap();
            assert_eq!(answer.status, 408, "{target}");
            assert_eq!(answer.code(), "body_too_slow");
            assert_eq!(answer.header("connection"), Some("close"));
            stand.assert_soon_empty(target).await;
        }
    }
}

#[tokio::test]
async fn trickle_is_too_slow_too() {
    let settings = [
        ("KURA_IDLE_SECONDS", "1"),
        ("KURA_MIN_BYTES_PER_SECOND", "100"),
    ];
    let stand = Stand::directory(&settings).await;
    let mut stream = stand.app.connect().await;
    let head = stand
        .app
        .head("POST", "/v1/files?name=a", &[("Content-Length", "100000")]);
    stream.write_all(head.as_bytes()).await.unwrap();
    let (mut reader, mut writer) = stream.into_split();
    let trickle = tokio::spawn(async move {
        while writer.write_all(b"x").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    });
    let answer = read_answer(&mut reader).await.unwrap();
    trickle.abort();
    assert_eq!(answer.status, 408);
    assert_eq!(answer.code(), "body_too_slow");
    stand.assert_soon_empty("a trickle").await;
}

#[tokio::test]
async fn slow_head_ends_the_connection() {
    let stand = Stand::directory(&[("KURA_IDLE_SECONDS", "1")]).await;
    let mut stream = stand.app.connect().await;
    stream
        .write_all(b"GET /healthz HTTP/1.1\r\nHo")
        .await
        .unwrap();
    let begun = Instant::now();
    let mut received = Vec::new();
    let _ = stream.read_to_end(&mut received).await;
    assert!(begun.elapsed() < Duration::from_secs(10));
    assert!(!received.starts_with(b"HTTP/1.1 2"));
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_reader_is_dropped_and_gives_everything_back() {
    for stand in Stand::both_with(&[("KURA_IDLE_SECONDS", "1")]).await {
        let put = stand.app.request(Method::PUT, "/v1/files/a.bin");
        let put = put.body(pattern(1, 40 << 20));
        assert_eq!(put.send().await.unwrap().status(), 201);
        let mut stream = stand.app.connect().await;
        let head = stand.app.head("GET", "/v1/files/a.bin", &[]);
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut some = [0; 1000];
        stream.read_exact(&mut some).await.unwrap();
        assert!(some.starts_with(b"HTTP/1.1 200"));
        // Nothing more is taken until the server has had enough of it.
        let served = &stand.app.served;
        eventually("it is dropped", || served.metrics.in_flight.get() == 0).await;
        eventually("memory is given back", || served.budget.used_bytes() == 0).await;
        let rest = read_to_end(&mut stream).await;
        assert!(rest < 40 << 20, "{} sent all of it", stand.name());
    }
}

async fn read_to_end(stream: &mut TcpStream) -> usize {
    let mut bytes = Vec::new();
    let _ = stream.read_to_end(&mut bytes).await;
    bytes.len()
}

/// The least memory that many tenants can have: four parts for each.
const MEMORY: [(&str, &str); 2] = [
    ("KURA_MEMORY_BYTES", "67108864"),
    ("KURA_WAIT_SECONDS", "1"),
];

#[tokio::test(flavor = "multi_thread")]
async fn memory_stays_within_its_budget() {
    let settings = [("KURA_MEMORY_BYTES", "33554432")];
    let stand = Stand::s3(&settings).await;
    let uploads = (0..12).map(|seed| {
        let body = pattern(seed, 20 << 20);
        let upload = stand.app.upload(&format!("{seed}.bin"), body);
        async move { upload.send().await.unwrap().status() }
    });
    for status in future::join_all(uploads).await {
        assert_eq!(status, 201);
    }
    let budget = &stand.app.served.budget;
    assert!(budget.peak_bytes() <= 32 << 20, "{}", budget.peak_bytes());
    assert!(budget.peak_bytes() >= 16 << 20, "{}", budget.peak_bytes());
    eventually("memory is given back", || budget.used_bytes() == 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn upload_that_finds_no_memory_in_time_is_told_503() {
    let stand = Stand::s3(&MEMORY).await;
    let app = &stand.app;
    let budget = &app.served.budget;
    let names = ["1", "2", "3", "4", "5", "6", "7", "8"];
    let held: Vec<_> = names
        .map(|name| hold(app, "default", name, pattern(1, 1000)))
        .into();
    eventually("all memory is taken", || budget.used_bytes() == 64 << 20).await;
    let refused = app.upload("small.txt", "x").send().await.unwrap();
    assert_eq!(refused.status(), 503);
    assert_eq!(refused.headers()["retry-after"], "2");
    assert_eq!(problem_code(refused).await, "busy");
    for upload in held {
        assert_eq!(upload.finish().await.status(), 201);
    }
    let stored = app.upload("small.txt", "x").send().await.unwrap();
    assert_eq!(stored.status(), 201);
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_bulk_of_one_tenant_leaves_room_for_another() {
    let tenants = TenantFiles::with_folders(["bulk", "small"]);
    let directory = tenants.source();
    let server = S3Server::start().await.with_bucket(BUCKET);
    let mut settings = vec![("KURA_TENANTS", directory.as_str())];
    settings.extend(MEMORY);
    let app = TestApp::s3_with(&server, &settings, |_| {}).await;
    let held: Vec<_> = (0..20)
        .map(|n| hold(&app, "bulk", &n.to_string(), pattern(n, 1000)))
        .collect();
    let budget = &app.served.budget;
    eventually("its share is taken", || budget.used_bytes() == 32 << 20).await;
    let begun = Instant::now();
    for n in 0..10 {
        let path = format!("/v1/files?name=small{n}.txt");
        let upload = app.request_as("small", Method::POST, &path).body("x");
        assert_eq!(upload.send().await.unwrap().status(), 201);
    }
    assert!(
        begun.elapsed() < Duration::from_secs(1),
        "{:?}",
        begun.elapsed()
    );
    let mut statuses = Vec::new();
    for upload in held {
        statuses.push(upload.finish().await.status().as_u16());
    }
    // Those that had no memory within the time were told so.
    assert!(
        statuses.iter().all(|status| [201, 503].contains(status)),
        "{statuses:?}"
    );
    assert!(statuses.iter().filter(|status| **status == 201).count() >= 4);
}
