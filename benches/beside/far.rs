//! Does it help that Kura reads and writes large files over many connections,
//! where S3 is far and each connection is slow?

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use hyper::Method;

use crate::load::{self, Call, Payload};
use crate::peers::{Stage, kura_get, kura_post};
use crate::plot::{Axis, Plot, Series};
use crate::report::{Goal, Table, goal, number, size};
use crate::rounds::{Peer, Work, by_turns, median_of, ratio_of};
use crate::server::Server;
use crate::shaper::{Line, Shaper};
use crate::{progress, scaled};

const LINE: Line = Line {
    round_trip: Duration::from_millis(15),
    bytes_per_second: 20e6,
};
/// Of one connection's rate, for what has many parts.
const PARTS_GOAL: Goal = Goal::AtLeast(4.0);
/// The same for what has one or two.
const SMALL_GOAL: Goal = Goal::AtLeast(0.95);
/// Parts of one file at once: the default, and twice as many.
const PARALLEL: [&str; 2] = ["6", "12"];

pub(crate) async fn ask() -> String {
    let stage = Stage::start().await;
    let shaper = Shaper::start(stage.address(), LINE).await;
    let servers = PARALLEL
        .map(|parallel| Server::kura_on(&shaper.endpoint, &[("KURA_PARALLEL_PARTS", parallel)]));
    let mut table = Table::new(&[
        "",
        "file",
        "one connection MB/s",
        "Kura MB/s",
        "of one connection",
        "with 12 parts at once MB/s",
        "of one connection",
    ]);
    let mut curves = [
        "download, one connection",
        "download, Kura",
        "upload, one connection",
        "upload, Kura",
    ]
    .map(Series::new);
    for bytes in scaled_sizes() {
        for (upload, what) in [(false, "download"), (true, "upload")] {
            progress(&format!("{what} of {}", size(bytes)));
            let name = format!("{bytes}.bin");
            let put = kura_post(&servers[0], "default", &name, Payload::Noise(bytes));
            if !upload {
                load::run(1, 1, &|_| put.clone()).await;
            }
            let path = if upload {
                stage.signed_put(&shaper.endpoint, "put.bin").await
            } else {
                stage.signed_get(&shaper.endpoint, &name).await
            };
            let address = shaper.endpoint.trim_start_matches("http://");
            let one = Call::get(address, path);
            let one = if upload {
                one.method(Method::PUT).body(Payload::Noise(bytes))
            } else {
                one
            };
            let mut peers = vec![Peer {
                server: None,
                make: Box::new(move |_| one.clone()),
            }];
            peers.extend(servers.iter().map(|server| through(server, bytes, upload)));
            let work = Work {
                clients: 1,
                calls: scaled(if bytes < 10_000_000 { 10 } else { 1 }, 1),
                bytes,
            };
            let turns = by_turns(&peers, scaled(3, 1), work).await;
            let rate = |peer: usize| median_of(&turns[peer], |turn| turn.rate);
            let ratio = |peer: usize| ratio_of(&turns[peer], &turns[0], |turn| turn.rate);
            let many_parts = bytes >= 100_000_000;
            let aim = if many_parts { PARTS_GOAL } else { SMALL_GOAL };
            for peer in 0..2 {
                curves[usize::from(upload) * 2 + peer].push(bytes as f64, rate(peer));
            }
            table.row(&[
                what.to_owned(),
                size(bytes),
                number(rate(0)),
                number(rate(1)),
                goal(ratio(1), aim),
                number(rate(2)),
                goal(ratio(2), aim),
            ]);
        }
    }
    let plot = Plot {
        title: "15 ms from S3, 20 MB/s for each connection".to_owned(),
        x: Axis::log("file").sizes(),
        y: Axis::linear("MB/s"),
        series: curves.into(),
    };
    format!("{}\n{}", plot.write("far"), table.finish())
}

fn scaled_sizes() -> Vec<u64> {
    if crate::quick() {
        return vec![20_000_000];
    }
    vec![4096, 1_000_000, 10_000_000, 100_000_000]
}

fn through(server: &Server, bytes: u64, upload: bool) -> Peer<'_> {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let make = move |_: usize| {
        if upload {
            let name = format!("up-{}.bin", NEXT.fetch_add(1, Ordering::Relaxed));
            kura_post(server, "default", &name, Payload::Noise(bytes))
        } else {
            kura_get(server, "default", &format!("{bytes}.bin"))
        }
    };
    Peer {
        server: Some(server),
        make: Box::new(make),
    }
}
