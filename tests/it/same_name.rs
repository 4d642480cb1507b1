//! Uploads of one file name at once, from two processes, all keep their bytes.
//! `redmica_s3` loses a third of them.

use std::collections::HashSet;
use std::sync::Arc;

use futures_util::{StreamExt, stream};
use serde_json::Value;

use crate::support::pattern;
use crate::support::process::Process;
use crate::support::s3_server::S3Server;
use crate::support::seaweed::Seaweed;

const UPLOADS: u64 = 1000;
const AT_ONCE: usize = 16;

/// Uploads from two processes by turns, then reads every reply's key.
async fn race(one: Process, other: Process, size: impl Fn(u64) -> usize) {
    let processes = Arc::new([one, other]);
    let stored: Vec<(u64, String)> = stream::iter(0..UPLOADS)
        .map(|n| {
            let (processes, body) = (Arc::clone(&processes), pattern(n, size(n)));
            async move {
                let process = &processes[usize::from(n % 2 == 1)];
                let reply = process
                    .upload("261122194559_same.pdf", body)
                    .send()
                    .await
                    .unwrap();
                assert_eq!(reply.status(), 201);
                let reply: Value = reply.json().await.unwrap();
                (n, reply["key"].as_str().unwrap().to_owned())
            }
        })
        .buffer_unordered(AT_ONCE)
        .collect()
        .await;
    let keys: HashSet<&String> = stored.iter().map(|(_, key)| key).collect();
    assert_eq!(keys.len(), stored.len(), "no key was given out twice");
    for (n, key) in &stored {
        let bytes = processes[0]
            .download(key)
            .send()
            .await
            .unwrap()
            .bytes()
            .await
            .unwrap();
        assert!(
            bytes == pattern(*n, size(*n)),
            "{key} has another upload's bytes"
        );
    }
}

fn small(_: u64) -> usize {
    2000
}

/// One in fifty takes two parts: those take their names in another way.
fn mixed(n: u64) -> usize {
    if n % 50 == 7 { (5 << 20) + 100 } else { 2000 }
}

#[tokio::test(flavor = "multi_thread")]
async fn thousand_uploads_of_one_name_keep_their_bytes_on_seaweedfs() {
    let seaweed = Seaweed::shared();
    seaweed.bucket("same-name").await;
    let start = || {
        Process::s3(
            &seaweed.endpoint,
            "same-name",
            &[("KURA_PART_BYTES", "5242880")],
        )
    };
    race(start(), start(), mixed).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn thousand_uploads_of_one_name_keep_their_bytes_on_a_store_that_ignores_conditions() {
    let server = S3Server::start().await.with_bucket("files");
    server.ignore_conditions(true);
    let start = || {
        let settings = [("KURA_PART_BYTES", "5242880")];
        Process::s3(&server.endpoint(), "files", &settings)
    };
    race(start(), start(), mixed).await;
    assert_eq!(server.open_uploads(), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn thousand_uploads_of_one_name_keep_their_bytes_in_a_directory() {
    let root = tempfile::tempdir().unwrap();
    let start = || Process::directory(root.path().to_str().unwrap(), &[]);
    race(start(), start(), small).await;
}
