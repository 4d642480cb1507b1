//! The table that downloads and uploads have in common: Kura, the S3 server
//! itself and a plain proxy before it, over sizes and clients.

use crate::peers::Stage;
use crate::plot::{Axis, Plot, Series};
use crate::report::{Goal, Table, goal, number, or_not_run, size};
use crate::rounds::{Make, Peer, Turn, Work, by_turns, median, median_of, ratio_of, warm_up_calls};
use crate::server::Server;
use crate::{progress, scaled};

const ROUNDS: usize = 3;
/// Of direct S3's, at one client.
const RATE_GOAL: Goal = Goal::AtLeast(0.95);
/// Of nginx' and of hashing together.
const CPU_GOAL: Goal = Goal::AtMost(1.0);

/// The table and the curves that go with it.
pub(crate) struct Transfers {
    table: Table,
    curves: [Series; 3],
    hashing_seconds: Option<f64>,
    /// In a round about so many bytes are moved.
    round_bytes: u64,
}

/// Sizes and clients.
pub(crate) fn cells(most_clients_of_large: usize) -> Vec<(u64, Vec<usize>)> {
    let large = [1, 8, 64].into_iter();
    let large = large.filter(|clients| *clients <= most_clients_of_large);
    let all = vec![
        (4096, vec![1, 8, 64]),
        (1_000_000, vec![1, 8, 64]),
        (100_000_000, large.collect()),
        (1_000_000_000, vec![1]),
    ];
    if crate::quick() {
        return vec![
            (4096, vec![1, 8]),
            (1_000_000, vec![1]),
            (20_000_000, vec![1]),
        ];
    }
    all
}

/// Kura, the S3 server itself and, where there is one, nginx before it;
/// `signed` makes the calls of those that are not Kura, by address.
pub(crate) fn peers<'a>(
    kura: Peer<'a>,
    stage: &Stage,
    nginx: Option<&'a Server>,
    signed: impl Fn(&str) -> Make<'a>,
) -> Vec<Peer<'a>> {
    let direct = Peer {
        server: None,
        make: signed(stage.address()),
    };
    let proxied = nginx.map(|nginx| Peer {
        server: Some(nginx),
        make: signed(&nginx.address),
    });
    [Some(kura), Some(direct), proxied]
        .into_iter()
        .flatten()
        .collect()
}

/// Other programs' rates: the median of their times, in milliseconds.
pub(crate) fn programs<const N: usize>(
    bytes: u64,
    names: [&str; N],
    times: [Vec<f64>; N],
) -> String {
    let mut table = Table::new(&[&format!("{} by", size(bytes)), "MB/s"]);
    for (name, times) in names.into_iter().zip(times) {
        let time = (!times.is_empty()).then(|| median(times.into_iter()));
        let rate = time.map(|time| bytes as f64 / time / 1e3);
        table.row(&[name.to_owned(), or_not_run(rate)]);
    }
    table.finish()
}

impl Transfers {
    pub(crate) fn new(hashing_seconds: Option<f64>, round_bytes: u64) -> Self {
        Self {
            table: Table::new(&[
                "file",
                "clients",
                "Kura MB/s",
                "S3 direct",
                "nginx",
                "Kura / direct",
                "first byte ms: Kura",
                "direct",
                "nginx",
                "CPU ms a file: Kura",
                "nginx",
                "Kura / (nginx + hashing)",
                "S3 requests a file",
            ]),
            curves: ["Kura", "S3 direct", "nginx"].map(Series::new),
            hashing_seconds,
            round_bytes,
        }
    }

    /// A row. The peers: Kura, the S3 server, and nginx if there is one.
    pub(crate) async fn measure(
        &mut self,
        kura: &Server,
        peers: &[Peer<'_>],
        bytes: u64,
        clients: usize,
    ) {
        progress(&format!("{} × {clients}", size(bytes)));
        // So many that CPU time, counted in hundredths of a second, can be told.
        let most = scaled(if clients == 1 { 2000 } else { 5000 }, 100);
        let calls =
            (self.round_bytes / bytes).clamp(clients as u64, most.max(clients) as u64) as usize;
        let work = Work {
            clients,
            calls,
            bytes,
        };
        let requests = kura.s3_requests().await;
        let turns = by_turns(peers, scaled(ROUNDS, 1), work).await;
        let made = scaled(ROUNDS, 1) * calls + warm_up_calls(work);
        let requests = (kura.s3_requests().await - requests) / made as f64;
        if clients == 1 {
            for (curve, turns) in self.curves.iter_mut().zip(&turns) {
                curve.push(bytes as f64, median_of(turns, |turn| turn.rate));
            }
        }
        self.row(&turns, work, requests);
    }

    fn row(&mut self, turns: &[Vec<Turn>], work: Work, requests: f64) {
        let [kura, direct] = [&turns[0], &turns[1]];
        let nginx = turns.get(2);
        let ratio = ratio_of(kura, direct, |turn| turn.rate);
        let of_nginx = |figure: fn(&Turn) -> f64| or_not_run(nginx.map(|it| median_of(it, figure)));
        let hashing = self
            .hashing_seconds
            .map(|seconds| seconds * work.bytes as f64 / 1e6);
        let cpu = nginx.zip(hashing).map(|(nginx, hashing)| {
            median_of(kura, |turn| turn.cpu) / (median_of(nginx, |turn| turn.cpu) + hashing)
        });
        self.table.row(&[
            size(work.bytes),
            work.clients.to_string(),
            number(median_of(kura, |turn| turn.rate)),
            number(median_of(direct, |turn| turn.rate)),
            of_nginx(|turn| turn.rate),
            if work.clients == 1 {
                goal(ratio, RATE_GOAL)
            } else {
                number(ratio)
            },
            number(median_of(kura, |turn| turn.first_byte)),
            number(median_of(direct, |turn| turn.first_byte)),
            of_nginx(|turn| turn.first_byte),
            number(median_of(kura, |turn| turn.cpu)),
            of_nginx(|turn| turn.cpu),
            cpu.map_or_else(|| "not run".to_owned(), |ratio| goal(ratio, CPU_GOAL)),
            number(requests),
        ]);
    }

    /// The table; the plot goes to its file.
    pub(crate) fn finish(self, name: &str, what: &str) -> String {
        let plot = Plot {
            title: format!("{what}, one client"),
            x: Axis::log("file").sizes(),
            y: Axis::log("MB/s"),
            series: self.curves.into(),
        };
        let hashing = self.hashing_seconds.map_or_else(
            || "hashing: not run, needs openssl".to_owned(),
            |seconds| {
                format!(
                    "Hashing (SHA-256, `openssl dgst`) takes {} CPU s a GB",
                    number(seconds)
                )
            },
        );
        format!(
            "{}\n{}\n{hashing}.\n",
            plot.write(name),
            self.table.finish()
        )
    }
}
