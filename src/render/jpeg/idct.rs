//! Inverse cosine transforms of the lowest coefficients only.
//!
//! Of a block's 8×8 coefficients the lowest N×N, scaled by N/8, are those of a
//! picture of the block with N×N samples: the sharpest that so few can show.

/// Where in a block of 4×4 a coefficient goes, by its place in the zigzag
/// sequence (figure A.6); those behind the 24th are all higher.
const PLACES: [(usize, u8); 16] = [
    (0, 0),
    (1, 1),
    (2, 4),
    (3, 8),
    (4, 5),
    (5, 2),
    (6, 3),
    (7, 6),
    (8, 9),
    (9, 12),
    (11, 13),
    (12, 10),
    (13, 7),
    (17, 11),
    (18, 14),
    (24, 15),
];

/// A dequantized coefficient. An honest one has less than 12 bits (A.3.3);
/// with 14, nothing here overflows.
pub(super) fn dequantize(coefficient: i16, step: u16) -> i32 {
    (i32::from(coefficient) * i32::from(step)).clamp(-(1 << 13), 1 << 13)
}

/// A sample, from its distance to the middle in eighths.
#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "it is clamped"
)]
pub(super) fn sample(eighths: i32) -> u8 {
    (((eighths + 4) >> 3) + 128).clamp(0, 255) as u8
}

/// Two by two samples of dequantized coefficients in zigzag order.
pub(super) fn two(c: &[i32; 5]) -> [u8; 4] {
    let (left, right) = (c[0] + c[1], c[0] - c[1]);
    let (falling, rising) = (c[2] + c[4], c[2] - c[4]);
    [
        sample(left + falling),
        sample(right + rising),
        sample(left - falling),
        sample(right - rising),
    ]
}

/// Four by four samples of dequantized coefficients in zigzag order.
pub(super) fn four(c: &[i32; 25]) -> [u8; 16] {
    let mut block = [0; 16];
    for (from, to) in PLACES {
        block[usize::from(to)] = c[from];
    }
    for row in 0..4 {
        let at = row * 4;
        let line = line(
            [block[at], block[at + 1], block[at + 2], block[at + 3]],
            FRACTION - KEPT,
        );
        block[at..at + 4].copy_from_slice(&line);
    }
    let mut samples = [0; 16];
    for column in 0..4 {
        let line = line(
            [
                block[column],
                block[column + 4],
                block[column + 8],
                block[column + 12],
            ],
            FRACTION + KEPT,
        );
        for (row, value) in line.into_iter().enumerate() {
            samples[row * 4 + column] = sample(value);
        }
    }
    samples
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
fn line([dc, first, second, third]: [i32; 4], shift: u32) -> [i32; 4] {
    let half = (1 << shift) >> 1;
    let (sum, difference) = (
        ((dc + second) << FRACTION) + half,
        ((dc - second) << FRACTION) + half,
    );
    let outer = first * MAJOR + third * MINOR;
    let inner = first * MINOR - third * MAJOR;
    [
        (sum + outer) >> shift,
        (difference + inner) >> shift,
        (difference - inner) >> shift,
        (sum - outer) >> shift,
    ]
}
