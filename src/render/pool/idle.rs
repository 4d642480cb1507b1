//! Workers that have nothing to do, for as long as they are kept.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::time::Instant;

use super::process::Worker;

/// The idle workers, the one that was busy last at the end.
#[derive(Debug)]
pub(super) struct Idle {
    /// How long each is kept.
    keep: Duration,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    workers: Vec<Worker>,
    /// True while there is a task that ends them in time.
    watched: bool,
}

impl Idle {
    pub(super) fn new(keep: Duration) -> Arc<Self> {
        let state = Mutex::default();
        Arc::new(Self { keep, state })
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
            tokio::spawn(watch(Arc::downgrade(self), self.keep));
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // The state is consistent whenever the lock is free.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends those that were kept long enough. Says when to look again, if any
    /// are left.
    fn sweep(&self) -> Option<Instant> {
        let mut state = self.lock();
        let keep = self.keep;
        state
            .workers
            .retain(|worker| worker.idle_since.elapsed() < keep);
        let oldest = state.workers.first().map(|worker| worker.idle_since + keep);
        state.watched = oldest.is_some();
        oldest
    }
}

async fn watch(idle: Weak<Idle>, keep: Duration) {
    let mut next = Some(Instant::now() + keep);
    while let Some(time) = next {
        tokio::time::sleep_until(time).await;
        next = idle.upgrade().and_then(|idle| idle.sweep());
    }
}
