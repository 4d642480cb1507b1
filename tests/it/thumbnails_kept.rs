//! Thumbnails that are kept: what they cost when they are shown again, what
//! survives, and what clearing leaves.

use std::path::{Path, PathBuf};

use bytes::Bytes;
use futures_util::future::join_all;
use kura::key::ThumbKey;
use kura::metrics::EagerLabels;
use reqwest::Method;
use reqwest::header::IF_NONE_MATCH;

use crate::support::app::{BUCKET, FOLDER, TestApp, problem_code};
use crate::support::bench::{Bench, body_by_hand, until};
use crate::support::pattern;
use crate::support::pictures::{name_of, picture, size_of};
use crate::support::s3_server::{Fault, FaultRule, S3Server};
use crate::support::stand::eventually;
use crate::support::task::{Task, TenantFiles};

fn stored_key(name: &str) -> String {
    format!("{FOLDER}/tmp/thumbnails/{name}")
}

impl Task {
    fn files(&self) -> Vec<PathBuf> {
        fn collect(directory: &Path, into: &mut Vec<PathBuf>) {
            for entry in std::fs::read_dir(directory).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    collect(&path, into);
                } else if !path.ends_with("lock") {
                    into.push(path);
                }
            }
        }
        let mut files = Vec::new();
        collect(&self.disk.path().join("thumbnails"), &mut files);
        files
    }

    fn requests(&self) -> Vec<&'static str> {
        let requests = self.server.take_requests();
        requests.iter().map(|request| request.operation).collect()
    }
}

impl Bench {
    async fn until_stored(&self, name: &str) {
        let key = stored_key(name);
        let what = "the thumbnail is stored";
        until(|| self.server.object(BUCKET, &key).is_some(), what).await;
    }
}

#[tokio::test]
async fn making_is_one_get_and_one_put_and_showing_again_is_nothing() {
    let bench = Bench::start().await;
    let body = picture(1);
    let key = bench.store("261122194501_a", &body).await;
    bench.operations();
    for side in [100, 200] {
        let name = name_of(&body, side);
        let made = bench.app.shown(&name, &key).await;
        bench.until_stored(&name).await;
        assert_eq!(bench.operations(), ["GetObject", "PutObject"]);
        for _ in 0..3 {
            assert_eq!(bench.app.shown(&name, &key).await, made);
        }
        let tag = format!("W/\"{}\"", name.strip_suffix(".thumb").unwrap());
        let again = bench
            .app
            .get(&format!("/v1/thumbnails/{name}?source={key}"));
        let again = again.header(IF_NONE_MATCH, tag).send().await.unwrap();
        assert_eq!(again.status(), 304);
        assert_eq!(bench.operations(), [""; 0]);
    }
}

#[tokio::test]
async fn without_room_on_disk_nothing_is_kept_there() {
    let app = TestApp::with(&[("KURA_CACHE_BYTES", "0")], |_| {}).await;
    let body = picture(1);
    let upload = app.upload("261122194501_a", body.clone()).send().await;
    assert_eq!(upload.unwrap().status(), 201);
    let name = name_of(&body, 100);
    app.shown(&name, "2026/11/261122194501_a").await;
    app.shown(&name, "2026/11/261122194501_a").await;
    assert_eq!(app.from("memory"), 1);
    assert!(!app.root.path().join("cache/thumbnails").exists());
}

#[tokio::test]
async fn first_time_on_another_task_is_one_get() {
    let bench = Bench::start().await;
    let body = picture(1);
    let key = bench.store("261122194501_a", &body).await;
    let name = name_of(&body, 100);
    let made = bench.app.shown(&name, &key).await;
    bench.until_stored(&name).await;
    let other = TestApp::s3(&bench.server).await;
    for expected in [&["GetObject"][..], &[]] {
        assert_eq!(other.shown(&name, &key).await, made);
        assert_eq!(bench.operations(), expected);
    }
    // It cannot know that the next has not been made: that is one more, a 404.
    let next = name_of(&body, 200);
    other.shown(&next, &key).await;
    bench.until_stored(&next).await;
    assert_eq!(bench.operations(), ["GetObject", "GetObject", "PutObject"]);
}

