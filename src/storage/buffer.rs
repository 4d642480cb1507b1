//! Part buffers: memory taken from the [budget](crate::budget) before it is
//! touched, and given back to it as soon as the last reader drops its
//! [`Bytes`]. Large ones are mappings, which do not stay with the allocator.

use bytes::Bytes;

use crate::budget::{Exhausted, Permit, Share};

/// Below this an allocation is cheaper than a mapping.
const MIN_MAPPING_BYTES: usize = 128 * 1024;

/// A buffer being filled.
#[derive(Debug)]
pub struct Buffer {
    /// Has the memory, if it is a mapping.
    permit: Permit,
    /// It is this, if not.
    allocated: Box<[u8]>,
    len: usize,
}

impl Buffer {
    /// A buffer for `bytes`, or for a tenant's whole share if that is less.
    ///
    /// # Errors
    /// [`Exhausted`] when the memory was not to be had in time.
    pub async fn acquire(share: &Share, bytes: usize) -> Result<Self, Exhausted> {
        if bytes >= MIN_MAPPING_BYTES {
            return Ok(Self::new(share.acquire_mapped(bytes).await?));
        }
        let permit = share.acquire(bytes).await?;
        Ok(Self {
            allocated: vec![0; permit.bytes()].into_boxed_slice(),
            ..Self::new(permit)
        })
    }

    /// A buffer for `bytes` if the memory can be spared.
    #[must_use]
    pub fn try_acquire(share: &Share, bytes: usize) -> Option<Self> {
        share.try_acquire_mapped(bytes).map(Self::new)
    }

    fn new(permit: Permit) -> Self {
        Self {
            permit,
            allocated: Box::default(),
            len: 0,
        }
    }

    /// Takes as many of `bytes` as there is room for, and says how many.
    pub fn fill(&mut self, bytes: &[u8]) -> usize {
        let memory = self.permit.memory_mut().unwrap_or(&mut self.allocated);
        let room = &mut memory[self.len..];
        let count = room.len().min(bytes.len());
        room[..count].copy_from_slice(&bytes[..count]);
        self.len += count;
        count
    }

    /// True when nothing more fits.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.len == self.capacity()
    }

    /// How many bytes fit in all.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.permit.bytes()
    }

    /// What has been filled in, shared without copying.
    #[must_use]
    pub fn freeze(self) -> Bytes {
        Bytes::from_owner(self)
    }
}

impl AsRef<[u8]> for Buffer {
    fn as_ref(&self) -> &[u8] {
        // Nothing but what has been filled in: others had the same memory.
        &self.permit.memory().unwrap_or(&self.allocated)[..self.len]
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::budget::Budget;

    #[tokio::test]
    async fn memory_is_given_back_when_the_last_reader_is_gone() {
        let budget = Budget::new(1 << 20, 1 << 20, Duration::ZERO);
        let share = budget.share();
        for capacity in [10, 1 << 20] {
            let mut buffer = Buffer::acquire(&share, capacity).await.unwrap();
            assert_eq!(buffer.fill(b"hello"), 5);
            assert!(!buffer.is_full());
            let bytes = buffer.freeze();
            let slice = bytes.slice(1..3);
            drop(bytes);
            assert_eq!(budget.used_bytes(), capacity);
            assert_eq!(&slice[..], b"el");
            drop(slice);
            assert_eq!(budget.used_bytes(), 0);
        }
    }

    #[tokio::test]
    async fn nobody_sees_what_others_had_in_the_same_memory() {
        let budget = Budget::new(2 << 20, 2 << 20, Duration::ZERO);
        let share = budget.share();
        for bytes in [b"a secret".as_slice(), b"a word"] {
            let mut buffer = Buffer::acquire(&share, 1 << 20).await.unwrap();
            buffer.fill(bytes);
            assert_eq!(buffer.freeze(), bytes);
        }
    }
}
