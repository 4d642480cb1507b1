//! Where the blocks of a component become samples.

use std::array;

use super::Plane;
use super::frame::Component;
use super::idct::{self, zigzag};

/// The samples of a component, `SIDE × SIDE` of each block.
pub(super) struct Canvas<const SIDE: usize> {
    /// Blocks, across and down.
    blocks: (usize, usize),
    /// The quantization steps of the coefficients that are kept, row by row.
    steps: [u16; 16],
    samples: Vec<u8>,
}

impl<const SIDE: usize> Canvas<SIDE> {
    /// A gray canvas.
    pub(super) fn new(component: &Component) -> Self {
        let blocks = component.blocks;
        Self {
            blocks,
            steps: [0; 16],
            samples: vec![128; blocks.0 * blocks.1 * SIDE * SIDE],
        }
    }

    /// Sets the quantization table, which is in zigzag order.
    pub(super) fn quantize(&mut self, table: &[u16; 64]) {
        for (step, &place) in self.steps.iter_mut().zip(zigzag(SIDE)) {
            *step = table[usize::from(place)];
        }
    }

    /// Draws a block of its `SIDE × SIDE` coefficients, row by row. One that is
    /// not in the picture is not drawn.
    #[inline]
    pub(super) fn draw(&mut self, place: (usize, usize), block: &[i16]) {
        match SIDE {
            1 => self.put(place, &[[idct::sample(self.dequantize::<1>(block)[0])]]),
            2 => self.put(place, idct::two(self.dequantize(block)).as_chunks::<2>().0),
            _ => self.put(place, idct::four(self.dequantize(block)).as_chunks::<4>().0),
        }
    }

    #[inline]
    fn dequantize<const COUNT: usize>(&self, block: &[i16]) -> [i32; COUNT] {
        let block = block.first_chunk().unwrap_or(&[0; COUNT]);
        array::from_fn(|at| idct::dequantize(block[at], self.steps[at]))
    }

    #[inline]
    fn put<const WIDTH: usize>(&mut self, place: (usize, usize), lines: &[[u8; WIDTH]]) {
        let (column, row) = place;
        if column >= self.blocks.0 {
            return;
        }
        let stride = self.blocks.0 * WIDTH;
        let top = row * WIDTH * stride + column * WIDTH;
        for (line, samples) in lines.iter().enumerate() {
            let from = top + line * stride;
            if let Some(to) = self.samples.get_mut(from..from + WIDTH) {
                to.copy_from_slice(samples);
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
        let scale = SIDE as f64 / 8.0;
        let extent = (component.extent.0 * scale, component.extent.1 * scale);
        let (width, height) = (extent.0.ceil() as usize, extent.1.ceil() as usize);
        let stride = self.blocks.0 * SIDE;
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
