//! Huffman codes, looked up by the bits that follow.
//!
//! Every look-up has an answer: bits that are no code read as the symbol 0, as
//! libjpeg has it. So damage shows as wrong pixels, and never as an error.

use super::Error;
use super::bits::{Cursor, Window};

/// Bits by which a single symbol is looked up; longer codes are rare.
const SYMBOL_BITS: u32 = 10;
/// Bits by which several symbols are looked up at once.
const SKIP_BITS: u32 = 13;

/// Bits that an entry of a [`Skip`] passes over at most: codes lie within those
/// it is looked up by, the last number may go beyond.
pub(super) const MOST_BITS: u32 = SKIP_BITS + 15;

/// The end of a block, added to what a [`Skip`] entry advances by.
const END: usize = 256;
/// What an entry advances by that has no answer.
const UNKNOWN: usize = 512;
/// Coefficients of a block.
const BLOCK: usize = 64;

/// A symbol: so many zeros before a number of so many bits (F.1.2.2).
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Symbol(u16);

#[allow(clippy::inline_always, reason = "these are shifts and masks")]
impl Symbol {
    /// No code begins with these bits, or a long one does.
    pub(super) const NONE: Self = Self(0);

    fn new(code_bits: u32, symbol: u8) -> Self {
        let (run, size) = (u16::from(symbol >> 4), u16::from(symbol & 15));
        // No code is longer than 16 bits.
        let total = u16::try_from(code_bits).unwrap_or(16) + size;
        Self(total | size << 5 | run << 9)
    }

    /// Bits of the code and the number.
    #[inline(always)]
    pub(super) fn total_bits(self) -> u32 {
        u32::from(self.0 & 31)
    }

    /// Bits of the number.
    #[inline(always)]
    pub(super) fn size(self) -> u32 {
        u32::from(self.0 >> 5 & 15)
    }

    /// Zeros before it.
    #[inline(always)]
    pub(super) fn run(self) -> u32 {
        u32::from(self.0 >> 9)
    }

    /// The number, from the bits that begin with the code (F.2.2.1, `EXTEND`).
    #[inline(always)]
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_possible_wrap,
        reason = "a number has at most 15 bits"
    )]
    pub(super) fn number(self, bits: u64) -> i16 {
        let size = self.size();
        let bits = bits << (self.total_bits() - size);
        let number = (bits >> 1 >> (63 - size)) as i16;
        let if_negative = (!bits as i64 >> 63) as i16;
        number.wrapping_add(if_negative & (1_i16.wrapping_sub(1 << size)))
    }
}

/// A Huffman table.
pub(super) struct Table {
    /// By length: codes of this length, and of 16 bits that begin with one,
    /// are below.
    limits: [u32; 17],
    /// By length: from a code to its place among `symbols`.
    bases: [u32; 17],
    symbols: [u8; 256],
    short: Box<[Symbol; 1 << SYMBOL_BITS]>,
}

impl Table {
    /// The table of a DHT segment: how many codes there are of each length, and
    /// their symbols (B.2.4.2, C.2).
    pub(super) fn new(counts: &[u8; 16], listed: &[u8]) -> Result<Self, Error> {
        let mut table = Self {
            limits: [0; 17],
            bases: [0; 17],
            symbols: [0; 256],
            short: Box::new([Symbol::NONE; 1 << SYMBOL_BITS]),
        };
        let places = table.symbols.get_mut(..listed.len());
        places.ok_or(Error::Broken)?.copy_from_slice(listed);
        let (mut code, mut place) = (0_u32, 0_u32);
        for (length, &count) in (1_u32..).zip(counts) {
            let index = length as usize;
            table.bases[index] = place.wrapping_sub(code);
            code += u32::from(count);
            place += u32::from(count);
            if code > 1 << length {
                return Err(Error::Broken);
            }
            table.limits[index] = code << (16 - length);
            code <<= 1;
        }
        for (bits, short) in (0_u64..).zip(0..1 << SYMBOL_BITS) {
            let found = table.find(bits << (64 - SYMBOL_BITS));
            let symbol = found.filter(|&(length, _)| length <= SYMBOL_BITS);
            table.short[short] = symbol.map_or(Symbol::NONE, |(n, symbol)| Symbol::new(n, symbol));
        }
        Ok(table)
    }

