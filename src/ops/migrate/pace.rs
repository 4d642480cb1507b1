//! A limit of bytes a second for all transfers together.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

/// Lets bytes pass at a rate.
#[derive(Debug)]
pub(super) struct Pace {
    bytes_per_second: u64,
    /// When all that has been let pass will have passed at that rate.
    free_at: Mutex<Instant>,
}

impl Pace {
    pub(super) fn new(bytes_per_second: u64) -> Self {
        Self {
            bytes_per_second,
            free_at: Mutex::new(Instant::now()),
        }
    }

    /// Waits until so many more bytes may pass. Who asks takes its turn at
    /// once, so that nobody is passed over.
    pub(super) async fn wait(&self, bytes: usize) {
        let takes = Duration::from_secs_f64(bytes as f64 / self.bytes_per_second as f64);
        let begin = {
            let mut free_at = self.free_at.lock().unwrap_or_else(PoisonError::into_inner);
            let begin = Instant::now().max(*free_at);
            *free_at = begin + takes;
            begin
        };
        sleep_until(begin).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn many_together_keep_to_the_rate() {
        let pace = Pace::new(1000);
        let start = Instant::now();
        let waits = (0..11).map(|_| pace.wait(500));
        futures_util::future::join_all(waits).await;
        assert_eq!(start.elapsed().as_secs(), 5);
    }
}
