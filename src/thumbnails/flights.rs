//! One search for a thumbnail at a time: whoever asks for what is being looked
//! for or made waits for the outcome, whatever it is being made of.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::watch;

use super::{ThumbnailError, Wish};
use crate::cache::{CacheKey, Tenancy};
use crate::key::{FileKey, Original};
use crate::render::pool::Busy;

/// So many searches may be under way at once.
const MAX_UNDER_WAY: usize = 1024;
/// So many of one tenant.
const MAX_OF_TENANT: usize = MAX_UNDER_WAY / 2;

type Outcome = Result<Bytes, ThumbnailError>;

/// The searches under way.
#[derive(Debug, Default)]
pub(super) struct Flights {
    under_way: Mutex<HashMap<CacheKey, Arc<Flight>>>,
    /// What is being cleared now. Looked at while `under_way` is locked.
    cleared: Mutex<Vec<Scope>>,
}

/// Thumbnails of a tenant: of one original, or all.
type Scope = (Tenancy, Option<Original>);

#[derive(Debug)]
struct Flight {
    source: Option<FileKey>,
    outcome: watch::Sender<Option<Outcome>>,
    /// False when what is found may be handed out but not kept, because
    /// thumbnails are or have been cleared. Locked while it is being kept.
    may_keep: tokio::sync::Mutex<bool>,
}

/// What to do about a wish.
pub(super) enum Join {
    /// Fulfil it.
    First(Leader),
    /// Wait: somebody does.
    Later(Waiter),
    /// Wait: somebody does, of another source. If that comes to nothing, try
    /// again.
    Perhaps(Waiter),
}

/// Who searches. Dropped without an outcome, it fails all who wait.
pub(super) struct Leader {
    flights: Arc<Flights>,
    wish: Wish,
    flight: Arc<Flight>,
}

/// Who waits for the outcome of a search.
pub(super) struct Waiter(watch::Receiver<Option<Outcome>>);

/// Thumbnails are being cleared: until it is dropped, none of them is kept.
pub(super) struct Clearing<'a> {
    flights: &'a Flights,
    scope: Scope,
}

/// What has been found is being kept; nothing is cleared until this is dropped.
pub(super) struct Keeping<'a>(tokio::sync::MutexGuard<'a, bool>);

impl Flights {
    /// Joins the search for what is wished, or begins it.
    pub(super) fn join(self: &Arc<Self>, wish: Wish) -> Result<Join, Busy> {
        let mut under_way = self.lock();
        if let Some(flight) = under_way.get(&wish.key) {
            let waiter = Waiter(flight.outcome.subscribe());
            return Ok(if flight.source == wish.source {
                Join::Later(waiter)
            } else {
                Join::Perhaps(waiter)
            });
        }
        let of_tenant = under_way.keys();
        let of_tenant = of_tenant.filter(|key| key.tenant == wish.key.tenant);
        if under_way.len() >= MAX_UNDER_WAY || of_tenant.count() >= MAX_OF_TENANT {
            return Err(Busy);
        }
        let flight = Arc::new(Flight {
            source: wish.source.clone(),
            outcome: watch::Sender::new(None),
            may_keep: tokio::sync::Mutex::new(!self.is_being_cleared(&wish.key)),
        });
        under_way.insert(wish.key.clone(), Arc::clone(&flight));
        Ok(Join::First(Leader {
            flights: Arc::clone(self),
            wish,
            flight,
        }))
    }

