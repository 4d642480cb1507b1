//! Who gets a worker next: somebody who waits before nobody who does, and
//! then who came first.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use prometheus_client::metrics::gauge::Gauge;
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};

use super::{Busy, Urgency};

/// A fixed number of places, and a bounded queue for them.
#[derive(Debug)]
pub(super) struct Queue {
    length: usize,
    waiting: Gauge,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    free: usize,
    interactive: VecDeque<oneshot::Sender<Place>>,
    bulk: VecDeque<oneshot::Sender<Place>>,
}

/// A place; dropped, it goes to who is next.
#[derive(Debug)]
pub(super) struct Place(Arc<Queue>);

impl Queue {
    /// A queue of no more than `length` for so many `places`; `waiting` shows
    /// how long it is.
    pub(super) fn new(places: usize, length: usize, waiting: Gauge) -> Arc<Self> {
        Arc::new(Self {
            length,
            waiting,
            state: Mutex::new(State {
                free: places,
                interactive: VecDeque::new(),
                bulk: VecDeque::new(),
            }),
        })
    }

    /// Waits for a place, no longer than `until`.
    ///
    /// # Errors
    /// [`Busy`], at once when the queue is full.
    pub(super) async fn wait(
        self: &Arc<Self>,
        urgency: Urgency,
        until: Instant,
    ) -> Result<Place, Busy> {
        let waiter = {
            let mut state = self.lock();
            if state.free > 0 {
                state.free -= 1;
                return Ok(Place(Arc::clone(self)));
            }
            if state.waiting() >= self.length {
                return Err(Busy);
            }
            let (sender, waiter) = oneshot::channel();
            match urgency {
                Urgency::Interactive => state.interactive.push_back(sender),
                Urgency::Bulk => state.bulk.push_back(sender),
            }
            waiter
        };
        let _shown = Shown::new(&self.waiting);
        match timeout_at(until, waiter).await {
            Ok(Ok(place)) => Ok(place),
            _ => Err(Busy),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // The state is consistent whenever the lock is free.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives a place that was left to who is next.
    fn hand_on(self: &Arc<Self>) {
        let next = {
            let mut state = self.lock();
            let next = state.next();
            state.free += usize::from(next.is_none());
            next
        };
        if let Some(next) = next {
            // If it has gone meanwhile, the place comes back and is dropped.
            let _ = next.send(Place(Arc::clone(self)));
        }
    }
}

impl State {
    /// How many wait, without those who have gone.
    fn waiting(&mut self) -> usize {
        self.interactive.retain(|waiter| !waiter.is_closed());
        self.bulk.retain(|waiter| !waiter.is_closed());
        self.interactive.len() + self.bulk.len()
    }

    fn next(&mut self) -> Option<oneshot::Sender<Place>> {
        loop {
            let next = self
                .interactive
                .pop_front()
                .or_else(|| self.bulk.pop_front());
            if next.as_ref().is_none_or(|waiter| !waiter.is_closed()) {
                return next;
            }
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.hand_on();
    }
}

/// Counts in a gauge as long as it lives.
#[derive(Debug)]
pub(super) struct Shown(Gauge);

impl Shown {
    pub(super) fn new(gauge: &Gauge) -> Self {
        gauge.inc();
        Self(gauge.clone())
    }
}

impl Drop for Shown {
    fn drop(&mut self) {
        self.0.dec();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures_util::FutureExt;

    use super::*;

    fn long() -> Instant {
        Instant::now() + Duration::from_mins(1)
    }

    fn queue(places: usize, length: usize) -> Arc<Queue> {
        Queue::new(places, length, Gauge::default())
    }

    #[tokio::test]
    async fn those_who_wait_come_before_nobody_who_does_and_then_in_order() {
        let queue = queue(1, 4);
        let place = queue.wait(Urgency::Bulk, long()).await.unwrap();
        let mut waits = [
            Urgency::Bulk,
            Urgency::Interactive,
            Urgency::Bulk,
            Urgency::Interactive,
        ]
        .map(|urgency| Box::pin(queue.wait(urgency, long())));
        assert!(waits.iter_mut().all(|wait| wait.now_or_never().is_none()));
        assert_eq!(queue.waiting.get(), 4);
        let mut place = Some(place);
        for turn in [1, 3, 0, 2] {
            drop(place.take());
            let next = waits[turn].as_mut().now_or_never();
            place = Some(next.expect("it is its turn").unwrap());
        }
        assert_eq!(queue.waiting.get(), 0);
    }

    #[tokio::test]
    async fn queue_is_bounded_and_those_who_leave_make_room() {
        let queue = queue(1, 1);
        let place = queue.wait(Urgency::Interactive, long()).await.unwrap();
        let mut first = Box::pin(queue.wait(Urgency::Interactive, long()));
        assert!(first.as_mut().now_or_never().is_none());
        let second = queue.wait(Urgency::Interactive, long()).now_or_never();
        assert!(matches!(second, Some(Err(Busy))));
        drop(first);
        let mut third = Box::pin(queue.wait(Urgency::Interactive, long()));
        assert!(third.as_mut().now_or_never().is_none());
        drop(place);
        assert!(third.await.is_ok());
    }

    #[tokio::test]
    async fn place_given_to_who_left_before_noticing_is_not_lost() {
        let queue = queue(1, 1);
        let place = queue.wait(Urgency::Interactive, long()).await.unwrap();
        let mut wait = Box::pin(queue.wait(Urgency::Interactive, long()));
        assert!(wait.as_mut().now_or_never().is_none());
        drop(place);
        drop(wait);
        assert!(
            queue
                .wait(Urgency::Bulk, long())
                .now_or_never()
                .unwrap()
                .is_ok()
        );
    }

    #[tokio::test]
    async fn patience_ends() {
        let queue = queue(1, 1);
        let _place = queue.wait(Urgency::Interactive, long()).await.unwrap();
        let wait = queue.wait(
            Urgency::Interactive,
            Instant::now() + Duration::from_millis(5),
        );
        assert_eq!(wait.await.err(), Some(Busy));
        assert_eq!(queue.waiting.get(), 0);
    }
}
