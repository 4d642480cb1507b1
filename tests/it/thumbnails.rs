//! Thumbnails: what is answered, and what of.

use std::time::Duration;

use bytes::Bytes;
use futures_util::future::select_all;
use reqwest::Method;
use reqwest::header::{HeaderValue, IF_MATCH, IF_NONE_MATCH};

use crate::support::app::{BUCKET, FOLDER, TestApp, problem_code};
use crate::support::bench::{Bench, assert_refused};
use crate::support::pattern;
use crate::support::pictures::{
    PNG, PNG_MAGIC, long_picture, name_of, old_name_of, picture, size_of,
};
use crate::support::s3_server::{Fault, FaultRule, S3Server};
use crate::support::stand::{Stand, eventually};
use crate::support::task::TenantFiles;

const KEY: &str = "2026/11/261122194501_a.png";

/// Stores a file under exactly this key.
async fn put(app: &TestApp, key: &str, body: &Bytes) {
    let put = app.request(Method::PUT, &format!("/v1/files/{key}"));
    let response = put.body(body.clone()).send().await.unwrap();
    assert_eq!(response.status(), 201);
}

fn thumbnails(stand: &Stand) -> Vec<String> {
    let folder = format!("{FOLDER}/tmp/thumbnails/");
    let keys = stand.keys().into_iter();
    keys.filter_map(|key| key.strip_prefix(&folder).map(str::to_owned))
        .collect()
}

#[tokio::test]
async fn thumbnail_is_made_of_its_source_and_stored_as_redmica_s3_does() {
    for stand in Stand::both().await {
        let body = picture(1);
        put(&stand.app, KEY, &body).await;
        let names = [name_of(&body, 100), old_name_of(&body, 50)];
        for (name, size) in names.iter().zip([(100, 50), (50, 25)]) {
            let response = stand.app.thumbnail(name, KEY).await;
            assert_eq!(response.status(), 200, "{}", stand.name());
            let headers = response.headers().clone();
            let thumbnail = response.bytes().await.unwrap();
            assert_eq!(size_of(&thumbnail), size);
            assert_eq!(headers["content-type"], PNG);
            assert_eq!(headers["content-length"], thumbnail.len().to_string());
            assert_eq!(headers["x-content-type-options"], "nosniff");
            assert_eq!(headers["cache-control"], "private, no-cache");
            assert_eq!(
                headers["content-security-policy"],
                "default-src 'none'; style-src 'unsafe-inline'; sandbox"
            );
            eventually("stored", || thumbnails(&stand).contains(name)).await;
        }
        if let Some(server) = &stand.server {
            let key = format!("{FOLDER}/tmp/thumbnails/{}", names[0]);
            let stored = server.object(BUCKET, &key).unwrap();
            assert_eq!(stored.content_type(), Some(PNG));
        }
    }
}

#[tokio::test]
async fn cleared_thumbnails_are_gone_and_files_are_not() {
    for stand in Stand::both().await {
        let body = picture(1);
        put(&stand.app, KEY, &body).await;
        let name = name_of(&body, 100);
        let original = name.strip_suffix("_100.thumb").unwrap();
        for what in [&format!("/{original}"), ""] {
            stand.app.shown(&name, KEY).await;
            eventually("stored", || thumbnails(&stand).contains(&name)).await;
            let path = format!("/v1/thumbnails{what}");
            for _ in 0..2 {
                let clear = stand.app.request(Method::DELETE, &path).send().await;
                assert_eq!(clear.unwrap().status(), 204);
                assert_eq!(stand.keys(), [format!("{FOLDER}/{KEY}")]);
            }
            let again = stand
                .app
                .get(&format!("/v1/thumbnails/{name}"))
                .send()
                .await;
            assert_refused(again.unwrap(), 404, "source_needed", what).await;
        }
    }
}

#[tokio::test]
async fn head_has_the_headers_of_get_and_no_body() {
    let stand = Stand::directory(&[]).await;
    let body = picture(1);
    put(&stand.app, KEY, &body).await;
    let path = format!("/v1/thumbnails/{}?source={KEY}", name_of(&body, 100));
    let head = stand.app.request(Method::HEAD, &path).send().await.unwrap();
    let get = stand.app.get(&path).send().await.unwrap();
    assert_eq!(head.status(), 200);
    for name in ["content-length", "content-type", "etag", "cache-control"] {
        assert_eq!(head.headers()[name], get.headers()[name]);
    }
    assert!(head.bytes().await.unwrap().is_empty());
}

