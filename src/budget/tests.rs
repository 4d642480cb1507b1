//! What tenants and callers may expect of the budget.

use std::time::Duration;

use futures_util::FutureExt;

use super::{Budget, Exhausted, Permit, Share};

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

const MIB: usize = 1 << 20;

#[tokio::test]
async fn a_mapping_is_used_again_unless_it_has_been_spare_for_long() {
    let budget = Budget::new(64 * MIB, 64 * MIB, PATIENCE);
    let share = budget.share();
    use_mapping(&share, 8 * MIB).await;
    let again = share.acquire_mapped(5 * MIB).await.unwrap();
    assert!(!is_new(&again));
    assert_eq!(again.memory().unwrap().len(), 5 * MIB);
    assert_eq!(budget.used_bytes(), 8 * MIB, "it counts in full");
    drop(again);
    assert!(!budget.sweep(), "there is nothing left to look at");
    assert!(is_new(&share.acquire_mapped(8 * MIB).await.unwrap()));
}

#[tokio::test]
async fn what_is_spare_makes_way_for_what_is_wanted() {
    let budget = Budget::new(10 * MIB, 10 * MIB, PATIENCE);
    let share = budget.share();
    use_mapping(&share, 8 * MIB).await;
    drop(share.acquire(3 * MIB).await.unwrap());
    assert!(is_new(&share.acquire_mapped(8 * MIB).await.unwrap()));
}

async fn use_mapping(share: &Share, bytes: usize) {
    let mut permit = share.acquire_mapped(bytes).await.unwrap();
    permit.memory_mut().unwrap()[0] = 1;
}

fn is_new(permit: &Permit) -> bool {
    permit.memory().unwrap()[0] == 0
}

#[tokio::test]
async fn reading_ahead_never_takes_more_than_half() {
    let budget = Budget::new(10, 10, PATIENCE);
    let share = budget.share();
    let ahead = share.try_acquire_mapped(5);
    assert!(ahead.is_some());
    assert!(share.try_acquire_mapped(1).is_none());
    assert!(share.acquire(5).await.is_ok());
}
