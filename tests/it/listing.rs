//! Listing, moving and removing files.

use reqwest::{Method, Response};
use serde_json::{Value, json};

use crate::support::app::{BUCKET, problem_code};
use crate::support::pattern;
use crate::support::stand::Stand;

async fn put(stand: &Stand, key: &str, seed: u64) {
    let put = stand.app.request(Method::PUT, &format!("/v1/files/{key}"));
    let put = put.body(pattern(seed, 100 + usize::try_from(seed).unwrap()));
    assert_eq!(put.send().await.unwrap().status(), 201, "{key}");
}

async fn page(stand: &Stand, query: &str) -> Value {
    let response = stand.app.get(&format!("/v1/files{query}")).send().await;
    let response = response.unwrap();
    assert_eq!(response.status(), 200, "{query}");
    response.json().await.unwrap()
}

fn keys(page: &Value) -> Vec<&str> {
    let files = page["files"].as_array().unwrap();
    files.iter().map(|it| it["key"].as_str().unwrap()).collect()
}

async fn rename(stand: &Stand, from: &str, to: &str) -> Response {
    let request = stand.app.request(Method::POST, "/v1/move");
    let request = request.json(&json!({"from": from, "to": to}));
    request.send().await.unwrap()
}

async fn status_of(stand: &Stand, key: &str) -> u16 {
    let request = stand.app.get(&format!("/v1/files/{key}"));
    request.send().await.unwrap().status().as_u16()
}

#[tokio::test]
async fn pages_give_every_file_once_in_order() {
    for stand in Stand::both().await {
        let mut all: Vec<_> = (0..7)
            .map(|n| format!("2026/{:02}/{n}.txt", n % 3))
            .collect();
        all.push("root level 見積.txt".into());
        for (seed, key) in (0..).zip(&all) {
            put(&stand, key, seed).await;
        }
        all.sort();
        for limit in [1, 2, 3, 8, 100] {
            let mut found = Vec::new();
            let mut query = format!("?limit={limit}");
            loop {
                let page = page(&stand, &query).await;
                assert!(keys(&page).len() <= limit);
                found.extend(keys(&page).iter().map(|key| (*key).to_owned()));
                match page["next"].as_str() {
                    Some(next) => query = format!("?limit={limit}&cursor={next}"),
                    None => break,
                }
            }
            assert_eq!(found, all, "{} by {limit}", stand.name());
        }
    }
}

#[tokio::test]
async fn listed_file_is_described() {
    for stand in Stand::both().await {
        put(&stand, "2026/11/a.txt", 1).await;
        let page = page(&stand, "").await;
        let file = &page["files"][0];
        assert_eq!(file["key"], "2026/11/a.txt");
        assert_eq!(file["size"], 101);
        let digest = kura::digest::Digest::of(&pattern(1, 101)).to_string();
        assert_eq!(file["digest"], digest, "{}", stand.name());
        let modified = file["modified"].as_str().unwrap();
        let age = humantime::parse_rfc3339(modified).unwrap().elapsed();
        assert!(age.unwrap().as_secs() < 60);
    }
}

#[tokio::test]
async fn prefix_may_end_anywhere() {
    for stand in Stand::both().await {
        for key in ["2026/10/a", "2026/11/a", "2026/11/ab", "2026/11/b", "20x"] {
            put(&stand, key, 1).await;
        }
        for (prefix, expected) in [
            ("2026/11/a", &["2026/11/a", "2026/11/ab"][..]),
            ("2026/11/", &["2026/11/a", "2026/11/ab", "2026/11/b"]),
            (
                "2026/1",
                &["2026/10/a", "2026/11/a", "2026/11/ab", "2026/11/b"],
            ),
            ("20x", &["20x"]),
            ("user001", &[]),
            ("2026/12/", &[]),
        ] {
            let page = page(&stand, &format!("?prefix={prefix}")).await;
            assert_eq!(keys(&page), expected, "{} {prefix}", stand.name());
        }
    }
}

#[tokio::test]
async fn thumbnails_imports_and_other_folders_are_never_listed() {
    for stand in Stand::both().await {
        put(&stand, "a.txt", 1).await;
        put(&stand, "tmpfile", 2).await;
        put(&stand, "zzz", 3).await;
        let import = stand
            .app
            .request(Method::PUT, "/v1/imports/0123456789abcdef");
        assert_eq!(import.body("x").send().await.unwrap().status(), 201);
        if let Some(server) = &stand.server {
            for key in [
                "user001/tmp/thumbnails/x.thumb",
                "user002/b.txt",
                "user0011",
            ] {
                server.put_object(BUCKET, key, "x", &[]);
            }
            for n in 0..30 {
                let key = format!("user001/tmp/thumbnails/{n:02}.thumb");
                server.put_object(BUCKET, &key, "x", &[]);
            }
        }
        assert_eq!(keys(&page(&stand, "").await), ["a.txt", "tmpfile", "zzz"]);
        let two = page(&stand, "?limit=2").await;
        assert_eq!(keys(&two), ["a.txt", "tmpfile"]);
        assert_eq!(keys(&page(&stand, "?prefix=tmp/").await), [""; 0]);
    }
}