#[tokio::test]
async fn caller_that_has_it_already_is_told_so_by_the_name_alone() {
    let stand = Stand::directory(&[]).await;
    let body = picture(1);
    put(&stand.app, KEY, &body).await;
    let name = name_of(&body, 100);
    let etag = stand.app.thumbnail(&name, KEY).await.headers()["etag"].clone();
    let stem = name.strip_suffix(".thumb").unwrap();
    assert_eq!(etag, format!("W/\"{stem}\""));
    let asked = async |method: Method, name: &str, value: &HeaderValue| {
        let path = format!("/v1/thumbnails/{name}");
        let request = stand.app.request(method, &path);
        request.header(IF_NONE_MATCH, value).send().await.unwrap()
    };
    for method in [Method::GET, Method::HEAD] {
        let answer = asked(method.clone(), &name, &etag).await;
        assert_eq!(answer.status(), 304);
        assert_eq!(answer.headers()["etag"], etag);
        assert_eq!(answer.headers()["cache-control"], "private, no-cache");
        // It would be said of the thumbnail.
        let length = answer.headers().get("content-length");
        assert_eq!(length, None, "{method}");
    }
    // Of another it is not.
    let other = asked(Method::GET, &name_of(&body, 150), &etag).await;
    assert_eq!(other.status(), 404);
    let all = asked(Method::GET, &name, &HeaderValue::from_static("*")).await;
    assert_eq!(all.status(), 200);
    let refused = stand.app.get(&format!("/v1/thumbnails/{name}"));
    let refused = refused.header(IF_MATCH, &etag).send().await.unwrap();
    assert_refused(refused, 400, "invalid_parameter", "If-Match").await;
}

#[tokio::test]
async fn names_that_redmine_does_not_use_are_refused() {
    let stand = Stand::directory(&[]).await;
    let good = name_of(b"x", 100);
    let bad = [
        good.to_uppercase(),
        good.replace("_100", "_75"),
        good.replace("_100", "_850"),
        good.replace(".thumb", ".png"),
        "x_1_100.thumb".to_owned(),
    ];
    for name in bad {
        let response = stand.app.thumbnail(&name, KEY).await;
        assert_refused(response, 400, "invalid_key", &name).await;
    }
    for source in ["..", "a//b", "tmp/imports/0123456789abcdef"] {
        let response = stand.app.thumbnail(&good, source).await;
        assert_refused(response, 400, "invalid_key", source).await;
    }
    let clear = stand
        .app
        .request(Method::DELETE, &format!("/v1/thumbnails/{good}"));
    assert_refused(clear.send().await.unwrap(), 400, "invalid_key", "DELETE").await;
}

#[tokio::test]
async fn source_is_needed_only_to_make_it() {
    for stand in Stand::both().await {
        let body = picture(1);
        let name = name_of(&body, 100);
        let path = format!("/v1/thumbnails/{name}");
        let without = async || stand.app.get(&path).send().await.unwrap();
        assert_refused(without().await, 404, "source_needed", stand.name()).await;
        let missing = stand.app.thumbnail(&name, KEY).await;
        assert_refused(missing, 404, "not_found", stand.name()).await;
        put(&stand.app, KEY, &body).await;
        assert_refused(without().await, 404, "source_needed", stand.name()).await;
        let made = stand.app.shown(&name, KEY).await;
        assert_eq!(without().await.bytes().await.unwrap(), made);
    }
}

#[tokio::test]
async fn nothing_is_kept_of_a_source_that_is_another_file() {
    for stand in Stand::both().await {
        let (body, other) = (picture(1), picture(2));
        assert_eq!(body.len(), other.len());
        put(&stand.app, KEY, &other).await;
        put(&stand.app, "longer", &pattern(1, body.len() + 1)).await;
        // Of an MD5 the store knows nothing: only reading tells.
        for name in [name_of(&body, 100), old_name_of(&body, 100)] {
            for source in [KEY, "longer"] {
                let response = stand.app.thumbnail(&name, source).await;
                assert_refused(response, 409, "source_mismatch", source).await;
            }
            assert!(!thumbnails(&stand).contains(&name));
            // Nor is it remembered.
            put(&stand.app, "right", &body).await;
            stand.app.shown(&name, "right").await;
        }
    }
}

