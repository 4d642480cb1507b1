//! A limit of bytes a second for all transfers together.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

/// Lets bytes pass at a rate.
#[derive(Debug)]
pub(super) struct Pace {
    bytes_per_second: u32,
    /// When all that has been let pass will have passed at that rate.
    free_at: Mutex<Instant>,
}

impl Pace {
    pub(super) fn new(bytes_per_second: u64) -> Self {
        Self {
            // What is faster than this is no limit.
            bytes_per_second: u32::try_from(bytes_per_second).unwrap_or(u32::MAX),
            free_at: Mutex::new(Instant::now()),
        }
    }

    /// Waits until so many more bytes may pass. Who asks takes its turn at
    /// once, so that nobody is passed over.
    pub(super) async fn wait(&self, bytes: usize) {
        sleep_until(self.turn(Instant::now(), bytes)).await;
    }

    fn turn(&self, now: Instant, bytes: usize) -> Instant {
        let takes = Duration::from_secs(bytes as u64) / self.bytes_per_second;
        let mut free_at = self.free_at.lock().unwrap_or_else(PoisonError::into_inner);
        let begin = now.max(*free_at);
        *free_at = begin + takes;
        begin
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_together_keep_to_the_rate() {
        let pace = Pace::new(1000);
        let now = Instant::now();
        let last = (0..11).map(|_| pace.turn(now, 500)).last().unwrap();
        assert_eq!((last - now).as_secs(), 5);
        let later = now + Duration::from_mins(1);
        assert_eq!(pace.turn(later, 500), later, "rest is not saved up");
    }
}
