//! Downloads while S3 fails: the client gets all of the right bytes, or sees
//! that it did not.

use bytes::Bytes;
use futures_util::future::join_all;
use kura::digest::Digest;
use reqwest::header::RANGE;
use reqwest::{Method, Response};

use crate::support::app::{BUCKET, FOLDER};
use crate::support::bench::{Bench, PART, assert_refused, created};
use crate::support::pattern;
use crate::support::s3_server::{Fault, FaultRule};

const NAME: &str = "261122194501_a";

/// The part of a download's body that has come when it breaks off. A body that
/// ends as if it were whole is a failure.
async fn broken_off(mut response: Response, case: &str) -> Vec<u8> {
    assert_eq!(response.status(), 200, "{case}");
    let mut received = Vec::new();
    loop {
        match response.chunk().await {
            Ok(Some(bytes)) => received.extend_from_slice(&bytes),
            Ok(None) => panic!("{case}: the body ends as if it were whole"),
            Err(_) => return received,
        }
    }
}

/// Either an error with a code or a body that breaks off; nothing in between.
async fn assert_fails(bench: &Bench, key: &str, body: &Bytes, case: &str) {
    match bench.file(key).send().await {
        Ok(response) if response.status() == 200 => {
            let received = broken_off(response, case).await;
            assert!(received.len() < body.len(), "{case}");
            assert!(body.starts_with(&received), "{case}: wrong bytes");
        }
        Ok(response) => assert_eq!(response.status(), 503, "{case}"),
        // The answer was given up before its first byte.
        Err(error) => assert!(!error.is_connect(), "{case}: {error}"),
    }
}

/// A file of three parts, whose digest was declared or not.
async fn large(bench: &Bench, declared: bool) -> (String, Bytes) {
    let body = pattern(4, 2 * PART + 100_000);
    let mut upload = bench.app.upload(NAME, body.clone());
    if declared {
        upload = upload.header("x-kura-digest", Digest::of(&body).to_string());
    }
    let key = created(upload.send().await.unwrap(), &body).await;
    (key, body)
}

/// What a range suffers when it passes.
fn passing() -> Vec<Fault> {
    vec![
        Fault::status(503, "SlowDown"),
        Fault::status(500, "InternalError"),
        Fault::ResetRequestAfter(0),
        Fault::LostSuccess,
        Fault::StallRequest,
        Fault::ResetResponseAfter(0),
        Fault::ResetResponseAfter(50_000),
        Fault::StallResponseAfter(0),
        Fault::StallResponseAfter(50_000),
        Fault::ShortBody(0),
        Fault::ShortBody(50_000),
    ]
}

#[tokio::test]
async fn small_download_outlives_a_passing_fault_unnoticed() {
    join_all(passing().into_iter().map(|fault| async move {
        let bench = Bench::start().await;
        let body = pattern(1, 100_000);
        let key = bench.store(NAME, &body).await;
        bench.operations();
        bench.once("GetObject", fault.clone());
        bench.assert_reads(&key, &body).await;
        assert_eq!(bench.operations(), ["GetObject"; 2], "{fault:?}");
    }))
    .await;
}

#[tokio::test]
async fn large_download_outlives_a_passing_fault_of_any_range_unnoticed() {
    join_all([0, 1, 2].map(|skip| async move {
        let bench = Bench::start().await;
        let (key, body) = large(&bench, false).await;
        for fault in passing() {
            let rule = FaultRule::once("GetObject", fault.clone());
            bench.server.fail(FaultRule { skip, ..rule });
            bench.assert_reads(&key, &body).await;
            bench.server.clear_faults();
        }
    }))
    .await;
}

#[tokio::test]
async fn body_that_breaks_again_and_again_is_put_together_from_its_pieces() {
    let bench = Bench::start().await;
    let body = pattern(1, 1_000_000);
    let key = bench.store(NAME, &body).await;
    bench.operations();
    bench.always("GetObject", Fault::ResetResponseAfter(300_000));
    bench.assert_reads(&key, &body).await;
    // Each goes on where the one before has broken.
    assert_eq!(bench.operations(), ["GetObject"; 4]);
}

#[tokio::test]
async fn range_that_breaks_is_resumed() {
    let bench = Bench::start().await;
    let (key, body) = large(&bench, true).await;
    let (first, last) = (PART - 1000, 2 * PART + 1000);
    for fault in [Fault::ResetResponseAfter(10), Fault::ShortBody(10)] {
        bench.once("GetObject", fault);
        let range = format!("bytes={first}-{last}");
        let response = bench.file(&key).header(RANGE, range).send().await.unwrap();
        assert_eq!(response.status(), 206);
        assert!(response.bytes().await.unwrap() == body.slice(first..=last));
    }
}

#[tokio::test]
async fn download_that_cannot_begin_has_a_code() {
    let bench = Bench::impatient().await;
    let body = pattern(1, 1000);
    let key = bench.store(NAME, &body).await;
    for (fault, status, code) in [
        (Fault::status(503, "SlowDown"), 503, "storage_throttled"),
        (
            Fault::status(500, "InternalError"),
            503,
            "storage_unavailable",
        ),
        (Fault::ResetRequestAfter(0), 503, "storage_unavailable"),
        (Fault::LostSuccess, 503, "storage_unavailable"),
        (Fault::StallRequest, 503, "storage_unavailable"),
        (Fault::status(403, "AccessDenied"), 502, "storage_forbidden"),
        (Fault::status(404, "NoSuchBucket"), 502, "storage_forbidden"),
        (Fault::status(404, "NoSuchKey"), 404, "not_found"),
    ] {
        bench.always("GetObject", fault.clone());
        let response = bench.file(&key).send().await.unwrap();
        assert_refused(response, status, code, &format!("{fault:?}")).await;
        bench.server.clear_faults();
    }
    bench.assert_reads(&key, &body).await;
}