#[tokio::test]
async fn what_is_no_picture_is_refused_and_not_read_again() {
    let bench = Bench::start().await;
    let limit = 100_000;
    let broken = [PNG_MAGIC, &pattern(1, 1000)].concat();
    let cases = [
        (pattern(1, 1000), 415, "not_an_image"),
        (
            Bytes::from("<svg xmlns='http://www.w3.org/2000/svg'/>"),
            415,
            "not_an_image",
        ),
        (Bytes::from("%!PS-Adobe-3.0"), 415, "not_an_image"),
        (Bytes::new(), 415, "not_an_image"),
        (broken.into(), 422, "broken_image"),
    ];
    assert!(cases.iter().all(|(body, ..)| body.len() < limit));
    for (number, (body, status, code)) in cases.iter().enumerate() {
        let key = format!("2026/11/{number}");
        put(&bench.app, &key, body).await;
        bench.operations();
        let name = name_of(body, 100);
        for repeated in [false, true] {
            let response = bench.app.thumbnail(&name, &key).await;
            assert_refused(response, *status, code, &key).await;
            assert_eq!(bench.operations().is_empty(), repeated, "{key}");
        }
        // It is the file that is none, whoever names it as what.
        let response = bench.app.thumbnail(&name, "none").await;
        assert_refused(response, *status, code, &key).await;
    }
    assert_eq!(bench.app.from("refused"), 2 * cases.len() as u64);
}

#[tokio::test]
async fn wrong_source_that_is_no_picture_spoils_nothing() {
    for stand in Stand::both().await {
        let body = picture(1);
        let broken = [PNG_MAGIC, &pattern(2, body.len() - PNG_MAGIC.len())].concat();
        for other in [pattern(1, body.len()), broken.into()] {
            // As if without a digest: by MD5 the store knows nothing.
            let name = old_name_of(&body, 100);
            put(&stand.app, KEY, &other).await;
            for _ in 0..2 {
                let response = stand.app.thumbnail(&name, KEY).await;
                assert_refused(response, 409, "source_mismatch", stand.name()).await;
            }
            put(&stand.app, KEY, &body).await;
            stand.app.shown(&name, KEY).await;
            let clear = stand.app.request(Method::DELETE, "/v1/thumbnails");
            assert_eq!(clear.send().await.unwrap().status(), 204);
        }
    }
}

#[tokio::test]
async fn refusal_is_forgotten_after_a_while() {
    let settings = [("KURA_THUMBNAIL_FAILURE_SECONDS", "1")];
    let bench = Bench::with(&settings).await;
    let body = pattern(1, 1000);
    put(&bench.app, KEY, &body).await;
    let name = name_of(&body, 100);
    let deadline = std::time::Instant::now() + Duration::from_secs(20);
    while bench.server.count("GetObject") < 2 {
        assert!(std::time::Instant::now() < deadline);
        assert_eq!(bench.app.thumbnail(&name, KEY).await.status(), 415);
    }
    assert!(bench.app.from("refused") > 0);
}

#[tokio::test]
async fn pictures_over_a_limit_are_refused_before_they_are_read() {
    let bench = Bench::with(&[("KURA_RENDER_MAX_SOURCE_BYTES", "1000")]).await;
    let body = picture(1);
    put(&bench.app, KEY, &body).await;
    bench.operations();
    let response = bench.app.thumbnail(&name_of(&body, 100), KEY).await;
    assert_refused(response, 422, "image_too_large", "bytes").await;
    assert_eq!(bench.operations(), [""; 0]);
    let bench = Bench::with(&[("KURA_RENDER_MAX_PIXELS", "1000")]).await;
    put(&bench.app, KEY, &body).await;
    let response = bench.app.thumbnail(&name_of(&body, 100), KEY).await;
    assert_refused(response, 422, "image_too_large", "pixels").await;
}

