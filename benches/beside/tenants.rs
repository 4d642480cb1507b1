//! Do many tenants cost more than one, and does one of them wait longer when
//! another uploads as much as it can?

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::future::join_all;
use hyper::Method;

use crate::load::{self, Call, Payload};
use crate::peers::{Stage, kura_get, kura_post};
use crate::report::{Table, number};
use crate::server::Server;
use crate::waves::{Seen, Waves};
use crate::{progress, scaled};

/// GETs of 4 KB a second, all tenants together: an S3 server on the same
/// machine is to have time left.
const RATE: f64 = 200.0;
const BULK_CLIENTS: usize = 4;
const BULK_BYTES: u64 = 50_000_000;
const BULK: &str = "bulk";

pub(crate) async fn ask() -> String {
    let mut table = Table::new(&[
        "tenants",
        "p50 ms",
        "p99 ms",
        "CPU µs each",
        "one uploads in bulk: p50 ms",
        "p99 ms",
        "the same bulk past Kura: p50 ms",
        "p99 ms",
        "p99 through / past Kura",
    ]);
    for count in if crate::quick() {
        vec![1, 10]
    } else {
        vec![1, 100, 900]
    } {
        progress(&format!("{count} tenants"));
        let stage = Stage::start().await;
        let files = tempfile::tempdir().unwrap();
        let names: Vec<_> = (0..count).map(|number| format!("t{number:03}")).collect();
        names
            .iter()
            .map(String::as_str)
            .chain([BULK])
            .for_each(|name| describe(files.path(), name));
        let tenants = format!("dir:{}", files.path().display());
        let kura = Server::kura_on(&stage.seaweed.endpoint, &[("KURA_TENANTS", &tenants)]);
        let post =
            |number: usize| kura_post(&kura, &names[number], "small.bin", Payload::Noise(4096));
        load::run(8, count, &post).await;
        let reads: Vec<_> = names
            .iter()
            .map(|name| kura_get(&kura, name, "small.bin"))
            .collect();

        // Once each: the first request of a tenant opens its store.
        load::run(8, count, &|number| reads[number].clone()).await;
        let cpu = kura.cpu();
        let alone = roll(&reads);
        let cpu = (kura.cpu() - cpu) * 1e6 / alone.answers as f64;
        let through = |number: usize| {
            kura_post(
                &kura,
                BULK,
                &format!("{number}.bin"),
                Payload::Noise(BULK_BYTES),
            )
        };
        let hurt = while_bulk(&reads, &through).await;
        let path = stage.signed_put(&stage.seaweed.endpoint, "bulk.bin").await;
        let direct = |_: usize| {
            let put = Call::get(stage.address(), path.clone());
            put.method(Method::PUT).body(Payload::Noise(BULK_BYTES))
        };
        let reference = while_bulk(&reads, &direct).await;
        let mut cells = vec![count.to_string()];
        let both = |seen: &Seen| [50.0, 99.0].map(|percentile| number(seen.percentile(percentile)));
        cells.extend(both(&alone));
        cells.push(number(cpu));
        cells.extend(both(&hurt));
        cells.extend(both(&reference));
        cells.push(number(hurt.percentile(99.0) / reference.percentile(99.0)));
        table.row(&cells);
    }
    table.finish()
}

fn describe(files: &Path, name: &str) {
    let yaml = format!("s3: {{folder: {name}}}\n");
    fs::write(files.join(format!("{name}.yml")), yaml).unwrap();
}

fn roll(calls: &[Call]) -> Seen {
    let waves = Waves {
        calls,
        connections: 64,
        per_second: RATE,
        seconds: scaled(8, 1) as f64,
    };
    tokio::task::block_in_place(|| waves.roll())
}

/// The same while somebody uploads one file after the other.
async fn while_bulk(calls: &[Call], make: &dyn Fn(usize) -> Call) -> Seen {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let upload = async || loop {
        let call = make(NEXT.fetch_add(1, Ordering::Relaxed));
        load::run(1, 1, &|_| call.clone()).await;
    };
    let calls = calls.to_vec();
    let rolling = tokio::task::spawn_blocking(move || roll(&calls));
    tokio::select! {
        _ = join_all((0..BULK_CLIENTS).map(|_| upload())) => unreachable!("uploads go on and on"),
        seen = rolling => seen.unwrap(),
    }
}
