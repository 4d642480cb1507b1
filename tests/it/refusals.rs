//! How a request is refused: before its body is stored, heard by the client
//! all the same, and seen in the log's numbers.

use std::time::Duration;

use reqwest::Method;
use serde_json::json;
use tokio::io::AsyncWriteExt;

use crate::support::app::{BUCKET, problem_code};
use crate::support::pattern;
use crate::support::raw::read_answer;
use crate::support::s3_server::{Fault, FaultRule};
use crate::support::stand::{Stand, eventually};

#[tokio::test]
async fn client_that_sends_all_of_a_refused_body_hears_why() {
    let stand = Stand::directory(&[]).await;
    let body = pattern(1, 40 << 20);
    let length = body.len().to_string();
    let headers = [
        ("Authorization", "Bearer wrong"),
        ("Content-Length", length.as_str()),
    ];
    let head = stand.app.head("POST", "/v1/files?name=a", &headers);
    let mut stream = stand.app.connect().await;
    stream.write_all(head.as_bytes()).await.unwrap();
    // No part of this may fail: a client in the middle of it would never see
    // the answer.
    stream.write_all(&body).await.unwrap();
    let answer = read_answer(&mut stream).await.unwrap();
    assert_eq!(answer.status, 401);
    stand.assert_empty("the refused upload");
}

#[tokio::test]
async fn client_that_waits_for_100_continue_is_refused_at_once() {
    let stand = Stand::directory(&[]).await;
    let headers = [
        ("Authorization", "Bearer wrong"),
        ("Content-Length", "1000"),
        ("Expect", "100-continue"),
    ];
    let head = stand.app.head("POST", "/v1/files?name=a", &headers);
    let mut stream = stand.app.connect().await;
    stream.write_all(head.as_bytes()).await.unwrap();
    let answer = tokio::time::timeout(Duration::from_secs(1), read_answer(&mut stream)).await;
    assert_eq!(answer.unwrap().unwrap().status, 401);
}

#[tokio::test]
async fn part_of_a_file_or_an_encoded_one_is_not_stored_as_the_whole() {
    for stand in Stand::both().await {
        for (name, value) in [
            ("content-range", "bytes 5-9/100"),
            ("content-encoding", "gzip"),
        ] {
            let upload = stand.app.request(Method::PUT, "/v1/files/a").body("12345");
            let refused = upload.header(name, value).send().await.unwrap();
            assert_eq!(refused.status(), 400, "{name}");
            assert_eq!(problem_code(refused).await, "invalid_parameter");
            stand.assert_empty(name);
        }
    }
}

#[tokio::test]
async fn condition_that_cannot_be_kept_is_refused_and_not_ignored() {
    for stand in Stand::both().await {
        let kept = stand.app.request(Method::PUT, "/v1/files/a").body("12345");
        assert_eq!(kept.send().await.unwrap().status(), 201);
        for method in [Method::DELETE, Method::PUT] {
            let request = stand.app.request(method.clone(), "/v1/files/a");
            let refused = request
                .header("if-match", "\"other\"")
                .send()
                .await
                .unwrap();
            assert_eq!(problem_code(refused).await, "invalid_parameter", "{method}");
        }
        assert_eq!(
            stand
                .app
                .get("/v1/files/a")
                .send()
                .await
                .unwrap()
                .text()
                .await
                .unwrap(),
            "12345"
        );
    }
}

#[tokio::test]
async fn client_that_leaves_before_the_answer_is_counted() {
    let stand = Stand::s3(&[]).await;
    let server = stand.server.as_ref().unwrap();
    server.put_object(BUCKET, "user001/a", "12345", &[]);
    server.fail(FaultRule::once("GetObject", Fault::StallRequest));
    let answer = stand
        .app
        .get("/v1/files/a")
        .timeout(Duration::from_millis(300))
        .send()
        .await;
    assert!(answer.unwrap_err().is_timeout());
    let metrics = &stand.app.served.metrics;
    eventually("nothing is under way", || metrics.in_flight.get() == 0).await;
    let text = metrics.encode();
    assert!(text.contains("method=\"GET\",status=\"499\"} 1"), "{text}");
}

#[tokio::test]
async fn json_takes_its_memory_from_the_budget() {
    let settings = [("KURA_MEMORY_BYTES", "1000000"), ("KURA_WAIT_SECONDS", "1")];
    let stand = Stand::directory(&settings).await;
    let headers = [
        (
            "Authorization",
            &*format!("Bearer {}", stand.app.token("default")),
        ),
        ("Content-Length", "900000"),
    ];
    let head = stand.app.head("POST", "/v1/archives", &headers);
    let mut stalled = stand.app.connect().await;
    stalled.write_all(head.as_bytes()).await.unwrap();
    let budget = &stand.app.served.budget;
    eventually("the memory is taken", || budget.used_bytes() == 1_000_000).await;
    let entries = json!({"entries": [{"key": "a", "name": "a"}]});
    let request = stand
        .app
        .request(Method::POST, "/v1/archives")
        .json(&entries);
    let refused = request.send().await.unwrap();
    assert_eq!(refused.status(), 503);
    assert_eq!(problem_code(refused).await, "busy");
    drop(stalled);
    eventually("the memory is given back", || budget.used_bytes() == 0).await;
}
