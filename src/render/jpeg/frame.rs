//! What a frame header says, and what follows from it.

use super::Error;

/// A frame header of a kind that can be decoded (B.2.2).
pub(super) struct Frame {
    pub(super) width: u32,
    pub(super) height: u32,
    pub(super) progressive: bool,
    pub(super) components: Vec<Component>,
    /// MCUs of an interleaved scan, across and down.
    pub(super) mcus: (usize, usize),
}

/// A component of a frame.
pub(super) struct Component {
    /// Its name in scan headers.
    pub(super) id: u8,
    /// Its blocks in an interleaved MCU, across and down: its sampling factors.
    pub(super) in_mcu: (usize, usize),
    /// Its blocks that have any samples of the picture, across and down.
    pub(super) blocks: (usize, usize),
    /// The width and height of its part of the picture, in samples.
    pub(super) extent: (f64, f64),
    /// Which quantization table it has.
    pub(super) quantization: u8,
}

impl Frame {
    /// Reads the body of a SOF segment with this code.
    pub(super) fn new(code: u8, body: &[u8]) -> Result<Self, Error> {
        // Baseline, extended and progressive, with Huffman codes.
        if !matches!(code, 0xc0..=0xc2) {
            return Err(Error::Unsupported);
        }
        let (&[precision, h1, h0, w1, w0, count], listed) =
            body.split_first_chunk().ok_or(Error::Broken)?;
        let [width, height] =
            [[w1, w0], [h1, h0]].map(|bytes| u32::from(u16::from_be_bytes(bytes)));
        if width == 0 || listed.len() != 3 * usize::from(count) {
            return Err(Error::Broken);
        }
        // A height of zero is told later, behind the first scan (B.2.5).
        if precision != 8 || height == 0 || !matches!(count, 1 | 3 | 4) {
            return Err(Error::Unsupported);
        }
        let listed = listed.as_chunks::<3>().0;
        let factors = || listed.iter().map(|&[_, hv, _]| (hv >> 4, hv & 15));
        if !factors().all(|(h, v)| (1..=4).contains(&h) && (1..=4).contains(&v)) {
            return Err(Error::Broken);
        }
        let most = factors().fold((1, 1), |most, (h, v)| (most.0.max(h), most.1.max(v)));
        let components = listed.iter().map(|&[id, hv, quantization]| {
            let (across, columns, width_here) = along(width, hv >> 4, most.0);
            let (down, rows, height_here) = along(height, hv & 15, most.1);
            Component {
                id,
                in_mcu: (across, down),
                blocks: (columns, rows),
                extent: (width_here, height_here),
                quantization,
            }
        });
        let mcus = |length: u32, most: u8| length.div_ceil(8 * u32::from(most)) as usize;
        Ok(Self {
            width,
            height,
            progressive: code == 0xc2,
            components: components.collect(),
            mcus: (mcus(width, most.0), mcus(height, most.1)),
        })
    }

    /// All blocks of all components.
    pub(super) fn blocks(&self) -> u64 {
        let blocks = self.components.iter().map(|c| c.blocks.0 * c.blocks.1);
        blocks.sum::<usize>() as u64
    }
}

/// Along one side of the picture: blocks in an MCU, blocks, samples (A.1.1).
fn along(length: u32, factor: u8, most: u8) -> (usize, usize, f64) {
    let (factor, most) = (u32::from(factor), u32::from(most));
    let samples = (length * factor).div_ceil(most);
    let exact = f64::from(length * factor) / f64::from(most);
    (factor as usize, samples.div_ceil(8) as usize, exact)
}
