//! The log as a collector gets it: each line an object that can be parsed, and
//! a request's lines found by its ids down to S3's own.

use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::Value;

use crate::support::app::BUCKET;
use crate::support::process::Process;
use crate::support::s3_server::S3Server;
use crate::support::stand::eventually;
use crate::support::task::TenantFiles;

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

/// The lines of a server at work, at its most talkative.
async fn lines() -> Vec<String> {
    let server = S3Server::start().await.with_bucket(BUCKET);
    let kura = Process::s3(&server.endpoint(), BUCKET, &[("KURA_LOG", "debug")]);
    let traced = |method, path: &str| {
        let request = kura.request(method, path);
        let request = request.header("traceparent", format!("00-{TRACE}-00f067aa0ba902b7-01"));
        request.header("x-request-id", "from-redmine")
    };
    let upload = traced(Method::POST, "/v1/files?directory=2026/11&name=geheim.txt");
    let upload = upload
        .header("x-kura-filename", "geheim.txt")
        .body("geheim");
    assert_eq!(upload.send().await.unwrap().status(), 201);
    for path in [
        "/v1/files/2026/11/geheim.txt",
        "/v1/files/none",
        "/healthz",
        "/nowhere",
    ] {
        traced(Method::GET, path).send().await.unwrap();
    }
    traced(Method::POST, "/v1/files?directory=..&name=geheim")
        .send()
        .await
        .unwrap();
    eventually("all is logged", || {
        let log = kura.log();
        log.iter()
            .filter(|line| line.contains("\"request\"") && line.contains("duration_ms"))
            .count()
            >= 6
    })
    .await;
    kura.terminate();
    tokio::time::timeout(Duration::from_secs(20), async {
        eventually("the end is logged", || {
            kura.log().iter().any(|it| it.contains("stopped"))
        })
        .await;
    })
    .await
    .unwrap();
    kura.log()
}

#[tokio::test(flavor = "multi_thread")]
async fn refused_requests_of_a_suspended_tenant_are_logged_as_its_own() {
    let server = S3Server::start().await.with_bucket(BUCKET);
    let yaml = format!("s3: {{bucket: {BUCKET}, folder: x}}\nkura: {{state: suspended}}\n");
    let tenants = TenantFiles::new([("default", yaml)]);
    let settings = [("KURA_TENANTS", tenants.source())];
    let settings = settings
        .each_ref()
        .map(|(name, value)| (*name, value.as_str()));
    let kura = Process::s3(&server.endpoint(), BUCKET, &settings);
    // Before the tenants are loaded it is another answer.
    let deadline = Instant::now() + Duration::from_secs(20);
    let refused = loop {
        let request = kura.request(Method::GET, "/v1/files");
        let status = request.send().await.unwrap().status();
        if status != 503 || Instant::now() > deadline {
            break status;
        }
    };
    assert_eq!(refused, 403);
    eventually("it is logged", || {
        let lines = kura.log();
        let refused = lines.iter().find(|it| it.contains("tenant_suspended"));
        refused.is_some_and(|it| it.contains(r#""tenant":"default""#))
    })
    .await;
}

/// `YYYY-MM-DDTHH:MM:SS.ffffffZ`: what `deploy/fluentd` reads.
fn is_timestamp(text: &str) -> bool {
    let shape = text.replace(|c: char| c.is_ascii_digit(), "9");
    shape == "9999-99-99T99:99:99.999999Z"
}

#[tokio::test(flavor = "multi_thread")]
async fn every_line_is_an_object_with_a_timestamp_and_shows_nothing_secret() {
    let lines = lines().await;
    assert!(lines.len() > 10);
    let token = kura::tenant::Secrets::parse(crate::support::app::SECRET).unwrap();
    let token = token.token(&"default".parse().unwrap());
    let mac = token.split('.').nth(1).unwrap();
    for line in &lines {
        let parsed: Value = serde_json::from_str(line).unwrap();
        let timestamp = parsed["timestamp"].as_str().unwrap();
        assert!(is_timestamp(timestamp), "{line}");
        assert!(
            parsed["level"].is_string() && parsed["message"].is_string(),
            "{line}"
        );
        for secret in ["geheim", mac, "kura-test-secret"] {
            assert!(!line.contains(secret), "{line}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn request_is_followed_by_its_ids_down_to_s3s_own() {
    let lines = lines().await;
    let lines: Vec<Value> = lines
        .iter()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let ours = lines
        .iter()
        .filter(|line| line["span"]["request_id"] == "from-redmine");
    let ours: Vec<_> = ours.collect();
    let put = ours
        .iter()
        .find(|line| line["operation"] == "PutObject")
        .unwrap();
    assert_eq!(put["message"], "S3 answered");
    assert_eq!(put["span"]["trace_id"], TRACE);
    assert_eq!(put["span"]["tenant"], "default");
    assert_eq!(put["attempt"], 1);
    assert_eq!(put["status"], 200);
    assert!(
        put["duration_ms"].is_u64() && put["s3_request_id"].is_string(),
        "{put}"
    );

    let done = lines
        .iter()
        .find(|line| line["request_id"] == "from-redmine")
        .unwrap();
    assert_eq!(done["message"], "request");
    assert_eq!(done["status"], 201);
    assert!(done["span"].is_null(), "it would say the same again");
    assert_eq!(done["trace_id"], TRACE);
    assert_eq!(done["tenant"], "default");
    assert_eq!(done["route"], "/v1/files");
    assert_eq!(done["received_bytes"], 6);
    assert!(done["sent_bytes"].is_u64() && done["duration_ms"].is_u64());
}