#[tokio::test]
async fn hundred_who_ask_at_once_get_one_rendering() {
    let bench = Bench::start().await;
    let body = picture(1);
    let key = bench.store("261122194501_a", &body).await;
    bench.operations();
    bench.server.latency(std::time::Duration::from_millis(50));
    let name = name_of(&body, 100);
    let all = (0..100).map(|_| bench.app.shown(&name, &key));
    let all = join_all(all).await;
    assert!(all.iter().all(|one| *one == all[0]));
    bench.until_stored(&name).await;
    assert_eq!(bench.operations(), ["GetObject", "PutObject"]);
    assert_eq!(bench.app.from("rendered"), 1);
    assert_eq!(bench.app.from("joined") + bench.app.from("memory"), 99);
}

#[tokio::test]
async fn work_goes_on_when_the_first_who_asked_goes_away() {
    let bench = Bench::start().await;
    let body = picture(1);
    let key = bench.store("261122194501_a", &body).await;
    bench.operations();
    bench.server.latency(std::time::Duration::from_millis(500));
    let name = name_of(&body, 100);
    let path = format!("/v1/thumbnails/{name}?source={key}");
    let first = tokio::spawn(bench.app.get(&path).send());
    bench.until_count("GetObject", 1).await;
    let second = bench.app.shown(&name, &key);
    let leaves = async {
        eventually("joined", || bench.app.from("joined") == 1).await;
        first.abort();
    };
    tokio::join!(second, leaves);
    bench.until_stored(&name).await;
    assert_eq!(bench.operations(), ["GetObject", "PutObject"]);
}

#[tokio::test]
async fn thumbnail_survives_a_restart_on_disk() {
    let task = Task::new().await;
    let app = task.start().await;
    let body = picture(1);
    task.hold("a", &body);
    let name = name_of(&body, 100);
    let made = app.shown(&name, "a").await;
    app.shut_down().await;
    assert_eq!(task.files().len(), 1);

    let app = task.start().await;
    task.requests();
    assert_eq!(app.shown(&name, "a").await, made);
    assert_eq!(app.from("disk"), 1);
    assert_eq!(task.requests(), [""; 0]);
    app.shut_down().await;

    // Damaged, it is thrown away, and the next has it again.
    let file = &task.files()[0];
    let mut bytes = std::fs::read(file).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    std::fs::write(file, bytes).unwrap();
    let app = task.start().await;
    task.requests();
    assert_eq!(app.shown(&name, "a").await, made);
    assert_eq!(task.requests(), ["GetObject"]);
    assert_eq!(app.served.metrics.corrupt_cached.get(), 1);
    app.shut_down().await;
    let app = task.start().await;
    assert_eq!(app.shown(&name, "a").await, made);
    assert_eq!(app.from("disk"), 1);
}

#[tokio::test]
async fn second_process_goes_without_the_cache_on_disk() {
    let task = Task::new().await;
    let (first, second) = (task.start().await, task.start().await);
    let body = picture(1);
    task.hold("a", &body);
    second.shown(&name_of(&body, 100), "a").await;
    second.shut_down().await;
    assert_eq!(task.files().len(), 0);
    first.shown(&name_of(&body, 100), "a").await;
    first.shut_down().await;
    assert_eq!(task.files().len(), 1);
}

#[tokio::test]
async fn what_is_cached_is_served_while_s3_is_down() {
    let task = Task::new().await;
    let app = task.start().await;
    let body = picture(1);
    task.hold("a", &body);
    let name = name_of(&body, 100);
    let made = app.shown(&name, "a").await;
    app.shut_down().await;
    let app = task.start().await;
    task.server.fail(FaultRule {
        operation: None,
        times: usize::MAX,
        ..FaultRule::once("GetObject", Fault::status(503, "ServiceUnavailable"))
    });
    for _ in 0..3 {
        app.served.readiness.note(false);
    }
    let ready = app.client.get(format!("{}/readyz", app.url)).send().await;
    assert_eq!(ready.unwrap().status(), 503);
    for from in ["disk", "memory"] {
        assert_eq!(app.shown(&name, "a").await, made);
        assert_eq!(app.from(from), 1);
    }
    let other = app.thumbnail(&name_of(&body, 200), "a").await;
    assert_eq!(other.status(), 503);
}

