//! Reading a part of a file.

use bytes::Bytes;
use reqwest::{Method, Response};

use crate::support::app::problem_code;
use crate::support::pattern;
use crate::support::stand::Stand;

const PATH: &str = "/v1/files/2026/11/a.bin";
/// More than three parts.
const SIZE: usize = (24 << 20) + 5;

async fn stands(body: &Bytes) -> [Stand; 2] {
    let stands = Stand::both().await;
    for stand in &stands {
        let put = stand.app.request(Method::PUT, PATH).body(body.clone());
        assert_eq!(put.send().await.unwrap().status(), 201);
    }
    stands
}

async fn get(stand: &Stand, range: &str, if_range: Option<&str>) -> Response {
    let mut request = stand.app.get(PATH).header("Range", range);
    if let Some(version) = if_range {
        request = request.header("If-Range", version);
    }
    request.send().await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_of_range_gives_just_its_bytes() {
    let body = pattern(1, SIZE);
    for stand in stands(&body).await {
        for (range, first, last) in [
            ("bytes=0-0", 0, 0),
            ("bytes=5-9", 5, 9),
            ("bytes=8388600-8388620", 8_388_600, 8_388_620),
            ("bytes=100-", 100, SIZE - 1),
            ("bytes=0-", 0, SIZE - 1),
            ("bytes=-1", SIZE - 1, SIZE - 1),
            ("bytes=-9000000", SIZE - 9_000_000, SIZE - 1),
            ("bytes=-999999999", 0, SIZE - 1),
            ("bytes=25165800-999999999", 25_165_800, SIZE - 1),
        ] {
            let response = get(&stand, range, None).await;
            assert_eq!(response.status(), 206, "{range}");
            let headers = response.headers();
            let expected = format!("bytes {first}-{last}/{SIZE}");
            assert_eq!(headers["content-range"], expected, "{range}");
            assert_eq!(headers["content-length"], (last + 1 - first).to_string());
            assert_eq!(headers["x-content-type-options"], "nosniff");
            let bytes = response.bytes().await.unwrap();
            assert!(bytes == body[first..=last], "{} {range}", stand.name());
        }
    }
}

#[tokio::test]
async fn range_outside_the_file_is_416_with_its_size() {
    let body = pattern(1, 100);
    for stand in stands(&body).await {
        for range in ["bytes=100-", "bytes=100-200", "bytes=-0"] {
            let response = get(&stand, range, None).await;
            assert_eq!(response.status(), 416, "{} {range}", stand.name());
            assert_eq!(response.headers()["content-range"], "bytes */100");
            assert_eq!(problem_code(response).await, "range_not_satisfiable");
        }
    }
    for stand in stands(&Bytes::new()).await {
        for range in ["bytes=0-", "bytes=0-0", "bytes=-1"] {
            let response = get(&stand, range, None).await;
            assert_eq!(response.status(), 416, "{} {range}", stand.name());
            assert_eq!(response.headers()["content-range"], "bytes */0");
        }
    }
}

#[tokio::test]
async fn range_that_is_none_is_ignored() {
    let body = pattern(1, 100);
    for stand in stands(&body).await {
        for range in [
            "bytes=5-2",
            "bytes=0-1,4-5",
            "lines=1-2",
            "bytes=x",
            "bytes",
        ] {
            let response = get(&stand, range, None).await;
            assert_eq!(response.status(), 200, "{range}");
            assert!(!response.headers().contains_key("content-range"));
            assert!(response.bytes().await.unwrap() == body, "{range}");
        }
    }
}

#[tokio::test]
async fn if_range_gives_the_range_only_of_the_same_version() {
    let body = pattern(1, 100);
    for stand in stands(&body).await {
        let first = stand.app.get(PATH).send().await.unwrap();
        let etag = first.headers()["etag"].to_str().unwrap().to_owned();
        let modified = first.headers()["last-modified"].to_str().unwrap();
        let weak = format!("W/{etag}");
        for (version, status) in [
            (etag.as_str(), 206),
            (modified, 206),
            ("\"other\"", 200),
            (&weak, 200),
            ("Mon, 01 Jan 2001 00:00:00 GMT", 200),
            ("nonsense", 200),
        ] {
            let response = get(&stand, "bytes=10-19", Some(version)).await;
            assert_eq!(response.status(), status, "{version}");
            let expected = if status == 206 {
                &body[10..20]
            } else {
                &body[..]
            };
            assert!(response.bytes().await.unwrap() == expected, "{version}");
        }
    }
}

#[tokio::test]
async fn range_of_a_version_that_the_caller_has_is_304() {
    for stand in stands(&pattern(1, 100)).await {
        let first = stand.app.get(PATH).send().await.unwrap();
        let request = stand.app.get(PATH).header("Range", "bytes=0-4");
        let request = request.header("If-None-Match", &first.headers()["etag"]);
        assert_eq!(request.send().await.unwrap().status(), 304);
    }
}
