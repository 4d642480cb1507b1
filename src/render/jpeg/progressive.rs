//! Scans of progressive files (annex G): each brings some bits of some
//! coefficients of every block. Only those that are kept are held in memory.

use super::bits::{Cursor, Window};
use super::huffman::{Skip, Table};
use super::plane::Canvas;
use super::scan::{Mcus, Slot};
use super::sequential::difference;

/// The kept coefficients of a component, block by block.
pub(super) struct Store {
    kept: usize,
    /// Blocks, across and down.
    blocks: (usize, usize),
    coefficients: Vec<i16>,
    /// By coefficient: the first scan of it was decoded.
    seen: [bool; 25],
    /// All bits of the DC coefficients are there.
    pub(super) dc_complete: bool,
}

impl Store {
    /// For `kept` coefficients of each block.
    pub(super) fn new(blocks: (usize, usize), kept: usize) -> Self {
        Self {
            kept,
            blocks,
            coefficients: vec![0; blocks.0 * blocks.1 * kept],
            seen: [false; 25],
            dc_complete: false,
        }
    }

    /// The kept coefficients of a block; none of one that is not in the picture.
    #[inline]
    fn block(&mut self, (column, row): (usize, usize)) -> &mut [i16] {
        if column >= self.blocks.0 {
            return &mut [];
        }
        let from = (row * self.blocks.0 + column) * self.kept;
        let block = self.coefficients.get_mut(from..from + self.kept);
        block.unwrap_or_default()
    }

    /// A scan of this band is decoded.
    pub(super) fn saw(&mut self, (first, last): (usize, usize)) {
        for (_, seen) in (0..=last).zip(&mut self.seen).skip(first) {
            *seen = true;
        }
    }

    /// True when no scan brings anything more.
    pub(super) fn is_complete(&self) -> bool {
        self.dc_complete && self.seen[1..self.kept].iter().all(|&seen| seen)
    }

    /// Draws all blocks.
    pub(super) fn draw<const KEPT: usize>(&self, canvas: &mut Canvas) {
        let (columns, _) = self.blocks;
        for (index, block) in self.coefficients.chunks_exact(KEPT).enumerate() {
            canvas.draw::<KEPT>((index % columns, index / columns), block);
        }
    }
}

/// The first scan of DC coefficients.
pub(super) struct DcFirst<'a> {
    /// What of each component is decoded: its place, table and predictor.
    pub(super) components: Vec<(&'a mut Store, &'a Table, i16)>,
    pub(super) slots: Vec<Slot>,
    pub(super) low: u32,
}

impl Mcus for DcFirst<'_> {
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
pub(super) struct DcRefinement<'a> {
    pub(super) components: Vec<&'a mut Store>,
    pub(super) slots: Vec<Slot>,
    pub(super) low: u32,
}

impl Mcus for DcRefinement<'_> {
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

/// The first scan of a band of AC coefficients. Refinements of them are not
/// read: to find the bits of one coefficient takes decoding all of them.
pub(super) struct AcFirst<'a> {
    pub(super) store: &'a mut Store,
    pub(super) table: &'a Table,
    pub(super) skip: &'a Skip,
    pub(super) band: (usize, usize),
    pub(super) low: u32,
    /// Blocks to come that have no more coefficients in the band.
    pub(super) empty: u32,
}

impl Mcus for AcFirst<'_> {
    fn restart(&mut self) {
        self.empty = 0;
    }

    fn needs_no_bits(&self) -> bool {
        self.empty > 0
    }

    #[inline]
    fn decode(&mut self, cursor: &mut Cursor, window: &Window, mcu: (usize, usize)) {
        if self.empty > 0 {
            self.empty -= 1;
            return;
        }
        let (mut place, last) = self.band;
        let block = self.store.block(mcu);
        // What the missing bits are worth, on average.
        let rest = (1_i16 << self.low >> 1) - i16::from(self.low > 0);
        let mut end = 0;
        while place <= last {
            if place >= block.len() {
                let from = place + 63 - last;
                end = self.skip.pass(self.table, cursor, window, from);
                break;
            }
            cursor.refill(window);
            let bits = cursor.bits();
            let symbol = self.table.symbol(bits);
            cursor.skip(symbol.total_bits());
            match (symbol.run(), symbol.size()) {
                (15, 0) => place += 16,
                (run, 0) => {
                    end = run;
                    break;
                }
                (run, _) => {
                    place += run as usize;
                    if let Some(to) = block.get_mut(place) {
                        let number = symbol.number(bits);
                        *to = (number << self.low).wrapping_add(rest * number.signum());
                    }
                    place += 1;
                }
            }
        }
        if end > 0 {
            cursor.refill(window);
            self.empty = (1 << end) - 1 + cursor.take(end);
        }
    }
}
