//! One budget for the memory of all part buffers, shared fairly.
//!
//! Whoever wants a buffer takes a [`Permit`] for its bytes first. When the
//! budget is used up callers wait: the next permit goes to the tenant that
//! holds least, and within a tenant to who came first. No tenant may hold more
//! than its share, so that there is always something left for the others.
//!
//! Mappings are used again: what is spare is under the same budget, makes way
//! for whoever wants memory, and does not outlive the need for it for long.

mod permit;
mod spare;
#[cfg(test)]
mod tests;

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use memmap2::MmapMut;
use thiserror::Error;
use tokio::sync::oneshot;

pub use permit::{Permit, Share};
use spare::Spares;

/// After so long spare mappings that were not needed are given up.
const SPARE_FOR: Duration = Duration::from_secs(5);

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
    spares: Spares,
    /// Sweeps are made.
    watched: bool,
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
    wish: Wish,
    granted: oneshot::Sender<Held>,
}

/// What somebody asks for.
#[derive(Clone, Copy, Debug)]
struct Wish {
    bytes: usize,
    /// How long a spare mapping may be, where the memory itself is wanted, too.
    most_spare: Option<usize>,
}

/// What somebody was given.
#[derive(Debug, Default)]
struct Held {
    bytes: usize,
    mapping: Option<MmapMut>,
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
        Share::new(Arc::clone(self), holder)
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

    /// Changes the state, and unmaps what may not be spare any more; without
    /// the lock, for it takes long.
    fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let mut state = self.lock();
        let result = change(&mut state);
        let in_use = state.used_bytes;
        let surplus = state.spares.surplus(in_use);
        drop(state);
        drop(surplus);
        result
    }

    /// Sees to it that mappings do not stay spare.
    fn watch(self: &Arc<Self>) {
        if !std::mem::replace(&mut self.lock().watched, true) {
            tokio::spawn(watch(Arc::downgrade(self)));
        }
    }

    /// Gives up what was not needed since the last time. False when there is
    /// nothing left to look at.
    fn sweep(&self) -> bool {
        self.change(|state| {
            state.spares.forget_need();
            state.watched = state.used_bytes > 0;
            state.watched
        })
    }

    fn release(&self, holder: u64, held: Held) {
        self.change(|state| {
            state.give_back(holder, held);
            self.grant_waiting(state);
        });
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
                    let wish = holder.queue.front()?.wish;
                    (holder.used_bytes + wish.bytes <= self.share_bytes).then_some((
                        holder.used_bytes,
                        *id,
                        wish,
                    ))
                })
                .min_by_key(|(used_bytes, id, _)| (*used_bytes, *id));
            let Some((_, id, wish)) = next else { return };
            if state.used_bytes + wish.bytes > self.total_bytes {
                return;
            }
            let waiter = state.holders.get_mut(&id).and_then(|h| h.queue.pop_front());
            let Some(waiter) = waiter else { return };
            let held = self.take(state, id, wish);
            if let Err(held) = waiter.granted.send(held) {
                state.give_back(id, held);
            }
        }
    }

    /// Gives what is wished for. A spare mapping counts as long as it is.
    fn take(&self, state: &mut State, id: u64, wish: Wish) -> Held {
        let own_bytes = state.holders.get(&id).map_or(0, |it| it.used_bytes);
        let left = self.total_bytes - state.used_bytes;
        let left = left.min(self.share_bytes - own_bytes);
        let mapping = wish.most_spare.and_then(|most| {
            let lengths = wish.bytes..=most.min(left);
            state.spares.take(&lengths)
        });
        let bytes = mapping.as_ref().map_or(wish.bytes, |mapping| mapping.len());
        state.used_bytes += bytes;
        debug_assert!(state.used_bytes <= self.total_bytes);
        state.peak_bytes = state.peak_bytes.max(state.used_bytes);
        if let Some(holder) = state.holders.get_mut(&id) {
            holder.used_bytes += bytes;
        }
        Held { bytes, mapping }
    }
}

async fn watch(budget: Weak<Budget>) {
    loop {
        tokio::time::sleep(SPARE_FOR).await;
        if !budget.upgrade().is_some_and(|budget| budget.sweep()) {
            return;
        }
    }
}

impl State {
    fn give_back(&mut self, holder: u64, held: Held) {
        self.used_bytes -= held.bytes;
        if let Some(holder) = self.holders.get_mut(&holder) {
            holder.used_bytes -= held.bytes;
        }
        if let Some(mapping) = held.mapping {
            self.spares.keep(mapping);
        }
    }
}
