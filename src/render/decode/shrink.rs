//! Reduces a picture to averages of boxes while its rows come in, so that it is
//! never held whole.
//!
//! A box is as large as leaves at least twice the thumbnail's size: from there
//! a better filter can take over without a visible difference. Sums are of
//! integers, and of colours multiplied with how opaque they are, so that
//! transparent pixels do not bleed into what stands beside them.

use crate::render::Order;
use crate::render::picture::{Raster, Samples};

/// How much larger than the thumbnail the reduced picture stays.
pub(super) const MARGIN: u32 = 2;
/// As many rows as column sums of 16 bits can take.
const MOST_IN_BOX: u32 = (u16::MAX / u8::MAX as u16) as u32;

/// What the bytes of a pixel are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Channels {
    Gray = 1,
    GrayAlpha = 2,
    Rgb = 3,
    Rgba = 4,
}

impl Channels {
    /// Bytes of a pixel.
    pub(super) fn count(self) -> usize {
        self as usize
    }

    fn with_alpha(self) -> bool {
        matches!(self, Self::GrayAlpha | Self::Rgba)
    }
}

/// How many pixels of a length become one.
pub(super) fn factor(length: u32, wanted: u32) -> u32 {
    (length / wanted.saturating_mul(MARGIN).max(1)).clamp(1, MOST_IN_BOX)
}

/// A picture that is being reduced.
pub(super) struct Shrink {
    width: u32,
    height: u32,
    channels: Channels,
    /// Pixels of a box, across and down.
    across: u32,
    down: u32,
    /// Sums down the columns of the boxes begun, and of how many rows.
    sums: Vec<u16>,
    summed: u32,
    /// Rows seen.
    rows: u32,
    data: Vec<u8>,
}

impl Shrink {
    /// Expects `height` rows of `width` pixels.
    pub(super) fn new(width: u32, height: u32, channels: Channels, order: Order) -> Self {
        let (fit_width, fit_height) = order.fit(width, height);
        let (across, down) = (factor(width, fit_width), factor(height, fit_height));
        Self::by(width, height, channels, (across, down))
    }

    /// The same, for boxes of a given size, which [`factor`] limits.
    pub(super) fn by(
        width: u32,
        height: u32,
        channels: Channels,
        (across, down): (u32, u32),
    ) -> Self {
        let row = width.div_ceil(across) as usize * channels.count();
        Self {
            width,
            height,
            channels,
            across,
            down,
            sums: Vec::new(),
            summed: 0,
            rows: 0,
            data: Vec::with_capacity(row * height.div_ceil(down) as usize),
        }
    }

    /// Rows seen so far.
    pub(super) fn rows(&self) -> u32 {
        self.rows
    }

    /// Takes the next row; its colours may be multiplied with its alpha on the
    /// way. Rows too many are ignored.
    pub(super) fn push(&mut self, row: &mut [u8]) {
        debug_assert_eq!(row.len(), self.width as usize * self.channels.count());
        if self.rows == self.height {
            return;
        }
        self.rows += 1;
        if (self.across, self.down) == (1, 1) {
            self.data.extend_from_slice(row);
            return;
        }
        match self.channels {
            Channels::Gray | Channels::Rgb => {}
            Channels::GrayAlpha => multiply::<2>(row),
            Channels::Rgba => multiply::<4>(row),
        }
        if self.summed == 0 {
            self.sums.clear();
            self.sums
                .extend(row.iter().map(|&sample| u16::from(sample)));
        } else {
            for (sum, &sample) in self.sums.iter_mut().zip(&*row) {
                *sum = sum.wrapping_add(u16::from(sample));
            }
        }
        self.summed += 1;
        if self.summed == self.down || self.rows == self.height {
            self.close();
        }
    }

    /// Averages a row of boxes.
    fn close(&mut self) {
        match self.channels {
            Channels::Gray => self.average::<1>(),
            Channels::GrayAlpha => self.average::<2>(),
            Channels::Rgb => self.average::<3>(),
            Channels::Rgba => self.average::<4>(),
        }
        self.summed = 0;
    }

