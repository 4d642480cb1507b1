//! How many small requests does Kura answer before it falls behind, how late,
//! and at what cost? nginx hands out the same bytes from a file.

use std::path::Path;

use crate::load::{self, Call, Payload};
use crate::peers::{kura_get, kura_post};
use crate::plot::{Axis, Plot, Series};
use crate::report::{Goal, Table, goal, number};
use crate::server::Server;
use crate::thumbnails::Warm;
use crate::waves::{Seen, Waves};
use crate::{progress, scaled};

/// Connections that a proxy before Kura might keep.
const CONNECTIONS: usize = 64;
/// A server that is so late has fallen behind.
const TOO_LATE_MILLISECONDS: f64 = 100.0;
/// Of nginx' requests a CPU second.
const GOAL: Goal = Goal::AtLeast(0.8);

const RATES: [f64; 12] = [
    1e3, 2e3, 4e3, 8e3, 12e3, 16e3, 24e3, 32e3, 48e3, 64e3, 96e3, 128e3,
];

/// One rate at one server.
pub(crate) struct Level {
    offered: f64,
    pub(crate) seen: Seen,
    /// CPU microseconds of the server for an answer.
    pub(crate) cpu: f64,
}

impl Level {
    pub(crate) fn measure(
        server: &Server,
        calls: &[Call],
        connections: usize,
        per_second: f64,
    ) -> Self {
        let cpu = server.cpu();
        let waves = Waves {
            calls,
            connections,
            per_second,
            seconds: scaled(2000, 300) as f64 / 1000.0,
        };
        let seen = tokio::task::block_in_place(|| waves.roll());
        let cpu = (server.cpu() - cpu) * 1e6;
        let cpu = cpu / seen.answers.max(1) as f64;
        Self {
            offered: per_second,
            seen,
            cpu,
        }
    }

    fn keeps_up(&self) -> bool {
        self.seen.per_second >= 0.97 * self.offered
            && self.seen.percentile(99.0) < TOO_LATE_MILLISECONDS
    }
}

pub(crate) async fn ask() -> String {
    let mut answer = String::new();
    let kura = Server::kura(&[]);
    let file = kura_post(&kura, "default", "small.bin", Payload::Noise(4096));
    load::run(1, 1, &|_| file.clone()).await;
    let bytes = crate::support::pattern(1, 4096);
    let get = kura_get(&kura, "default", "small.bin");
    answer += &compare("GET of 4 KB", "storm-files", None, &kura, &[get], &bytes);

    let warm = Warm::on(&kura).await;
    answer += &compare(
        "Warm thumbnail",
        "storm-thumbnails",
        Some(GOAL),
        &kura,
        &warm.calls,
        &warm.bytes,
    );
    answer
}

fn compare(
    what: &str,
    name: &str,
    aim: Option<Goal>,
    kura: &Server,
    calls: &[Call],
    bytes: &[u8],
) -> String {
    let root = tempfile::tempdir().unwrap();
    let nginx = Server::files(root.path());
    progress(&format!("{what}, Kura"));
    let ours = rise(kura, calls);
    let theirs = nginx.map(|nginx| {
        progress(&format!("{what}, nginx"));
        let calls = copies(&nginx, root.path(), bytes, calls.len());
        rise(&nginx, &calls)
    });
    show(what, name, aim, bytes.len(), &ours, theirs.as_deref())
}

/// So many files of the same bytes, to be read from a server of files.
pub(crate) fn copies(server: &Server, root: &Path, bytes: &[u8], count: usize) -> Vec<Call> {
    let copy = |number| {
        let name = format!("file-{number}");
        std::fs::write(root.join(&name), bytes).unwrap();
        Call::get(&server.address, format!("/{name}"))
    };
    (0..count).map(copy).collect()
}

/// Up to the first rate that it does not keep up with.
fn rise(server: &Server, calls: &[Call]) -> Vec<Level> {
    let mut levels: Vec<Level> = Vec::new();
    for rate in RATES.iter().take(scaled(RATES.len(), 4)) {
        let mut level = Level::measure(server, calls, CONNECTIONS, *rate);
        if !level.keeps_up() {
            // Something else may have held the machine up.
            level = Level::measure(server, calls, CONNECTIONS, *rate);
        }
        let kept_up = level.keeps_up();
        levels.push(level);
        if !kept_up {
            break;
        }
    }
    levels
}

fn show(
    what: &str,
    name: &str,
    aim: Option<Goal>,
    bytes: usize,
    ours: &[Level],
    theirs: Option<&[Level]>,
) -> String {
    let mut table = Table::new(&[
        "requests/s offered",
        "Kura: answered/s",
        "p50 ms",
        "p99",
        "p99.9",
        "CPU µs each",
        "nginx: answered/s",
        "p50 ms",
        "p99",
        "p99.9",
        "CPU µs each",
        "requests a CPU second, Kura / nginx",
    ]);
    let mut curves = ["Kura", "nginx"].map(Series::new);
    let rows = ours.len().max(theirs.map_or(0, <[Level]>::len));
    for (index, rate) in RATES.iter().enumerate().take(rows) {
        let both = [ours.get(index), theirs.and_then(|theirs| theirs.get(index))];
        let mut cells = vec![number(*rate)];
        for (level, curve) in both.iter().zip(&mut curves) {
            if let Some(level) = level {
                curve.push(level.offered, level.seen.percentile(99.0));
            }
            cells.extend(cells_of(*level, theirs.is_none()));
        }
        cells.push(match both {
            [Some(ours), Some(theirs)] => {
                let ratio = theirs.cpu / ours.cpu;
                aim.map_or_else(|| number(ratio), |aim| goal(ratio, aim))
            }
            _ => "–".to_owned(),
        });
        table.row(&cells);
    }
    let plot = Plot {
        title: format!("{what}: 1 in 100 waits longer"),
        x: Axis::log("requests a second"),
        y: Axis::log("ms"),
        series: curves.into(),
    };
    let kept = |levels: &[Level]| {
        let kept = levels
            .iter()
            .filter(|level| level.keeps_up())
            .map(|level| level.offered);
        number(kept.fold(0.0, f64::max))
    };
    let kept_up = format!(
        "Kept up with: Kura {}, nginx {} requests a second.",
        kept(ours),
        theirs.map_or_else(|| "not run: needs nginx".to_owned(), kept)
    );
    format!(
        "**{what}** ({bytes} bytes, {CONNECTIONS} connections)\n\n{}\n{}\n{kept_up}\n\n",
        plot.write(name),
        table.finish()
    )
}

fn cells_of(level: Option<&Level>, not_run: bool) -> Vec<String> {
    match level {
        Some(level) => vec![
            number(level.seen.per_second),
            number(level.seen.percentile(50.0)),
            number(level.seen.percentile(99.0)),
            number(level.seen.percentile(99.9)),
            number(level.cpu),
        ],
        None if not_run => vec!["not run".to_owned(); 5],
        None => vec!["–".to_owned(); 5],
    }
}
