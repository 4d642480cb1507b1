//! CSV files while they are being imported.

use std::fs::File;
use std::time::{Duration, SystemTime};

use reqwest::{Method, Response};
use serde_json::{Value, json};

use crate::support::app::{BUCKET, TestApp, problem_code};
use crate::support::pattern;
use crate::support::stand::{Stand, eventually};

const NAME: &str = "0123456789abcdef";
const FULL_KEY: &str = "user001/tmp/imports/0123456789abcdef";

async fn send(app: &TestApp, method: Method, body: &'static str) -> Response {
    let request = app.request(method, &format!("/v1/imports/{NAME}"));
    request.body(body).send().await.unwrap()
}

/// Makes the import look as if it had been stored so long ago.
fn age(stand: &Stand, age: Duration) {
    let modified = SystemTime::now() - age;
    if let Some(server) = &stand.server {
        server.set_modified(BUCKET, FULL_KEY, modified);
    } else {
        let file = File::options().write(true).open(stand.path(FULL_KEY));
        file.unwrap().set_modified(modified).unwrap();
    }
}

#[tokio::test]
async fn import_is_stored_read_replaced_and_removed() {
    for stand in Stand::both().await {
        for body in ["a;b\n1;2\n", "a;b\n3;4\n5;6\n", ""] {
            let stored = send(&stand.app, Method::PUT, body).await;
            assert_eq!(stored.status(), 201);
            let reply: Value = stored.json().await.unwrap();
            let digest = kura::digest::Digest::of(body.as_bytes()).to_string();
            assert_eq!(reply, json!({"size": body.len(), "digest": digest}));
            let read = send(&stand.app, Method::GET, "").await;
            assert_eq!(read.status(), 200);
            assert_eq!(read.headers()["x-content-type-options"], "nosniff");
            assert_eq!(read.text().await.unwrap(), body);
            let head = send(&stand.app, Method::HEAD, "").await;
            assert_eq!(head.headers()["content-length"], body.len().to_string());
        }
        assert_eq!(stand.keys(), [FULL_KEY]);
        for _ in 0..2 {
            let removed = send(&stand.app, Method::DELETE, "").await;
            assert_eq!(removed.status(), 204);
        }
        assert_eq!(send(&stand.app, Method::HEAD, "").await.status(), 404);
        let gone = send(&stand.app, Method::GET, "").await;
        assert_eq!(gone.status(), 404);
        assert_eq!(problem_code(gone).await, "not_found");
        stand.assert_empty("DELETE");
    }
}

#[tokio::test]
async fn import_may_be_large_and_read_in_ranges() {
    for stand in Stand::both().await {
        let path = format!("/v1/imports/{NAME}");
        let body = pattern(1, 9 << 20);
        let put = stand.app.request(Method::PUT, &path).body(body.clone());
        assert_eq!(put.send().await.unwrap().status(), 201);
        let get = stand.app.get(&path).header("Range", "bytes=9000000-");
        let response = get.send().await.unwrap();
        assert_eq!(response.status(), 206);
        assert!(response.bytes().await.unwrap() == body[9_000_000..]);
    }
}

#[tokio::test]
async fn conditions_of_writes_are_refused() {
    for stand in Stand::both().await {
        assert_eq!(send(&stand.app, Method::PUT, "old").await.status(), 201);
        for method in [Method::PUT, Method::DELETE] {
            for (name, value) in [
                ("If-None-Match", "*"),
                ("If-Match", "\"x\""),
                ("If-Unmodified-Since", "Mon, 23 Nov 2026 06:00:00 GMT"),
            ] {
                let path = format!("/v1/imports/{NAME}");
                let request = stand.app.request(method.clone(), &path).body("new");
                let refused = request.header(name, value).send().await.unwrap();
                assert_eq!(refused.status(), 400, "{method} {name}");
                assert_eq!(problem_code(refused).await, "invalid_parameter");
            }
        }
        let read = send(&stand.app, Method::GET, "").await;
        assert_eq!(read.text().await.unwrap(), "old");
    }
}

