//! Progressive files (annex G): each scan brings some bits of some coefficients
//! of every block. Only those that are kept are held in memory.

use super::bits::{Cursor, Window};
use super::huffman::Table;
use super::idct::{kept, zigzag};
use super::plane::Canvas;
use super::scan::{Mcus, Slot};
use super::sequential::difference;

/// The kept coefficients of a component, `SIDE × SIDE` of each block.
pub(super) struct Store<const SIDE: usize> {
    /// Blocks, across and down.
    blocks: (usize, usize),
    /// Row by row, block by block.
    coefficients: Vec<i16>,
    /// By block: which of all its coefficients are not zero, as bits in zigzag
    /// order. Needed to find the bits of refinements.
    nonzero: Vec<u64>,
    /// Which coefficients, in zigzag order, need no more scans.
    complete: u64,
}

impl<const SIDE: usize> Store<SIDE> {
    /// True when refinements of AC coefficients are read. To find the bits of
    /// one takes decoding all coefficients of the block in all scans, and below
    /// half of the size what they are worth is hardly seen.
    pub(super) const REFINED: bool = SIDE >= 4;

    /// All zeros.
    pub(super) fn new(blocks: (usize, usize)) -> Self {
        let count = blocks.0 * blocks.1;
        Self {
            blocks,
            coefficients: vec![0; count * SIDE * SIDE],
            nonzero: vec![0; if Self::REFINED { count } else { 0 }],
            complete: 0,
        }
    }

    /// True when the first scan of a band that begins here is wanted.
    pub(super) fn wants_from(first: usize) -> bool {
        Self::REFINED || first < kept(SIDE)
    }

    /// The coefficients of a block; none of one that is not in the picture.
    #[inline]
    fn block(&mut self, (column, row): (usize, usize)) -> &mut [i16] {
        if column >= self.blocks.0 {
            return &mut [];
        }
        let from = (row * self.blocks.0 + column) * SIDE * SIDE;
        let block = self.coefficients.get_mut(from..from + SIDE * SIDE);
        block.unwrap_or_default()
    }

    /// The coefficients of a block, and which of all are not zero, where that
    /// is kept.
    #[inline]
    pub(super) fn parts(
        &mut self,
        (column, row): (usize, usize),
    ) -> (&mut [i16], Option<&mut u64>) {
        let index = row * self.blocks.0 + column;
        let from = index * SIDE * SIDE;
        let block = self.coefficients.get_mut(from..from + SIDE * SIDE);
        (block.unwrap_or_default(), self.nonzero.get_mut(index))
    }

    /// A scan of this band down to the bit `low` is decoded.
    pub(super) fn saw(&mut self, (first, last): (usize, usize), low: u32) {
        let is_last = low == 0 || first > 0 && !Self::REFINED;
        for place in first..=last.min(63) {
            self.complete |= u64::from(is_last) << place;
        }
    }

    /// True when no scan brings anything more.
    pub(super) fn is_complete(&self) -> bool {
        zigzag(SIDE)
            .iter()
            .all(|place| self.complete >> place & 1 == 1)
    }

    /// Draws all blocks.
    pub(super) fn draw(&self, canvas: &mut Canvas<SIDE>) {
        let rows = self.coefficients.chunks_exact(self.blocks.0 * SIDE * SIDE);
        for (row, blocks) in rows.enumerate() {
            for (column, block) in blocks.chunks_exact(SIDE * SIDE).enumerate() {
                canvas.draw((column, row), block);
            }
        }
    }
}

/// The first scan of DC coefficients.
pub(super) struct DcFirst<'a, const SIDE: usize> {
    /// Of each component: where it goes, its table and its predictor.
    pub(super) components: Vec<(&'a mut Store<SIDE>, &'a Table, i16)>,
    pub(super) slots: Vec<Slot>,
    pub(super) low: u32,
}

impl<const SIDE: usize> Mcus for DcFirst<'_, SIDE> {
    fn restart(&mut self) {
        for (_, _, predictor) in &mut self.components {
            *predictor = 0;
        }
    }

    #[inline]
    fn decode(&mut self, cursor: &mut Cursor, window: &Window, mcu: (usize, usize)) {
        for slot in &self.slots {
            if let Some((store, table, predictor)) = self.components.get_mut(slot.order) {
                *predictor = predictor.wrapping_add(difference(table, cursor, window));
                if let Some(dc) = store.block(slot.block(mcu)).first_mut() {
                    *dc = *predictor << self.low;
                }
            }
        }
    }
}

/// A further bit of DC coefficients.
pub(super) struct DcRefinement<'a, const SIDE: usize> {
    pub(super) components: Vec<&'a mut Store<SIDE>>,
    pub(super) slots: Vec<Slot>,
    pub(super) low: u32,
}

impl<const SIDE: usize> Mcus for DcRefinement<'_, SIDE> {
    fn restart(&mut self) {}

    #[inline]
    fn decode(&mut self, cursor: &mut Cursor, window: &Window, mcu: (usize, usize)) {
        cursor.refill(window);
        for slot in &self.slots {
            let bit = i16::from(cursor.take(1) == 1);
            if let Some(store) = self.components.get_mut(slot.order)
                && let Some(dc) = store.block(slot.block(mcu)).first_mut()
            {
                *dc |= bit << self.low;
            }
        }
    }
}
