//! Bodies that are too large, or end before their end: nothing is stored, and
//! nothing is left of them.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::pattern;
use crate::support::raw::{read_answer, send_until_refused};
use crate::support::stand::{Stand, eventually};

const UPLOAD: &str = "/v1/files?directory=2026/11&name=261122194501_a.bin";
const PUT: &str = "/v1/files/2026/11/a.bin";
const IMPORT: &str = "/v1/imports/0123456789abcdef";
/// More than one part, and less than two.
const LIMIT: usize = 12 << 20;
const LIMITS: [(&str, &str); 1] = [("KURA_MAX_BODY_BYTES", "12582912")];

async fn begin(stand: &Stand, method: &str, target: &str, headers: &[(&str, &str)]) -> TcpStream {
    let mut stream = stand.app.connect().await;
    let head = stand.app.head(method, target, headers);
    stream.write_all(head.as_bytes()).await.unwrap();
    stream
}

/// Sends a chunk of a chunked body.
async fn chunk(stream: &mut TcpStream, bytes: &[u8]) {
    send_until_refused(stream, format!("{:x}\r\n", bytes.len()).as_bytes()).await;
    send_until_refused(stream, bytes).await;
    send_until_refused(stream, b"\r\n").await;
}

#[tokio::test]
async fn body_announced_over_the_limit_is_refused_unread() {
    for stand in Stand::both_with(&LIMITS).await {
        for (method, target) in [("POST", UPLOAD), ("PUT", PUT), ("PUT", IMPORT)] {
            let length = (LIMIT + 1).to_string();
            for header in ["Content-Length", "X-Kura-Size"] {
                let mut headers = vec![(header, length.as_str()), ("Expect", "100-continue")];
                if header == "X-Kura-Size" {
                    headers.push(("Transfer-Encoding", "chunked"));
                }
                let mut stream = begin(&stand, method, target, &headers).await;
                // No byte of the body is sent, and none is asked for: 100 is
                // not what comes.
                let answer = read_answer(&mut stream).await.unwrap();
                assert_eq!(answer.status, 413, "{header}");
                assert_eq!(answer.code(), "body_too_large");
                assert_eq!(answer.header("connection"), Some("close"));
                stand.assert_empty(header);
            }
        }
        if let Some(server) = &stand.server {
            assert_eq!(server.requests(), []);
        }
    }
}

#[tokio::test]
async fn body_that_grows_over_the_limit_is_cut_off() {
    for stand in Stand::both_with(&LIMITS).await {
        for (method, target) in [("POST", UPLOAD), ("PUT", PUT), ("PUT", IMPORT)] {
            let headers = [("Transfer-Encoding", "chunked")];
            let mut stream = begin(&stand, method, target, &headers).await;
            let piece = pattern(1, 1 << 20);
            for _ in 0..12 {
                chunk(&mut stream, &piece).await;
            }
            chunk(&mut stream, b"x").await;
            let answer = read_answer(&mut stream).await.unwrap();
            assert_eq!(answer.status, 413, "{} {target}", stand.name());
            assert_eq!(answer.code(), "body_too_large");
            stand.assert_soon_empty(target).await;
        }
        if let Some(server) = &stand.server {
            assert!(server.count("UploadPart") > 0, "it had not begun");
        }
    }
}

#[tokio::test]
async fn body_of_just_the_limit_is_stored() {
    for stand in Stand::both_with(&LIMITS).await {
        let upload = stand.app.upload("a.bin", pattern(1, LIMIT));
        assert_eq!(upload.send().await.unwrap().status(), 201);
    }
}

#[tokio::test]
async fn short_body_that_ends_early_leaves_nothing() {
    for stand in Stand::both().await {
        for (method, target) in [("POST", UPLOAD), ("PUT", PUT), ("PUT", IMPORT)] {
            let mut stream = begin(&stand, method, target, &[("Content-Length", "100")]).await;
            stream.write_all(&pattern(1, 99)).await.unwrap();
            // Only one direction is closed, so that the answer can be read.
            stream.shutdown().await.unwrap();
            if let Ok(answer) = read_answer(&mut stream).await {
                assert_eq!(answer.status, 400);
                assert_eq!(answer.code(), "body_incomplete");
            }
            finished(&stand, 1).await;
            stand.assert_soon_empty(target).await;
        }
    }
}