#[tokio::test]
async fn clearing_one_file_empties_every_tier_of_it_and_only_it() {
    let task = Task::new().await;
    let app = task.start().await;
    let bodies = [picture(1), picture(2), pattern(1, 1000)];
    for (body, key) in bodies.iter().zip(["a", "b", "c"]) {
        task.hold(key, body);
    }
    let names = [
        name_of(&bodies[0], 100),
        name_of(&bodies[0], 200),
        name_of(&bodies[1], 100),
    ];
    for (name, source) in names.iter().zip(["a", "a", "b"]) {
        app.shown(name, source).await;
        let key = stored_key(name);
        eventually("stored", || task.server.object(BUCKET, &key).is_some()).await;
    }
    let original = names[0].strip_suffix("_100.thumb").unwrap();
    let clear = async |what: &str| {
        let path = format!("/v1/thumbnails{what}");
        let response = app.request(Method::DELETE, &path).send().await.unwrap();
        assert_eq!(response.status(), 204);
    };
    let unsourced = async |name: &String| {
        let response = app.get(&format!("/v1/thumbnails/{name}")).send().await;
        response.unwrap().status().as_u16()
    };
    for _ in 0..2 {
        clear(&format!("/{original}")).await;
        assert_eq!(unsourced(&names[0]).await, 404);
        assert_eq!(unsourced(&names[1]).await, 404);
        assert_eq!(unsourced(&names[2]).await, 200);
        assert_eq!(task.files().len(), 1);
    }
    assert!(task.server.object(BUCKET, &stored_key(&names[2])).is_some());
    // A refusal is cleared, too.
    let refused = name_of(&bodies[2], 100);
    assert_eq!(app.thumbnail(&refused, "c").await.status(), 415);
    clear(&format!("/{}", refused.strip_suffix("_100.thumb").unwrap())).await;
    task.requests();
    assert_eq!(app.thumbnail(&refused, "c").await.status(), 415);
    assert_eq!(task.requests(), ["GetObject", "GetObject"]);
    // And all that are left.
    task.server
        .put_object(BUCKET, &stored_key("notes.txt"), Bytes::from("x"), &[]);
    clear("").await;
    assert_eq!(unsourced(&names[2]).await, 404);
    assert_eq!(task.files().len(), 0);
    let left = ["a", "b", "c", "tmp/thumbnails/notes.txt"];
    let left = left.map(|key| format!("{FOLDER}/{key}"));
    assert_eq!(task.server.keys(BUCKET), left);
}

#[tokio::test]
async fn what_is_being_made_while_it_is_cleared_does_not_come_back() {
    for all in [false, true] {
        let bench = Bench::start().await;
        let body = picture(1);
        let key = bench.store("261122194501_a", &body).await;
        let name = name_of(&body, 100);
        let original = name.strip_suffix("_100.thumb").unwrap();
        let one = if all {
            String::new()
        } else {
            format!("/{original}")
        };
        let path = format!("/v1/thumbnails{one}");
        bench.operations();
        bench.server.latency(std::time::Duration::from_millis(200));
        let making = bench
            .app
            .get(&format!("/v1/thumbnails/{name}?source={key}"));
        let making = tokio::spawn(making.send());
        bench.until_count("GetObject", 1).await;
        let cleared = bench
            .app
            .request(Method::DELETE, &path)
            .send()
            .await
            .unwrap();
        assert_eq!(cleared.status(), 204);
        assert_eq!(making.await.unwrap().unwrap().status(), 200);
        // When it had been kept, it would be by now.
        let again = bench
            .app
            .get(&format!("/v1/thumbnails/{name}"))
            .send()
            .await
            .unwrap();
        assert_eq!(problem_code(again).await, "source_needed");
        assert_eq!(bench.server.count("PutObject"), 0);
        bench.assert_only(&[&key]);
    }
}

#[tokio::test]
async fn what_is_made_while_the_store_still_clears_does_not_come_back() {
    let bench = Bench::start().await;
    let body = picture(1);
    let key = bench.store("261122194501_a", &body).await;
    let [old, new] = [100, 600].map(|side| name_of(&body, side));
    let original = old.strip_suffix("_100.thumb").unwrap();
    let one = format!("/v1/thumbnails/{original}");
    for (path, operation) in [(&*one, "DeleteObjects"), ("/v1/thumbnails", "DeleteObject")] {
        bench.app.shown(&old, &key).await;
        bench.until_stored(&old).await;
        bench.server.reset_counts();
        // It is tried again after a second.
        bench.once(operation, Fault::StallRequest);
        let clearing = bench.app.request(Method::DELETE, path).send();
        let clearing = tokio::spawn(clearing);
        bench.until_count(operation, 1).await;
        bench.app.shown(&new, &key).await;
        assert!(!clearing.is_finished());
        assert_eq!(clearing.await.unwrap().unwrap().status(), 204);
        let again = bench.app.get(&format!("/v1/thumbnails/{new}"));
        let again = again.send().await.unwrap();
        assert_eq!(problem_code(again).await, "source_needed", "{operation}");
        bench.assert_only(&[&key]);
    }
}

