//! Undoing the filters of rows of 8-bit RGB and RGBA (PNG, third edition,
//! section 9).
//!
//! Of the five, Paeth takes nearly all the time: what a pixel is depends on the
//! one before it, and most of a processor waits. Four Paeth rows in succession
//! are therefore undone together, each one pixel behind the one above it.

/// The type of the filter that [`paeth`] undoes.
const PAETH: u8 = 4;
/// So many rows are undone together.
pub(super) const TOGETHER: usize = 4;
/// Bytes before and behind the samples of a row: of rows that are undone
/// together, the last begins, and the first ends, three pixels outside.
const EDGE: usize = 4 * TOGETHER;

/// A row of a picture.
pub(super) struct Row {
    /// The samples, between the edges. The byte before them is the type of
    /// their filter, as in the stream.
    bytes: Vec<u8>,
}

impl Row {
    /// A row of so many bytes, which are zero, as above the first of a picture.
    pub(super) fn new(length: usize) -> Self {
        Self {
            bytes: vec![0; EDGE + length + EDGE],
        }
    }

    /// What the stream has: the type of the filter and the filtered samples.
    pub(super) fn stored(&mut self) -> &mut [u8] {
        let end = self.bytes.len() - EDGE;
        &mut self.bytes[EDGE - 1..end]
    }

    pub(super) fn samples(&mut self) -> &mut [u8] {
        &mut self.stored()[1..]
    }

    fn filter(&self) -> u8 {
        self.bytes[EDGE - 1]
    }

    pub(super) fn is_paeth(&self) -> bool {
        self.filter() == PAETH
    }
}