    /// What searches find that are under way, or begin until the clearing is
    /// dropped, is not kept. Returns when nothing is being kept any more; who
    /// asks after the clearing begins anew.
    pub(super) async fn clear(&self, tenant: &Tenancy, original: Option<Original>) -> Clearing<'_> {
        let scope = (tenant.clone(), original);
        self.cleared().push(scope.clone());
        let clearing = Clearing {
            flights: self,
            scope,
        };
        for flight in self.take_out(&clearing.scope) {
            *flight.may_keep.lock().await = false;
        }
        clearing
    }

    fn is_being_cleared(&self, key: &CacheKey) -> bool {
        let cleared = self.cleared();
        let mut scopes = cleared.iter();
        scopes.any(|(tenant, original)| key.is_among(tenant, *original))
    }

    /// Takes out searches, so that nobody joins them any more.
    fn take_out(&self, (tenant, original): &Scope) -> Vec<Arc<Flight>> {
        let mut under_way = self.lock();
        let concerned = under_way.extract_if(|key, _| key.is_among(tenant, *original));
        concerned.map(|(_, flight)| flight).collect()
    }

    fn cleared(&self) -> MutexGuard<'_, Vec<Scope>> {
        self.cleared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<CacheKey, Arc<Flight>>> {
        // The map is consistent whenever the lock is free.
        let under_way = self.under_way.lock();
        under_way.unwrap_or_else(PoisonError::into_inner)
    }
}

impl Leader {
    /// What is searched for.
    pub(super) fn wish(&self) -> &Wish {
        &self.wish
    }

    /// One more who waits.
    pub(super) fn waiter(&self) -> Waiter {
        Waiter(self.flight.outcome.subscribe())
    }

    /// Begins to keep what was found.
    pub(super) async fn keeping(&self) -> Keeping<'_> {
        Keeping(self.flight.may_keep.lock().await)
    }

    /// Tells all who wait. After a failure, who asks from now on begins anew.
    pub(super) fn publish(&self, outcome: Outcome) {
        if outcome.is_err() {
            self.leave(&mut self.flights.lock());
        }
        self.flight.outcome.send_replace(Some(outcome));
    }

    /// Returns when nobody waits any more; who asks from now on begins anew.
    pub(super) async fn deserted(&self) {
        loop {
            self.flight.outcome.closed().await;
            // Nobody joins meanwhile.
            let mut under_way = self.flights.lock();
            if self.flight.outcome.receiver_count() == 0 {
                return self.leave(&mut under_way);
            }
        }
    }

    fn leave(&self, under_way: &mut HashMap<CacheKey, Arc<Flight>>) {
        let key = &self.wish.key;
        // It may be another's by now.
        let is_own = |flight: &Arc<Flight>| Arc::ptr_eq(flight, &self.flight);
        if under_way.get(key).is_some_and(is_own) {
            under_way.remove(key);
        }
    }
}

impl Drop for Leader {
    fn drop(&mut self) {
        self.leave(&mut self.flights.lock());
    }
}

impl Drop for Clearing<'_> {
    fn drop(&mut self) {
        let mut cleared = self.flights.cleared();
        // Another may be clearing the same.
        if let Some(index) = cleared.iter().position(|scope| *scope == self.scope) {
            cleared.swap_remove(index);
        }
        drop(cleared);
        self.flights.take_out(&self.scope);
    }
}

impl Keeping<'_> {
    /// False when thumbnails have been cleared since, or when, the search began.
    pub(super) fn is_wanted(&self) -> bool {
        *self.0
    }
}

