//! The memory of thumbnails on their way: of those that have been found and
//! are being handed out or stored. The cache has a bound of its own, but what
//! has left it, or never got in, is there until the last client has taken it.
//!
//! Nobody waits for room, which would take memory, too.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;

use crate::budget::{Budget, Permit, Share};
use crate::render::pool::Busy;
use crate::tenant::TenantId;

/// All that thumbnails on their way take, in bytes.
const ALL_BYTES: usize = 64 << 20;
/// What those of one tenant take, so that it cannot keep the others out.
const TENANT_BYTES: usize = ALL_BYTES / 2;

/// Room for thumbnails on their way.
#[derive(Debug)]
pub(super) struct Room {
    budget: Arc<Budget>,
    shares: Mutex<HashMap<TenantId, Share>>,
}

impl Default for Room {
    fn default() -> Self {
        Self {
            budget: Budget::new(ALL_BYTES, TENANT_BYTES, Duration::ZERO),
            shares: Mutex::default(),
        }
    }
}

impl Room {
    /// Room for a thumbnail of so many bytes, if there is any now.
    pub(super) async fn take(&self, tenant: &TenantId, bytes: usize) -> Result<Permit, Busy> {
        let share = {
            let shares = self.shares.lock();
            let mut shares = shares.unwrap_or_else(PoisonError::into_inner);
            let new = || self.budget.share();
            shares.entry(tenant.clone()).or_insert_with(new).clone()
        };
        share.acquire(bytes).await.map_err(|_| Busy)
    }
}

/// The same bytes, with the room that they take as long as anybody has them.
pub(super) fn held(bytes: Bytes, room: Permit) -> Bytes {
    struct Held(
        Bytes,
        #[expect(dead_code, reason = "held, not read")] Permit,
    );
    impl AsRef<[u8]> for Held {
        fn as_ref(&self) -> &[u8] {
            &self.0
        }
    }
    Bytes::from_owner(Held(bytes, room))
}