#[tokio::test]
async fn tenant_with_another_folder_has_nothing_of_the_old_one() {
    let server = S3Server::start().await.with_bucket(BUCKET);
    let (disk, tenants) = (tempfile::tempdir().unwrap(), TenantFiles::new([]));
    let folder = |folder: &str| {
        let yaml = format!("s3: {{bucket: {BUCKET}, folder: {folder}}}\n");
        tenants.write("sitea", &yaml);
    };
    let source = tenants.source();
    let settings = [
        ("KURA_TENANTS", source.as_str()),
        ("KURA_CACHE_DIR", disk.path().to_str().unwrap()),
    ];
    folder("before");
    let start = async || TestApp::s3_with(&server, &settings, |_| {}).await;
    let (body, app) = (picture(1), start().await);
    server.put_object(BUCKET, "before/a", body.clone(), &[]);
    let path = format!("/v1/thumbnails/{}", name_of(&body, 100));
    let get = async |app: &TestApp, path: &str| {
        let get = app.request_as("sitea", Method::GET, path).send();
        get.await.unwrap()
    };
    let made = get(&app, &format!("{path}?source=a")).await;
    assert_eq!(made.status(), 200);
    folder("a-longer-one");
    app.served.tenants.refresh().await.unwrap();
    let other = get(&app, &path).await;
    assert_eq!(problem_code(other).await, "source_needed");
    app.shut_down().await;
    let app = start().await;
    let other = get(&app, &path).await;
    assert_eq!(problem_code(other).await, "source_needed");
    // It comes back with the folder.
    folder("before");
    app.served.tenants.refresh().await.unwrap();
    assert_eq!(get(&app, &path).await.status(), 200);
    assert_eq!(app.from("disk"), 1);
}

#[tokio::test]
async fn thumbnails_in_a_shared_folder_are_not_all_cleared() {
    let settings = [("KURA_THUMB_FOLDER", "tmp")];
    let bench = Bench::with(&settings).await;
    let body = picture(1);
    let key = bench.store("261122194501_a", &body).await;
    let name = name_of(&body, 100);
    bench.app.shown(&name, &key).await;
    let full = format!("tmp/{name}");
    let stored = || bench.server.object(BUCKET, &full).is_some();
    until(stored, "stored where redmica_s3 does").await;
    let clear = bench.app.request(Method::DELETE, "/v1/thumbnails");
    let response = clear.send().await.unwrap();
    assert_eq!(response.status(), 409);
    assert_eq!(problem_code(response).await, "thumbnails_shared");
    assert!(stored());
    // What this task had kept of them it has not any more.
    bench.app.shown(&name, &key).await;
    assert_eq!(bench.app.from("store"), 1);
    let original = name.strip_suffix("_100.thumb").unwrap();
    let clear = bench
        .app
        .request(Method::DELETE, &format!("/v1/thumbnails/{original}"));
    assert_eq!(clear.send().await.unwrap().status(), 204);
    assert!(!stored());
}

