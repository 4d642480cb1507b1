//! Workers that have nothing to do, for as long as they are kept.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::time::Instant;

use super::process::Worker;
use crate::metrics::Metrics;

/// How often it is looked whether they still live.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// The idle workers, the one that was busy last at the end.
#[derive(Debug)]
pub(super) struct Idle {
    /// How long each is kept.
    keep: Duration,
    metrics: Metrics,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    workers: Vec<Worker>,
    /// True while there is a task that looks after them.
    watched: bool,
}

impl Idle {
    pub(super) fn new(keep: Duration, metrics: Metrics) -> Arc<Self> {
        let state = Mutex::default();
        Arc::new(Self {
            keep,
            metrics,
            state,
        })
    }

    /// The one that was busy last: the others may go.
    pub(super) fn take(&self) -> Option<Worker> {
        self.lock().workers.pop()
    }

    /// Keeps a worker for the next thumbnail, for a while.
    pub(super) fn put(self: &Arc<Self>, mut worker: Worker) {
        worker.idle_since = Instant::now();
        let mut state = self.lock();
        state.workers.push(worker);
        if !state.watched {
            state.watched = true;
            tokio::spawn(watch(Arc::downgrade(self), self.keep.min(LOOK_EVERY)));
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // The state is consistent whenever the lock is free.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends those that were kept long enough, and removes those that have ended
    /// by themselves. False when none are left.
    fn sweep(&self) -> bool {
        let mut state = self.lock();
        state.workers.retain_mut(|worker| {
            let ended = worker.has_ended();
            if let Some(loss) = ended {
                loss.note(&self.metrics);
            }
            ended.is_none() && worker.idle_since.elapsed() < self.keep
        });
        state.watched = !state.workers.is_empty();
        state.watched
    }
}

async fn watch(idle: Weak<Idle>, every: Duration) {
    loop {
        tokio::time::sleep(every).await;
        if !idle.upgrade().is_some_and(|idle| idle.sweep()) {
            return;
        }
    }
}
