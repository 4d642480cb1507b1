//! Uploads while S3 fails: either all of it is stored and acknowledged, or
//! nothing is left.

use bytes::Bytes;
use futures_util::future::join_all;
use reqwest::Method;
use reqwest::header::IF_NONE_MATCH;

use crate::support::app::{BUCKET, FOLDER};
use crate::support::bench::{Bench, PART, assert_refused, body_by_hand, created, until};
use crate::support::pattern;
use crate::support::s3_server::{Fault, FaultRule};

const NAME: &str = "261122194501_a";
const KEY: &str = "2026/11/261122194501_a";

const REQUESTS_OF_A_LARGE_UPLOAD: [&str; 4] = [
    "PutObject",
    "CreateMultipartUpload",
    "UploadPart",
    "CompleteMultipartUpload",
];

/// What passes when it is tried again.
fn passing() -> Vec<Fault> {
    vec![
        Fault::status(503, "SlowDown"),
        Fault::status(500, "InternalError"),
        Fault::ResetRequestAfter(0),
        Fault::LostSuccess,
        Fault::StallRequest,
    ]
}

/// What does not pass, and the status and code that it comes to.
fn lasting() -> Vec<(Fault, u16, &'static str)> {
    vec![
        (Fault::status(503, "SlowDown"), 503, "storage_throttled"),
        (
            Fault::status(500, "InternalError"),
            503,
            "storage_unavailable",
        ),
        (Fault::ResetRequestAfter(0), 503, "storage_unavailable"),
        (Fault::StallRequest, 503, "storage_unavailable"),
        (Fault::status(403, "AccessDenied"), 502, "storage_forbidden"),
        (Fault::status(400, "ExpiredToken"), 502, "storage_forbidden"),
        (
            Fault::status(403, "InvalidAccessKeyId"),
            502,
            "storage_forbidden",
        ),
        (
            Fault::status(403, "SignatureDoesNotMatch"),
            502,
            "storage_forbidden",
        ),
        (Fault::status(404, "NoSuchBucket"), 502, "storage_forbidden"),
    ]
}

/// A body of two parts.
fn large() -> Bytes {
    pattern(2, PART + 100_000)
}

#[tokio::test]
async fn small_upload_outlives_a_passing_fault_under_the_wanted_name() {
    let bench = Bench::start().await;
    let body = pattern(1, 100_000);
    let mut faults = passing();
    faults.push(Fault::ResetRequestAfter(50_000));
    faults.push(Fault::status(409, "ConditionalRequestConflict"));
    for fault in faults {
        bench.once("PutObject", fault.clone());
        assert_eq!(bench.store(NAME, &body).await, KEY, "{fault:?}");
        bench.assert_only(&[KEY]);
        bench.assert_reads(KEY, &body).await;
        bench.on_file(Method::DELETE, KEY).send().await.unwrap();
    }
}

#[tokio::test]
async fn small_upload_that_cannot_be_stored_is_refused_and_leaves_nothing() {
    let mut faults = lasting();
    let conflict = Fault::status(409, "ConditionalRequestConflict");
    faults.push((conflict, 503, "storage_unavailable"));
    join_all(faults.into_iter().map(|(fault, status, code)| async move {
        let bench = Bench::impatient().await;
        bench.always("PutObject", fault.clone());
        let response = bench.app.upload(NAME, "bytes").send().await.unwrap();
        assert_refused(response, status, code, &format!("{fault:?}")).await;
        let put = bench.on_file(Method::PUT, KEY).header(IF_NONE_MATCH, "*");
        let response = put.body("bytes").send().await.unwrap();
        assert_refused(response, status, code, &format!("PUT, {fault:?}")).await;
        bench.assert_only(&[]);
        bench.server.clear_faults();
        // The name is still free.
        assert_eq!(bench.store(NAME, &Bytes::from("bytes")).await, KEY);
    }))
    .await;
}

#[tokio::test]
async fn upload_whose_every_answer_is_lost_is_found_out_to_be_stored() {
    let bench = Bench::impatient().await;
    let body = pattern(1, 1000);
    // The first try stores it; the others are refused because it is there.
    bench.always("PutObject", Fault::LostSuccess);
    assert_eq!(bench.store(NAME, &body).await, KEY);
    bench.server.clear_faults();
    bench.assert_only(&[KEY]);
    bench.assert_reads(KEY, &body).await;
}

