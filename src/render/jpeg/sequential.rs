//! Scans of baseline and extended files: whole blocks, straight into samples.

use super::bits::{Cursor, Window};
use super::huffman::{Skip, Table};
use super::idct::{kept, zigzag};
use super::plane::Canvas;
use super::scan::{Mcus, Slot};

/// Decodes the MCUs of a scan, to `SIDE × SIDE` samples of a block.
pub(super) struct Sequential<'a, const SIDE: usize> {
    pub(super) components: Vec<Coded<'a, SIDE>>,
    pub(super) slots: Vec<Slot>,
}

/// A component and its tables.
pub(super) struct Coded<'a, const SIDE: usize> {
    pub(super) canvas: &'a mut Canvas<SIDE>,
    pub(super) dc: &'a Table,
    pub(super) ac: &'a Table,
    pub(super) skip: &'a Skip,
    pub(super) predictor: i16,
}

/// More than the coefficients kept and the 16 that a symbol may go beyond.
const ROOM: usize = 64;

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
            let mut block = [0; ROOM];
            block[0] = component.predictor;
            let next = keep::<SIDE>(component.ac, cursor, window, &mut block);
            if next < 64 {
                component.skip.pass(component.ac, cursor, window, next);
            }
            let mut rows = [0; 16];
            for (to, &place) in rows.iter_mut().zip(zigzag(SIDE)) {
                *to = block[usize::from(place)];
            }
            component.canvas.draw(slot.block(mcu), &rows);
        }
    }
}

/// Reads the difference of a DC coefficient to the one before (F.2.2.1).
#[inline(always)]
#[allow(clippy::inline_always, reason = "it is read for every block")]
pub(super) fn difference(table: &Table, cursor: &mut Cursor, window: &Window) -> i16 {
    cursor.refill(window);
    let bits = cursor.bits();
    let symbol = table.symbol(bits);
    cursor.skip(symbol.total_bits());
    symbol.number(bits)
}

/// Reads the AC coefficients of a block until behind those that are kept; gives
/// where it stopped, which is 64 when the block ended.
#[inline(always)]
#[allow(clippy::inline_always, reason = "it is read for every block")]
fn keep<const SIDE: usize>(
    table: &Table,
    cursor: &mut Cursor,
    window: &Window,
    block: &mut [i16; ROOM],
) -> usize {
    let mut place = 1;
    while place < kept(SIDE) {
        cursor.refill(window);
        let bits = cursor.bits();
        let symbol = table.symbol(bits);
        cursor.skip(symbol.total_bits());
        match (symbol.run(), symbol.size()) {
            (15, 0) => place += 16,
            (_, 0) => return 64,
            (run, _) => {
                place += run as usize;
                block[place & (ROOM - 1)] = symbol.number(bits);
                place += 1;
            }
        }
    }
    place
}
