//! The worker processes and the queue before them.
//!
//! A [`Turn`] is the right to open a source, a [`Seat`] the right to one worker
//! for one thumbnail: `queue` decides who gets them. `process` is one worker
//! and what is said to it, `spawner` starts them, `idle` keeps them, `loss` is
//! what their death means.

mod idle;
mod loss;
mod process;
mod queue;
mod spawner;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::Stream;
use thiserror::Error;
use tokio::sync::OnceCell;
use tokio::time::{Instant, timeout};

use self::idle::Idle;
use self::process::{Outcome, Worker};
use self::queue::{Place, Queue, Shown};
use self::spawner::Spawner;
use super::protocol::{Job, Walls};
use super::{Limits, Order, Refusal, Rendered};
use crate::metrics::{Metrics, RenderLabels};
use crate::tenant::TenantId;

/// How rendering is done.
#[derive(Clone, Debug)]
pub struct PoolOptions {
    /// The program to start as a worker: Kura itself.
    pub program: PathBuf,
    /// Workers at once.
    pub workers: usize,
    /// Thumbnails that may wait for one.
    pub queue: usize,
    /// How long a thumbnail may wait for one.
    pub patience: Duration,
    /// How long a worker may take for a thumbnail, not counting the wait for
    /// its source.
    pub deadline: Duration,
    /// How long a worker may wait for the source of a thumbnail, in all, and
    /// anybody for its first bytes.
    pub source_patience: Duration,
    /// Memory that a worker may take, in bytes (`RLIMIT_AS`).
    pub worker_memory_bytes: u64,
    /// Thumbnails after which a worker is replaced.
    pub worker_jobs: u32,
    /// An idle worker ends after this time.
    pub worker_idle: Duration,
    /// What pictures may be like.
    pub limits: Limits,
    /// The font for text in documents that embed none; looked for when not set.
    pub fallback_font: Option<PathBuf>,
}

/// Who waits for a thumbnail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Urgency {
    /// Somebody does.
    Interactive,
    /// Nobody, yet.
    Bulk,
}

/// As many thumbnails wait as may, or this one has waited for too long.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("too many thumbnails are being made")]
pub struct Busy;

/// Why a thumbnail was not made.
#[derive(Debug, Error)]
pub enum RenderError<E> {
    /// Because of the picture.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The source broke off.
    #[error("the source broke off")]
    Source(E),
    /// The source did not come in time.
    #[error("the source did not come in time")]
    Stalled,
    /// No worker could be had, or it was lost through no fault of the picture;
    /// the text is for the log.
    #[error("no worker can be had: {0}")]
    Unavailable(String),
}

/// The workers.
#[derive(Debug)]
pub struct Pool {
    options: PoolOptions,
    drills: bool,
    metrics: Metrics,
    turns: Arc<Queue>,
    seats: Arc<Queue>,
    idle: Arc<Idle>,
    spawner: OnceCell<Spawner>,
    /// What the log was told last of whether workers can be had.
    told: AtomicU8,
}

/// The log was told nothing yet.
const NOTHING: u8 = 0;
/// The log was told what holds the workers in.
const READY: u8 = 1;
/// The log was told that there are none.
const UNAVAILABLE: u8 = 2;

/// So many sources for each worker may be open before it is free: enough to
/// keep it busy, and to spare for some that are slow to come.
const AHEAD: usize = 8;

/// How long an idle worker may take to begin. Another is started instead, so
/// that it does no harm to be wrong about one.
const TIME_TO_BEGIN: Duration = Duration::from_secs(1);

/// The right to open a source, which is to be there when its worker is.
#[derive(Debug)]
pub struct Turn<'a> {
    pool: &'a Pool,
    tenant: &'a TenantId,
    until: Instant,
    _place: Place,
}

/// A worker of one's own, for one thumbnail.
#[derive(Debug)]
pub struct Seat<'a> {
    pool: &'a Pool,
    _place: Place,
}

impl Pool {
    /// A pool that has started no worker yet.
    #[must_use]
    pub fn new(options: PoolOptions, metrics: Metrics) -> Arc<Self> {
        Self::with(options, metrics, false)
    }

    /// A pool whose workers obey [drills](super::sandbox::drill): for tests.
    #[must_use]
    pub fn with_drills(options: PoolOptions, metrics: Metrics) -> Arc<Self> {
        Self::with(options, metrics, true)
    }

    fn with(options: PoolOptions, metrics: Metrics, drills: bool) -> Arc<Self> {
        let queue = |places, length| Queue::new(places, length, metrics.render_queue.clone());
        Arc::new(Self {
            turns: queue(options.workers * AHEAD, options.queue),
            seats: queue(options.workers, options.queue),
            idle: Idle::new(options.worker_idle, metrics.clone()),
            options,
            drills,
            metrics,
            spawner: OnceCell::new(),
            told: AtomicU8::new(NOTHING),
        })
    }

    /// Starts a worker ahead of need, which tells the log what holds it in, or
    /// why there is none.
    pub async fn warm_up(&self) {
        if let Some(_place) = self.seats.try_take()
            && let Ok(worker) = self.start_worker().await
        {
            self.idle.put(worker);
        }
    }

    /// Starts a worker, and says what holds it in.
    ///
    /// # Errors
    /// Why there is none.
    pub async fn walls(&self) -> Result<Walls, String> {
        self.try_start_worker().await.map(|(_, walls)| walls)
    }

    /// Waits until a source may be opened for which somebody waits.
    ///
    /// # Errors
    /// [`Busy`].
    pub async fn turn<'a>(&'a self, tenant: &'a TenantId) -> Result<Turn<'a>, Busy> {
        let until = Instant::now() + self.options.patience;
        let place = self.turns.wait(tenant, Urgency::Interactive, until);
        let place = place.await?;
        Ok(Turn {
            pool: self,
            tenant,
            until,
            _place: place,
        })
    }

