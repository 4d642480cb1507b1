//! Thumbnails while others are slow: who has to wait for whom, and for how long.

use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use kura::config::Config;
use reqwest::{Method, Response};
use tokio::task::JoinHandle;

use crate::support::app::{BUCKET, FOLDER, TestApp};
use crate::support::bench::assert_refused;
use crate::support::pictures::{long_picture, name_of, picture};
use crate::support::s3_server::{Fault, FaultRule, S3Server};
use crate::support::stand::eventually;
use crate::support::task::TenantFiles;

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

#[tokio::test]
async fn thumbnail_that_nobody_waits_for_any_more_is_not_made() {
    let (server, app) = one_worker(2, |config| {
        config.render.source_patience = Duration::from_secs(3);
    })
    .await;
    fail(&server, 0, Fault::StallResponseAfter(1_000_000));
    let body = long_picture(0);
    server.put_object(BUCKET, &format!("{FOLDER}/0"), body.clone(), &[]);
    let queue = &app.served.metrics.render_queue;
    // It has the worker, so that the others wait.
    let slow = app.get(&format!("/v1/thumbnails/{}?source=0", name_of(&body, 100)));
    let slow = tokio::spawn(slow.send());
    eventually("it is read", || server.count("GetObject") == 2).await;
    let name = name_of(&picture(1), 100);
    let get = app.get(&format!("/v1/thumbnails/{name}?source=1")).send();
    let waits = tokio::spawn(get);
    eventually("it waits", || queue.get() == 1).await;
    waits.abort();
    eventually("it does not", || queue.get() == 0).await;
    slow.abort();
    assert_eq!(app.from("failed"), 0);
    server.clear_faults();
    app.shown(&name, "1").await;
}

#[tokio::test]
async fn thumbnail_is_made_once_however_many_sources_are_named() {
    let (server, app) = one_worker(1, |_| {}).await;
    let body = picture(0);
    let sources: Vec<_> = (0..20).map(|number| format!("copy{number}")).collect();
    for source in &sources {
        server.put_object(BUCKET, &format!("{FOLDER}/{source}"), body.clone(), &[]);
    }
    server.latency(Duration::from_millis(50));
    let name = name_of(&body, 100);
    let wrong = app.thumbnail(&name, "missing");
    let right = async {
        eventually("begun", || server.count("GetObject") == 1).await;
        join_all(sources.iter().map(|source| app.shown(&name, source))).await;
    };
    let (wrong, ()) = tokio::join!(wrong, right);
    assert_eq!(wrong.status(), 404);
    assert_eq!(app.from("rendered"), 1);
    assert_eq!(app.from("joined") + app.from("memory"), 19);
}

#[tokio::test]
async fn tenant_with_many_waiting_keeps_no_other_out() {
    let server = S3Server::start().await.with_bucket(BUCKET);
    let tenants = TenantFiles::with_folders(["sitea", "siteb"]);
    let source = tenants.source();
    let settings = [("KURA_TENANTS", source.as_str())];
    let app = TestApp::s3_with(&server, &settings, |config| {
        config.render.workers = 1;
        config.render.queue = 2;
        config.render.source_patience = Duration::from_secs(3);
    })
    .await;
    let slow = long_picture(0);
    server.put_object(BUCKET, "sitea/slow", slow.clone(), &[]);
    let stall = FaultRule::once("GetObject", Fault::StallResponseAfter(1_000_000));
    server.fail(FaultRule {
        key_contains: Some("slow".into()),
        times: usize::MAX,
        ..stall
    });
    for (id, number) in [("sitea", 1), ("sitea", 2), ("siteb", 3)] {
        let key = format!("{id}/{number}");
        server.put_object(BUCKET, &key, picture(number), &[]);
    }
    let get = |id, body: &Bytes, key: String| {
        let path = format!("/v1/thumbnails/{}?source={key}", name_of(body, 100));
        tokio::spawn(app.request_as(id, Method::GET, &path).send())
    };
    let status = async |answer: JoinHandle<reqwest::Result<Response>>| {
        answer.await.unwrap().unwrap().status().as_u16()
    };
    let queue = &app.served.metrics.render_queue;
    let slow = get("sitea", &slow, "slow".to_owned());
    eventually("it is read", || server.count("GetObject") == 2).await;
    let [one, two] = [1, 2].map(|number| get("sitea", &picture(number), number.to_string()));
    eventually("they wait", || queue.get() == 2).await;
    let other = get("siteb", &picture(3), "3".to_owned());
    assert_eq!(status(other).await, 200);
    let many = [status(one).await, status(two).await];
    assert!(many == [200, 503] || many == [503, 200], "{many:?}");
    assert_eq!(status(slow).await, 503);
}
