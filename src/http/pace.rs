//! Protects against peers who take or send bytes so slowly that they only hold
//! what others need.

use std::time::Duration;

use thiserror::Error;

/// The peer was too slow for too long.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("the peer is too slow")]
pub struct TooSlow;

/// What is asked of a peer.
#[derive(Clone, Copy, Debug)]
pub struct PaceLimit {
    /// The longest wait for any byte.
    pub idle: Duration,
    /// The least rate, in bytes a second, over each such time of waiting.
    pub min_bytes_per_second: u64,
}

/// Measures one peer: only the time spent waiting for it counts.
#[derive(Debug)]
pub struct Pace {
    limit: PaceLimit,
    waited: Duration,
    bytes: u64,
}

impl Pace {
    /// A peer that has not been waited for.
    #[must_use]
    pub fn new(limit: PaceLimit) -> Self {
        Self {
            limit,
            waited: Duration::ZERO,
            bytes: 0,
        }
    }

    /// Notes that `bytes` came after a wait.
    ///
    /// # Errors
    /// [`TooSlow`] when a whole idle time's worth of waiting brought less than
    /// the least rate.
    pub fn note(&mut self, waited: Duration, bytes: u64) -> Result<(), TooSlow> {
        self.waited += waited;
        self.bytes += bytes;
        if self.waited < self.limit.idle {
            return Ok(());
        }
        let least = self
            .limit
            .min_bytes_per_second
            .saturating_mul(self.waited.as_secs());
        let enough = self.bytes >= least;
        self.waited = Duration::ZERO;
        self.bytes = 0;
        if enough { Ok(()) } else { Err(TooSlow) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: PaceLimit = PaceLimit {
        idle: Duration::from_secs(10),
        min_bytes_per_second: 100,
    };

    #[test]
    fn a_trickle_is_too_slow() {
        let mut pace = Pace::new(LIMIT);
        assert_eq!(pace.note(Duration::from_secs(9), 1), Ok(()));
        assert_eq!(pace.note(Duration::from_secs(9), 1), Err(TooSlow));
    }

    #[test]
    fn a_steady_peer_may_take_as_long_as_it_likes() {
        let mut pace = Pace::new(LIMIT);
        for _ in 0..100 {
            assert_eq!(pace.note(Duration::from_secs(5), 600), Ok(()));
        }
    }
}
