//! A pool of real workers that obey drills.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::{self, BoxStream};
use kura::metrics::{LossLabels, Metrics};
use kura::render::pool::{Pool, PoolOptions, RenderError, Seat, Urgency};
use kura::render::{Limits, Order, Refusal, Rendered};

/// What is ordered.
pub const ORDER: Order = Order { side: 100 };

/// Bytes of a picture, as they come.
pub type Source = BoxStream<'static, Result<Bytes, &'static str>>;
/// What came of it.
pub type Answer = Result<Rendered, RenderError<&'static str>>;

/// A pool whose workers obey drills.
pub struct Stand {
    /// The pool.
    pub pool: Arc<Pool>,
    /// Its metrics.
    pub metrics: Metrics,
    /// What its workers are told from others by.
    memory_bytes: u64,
}

impl Stand {
    /// A pool of one worker, unless `change` says otherwise.
    pub fn new(change: impl FnOnce(&mut PoolOptions)) -> Self {
        let mut options = options();
        change(&mut options);
        let memory_bytes = options.worker_memory_bytes;
        let metrics = Metrics::default();
        let pool = Pool::with_drills(options, metrics.clone());
        Self {
            pool,
            metrics,
            memory_bytes,
        }
    }

    /// A worker of one's own.
    pub async fn seat(&self) -> Seat<'_> {
        let tenant = "a".parse().unwrap();
        self.pool.seat(&tenant, Urgency::Interactive).await.unwrap()
    }

    /// Has a thumbnail made.
    pub async fn render(&self, mut source: Source) -> Answer {
        self.seat().await.render(ORDER, &mut source).await
    }

    /// Has a worker do something.
    pub async fn drill(&self, what: &str) -> Answer {
        self.render(drill(what)).await
    }

    /// How many workers were lost for `cause`.
    pub fn lost(&self, cause: &'static str) -> u64 {
        let labels = LossLabels { cause };
        self.metrics
            .render_workers_lost
            .get_or_create(&labels)
            .get()
    }

    /// The next thumbnail is made, whatever was before.
    pub async fn check_serves(&self) {
        let thumbnail = self.drill("echo 1000").await.unwrap();
        assert_eq!(thumbnail.bytes.len(), 1000);
    }

    /// The process ids of its workers.
    pub fn workers(&self) -> Vec<u32> {
        workers_with(self.memory_bytes)
    }
}

/// The process ids of the workers that may have exactly so many bytes.
pub fn workers_with(memory_bytes: u64) -> Vec<u32> {
    let mark = format!("--memory-bytes\0{memory_bytes}\0");
    let pids = fs::read_dir("/proc").unwrap().filter_map(|entry| {
        let pid = entry.unwrap().file_name().to_str()?.parse().ok()?;
        let arguments = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
        let arguments = String::from_utf8(arguments).ok()?;
        arguments.contains(&mark).then_some(pid)
    });
    pids.collect()
}

/// One worker, generous in time, and told from those of other tests by the
/// exact number of bytes that it may have.
pub fn options() -> PoolOptions {
    static NEXT: AtomicU64 = AtomicU64::new(600 << 20);
    PoolOptions {
        program: env!("CARGO_BIN_EXE_kura").into(),
        workers: 1,
        queue: 100,
        patience: Duration::from_mins(1),
        deadline: Duration::from_secs(20),
        source_patience: Duration::from_mins(1),
        worker_memory_bytes: NEXT.fetch_add(4096, Ordering::Relaxed),
        worker_jobs: 1000,
        worker_idle: Duration::from_mins(1),
        limits: Limits {
            source_bytes: 64 << 20,
            pixels: 100_000_000,
            frame_bytes: 256 << 20,
        },
        fallback_font: None,
    }
}

/// A source that comes as storage has it, in pieces.
pub fn source(bytes: &[u8]) -> Source {
    let pieces = bytes
        .chunks(50_000)
        .map(|piece| Ok(Bytes::copy_from_slice(piece)));
    stream::iter(pieces.collect::<Vec<_>>()).boxed()
}

/// A source that orders a worker to do `what`.
pub fn drill(what: &str) -> Source {
    source(&line(what))
}

/// The bytes that order it.
pub fn line(what: &str) -> Bytes {
    format!("KURA-DRILL {what}\n").into()
}

/// Why there is no thumbnail, if that is because of the picture.
pub fn refusal(answer: &Answer) -> Option<Refusal> {
    match answer {
        Err(RenderError::Refused(refusal)) => Some(*refusal),
        _ => None,
    }
}

/// Waits until something is so that becomes so by itself, and soon.
pub async fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !is_so() {
        assert!(Instant::now() < deadline, "not in time: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// No such process is left, not even a zombie.
pub async fn gone(pid: u32) {
    let path = format!("/proc/{pid}/stat");
    eventually("the worker is gone", || !fs::exists(&path).unwrap()).await;
}
