//! `/healthz`, `/readyz`, `/metrics`, the end of a server, and Unix sockets.

use std::os::unix::fs::FileTypeExt;

use tokio::io::AsyncWriteExt;
use tokio::net::UnixStream;

use crate::support::app::TestApp;
use crate::support::pattern;
use crate::support::raw::read_answer;
use crate::support::s3_server::{Fault, FaultRule};
use crate::support::stand::{Stand, eventually};

#[tokio::test]
async fn health_needs_no_token_and_tells_nothing() {
    for stand in Stand::both().await {
        stand.app.wait_until_ready().await;
        for (path, body) in [("/healthz", "ok\n"), ("/readyz", "ready\n")] {
            let url = format!("{}{path}", stand.app.url);
            let response = stand.app.client.get(url).send().await.unwrap();
            assert_eq!(response.status(), 200);
            assert_eq!(response.text().await.unwrap(), body);
        }
    }
}

#[tokio::test]
async fn not_ready_while_s3_fails_again_and_again_but_alive() {
    let settings = [("KURA_PING_SECONDS", "1"), ("KURA_S3_MAX_ATTEMPTS", "1")];
    let stand = Stand::s3(&settings).await;
    let server = stand.server.as_ref().unwrap();
    server.fail(FaultRule {
        operation: None,
        key_contains: None,
        skip: 0,
        times: usize::MAX,
        fault: Fault::status(503, "SlowDown"),
    });
    let readiness = &stand.app.served.readiness;
    eventually("it is noticed", || readiness.objection().is_some()).await;
    let answer = stand.app.raw("GET", "/readyz", &[], b"").await;
    assert_eq!(answer.status, 503);
    assert_eq!(answer.code(), "not_ready");
    assert_eq!(answer.problem()["detail"], "the store does not answer");
    assert!(answer.header("retry-after").is_some());
    assert_eq!(stand.app.raw("GET", "/healthz", &[], b"").await.status, 200);
    server.clear_faults();
    stand.app.wait_until_ready().await;
}

#[tokio::test]
async fn one_failure_of_s3_does_not_take_it_out_of_service() {
    let settings = [("KURA_PING_SECONDS", "1"), ("KURA_S3_MAX_ATTEMPTS", "1")];
    let stand = Stand::s3(&settings).await;
    let server = stand.server.as_ref().unwrap();
    server.fail(FaultRule {
        operation: None,
        key_contains: None,
        skip: 0,
        times: 1,
        fault: Fault::status(503, "SlowDown"),
    });
    let failed = || server.requests().iter().any(|it| it.status == Some(503));
    eventually("a sign of life is missed", failed).await;
    assert_eq!(stand.app.raw("GET", "/readyz", &[], b"").await.status, 200);
}

#[tokio::test]
async fn not_ready_while_draining() {
    let stand = Stand::directory(&[]).await;
    stand.app.wait_until_ready().await;
    stand.app.served.readiness.drain();
    let answer = stand.app.raw("GET", "/readyz", &[], b"").await;
    assert_eq!(answer.status, 503);
    assert_eq!(answer.problem()["detail"], "shutting down");
    assert_eq!(stand.app.raw("GET", "/healthz", &[], b"").await.status, 200);
}

#[tokio::test]
async fn upload_under_way_is_finished_before_the_end() {
    for stand in Stand::both().await {
        let body = pattern(1, 9 << 20);
        let length = body.len().to_string();
        let mut stream = stand.app.connect().await;
        let headers = [("Content-Length", length.as_str())];
        let head = stand.app.head("PUT", "/v1/files/a.bin", &headers);
        stream.write_all(head.as_bytes()).await.unwrap();
        let (first, second) = body.split_at(5_000_000);
        stream.write_all(first).await.unwrap();
        let metrics = stand.app.served.metrics.clone();
        eventually("it is begun", || metrics.received_bytes.get() > 0).await;
        let Stand { mut app, server } = stand;
        let shared = std::sync::Arc::clone(&app.served);
        // What is stored is looked at when the application is gone.
        let root = std::mem::replace(&mut app.root, tempfile::tempdir().unwrap());
        let object = root.path().join("files/objects/user001/a.bin");
        let finish = async {
            eventually("it drains", || {
                shared.readiness.objection() == Some("shutting down")
            })
            .await;
            stream.write_all(second).await.unwrap();
            let answer = read_answer(&mut stream).await.unwrap();
            assert_eq!(answer.status, 201);
            let stored = match &server {
                Some(server) => server.object("files", "user001/a.bin").unwrap().bytes(),
                None => std::fs::read(&object).unwrap().into(),
            };
            assert!(stored == body);
        };
        tokio::join!(finish, app.shut_down());
    }
}

