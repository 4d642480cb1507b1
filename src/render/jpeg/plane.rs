//! Where the blocks of a component become samples.

use std::array;

use super::Plane;
use super::frame::Component;
use super::idct;

/// The samples of a component, `side × side` of each block.
pub(super) struct Canvas {
    side: usize,
    /// Blocks, across and down.
    blocks: (usize, usize),
    /// The steps of the coefficients that are kept, in zigzag order.
    steps: [u16; 25],
    samples: Vec<u8>,
}

impl Canvas {
    /// A gray canvas for a component.
    pub(super) fn new(component: &Component, side: usize) -> Self {
        let blocks = component.blocks;
        Self {
            side,
            blocks,
            steps: [0; 25],
            samples: vec![128; blocks.0 * blocks.1 * side * side],
        }
    }

    /// Sets the quantization table.
    pub(super) fn quantize(&mut self, table: &[u16; 64]) {
        self.steps = array::from_fn(|k| table[k]);
    }

    /// Draws a block of one sample. One that is not in the picture is not drawn.
    #[inline]
    pub(super) fn draw_one(&mut self, (column, row): (usize, usize), dc: i16) {
        if column < self.blocks.0
            && let Some(to) = self.samples.get_mut(row * self.blocks.0 + column)
        {
            *to = idct::sample(idct::dequantize(dc, self.steps[0]));
        }
    }

    /// Draws a block of the coefficients that are kept for it.
    #[inline]
    pub(super) fn draw<const KEPT: usize>(&mut self, (column, row): (usize, usize), block: &[i16]) {
        if KEPT == 1 {
            self.draw_one((column, row), block.first().copied().unwrap_or(0));
        } else if KEPT == 5 {
            self.put::<2>(
                (column, row),
                idct::two(&self.dequantize(block)).as_chunks().0,
            );
        } else {
            self.put::<4>(
                (column, row),
                idct::four(&self.dequantize(block)).as_chunks().0,
            );
        }
    }

    #[inline]
    fn dequantize<const KEPT: usize>(&self, block: &[i16]) -> [i32; KEPT] {
        let block = block.first_chunk::<KEPT>().unwrap_or(&[0; KEPT]);
        array::from_fn(|k| idct::dequantize(block[k], self.steps[k]))
    }

    #[inline]
    fn put<const SIDE: usize>(&mut self, (column, row): (usize, usize), lines: &[[u8; SIDE]]) {
        if column >= self.blocks.0 || row >= self.blocks.1 {
            return;
        }
        let stride = self.blocks.0 * SIDE;
        let top = row * SIDE * stride + column * SIDE;
        for (at, line) in (top..).step_by(stride).zip(lines) {
            if let Some(to) = self.samples.get_mut(at..at + SIDE) {
                to.copy_from_slice(line);
            }
        }
    }

    /// The samples that the picture covers.
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_precision_loss,
        clippy::cast_sign_loss,
        reason = "sides are below 65536"
    )]
    pub(super) fn finish(mut self, component: &Component) -> Plane {
        let scale = self.side as f64 / 8.0;
        let extent = (component.extent.0 * scale, component.extent.1 * scale);
        let (width, height) = (extent.0.ceil() as usize, extent.1.ceil() as usize);
        let stride = self.blocks.0 * self.side;
        if width < stride {
            for row in 1..height {
                let from = row * stride;
                self.samples.copy_within(from..from + width, row * width);
            }
        }
        self.samples.truncate(width * height);
        Plane {
            width: width as u32,
            height: height as u32,
            extent,
            samples: self.samples,
        }
    }
}
