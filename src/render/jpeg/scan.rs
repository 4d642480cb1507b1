//! One scan: its header, and the walk through its MCUs.

use super::Error;
use super::bits::{Cursor, Input, Window};
use super::frame::Frame;

/// A scan header (B.2.3).
pub(super) struct Scan {
    pub(super) components: Vec<InScan>,
    /// The first and last coefficient, in zigzag order.
    pub(super) band: (usize, usize),
    /// The bit position of the scans before; 0 when this is the first.
    pub(super) high: u32,
    /// The bit position of this scan.
    pub(super) low: u32,
}

/// A component as a scan header names it.
pub(super) struct InScan {
    /// Which of the frame's it is.
    pub(super) index: usize,
    /// Its Huffman tables.
    pub(super) dc: u8,
    pub(super) ac: u8,
}

impl Scan {
    /// Reads the body of a SOS segment.
    pub(super) fn new(body: &[u8], frame: &Frame) -> Result<Self, Error> {
        let (&count, rest) = body.split_first().ok_or(Error::Broken)?;
        let (listed, parameters) = rest
            .split_at_checked(2 * usize::from(count))
            .ok_or(Error::Broken)?;
        let &[first, last, bits] = parameters.first_chunk().ok_or(Error::Broken)?;
        let mut components = Vec::with_capacity(4);
        for &[id, tables] in listed.as_chunks().0 {
            let index = frame.components.iter().position(|c| c.id == id);
            let index = index.ok_or(Error::Broken)?;
            if components.iter().any(|c: &InScan| c.index == index) {
                return Err(Error::Broken);
            }
            components.push(InScan {
                index,
                dc: tables >> 4,
                ac: tables & 15,
            });
        }
        let scan = Self {
            components,
            band: (usize::from(first), usize::from(last)),
            high: u32::from(bits >> 4),
            low: u32::from(bits & 15),
        };
        let (first, last) = scan.band;
        let is_honest = !frame.progressive
            || scan.low <= 13
                && (first == 0 && last == 0
                    || (1..=last).contains(&first) && last < 64 && count == 1);
        let blocks = |c: &InScan| frame.components[c.index].in_mcu;
        let in_mcu: usize = scan
            .components
            .iter()
            .map(|c| blocks(c).0 * blocks(c).1)
            .sum();
        if count == 0 || !is_honest || count > 1 && in_mcu > 10 {
            return Err(Error::Broken);
        }
        Ok(scan)
    }

    /// Its MCUs, across and down: blocks, when it is of one component (A.2).
    pub(super) fn mcus(&self, frame: &Frame) -> (usize, usize) {
        match self.components.as_slice() {
            [only] => frame.components[only.index].blocks,
            _ => frame.mcus,
        }
    }

    /// How many blocks it goes through.
    pub(super) fn blocks(&self, frame: &Frame) -> u64 {
        let (columns, rows) = self.mcus(frame);
        (columns * rows * self.slots(frame).len()) as u64
    }

    /// Its components, each with what there is for it among `all` of the frame's.
    pub(super) fn pick<'s, T>(
        &'s self,
        all: &'s mut [T],
    ) -> impl Iterator<Item = (&'s InScan, &'s mut T)> {
        let mut all: Vec<_> = all.iter_mut().map(Some).collect();
        let components = self.components.iter();
        components.filter_map(move |c| Some((c, all.get_mut(c.index)?.take()?)))
    }

    /// The blocks of an MCU: which of the components in the scan, and their
    /// place in that component's part of the MCU.
    pub(super) fn slots(&self, frame: &Frame) -> Vec<Slot> {
        let mut slots = Vec::with_capacity(10);
        for (order, component) in self.components.iter().enumerate() {
            let (across, down) = match self.components.as_slice() {
                [_] => (1, 1),
                _ => frame.components[component.index].in_mcu,
            };
            for place in 0..across * down {
                slots.push(Slot {
                    order,
                    pitch: (across, down),
                    offset: (place % across, place / across),
                });
            }
        }
        slots
    }
}

/// A block of an MCU.
#[derive(Clone, Copy)]
pub(super) struct Slot {
    /// Which of the components in the scan it is of.
    pub(super) order: usize,
    pitch: (usize, usize),
    offset: (usize, usize),
}

impl Slot {
    /// The block's column and row in its component, in this MCU.
    #[inline]
    pub(super) fn block(&self, mcu: (usize, usize)) -> (usize, usize) {
        (
            mcu.0 * self.pitch.0 + self.offset.0,
            mcu.1 * self.pitch.1 + self.offset.1,
        )
    }
}

/// Decodes the MCUs of a scan.
pub(super) trait Mcus {
    /// Forgets what was remembered of MCUs before (F.2.1.3.1).
    fn restart(&mut self);

    /// Decodes the MCU in this column and row.
    fn decode(&mut self, cursor: &mut Cursor, window: &Window, mcu: (usize, usize));

    /// True while MCUs are known without reading.
    fn needs_no_bits(&self) -> bool {
        false
    }
}

/// Walks through a scan, as far as there is data; gives whether there was any.
pub(super) fn walk(
    input: &mut Input,
    (columns, rows): (usize, usize),
    restart_interval: usize,
    mcus: &mut impl Mcus,
) -> bool {
    let mut cursor = input.begin();
    let mut number = 0;
    let mut left = restart_interval;
    let mut any = false;
    for row in 0..rows {
        for column in 0..columns {
            if restart_interval > 0 {
                if left == 0 {
                    cursor = input.restart(number);
                    number = (number + 1) & 7;
                    left = restart_interval;
                    mcus.restart();
                }
                left -= 1;
            }
            if input.has_bits(&mut cursor) || mcus.needs_no_bits() {
                mcus.decode(&mut cursor, input.window(), (column, row));
                any = true;
            } else if restart_interval == 0 {
                return any;
            }
        }
    }
    any
}
