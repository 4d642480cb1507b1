//! Entropy-coded data as bits: byte stuffing is removed ahead in bulk, so that
//! reading is a shift and, seven bytes at a time, a load.
//!
//! Nothing here fails: behind the end of the data there are zeros, and whoever
//! reads asks now and then, with [`Input::has_bits`], whether that is reached.

use memchr::memchr;

/// Bytes of the window, a power of two.
const WINDOW: usize = 1 << 15;

/// Bits that are loaded at least after a [`Cursor::refill`].
pub(super) const LOADED: u32 = 56;

/// More than the bytes of the longest MCU: 10 blocks (B.2.3) of 64 codes of 16
/// bits with 15 more bits each.
const RESERVE: usize = 1 << 12;

/// Bytes without stuffing, and zeros behind the last of them. A load of eight
/// bytes may begin at each of the first [`WINDOW`].
pub(super) type Window = [u8; WINDOW + 8];

/// The data of one scan.
pub(super) struct Input<'a> {
    data: &'a [u8],
    /// Where the next bytes for the window come from.
    at: usize,
    window: Box<Window>,
    /// How many bytes of the window are data.
    filled: usize,
    /// Behind this, the window is zeros.
    dirty: usize,
    /// There are no more before the marker (or the end) at `at`.
    ended: bool,
    /// A cursor that has loaded this many bytes is to be looked after.
    low: usize,
}

impl<'a> Input<'a> {
    /// The data that begins at `at`.
    pub(super) fn new(data: &'a [u8], at: usize) -> Self {
        Self {
            data,
            at,
            #[allow(clippy::large_stack_arrays, reason = "it is made once a scan")]
            window: Box::new([0; WINDOW + 8]),
            filled: 0,
            dirty: 0,
            ended: false,
            low: 0,
        }
    }

    /// Begins to read, up to the next marker.
    pub(super) fn begin(&mut self) -> Cursor {
        self.filled = 0;
        self.ended = false;
        self.fill();
        Cursor::default()
    }

    /// What a cursor reads from.
    #[inline]
    pub(super) fn window(&self) -> &Window {
        &self.window
    }

    /// Makes sure that a whole MCU can be read from the window. False at the
    /// end of the data.
    #[inline]
    pub(super) fn has_bits(&mut self, cursor: &mut Cursor) -> bool {
        if cursor.next < self.low {
            return true;
        }
        *cursor = self.top_up(*cursor);
        // Bytes that are no longer in the window are in the cursor's count.
        cursor.next * 8 < self.filled * 8 + cursor.count as usize
    }

    #[cold]
    fn top_up(&mut self, mut cursor: Cursor) -> Cursor {
        if !self.ended {
            let from = cursor.next.min(self.filled);
            self.window.copy_within(from..self.filled, 0);
            self.filled -= from;
            cursor.next = 0;
            self.fill();
        }
        cursor
    }

    /// Fills the window up to the next marker, or as far as it goes.
    fn fill(&mut self) {
        while !self.ended && self.filled < WINDOW - RESERVE {
            let room = WINDOW - RESERVE - self.filled;
            let rest = self.data.get(self.at..).unwrap_or_default();
            let piece = &rest[..rest.len().min(room)];
            let plain = memchr(0xff, piece).unwrap_or(piece.len());
            self.window[self.filled..][..plain].copy_from_slice(&piece[..plain]);
            self.filled += plain;
            self.at += plain;
            match rest.get(plain..) {
                Some([0xff, 0, ..]) => {
                    self.window[self.filled] = 0xff;
                    self.filled += 1;
                    self.at += 2;
                }
                Some([0xff, ..] | []) | None => self.ended = true,
                // The window is full.
                Some(_) => {}
            }
        }
        if let Some(left) = self.window.get_mut(self.filled..self.dirty) {
            left.fill(0);
        }
        self.dirty = self.filled;
        self.low = if self.ended {
            self.filled
        } else {
            self.filled - RESERVE
        };
    }

    /// Begins to read behind the restart marker of this number (0 to 7). When
    /// that is missing, there is nothing to read before the next one.
    ///
    /// A marker of one of the two numbers before is taken for a leftover, one
    /// of another for a later one.
    pub(super) fn restart(&mut self, number: u8) -> Cursor {
        loop {
            self.at = next_marker(self.data, self.at);
            let Some(code @ 0xd0..=0xd7) = self.data.get(self.at + 1) else {
                break;
            };
            let ahead = (code - 0xd0).wrapping_sub(number) & 7;
            if (1..6).contains(&ahead) {
                break;
            }
            self.at += 2;
            if ahead == 0 {
                return self.begin();
            }
        }
        (self.filled, self.ended, self.low) = (0, true, 0);
        Cursor::default()
    }

    /// Where the scan's data ends: at a marker other than a restart, or at the
    /// end of the file.
    pub(super) fn end(self) -> usize {
        end_of_scan(self.data, self.at)
    }
}

/// Where the data of a scan ends that is at `at` or behind it.
pub(super) fn end_of_scan(data: &[u8], mut at: usize) -> usize {
    loop {
        at = next_marker(data, at);
        match data.get(at + 1) {
            Some(0xd0..=0xd7) => at += 2,
            _ => return at,
        }
    }
}

/// The next marker in entropy-coded data: neither stuffing nor fill bytes.
fn next_marker(data: &[u8], mut at: usize) -> usize {
    while let Some(plain) = data.get(at..).and_then(|rest| memchr(0xff, rest)) {
        at += plain;
        match data.get(at + 1) {
            Some(0) => at += 2,
            Some(0xff) => at += 1,
            _ => return at,
        }
    }
    data.len()
}

/// A place in a [`Window`], and the bits loaded from before it.
#[derive(Clone, Copy, Default)]
pub(super) struct Cursor {
    /// The next bits, from the highest down. Below `count` of them there are
    /// the same bits as will be loaded there, or zeros.
    bits: u64,
    /// How many bits are loaded, at most 63.
    count: u32,
    /// The byte from which the next are loaded.
    next: usize,
}

#[allow(
    clippy::inline_always,
    reason = "a cursor has to stay in registers all through a scan"
)]
impl Cursor {
    /// Loads bits until there are at least [`LOADED`].
    #[inline(always)]
    pub(super) fn refill(&mut self, window: &Window) {
        let from = self.next & (WINDOW - 1);
        let bytes = window[from..].first_chunk();
        self.bits |= bytes.map_or(0, |bytes| u64::from_be_bytes(*bytes)) >> self.count;
        self.next += ((63 - self.count) >> 3) as usize;
        // Of 56 or more, the last three bits are as they were.
        self.count |= 0b11_1000;
    }

    /// The next bits, from the highest down.
    #[inline(always)]
    pub(super) fn bits(&self) -> u64 {
        self.bits
    }

    /// Goes on by so many bits, which have to be loaded.
    #[inline(always)]
    pub(super) fn skip(&mut self, count: u32) {
        debug_assert!(count <= self.count);
        self.bits <<= count;
        self.count = self.count.wrapping_sub(count) & 63;
    }

    /// Reads up to 16 bits as a number; they have to be loaded.
    #[inline(always)]
    #[allow(clippy::cast_possible_truncation, reason = "16 bits fit")]
    pub(super) fn take(&mut self, count: u32) -> u32 {
        let number = (self.bits >> 1 >> (63 - (count & 63))) as u32;
        self.skip(count);
        number
    }
}
