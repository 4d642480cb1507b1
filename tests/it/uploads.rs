//! Storing files: what is kept, under which name, and what is refused.

use bytes::Bytes;
use futures_util::{StreamExt, future, stream};
use kura::digest::Digest;
use reqwest::{Body, Method, RequestBuilder, Response};
use serde_json::{Value, json};

use crate::support::app::{BUCKET, problem_code};
use crate::support::pattern;
use crate::support::stand::Stand;

const PART: usize = 8 << 20;
const NAME: &str = "261122194501_report.pdf";

/// Sends an upload that must succeed.
async fn created(upload: RequestBuilder) -> Value {
    let response = upload.send().await.unwrap();
    let status = response.status();
    let reply: Value = response.json().await.unwrap();
    assert_eq!(status, 201, "{reply}");
    reply
}

/// Reads a file that must be there.
async fn bytes_of(stand: &Stand, key: &str) -> Bytes {
    let response = stand.app.get(&format!("/v1/files/{key}")).send().await;
    let response: Response = response.unwrap();
    assert_eq!(response.status(), 200, "{key}");
    response.bytes().await.unwrap()
}

/// A body whose length is not announced.
fn chunked(bytes: &Bytes) -> Body {
    let chunks: Vec<_> = bytes.chunks(100_000).map(Bytes::copy_from_slice).collect();
    Body::wrap_stream(stream::iter(chunks).map(Ok::<_, std::io::Error>))
}

#[tokio::test(flavor = "multi_thread")]
async fn every_size_reads_back_and_the_reply_describes_it() {
    for stand in Stand::both().await {
        for size in [0, 1, PART - 1, PART, PART + 1, 30 << 20] {
            let body = pattern(size as u64, size);
            let name = format!("261122194501_{size}.pdf");
            let upload = stand.app.upload(&name, body.clone());
            let reply = created(upload.header("Content-Type", "application/pdf")).await;
            let expected = json!({
                "key": format!("2026/11/{name}"),
                "disk_directory": "2026/11",
                "disk_filename": name,
                "size": size,
                "digest": Digest::of(&body).to_string(),
                "content_type": "application/pdf",
            });
            assert_eq!(reply, expected, "{}", stand.name());
            let read = bytes_of(&stand, &format!("2026/11/{name}")).await;
            assert!(read == body, "{} {size}", stand.name());
        }
        assert_eq!(stand.unfinished(), [""; 0]);
    }
}

#[tokio::test]
async fn upload_and_download_of_one_part_cost_one_s3_request_each() {
    let stand = Stand::s3(&[]).await;
    let server = stand.server.as_ref().unwrap();
    for (size, body) in [(0, pattern(0, 0)), (PART, pattern(1, PART))] {
        server.reset_counts();
        let reply = created(stand.app.upload(&format!("{size}.bin"), body)).await;
        let operations = || server.take_requests().into_iter().map(|it| it.operation);
        assert_eq!(operations().collect::<Vec<_>>(), ["PutObject"], "{size}");
        let _ = bytes_of(&stand, reply["key"].as_str().unwrap()).await;
        let expected: &[_] = match size {
            // An empty object has no first byte to be asked for.
            0 => &["GetObject", "HeadObject"],
            _ => &["GetObject"],
        };
        assert_eq!(operations().collect::<Vec<_>>(), expected, "{size}");
    }
}

#[tokio::test]
async fn objects_look_as_redmica_s3_writes_them() {
    let stand = Stand::s3(&[]).await;
    for size in [10, PART + 10] {
        let body = pattern(3, size);
        let digest = Digest::of(&body).to_string();
        let name = format!("261122194501_{size}.pdf");
        let upload = stand.app.upload(&name, body);
        let upload = upload
            .header("Content-Type", "application/pdf")
            .header("X-Kura-Digest", &digest)
            .header("X-Kura-Filename", "%E8%A6%8B%E7%A9%8D%20(1).pdf");
        created(upload).await;
        let server = stand.server.as_ref().unwrap();
        let object = server
            .object(BUCKET, &format!("user001/2026/11/{name}"))
            .unwrap();
        assert_eq!(object.content_type(), Some("application/pdf"));
        assert_eq!(
            object.content_disposition(),
            Some("inline; filename=%E8%A6%8B%E7%A9%8D%20%281%29.pdf")
        );
        assert_eq!(object.metadata("digest"), Some(digest.as_str()));
    }
}

