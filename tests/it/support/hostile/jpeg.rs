//! JPEG.

use jpeg_encoder::{ColorType, Encoder, SamplingFactor};

use super::{
    BROKEN, Case, DRAWN, DRAWN_OR_TOO_COSTLY, HONEST, TOO_COSTLY, TOO_LARGE, case, gradient,
};

/// An honest picture, 4:2:0.
pub fn honest(progressive: bool) -> Vec<u8> {
    encode(progressive, &[])
}

pub fn cases() -> Vec<Case> {
    let end = honest(false).len() - 2;
    vec![
        case(
            "JPEG of 65500 × 65500",
            sized(&honest(false), 65_500, 65_500),
            TOO_LARGE,
        ),
        case(
            "progressive JPEG of 65500 × 65500",
            sized(&honest(true), 65_500, 65_500),
            TOO_LARGE,
        ),
        case(
            "JPEG of 15000 × 15000 with the data of a small one",
            sized(&honest(false), 15_000, 15_000),
            DRAWN_OR_TOO_COSTLY,
        ),
        case(
            "progressive JPEG of 15000 × 15000 with the data of a small one",
            sized(&honest(true), 15_000, 15_000),
            DRAWN_OR_TOO_COSTLY,
        ),
        case("JPEG without height", sized(&honest(false), 64, 0), BROKEN),
        case("JPEG that is only a start", vec![0xff, 0xd8, 0xff], BROKEN),
        case("JPEG without an end", honest(false)[..end].to_vec(), DRAWN),
        case(
            "JPEG with an ICC profile of 15 MB",
            encode(false, &vec![0; 15 << 20]),
            DRAWN,
        ),
        case(
            "JPEG whose EXIF refers to itself",
            with_segment(&honest(false), 0xe1, &looping_exif()),
            DRAWN,
        ),
        case(
            "JPEG of a million empty segments",
            with_segments(&honest(false), 1_000_000),
            TOO_COSTLY,
        ),
        case(
            "progressive JPEG of 65 megapixels in 2000 scans",
            scan_bomb(8_064, 2_000),
            TOO_COSTLY,
        ),
        case(
            "JPEG whose Huffman table has more codes than there are",
            with_segment(&honest(false), 0xc4, &overfull_table()),
            BROKEN,
        ),
    ]
}

fn encode(progressive: bool, profile: &[u8]) -> Vec<u8> {
    let (width, height) = HONEST;
    let mut file = Vec::new();
    let mut encoder = Encoder::new(&mut file, 90);
    encoder.set_progressive(progressive);
    encoder.set_sampling_factor(SamplingFactor::R_4_2_0);
    if !profile.is_empty() {
        encoder.add_icc_profile(profile).unwrap();
    }
    let [width, height] = [width, height].map(|side| u16::try_from(side).unwrap());
    encoder
        .encode(&gradient(HONEST), width, height, ColorType::Rgb)
        .unwrap();
    file
}

/// The same with another size in its header.
fn sized(file: &[u8], width: u16, height: u16) -> Vec<u8> {
    let mut file = file.to_vec();
    let is_frame = |at: &usize| file[*at] == 0xff && matches!(file[at + 1], 0xc0 | 0xc2);
    let frame = (0..file.len() - 1).find(is_frame).unwrap();
    file[frame + 5..frame + 7].copy_from_slice(&height.to_be_bytes());
    file[frame + 7..frame + 9].copy_from_slice(&width.to_be_bytes());
    file
}

fn segment(marker: u8, payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(payload.len() + 2).unwrap();
    [&[0xff, marker], &length.to_be_bytes()[..], payload].concat()
}

fn with_segment(file: &[u8], marker: u8, payload: &[u8]) -> Vec<u8> {
    [&file[..2], &segment(marker, payload), &file[2..]].concat()
}

fn with_segments(file: &[u8], count: usize) -> Vec<u8> {
    [&file[..2], &segment(0xfe, &[]).repeat(count), &file[2..]].concat()
}

/// Its only directory says that it is followed by itself.
fn looping_exif() -> Vec<u8> {
    let entry = b"\x87\x69\x00\x04\x00\x00\x00\x01\x00\x00\x00\x08";
    [
        &b"Exif\0\0MM\0\x2a\0\0\0\x08\0\x01"[..],
        entry,
        b"\0\0\0\x08",
    ]
    .concat()
}

/// 255 codes of one bit.
fn overfull_table() -> Vec<u8> {
    let mut table = vec![0x00, 255];
    table.extend([0; 15]);
    table.extend([0; 255]);
    table
}

/// A gray square of `side` pixels, coded in many scans of next to no bytes:
/// each covers all blocks, and all of them have to be visited each time.
fn scan_bomb(side: u16, scans: usize) -> Vec<u8> {
    let blocks = usize::from(side / 8).pow(2);
    let mut file = vec![0xff, 0xd8];
    file.extend(segment(0xdb, &[&[0][..], &[1; 64]].concat()));
    let [high, low] = side.to_be_bytes();
    file.extend(segment(0xc2, &[8, high, low, high, low, 1, 1, 0x11, 0]));
    // One code of one bit: for DC no difference, for AC a run of 2¹⁴ blocks
    // without coefficients and as many as the next 14 bits say.
    for (class, symbol) in [(0x00, 0x00), (0x10, 0xe0)] {
        let mut table = vec![class, 1];
        table.extend([0; 15]);
        table.push(symbol);
        file.extend(segment(0xc4, &table));
    }
    file.extend(segment(0xda, &[1, 1, 0x00, 0, 0, 0x00]));
    file.extend(vec![0; blocks.div_ceil(8)]);
    let runs = blocks.div_ceil(0x7fff);
    let bits = (0..runs).flat_map(|_| (0..15).map(|bit| bit > 0));
    let scan_data = stuffed(&bits.collect::<Vec<_>>());
    for _ in 0..scans {
        // Coefficient 1 only, so that a decoder of small scales needs it, too.
        file.extend(segment(0xda, &[1, 1, 0x00, 1, 1, 0x00]));
        file.extend_from_slice(&scan_data);
    }
    file.extend([0xff, 0xd9]);
    file
}

fn stuffed(bits: &[bool]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for chunk in bits.chunks(8) {
        let byte = (0..8).fold(0, |byte, bit| {
            byte << 1 | u8::from(*chunk.get(bit).unwrap_or(&true))
        });
        bytes.push(byte);
        if byte == 0xff {
            bytes.push(0);
        }
    }
    bytes
}
