//! Does an operation cost more when there is more of everything: objects in
//! the store, connections to the server?

use std::sync::atomic::{AtomicUsize, Ordering};

use hyper::Method;

use crate::load::{self, Call, Payload};
use crate::peers::{Stage, kura_get, kura_post, token};
use crate::plot::{Axis, Plot, Series};
use crate::report::{Table, number};
use crate::server::Server;
use crate::storm::Level;
use crate::{progress, scaled};

const CLIENTS: usize = 8;
/// Requests a second, by however many connections.
const RATE: f64 = 4000.0;
const OPERATIONS: [&str; 4] = ["GET 4 KB", "HEAD", "page of 100", "upload 4 KB"];

pub(crate) async fn ask() -> String {
    let mut answer = String::new();
    let near = Server::kura(&[]);
    answer += &objects(
        &near,
        "Directory store",
        "growth-directory",
        scaled(100_000, 1000),
    )
    .await;
    answer += &connections(&near).await;
    drop(near);
    let stage = Stage::start().await;
    let far = Server::kura_on(&stage.seaweed.endpoint, &[]);
    answer += &objects(&far, "SeaweedFS", "growth-s3", scaled(10_000, 100)).await;
    answer
}

async fn objects(kura: &Server, what: &str, plot: &str, most: usize) -> String {
    let mut table = Table::new(&[
        "objects",
        "GET 4 KB: CPU µs",
        "S3 requests",
        "HEAD: CPU µs",
        "S3 requests",
        "page of 100: CPU µs",
        "S3 requests",
        "upload 4 KB: CPU µs",
        "S3 requests",
    ]);
    let mut curves = OPERATIONS.map(Series::new);
    let mut there = 0;
    let mut count = 10;
    while count <= most {
        progress(&format!("{what}, {count} objects"));
        let missing = count - there;
        load::run(CLIENTS, missing, &|number| small(kura, there + number)).await;
        there = count;
        let mut cells = vec![count.to_string()];
        for (operation, curve) in OPERATIONS.iter().zip(&mut curves) {
            let [cpu, requests] = cost(kura, operation, count).await;
            curve.push(count as f64, cpu);
            cells.extend([number(cpu), number(requests)]);
        }
        table.row(&cells);
        count *= 10;
    }
    let plot = Plot {
        title: format!("{what}: CPU time of an operation"),
        x: Axis::log("objects"),
        y: Axis::log("µs"),
        series: curves.into(),
    }
    .write(plot);
    format!("**{what}**\n\n{plot}\n{}\n", table.finish())
}

/// The file of this number: a thousand in a month, as Redmine would have them.
fn small(kura: &Server, number: usize) -> Call {
    let path = format!("/v1/files?directory={}&name=f{number}.bin", month(number));
    Call::get(&kura.address, path)
        .method(Method::POST)
        .header("authorization", token("default"))
        .body(Payload::Noise(4096))
}

fn month(number: usize) -> String {
    let month = number / 1000;
    format!("{}/{:02}", 2017 + month / 12, month % 12 + 1)
}

/// CPU microseconds and S3 requests of one operation among so many objects.
async fn cost(kura: &Server, operation: &str, objects: usize) -> [f64; 2] {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let calls = match operation {
        "page of 100" => scaled(1000, 20),
        _ => scaled(3000, 50),
    };
    let make = |number: usize| {
        // Over all of them, and by no order that a disk would like.
        let one = number * 7919 % objects;
        let get = Call::get(
            &kura.address,
            format!("/v1/files/{}/f{one}.bin", month(one)),
        );
        let get = get.header("authorization", token("default"));
        match operation {
            "GET 4 KB" => get,
            "HEAD" => get.method(Method::HEAD),
            "page of 100" => Call {
                path: "/v1/files?limit=100&digests=false".to_owned(),
                ..get
            },
            _ => {
                let name = format!("new-{}.bin", NEXT.fetch_add(1, Ordering::Relaxed));
                kura_post(kura, "default", &name, Payload::Noise(4096))
            }
        }
    };
    let [cpu, requests] = [kura.cpu(), kura.s3_requests().await];
    load::run(CLIENTS, calls, &make).await;
    let cpu = (kura.cpu() - cpu) * 1e6;
    let requests = kura.s3_requests().await - requests;
    [cpu, requests].map(|value| value / calls as f64)
}

async fn connections(kura: &Server) -> String {
    let file = kura_post(kura, "default", "connections.bin", Payload::Noise(4096));
    load::run(1, 1, &|_| file.clone()).await;
    let get = kura_get(kura, "default", "connections.bin");
    let mut table = Table::new(&[
        "connections",
        "GET 4 KB: CPU µs",
        "p50 ms",
        "p99 ms",
        "memory",
    ]);
    for count in if crate::quick() {
        vec![1, 100]
    } else {
        vec![1, 10, 100, 1000]
    } {
        progress(&format!("{count} connections"));
        let level = Level::measure(
            kura,
            std::slice::from_ref(&get),
            count,
            if crate::quick() { 1000.0 } else { RATE },
        );
        table.row(&[
            count.to_string(),
            number(level.cpu),
            number(level.seen.percentile(50.0)),
            number(level.seen.percentile(99.0)),
            format!(
                "{} MiB",
                number(kura.memory("VmRSS") as f64 / f64::from(1 << 20))
            ),
        ]);
    }
    let rate = number(RATE);
    format!(
        "**Connections** ({rate} requests a second over all of them by turns)\n\n{}\n",
        table.finish()
    )
}
