//! The worker processes and the queue before them.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use thiserror::Error;

use super::{Limits, Order, Refusal, Rendered, Studio, render};
use crate::metrics::Metrics;

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
    /// No worker can be had; the text is for the log.
    #[error("no worker can be had: {0}")]
    Unavailable(String),
}

/// The workers.
#[derive(Debug)]
pub struct Pool {
    options: PoolOptions,
}

/// A worker of one's own, for one thumbnail.
#[derive(Debug)]
pub struct Seat<'a> {
    pool: &'a Pool,
}

impl Pool {
    /// A pool that has started no worker yet.
    #[must_use]
    pub fn new(options: PoolOptions, metrics: Metrics) -> Arc<Self> {
        let _ = metrics;
        Arc::new(Self { options })
    }

    /// Waits for a worker.
    ///
    /// # Errors
    /// [`Busy`].
    #[allow(clippy::unused_async)]
    pub async fn seat(&self, urgency: Urgency) -> Result<Seat<'_>, Busy> {
        let _ = urgency;
        Ok(Seat { pool: self })
    }
}

impl Seat<'_> {
    /// Makes one thumbnail. It may be done before all of `source` was read.
    ///
    /// # Errors
    /// See [`RenderError`].
    pub async fn render<E>(
        self,
        order: Order,
        source: &mut (impl Stream<Item = Result<Bytes, E>> + Send + Unpin),
    ) -> Result<Rendered, RenderError<E>> {
        let mut all = Vec::new();
        while let Some(bytes) = source.next().await {
            all.extend_from_slice(&bytes.map_err(RenderError::Source)?);
        }
        let limits = self.pool.options.limits;
        Ok(render(
            &mut all.as_slice(),
            order,
            &limits,
            &mut Studio::default(),
        )?)
    }
}