#[tokio::test]
async fn answers_that_nobody_takes_are_bounded_for_each_tenant() {
    const SIZE: usize = 4 << 20;
    let server = S3Server::start().await.with_bucket(BUCKET);
    let tenants = TenantFiles::with_folders(["sitea", "siteb"]);
    let source = tenants.source();
    let settings = [("KURA_TENANTS", source.as_str())];
    let app = TestApp::s3_with(&server, &settings, |_| {}).await;
    let name = |number: usize| name_of(&[7; 20][..number], 100);
    let stored = |id, number| {
        let key = format!("{id}/tmp/thumbnails/{}", name(number));
        server.put_object(BUCKET, &key, pattern(1, SIZE), &[]);
    };
    let get = async |id: &str, number| {
        let path = format!("/v1/thumbnails/{}", name(number));
        let response = app.request_as(id, Method::GET, &path).send().await;
        response.unwrap().status().as_u16()
    };
    // What a client that does not read leaves to Kura.
    let tenant = app.served.tenants.get(&"sitea".parse().unwrap()).unwrap();
    let (tenancy, store) = (&tenant.inner.tenancy, &tenant.inner.store);
    let mut untaken = Vec::new();
    for number in 0..8 {
        stored("sitea", number);
        let key = ThumbKey::parse(&name(number)).unwrap();
        let thumbnail = app.served.thumbnails.get(tenancy, store, key, None).await;
        untaken.push(thumbnail.unwrap());
    }
    stored("sitea", 8);
    stored("siteb", 8);
    assert_eq!(get("sitea", 8).await, 503);
    // One from memory takes room, too.
    assert_eq!(get("sitea", 7).await, 503);
    assert_eq!(get("siteb", 8).await, 200);
    untaken.pop();
    assert_eq!(get("sitea", 8).await, 200);
    untaken.clear();
    assert_eq!(get("sitea", 7).await, 200);
}

fn eager(app: &TestApp, outcome: &'static str) -> u64 {
    let labels = EagerLabels { outcome };
    let metrics = &app.served.metrics;
    metrics.eager_thumbnails.get_or_create(&labels).get()
}

#[tokio::test]
async fn thumbnails_are_made_of_an_upload_without_reading_it_again() {
    let bench = Bench::with(&[("KURA_EAGER_THUMBNAILS", "100, 200")]).await;
    let body = picture(1);
    let (sender, by_hand) = body_by_hand();
    for piece in body.chunks(10_000) {
        sender.send(Bytes::copy_from_slice(piece)).unwrap();
    }
    drop(sender);
    let uploads = [by_hand, reqwest::Body::from(body.clone())];
    let key = {
        let mut key = String::new();
        for upload in uploads {
            let response = bench
                .app
                .upload("261122194501_a", upload)
                .send()
                .await
                .unwrap();
            let reply: serde_json::Value = response.json().await.unwrap();
            reply["key"].as_str().unwrap().clone_into(&mut key);
            until(|| bench.server.count("PutObject") >= 3, "made").await;
        }
        key
    };
    for side in [100, 200] {
        let name = name_of(&body, side);
        bench.until_stored(&name).await;
        assert_eq!(
            size_of(&bench.app.shown(&name, &key).await),
            (side, side / 2)
        );
    }
    // The same once more is not made once more.
    assert_eq!(bench.server.count("GetObject"), 0);
    assert_eq!(eager(&bench.app, "made"), 2);
    assert_eq!(bench.app.from("memory"), 2);
}

#[tokio::test]
async fn no_buffer_is_held_while_thumbnails_of_an_upload_are_stored() {
    let settings = [("KURA_EAGER_THUMBNAILS", "100,200,300,400")];
    let bench = Bench::with(&settings).await;
    bench.server.fail(FaultRule {
        key_contains: Some("/tmp/thumbnails/".into()),
        times: usize::MAX,
        ..FaultRule::once("PutObject", Fault::StallRequest)
    });
    let large = Bytes::from([&picture(1)[..], &vec![0; 4 << 20]].concat());
    bench.store("261122194501_a", &large).await;
    until(|| eager(&bench.app, "made") == 4, "all are made").await;
    bench.until_count("PutObject", 5).await;
    let budget = &bench.app.served.budget;
    assert!(budget.used_bytes() < 1 << 20, "{}", budget.used_bytes());
}

#[tokio::test]
async fn upload_does_not_fail_for_its_thumbnails() {
    let settings = [("KURA_EAGER_THUMBNAILS", "100")];
    let bench = Bench::with(&settings).await;
    let no_picture = pattern(1, 100_000);
    let broken = Bytes::from([b"\x89PNG\r\n\x1a\n", &pattern(2, 1000)[..]].concat());
    let large = Bytes::from([&picture(3)[..], &vec![0; 9 << 20]].concat());
    for (number, body) in [no_picture, broken, large].iter().enumerate() {
        bench.store(&format!("26112219450{number}_a"), body).await;
    }
    until(|| eager(&bench.app, "failed") == 1, "the broken one").await;
    assert_eq!(eager(&bench.app, "skipped"), 1);
    assert_eq!(eager(&bench.app, "made"), 0);
    let keys = bench.server.keys(BUCKET);
    assert_eq!(keys.len(), 3, "{keys:?}");
}