#[tokio::test]
async fn upload_whose_answer_is_lost_before_s3_slows_down_is_found_out_to_be_stored() {
    let bench = Bench::impatient().await;
    for large_body in [false, true] {
        let body = if large_body {
            large()
        } else {
            pattern(1, 1000)
        };
        bench.once("PutObject", Fault::LostSuccess);
        bench.always("PutObject", Fault::status(503, "SlowDown"));
        assert_eq!(bench.store(NAME, &body).await, KEY);
        bench.server.clear_faults();
        bench.assert_only(&[KEY]);
        bench.assert_reads(KEY, &body).await;
        bench.on_file(Method::DELETE, KEY).send().await.unwrap();
    }
}

#[tokio::test]
async fn overwriting_upload_whose_every_answer_is_lost_is_found_out_to_be_stored() {
    let bench = Bench::impatient().await;
    let body = pattern(1, 1000);
    bench.always("PutObject", Fault::LostSuccess);
    let put = bench.on_file(Method::PUT, KEY).body(body.clone());
    created(put.send().await.unwrap(), &body).await;
    bench.server.clear_faults();
    bench.assert_reads(KEY, &body).await;
}

#[tokio::test]
async fn retried_upload_does_not_take_what_another_has_stored_meanwhile_for_its_own() {
    let bench = Bench::start().await;
    let full_key = format!("{FOLDER}/{KEY}");
    bench.server.put_object(BUCKET, &full_key, "other", &[]);
    let body = pattern(1, 1000);
    bench.once("PutObject", Fault::status(500, "InternalError"));
    assert_eq!(bench.store(NAME, &body).await, "2026/11/261122194502_a");
    bench.assert_reads(KEY, &Bytes::from("other")).await;
    bench.assert_reads("2026/11/261122194502_a", &body).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn large_upload_outlives_a_passing_fault_of_each_of_its_requests() {
    join_all(REQUESTS_OF_A_LARGE_UPLOAD.map(|operation| async move {
        let bench = Bench::start().await;
        let body = large();
        for fault in passing() {
            bench.once(operation, fault.clone());
            let key = bench.store(NAME, &body).await;
            assert_eq!(key, KEY, "{operation}, {fault:?}");
            bench.assert_only(&[KEY]);
            bench.assert_reads(KEY, &body).await;
            bench.on_file(Method::DELETE, KEY).send().await.unwrap();
        }
    }))
    .await;
}

#[tokio::test]
async fn large_upload_outlives_answers_that_break_or_stall_in_the_middle() {
    let bench = Bench::start().await;
    let body = large();
    for operation in ["CreateMultipartUpload", "CompleteMultipartUpload"] {
        for fault in [Fault::ResetResponseAfter(10), Fault::StallResponseAfter(10)] {
            bench.once(operation, fault.clone());
            let key = bench.store(NAME, &body).await;
            assert_eq!(key, KEY, "{operation}, {fault:?}");
            bench.assert_only(&[KEY]);
            bench.assert_reads(KEY, &body).await;
            bench.on_file(Method::DELETE, KEY).send().await.unwrap();
        }
    }
}

#[tokio::test]
async fn large_upload_outlives_parts_that_break_at_any_byte() {
    let body = pattern(3, 2 * PART + 100);
    let bench = Bench::start().await;
    for (skip, bytes) in [(0, 1), (1, PART / 2), (1, PART - 1), (2, 50)] {
        let rule = FaultRule::once("UploadPart", Fault::ResetRequestAfter(bytes));
        bench.server.fail(FaultRule { skip, ..rule });
    }
    assert_eq!(bench.store(NAME, &body).await, KEY);
    bench.assert_only(&[KEY]);
    bench.assert_reads(KEY, &body).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn large_upload_that_cannot_be_stored_is_refused_and_leaves_nothing() {
    join_all(REQUESTS_OF_A_LARGE_UPLOAD.map(|operation| async move {
        let bench = Bench::impatient().await;
        let body = large();
        for (fault, status, code) in lasting() {
            let case = format!("{operation}, {fault:?}");
            bench.always(operation, fault);
            let response = bench.app.upload(NAME, body.clone()).send().await.unwrap();
            assert_refused(response, status, code, &case).await;
            bench.assert_only(&[]);
            bench.server.clear_faults();
        }
        assert_eq!(bench.store(NAME, &body).await, KEY);
    }))
    .await;
}

#[tokio::test]
async fn large_upload_whose_last_part_cannot_be_stored_leaves_nothing() {
    let bench = Bench::impatient().await;
    let rule = FaultRule::once("UploadPart", Fault::status(500, "InternalError"));
    bench.server.fail(FaultRule {
        skip: 2,
        times: usize::MAX,
        ..rule
    });
    let body = pattern(3, 2 * PART + 100);
    let response = bench.app.upload(NAME, body).send().await.unwrap();
    assert_refused(response, 503, "storage_unavailable", "last part").await;
    bench.assert_only(&[]);
}

#[tokio::test]
async fn completion_that_says_200_and_means_an_error_is_an_error() {
    let bench = Bench::impatient().await;
    let body = large();
    for (s3_code, code) in [
        ("InternalError", "storage_unavailable"),
        ("SlowDown", "storage_throttled"),
    ] {
        let s3_code = s3_code.to_owned();
        bench.always(
            "CompleteMultipartUpload",
            Fault::OkWithErrorBody { s3_code },
        );
        let response = bench.app.upload(NAME, body.clone()).send().await.unwrap();
        assert_refused(response, 503, code, code).await;
        bench.assert_only(&[]);
        bench.server.clear_faults();
    }
    let s3_code = "InternalError".to_owned();
    bench.once(
        "CompleteMultipartUpload",
        Fault::OkWithErrorBody { s3_code },
    );
    assert_eq!(bench.store(NAME, &body).await, KEY);
    bench.assert_only(&[KEY]);
}

#[tokio::test]
async fn completion_whose_every_answer_is_lost_is_found_out_to_have_happened() {
    let bench = Bench::impatient().await;
    let body = large();
    bench.always("CompleteMultipartUpload", Fault::LostSuccess);
    assert_eq!(bench.store(NAME, &body).await, KEY);
    bench.assert_only(&[KEY]);
    bench.assert_reads(KEY, &body).await;
}

#[tokio::test]
async fn completion_that_meets_another_write_leaves_nothing_and_may_be_tried_again() {
    let bench = Bench::impatient().await;
    let conflict = Fault::status(409, "ConditionalRequestConflict");
    bench.once("CompleteMultipartUpload", conflict);
    let response = bench.app.upload(NAME, large()).send().await.unwrap();
    assert_refused(response, 503, "storage_unavailable", "conflict").await;
    bench.assert_only(&[]);
}

#[tokio::test]
async fn name_that_is_overwritten_during_a_large_upload_stays_with_who_took_it() {
    let bench = Bench::start().await;
    let body = large();
    let (sender, sent) = body_by_hand();
    let upload = tokio::spawn(bench.app.upload(NAME, sent).send());
    sender.send(body.slice(..PART + 1)).unwrap();
    bench.until_count("UploadPart", 1).await;
    // Another program, which knows of no claims, writes to the key.
    let full_key = format!("{FOLDER}/{KEY}");
    bench.server.put_object(BUCKET, &full_key, "other", &[]);
    sender.send(body.slice(PART + 1..)).unwrap();
    drop(sender);
    let response = upload.await.unwrap().unwrap();
    assert_refused(response, 503, "storage_unavailable", "overwritten").await;
    bench.assert_only(&[KEY]);
    bench.assert_reads(KEY, &Bytes::from("other")).await;
}

#[tokio::test]
async fn name_that_is_deleted_during_a_large_upload_is_not_brought_back() {
    let bench = Bench::start().await;
    let body = large();
    let (sender, sent) = body_by_hand();
    let upload = tokio::spawn(bench.app.upload(NAME, sent).send());
    sender.send(body.slice(..PART + 1)).unwrap();
    bench.until_count("UploadPart", 1).await;
    bench.on_file(Method::DELETE, KEY).send().await.unwrap();
    drop(sender);
    let response = upload.await.unwrap().unwrap();
    assert_refused(response, 503, "storage_unavailable", "deleted").await;
    bench.assert_only(&[]);
}

#[tokio::test]
async fn clean_up_is_tried_again_when_it_fails() {
    let bench = Bench::start().await;
    bench.always(
        "CompleteMultipartUpload",
        Fault::status(403, "AccessDenied"),
    );
    for fault in passing() {
        bench.once("AbortMultipartUpload", fault.clone());
        bench.once("DeleteObject", fault.clone());
        let response = bench.app.upload(NAME, large()).send().await.unwrap();
        let case = format!("{fault:?}");
        assert_refused(response, 502, "storage_forbidden", &case).await;
        bench.assert_only(&[]);
    }
}

#[tokio::test]
async fn part_whose_answer_is_lost_is_stored_once() {
    let bench = Bench::start().await;
    let body = pattern(3, 2 * PART + 100);
    for skip in 0..3 {
        let rule = FaultRule::once("UploadPart", Fault::LostSuccess);
        bench.server.fail(FaultRule { skip, ..rule });
    }
    assert_eq!(bench.store(NAME, &body).await, KEY);
    bench.assert_reads(KEY, &body).await;
    until(|| bench.server.open_uploads().is_empty(), "no open upload").await;
}