#[tokio::test]
async fn taken_name_moves_to_its_successor_and_the_reply_says_which() {
    for stand in Stand::both().await {
        let mut kept = Vec::new();
        for (seed, size) in [(1, 10), (2, 20), (3, PART + 1), (4, 0)] {
            let body = pattern(seed, size);
            let reply = created(stand.app.upload(NAME, body.clone())).await;
            let name = format!("26112219450{seed}_report.pdf");
            assert_eq!(reply["disk_filename"], name, "{}", stand.name());
            assert_eq!(reply["key"], format!("2026/11/{name}"));
            kept.push((name, body));
        }
        for (name, body) in kept {
            assert!(bytes_of(&stand, &format!("2026/11/{name}")).await == body);
        }
        assert_eq!(stand.unfinished(), [""; 0]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn uploads_of_one_name_at_once_all_keep_their_bytes() {
    for stand in Stand::both().await {
        let uploads = (0..24).map(|seed| {
            let size = if seed % 8 == 7 { PART + 1 } else { 1000 };
            let body = pattern(seed, size);
            let upload = stand.app.upload(NAME, body.clone());
            async move { (created(upload).await, body) }
        });
        let stored = future::join_all(uploads).await;
        for (reply, body) in &stored {
            let read = bytes_of(&stand, reply["key"].as_str().unwrap()).await;
            assert!(read == body, "{} {reply}", stand.name());
        }
        assert_eq!(stand.keys().len(), 24, "{}", stand.name());
        assert_eq!(stand.unfinished(), [""; 0]);
    }
}

#[tokio::test]
async fn put_stores_under_exactly_this_key_and_replaces() {
    for stand in Stand::both().await {
        for (seed, size) in [(1, 10), (2, PART + 1), (3, 5)] {
            let body = pattern(seed, size);
            let path = "/v1/files/261122194501_old.txt";
            let put = stand.app.request(Method::PUT, path);
            let reply = created(put.body(body.clone())).await;
            assert_eq!(reply["key"], "261122194501_old.txt");
            assert_eq!(reply["disk_directory"], "");
            assert_eq!(reply["size"], size);
            assert!(bytes_of(&stand, "261122194501_old.txt").await == body);
        }
        assert_eq!(stand.keys(), ["user001/261122194501_old.txt"]);
    }
}

#[tokio::test]
async fn put_if_none_match_leaves_what_is_there() {
    for stand in Stand::both().await {
        let put = |condition: &str, body: Bytes| {
            let put = stand.app.request(Method::PUT, "/v1/files/2026/11/a.txt");
            put.header("If-None-Match", condition).body(body)
        };
        created(put("*", pattern(1, 100))).await;
        for size in [5, PART + 1] {
            let refused = put("*", pattern(2, size)).send().await.unwrap();
            assert_eq!(refused.status(), 412);
            assert_eq!(problem_code(refused).await, "precondition_failed");
        }
        let etag = put("\"abc\"", pattern(2, 5)).send().await.unwrap();
        assert_eq!(etag.status(), 400);
        assert_eq!(problem_code(etag).await, "invalid_parameter");
        assert!(bytes_of(&stand, "2026/11/a.txt").await == pattern(1, 100));
        assert_eq!(stand.keys(), ["user001/2026/11/a.txt"]);
        assert_eq!(stand.unfinished(), [""; 0]);
    }
}

#[tokio::test]
async fn put_if_match_is_refused_rather_than_ignored() {
    for stand in Stand::both().await {
        let put = stand.app.request(Method::PUT, "/v1/files/a.txt");
        let put = put.header("If-Match", "\"abc\"").body("new");
        let refused = put.send().await.unwrap();
        assert_eq!(refused.status(), 400);
        assert_eq!(problem_code(refused).await, "invalid_parameter");
        stand.assert_empty("If-Match");
    }
}

#[tokio::test]
async fn wrong_digest_stores_nothing() {
    for stand in Stand::both().await {
        for size in [0, 10, PART + 1] {
            let wrong = Digest::of(b"something else").to_string();
            let upload = stand.app.upload(NAME, pattern(1, size));
            let upload = upload.header("X-Kura-Digest", wrong);
            let refused = upload.send().await.unwrap();
            assert_eq!(refused.status(), 422);
            assert_eq!(problem_code(refused).await, "digest_mismatch");
            stand
                .assert_soon_empty(&format!("wrong digest of {size}"))
                .await;
        }
    }
}

#[tokio::test]
async fn wrong_size_stores_nothing() {
    for stand in Stand::both().await {
        for (said, size) in [(11, 10), (9, 10), (PART + 2, PART + 1), (PART, PART + 1)] {
            for body in [Body::from(pattern(1, size)), chunked(&pattern(1, size))] {
                let upload = stand.app.upload(NAME, body);
                let refused = upload.header("X-Kura-Size", said).send().await.unwrap();
                assert_eq!(refused.status(), 422, "{} {said} {size}", stand.name());
                assert_eq!(problem_code(refused).await, "size_mismatch");
                stand.assert_soon_empty("wrong size").await;
            }
        }
    }
}

#[tokio::test]
async fn right_digest_and_size_are_accepted() {
    for stand in Stand::both().await {
        for size in [0, PART + 1] {
            let body = pattern(5, size);
            let upload = stand.app.upload(NAME, body.clone());
            let upload = upload
                .header("X-Kura-Digest", Digest::of(&body).to_string())
                .header("X-Kura-Size", size);
            assert_eq!(created(upload).await["size"], size);
        }
    }
}

#[tokio::test]
async fn length_need_not_be_announced() {
    for stand in Stand::both().await {
        for size in [0, 1, PART, PART + 1] {
            let body = pattern(9, size);
            let name = format!("{size}.bin");
            let reply = created(stand.app.upload(&name, chunked(&body))).await;
            assert_eq!(reply["size"], size);
            assert_eq!(reply["digest"], Digest::of(&body).to_string());
            assert!(bytes_of(&stand, &format!("2026/11/{name}")).await == body);
        }
    }
}
