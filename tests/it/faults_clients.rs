//! Clients that go away, and a Kura that is told to end: nothing that was not
//! acknowledged is left behind.

use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::support::app::{BUCKET, FOLDER, problem_code};
use crate::support::bench::{Bench, PART, assert_refused, body_by_hand, created, until};
use crate::support::pattern;
use crate::support::s3_server::{Fault, FaultRule};

const NAME: &str = "261122194501_a";
const KEY: &str = "2026/11/261122194501_a";

fn large() -> Bytes {
    pattern(2, 2 * PART + 100_000)
}

/// With timeouts so long that no stall ends by itself during a test.
async fn patient(settings: &[(&'static str, &str)]) -> Bench {
    let mut all = vec![
        ("KURA_S3_READ_TIMEOUT_SECONDS", "120"),
        ("KURA_S3_IDLE_BODY_SECONDS", "120"),
    ];
    all.extend_from_slice(settings);
    Bench::with(&all).await
}

/// No buffer is held for a client that has gone.
async fn until_no_memory_is_held(bench: &Bench) {
    let budget = &bench.app.served.budget;
    until(|| budget.used_bytes() == 0, "memory is given back").await;
}

#[tokio::test]
async fn client_that_goes_away_in_the_middle_of_a_large_upload_leaves_nothing() {
    let bench = patient(&[]).await;
    let body = large();
    let (sender, sent) = body_by_hand();
    let upload = tokio::spawn(bench.app.upload(NAME, sent).send());
    sender.send(body.slice(..PART + 1)).unwrap();
    bench.until_count("UploadPart", 1).await;
    assert_eq!(bench.server.open_uploads().len(), 1);
    upload.abort();
    bench.until_only(&[]).await;
    until_no_memory_is_held(&bench).await;
    assert_eq!(bench.store(NAME, &Bytes::from("next")).await, KEY);
}

#[tokio::test]
async fn client_that_goes_away_while_s3_does_not_answer_leaves_nothing() {
    let bench = patient(&[]).await;
    bench.once("UploadPart", Fault::StallRequest);
    let upload = tokio::spawn(bench.app.upload(NAME, large()).send());
    bench.until_count("UploadPart", 3).await;
    upload.abort();
    bench.until_only(&[]).await;
    until_no_memory_is_held(&bench).await;
}

#[tokio::test]
async fn client_that_goes_away_before_the_reply_leaves_nothing() {
    let bench = patient(&[]).await;
    for (body, last) in [
        (pattern(1, 1000), "PutObject"),
        (large(), "CompleteMultipartUpload"),
    ] {
        bench.server.reset_counts();
        bench.server.latency(Duration::from_millis(200));
        let upload = tokio::spawn(bench.app.upload(NAME, body).send());
        bench.until_count(last, 1).await;
        upload.abort();
        // It is stored before Kura finds that nobody wants it any more.
        bench.until_count("DeleteObject", 1).await;
        bench.until_only(&[]).await;
        bench.server.latency(Duration::ZERO);
    }
}

#[tokio::test]
async fn what_has_replaced_an_abandoned_upload_stays() {
    let bench = patient(&[]).await;
    bench.server.latency(Duration::from_millis(200));
    let upload = tokio::spawn(bench.app.upload(NAME, pattern(1, 1000)).send());
    bench.until_count("PutObject", 1).await;
    upload.abort();
    let full_key = format!("{FOLDER}/{KEY}");
    until(
        || bench.server.object(BUCKET, &full_key).is_some(),
        "it is stored",
    )
    .await;
    bench
        .server
        .put_object(BUCKET, &full_key, "of another", &[]);
    // Kura looks whether it is still its own.
    let looked = || {
        let requests = bench.server.requests();
        requests
            .iter()
            .any(|r| r.operation == "HeadObject" && r.status.is_some())
    };
    until(looked, "Kura has looked").await;
    bench.app.shut_down().await;
    assert_eq!(
        bench.server.object(BUCKET, &full_key).unwrap().bytes(),
        "of another"
    );
}

#[tokio::test]
async fn client_that_goes_away_while_a_lost_answer_is_asked_for_leaves_nothing() {
    let bench = Bench::start().await;
    for (body, last) in [
        (pattern(1, 1000), "PutObject"),
        (large(), "CompleteMultipartUpload"),
    ] {
        bench.server.reset_counts();
        bench.server.latency(Duration::from_millis(200));
        bench.once(last, Fault::LostSuccess);
        let upload = tokio::spawn(bench.app.upload(NAME, body).send());
        bench.until_count(last, 1).await;
        upload.abort();
        bench.until_count("DeleteObject", 1).await;
        bench.until_only(&[]).await;
        bench.server.latency(Duration::ZERO);
    }
}

#[tokio::test]
async fn body_that_is_not_what_was_announced_leaves_nothing() {
    let bench = Bench::start().await;
    for body in [pattern(1, 1000), large()] {
        let wrong = kura::digest::Digest::of(b"other").to_string();
        let upload = bench.app.upload(NAME, body.clone());
        let response = upload.header("x-kura-digest", wrong).send().await.unwrap();
        assert_refused(response, 422, "digest_mismatch", "digest").await;
        bench.assert_only(&[]);

        // The size of a body sent in chunks shows only when it ends.
        let (sender, sent) = body_by_hand();
        let upload = bench.app.upload(NAME, sent);
        let upload = upload.header("x-kura-size", body.len() + 1).send();
        sender.send(body).unwrap();
        drop(sender);
        assert_refused(upload.await.unwrap(), 422, "size_mismatch", "size").await;
        bench.assert_only(&[]);
    }
}

#[tokio::test]
async fn client_that_goes_away_during_a_download_holds_nothing() {
    let bench = patient(&[]).await;
    let key = bench.store(NAME, &large()).await;
    let rule = FaultRule::once("GetObject", Fault::StallResponseAfter(1000));
    bench.server.fail(FaultRule {
        skip: 1,
        times: 2,
        ..rule
    });
    let mut response = bench.file(&key).send().await.unwrap();
    response.chunk().await.unwrap().unwrap();
    until(|| bench.app.served.budget.used_bytes() > 0, "reading ahead").await;
    drop(response);
    until_no_memory_is_held(&bench).await;
}

#[tokio::test]
async fn shutdown_lets_an_upload_finish_within_the_grace_time() {
    let Bench { server, app } = patient(&[]).await;
    let body = large();
    let (sender, sent) = body_by_hand();
    let upload = tokio::spawn(app.upload(NAME, sent).send());
    sender.send(body.slice(..PART + 1)).unwrap();
    until(|| server.count("UploadPart") == 1, "a part").await;
    let stopping = tokio::spawn(app.shut_down());
    sender.send(body.slice(PART + 1..)).unwrap();
    drop(sender);
    assert_eq!(created(upload.await.unwrap().unwrap(), &body).await, KEY);
    stopping.await.unwrap();
    assert_eq!(server.open_uploads(), []);
    assert!(
        server
            .object("files", &format!("user001/{KEY}"))
            .unwrap()
            .bytes()
            == body
    );
}

/// Ends Kura during an upload that the test does not let end.
async fn shut_down_during(bench: Bench, sent: reqwest::Body, until_operation: &str) {
    let upload = tokio::spawn(bench.app.upload(NAME, sent).send());
    bench.until_count(until_operation, 1).await;
    let Bench { server, app } = bench;
    let since = Instant::now();
    app.shut_down().await;
    assert!(
        since.elapsed() < Duration::from_secs(8),
        "{:?}",
        since.elapsed()
    );
    assert_eq!(server.open_uploads(), []);
    assert_eq!(server.keys("files"), Vec::<String>::new());
    if let Ok(response) = upload.await.unwrap() {
        assert_eq!(response.status(), 503);
        assert_eq!(problem_code(response).await, "shutting_down");
    }
}

#[tokio::test]
async fn shutdown_aborts_an_upload_whose_client_sends_no_more() {
    let bench = patient(&[("KURA_GRACE_SECONDS", "1")]).await;
    let (sender, sent) = body_by_hand();
    sender.send(large().slice(..PART + 1)).unwrap();
    shut_down_during(bench, sent, "UploadPart").await;
    drop(sender);
}

#[tokio::test]
async fn shutdown_aborts_an_upload_that_s3_does_not_answer() {
    for operation in ["UploadPart", "CompleteMultipartUpload"] {
        let bench = patient(&[("KURA_GRACE_SECONDS", "1")]).await;
        bench.always(operation, Fault::StallRequest);
        shut_down_during(bench, large().into(), operation).await;
    }
}