#[tokio::test]
async fn chunked_body_without_its_last_chunk_leaves_nothing() {
    for stand in Stand::both().await {
        let headers = [("Transfer-Encoding", "chunked")];
        let mut stream = begin(&stand, "POST", UPLOAD, &headers).await;
        chunk(&mut stream, &pattern(1, 500)).await;
        drop(stream);
        finished(&stand, 1).await;
        stand.assert_soon_empty("no last chunk").await;
    }
}

#[tokio::test]
async fn chunks_that_are_none_leave_nothing() {
    for stand in Stand::both().await {
        for garbage in [
            "xyz\r\n",
            "-1\r\n\r\n",
            "fffffffffffffffff\r\n",
            "5\r\nabcdefgh\r\n",
        ] {
            let headers = [("Transfer-Encoding", "chunked")];
            let mut stream = begin(&stand, "POST", UPLOAD, &headers).await;
            chunk(&mut stream, &pattern(1, 500)).await;
            send_until_refused(&mut stream, garbage.as_bytes()).await;
            // Whatever is answered, the connection is of no more use.
            let mut rest = Vec::new();
            let _ = stream.read_to_end(&mut rest).await;
            assert!(!rest.starts_with(b"HTTP/1.1 2"), "{garbage}");
            stand.assert_soon_empty(garbage).await;
        }
    }
}

#[tokio::test]
async fn large_body_that_ends_early_is_aborted() {
    for stand in Stand::both().await {
        for (method, target) in [("POST", UPLOAD), ("PUT", PUT), ("PUT", IMPORT)] {
            let headers = [("Content-Length", "30000000")];
            let mut stream = begin(&stand, method, target, &headers).await;
            stream.write_all(&pattern(1, 20_000_000)).await.unwrap();
            // It must have begun, or there would be nothing to be aborted.
            match &stand.server {
                Some(server) => {
                    let parts = || server.count("UploadPart") >= 1;
                    eventually("a part is sent", parts).await;
                    assert_eq!(stand.unfinished().len(), 1);
                    server.reset_counts();
                }
                None => eventually("it is begun", || received(&stand) > 10_000_000).await,
            }
            drop(stream);
            stand.assert_soon_empty(target).await;
            finished(&stand, 0).await;
            let budget = &stand.app.served.budget;
            eventually("memory is given back", || budget.used_bytes() == 0).await;
        }
    }
}

#[tokio::test]
async fn upload_over_a_broken_one_is_whole() {
    for stand in Stand::both().await {
        let headers = [("Content-Length", "30000000")];
        let mut stream = begin(&stand, "POST", UPLOAD, &headers).await;
        stream.write_all(&pattern(1, 10_000_000)).await.unwrap();
        drop(stream);
        let body = pattern(2, 9 << 20);
        let upload = stand.app.upload("261122194501_a.bin", body.clone());
        // The name may be the next: the broken upload may still have the first.
        let reply: serde_json::Value = upload.send().await.unwrap().json().await.unwrap();
        let path = format!("/v1/files/{}", reply["key"].as_str().unwrap());
        let read = stand.app.get(&path).send().await.unwrap();
        assert!(read.bytes().await.unwrap() == body);
        let of_broken = || stand.keys().len() + stand.unfinished().len() - 1;
        eventually("nothing else is left", || of_broken() == 0).await;
    }
}

fn received(stand: &Stand) -> u64 {
    stand.app.served.metrics.received_bytes.get()
}

/// Waits until no request is under way any more.
async fn finished(stand: &Stand, least_received: u64) {
    eventually("the body arrives", || received(stand) >= least_received).await;
    let in_flight = &stand.app.served.metrics.in_flight;
    eventually("requests end", || in_flight.get() == 0).await;
}
