//! What does it cost to move bytes through Kura: time, CPU, peak memory and S3
//! requests, measured from outside on a release build.
//!
//! `make bench` prints a Markdown table. The times are of this machine; memory
//! and requests are not.

#![allow(
    clippy::unwrap_used,
    missing_docs,
    reason = "a program that measures may stop"
)]

#[allow(dead_code, unreachable_pub, clippy::expect_used)]
#[path = "../tests/it/support/mod.rs"]
mod support;

use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::future::join_all;
use futures_util::{StreamExt, stream};
use kura::digest::{Digest, Hasher};
use serde_json::Value;

use support::pattern;
use support::process::Process;
use support::seaweed::Seaweed;

const MIB: u64 = 1 << 20;
const CHUNK_BYTES: usize = 1 << 20;

#[tokio::main]
async fn main() {
    let seaweed = Seaweed::shared();
    seaweed.bucket("bench").await;
    println!("| what | seconds | CPU seconds | peak memory over idle | S3 requests |");
    println!("|---|---|---|---|---|");
    start().await;
    let root = tempfile::tempdir().unwrap();
    one_large_file("directory", || {
        Process::directory(root.path().to_str().unwrap(), &[])
    })
    .await;
    one_large_file("SeaweedFS", || Process::s3(&seaweed.endpoint, "bench", &[])).await;
    many_uploads(&seaweed.endpoint).await;
}

/// From the start of the process to its first answer, the median of ten; and
/// the memory that it has then.
async fn start() {
    let mut times = Vec::new();
    let mut idle_bytes = 0;
    for _ in 0..10 {
        let root = tempfile::tempdir().unwrap();
        let begun = Instant::now();
        let process = Process::directory(root.path().to_str().unwrap(), &[]);
        let healthz = format!("{}/healthz", process.url);
        assert_eq!(
            process.client.get(healthz).send().await.unwrap().status(),
            200
        );
        times.push(begun.elapsed());
        idle_bytes = process.memory_bytes("VmRSS");
    }
    times.sort_unstable();
    let seconds = times[times.len() / 2].as_secs_f64();
    println!(
        "| start to first answer | {seconds:.3} | – | {:.1} MiB when idle | – |",
        mib(idle_bytes)
    );
}

/// 1 GiB up and down; the bytes are compared by their SHA-256.
async fn one_large_file(store: &str, start: impl Fn() -> Process) {
    const CHUNKS: u64 = 1024;
    for declared in [false, true] {
        let process = start();
        let mut hasher = Hasher::default();
        (0..CHUNKS).for_each(|n| hasher.update(&pattern(n, CHUNK_BYTES)));
        let digest = hasher.finish();
        let what = if declared { ", digest declared" } else { "" };

        let measured = Measured::begin(&process).await;
        let body = reqwest::Body::wrap_stream(chunks(CHUNKS));
        let mut upload = process
            .upload("261122194501_large.bin", body)
            .header("x-kura-size", CHUNKS * MIB);
        if declared {
            upload = upload.header("x-kura-digest", digest.to_string());
        }
        let reply: Value = upload.send().await.unwrap().json().await.unwrap();
        assert_eq!(reply["digest"], digest.to_string());
        measured.end(&format!("1 GiB up, {store}{what}")).await;

        let measured = Measured::begin(&process).await;
        let key = reply["key"].as_str().unwrap();
        assert_eq!(read_digest(&process, key).await, digest);
        measured.end(&format!("1 GiB down, {store}{what}")).await;
    }
}

/// 64 uploads of 100 MB at once, within 256 MiB of buffers.
async fn many_uploads(endpoint: &str) {
    const CHUNKS: u64 = 100;
    let settings = [
        ("KURA_MEMORY_BYTES", "268435456"),
        ("KURA_WAIT_SECONDS", "120"),
    ];
    let process = Process::s3(endpoint, "bench", &settings);
    let measured = Measured::begin(&process).await;
    let uploads = (0..64).map(|n| {
        let body = reqwest::Body::wrap_stream(chunks(CHUNKS));
        let name = format!("2611221945{n:02}_many.bin");
        process
            .upload(&name, body)
            .header("x-kura-size", CHUNKS * MIB)
            .send()
    });
    for reply in join_all(uploads).await {
        assert_eq!(reply.unwrap().status(), 201);
    }
    let peak = metric(&process, "kura_buffer_peak_bytes").await;
    assert!(peak <= 256 << 20);
    let what = format!(
        "64 × 100 MiB up at once, SeaweedFS (buffers: {:.0} of 256 MiB)",
        mib(peak)
    );
    measured.end(&what).await;
}

fn chunks(count: u64) -> impl futures_util::Stream<Item = Result<Bytes, std::io::Error>> + Send {
    stream::iter(0..count).map(|n| Ok(pattern(n, CHUNK_BYTES)))
}

async fn read_digest(process: &Process, key: &str) -> Digest {
    let mut body = process.download(key).send().await.unwrap().bytes_stream();
    let mut hasher = Hasher::default();
    while let Some(bytes) = body.next().await {
        hasher.update(&bytes.unwrap());
    }
    hasher.finish()
}

/// A process before something is done with it.
struct Measured<'a> {
    process: &'a Process,
    begun: Instant,
    cpu: Duration,
    idle_bytes: u64,
    s3_requests: u64,
}

impl<'a> Measured<'a> {
    async fn begin(process: &'a Process) -> Self {
        Self {
            process,
            s3_requests: metric(process, "kura_s3_requests_total").await,
            idle_bytes: process.memory_bytes("VmRSS"),
            cpu: cpu_time(process),
            begun: Instant::now(),
        }
    }

    async fn end(self, what: &str) {
        let seconds = self.begun.elapsed().as_secs_f64();
        let cpu = cpu_time(self.process)
            .saturating_sub(self.cpu)
            .as_secs_f64();
        let over_idle = self
            .process
            .memory_bytes("VmHWM")
            .saturating_sub(self.idle_bytes);
        let requests = metric(self.process, "kura_s3_requests_total").await - self.s3_requests;
        println!(
            "| {what} | {seconds:.1} | {cpu:.1} | {:.1} MiB | {requests} |",
            mib(over_idle)
        );
    }
}

/// A metric's value, over all its labels.
async fn metric(process: &Process, name: &str) -> u64 {
    let url = format!("{}/metrics", process.url);
    let text = process
        .client
        .get(url)
        .send()
        .await
        .unwrap()
        .text()
        .await
        .unwrap();
    let lines = text.lines().filter(|line| line.starts_with(name));
    let values = lines.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok());
    values.sum()
}

/// The CPU time that the process has used, in user and system mode.
fn cpu_time(process: &Process) -> Duration {
    const TICKS_A_SECOND: f64 = 100.0;
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", process.pid())).unwrap();
    let (_, rest) = stat.rsplit_once(") ").unwrap();
    let fields: Vec<&str> = rest.split(' ').collect();
    let ticks = |index: usize| fields[index].parse::<f64>().unwrap();
    Duration::from_secs_f64((ticks(11) + ticks(12)) / TICKS_A_SECOND)
}

#[allow(clippy::cast_precision_loss, reason = "shown with one digit")]
fn mib(bytes: u64) -> f64 {
    bytes as f64 / MIB as f64
}