#[tokio::test]
async fn body_that_never_comes_whole_breaks_off() {
    let bench = Bench::impatient().await;
    let body = pattern(1, 100_000);
    let key = bench.store(NAME, &body).await;
    let again = |fault| FaultRule {
        skip: 1,
        times: usize::MAX,
        ..FaultRule::once("GetObject", fault)
    };
    for (first, then) in [
        (
            Fault::ResetResponseAfter(50_000),
            Fault::status(503, "SlowDown"),
        ),
        (
            Fault::ResetResponseAfter(50_000),
            Fault::status(403, "AccessDenied"),
        ),
        (
            Fault::ResetResponseAfter(50_000),
            Fault::status(404, "NoSuchKey"),
        ),
        (Fault::ShortBody(50_000), Fault::ShortBody(0)),
        (Fault::ShortBody(0), Fault::ShortBody(0)),
    ] {
        let case = format!("{first:?}, then {then:?}");
        bench.once("GetObject", first);
        bench.server.fail(FaultRule {
            skip: 0,
            ..again(then)
        });
        assert_fails(&bench, &key, &body, &case).await;
        bench.server.clear_faults();
    }
    bench.assert_reads(&key, &body).await;
}

#[tokio::test]
async fn large_body_whose_last_range_never_comes_breaks_off() {
    let bench = Bench::impatient().await;
    let (key, body) = large(&bench, true).await;
    for fault in [
        Fault::status(500, "InternalError"),
        Fault::status(403, "AccessDenied"),
    ] {
        let rule = FaultRule::once("GetObject", fault.clone());
        let times = usize::MAX;
        bench.server.fail(FaultRule {
            skip: 2,
            times,
            ..rule
        });
        assert_fails(&bench, &key, &body, &format!("{fault:?}")).await;
        bench.server.clear_faults();
    }
    bench.assert_reads(&key, &body).await;
}

#[tokio::test]
async fn wrong_bytes_are_never_passed_off_as_the_file() {
    let bench = Bench::start().await;
    for size in [1, 1000, 300_000] {
        let body = pattern(size, usize::try_from(size).unwrap());
        let key = bench.store(NAME, &body).await;
        bench.once("GetObject", Fault::WrongBytes);
        let response = bench.file(&key).send().await;
        if let Ok(response) = response {
            let received = broken_off(response, "small").await;
            assert!(received.len() < body.len());
        }
        bench.assert_reads(&key, &body).await;
    }
    for declared in [false, true] {
        let (key, body) = large(&bench, declared).await;
        for skip in 0..3 {
            let rule = FaultRule::once("GetObject", Fault::WrongBytes);
            bench.server.fail(FaultRule { skip, ..rule });
            let case = format!("declared: {declared}, range {skip}");
            let response = bench.file(&key).send().await.unwrap();
            assert!(broken_off(response, &case).await.len() < body.len());
        }
        bench.assert_reads(&key, &body).await;
    }
}

#[tokio::test]
async fn file_that_is_replaced_during_its_download_is_never_mixed() {
    // Without memory to read ahead, ranges are asked for one after the other.
    let bench = Bench::with(&[("KURA_PARALLEL_PARTS", "1")]).await;
    let (key, body) = large(&bench, false).await;
    let other = pattern(5, body.len());
    let mut response = bench.file(&key).send().await.unwrap();
    let first = response.chunk().await.unwrap().unwrap();
    let put = bench.on_file(Method::PUT, &key).body(other.clone());
    created(put.send().await.unwrap(), &other).await;
    let mut received = first.to_vec();
    received.extend(broken_off(response, "replaced").await);
    assert!(received.len() < body.len());
    assert!(body.starts_with(&received), "bytes of both are mixed");
    bench.assert_reads(&key, &other).await;
}

#[tokio::test]
async fn file_that_is_replaced_while_its_body_is_resumed_is_never_mixed() {
    let bench = Bench::start().await;
    let body = pattern(1, 100_000);
    let key = bench.store(NAME, &body).await;
    // The first answer is of the old file and stalls; the next would be of
    // the new one.
    bench.once("GetObject", Fault::StallResponseAfter(50_000));
    let response = bench.file(&key).send().await.unwrap();
    let full_key = format!("{FOLDER}/{key}");
    bench
        .server
        .put_object(BUCKET, &full_key, pattern(2, 100_000), &[]);
    let received = broken_off(response, "replaced").await;
    assert!(body.starts_with(&received), "bytes of both are mixed");
}

#[tokio::test]
async fn checksum_that_cannot_be_had_does_not_hold_a_large_download_up() {
    let bench = Bench::impatient().await;
    let (key, body) = large(&bench, false).await;
    for fault in [
        Fault::status(403, "AccessDenied"),
        Fault::status(503, "SlowDown"),
        Fault::StallRequest,
    ] {
        bench.always("HeadObject", fault);
        bench.assert_reads(&key, &body).await;
        bench.server.clear_faults();
    }
}
