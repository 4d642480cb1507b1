//! Does memory stay within its bounds when many upload at once and many others
//! read slowly? And how much does Kura take before anybody asks for anything?

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use http_body_util::BodyExt;

use crate::load::{self, Call, Payload};
use crate::peers::{Stage, kura_get, kura_post};
use crate::report::{Table, number};
use crate::rounds::median;
use crate::server::Server;
use crate::{progress, scaled};

const CLIENTS: usize = 64;
const BUDGET: u64 = 256 << 20;
/// What a connection may take besides: hyper's buffers in both directions,
/// towards the client and towards S3, and what the allocator keeps.
const CONNECTION_BYTES: u64 = 1 << 20;
/// Bytes a second that a slow reader takes.
const SLOW: f64 = 500_000.0;

pub(crate) async fn ask() -> String {
    let mut table = Table::new(&["", "", ""]);
    let [seconds, idle] = start();
    let row =
        |what: &str, value: String, verdict: &str| [what.to_owned(), value, verdict.to_owned()];
    table.row(&row(
        "start to first answer",
        format!("{} ms", number(seconds * 1000.0)),
        "",
    ));
    table.row(&row("memory when idle", mib(idle as u64), ""));

    let bytes = scaled(100_000_000, 10_000_000) as u64;
    progress(&format!("{CLIENTS} uploads and {CLIENTS} slow readers"));
    let stage = Stage::start().await;
    let settings = [
        ("KURA_MEMORY_BYTES", "268435456"),
        ("KURA_WAIT_SECONDS", "600"),
    ];
    let kura = Server::kura_on(&stage.seaweed.endpoint, &settings);
    let idle = kura.memory("VmRSS");
    let read = kura_post(&kura, "default", "read.bin", Payload::Noise(bytes));
    load::run(1, 1, &|_| read.clone()).await;
    let get = kura_get(&kura, "default", "read.bin");
    let up = |number: usize| {
        kura_post(
            &kura,
            "default",
            &format!("up-{number}.bin"),
            Payload::Noise(bytes),
        )
    };
    let readers = join_all((0..CLIENTS).map(|_| read_slowly(&get)));
    let begun = Instant::now();
    tokio::select! {
        _ = load::run(CLIENTS, CLIENTS, &up) => {}
        // One after the other reads on until the uploads are done.
        _ = readers => unreachable!("a reader reads again and again"),
    }
    let seconds = begun.elapsed().as_secs_f64();
    let peak = kura.memory("VmHWM");
    let buffers = kura.metric("kura_buffer_peak_bytes").await as u64;
    let bound = idle + BUDGET + 2 * CLIENTS as u64 * CONNECTION_BYTES;
    let verdict = |within: bool| if within { "within" } else { "**exceeded**" };
    table.row(&row(
        &format!(
            "{CLIENTS} × {} up, {CLIENTS} reading at {} KB/s",
            crate::report::size(bytes),
            number(SLOW / 1e3)
        ),
        format!("{} s", number(seconds)),
        "",
    ));
    table.row(&row(
        "part buffers at most, of KURA_MEMORY_BYTES",
        format!("{} of {}", mib(buffers), mib(BUDGET)),
        verdict(buffers <= BUDGET),
    ));
    table.row(&row(
        "all memory at most, of idle + buffers + 1 MiB a connection",
        format!("{} of {}", mib(peak), mib(bound)),
        verdict(peak <= bound),
    ));
    let besides = peak.saturating_sub(idle + buffers) / (2 * CLIENTS as u64);
    table.row(&row(
        "that is, besides the buffers, for each connection",
        format!("{} KiB", besides >> 10),
        "",
    ));
    table.finish()
}

/// Seconds from the start of the process to its first answer, and the memory
/// that it has then: medians.
fn start() -> [f64; 2] {
    let [mut times, mut idle] = [Vec::new(), Vec::new()];
    for _ in 0..scaled(10, 2) {
        let begun = Instant::now();
        let kura = Server::kura(&[]);
        times.push(begun.elapsed().as_secs_f64());
        idle.push(kura.memory("VmRSS") as f64);
    }
    [times, idle].map(|values| median(values.into_iter()))
}

async fn read_slowly(call: &Call) {
    loop {
        let mut connection = load::connect(&call.address).await;
        let response = connection.send_request(call.request()).await.unwrap();
        assert_eq!(response.status(), 200);
        let mut body = response.into_body();
        let begun = Instant::now();
        let mut taken = 0.0;
        while let Some(frame) = body.frame().await {
            taken += frame
                .unwrap()
                .data_ref()
                .map_or(0.0, |data| data.len() as f64);
            let due = Duration::from_secs_f64(taken / SLOW);
            tokio::time::sleep(due.saturating_sub(begun.elapsed())).await;
        }
    }
}

fn mib(bytes: u64) -> String {
    format!("{} MiB", number(bytes as f64 / f64::from(1 << 20)))
}