/// Undoes the first `count` of some rows in succession, all Paeth's, of `N`
/// bytes a pixel. The others may be overwritten.
pub(super) fn paeth<const N: usize>(above: &Row, rows: &mut [Row; TOGETHER], count: usize) {
    #[cfg(target_arch = "x86_64")]
    {
        for row in &mut rows[..count] {
            // Before the samples come pixels that are zero, and stay so.
            row.bytes[..EDGE].fill(0);
        }
        let mut start = EDGE + N;
        let rows = rows.each_mut().map(|row| {
            start -= N;
            row.bytes[start..].as_chunks_mut().0
        });
        // SAFETY: Every x86-64 processor has SSE2.
        #[allow(unsafe_code, reason = "the only way to call it")]
        unsafe {
            sse2::paeth::<N>(above.bytes[EDGE..].as_chunks().0, rows);
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    {
        let mut above = above;
        for row in &mut rows[..count] {
            one::<N>(above, row);
            above = row;
        }
    }
}

/// Undoes one row; not if there is no filter of its type.
pub(super) fn one<const N: usize>(above: &Row, row: &mut Row) -> bool {
    let filter = row.filter();
    let above = &above.bytes[EDGE..];
    let samples = row.samples();
    let mut left = [0; N];
    match filter {
        0 => {}
        1 => {
            for pixel in samples.as_chunks_mut().0 {
                left = each(|i| pixel[i].wrapping_add(left[i]));
                *pixel = left;
            }
        }
        2 => {
            for (sample, up) in samples.iter_mut().zip(above) {
                *sample = sample.wrapping_add(*up);
            }
        }
        3 => {
            let pixels = samples.as_chunks_mut().0.iter_mut();
            for (pixel, up) in pixels.zip(above.as_chunks::<N>().0) {
                left = each(|i| pixel[i].wrapping_add(left[i].midpoint(up[i])));
                *pixel = left;
            }
        }
        PAETH => {
            let mut corner = [0; N];
            let pixels = samples.as_chunks_mut().0.iter_mut();
            for (pixel, up) in pixels.zip(above.as_chunks::<N>().0) {
                left = each(|i| pixel[i].wrapping_add(nearest(left[i], up[i], corner[i])));
                *pixel = left;
                corner = *up;
            }
        }
        _ => return false,
    }
    true
}

fn each<const N: usize>(sample: impl FnMut(usize) -> u8) -> [u8; N] {
    std::array::from_fn(sample)
}

/// Which of its neighbours a sample is expected to be like: the one that is
/// nearest to `left + up - corner`. Without distances: `left` and `up` limit
/// what `3 * corner - left - up` may be for that to be the corner.
fn nearest(left: u8, up: u8, corner: u8) -> u8 {
    let (low, high) = (left.min(up), left.max(up));
    let turn = 3 * i16::from(corner) - i16::from(left) - i16::from(up);
    let inner = if i16::from(high) > turn { corner } else { low };
    if turn > i16::from(low) { inner } else { high }
}

/// Registers only: memory is read and written by ordinary code.
#[cfg(target_arch = "x86_64")]
mod sse2 {
    use std::arch::x86_64::{
        __m128i, _mm_add_epi8, _mm_add_epi16, _mm_and_si128, _mm_andnot_si128, _mm_cmpgt_epi16,
        _mm_cvtsi64_si128, _mm_cvtsi128_si64, _mm_max_epi16, _mm_min_epi16, _mm_or_si128,
        _mm_packus_epi16, _mm_setzero_si128, _mm_srli_si128, _mm_sub_epi16, _mm_unpacklo_epi8,
        _mm_unpacklo_epi64,
    };

    /// Undoes four rows. Each begins one pixel earlier than that above it, with
    /// pixels that are zero, so that a sample's upper neighbour is what was
    /// undone of that row the step before.
    #[target_feature(enable = "sse2")]
    pub(super) fn paeth<const N: usize>(above: &[[u8; N]], rows: [&mut [[u8; N]]; 4]) {
        let [first, second, third, fourth] = rows.map(|row| row.iter_mut());
        let (upper, lower) = (first.zip(second), third.zip(fourth));
        // Samples are words: a row's pixel is half a register.
        let zero = _mm_setzero_si128();
        let (mut left, mut corner) = ([zero; 2], [zero; 2]);
        for ((up, upper), lower) in above.iter().zip(upper).zip(lower) {
            let up = [
                _mm_unpacklo_epi64(words(load(up)), left[0]),
                _mm_unpacklo_epi64(_mm_srli_si128(left[0], 8), left[1]),
            ];
            // The upper bytes are zero, and no sum carries into them.
            left = [
                _mm_add_epi8(both(&upper), nearest(left[0], up[0], corner[0])),
                _mm_add_epi8(both(&lower), nearest(left[1], up[1], corner[1])),
            ];
            corner = up;
            let bytes = _mm_packus_epi16(left[0], left[1]);
            store(bytes, upper);
            store(_mm_srli_si128(bytes, 8), lower);
        }
    }

    #[target_feature(enable = "sse2")]
    fn both<const N: usize>(pixels: &(&mut [u8; N], &mut [u8; N])) -> __m128i {
        words(load(pixels.0) | load(pixels.1) << 32)
    }

    #[target_feature(enable = "sse2")]
    fn store<const N: usize>(bytes: __m128i, (one, other): (&mut [u8; N], &mut [u8; N])) {
        let bytes = _mm_cvtsi128_si64(bytes).to_le_bytes();
        one.copy_from_slice(&bytes[..N]);
        other.copy_from_slice(&bytes[4..4 + N]);
    }

    /// As [`super::nearest`].
    #[target_feature(enable = "sse2")]
    fn nearest(left: __m128i, up: __m128i, corner: __m128i) -> __m128i {
        let (low, high) = (_mm_min_epi16(left, up), _mm_max_epi16(left, up));
        // What does not depend on the step before comes first.
        let corners = _mm_add_epi16(corner, _mm_add_epi16(corner, corner));
        let turn = _mm_sub_epi16(_mm_sub_epi16(corners, up), left);
        let inner = choose(_mm_cmpgt_epi16(high, turn), corner, low);
        choose(_mm_cmpgt_epi16(turn, low), inner, high)
    }

    #[target_feature(enable = "sse2")]
    fn choose(mask: __m128i, chosen: __m128i, other: __m128i) -> __m128i {
        _mm_or_si128(_mm_and_si128(mask, chosen), _mm_andnot_si128(mask, other))
    }

    fn load<const N: usize>(pixel: &[u8; N]) -> u64 {
        let mut bytes = [0; 8];
        bytes[..N].copy_from_slice(pixel);
        u64::from_le_bytes(bytes)
    }

    #[target_feature(enable = "sse2")]
    fn words(bytes: u64) -> __m128i {
        _mm_unpacklo_epi8(_mm_cvtsi64_si128(bytes.cast_signed()), _mm_setzero_si128())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_neighbour_is_that_of_the_specification() {
        for left in (0..=255).step_by(3) {
            for up in (0..=255).step_by(3) {
                for corner in 0..=255 {
                    let distance = |to: u8| {
                        (i16::from(left) + i16::from(up) - i16::from(corner)).abs_diff(to.into())
                    };
                    // The first of the nearest ones.
                    let nearest_one = [left, up, corner]
                        .into_iter()
                        .min_by_key(|&to| distance(to));
                    assert_eq!(Some(nearest(left, up, corner)), nearest_one);
                }
            }
        }
    }

    #[test]
    fn rows_undone_together_are_as_if_one_after_the_other() {
        let row = |seed: usize| {
            let mut row = Row::new(30);
            for (i, byte) in row.stored().iter_mut().enumerate() {
                *byte = ((i + 1) * (seed + 7) * 2_654_435_761).to_be_bytes()[4];
            }
            row.stored()[0] = PAETH;
            row
        };
        for count in 1..=TOGETHER {
            let mut rows = std::array::from_fn(row);
            let mut above = row(9);
            paeth::<3>(&above, &mut rows, count);
            for (i, together) in rows[..count].iter_mut().enumerate() {
                let mut alone = row(i);
                assert!(one::<3>(&above, &mut alone));
                assert_eq!(together.samples(), alone.samples());
                above = alone;
            }
        }
    }
}
