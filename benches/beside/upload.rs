//! What does an upload cost through Kura: beside the S3 server itself, nginx
//! before it, other clients, and Redmine with its own disk?

use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use hyper::Method;

use crate::load::{Call, Payload, milliseconds};
use crate::peers::{Stage, hashing_seconds, kura_post, object, timed, token};
use crate::rounds::{Make, Peer};
use crate::server::{BUCKET, Server, has};
use crate::support::seaweed::static_key;
use crate::transfer::{self, Transfers, cells};
use crate::{progress, redmine, scaled};

/// Each object that a proxy or the S3 server itself is sent has one of so many
/// names: to sign a URL for each takes longer than the rest.
const NAMES: usize = 256;

pub(crate) async fn ask() -> String {
    let scratch = tempfile::tempdir().unwrap();
    let mut transfers = Transfers::new(hashing_seconds(scratch.path()), 100_000_000);
    for (bytes, clients) in cells(8) {
        // Each size has an S3 server of its own: all would not fit many a disk.
        let stage = Stage::start().await;
        let endpoint = stage.seaweed.endpoint.clone();
        let kura = Server::kura_on(&endpoint, &[]);
        let nginx = Server::proxy(&endpoint);
        let mut paths = Vec::new();
        for number in 0..NAMES {
            let name = format!("put-{number}.bin");
            paths.push(stage.signed_put(&endpoint, &name).await);
        }
        let paths = &paths;
        let signed = |address: &str| -> Make<'_> {
            let address = address.to_owned();
            Box::new(move |number| {
                let put = Call::get(&address, paths[number % NAMES].clone());
                put.method(Method::PUT).body(Payload::Noise(bytes))
            })
        };
        let through = Peer {
            server: Some(&kura),
            make: Box::new(|_| post(&kura, bytes)),
        };
        let peers = transfer::peers(through, &stage, nginx.as_ref(), signed);
        for clients in clients {
            transfers.measure(&kura, &peers, bytes, clients).await;
        }
    }
    let mut answer = transfers.finish("upload", "Upload");
    let stage = Stage::start().await;
    let kura = Server::kura_on(&stage.seaweed.endpoint, &[]);
    answer += &clients(&stage, &kura).await;
    answer += &beside_redmine(&kura).await;
    answer
}

/// Under a name that nobody has used.
fn post(kura: &Server, bytes: u64) -> Call {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let name = format!("{}.bin", NEXT.fetch_add(1, Ordering::Relaxed));
    kura_post(kura, "default", &name, Payload::Noise(bytes))
}

/// The programs that people use, with the same file.
async fn clients(stage: &Stage, kura: &Server) -> String {
    progress("curl, the SDK and the AWS CLI");
    let bytes = scaled(100_000_000, 20_000_000);
    let scratch = tempfile::tempdir().unwrap();
    let file = scratch.path().join("file");
    let content = crate::support::pattern(9, bytes);
    std::fs::write(&file, &content).unwrap();
    let file = file.to_str().unwrap();
    let authorization = format!("Authorization: {}", token("default"));
    let path = stage.signed_put(&stage.seaweed.endpoint, "curl.bin").await;
    let direct = format!("{}{path}", stage.seaweed.endpoint);
    let client = Stage::client(&stage.seaweed.endpoint);
    let key = static_key();
    let mut times = [Vec::new(), Vec::new(), Vec::new(), Vec::new()];
    for number in 0..scaled(5, 1) {
        if has("curl") {
            let curl = ["-sSf", "-o", "/dev/null", "-H", "Expect:", "-T", file];
            let ours = kura.url(&format!("/v1/files/2026/11/curl-{number}.bin"));
            times[0].push(timed(Command::new("curl").args(curl).args([
                "-H",
                &authorization,
                &ours,
            ])));
            times[1].push(timed(Command::new("curl").args(curl).arg(&direct)));
        }
        let begun = Instant::now();
        let put = client.put_object().bucket(BUCKET).key(object("sdk.bin"));
        put.body(content.clone().into()).send().await.unwrap();
        times[2].push(milliseconds(begun.elapsed()));
        if has("aws") {
            let to = format!("s3://{BUCKET}/{}", object("cli.bin"));
            let mut aws = Command::new("aws");
            aws.args([
                "--endpoint-url",
                &stage.seaweed.endpoint,
                "s3",
                "cp",
                "--quiet",
                file,
                &to,
            ])
            .env("AWS_ACCESS_KEY_ID", &key.id)
            .env("AWS_SECRET_ACCESS_KEY", &key.secret)
            .env("AWS_REGION", "us-east-1");
            times[3].push(timed(&mut aws));
        }
    }
    let names = [
        "curl, to Kura",
        "curl, to S3",
        "the SDK for Rust, to S3",
        "`aws s3 cp`, to S3 (many parts at once)",
    ];
    format!("\n{}", transfer::programs(bytes as u64, names, times))
}

async fn beside_redmine(kura: &Server) -> String {
    let figures = redmine::figures();
    let mut table = redmine::table();
    for (row, bytes) in [("upload 1 MB", 1_000_000), ("upload 300 MB", 300_000_000)] {
        redmine::row(&mut table, &figures, row, kura, &|_| post(kura, bytes)).await;
    }
    format!("\n{}", table.finish())
}