#[tokio::test]
async fn thumbnails_of_redmica_s3_are_used_as_they_are() {
    let bench = Bench::start().await;
    let body = picture(1);
    let stored = |side| format!("{FOLDER}/tmp/thumbnails/{}", name_of(&body, side));
    let put = |side, bytes: &[u8]| {
        let bytes = Bytes::copy_from_slice(bytes);
        bench.server.put_object(BUCKET, &stored(side), bytes, &[]);
    };
    put(100, b"GIF89a, but not really");
    put(150, b"who knows");
    put(300, b"%PDF-1.7, which browsers run");
    for (side, media_type, bytes) in [
        (100, "image/gif", &b"GIF89a, but not really"[..]),
        (150, "application/octet-stream", b"who knows"),
        (
            300,
            "application/octet-stream",
            b"%PDF-1.7, which browsers run",
        ),
    ] {
        let response = bench.app.thumbnail(&name_of(&body, side), KEY).await;
        assert_eq!(response.headers()["content-type"], media_type);
        assert_eq!(response.bytes().await.unwrap(), bytes);
    }
    // What cannot be one is made anew.
    put(200, b"");
    put(250, &vec![0; (4 << 20) + 1]);
    bench
        .server
        .put_object(BUCKET, &format!("{FOLDER}/{KEY}"), body.clone(), &[]);
    for side in [200, 250] {
        let made = bench.app.shown(&name_of(&body, side), KEY).await;
        assert_eq!(size_of(&made).0, side.min(240));
    }
}

/// A Kura of the tenants `sitea` and `siteb`, with more in their settings.
async fn two_tenants(server: &S3Server, more: &str) -> (TestApp, TenantFiles) {
    let yaml = |id| format!("s3: {{bucket: {BUCKET}, folder: {id}}}\n{more}");
    let tenants = TenantFiles::new(["sitea", "siteb"].map(|id| (id, yaml(id))));
    let source = tenants.source();
    let settings = [("KURA_TENANTS", source.as_str())];
    let app = TestApp::s3_with(server, &settings, |_| {}).await;
    (app, tenants)
}

#[tokio::test]
async fn stored_thumbnail_in_a_shared_folder_is_for_who_has_the_file() {
    let server = S3Server::start().await.with_bucket(BUCKET);
    let (app, _tenants) = two_tenants(&server, "kura: {thumb_folder: tmp}\n").await;
    let body = picture(1);
    let hold = |key: &str, body: Bytes| server.put_object(BUCKET, key, body, &[]);
    hold(&format!("sitea/{KEY}"), body.clone());
    hold(&format!("siteb/{KEY}"), Bytes::from("another"));
    let name = name_of(&body, 100);
    let ask = async |id: &str, query: &str| {
        let path = format!("/v1/thumbnails/{name}{query}");
        let response = app.request_as(id, Method::GET, &path).send().await;
        response.unwrap()
    };
    let operations = || {
        let requests = server.take_requests();
        let operations = requests.iter().map(|request| request.operation);
        operations.collect::<Vec<_>>()
    };
    let made = ask("sitea", &format!("?source={KEY}")).await;
    let made = made.bytes().await.unwrap();
    let stored = format!("tmp/{name}");
    eventually("stored", || server.object(BUCKET, &stored).is_some()).await;
    for (query, code) in [
        (String::new(), "source_needed"),
        ("?source=missing".to_owned(), "not_found"),
        (format!("?source={KEY}"), "source_mismatch"),
    ] {
        let refused = ask("siteb", &query).await;
        assert_eq!(problem_code(refused).await, code, "{query}");
    }
    // It is enough to have the file, wherever, and it is asked for once.
    hold("siteb/moved", body.clone());
    operations();
    for (query, requests) in [
        ("?source=moved", &["GetObject", "HeadObject"][..]),
        ("", &[]),
    ] {
        let shown = ask("siteb", query).await;
        assert_eq!(shown.bytes().await.unwrap(), made);
        assert_eq!(operations(), requests);
    }
}

