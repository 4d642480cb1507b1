//! Mappings between two uses: memory that is mapped anew costs a page fault
//! for every 4 KiB of it, more in all than anything else that is done with a
//! part but its digest.

use std::collections::VecDeque;
use std::ops::RangeInclusive;

use memmap2::MmapMut;

/// Mappings that nobody uses now. What they had before is still in them.
#[derive(Debug, Default)]
pub(super) struct Spares {
    /// The longest unused first.
    mappings: VecDeque<MmapMut>,
    bytes: usize,
    /// The most bytes that were in use lately: with what is spare it is never
    /// more.
    needed_bytes: usize,
}

impl Spares {
    /// Keeps one that is not used any more.
    pub(super) fn keep(&mut self, mapping: MmapMut) {
        self.bytes += mapping.len();
        self.mappings.push_back(mapping);
    }

    /// One of such a length: that which was used last.
    pub(super) fn take(&mut self, len: &RangeInclusive<usize>) -> Option<MmapMut> {
        let fits = |mapping: &MmapMut| len.contains(&mapping.len());
        let index = self.mappings.iter().rposition(fits)?;
        let mapping = self.mappings.remove(index)?;
        self.bytes -= mapping.len();
        Some(mapping)
    }

    /// What is not needed while so many bytes are in use: those longest unused.
    pub(super) fn surplus(&mut self, in_use: usize) -> Vec<MmapMut> {
        self.needed_bytes = self.needed_bytes.max(in_use);
        let mut surplus = Vec::new();
        while in_use + self.bytes > self.needed_bytes
            && let Some(mapping) = self.mappings.pop_front()
        {
            self.bytes -= mapping.len();
            surplus.push(mapping);
        }
        surplus
    }

    /// From now on only what is in use now is needed.
    pub(super) fn forget_need(&mut self) {
        self.needed_bytes = 0;
    }
}
