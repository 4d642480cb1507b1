//! Inverse cosine transforms of the lowest coefficients only.
//!
//! Of a block's 8×8 coefficients the lowest N×N, scaled by N/8, are those of a
//! picture of the block with N×N samples: the sharpest that so few can show.

use std::array;
use std::f32::consts::SQRT_2;

/// By place in a block of 8×8 coefficients: the place in the zigzag sequence
/// (figure A.6).
#[rustfmt::skip]
const ZIGZAG_8: [u8; 64] = [
     0,  1,  5,  6, 14, 15, 27, 28,
     2,  4,  7, 13, 16, 26, 29, 42,
     3,  8, 12, 17, 25, 30, 41, 43,
     9, 11, 18, 24, 31, 40, 44, 53,
    10, 19, 23, 32, 39, 45, 52, 54,
    20, 22, 33, 38, 46, 51, 55, 60,
    21, 34, 37, 47, 50, 56, 59, 61,
    35, 36, 48, 49, 57, 58, 62, 63,
];
/// The same of the lowest 4×4.
const ZIGZAG_4: [u8; 16] = [0, 1, 5, 6, 2, 4, 7, 13, 3, 8, 12, 17, 9, 11, 18, 24];
/// The same of the lowest 2×2.
const ZIGZAG_2: [u8; 4] = [0, 1, 2, 4];

/// Where the lowest `side × side` coefficients are in the zigzag sequence, row
/// by row. A side is 1, 2, 4 or 8.
pub(super) const fn zigzag(side: usize) -> &'static [u8] {
    match side {
        1 => &[0],
        2 => &ZIGZAG_2,
        4 => &ZIGZAG_4,
        _ => &ZIGZAG_8,
    }
}

/// How far the zigzag sequence is read to have them all.
pub(super) const fn kept(side: usize) -> usize {
    match side {
        1 => 1,
        2 => 5,
        4 => 25,
        _ => 64,
    }
}

/// By place in the zigzag sequence, and behind it: the place among the lowest
/// `SIDE × SIDE`, row by row, or 64.
struct Places<const SIDE: usize>;

impl<const SIDE: usize> Places<SIDE> {
    const ALL: [u8; 128] = {
        let mut places = [64; 128];
        let mut at = 0;
        while at < zigzag(SIDE).len() {
            #[allow(clippy::cast_possible_truncation, reason = "it is below 64")]
            let place = at as u8;
            places[zigzag(SIDE)[at] as usize] = place;
            at += 1;
        }
        places
    };
}

/// Where the coefficient at this place in the zigzag sequence is among the
/// lowest `SIDE × SIDE`; 64 if it is not, or behind the block's end.
#[inline]
pub(super) fn place<const SIDE: usize>(zigzag: usize) -> usize {
    usize::from(Places::<SIDE>::ALL[zigzag & 127])
}

/// A dequantized coefficient.
#[inline]
pub(super) fn dequantize(coefficient: i16, step: u16) -> i32 {
    i32::from(coefficient) * i32::from(step)
}

/// A sample, from its distance to the middle in eighths.
#[inline]
#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "it is clamped"
)]
pub(super) fn sample(eighths: i32) -> u8 {
    ((eighths.wrapping_add(4) >> 3) + 128).clamp(0, 255) as u8
}

/// Two by two samples. Those of dishonest coefficients are anything.
#[inline]
pub(super) fn two([mean, across, down, diagonal]: [i32; 4]) -> [u8; 4] {
    let (left, right) = (mean.wrapping_add(across), mean.wrapping_sub(across));
    let (falling, rising) = (down.wrapping_add(diagonal), down.wrapping_sub(diagonal));
    [
        left.wrapping_add(falling),
        right.wrapping_add(rising),
        left.wrapping_sub(falling),
        right.wrapping_sub(rising),
    ]
    .map(sample)
}

/// Four by four samples.
#[inline]
pub(super) fn four(block: [i32; 16]) -> [u8; 16] {
    // Honest coefficients have less than 12 bits (A.3.3); with 14, nothing here
    // overflows.
    let mut rows = block.map(|coefficient| coefficient.clamp(-(1 << 13), 1 << 13));
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

/// √2 cos(kπ/16), but 1 for 0: what [`lines`] leaves out.
const SCALES: [f32; 8] = [
    1.0,
    1.387_039_8,
    1.306_563,
    1.175_875_6,
    1.0,
    0.785_694_96,
    0.541_196_1,
    0.275_899_4,
];

/// Eight by eight samples: those of the whole block.
#[inline]
pub(super) fn eight(block: &[i32; 64]) -> [u8; 64] {
    #[allow(clippy::cast_precision_loss, reason = "they have 14 bits")]
    let rows: [[f32; 8]; 8] = array::from_fn(|v| {
        array::from_fn(|u| block[v * 8 + u] as f32 * (SCALES[v] * SCALES[u] * 0.125))
    });
    let columns = transposed(&lines(rows));
    let rows = transposed(&lines(columns));
    let mut samples = [0; 64];
    for (to, row) in samples.as_chunks_mut().0.iter_mut().zip(rows) {
        *to = row.map(rounded);
    }
    samples
}

/// Rounds by adding a number so large that no fraction is left.
#[inline]
#[allow(clippy::cast_possible_truncation, reason = "it is clamped")]
fn rounded(sample: f32) -> u8 {
    ((sample + 128.0).clamp(0.0, 255.0) + 8_388_608.0).to_bits() as u8
}

fn transposed(rows: &[[f32; 8]; 8]) -> [[f32; 8]; 8] {
    array::from_fn(|x| array::from_fn(|y| rows[y][x]))
}

/// Eight inverse transforms at once, one in each column: those of Arai, Agui
/// and Nakajima (1988), of which the factors at both ends are in [`SCALES`].
#[inline]
fn lines(c: [[f32; 8]; 8]) -> [[f32; 8]; 8] {
    let add = |left: [f32; 8], right: [f32; 8]| array::from_fn(|i| left[i] + right[i]);
    let sub = |left: [f32; 8], right: [f32; 8]| array::from_fn(|i| left[i] - right[i]);
    let mul = |line: [f32; 8], factor: f32| line.map(|value| value * factor);

    let (sum, difference) = (add(c[0], c[4]), sub(c[0], c[4]));
    let third = add(c[2], c[6]);
    let second = sub(mul(sub(c[2], c[6]), SQRT_2), third);
    let even = [
        add(sum, third),
        add(difference, second),
        sub(difference, second),
        sub(sum, third),
    ];

    let (inner, inner_rest) = (add(c[5], c[3]), sub(c[5], c[3]));
    let (outer, outer_rest) = (add(c[1], c[7]), sub(c[1], c[7]));
    // 2 cos(π/8), and 2 cos(3π/8) more and less.
    let turned = mul(add(inner_rest, outer_rest), 1.847_759);
    let odd_0 = add(outer, inner);
    let odd_1 = sub(sub(turned, mul(inner_rest, 2.613_126)), odd_0);
    let odd_2 = sub(mul(sub(outer, inner), SQRT_2), odd_1);
    let odd_3 = sub(sub(turned, mul(outer_rest, 1.082_392)), odd_2);
    [
        add(even[0], odd_0),
        add(even[1], odd_1),
        add(even[2], odd_2),
        add(even[3], odd_3),
        sub(even[3], odd_3),
        sub(even[2], odd_2),
        sub(even[1], odd_1),
        sub(even[0], odd_0),
    ]
}
