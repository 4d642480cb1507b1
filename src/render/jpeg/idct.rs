//! Inverse cosine transforms of the lowest coefficients only.
//!
//! Of a block's 8×8 coefficients the lowest N×N, scaled by N/8, are those of a
//! picture of the block with N×N samples: the sharpest that so few can show.

use std::array;

/// By place in a block of 2×2 coefficients: the place in the zigzag sequence
/// (figure A.6).
const ZIGZAG_2: [u8; 4] = [0, 1, 2, 4];
/// The same of 4×4.
const ZIGZAG_4: [u8; 16] = [0, 1, 5, 6, 2, 4, 7, 13, 3, 8, 12, 17, 9, 11, 18, 24];

/// Where the lowest `side × side` coefficients are in the zigzag sequence, row
/// by row. A side is 1, 2 or 4.
pub(super) const fn zigzag(side: usize) -> &'static [u8] {
    match side {
        1 => &[0],
        2 => &ZIGZAG_2,
        _ => &ZIGZAG_4,
    }
}

/// How far the zigzag sequence is read to have them all.
pub(super) const fn kept(side: usize) -> usize {
    match side {
        1 => 1,
        2 => 5,
        _ => 25,
    }
}

/// A dequantized coefficient. An honest one has less than 12 bits (A.3.3);
/// with 14, nothing here overflows.
#[inline]
pub(super) fn dequantize(coefficient: i16, step: u16) -> i32 {
    (i32::from(coefficient) * i32::from(step)).clamp(-(1 << 13), 1 << 13)
}

/// A sample, from its distance to the middle in eighths.
#[inline]
#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "it is clamped"
)]
pub(super) fn sample(eighths: i32) -> u8 {
    (((eighths + 4) >> 3) + 128).clamp(0, 255) as u8
}

/// Two by two samples.
#[inline]
pub(super) fn two([mean, across, down, diagonal]: [i32; 4]) -> [u8; 4] {
    let (left, right) = (mean + across, mean - across);
    let (falling, rising) = (down + diagonal, down - diagonal);
    [
        left + falling,
        right + rising,
        left - falling,
        right - rising,
    ]
    .map(sample)
}

/// Four by four samples.
#[inline]
pub(super) fn four(block: [i32; 16]) -> [u8; 16] {
    let mut rows = block;
    for row in rows.as_chunks_mut().0 {
        *row = line(*row, FRACTION - KEPT);
    }
    let columns: [_; 4] = array::from_fn(|x| {
        line(
            [rows[x], rows[x + 4], rows[x + 8], rows[x + 12]],
            FRACTION + KEPT,
        )
    });
    array::from_fn(|at| sample(columns[at % 4][at / 4]))
}

/// Bits of the fraction of the constants below.
const FRACTION: u32 = 11;
/// Bits of the fraction kept between rows and columns.
const KEPT: u32 = 2;
/// √2 cos(π/8).
const MAJOR: i32 = 2676;
/// √2 sin(π/8).
const MINOR: i32 = 1108;

/// Four samples of four coefficients, times √2 and 2¹¹, shifted right.
#[inline]
fn line([mean, first, second, third]: [i32; 4], shift: u32) -> [i32; 4] {
    let half = 1 << shift >> 1;
    let ends = ((mean + second) << FRACTION) + half;
    let middle = ((mean - second) << FRACTION) + half;
    let outer = first * MAJOR + third * MINOR;
    let inner = first * MINOR - third * MAJOR;
    [ends + outer, middle + inner, middle - inner, ends - outer].map(|sum| sum >> shift)
}