#[tokio::test]
async fn expired_import_is_not_there() {
    for stand in Stand::both_with(&[("KURA_IMPORT_TTL_SECONDS", "3600")]).await {
        assert_eq!(send(&stand.app, Method::PUT, "old").await.status(), 201);
        age(&stand, Duration::from_secs(3500));
        assert_eq!(send(&stand.app, Method::GET, "").await.status(), 200);
        age(&stand, Duration::from_secs(3700));
        assert_eq!(send(&stand.app, Method::GET, "").await.status(), 404);
        assert_eq!(send(&stand.app, Method::HEAD, "").await.status(), 404);
        assert_eq!(send(&stand.app, Method::PUT, "new").await.status(), 201);
        let read = send(&stand.app, Method::GET, "").await;
        assert_eq!(read.text().await.unwrap(), "new");
    }
}

#[tokio::test]
async fn expired_imports_are_swept_away_and_files_are_not() {
    // The sweep comes four times in that age.
    for stand in Stand::both_with(&[("KURA_IMPORT_TTL_SECONDS", "1")]).await {
        let put = stand.app.request(Method::PUT, "/v1/files/a.txt").body("x");
        assert_eq!(put.send().await.unwrap().status(), 201);
        assert_eq!(send(&stand.app, Method::PUT, "old").await.status(), 201);
        if stand.server.is_none() {
            // It goes also if it is damaged.
            std::fs::write(stand.path(FULL_KEY), "longer").unwrap();
        }
        age(&stand, Duration::from_mins(1));
        eventually("swept", || stand.keys() == ["user001/a.txt"]).await;
        let metrics = &stand.app.served.metrics;
        eventually("counted", || metrics.expired_imports.get() == 1).await;
    }
}

#[tokio::test]
async fn import_that_is_stored_anew_while_expired_ones_are_swept_stays() {
    let stand = Stand::s3(&[]).await;
    let server = stand.server.as_ref().unwrap();
    assert_eq!(send(&stand.app, Method::PUT, "old").await.status(), 201);
    age(&stand, Duration::from_hours(25));
    server.latency(Duration::from_millis(200));
    let tenant = stand.app.served.tenants.all().remove(0);
    let sweep = tokio::spawn(async move { tenant.inner.store.expire_imports().await });
    // The first request after the list has arrived, and is held up.
    let has_come = || {
        let mut requests = server.requests().into_iter();
        requests.any(|it| it.key == FULL_KEY && it.operation != "PutObject")
    };
    eventually("listed", has_come).await;
    server.put_object(BUCKET, FULL_KEY, "new", &[]);
    assert_eq!(sweep.await.unwrap().unwrap(), 0);
    assert_eq!(stand.keys(), [FULL_KEY]);
}

#[tokio::test]
async fn bad_names_are_refused() {
    for stand in Stand::both().await {
        for name in [
            "0123456789abcde",
            "0123456789ABCDEF",
            "0123456789abcdeg",
            "0123456789abcdef.csv",
            "..%2F..%2F0123456789abcdef",
            "%2e%2e",
            &"a".repeat(65),
        ] {
            for method in [Method::PUT, Method::GET, Method::DELETE] {
                let request = stand.app.request(method, &format!("/v1/imports/{name}"));
                let response = request.body("x").send().await.unwrap();
                // The client itself resolves `%2e%2e`, to a path that is none.
                let code = match response.status().as_u16() {
                    404 => "no_such_route",
                    status => {
                        assert_eq!(status, 400, "{name}");
                        "invalid_key"
                    }
                };
                assert_eq!(problem_code(response).await, code, "{name}");
            }
        }
        stand.assert_empty("bad names");
    }
}

#[tokio::test]
async fn another_task_reads_what_this_one_has_stored() {
    let stand = Stand::s3(&[]).await;
    let other = TestApp::s3(stand.server.as_ref().unwrap()).await;
    assert_eq!(send(&stand.app, Method::PUT, "a;b").await.status(), 201);
    let read = send(&other, Method::GET, "").await;
    assert_eq!(read.text().await.unwrap(), "a;b");
    assert_eq!(send(&other, Method::DELETE, "").await.status(), 204);
    assert_eq!(send(&stand.app, Method::GET, "").await.status(), 404);
}
