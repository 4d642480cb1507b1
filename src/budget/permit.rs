//! The way to memory: a tenant's share, the wait for a permit, and the permit,
//! which gives back what was granted however it ends.

use std::sync::Arc;

use memmap2::MmapMut;
use tokio::sync::oneshot;

use super::{Budget, Exhausted, Held, Waiter, Wish};

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
    pub(super) fn new(budget: Arc<Budget>, holder: u64) -> Self {
        let inner = ShareInner { budget, holder };
        Self {
            inner: Arc::new(inner),
        }
    }

    /// Waits for a permit for `bytes`, or for the whole share if that is less.
    ///
    /// # Errors
    /// [`Exhausted`] when there was none in time.
    pub async fn acquire(&self, bytes: usize) -> Result<Permit, Exhausted> {
        self.wait_for(bytes, None).await
    }

    /// The same with the memory itself.
    ///
    /// # Errors
    /// As [`acquire`](Self::acquire), and when the system has no memory.
    pub async fn acquire_mapped(&self, bytes: usize) -> Result<Permit, Exhausted> {
        // Much longer ones would keep others from what nobody fills.
        let most_spare = bytes.saturating_mul(2);
        self.wait_for(bytes, Some(most_spare)).await?.mapped()
    }

    async fn wait_for(&self, bytes: usize, most_spare: Option<usize>) -> Result<Permit, Exhausted> {
        let budget = &self.inner.budget;
        let bytes = bytes.min(budget.share_bytes);
        let wish = Wish { bytes, most_spare };
        let (granted, mut waiting) = oneshot::channel();
        budget.change(|state| {
            if let Some(holder) = state.holders.get_mut(&self.inner.holder) {
                holder.queue.push_back(Waiter { wish, granted });
            }
            budget.grant_waiting(state);
        });
        // Made before the wait, so that a grant is given back if the caller is
        // dropped between being granted and being told.
        let mut grant = Grant {
            share: self,
            waiting: &mut waiting,
            taken: false,
        };
        match tokio::time::timeout(budget.patience, &mut *grant.waiting).await {
            Ok(Ok(held)) => {
                grant.taken = true;
                drop(grant);
                Ok(self.permit(bytes, held))
            }
            _ => Err(Exhausted),
        }
    }

    /// A permit with memory for `bytes` if nobody has to wait for it, and if
    /// half of the budget is left then: for what is useful but not needed.
    #[must_use]
    pub fn try_acquire_mapped(&self, bytes: usize) -> Option<Permit> {
        let budget = &self.inner.budget;
        let wish = Wish {
            bytes,
            most_spare: Some(bytes),
        };
        let held = budget.change(|state| {
            let holder = state.holders.get(&self.inner.holder)?;
            let fits = state.used_bytes + bytes <= budget.total_bytes / 2
                && holder.used_bytes + bytes <= budget.share_bytes
                && state.holders.values().all(|holder| holder.queue.is_empty());
            fits.then(|| budget.take(state, self.inner.holder, wish))
        })?;
        self.permit(bytes, held).mapped().ok()
    }

    fn permit(&self, bytes: usize, held: Held) -> Permit {
        Permit {
            share: self.clone(),
            bytes,
            held,
        }
    }
}

/// A wait for a permit. Dropped without `taken`, it gives back what may have
/// been granted meanwhile.
struct Grant<'a> {
    share: &'a Share,
    waiting: &'a mut oneshot::Receiver<Held>,
    taken: bool,
}

impl Drop for Grant<'_> {
    fn drop(&mut self) {
        if self.taken {
            return;
        }
        self.waiting.close();
        let ShareInner { budget, holder } = &*self.share.inner;
        match self.waiting.try_recv() {
            Ok(held) => budget.release(*holder, held),
            // This wish may have been the one that held up the others.
            Err(_) => budget.change(|state| budget.grant_waiting(state)),
        }
    }
}

/// The right to hold so many bytes; given back when dropped.
#[derive(Debug)]
pub struct Permit {
    share: Share,
    bytes: usize,
    held: Held,
}

impl Permit {
    /// How many bytes may be held: less than asked for when the share is less.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// The memory, where it was acquired with it. What others had in it may
    /// still be there.
    #[must_use]
    pub fn memory(&self) -> Option<&[u8]> {
        let mapping = self.held.mapping.as_ref()?;
        mapping.get(..self.bytes)
    }

    /// The memory, to be filled.
    #[must_use]
    pub fn memory_mut(&mut self) -> Option<&mut [u8]> {
        let mapping = self.held.mapping.as_mut()?;
        mapping.get_mut(..self.bytes)
    }

    fn mapped(mut self) -> Result<Self, Exhausted> {
        if self.held.mapping.is_none() {
            let mapping = MmapMut::map_anon(self.bytes).map_err(|_| Exhausted)?;
            self.held.mapping = Some(mapping);
        }
        self.share.inner.budget.watch();
        Ok(self)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let inner = &self.share.inner;
        let held = std::mem::take(&mut self.held);
        inner.budget.release(inner.holder, held);
    }
}
