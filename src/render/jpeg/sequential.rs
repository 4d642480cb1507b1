//! Scans of baseline and extended files: whole blocks, straight into samples.

use super::bits::{Cursor, LOADED, Window};
use super::huffman::{MOST_BITS, Skip, Symbol, Table};
use super::idct::{kept, place};
use super::plane::Canvas;
use super::scan::{Mcus, Slot};

/// Decodes the MCUs of a scan, to `SIDE × SIDE` samples of a block.
pub(super) struct Sequential<'a, const SIDE: usize> {
    pub(super) components: Vec<Coded<'a, SIDE>>,
    pub(super) slots: Vec<Slot>,
    /// The coefficients of the block at hand that are kept, row by row; behind
    /// them there is anything.
    pub(super) block: [i16; ROOM],
}

/// A component and its tables.
pub(super) struct Coded<'a, const SIDE: usize> {
    pub(super) canvas: &'a mut Canvas<SIDE>,
    pub(super) dc: &'a Table,
    pub(super) ac: &'a Table,
    pub(super) skip: &'a Skip,
    pub(super) predictor: i16,
}

/// More than the 64 that may be kept, and one for the others; a power of two.
pub(super) const ROOM: usize = 128;

impl<const SIDE: usize> Mcus for Sequential<'_, SIDE> {
    fn restart(&mut self) {
        for component in &mut self.components {
            component.predictor = 0;
        }
    }

    #[inline]
    fn decode(&mut self, cursor: &mut Cursor, window: &Window, mcu: (usize, usize)) {
        for slot in &self.slots {
            let Some(component) = self.components.get_mut(slot.order) else {
                continue;
            };
            component.predictor =
                component
                    .predictor
                    .wrapping_add(difference(component.dc, cursor, window));
            let block = &mut self.block;
            block[..SIDE * SIDE].fill(0);
            block[0] = component.predictor;
            let next = keep::<SIDE>(component.ac, cursor, window, block);
            if next < 64 {
                component.skip.pass(component.ac, cursor, window, next);
            }
            component.canvas.draw(slot.block(mcu), block);
        }
    }
}

/// Reads the difference of a DC coefficient to the one before (F.2.2.1), and
/// leaves [`MOST_BITS`] loaded.
#[inline(always)]
#[allow(clippy::inline_always, reason = "it is read for every block")]
pub(super) fn difference(table: &Table, cursor: &mut Cursor, window: &Window) -> i16 {
    cursor.refill(window);
    let bits = cursor.bits();
    let symbol = table.symbol(bits);
    cursor.skip(symbol.total_bits());
    // No honest number is so long.
    if symbol.total_bits() > LOADED - MOST_BITS {
        cursor.refill(window);
    }
    symbol.number(bits)
}

/// Reads the AC coefficients of a block until behind those that are kept; gives
/// where it stopped, which is 64 when the block ended. [`MOST_BITS`] must be
/// loaded, and are again.
#[inline(always)]
#[allow(clippy::inline_always, reason = "it is read for every block")]
fn keep<const SIDE: usize>(
    table: &Table,
    cursor: &mut Cursor,
    window: &Window,
    block: &mut [i16; ROOM],
) -> usize {
    let mut next = 1;
    while next < kept(SIDE) {
        let mut bits = cursor.bits();
        let mut symbol = table.short(bits);
        if symbol == Symbol::NONE {
            cursor.refill(window);
            bits = cursor.bits();
            symbol = table.long(bits);
        }
        cursor.skip(symbol.total_bits());
        cursor.refill(window);
        match (symbol.run(), symbol.size()) {
            (15, 0) => next += 16,
            (_, 0) => return 64,
            (run, _) => {
                next += run as usize;
                block[place::<SIDE>(next) & (ROOM - 1)] = symbol.number(bits);
                next += 1;
            }
        }
    }
    next
}