#[tokio::test]
async fn listing_without_digests_costs_one_s3_request() {
    let stand = Stand::s3(&[]).await;
    for n in 0..5 {
        put(&stand, &format!("2026/11/{n}"), n).await;
    }
    let server = stand.server.as_ref().unwrap();
    server.reset_counts();
    let listed = page(&stand, "?digests=false").await;
    assert_eq!(keys(&listed).len(), 5);
    assert_eq!(listed["files"][0]["digest"], Value::Null);
    let operations = server.take_requests().into_iter().map(|it| it.operation);
    assert_eq!(operations.collect::<Vec<_>>(), ["ListObjectsV2"]);
    page(&stand, "").await;
    assert_eq!(server.count("HeadObject"), 5);
}

#[tokio::test]
async fn bad_listings_are_refused() {
    for stand in Stand::both().await {
        for (query, code) in [
            ("limit=0", "invalid_parameter"),
            ("limit=1001", "invalid_parameter"),
            ("limit=-1", "invalid_parameter"),
            ("limit=x", "invalid_parameter"),
            ("cursor=!", "invalid_parameter"),
            ("cursor=Li4vLi4vZXRj", "invalid_parameter"),
            ("digests=maybe", "invalid_parameter"),
            ("prefix=../", "invalid_key"),
            ("prefix=a//b", "invalid_key"),
            ("prefix=a%00", "invalid_key"),
            ("prefix=/", "invalid_key"),
            // A cursor into another kind's folder: `tmp/imports/x`.
            ("cursor=dG1wL2ltcG9ydHMveA", "invalid_key"),
        ] {
            let request = stand.app.get(&format!("/v1/files?{query}"));
            let response = request.send().await.unwrap();
            assert_eq!(response.status(), 400, "{query}");
            assert_eq!(problem_code(response).await, code, "{query}");
        }
        let page = page(&stand, "?limit=1000").await;
        assert_eq!(page, json!({"files": []}));
    }
}

#[tokio::test]
async fn removing_twice_is_no_error() {
    for stand in Stand::both().await {
        put(&stand, "2026/11/a.txt", 1).await;
        put(&stand, "2026/11/b.txt", 2).await;
        for _ in 0..2 {
            let delete = stand.app.request(Method::DELETE, "/v1/files/2026/11/a.txt");
            let response = delete.send().await.unwrap();
            assert_eq!(response.status(), 204);
            assert_eq!(response.bytes().await.unwrap(), "");
            assert_eq!(status_of(&stand, "2026/11/a.txt").await, 404);
        }
        assert_eq!(stand.keys(), ["user001/2026/11/b.txt"]);
    }
}

#[tokio::test]
async fn move_takes_bytes_and_headers_along() {
    for stand in Stand::both().await {
        let put = stand.app.request(Method::PUT, "/v1/files/a.txt");
        let put = put
            .header("Content-Type", "text/plain")
            .header("X-Kura-Filename", "%E5%9B%B3.txt")
            .body(pattern(1, 50));
        assert_eq!(put.send().await.unwrap().status(), 201);
        let moved = rename(&stand, "a.txt", "2026/11/図 1+%.txt").await;
        assert_eq!(moved.status(), 204, "{}", stand.name());
        assert_eq!(stand.keys(), ["user001/2026/11/図 1+%.txt"]);
        let request = stand.app.get("/v1/files/2026/11/%E5%9B%B3%201+%25.txt");
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "text/plain");
        let disposition = response.headers()["content-disposition"].to_str();
        assert!(disposition.unwrap().ends_with("''%E5%9B%B3.txt"));
        assert!(response.bytes().await.unwrap() == pattern(1, 50));
    }
}

#[tokio::test]
async fn move_of_nothing_onto_something_or_into_tmp_is_refused() {
    for stand in Stand::both().await {
        put(&stand, "a.txt", 1).await;
        put(&stand, "b.txt", 2).await;
        for (from, to, status, code) in [
            ("none.txt", "c.txt", 404, "not_found"),
            ("a.txt", "b.txt", 409, "already_exists"),
            ("a.txt", "a.txt", 409, "already_exists"),
            ("a.txt", "tmp/imports/0123456789abcdef", 400, "invalid_key"),
            ("a.txt", "tmp/thumbnails/x.thumb", 400, "invalid_key"),
            ("tmp/imports/0123456789abcdef", "c.txt", 400, "invalid_key"),
            ("a.txt", "../c.txt", 400, "invalid_key"),
            ("../user002/a.txt", "c.txt", 400, "invalid_key"),
            ("", "c.txt", 400, "invalid_key"),
        ] {
            let refused = rename(&stand, from, to).await;
            let name = stand.name();
            assert_eq!(refused.status(), status, "{name}: {from} to {to}");
            assert_eq!(problem_code(refused).await, code, "{from} to {to}");
        }
        assert_eq!(stand.keys(), ["user001/a.txt", "user001/b.txt"]);
        for (seed, key) in [(1, "a.txt"), (2, "b.txt")] {
            let got = stand.app.get(&format!("/v1/files/{key}")).send().await;
            let size = 100 + usize::try_from(seed).unwrap();
            assert!(got.unwrap().bytes().await.unwrap() == pattern(seed, size));
        }
    }
}
