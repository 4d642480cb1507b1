//! One budget for the memory of all part buffers, shared fairly.
//!
//! Whoever wants a buffer takes a [`Permit`] for its bytes first. When the
//! budget is used up callers wait: the next permit goes to the tenant that
//! holds least, and within a tenant to who came first. No tenant may hold more
//! than its share, so that there is always something left for the others.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use thiserror::Error;
use tokio::sync::oneshot;

/// No permit could be had within the time that callers may wait.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("all buffers are in use")]
pub struct Exhausted;

/// A bounded number of bytes of memory.
#[derive(Debug)]
pub struct Budget {
    total_bytes: usize,
    share_bytes: usize,
    patience: Duration,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    used_bytes: usize,
    peak_bytes: usize,
    holders: HashMap<u64, Holder>,
    next_holder: u64,
}

/// What one tenant holds and waits for.
#[derive(Debug, Default)]
struct Holder {
    used_bytes: usize,
    queue: VecDeque<Waiter>,
}

#[derive(Debug)]
struct Waiter {
    bytes: usize,
    granted: oneshot::Sender<()>,
}

impl Budget {
    /// A budget of `total_bytes`, of which one tenant may hold `share_bytes`.
    /// Callers wait no longer than `patience`.
    #[must_use]
    pub fn new(total_bytes: usize, share_bytes: usize, patience: Duration) -> Arc<Self> {
        Arc::new(Self {
            total_bytes,
            share_bytes: share_bytes.min(total_bytes),
            patience,
            state: Mutex::default(),
        })
    }

    /// A new tenant's part of the budget.
    #[must_use]
    pub fn share(self: &Arc<Self>) -> Share {
        let mut state = self.lock();
        state.next_holder += 1;
        let holder = state.next_holder;
        state.holders.insert(holder, Holder::default());
        drop(state);
        Share {
            inner: Arc::new(ShareInner {
                budget: Arc::clone(self),
                holder,
            }),
        }
    }

    /// The bytes in use now.
    #[must_use]
    pub fn used_bytes(&self) -> usize {
        self.lock().used_bytes
    }

    /// The most bytes that were ever in use at once.
    #[must_use]
    pub fn peak_bytes(&self) -> usize {
        self.lock().peak_bytes
    }

    /// All there is.
    #[must_use]
    pub fn total_bytes(&self) -> usize {
        self.total_bytes
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // The state is consistent whenever the lock is free.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn release(&self, holder: u64, bytes: usize) {
        let mut state = self.lock();
        state.used_bytes -= bytes;
        if let Some(holder) = state.holders.get_mut(&holder) {
            holder.used_bytes -= bytes;
        }
        self.grant_waiting(&mut state);
    }

    /// Hands out what is free. It stops at the first tenant whose turn it is
    /// and whose wish does not fit: letting smaller wishes pass would starve it.
    fn grant_waiting(&self, state: &mut State) {
        loop {
            let next = state
                .holders
                .iter_mut()
                .filter_map(|(id, holder)| {
                    while holder.queue.front().is_some_and(|w| w.granted.is_closed()) {
                        holder.queue.pop_front();
                    }
                    let bytes = holder.queue.front()?.bytes;
                    (holder.used_bytes + bytes <= self.share_bytes).then_some((
                        holder.used_bytes,
                        *id,
                        bytes,
                    ))
                })
                .min();
            let Some((_, id, bytes)) = next else { return };
            if state.used_bytes + bytes > self.total_bytes {
                return;
            }
            let waiter = state.holders.get_mut(&id).and_then(|h| h.queue.pop_front());
            if waiter.is_some_and(|waiter| waiter.granted.send(()).is_ok()) {
                self.take(state, id, bytes);
            }
        }
    }

    fn take(&self, state: &mut State, id: u64, bytes: usize) {
        debug_assert!(state.used_bytes + bytes <= self.total_bytes);
        state.used_bytes += bytes;
        state.peak_bytes = state.peak_bytes.max(state.used_bytes);
        if let Some(holder) = state.holders.get_mut(&id) {
            holder.used_bytes += bytes;
        }
    }
}

/// One tenant's part of a [`Budget`].
#[derive(Clone, Debug)]
pub struct Share {
    inner: Arc<ShareInner>,
}

#[derive(Debug)]
struct ShareInner {
    budget: Arc<Budget>,
    holder: u64,
}

impl Drop for ShareInner {
    fn drop(&mut self) {
        // Permits hold their share, so nothing is in use any more.
        self.budget.lock().holders.remove(&self.holder);
    }
}

impl Share {
    /// Waits for a permit for `bytes`, or for the whole share if that is less.
    ///
    /// # Errors
    /// [`Exhausted`] when there was none in time.
    pub async fn acquire(&self, bytes: usize) -> Result<Permit, Exhausted> {
        let budget = &self.inner.budget;
        let bytes = bytes.min(budget.share_bytes);
        let (granted, mut waiting) = oneshot::channel();
        {
            let mut state = budget.lock();
            if let Some(holder) = state.holders.get_mut(&self.inner.holder) {
                holder.queue.push_back(Waiter { bytes, granted });
            }
            budget.grant_waiting(&mut state);
        }
        // Made before the wait, so that a grant is given back if the caller is
        // dropped between being granted and being told.
        let mut grant = Grant {
            share: self,
            bytes,
            waiting: &mut waiting,
            taken: false,
        };
        match tokio::time::timeout(budget.patience, &mut *grant.waiting).await {
            Ok(Ok(())) => {
                grant.taken = true;
                drop(grant);
                Ok(self.permit(bytes))
            }
            _ => Err(Exhausted),
        }
    }