#[tokio::test]
async fn tenants_share_no_thumbnail() {
    let server = S3Server::start().await.with_bucket(BUCKET);
    let (app, _tenants) = two_tenants(&server, "").await;
    let body = picture(1);
    server.put_object(BUCKET, &format!("sitea/{KEY}"), body.clone(), &[]);
    let path = format!("/v1/thumbnails/{}", name_of(&body, 100));
    let as_tenant = async |id: &str, method: Method, path: &str| {
        app.request_as(id, method, path).send().await.unwrap()
    };
    let with_source = format!("{path}?source={KEY}");
    let made = as_tenant("sitea", Method::GET, &with_source).await;
    assert_eq!(made.status(), 200);
    let other = as_tenant("siteb", Method::GET, &path).await;
    assert_eq!(problem_code(other).await, "source_needed");
    let other = as_tenant("siteb", Method::GET, &with_source).await;
    assert_eq!(problem_code(other).await, "not_found");
    // Nor does one clear the other's.
    let key = format!("sitea/tmp/thumbnails/{}", name_of(&body, 100));
    eventually("stored", || server.object(BUCKET, &key).is_some()).await;
    let original = path.strip_suffix("_100.thumb").unwrap();
    for path in [original, "/v1/thumbnails"] {
        let cleared = as_tenant("siteb", Method::DELETE, path).await;
        assert_eq!(cleared.status(), 204);
    }
    assert!(server.object(BUCKET, &key).is_some());
    assert_eq!(as_tenant("sitea", Method::GET, &path).await.status(), 200);
    assert_eq!(app.from("memory"), 1);
}

#[tokio::test]
async fn trouble_with_the_store_keeps_its_meaning_and_is_not_remembered() {
    let bench = Bench::impatient().await;
    let body = picture(1);
    put(&bench.app, KEY, &body).await;
    let name = name_of(&body, 100);
    let broken_off = Fault::ResetResponseAfter(0);
    for (fault, status, code) in [
        (Fault::status(403, "AccessDenied"), 502, "storage_forbidden"),
        (Fault::status(503, "SlowDown"), 503, "storage_throttled"),
        (
            Fault::status(500, "InternalError"),
            503,
            "storage_unavailable",
        ),
        (broken_off, 503, "storage_unavailable"),
    ] {
        bench.always("GetObject", fault);
        let response = bench.app.thumbnail(&name, KEY).await;
        assert_refused(response, status, code, code).await;
        bench.server.clear_faults();
    }
    bench.app.shown(&name, KEY).await;
}

#[tokio::test]
async fn thumbnail_is_shown_also_when_it_cannot_be_stored() {
    let bench = Bench::impatient().await;
    let body = picture(1);
    put(&bench.app, KEY, &body).await;
    bench.always("PutObject", Fault::status(403, "AccessDenied"));
    let name = name_of(&body, 100);
    bench.app.shown(&name, KEY).await;
    let unstored = &bench.app.served.metrics.unstored_thumbnails;
    eventually("counted", || unstored.get() == 1).await;
    bench.app.shown(&name, KEY).await;
    assert_eq!(bench.app.from("memory"), 1);
}

#[tokio::test]
async fn too_many_at_once_are_told_to_come_back() {
    let server = S3Server::start().await.with_bucket(BUCKET);
    let app = TestApp::s3_with(&server, &[], |config| {
        config.render.workers = 1;
        config.render.queue = 0;
    })
    .await;
    let pictures = [long_picture(1), long_picture(2)];
    for (body, key) in pictures.iter().zip(["a", "b"]) {
        put(&app, key, body).await;
    }
    // The first bytes come, so that one of them gets the worker.
    let stall = FaultRule::once("GetObject", Fault::StallResponseAfter(1_000_000));
    server.fail(FaultRule { times: 2, ..stall });
    let names = pictures.each_ref().map(|body| name_of(body, 100));
    let answers = [app.thumbnail(&names[0], "a"), app.thumbnail(&names[1], "b")];
    let (second, ..) = select_all(answers.map(Box::pin)).await;
    assert_eq!(second.headers()["retry-after"], "2");
    assert_refused(second, 503, "render_busy", "queue").await;
}

#[tokio::test]
async fn without_workers_none_can_be_made() {
    let server = S3Server::start().await.with_bucket(BUCKET);
    let app = TestApp::s3_with(&server, &[], |config| {
        config.render.program = "/nonexistent".into();
    })
    .await;
    let body = picture(1);
    put(&app, KEY, &body).await;
    for _ in 0..2 {
        let response = app.thumbnail(&name_of(&body, 100), KEY).await;
        assert_refused(response, 503, "render_unavailable", "no program").await;
    }
    assert_eq!(app.from("failed"), 2);
}
