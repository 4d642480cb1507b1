//! Part buffers: memory taken from the [budget](crate::budget) before it is
//! touched, and given back to the system, not only to the allocator, as soon
//! as the last reader drops its [`Bytes`].

use bytes::Bytes;
use memmap2::MmapMut;

use crate::budget::{Exhausted, Permit, Share};

/// Below this an allocation is cheaper than a mapping.
const MIN_MAPPING_BYTES: usize = 128 * 1024;

/// A buffer being filled.
#[derive(Debug)]
pub struct Buffer {
    memory: Memory,
    len: usize,
    _permit: Permit,
}

#[derive(Debug)]
enum Memory {
    Allocated(Box<[u8]>),
    Mapped(MmapMut),
}

impl Buffer {
    /// A buffer for `bytes`, or for a tenant's whole share if that is less.
    ///
    /// # Errors
    /// [`Exhausted`] when the memory was not to be had in time.
    pub async fn acquire(share: &Share, bytes: usize) -> Result<Self, Exhausted> {
        Self::new(share.acquire(bytes).await?)
    }

    /// A buffer for `bytes` if the memory can be spared.
    #[must_use]
    pub fn try_acquire(share: &Share, bytes: usize) -> Option<Self> {
        Self::new(share.try_acquire(bytes)?).ok()
    }

    fn new(permit: Permit) -> Result<Self, Exhausted> {
        let bytes = permit.bytes();
        let memory = if bytes < MIN_MAPPING_BYTES {
            Memory::Allocated(vec![0; bytes].into_boxed_slice())
        } else {
            Memory::Mapped(MmapMut::map_anon(bytes).map_err(|_| Exhausted)?)
        };
        Ok(Self {
            memory,
            len: 0,
            _permit: permit,
        })
    }

    /// Takes as many of `bytes` as there is room for, and says how many.
    pub fn fill(&mut self, bytes: &[u8]) -> usize {
        let room = match &mut self.memory {
            Memory::Allocated(memory) => &mut memory[self.len..],
            Memory::Mapped(memory) => &mut memory[self.len..],
        };
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
        match &self.memory {
            Memory::Allocated(memory) => memory.len(),
            Memory::Mapped(memory) => memory.len(),
        }
    }

    /// What has been filled in, shared without copying.
    #[must_use]
    pub fn freeze(self) -> Bytes {
        Bytes::from_owner(self)
    }
}

impl AsRef<[u8]> for Buffer {
    fn as_ref(&self) -> &[u8] {
        match &self.memory {
            Memory::Allocated(memory) => &memory[..self.len],
            Memory::Mapped(memory) => &memory[..self.len],
        }
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
}
