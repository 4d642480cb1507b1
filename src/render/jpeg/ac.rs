//! The scans of AC coefficients in progressive files (G.1.2).

use super::bits::{Cursor, Window};
use super::huffman::{Skip, Table};
use super::idct::{self, kept};
use super::progressive::Store;
use super::scan::Mcus;

/// The first scan of a band.
pub(super) struct AcFirst<'a, const SIDE: usize> {
    pub(super) store: &'a mut Store<SIDE>,
    pub(super) table: &'a Table,
    pub(super) skip: &'a Skip,
    /// The first and last coefficient.
    pub(super) band: (usize, usize),
    /// The lowest bit that it brings.
    pub(super) low: u32,
    /// Blocks to come that have no coefficients in the band.
    pub(super) empty: u32,
}

impl<const SIDE: usize> Mcus for AcFirst<'_, SIDE> {
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
        // What the bits that are never read are worth, on average.
        let rest = match (Store::<SIDE>::REFINED, self.low) {
            (true, _) | (_, 0) => 0,
            (false, low) => (1 << low >> 1) - 1,
        };
        let (mut place, last) = self.band;
        let (block, mut nonzero) = self.store.parts(mcu);
        let mut run_of_ends = 0;
        while place <= last {
            if !Store::<SIDE>::REFINED && place >= kept(SIDE) {
                // To the table, every block ends at 64.
                let from = place + 63 - last;
                cursor.refill(window);
                run_of_ends = self.skip.pass(self.table, cursor, window, from);
                break;
            }
            cursor.refill(window);
            let bits = cursor.bits();
            let symbol = self.table.symbol(bits);
            cursor.skip(symbol.total_bits());
            match (symbol.run(), symbol.size()) {
                (run @ 0..15, 0) => {
                    run_of_ends = run;
                    break;
                }
                (run, 0) => place += run as usize + 1,
                (run, _) => {
                    place += run as usize;
                    let number = symbol.number(bits);
                    if let Some(to) = block.get_mut(idct::place::<SIDE>(place)) {
                        *to = (number << self.low).wrapping_add(rest * number.signum());
                    }
                    if let Some(nonzero) = &mut nonzero {
                        **nonzero |= 1 << (place & 63);
                    }
                    place += 1;
                }
            }
        }
        if run_of_ends > 0 {
            cursor.refill(window);
            self.empty = (1 << run_of_ends) - 1 + cursor.take(run_of_ends);
        }
    }
}

/// A further bit of a band.
pub(super) struct AcRefinement<'a, const SIDE: usize> {
    pub(super) store: &'a mut Store<SIDE>,
    pub(super) table: &'a Table,
    /// The first and last coefficient.
    pub(super) band: (usize, usize),
    /// The bit.
    pub(super) low: u32,
    /// Blocks to come, with this one, in which no coefficients begin.
    pub(super) empty: u32,
}

impl<const SIDE: usize> Mcus for AcRefinement<'_, SIDE> {
    fn restart(&mut self) {
        self.empty = 0;
    }

    fn needs_no_bits(&self) -> bool {
        self.empty > 0
    }

    fn decode(&mut self, cursor: &mut Cursor, window: &Window, mcu: (usize, usize)) {
        let (mut place, last) = self.band;
        let (block, Some(nonzero)) = self.store.parts(mcu) else {
            return;
        };
        let old = *nonzero;
        let correct = |cursor: &mut Cursor, block: &mut [i16], from, to| {
            let which = old & bits_between(from, to);
            correct::<SIDE>(cursor, window, block, which, self.low);
        };
        while self.empty == 0 && place <= last {
            cursor.refill(window);
            let bits = cursor.bits();
            let symbol = self.table.symbol(bits);
            cursor.skip(symbol.total_bits());
            let (run, size) = (symbol.run(), symbol.size());
            if size == 0 && run < 15 {
                self.empty = (1 << run) + cursor.take(run);
                break;
            }
            // Coefficients that are not zero already do not count in runs.
            let next = zero_after(old, place, run).min(last + 1);
            correct(cursor, block, place, next);
            if size > 0 && next <= last {
                if let Some(to) = block.get_mut(idct::place::<SIDE>(next)) {
                    *to = symbol.number(bits).signum() << self.low;
                }
                *nonzero |= 1 << next;
            }
            place = next + 1;
        }
        if self.empty > 0 {
            self.empty -= 1;
            correct(cursor, block, place, last + 1);
        }
    }
}

/// Reads a bit for each of some coefficients that are not zero.
#[inline]
fn correct<const SIDE: usize>(
    cursor: &mut Cursor,
    window: &Window,
    block: &mut [i16],
    mut which: u64,
    low: u32,
) {
    while which & bits_between(0, kept(SIDE)) != 0 {
        cursor.refill(window);
        // The bit is as good as random: better to multiply than to guess.
        let bit = i16::from(cursor.take(1) == 1);
        let place = idct::place::<SIDE>(which.trailing_zeros() as usize);
        if let Some(to) = block.get_mut(place) {
            *to = to.wrapping_add((bit * to.signum()) << low);
        }
        which &= which - 1;
    }
    cursor.refill(window);
    cursor.skip(which.count_ones());
}

/// Ones from one bit up to before another, of which none is above 64.
fn bits_between(from: usize, to: usize) -> u64 {
    let below = |end: usize| if end < 64 { (1 << end) - 1 } else { u64::MAX };
    below(to) & !below(from)
}

/// The place of the zero bit from `from` on that comes after `run` other zeros;
/// 64 when there is none.
fn zero_after(bits: u64, from: usize, run: u32) -> usize {
    let mut zeros = !bits & bits_between(from, 64);
    for _ in 0..run {
        zeros &= zeros.wrapping_sub(1);
    }
    zeros.trailing_zeros() as usize
}