    /// The length of the code with which these bits begin, and its symbol.
    #[allow(clippy::cast_possible_truncation, reason = "16 bits are left")]
    fn find(&self, bits: u64) -> Option<(u32, u8)> {
        let bits = (bits >> 48) as u32;
        let length = (1..=16).find(|&length| bits < self.limits[length as usize])?;
        let place = self.bases[length as usize].wrapping_add(bits >> (16 - length));
        Some((length, self.symbols[place as usize & 255]))
    }

    /// The symbol with which these bits begin.
    #[inline(always)]
    #[allow(clippy::inline_always, reason = "this is most of reading a symbol")]
    pub(super) fn symbol(&self, bits: u64) -> Symbol {
        match self.short(bits) {
            Symbol::NONE => self.long(bits),
            symbol => symbol,
        }
    }

    /// The same for short codes; [`Symbol::NONE`] for others. Code and number
    /// have 25 bits at most.
    #[inline(always)]
    #[allow(clippy::inline_always, reason = "this is most of reading a symbol")]
    pub(super) fn short(&self, bits: u64) -> Symbol {
        self.short[(bits >> (64 - SYMBOL_BITS)) as usize]
    }

    /// The same for any code, by searching.
    #[cold]
    pub(super) fn long(&self, bits: u64) -> Symbol {
        let (length, symbol) = self.find(bits).unwrap_or((16, 0));
        Symbol::new(length, symbol)
    }
}

/// A table that passes over the AC coefficients of a block, several at a
/// look-up: how many bits, and how many coefficients.
pub(super) struct Skip(Box<[u16; 1 << SKIP_BITS]>);

impl Skip {
    /// For the codes of a table.
    pub(super) fn new(table: &Table) -> Self {
        let mut entries = Box::new([0; 1 << SKIP_BITS]);
        for (bits, entry) in (0_u64..).zip(entries.iter_mut()) {
            *entry = Self::entry(table, bits << (64 - SKIP_BITS));
        }
        Self(entries)
    }

    /// As many symbols as have their codes (their numbers do not matter) in
    /// the first bits.
    fn entry(table: &Table, bits: u64) -> u16 {
        let (mut used, mut advance) = (0, 0);
        // A second symbol may belong to the next block already, but then this
        // ends at 64 or behind; see `pass`.
        while used < SKIP_BITS && advance < BLOCK {
            let Some((length, symbol)) = table.find(bits << used) else {
                break;
            };
            if used + length > SKIP_BITS {
                break;
            }
            let (run, size) = (usize::from(symbol >> 4), u32::from(symbol & 15));
            match (run, size) {
                (0, 0) => {
                    return Self::pack(used + length, advance + END);
                }
                // The end of several blocks of a progressive scan.
                (1..15, 0) => break,
                _ => {
                    used += length + size;
                    advance += run + 1;
                }
            }
        }
        Self::pack(used, if advance == 0 { UNKNOWN } else { advance })
    }

    #[allow(clippy::cast_possible_truncation, reason = "at most 28, and 512")]
    fn pack(bits: u32, advance: usize) -> u16 {
        bits as u16 | (advance as u16) << 6
    }

