//! Who gets a worker next: somebody who waits before nobody who does, then the
//! tenants in turn, and of one tenant who came first.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use prometheus_client::metrics::gauge::Gauge;
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};

use super::{Busy, Urgency};
use crate::tenant::TenantId;

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
    interactive: Lines,
    bulk: Lines,
}

/// A line for each tenant that waits; the one whose turn it is first.
#[derive(Debug, Default)]
struct Lines(VecDeque<Line>);

#[derive(Debug)]
struct Line {
    tenant: TenantId,
    waiters: VecDeque<Waiter>,
}

type Waiter = oneshot::Sender<Place>;

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
                interactive: Lines::default(),
                bulk: Lines::default(),
            }),
        })
    }

    /// A place, if there is one to be had at once.
    pub(super) fn try_take(self: &Arc<Self>) -> Option<Place> {
        let mut state = self.lock();
        state.free = state.free.checked_sub(1)?;
        Some(Place(Arc::clone(self)))
    }

    /// Waits for a place, no longer than `until`.
    ///
    /// # Errors
    /// [`Busy`], at once when the queue is full; in a full queue, a tenant that
    /// has fewer waiting takes the place of the last of the longest line.
    pub(super) async fn wait(
        self: &Arc<Self>,
        tenant: &TenantId,
        urgency: Urgency,
        until: Instant,
    ) -> Result<Place, Busy> {
        let waiter = {
            let mut state = self.lock();
            if state.free > 0 {
                state.free -= 1;
                return Ok(Place(Arc::clone(self)));
            }
            state.forget_gone();
            if state.waiting() >= self.length && !state.make_room(tenant, urgency) {
                return Err(Busy);
            }
            let (sender, waiter) = oneshot::channel();
            state.lines(urgency).push(tenant, sender);
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
            let next = state.pop();
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
    fn lines(&mut self, urgency: Urgency) -> &mut Lines {
        match urgency {
            Urgency::Interactive => &mut self.interactive,
            Urgency::Bulk => &mut self.bulk,
        }
    }

    fn forget_gone(&mut self) {
        self.interactive.forget_gone();
        self.bulk.forget_gone();
    }

    fn waiting(&self) -> usize {
        self.interactive.len() + self.bulk.len()
    }

    /// Sends somebody away for whom it is less unfair. False when there is
    /// nobody.
    fn make_room(&mut self, tenant: &TenantId, urgency: Urgency) -> bool {
        let favours_give_way = urgency == Urgency::Interactive && self.bulk.len() > 0;
        if favours_give_way {
            return self.bulk.pop_last_of_longest(0);
        }
        let lines = self.lines(urgency);
        lines.pop_last_of_longest(lines.len_of(tenant) + 1)
    }

    fn pop(&mut self) -> Option<Waiter> {
        loop {
            let next = self.interactive.pop().or_else(|| self.bulk.pop());
            if next.as_ref().is_none_or(|waiter| !waiter.is_closed()) {
                return next;
            }
        }
    }
}

impl Lines {
    fn len(&self) -> usize {
        self.0.iter().map(|line| line.waiters.len()).sum()
    }

    fn len_of(&self, tenant: &TenantId) -> usize {
        let line = self.0.iter().find(|line| line.tenant == *tenant);
        line.map_or(0, |line| line.waiters.len())
    }

    fn push(&mut self, tenant: &TenantId, waiter: Waiter) {
        if let Some(line) = self.0.iter_mut().find(|line| line.tenant == *tenant) {
            return line.waiters.push_back(waiter);
        }
        self.0.push_back(Line {
            tenant: tenant.clone(),
            waiters: VecDeque::from([waiter]),
        });
    }

    /// The next in turn; then it is the turn of the other tenants.
    fn pop(&mut self) -> Option<Waiter> {
        let mut line = self.0.pop_front()?;
        let waiter = line.waiters.pop_front();
        if !line.waiters.is_empty() {
            self.0.push_back(line);
        }
        waiter
    }

    /// Takes the last out of the longest line, if that is longer than `most`.
    fn pop_last_of_longest(&mut self, most: usize) -> bool {
        let longest = self.0.iter_mut().max_by_key(|line| line.waiters.len());
        let longest = longest.filter(|line| line.waiters.len() > most);
        longest.and_then(|line| line.waiters.pop_back()).is_some()
    }

    fn forget_gone(&mut self) {
        self.0.retain_mut(|line| {
            line.waiters.retain(|waiter| !waiter.is_closed());
            !line.waiters.is_empty()
        });
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
    use std::pin::Pin;
    use std::time::Duration;

    use futures_util::FutureExt;

    use super::*;

    type Wait<'a> = Pin<Box<dyn Future<Output = Result<Place, Busy>> + 'a>>;

    fn queue(places: usize, length: usize) -> Arc<Queue> {
        Queue::new(places, length, Gauge::default())
    }

    async fn wait_for(
        queue: &Arc<Queue>,
        tenant: &str,
        urgency: Urgency,
        patience: Duration,
    ) -> Result<Place, Busy> {
        let until = Instant::now() + patience;
        queue.wait(&tenant.parse().unwrap(), urgency, until).await
    }

    fn wait<'a>(queue: &'a Arc<Queue>, tenant: &'a str, urgency: Urgency) -> Wait<'a> {
        Box::pin(wait_for(queue, tenant, urgency, Duration::from_mins(1)))
    }

    /// Waits, and has to.
    fn enqueue<'a>(queue: &'a Arc<Queue>, tenant: &'a str, urgency: Urgency) -> Wait<'a> {
        let mut wait = wait(queue, tenant, urgency);
        assert!(wait.as_mut().now_or_never().is_none());
        wait
    }

    /// The place goes round in this order.
    fn assert_turns(place: Place, waits: &mut [Wait<'_>], turns: &[usize]) {
        let mut place = Some(place);
        for turn in turns {
            drop(place.take());
            let next = waits[*turn].as_mut().now_or_never();
            place = Some(next.expect("it is its turn").unwrap());
        }
    }

    #[tokio::test]
    async fn those_who_wait_come_before_nobody_who_does_and_then_in_order() {
        let queue = queue(1, 4);
        let place = queue.try_take().unwrap();
        assert!(queue.try_take().is_none());
        let urgencies = [
            Urgency::Bulk,
            Urgency::Interactive,
            Urgency::Bulk,
            Urgency::Interactive,
        ];
        let mut waits = urgencies.map(|urgency| enqueue(&queue, "a", urgency));
        assert_eq!(queue.waiting.get(), 4);
        assert_turns(place, &mut waits, &[1, 3, 0, 2]);
        assert_eq!(queue.waiting.get(), 0);
    }

    #[tokio::test]
    async fn tenants_take_turns_however_many_wait_of_one() {
        let queue = queue(1, 10);
        let place = queue.try_take().unwrap();
        let tenants = ["a", "a", "a", "b", "b", "c"];
        let mut waits = tenants.map(|tenant| enqueue(&queue, tenant, Urgency::Interactive));
        assert_turns(place, &mut waits, &[0, 3, 5, 1, 4, 2]);
    }

    #[tokio::test]
    async fn queue_is_bounded_and_those_who_leave_make_room() {
        let queue = queue(1, 1);
        let place = queue.try_take().unwrap();
        let first = enqueue(&queue, "a", Urgency::Interactive);
        for tenant in ["a", "b"] {
            let second = wait(&queue, tenant, Urgency::Interactive).now_or_never();
            assert!(matches!(second, Some(Err(Busy))));
        }
        drop(first);
        let third = enqueue(&queue, "a", Urgency::Interactive);
        drop(place);
        assert!(third.await.is_ok());
    }

    #[tokio::test]
    async fn full_queue_has_room_for_who_waits_less() {
        let queue = queue(1, 4);
        let place = queue.try_take().unwrap();
        let mut waits: Vec<_> = (0..3)
            .map(|_| enqueue(&queue, "a", Urgency::Interactive))
            .collect();
        waits.push(enqueue(&queue, "c", Urgency::Bulk));
        // A favour gives way first, then the last of the longest line.
        waits.push(enqueue(&queue, "b", Urgency::Interactive));
        assert!(matches!(waits[3].as_mut().now_or_never(), Some(Err(Busy))));
        waits.push(enqueue(&queue, "b", Urgency::Interactive));
        assert!(matches!(waits[2].as_mut().now_or_never(), Some(Err(Busy))));
        // They have two each.
        let more = wait(&queue, "b", Urgency::Interactive).now_or_never();
        assert!(matches!(more, Some(Err(Busy))));
        assert_turns(place, &mut waits, &[0, 4, 1, 5]);
    }

    #[tokio::test]
    async fn place_given_to_who_left_before_noticing_is_not_lost() {
        let queue = queue(1, 1);
        let place = queue.try_take().unwrap();
        let waits = enqueue(&queue, "a", Urgency::Interactive);
        drop(place);
        drop(waits);
        assert!(queue.try_take().is_some());
    }

    #[tokio::test]
    async fn patience_ends() {
        let queue = queue(1, 1);
        let _place = queue.try_take().unwrap();
        let wait = wait_for(&queue, "a", Urgency::Interactive, Duration::from_millis(5));
        assert_eq!(wait.await.err(), Some(Busy));
        assert_eq!(queue.waiting.get(), 0);
    }
}
