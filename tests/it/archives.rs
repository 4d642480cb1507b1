//! Many files as one ZIP.

use std::io::Write;
use std::process::Command;

use bytes::Bytes;
use futures_util::StreamExt;
use reqwest::{Method, Response};
use serde_json::{Value, json};

use crate::support::app::problem_code;
use crate::support::pattern;
use crate::support::stand::Stand;

/// Prints the names, sizes and SHA-256 of all entries, after checking all
/// checksums.
const READER: &str = "
import sys, json, zipfile, hashlib
archive = zipfile.ZipFile(sys.argv[1])
assert archive.testzip() is None
print(json.dumps([[it.filename, it.file_size, hashlib.sha256(archive.read(it)).hexdigest()] for it in archive.infolist()]))
";

async fn put(stand: &Stand, key: &str, body: &Bytes) {
    let put = stand.app.request(Method::PUT, &format!("/v1/files/{key}"));
    let put = put.body(body.clone());
    assert_eq!(put.send().await.unwrap().status(), 201, "{key}");
}

async fn archive(stand: &Stand, request: Value) -> Response {
    let post = stand.app.request(Method::POST, "/v1/archives");
    post.json(&request).send().await.unwrap()
}

/// What an independent reader finds in an archive.
fn read_by_python(zip: &[u8]) -> Value {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(zip).unwrap();
    let mut python = Command::new("python3");
    let output = python.args(["-c", READER]).arg(file.path()).output();
    let output = output.unwrap();
    assert!(output.status.success(), "{output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

fn described(name: &str, body: &Bytes) -> Value {
    json!([name, body.len(), kura::digest::Digest::of(body).to_string()])
}

#[tokio::test]
async fn archive_has_the_announced_length_and_every_file() {
    for stand in Stand::both().await {
        let bodies = [pattern(1, 1000), pattern(2, 0), pattern(3, 70_000)];
        for (n, body) in bodies.iter().enumerate() {
            put(&stand, &format!("2026/11/{n}"), body).await;
        }
        let request = json!({
            "entries": [
                {"key": "2026/11/0", "name": "見積.pdf"},
                {"key": "2026/11/1", "name": "a.txt"},
                {"key": "2026/11/2", "name": "a.txt"},
                {"key": "2026/11/0", "name": "../../etc/passwd"},
            ],
            "filename": "全部.zip",
        });
        let response = archive(&stand, request).await;
        assert_eq!(response.status(), 200);
        let headers = response.headers().clone();
        assert_eq!(headers["content-type"], "application/zip");
        assert_eq!(headers["x-content-type-options"], "nosniff");
        assert_eq!(
            headers["content-disposition"],
            "attachment; filename=\"__.zip\"; filename*=UTF-8''%E5%85%A8%E9%83%A8.zip"
        );
        let zip = response.bytes().await.unwrap();
        assert_eq!(headers["content-length"], zip.len().to_string());
        let found = read_by_python(&zip);
        let names: Vec<_> = (0..4).map(|n| found[n][0].as_str().unwrap()).collect();
        assert!(names.iter().all(|name| !name.contains("..")), "{names:?}");
        assert_eq!(found[0], described("見積.pdf", &bodies[0]));
        assert_eq!(found[1], described("a.txt", &bodies[1]));
        assert_eq!(found[2], described(names[2], &bodies[2]));
        assert_eq!(names[2], "a(1).txt");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn large_files_are_streamed() {
    for stand in Stand::both().await {
        let bodies: Vec<_> = (0..3).map(|seed| pattern(seed, 20 << 20)).collect();
        let mut entries = Vec::new();
        let mut expected = Vec::new();
        for (n, body) in bodies.iter().enumerate() {
            put(&stand, &format!("{n}.bin"), body).await;
            entries.push(json!({"key": format!("{n}.bin"), "name": format!("{n}.bin")}));
            expected.push(described(&format!("{n}.bin"), body));
        }
        let response = archive(&stand, json!({"entries": entries})).await;
        let length = response.content_length().unwrap();
        assert_eq!(response.headers()["content-disposition"], "attachment");
        let zip = response.bytes().await.unwrap();
        assert_eq!(length, zip.len() as u64);
        assert_eq!(read_by_python(&zip), Value::from(expected));
    }
}

#[tokio::test]
async fn missing_file_is_404_before_any_byte() {
    for stand in Stand::both().await {
        put(&stand, "a", &pattern(1, 10)).await;
        let entries = json!([{"key": "a", "name": "a"}, {"key": "b", "name": "b"}]);
        let response = archive(&stand, json!({"entries": entries})).await;
        assert_eq!(response.status(), 404);
        assert_eq!(problem_code(response).await, "not_found");
    }
}

#[tokio::test]
async fn bad_requests_are_refused() {
    for stand in Stand::both().await {
        put(&stand, "a", &pattern(1, 10)).await;
        let entry = json!({"key": "a", "name": "a"});
        for (request, code) in [
            (json!({"entries": []}), "invalid_parameter"),
            (json!({"entries": vec![entry; 10_001]}), "invalid_parameter"),
            (json!({"entries": [{"key": "a"}]}), "invalid_parameter"),
            (json!({}), "invalid_parameter"),
            (json!([]), "invalid_parameter"),
            (
                json!({"entries": [{"key": "../a", "name": "a"}]}),
                "invalid_key",
            ),
            (
                json!({"entries": [{"key": "tmp/imports/x", "name": "a"}]}),
                "invalid_key",
            ),
        ] {
            let response = archive(&stand, request).await;
            assert_eq!(response.status(), 400);
            assert_eq!(problem_code(response).await, code);
        }
    }
}

#[tokio::test]
async fn file_removed_meanwhile_breaks_the_archive_off() {
    for stand in Stand::both().await {
        put(&stand, "0.bin", &pattern(0, 30 << 20)).await;
        put(&stand, "1.bin", &pattern(1, 1000)).await;
        let entries = json!([{"key": "0.bin", "name": "0"}, {"key": "1.bin", "name": "1"}]);
        let response = archive(&stand, json!({"entries": entries})).await;
        assert_eq!(response.status(), 200);
        let announced = response.content_length().unwrap();
        let mut body = response.bytes_stream();
        // More is not taken yet than buffers hold, so that the second file has
        // not been opened.
        let mut received = body.next().await.unwrap().unwrap().len() as u64;
        let delete = stand.app.request(Method::DELETE, "/v1/files/1.bin");
        assert_eq!(delete.send().await.unwrap().status(), 204);
        let mut failed = false;
        while let Some(chunk) = body.next().await {
            match chunk {
                Ok(chunk) => received += chunk.len() as u64,
                Err(_) => failed = true,
            }
        }
        assert!(failed, "{} passes it off as whole", stand.name());
        assert!(received < announced);
    }
}