    /// Passes over the rest of a block from its coefficient `from` on. What it
    /// gives is the run of the symbol that ended the block, when that was one
    /// for several blocks.
    ///
    /// The cursor must have [`MOST_BITS`] loaded.
    #[inline(always)]
    #[allow(clippy::inline_always, reason = "this is most of reading a file")]
    #[allow(clippy::cast_possible_truncation, reason = "six bits are wanted")]
    pub(super) fn pass(
        &self,
        table: &Table,
        cursor: &mut Cursor,
        window: &Window,
        from: usize,
    ) -> u32 {
        let mut bits = cursor.bits();
        // Coefficients and, in the six bits below, the bits read.
        let mut sum = from << 6;
        loop {
            let mut before = sum;
            sum = self.advance(&mut bits, sum);
            if sum < BLOCK << 6 {
                cursor.skip(sum as u32 & 63);
                sum &= !63;
                // That is enough for two.
                cursor.refill(window);
                bits = cursor.bits();
                before = sum;
                sum = self.advance(&mut bits, sum);
                if sum < BLOCK << 6 {
                    continue;
                }
            }
            // The block ended with its last coefficient, or by a symbol that
            // says so before that.
            let to = sum >> 6;
            if to == BLOCK || to / BLOCK == END / BLOCK {
                cursor.skip(sum as u32 & 63);
                return 0;
            }
            cursor.skip(before as u32 & 63);
            let (from, run);
            (*cursor, from, run) = Self::step(table, *cursor, window, before >> 6);
            if from >= BLOCK {
                return run;
            }
            sum = from << 6;
            cursor.refill(window);
            bits = cursor.bits();
        }
    }

    /// Passes over what the next bits are, and adds that to a sum of
    /// coefficients and bits.
    #[inline(always)]
    #[allow(clippy::inline_always, reason = "this is most of reading a file")]
    fn advance(&self, bits: &mut u64, sum: usize) -> usize {
        let entry = self.0[(*bits >> (64 - SKIP_BITS)) as usize];
        // The shift is by the lowest six bits only.
        *bits = bits.wrapping_shl(u32::from(entry));
        sum + usize::from(entry)
    }

    /// Passes over a single symbol: from where to go on, and the run of the
    /// symbol if it ends the block.
    #[cold]
    fn step(
        table: &Table,
        mut cursor: Cursor,
        window: &Window,
        from: usize,
    ) -> (Cursor, usize, u32) {
        cursor.refill(window);
        let symbol = table.symbol(cursor.bits());
        cursor.skip(symbol.total_bits());
        match (symbol.run(), symbol.size()) {
            (run @ 0..15, 0) => (cursor, BLOCK, run),
            (run, _) => (cursor, from + run as usize + 1, 0),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::bits::Input;
    use super::*;

    /// Passes over a block symbol by symbol; gives what ended it.
    fn slowly(table: &Table, cursor: &mut Cursor, window: &Window, mut from: usize) -> u32 {
        while from < BLOCK {
            cursor.refill(window);
            let symbol = table.symbol(cursor.bits());
            cursor.skip(symbol.total_bits());
            if symbol.size() == 0 && symbol.run() < 15 {
                return symbol.run();
            }
            from += symbol.run() as usize + 1;
        }
        0
    }

    proptest! {
        #[test]
        fn passing_over_several_symbols_ends_where_one_by_one_does(
            symbols in Just([0xf0, 0x00, 0x01, 0xe1, 0x30, 0x0a, 0xff]).prop_shuffle(),
            long in any::<bool>(),
            data in prop::collection::vec(any::<u8>(), 1..200),
            from in 1..64_usize,
        ) {
            let mut counts = [1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
            counts[if long { 15 } else { 6 }] = 1;
            let table = Table::new(&counts, &symbols).unwrap();
            let skip = Skip::new(&table);
            let mut input = Input::new(&data, 0);
            let mut cursor = input.begin();
            while input.has_bits(&mut cursor) {
                let mut slow = cursor;
                let expected = slowly(&table, &mut slow, input.window(), from);
                cursor.refill(input.window());
                let ended = skip.pass(&table, &mut cursor, input.window(), from);
                prop_assert_eq!(ended, expected);
                slow.refill(input.window());
                cursor.refill(input.window());
                prop_assert_eq!(cursor.bits(), slow.bits());
            }
        }
    }
}
