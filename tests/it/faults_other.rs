//! HEAD, delete, list and move while S3 fails, and credentials that it refuses.

use bytes::Bytes;
use futures_util::future::join_all;
use kura::config::StoreConfig;
use reqwest::{Method, RequestBuilder};

use crate::support::app::{BUCKET, TestApp};
use crate::support::bench::{Bench, PART, assert_refused};
use crate::support::pattern;
use crate::support::s3_server::{Fault, FaultRule, S3Server};

const NAME: &str = "261122194501_a";
const KEY: &str = "2026/11/261122194501_a";
const TARGET: &str = "2026/12/a";

/// A request, the operation that it makes, and the status when all is well.
fn simple(bench: &Bench) -> Vec<(RequestBuilder, &'static str, u16)> {
    vec![
        (bench.on_file(Method::HEAD, KEY), "HeadObject", 200),
        (
            bench.app.get("/v1/files?digests=false"),
            "ListObjectsV2",
            200,
        ),
        (bench.app.get("/v1/files"), "HeadObject", 200),
        (bench.on_file(Method::DELETE, KEY), "DeleteObject", 204),
    ]
}

#[tokio::test]
async fn head_list_and_delete_outlive_a_passing_fault() {
    let faults = [
        Fault::status(503, "SlowDown"),
        Fault::status(500, "InternalError"),
        Fault::ResetRequestAfter(0),
        Fault::LostSuccess,
        Fault::StallRequest,
    ];
    join_all(faults.map(|fault| async move {
        let bench = Bench::start().await;
        bench.store(NAME, &pattern(1, 1000)).await;
        for (request, operation, status) in simple(&bench) {
            bench.once(operation, fault.clone());
            let response = request.send().await.unwrap();
            assert_eq!(response.status(), status, "{operation}, {fault:?}");
        }
        bench.assert_only(&[]);
    }))
    .await;
}

#[tokio::test]
async fn answer_that_stalls_in_the_middle_is_given_up() {
    let bench = Bench::start().await;
    let body = pattern(1, 1000);
    bench.store(NAME, &body).await;
    bench.once("ListObjectsV2", Fault::StallResponseAfter(10));
    let list = bench.app.get("/v1/files").send().await.unwrap();
    assert_eq!(list.status(), 200);
    bench.once("CopyObject", Fault::StallResponseAfter(10));
    let response = bench.rename(KEY, TARGET).send().await.unwrap();
    assert_eq!(response.status(), 204);
    bench.assert_only(&[TARGET]);
    bench.assert_reads(TARGET, &body).await;
}

#[tokio::test]
async fn head_list_and_delete_that_fail_never_say_that_a_file_is_missing() {
    let faults = [
        (Fault::status(503, "SlowDown"), 503),
        (Fault::status(500, "InternalError"), 503),
        (Fault::ResetRequestAfter(0), 503),
        (Fault::StallRequest, 503),
        (Fault::status(403, "AccessDenied"), 502),
        (Fault::status(400, "ExpiredToken"), 502),
    ];
    join_all(faults.map(|(fault, status)| async move {
        let bench = Bench::impatient().await;
        let body = pattern(1, 1000);
        bench.store(NAME, &body).await;
        for (request, operation, _) in simple(&bench) {
            bench.always(operation, fault.clone());
            let response = request.send().await.unwrap();
            assert_eq!(response.status(), status, "{operation}, {fault:?}");
            bench.server.clear_faults();
        }
        bench.assert_only(&[KEY]);
        bench.assert_reads(KEY, &body).await;
    }))
    .await;
}

#[tokio::test]
async fn credentials_that_are_refused_are_never_taken_for_a_missing_file() {
    let bench = Bench::impatient().await;
    let body = pattern(1, 1000);
    bench.store(NAME, &body).await;
    for s3_code in [
        "ExpiredToken",
        "AccessDenied",
        "InvalidAccessKeyId",
        "SignatureDoesNotMatch",
        "InvalidToken",
        "AuthorizationHeaderMalformed",
    ] {
        bench.server.reject_credentials(s3_code);
        for request in [
            bench.app.upload(NAME, "bytes"),
            bench.app.upload(NAME, pattern(2, PART + 1)),
            bench.file(KEY),
            bench.on_file(Method::DELETE, KEY),
            bench.app.get("/v1/files"),
            bench.rename(KEY, TARGET),
        ] {
            let response = request.send().await.unwrap();
            let case = format!("{s3_code}, {}", response.url());
            assert_refused(response, 502, "storage_forbidden", &case).await;
        }
        let head = bench.on_file(Method::HEAD, KEY).send().await.unwrap();
        assert_eq!(head.status(), 502, "{s3_code}");
        bench.server.accept_credentials();
        bench.assert_only(&[KEY]);
        bench.assert_reads(KEY, &body).await;
    }
}

