//! Kura's own engine: a sandboxed worker of a real pool.

use std::convert::Infallible;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream;
use kura::config::Values;
use kura::metrics::Metrics;
use kura::render::pool::{Pool, RenderError, Urgency};
use kura::render::{Order, Rendered};

/// As they come from a socket.
const CHUNK_BYTES: usize = 64 << 10;

/// A worker that makes one thumbnail again and again.
pub(crate) struct Worker {
    pool: Arc<Pool>,
    chunks: Vec<Bytes>,
    order: Order,
    pid: u32,
}

impl Worker {
    /// Starts one, with the limits that Kura has when nothing is set.
    pub(crate) async fn start(file: &Path, order: Order) -> Self {
        let mut options = Values::from_pairs(&[]).config().unwrap().render;
        options.program = env!("CARGO_BIN_EXE_kura").into();
        options.workers = 1;
        options.worker_jobs = u32::MAX;
        let source = Bytes::from(fs::read(file).unwrap());
        let starts = (0..source.len()).step_by(CHUNK_BYTES);
        let mut worker = Self {
            pool: Pool::new(options, Metrics::default()),
            chunks: starts
                .map(|start| source.slice(start..source.len().min(start + CHUNK_BYTES)))
                .collect(),
            order,
            pid: 0,
        };
        let _ = worker.thumbnail().await;
        worker.pid = child();
        worker
    }

    /// Makes the thumbnail.
    pub(crate) async fn thumbnail(&self) -> Result<Rendered, RenderError<Infallible>> {
        let mut source = stream::iter(self.chunks.iter().cloned().map(Ok));
        let tenant = "bench".parse().unwrap();
        let seat = self.pool.seat(&tenant, Urgency::Interactive).await.unwrap();
        seat.render(self.order, &mut source).await
    }

    /// CPU milliseconds a thumbnail: the worker's, and this process', which
    /// feeds it.
    pub(crate) async fn round(&self) -> f64 {
        const ROUND_NANOSECONDS: u64 = 500_000_000;
        let begun = self.cpu_nanoseconds();
        let mut times = 0.0;
        loop {
            let _ = self.thumbnail().await;
            times += 1.0;
            let spent = self.cpu_nanoseconds() - begun;
            if spent > ROUND_NANOSECONDS {
                #[allow(clippy::cast_precision_loss, reason = "nanoseconds of a minute")]
                return spent as f64 / 1e6 / times;
            }
        }
    }

    /// The worker's peak memory in MiB.
    pub(crate) fn peak(&self) -> f64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid)).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmHWM:"));
        let kib: f64 = line
            .unwrap()
            .split_whitespace()
            .nth(1)
            .unwrap()
            .parse()
            .unwrap();
        kib / 1024.0
    }

    fn cpu_nanoseconds(&self) -> u64 {
        let own = tasks().map(|task| format!("{task}/schedstat"));
        let paths = own.chain([format!("/proc/{}/schedstat", self.pid)]);
        paths
            .map(|path| {
                let stat = fs::read_to_string(path).unwrap();
                let spent = stat.split(' ').next().unwrap();
                spent.parse::<u64>().unwrap()
            })
            .sum()
    }
}

/// The worker: this process has started no other that has not ended.
fn child() -> u32 {
    let children: String = tasks()
        .map(|task| fs::read_to_string(format!("{task}/children")).unwrap())
        .collect();
    children.trim().parse().unwrap()
}

/// The threads of this process.
fn tasks() -> impl Iterator<Item = String> {
    let entries = fs::read_dir("/proc/self/task").unwrap();
    entries.map(|entry| entry.unwrap().path().to_str().unwrap().to_owned())
}
