//! PNG.

use super::deflate::{zeros, zlib};
use super::{
    ANY, BROKEN, Case, DRAWN, DRAWN_OR_BROKEN, DRAWN_OR_TOO_COSTLY, HONEST, TOO_LARGE, case,
    gradient,
};

const SIGNATURE: &[u8] = b"\x89PNG\r\n\x1a\n";
const GRAY: u8 = 0;
const RGB: u8 = 2;
const RGBA: u8 = 6;

/// An honest picture.
pub fn honest() -> Vec<u8> {
    let rows = gradient(HONEST);
    let rows = rows.chunks(usize::try_from(HONEST.0 * 3).unwrap());
    let data: Vec<u8> = rows.flat_map(|row| [&[0], row].concat()).collect();
    file(HONEST, 8, RGB, &[chunk(*b"IDAT", &zlib(&data))])
}

pub fn cases() -> Vec<Case> {
    let data = |count| chunk(*b"IDAT", &zeros(count));
    let bomb = |name: [u8; 4], prefix: &[u8], count| {
        let payload = [prefix, &zeros(count)].concat();
        let mut bombed = honest();
        let header = SIGNATURE.len() + 25;
        bombed.splice(header..header, chunk(name, &payload));
        bombed
    };
    let many = |name: [u8; 4], payload: &[u8], count: usize| {
        let mut bombed = honest();
        let header = SIGNATURE.len() + 25;
        bombed.splice(header..header, chunk(name, payload).repeat(count));
        bombed
    };
    vec![
        case(
            "PNG of 50000 × 50000 zeros",
            file((50_000, 50_000), 1, GRAY, &[data(50_000 * 6_251)]),
            TOO_LARGE,
        ),
        case(
            "PNG of 2³¹ × 2³¹",
            file((0x7fff_ffff, 0x7fff_ffff), 16, RGBA, &[data(1000)]),
            TOO_LARGE,
        ),
        case(
            "PNG of 65500 × 65500 without data",
            file((65_500, 65_500), 8, RGB, &[]),
            TOO_LARGE,
        ),
        case(
            "PNG of no width",
            file((0, 48), 8, RGB, &[data(1000)]),
            BROKEN,
        ),
        case(
            "PNG of 14000 × 14000 zeros",
            file((14_000, 14_000), 1, GRAY, &[data(14_000 * 1_751)]),
            DRAWN_OR_TOO_COSTLY,
        ),
        case(
            "PNG of 10000 × 10000 deep zeros",
            file((10_000, 10_000), 16, RGBA, &[data(10_000 * 80_001)]),
            DRAWN_OR_TOO_COSTLY,
        ),
        case(
            "PNG in a row of 249 megapixels",
            file((249_000_000, 1), 8, GRAY, &[data(249_000_001)]),
            ANY,
        ),
        case(
            "PNG with less data than rows",
            file((5_000, 5_000), 8, RGB, &[data(100_000)]),
            ANY,
        ),
        case(
            "PNG with 400 MB more data than rows",
            file(HONEST, 8, RGB, &[data(400 << 20)]),
            DRAWN,
        ),
        case(
            "PNG with a profile of 500 MB",
            bomb(*b"iCCP", b"bomb\0\0", 500 << 20),
            DRAWN_OR_BROKEN,
        ),
        case(
            "PNG with a text of 500 MB",
            bomb(*b"zTXt", b"bomb\0\0", 500 << 20),
            DRAWN_OR_BROKEN,
        ),
        case(
            "PNG of a million empty chunks",
            many(*b"tEXt", b"", 1_000_000),
            DRAWN_OR_BROKEN,
        ),
        case(
            "PNG of a million empty data chunks",
            many(*b"IDAT", b"", 1_000_000),
            DRAWN_OR_BROKEN,
        ),
        case(
            "PNG whose chunk is as long as can be",
            [SIGNATURE, b"\xff\xff\xff\xffIHDR"].concat(),
            BROKEN,
        ),
    ]
}

fn file((width, height): (u32, u32), depth: u8, colour: u8, chunks: &[Vec<u8>]) -> Vec<u8> {
    let sides = [width.to_be_bytes(), height.to_be_bytes()].concat();
    let header = [&sides[..], &[depth, colour, 0, 0, 0]].concat();
    let mut file = SIGNATURE.to_vec();
    file.extend(chunk(*b"IHDR", &header));
    file.extend(chunks.concat());
    file.extend(chunk(*b"IEND", b""));
    file
}

fn chunk(name: [u8; 4], payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap();
    let body = [&name[..], payload].concat();
    let checksum = crc32fast::hash(&body);
    [&length.to_be_bytes()[..], &body, &checksum.to_be_bytes()].concat()
}