    fn average<const N: usize>(&mut self) {
        let across = self.across as usize;
        let full = Mean::of(self.across * self.summed);
        for sums in self.sums.chunks(across * N) {
            let mut total = [0; N];
            for pixel in sums.chunks_exact(N) {
                for (total, &sum) in total.iter_mut().zip(pixel) {
                    *total += u32::from(sum);
                }
            }
            // Only the last box can be smaller.
            let mean = if sums.len() == across * N {
                full
            } else {
                Mean::of(self.width % self.across * self.summed)
            };
            self.data.extend(mean.pixel(total));
        }
    }

    /// The reduced picture. Rows that never came are white, or transparent
    /// where the picture can be.
    pub(super) fn finish(self) -> Samples {
        let channels = self.channels;
        let raster = self.into_raster();
        match channels {
            Channels::Gray => Samples::Gray(raster),
            Channels::Rgb => Samples::Rgb(raster),
            Channels::Rgba => Samples::Rgba(raster),
            Channels::GrayAlpha => {
                let (pixels, _) = raster.data.as_chunks();
                let rgba = pixels
                    .iter()
                    .flat_map(|&[gray, alpha]| [gray, gray, gray, alpha]);
                Samples::Rgba(Raster {
                    data: rgba.collect(),
                    ..raster
                })
            }
        }
    }

    /// The same, as it is.
    pub(super) fn into_raster(mut self) -> Raster {
        if self.summed > 0 {
            self.close();
        }
        let width = self.width.div_ceil(self.across);
        let height = self.height.div_ceil(self.down);
        let missing = if self.channels.with_alpha() { 0 } else { 255 };
        let whole = width as usize * height as usize * self.channels.count();
        self.data.resize(whole, missing);
        Raster {
            width,
            height,
            extent: (
                f64::from(self.width) / f64::from(self.across),
                f64::from(self.height) / f64::from(self.down),
            ),
            data: self.data,
        }
    }
}

/// Multiplies the colours of a row with their alpha, which comes last.
fn multiply<const N: usize>(row: &mut [u8]) {
    let (pixels, _) = row.as_chunks_mut::<N>();
    // Pictures with alpha are mostly opaque, and this is faster to find out.
    if pixels.iter().fold(255, |all, pixel| all & pixel[N - 1]) == 255 {
        return;
    }
    for pixel in pixels {
        let alpha = u16::from(pixel[N - 1]);
        for sample in &mut pixel[..N - 1] {
            // Exactly a division by 255, rounded (Blinn 1995).
            let product = u16::from(*sample) * alpha + 128;
            let [_, quotient] = (product + (product >> 8)).to_le_bytes();
            *sample = quotient;
        }
    }
}

/// Divides sums by a number of pixels.
#[derive(Clone, Copy)]
struct Mean {
    count: u32,
    /// 2³² ÷ `count`.
    reciprocal: u64,
}

impl Mean {
    fn of(count: u32) -> Self {
        let count = count.max(1);
        Self {
            count,
            reciprocal: (1 << 32) / u64::from(count),
        }
    }

    #[allow(clippy::cast_possible_truncation, reason = "a mean of bytes is one")]
    fn byte(self, sum: u32) -> u8 {
        ((u64::from(sum) * self.reciprocal + (1 << 31)) >> 32) as u8
    }

