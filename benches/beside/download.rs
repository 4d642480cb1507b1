//! What does a download cost through Kura: beside the S3 server itself, nginx
//! before it, other clients, and Redmine with its own disk?

use std::process::Command;
use std::time::Instant;

use crate::load::{self, Call, Payload, milliseconds};
use crate::peers::{Stage, hashing_seconds, kura_get, kura_post, object, timed, token};
use crate::rounds::{Make, Peer};
use crate::server::{BUCKET, Server, has};
use crate::transfer::{self, Transfers, cells};
use crate::{progress, redmine, scaled};

pub(crate) async fn ask() -> String {
    let scratch = tempfile::tempdir().unwrap();
    let mut transfers = Transfers::new(hashing_seconds(scratch.path()), 300_000_000);
    let stage = Stage::start().await;
    let endpoint = stage.seaweed.endpoint.clone();
    let kura = Server::kura_on(&endpoint, &[]);
    let nginx = Server::proxy(&endpoint);
    for (bytes, clients) in cells(64) {
        let name = format!("{bytes}.bin");
        let upload = kura_post(&kura, "default", &name, Payload::Noise(bytes));
        load::run(1, 1, &|_| upload.clone()).await;
        let path = stage.signed_get(&endpoint, &name).await;
        let signed = |address: &str| -> Make<'_> {
            let call = Call::get(address, path.clone());
            Box::new(move |_| call.clone())
        };
        let through = kura_get(&kura, "default", &name);
        let through = Peer {
            server: Some(&kura),
            make: Box::new(move |_| through.clone()),
        };
        let peers = transfer::peers(through, &stage, nginx.as_ref(), signed);
        for clients in clients {
            transfers.measure(&kura, &peers, bytes, clients).await;
        }
    }
    let mut answer = transfers.finish("download", "Download");
    answer += &clients(&stage, &kura).await;
    answer += &beside_redmine(&kura).await;
    answer
}

/// The programs that people use, on the same file.
async fn clients(stage: &Stage, kura: &Server) -> String {
    let bytes = scaled(100_000_000, 20_000_000) as u64;
    let name = format!("{bytes}.bin");
    progress("curl and the SDK");
    let path = stage.signed_get(&stage.seaweed.endpoint, &name).await;
    let direct = format!("{}{path}", stage.seaweed.endpoint);
    let ours = kura.url(&format!("/v1/files/2026/11/{name}"));
    let authorization = format!("Authorization: {}", token("default"));
    let client = Stage::client(&stage.seaweed.endpoint);
    let mut times = [Vec::new(), Vec::new(), Vec::new()];
    for _ in 0..scaled(5, 1) {
        if has("curl") {
            let curl = ["-sSf", "-o", "/dev/null"];
            times[0].push(timed(Command::new("curl").args(curl).args([
                "-H",
                &authorization,
                &ours,
            ])));
            times[1].push(timed(Command::new("curl").args(curl).arg(&direct)));
        }
        let begun = Instant::now();
        let get = client.get_object().bucket(BUCKET).key(object(&name));
        let mut body = get.send().await.unwrap().body;
        while let Some(bytes) = body.next().await {
            bytes.unwrap();
        }
        times[2].push(milliseconds(begun.elapsed()));
    }
    let names = [
        "curl, from Kura",
        "curl, from S3",
        "the SDK for Rust, from S3",
    ];
    format!("\n{}", transfer::programs(bytes, names, times))
}

/// CPU time of Ruby for what Kura takes over from it.
async fn beside_redmine(kura: &Server) -> String {
    let figures = redmine::figures();
    let mut table = redmine::table();
    for (row, bytes) in [
        ("download 1 MB", 1_000_000),
        ("download 300 MB", 300_000_000),
    ] {
        let name = format!("{bytes}-redmine.bin");
        let upload = kura_post(kura, "default", &name, Payload::Noise(bytes));
        load::run(1, 1, &|_| upload.clone()).await;
        let get = kura_get(kura, "default", &name);
        redmine::row(&mut table, &figures, row, kura, &|_| get.clone()).await;
    }
    format!("\n{}", table.finish())
}