#[tokio::test]
async fn missing_bucket_is_never_taken_for_a_missing_file() {
    let bench = Bench::impatient().await;
    let missing = || Fault::status(404, "NoSuchBucket");
    for operation in ["GetObject", "HeadObject", "ListObjectsV2", "DeleteObject"] {
        bench.always(operation, missing());
    }
    for request in [
        bench.file(KEY),
        bench.on_file(Method::DELETE, KEY),
        bench.app.get("/v1/files"),
        bench.rename(KEY, TARGET),
    ] {
        let response = request.send().await.unwrap();
        assert_refused(response, 502, "storage_forbidden", "no bucket").await;
    }
    let head = bench.on_file(Method::HEAD, KEY).send().await.unwrap();
    assert_eq!(head.status(), 502);
}

#[tokio::test]
async fn move_outlives_a_passing_fault_of_each_of_its_requests() {
    let operations = ["HeadObject", "PutObject", "CopyObject", "DeleteObject"];
    join_all(operations.map(|operation| async move {
        let bench = Bench::start().await;
        let body = pattern(1, 1000);
        let mut faults = vec![
            Fault::status(503, "SlowDown"),
            Fault::status(500, "InternalError"),
            Fault::ResetRequestAfter(0),
            Fault::LostSuccess,
        ];
        if operation == "CopyObject" {
            let s3_code = "InternalError".to_owned();
            faults.push(Fault::OkWithErrorBody { s3_code });
            faults.push(Fault::ResetResponseAfter(10));
        }
        for fault in faults {
            bench.store(NAME, &body).await;
            bench.once(operation, fault.clone());
            let response = bench.rename(KEY, TARGET).send().await.unwrap();
            assert_eq!(response.status(), 204, "{operation}, {fault:?}");
            bench.assert_only(&[TARGET]);
            bench.assert_reads(TARGET, &body).await;
            bench.on_file(Method::DELETE, TARGET).send().await.unwrap();
        }
    }))
    .await;
}

#[tokio::test]
async fn move_of_a_large_file_outlives_a_lost_answer() {
    let bench = Bench::start().await;
    // Its copy has another ETag, and its digest is not known to S3.
    let body = pattern(1, PART + 100);
    bench.store(NAME, &body).await;
    bench.once("CopyObject", Fault::LostSuccess);
    let response = bench.rename(KEY, TARGET).send().await.unwrap();
    assert_eq!(response.status(), 204);
    bench.assert_only(&[TARGET]);
    bench.assert_reads(TARGET, &body).await;
}

#[tokio::test]
async fn move_that_cannot_be_made_leaves_the_file_where_it_was() {
    let bench = Bench::impatient().await;
    let body = pattern(1, 1000);
    bench.store(NAME, &body).await;
    bench.always("HeadObject", Fault::status(503, "SlowDown"));
    let response = bench.rename(KEY, TARGET).send().await.unwrap();
    // The answer to HEAD has no code.
    assert_eq!(response.status(), 503);
    bench.server.clear_faults();
    for operation in ["PutObject", "CopyObject"] {
        for (fault, status, code) in [
            (Fault::status(503, "SlowDown"), 503, "storage_throttled"),
            (
                Fault::status(500, "InternalError"),
                503,
                "storage_unavailable",
            ),
            (Fault::ResetRequestAfter(0), 503, "storage_unavailable"),
            (Fault::status(403, "AccessDenied"), 502, "storage_forbidden"),
        ] {
            bench.always(operation, fault.clone());
            let response = bench.rename(KEY, TARGET).send().await.unwrap();
            let case = format!("{operation}, {fault:?}");
            assert_refused(response, status, code, &case).await;
            bench.server.clear_faults();
            bench.assert_only(&[KEY]);
        }
    }
    let s3_code = "SlowDown".to_owned();
    bench.always("CopyObject", Fault::OkWithErrorBody { s3_code });
    let response = bench.rename(KEY, TARGET).send().await.unwrap();
    assert_refused(response, 503, "storage_throttled", "200 and an error").await;
    bench.assert_only(&[KEY]);
    bench.assert_reads(KEY, &body).await;
}