    /// The mean pixel; of one with alpha, whose sums are of multiplied
    /// colours, not multiplied.
    fn pixel<const N: usize>(self, sums: [u32; N]) -> [u8; N] {
        let mut pixel = sums.map(|sum| self.byte(sum));
        let alpha = sums[N - 1];
        if N.is_multiple_of(2) && alpha < self.count * 255 {
            for (sample, sum) in pixel.iter_mut().zip(&sums[..N - 1]) {
                let colour = (u64::from(*sum) * 255 + u64::from(alpha / 2))
                    .checked_div(u64::from(alpha))
                    .unwrap_or(0);
                *sample = u8::try_from(colour).unwrap_or(u8::MAX);
            }
        }
        pixel
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ORDER: Order = Order { side: 50 };

    fn shrunk(width: u32, channels: Channels, rows: &[Vec<u8>], height: u32) -> Samples {
        let mut shrink = Shrink::new(width, height, channels, ORDER);
        for row in rows {
            shrink.push(&mut row.clone());
        }
        shrink.finish()
    }

    #[test]
    fn boxes_are_averaged_and_what_does_not_come_out_even_is_told() {
        // 205 × 205 at 50: boxes of 2 × 2, the last of each row and column 1 wide.
        let row = |odd: bool| {
            (0..205)
                .map(|x| if odd { 10 } else { 20 + x % 2 * 40 })
                .collect()
        };
        let rows: Vec<Vec<u8>> = (0..205).map(|y| row(y % 2 == 1)).collect();
        let Samples::Gray(raster) = shrunk(205, Channels::Gray, &rows, 205) else {
            panic!("not gray");
        };
        assert_eq!((raster.width, raster.height), (103, 103));
        assert_eq!(raster.extent, (102.5, 102.5));
        // (20 + 60 + 10 + 10) / 4, (20 + 10) / 2, (20 + 60) / 2 and 20.
        assert_eq!((raster.data[0], raster.data[102]), (25, 15));
        assert_eq!(
            (raster.data[102 * 103], raster.data[103 * 103 - 1]),
            (40, 20)
        );
    }

    #[test]
    fn small_pictures_are_left_as_they_are() {
        let row: Vec<u8> = (0..200).chain(0..200).collect();
        let Samples::Rgba(raster) = shrunk(100, Channels::Rgba, std::slice::from_ref(&row), 1)
        else {
            panic!("not RGBA");
        };
        assert_eq!(raster, Raster::new(100, 1, row));
    }

    #[test]
    fn transparent_pixels_do_not_bleed() {
        let row = [
            [200, 100, 50, 255],
            [0, 255, 0, 0],
            [8, 8, 8, 0],
            [9, 9, 9, 0],
        ]
        .concat()
        .repeat(50);
        let Samples::Rgba(raster) = shrunk(200, Channels::Rgba, &vec![row; 200], 200) else {
            panic!("not RGBA");
        };
        assert_eq!(raster.data[..8], [200, 100, 50, 128, 0, 0, 0, 0]);
        let row = [[90, 100], [30, 50]].concat().repeat(100);
        let Samples::Rgba(raster) = shrunk(200, Channels::GrayAlpha, &vec![row; 200], 200) else {
            panic!("not RGBA");
        };
        // 35 and 6, of 75.
        assert_eq!(raster.data[..4], [70, 70, 70, 75]);
    }

    #[test]
    fn rows_that_never_came_are_white_or_transparent() {
        let rows = vec![vec![7; 200 * 3]; 3];
        let Samples::Rgb(raster) = shrunk(200, Channels::Rgb, &rows, 200) else {
            panic!("not RGB");
        };
        assert_eq!(raster.data.len(), 100 * 100 * 3);
        assert_eq!(raster.data[100 * 2 * 3 - 1..][..2], [7, 255]);
        let rows = vec![vec![7; 200 * 4]; 2];
        let Samples::Rgba(raster) = shrunk(200, Channels::Rgba, &rows, 200) else {
            panic!("not RGBA");
        };
        assert_eq!(raster.data[100 * 4 - 1..][..2], [7, 0]);
    }

    #[test]
    fn sums_of_the_largest_boxes_do_not_overflow() {
        let mut shrink = Shrink::new(1, 100_000, Channels::Gray, ORDER);
        for _ in 0..100_000 {
            shrink.push(&mut [255]);
        }
        let Samples::Gray(raster) = shrink.finish() else {
            panic!("not gray");
        };
        assert_eq!(raster.height, 100_000_u32.div_ceil(257));
        assert!(raster.data.iter().all(|&sample| sample == 255));
    }
}