impl Waiter {
    /// Waits for the outcome.
    pub(super) async fn outcome(mut self) -> Outcome {
        match self.0.wait_for(Option::is_some).await.as_deref() {
            Ok(Some(outcome)) => outcome.clone(),
            _ => Err(ThumbnailError::Unavailable("the search broke off".into())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::tests::key;

    fn wish(tenant: &str, number: u64) -> Wish {
        Wish {
            key: key(tenant, number, 100),
            source: None,
        }
    }

    fn begin(flights: &Arc<Flights>, wish: Wish) -> Leader {
        match flights.join(wish) {
            Ok(Join::First(leader)) => leader,
            _ => panic!("it is under way"),
        }
    }

    fn follow(flights: &Arc<Flights>, wish: Wish) -> Waiter {
        match flights.join(wish) {
            Ok(Join::Later(waiter)) => waiter,
            _ => panic!("it is not under way"),
        }
    }

    #[tokio::test]
    async fn all_who_wait_get_the_outcome_of_the_first() {
        let flights = Arc::default();
        let leader = begin(&flights, wish("a", 1));
        let waiters = [leader.waiter(), follow(&flights, wish("a", 1))];
        begin(&flights, wish("a", 2));
        begin(&flights, wish("b", 1));
        leader.publish(Ok("found".into()));
        for waiter in waiters {
            assert_eq!(waiter.outcome().await.unwrap(), "found");
        }
        drop(leader);
        begin(&flights, wish("a", 1));
        assert!(flights.lock().is_empty());
    }

    #[tokio::test]
    async fn search_that_breaks_off_fails_those_who_wait() {
        let flights = Arc::default();
        let leader = begin(&flights, wish("a", 1));
        let waiter = follow(&flights, wish("a", 1));
        drop(leader);
        assert!(waiter.outcome().await.is_err());
    }

    #[tokio::test]
    async fn what_was_begun_before_the_end_of_a_clearing_is_not_kept() {
        let flights = Arc::<Flights>::default();
        let old = begin(&flights, wish("a", 1));
        let others = [begin(&flights, wish("a", 2)), begin(&flights, wish("b", 1))];
        let Wish { key, .. } = wish("a", 1);
        let original = key.thumbnail.original();
        let clearing = flights.clear(&key.tenant, Some(original)).await;
        let between = begin(&flights, wish("a", 1));
        drop(clearing);
        let new = begin(&flights, wish("a", 1));
        assert!(!old.keeping().await.is_wanted());
        assert!(!between.keeping().await.is_wanted());
        assert!(new.keeping().await.is_wanted());
        for other in &others {
            assert!(other.keeping().await.is_wanted());
        }
        // The end of the old one is not the end of the new one.
        drop((old, between));
        follow(&flights, wish("a", 1));
        drop(flights.clear(&key.tenant, None).await);
        assert!(!new.keeping().await.is_wanted());
        assert!(!others[0].keeping().await.is_wanted());
        assert!(others[1].keeping().await.is_wanted());
    }

    #[tokio::test]
    async fn clearing_waits_for_what_is_being_kept() {
        let flights = Arc::<Flights>::default();
        let leader = begin(&flights, wish("a", 1));
        let keeping = leader.keeping().await;
        let tenant = wish("a", 1).key.tenant;
        let mut clearing = std::pin::pin!(flights.clear(&tenant, None));
        assert!(futures_util::poll!(&mut clearing).is_pending());
        drop(keeping);
        drop(clearing.await);
    }

    #[tokio::test]
    async fn who_names_another_source_waits_and_may_try_again() {
        let flights = Arc::default();
        let of = |source| Wish {
            source: FileKey::parse(source).ok(),
            ..wish("a", 1)
        };
        let leader = begin(&flights, of("x"));
        let Ok(Join::Perhaps(waiter)) = flights.join(of("y")) else {
            panic!("it is under way")
        };
        leader.publish(Err(ThumbnailError::SourceMismatch));
        assert!(waiter.outcome().await.is_err());
        begin(&flights, of("y"));
    }

    #[tokio::test]
    async fn search_is_deserted_when_the_last_who_waits_has_gone() {
        let flights = Arc::default();
        let leader = begin(&flights, wish("a", 1));
        let waiters = [leader.waiter(), follow(&flights, wish("a", 1))];
        let mut deserted = Box::pin(leader.deserted());
        for waiter in waiters {
            assert!(futures_util::poll!(&mut deserted).is_pending());
            drop(waiter);
        }
        deserted.await;
        begin(&flights, wish("a", 1));
    }

    #[test]
    fn searches_are_limited_in_number_and_those_of_each_tenant() {
        let flights = Arc::default();
        let mut under_way = Vec::new();
        for tenant in ["a", "b"] {
            for number in 0..MAX_OF_TENANT as u64 {
                under_way.push(begin(&flights, wish(tenant, number)));
            }
            assert!(flights.join(wish(tenant, 1000)).is_err());
        }
        assert!(flights.join(wish("c", 1)).is_err());
        follow(&flights, wish("a", 1));
        under_way.pop();
        begin(&flights, wish("c", 1));
    }
}