    /// A permit for `bytes` if nobody has to wait for it, and if half of the
    /// budget is left then: for what is useful but not needed.
    #[must_use]
    pub fn try_acquire(&self, bytes: usize) -> Option<Permit> {
        let budget = &self.inner.budget;
        let mut state = budget.lock();
        let holder = state.holders.get(&self.inner.holder)?;
        let fits = state.used_bytes + bytes <= budget.total_bytes / 2
            && holder.used_bytes + bytes <= budget.share_bytes
            && state.holders.values().all(|holder| holder.queue.is_empty());
        if !fits {
            return None;
        }
        budget.take(&mut state, self.inner.holder, bytes);
        drop(state);
        Some(self.permit(bytes))
    }

    fn permit(&self, bytes: usize) -> Permit {
        Permit {
            share: self.clone(),
            bytes,
        }
    }
}

/// A wait for a permit. Dropped without `taken`, it gives back what may have
/// been granted meanwhile.
struct Grant<'a> {
    share: &'a Share,
    bytes: usize,
    waiting: &'a mut oneshot::Receiver<()>,
    taken: bool,
}

impl Drop for Grant<'_> {
    fn drop(&mut self) {
        if self.taken {
            return;
        }
        self.waiting.close();
        let inner = &self.share.inner;
        if self.waiting.try_recv().is_ok() {
            inner.budget.release(inner.holder, self.bytes);
        } else {
            // This wish may have been the one that held up the others.
            inner.budget.grant_waiting(&mut inner.budget.lock());
        }
    }
}

/// The right to hold so many bytes; given back when dropped.
#[derive(Debug)]
pub struct Permit {
    share: Share,
    bytes: usize,
}

impl Permit {
    /// How many bytes may be held: less than asked for when the share is less.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let inner = &self.share.inner;
        inner.budget.release(inner.holder, self.bytes);
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    const PATIENCE: Duration = Duration::from_millis(20);

    #[tokio::test]
    async fn a_caller_waits_and_then_is_told_that_there_is_nothing() {
        let budget = Budget::new(10, 10, PATIENCE);
        let share = budget.share();
        let held = share.acquire(8).await.unwrap();
        assert_eq!(share.acquire(4).await.unwrap_err(), Exhausted);
        drop(held);
        assert_eq!(share.acquire(10).await.unwrap().bytes(), 10);
        assert_eq!(budget.used_bytes(), 0);
        assert_eq!(budget.peak_bytes(), 10);
    }

    #[tokio::test]
    async fn one_tenant_cannot_take_what_is_kept_for_the_others() {
        let budget = Budget::new(10, 7, PATIENCE);
        let (greedy, modest) = (budget.share(), budget.share());
        let _held = greedy.acquire(9).await.unwrap();
        assert!(greedy.acquire(1).await.is_err());
        assert!(modest.acquire(3).await.is_ok());
    }

    #[tokio::test]
    async fn the_tenant_that_holds_least_is_next() {
        let budget = Budget::new(10, 8, PATIENCE);
        let (greedy, modest) = (budget.share(), budget.share());
        let first = greedy.acquire(4).await.unwrap();
        let _second = greedy.acquire(4).await.unwrap();
        let _filler = modest.acquire(2).await.unwrap();
        let mut wants_more = Box::pin(greedy.acquire(4));
        let mut wants_some = Box::pin(modest.acquire(4));
        assert!(wants_more.as_mut().now_or_never().is_none());
        assert!(wants_some.as_mut().now_or_never().is_none());
        drop(first);
        assert!(
            wants_some
                .as_mut()
                .now_or_never()
                .is_some_and(|p| p.is_ok())
        );
    }

    #[tokio::test]
    async fn a_caller_that_goes_away_gives_its_grant_back() {
        let budget = Budget::new(10, 10, PATIENCE);
        let share = budget.share();
        let held = share.acquire(10).await.unwrap();
        let mut gone = Box::pin(share.acquire(10));
        assert!(gone.as_mut().now_or_never().is_none());
        drop(held);
        assert_eq!(
            budget.used_bytes(),
            10,
            "granted, but nobody has looked yet"
        );
        drop(gone);
        assert_eq!(budget.used_bytes(), 0);
    }

    #[tokio::test]
    async fn reading_ahead_never_takes_more_than_half() {
        let budget = Budget::new(10, 10, PATIENCE);
        let share = budget.share();
        let ahead = share.try_acquire(5);
        assert!(ahead.is_some());
        assert!(share.try_acquire(1).is_none());
        assert!(share.acquire(5).await.is_ok());
    }
}