    /// Waits for a worker.
    ///
    /// # Errors
    /// [`Busy`].
    pub async fn seat(&self, tenant: &TenantId, urgency: Urgency) -> Result<Seat<'_>, Busy> {
        let until = Instant::now() + self.options.patience;
        self.seat_until(tenant, urgency, until).await
    }

    async fn seat_until(
        &self,
        tenant: &TenantId,
        urgency: Urgency,
        until: Instant,
    ) -> Result<Seat<'_>, Busy> {
        let place = self.seats.wait(tenant, urgency, until).await?;
        Ok(Seat {
            pool: self,
            _place: place,
        })
    }

    /// A worker that has begun with `job`: an idle one, or a new one.
    async fn worker(&self, job: Job) -> Result<Worker, String> {
        let deadline = self.options.deadline;
        while let Some(mut worker) = self.idle.take() {
            match worker.begin(job, deadline, TIME_TO_BEGIN).await {
                Ok(()) => return Ok(worker),
                // Nothing is lost with it but time.
                Err(loss) => loss.note(&self.metrics),
            }
        }
        let mut worker = self.start_worker().await?;
        match worker.begin(job, deadline, deadline).await {
            Ok(()) => Ok(worker),
            Err(loss) => Err(format!("it ended before its first job ({})", loss.name())),
        }
    }

    async fn start_worker(&self) -> Result<Worker, String> {
        let started = self.try_start_worker().await;
        let now = if started.is_ok() { READY } else { UNAVAILABLE };
        if self.told.swap(now, Ordering::Relaxed) != now {
            match &started {
                Ok((_, walls)) => walls.log(),
                Err(why) => tracing::error!(why, "no thumbnails are made: no worker can be had"),
            }
        }
        started.map(|(worker, _)| worker)
    }

    async fn try_start_worker(&self) -> Result<(Worker, Walls), String> {
        let start = async || Spawner::start(&self.options, self.drills);
        let spawner = self.spawner.get_or_try_init(start).await;
        let spawner = spawner.map_err(|error| error.to_string())?;
        let process = spawner.spawn().await.map_err(|error| error.to_string())?;
        let shown = Shown::new(&self.metrics.render_workers);
        Worker::greeted(process, self.options.deadline, shown).await
    }

    fn count_render(&self, outcome: &'static str) {
        let labels = RenderLabels { outcome };
        self.metrics.renders.get_or_create(&labels).inc();
    }
}

impl<'a> Turn<'a> {
    /// Opens the source: waits for `opening`, but not for ever.
    ///
    /// # Errors
    /// [`RenderError::Stalled`].
    pub async fn open<T, E>(&self, opening: impl Future<Output = T>) -> Result<T, RenderError<E>> {
        let patience = self.pool.options.source_patience;
        let opened = timeout(patience, opening).await;
        opened.map_err(|_| RenderError::Stalled)
    }

    /// Waits for a worker. The wait for the turn counts.
    ///
    /// # Errors
    /// [`Busy`].
    pub async fn seat(self) -> Result<Seat<'a>, Busy> {
        let (pool, tenant) = (self.pool, self.tenant);
        let seat = pool.seat_until(tenant, Urgency::Interactive, self.until);
        seat.await
    }
}

impl Seat<'_> {
    /// Makes one thumbnail. It may be done before all of `source` was read.
    /// Dropped while it is under way, it ends the worker.
    ///
    /// # Errors
    /// See [`RenderError`].
    pub async fn render<E>(
        self,
        order: Order,
        source: &mut (impl Stream<Item = Result<Bytes, E>> + Send + Unpin),
    ) -> Result<Rendered, RenderError<E>> {
        let Pool {
            options, metrics, ..
        } = self.pool;
        let limits = options.limits;
        let worker = self.pool.worker(Job { order, limits }).await;
        let mut worker = worker.map_err(|why| {
            self.pool.count_render("unavailable");
            RenderError::Unavailable(why)
        })?;
        let started = Instant::now();
        let result = match worker.converse(source, options).await {
            Outcome::Answered(cpu, result) => {
                metrics.render_cpu_seconds.observe(cpu.as_secs_f64());
                if worker.jobs < options.worker_jobs {
                    self.pool.idle.put(worker);
                }
                result
            }
            Outcome::Lost(loss) => {
                loss.note(metrics);
                Err(loss.refusal().ok_or_else(|| {
                    self.pool.count_render("unavailable");
                    RenderError::Unavailable(format!("it was lost ({})", loss.name()))
                })?)
            }
            Outcome::Source(error) => {
                self.pool.count_render("source_broke_off");
                return Err(RenderError::Source(error));
            }
            Outcome::Stalled => {
                self.pool.count_render("source_broke_off");
                return Err(RenderError::Stalled);
            }
        };
        let seconds = started.elapsed().as_secs_f64();
        metrics.render_seconds.observe(seconds);
        self.pool.count_render(match result {
            Ok(_) => "rendered",
            Err(Refusal::NotAnImage) => "not_an_image",
            Err(Refusal::Broken) => "broken",
            Err(Refusal::TooLarge) => "too_large",
            Err(Refusal::TooCostly) => "too_costly",
        });
        Ok(result?)
    }
}

impl Walls {
    /// Tells the log.
    fn log(self) {
        let landlock = match self.landlock_abi {
            0 => "no landlock (the kernel has none)".to_owned(),
            abi => format!("landlock ABI {abi}"),
        };
        tracing::info!(
            fallback_font = self.fallback_font,
            "rendering sandbox: seccomp, {landlock}, resource limits"
        );
    }
}