#[tokio::test]
async fn move_whose_source_cannot_be_removed_leaves_both() {
    let bench = Bench::impatient().await;
    let body = pattern(1, 1000);
    bench.store(NAME, &body).await;
    bench.always("DeleteObject", Fault::status(500, "InternalError"));
    let response = bench.rename(KEY, TARGET).send().await.unwrap();
    assert_refused(response, 503, "storage_unavailable", "delete").await;
    bench.assert_only(&[KEY, TARGET]);
    bench.assert_reads(KEY, &body).await;
    bench.assert_reads(TARGET, &body).await;
}

#[tokio::test]
async fn move_whose_client_goes_away_leaves_no_claim() {
    let bench = Bench::start().await;
    let body = pattern(1, 1000);
    bench.store(NAME, &body).await;
    bench.server.latency(std::time::Duration::from_millis(200));
    let request = tokio::spawn(bench.rename(KEY, TARGET).send());
    bench.until_count("CopyObject", 1).await;
    request.abort();
    bench.until_only(&[TARGET]).await;
    bench.server.latency(std::time::Duration::ZERO);
    bench.assert_reads(TARGET, &body).await;
}

/// What has more than a part is too large to be copied by one request.
async fn copying_in_ranges() -> Bench {
    let server = S3Server::start().await.with_bucket(BUCKET);
    let settings = [("KURA_S3_MAX_ATTEMPTS", "2")];
    let app = TestApp::s3_with(&server, &settings, |config| {
        if let StoreConfig::S3(s3) = &mut config.deployment.store {
            s3.options.max_single_copy_bytes = PART as u64;
        }
    })
    .await;
    Bench { server, app }
}

#[tokio::test]
async fn move_in_ranges_outlives_faults_and_leaves_nothing_when_it_fails() {
    let bench = copying_in_ranges().await;
    let body = pattern(1, 2 * PART + 100);
    bench.store(NAME, &body).await;
    let steps = [
        "PutObject",
        "CreateMultipartUpload",
        "UploadPartCopy",
        "CompleteMultipartUpload",
    ];
    for operation in steps {
        let rule = FaultRule::once(operation, Fault::status(500, "InternalError"));
        bench.server.fail(FaultRule {
            times: usize::MAX,
            ..rule
        });
        let response = bench.rename(KEY, TARGET).send().await.unwrap();
        assert_refused(response, 503, "storage_unavailable", operation).await;
        bench.server.clear_faults();
        bench.assert_only(&[KEY]);
    }
    let (mut from, mut to) = (KEY, TARGET);
    for operation in steps {
        bench.once(operation, Fault::LostSuccess);
        let response = bench.rename(from, to).send().await.unwrap();
        assert_eq!(response.status(), 204, "{operation}");
        bench.assert_only(&[to]);
        bench.assert_reads(to, &body).await;
        std::mem::swap(&mut from, &mut to);
    }
}

#[tokio::test]
async fn target_that_another_program_takes_during_a_move_is_kept() {
    let bench = Bench::start().await;
    let body = pattern(1, 1000);
    bench.store(NAME, &body).await;
    bench.server.latency(std::time::Duration::from_millis(200));
    let request = tokio::spawn(bench.rename(KEY, TARGET).send());
    bench.until_count("CopyObject", 1).await;
    let full_key = format!("{}/{TARGET}", crate::support::app::FOLDER);
    bench.server.put_object(BUCKET, &full_key, "other", &[]);
    let response = request.await.unwrap().unwrap();
    assert_refused(response, 409, "already_exists", "taken").await;
    bench.server.latency(std::time::Duration::ZERO);
    bench.assert_only(&[KEY, TARGET]);
    bench.assert_reads(TARGET, &Bytes::from("other")).await;
}

#[tokio::test]
async fn move_that_was_cut_off_before_the_delete_is_finished_by_the_next_try() {
    let benches = [Bench::impatient().await, copying_in_ranges().await];
    for (bench, bytes) in benches.into_iter().zip([1000, PART + 1]) {
        bench.store(NAME, &pattern(1, bytes)).await;
        bench.always("DeleteObject", Fault::status(503, "SlowDown"));
        let first = bench.rename(KEY, TARGET).send().await.unwrap();
        assert_refused(first, 503, "storage_throttled", "the delete").await;
        bench.server.clear_faults();
        let second = bench.rename(KEY, TARGET).send().await.unwrap();
        assert_eq!(second.status(), 204, "{bytes} bytes");
        bench.until_only(&[TARGET]).await;
    }
}
