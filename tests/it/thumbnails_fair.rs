//! Thumbnails while others are slow: who has to wait for whom, and for how long.

use std::time::Duration;

use kura::config::Config;

use crate::support::app::{BUCKET, FOLDER, TestApp};
use crate::support::bench::assert_refused;
use crate::support::pictures::{long_picture, name_of, picture};
use crate::support::s3_server::{Fault, FaultRule, S3Server};
use crate::support::stand::eventually;

/// A Kura with one worker, and the pictures `0`, `1`, … in the tenant's folder.
async fn one_worker(pictures: u64, change: impl FnOnce(&mut Config)) -> (S3Server, TestApp) {
    let server = S3Server::start().await.with_bucket(BUCKET);
    for number in 0..pictures {
        let key = format!("{FOLDER}/{number}");
        server.put_object(BUCKET, &key, picture(number), &[]);
    }
    let app = TestApp::s3_with(&server, &[], |config| {
        config.render.workers = 1;
        change(config);
    })
    .await;
    (server, app)
}

/// Whoever reads the picture `number` from now on suffers this.
fn fail(server: &S3Server, number: u64, fault: Fault) {
    let rule = FaultRule::once("GetObject", fault);
    server.fail(FaultRule {
        key_contains: Some(format!("{FOLDER}/{number}")),
        times: usize::MAX,
        ..rule
    });
}

#[tokio::test]
async fn source_that_does_not_come_keeps_no_worker_from_others() {
    let (server, app) = one_worker(2, |_| {}).await;
    fail(&server, 0, Fault::StallRequest);
    let slow = name_of(&picture(0), 100);
    let slow = app.thumbnail(&slow, "0");
    let others = async {
        // One that looks for the thumbnail, one that reads the picture.
        eventually("begun", || server.count("GetObject") == 2).await;
        app.shown(&name_of(&picture(1), 100), "1").await;
    };
    tokio::select! {
        _ = slow => panic!("it cannot be answered"),
        () = others => {}
    }
}

#[tokio::test]
async fn source_that_breaks_off_is_waited_for_only_so_long() {
    let (server, app) = one_worker(2, |config| {
        config.render.source_patience = Duration::from_millis(500);
    })
    .await;
    let body = long_picture(0);
    server.put_object(BUCKET, &format!("{FOLDER}/0"), body.clone(), &[]);
    let slow = name_of(&body, 100);
    for fault in [Fault::StallRequest, Fault::StallResponseAfter(1_000_000)] {
        fail(&server, 0, fault);
        let answer = app.thumbnail(&slow, "0").await;
        assert_refused(answer, 503, "storage_unavailable", "stalled").await;
        server.clear_faults();
    }
    app.shown(&name_of(&picture(1), 100), "1").await;
    // It is not remembered.
    assert_eq!(app.thumbnail(&slow, "0").await.status(), 422);
}