#[tokio::test]
async fn metrics_have_their_names_and_no_file_names() {
    for stand in Stand::both().await {
        let upload = stand.app.upload("secret-name.txt", "12345");
        assert_eq!(upload.send().await.unwrap().status(), 201);
        let _ = stand
            .app
            .get("/v1/files/2026/11/secret-name.txt")
            .send()
            .await;
        let _ = stand.app.raw("GET", "/secret-route", &[], b"").await;
        let url = format!("{}/metrics", stand.app.url);
        let response = stand.app.client.get(url).send().await.unwrap();
        let content_type = response.headers()["content-type"].to_str().unwrap();
        assert!(content_type.starts_with("application/openmetrics-text"));
        let text = response.text().await.unwrap();
        for line in [
            "kura_http_requests_total{route=\"/v1/files\",method=\"POST\",status=\"201\"} 1",
            "kura_http_requests_total{route=\"-\",method=\"GET\",status=\"404\"} 1",
            "kura_http_received_bytes_total 5",
            "kura_tenants 1",
            "kura_tenants_broken 0",
            "kura_imports_expired_total 0",
            "kura_buffer_bytes 0",
            "# TYPE kura_http_request_duration_seconds histogram",
            "# TYPE kura_http_requests_in_flight gauge",
            "# TYPE kura_http_connections gauge",
            "# UNIT kura_buffer_limit_bytes bytes",
            "# EOF",
        ] {
            assert!(text.lines().any(|it| it == line), "{line} is not in {text}");
        }
        assert!(!text.contains("secret"), "{text}");
        if stand.server.is_some() {
            let line = "kura_s3_requests_total{operation=\"PutObject\",status=\"200\"} 1";
            assert!(text.contains(line), "{text}");
        }
    }
}

#[tokio::test]
async fn unix_socket_serves_and_goes_away_in_the_end() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("kura.sock");
    let listen = format!("unix:{}", path.display());
    // A socket that a killed server has left behind is in nobody's way.
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    let app = TestApp::with(&[("KURA_LISTEN", &listen)], |_| {}).await;
    assert_eq!(app.url, listen);
    assert!(path.metadata().unwrap().file_type().is_socket());
    for (method, body, status) in [("PUT", "hello", 201), ("GET", "", 200)] {
        let mut stream = UnixStream::connect(&path).await.unwrap();
        let length = body.len().to_string();
        let headers = [("Content-Length", length.as_str())];
        let request = app.head(method, "/v1/files/a.txt", &headers) + body;
        stream.write_all(request.as_bytes()).await.unwrap();
        let answer = read_answer(&mut stream).await.unwrap();
        assert_eq!(answer.status, status);
        if method == "GET" {
            assert_eq!(answer.body, b"hello");
        }
    }
    app.shut_down().await;
    assert!(!path.exists());
}

#[tokio::test]
async fn unix_socket_that_is_in_use_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("kura.sock");
    let in_use = std::os::unix::net::UnixListener::bind(&path).unwrap();
    let bound = kura::http::server::Listener::unix(&path);
    assert!(bound.is_err());
    assert!(UnixStream::connect(&path).await.is_ok());
    drop(in_use);
    let file = folder.path().join("file");
    std::fs::write(&file, "precious").unwrap();
    assert!(kura::http::server::Listener::unix(&file).is_err());
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "precious");
}
