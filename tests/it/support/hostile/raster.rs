//! GIF, BMP, WebP and AVIF.

use gif::{Encoder, Frame};
use image::ExtendedColorType;
use image::codecs::bmp::BmpEncoder;
use kura::render::decode::webp::libwebp;

use super::{
    ANY, BROKEN, Case, DRAWN_OR_BROKEN, DRAWN_OR_TOO_COSTLY, HONEST, TOO_LARGE,
    TOO_LARGE_OR_BROKEN, case, gradient,
};

/// An AV1 still of 64 × 48 in gray, from avifenc: temporal delimiter, sequence
/// header, frame.
const AV1: &[u8] = b"\x12\x00\x0a\x09\x18\x15\x7f\xbf\x92\x02\x1a\x0d\x08\x32\x0f\x1c\x80\x00\x00\x40\x00\x25\xac\x9c\xb6\x58\xc5\x08\xb7\xac";

/// An honest GIF.
pub fn gif() -> Vec<u8> {
    let [width, height] = sides();
    let mut file = Vec::new();
    let frame = Frame::from_rgb(width, height, &gradient(HONEST));
    let mut encoder = Encoder::new(&mut file, width, height, &[]).unwrap();
    encoder.write_frame(&frame).unwrap();
    drop(encoder);
    file
}

/// An honest bitmap.
pub fn bmp() -> Vec<u8> {
    let mut file = Vec::new();
    let (width, height) = HONEST;
    let mut encoder = BmpEncoder::new(&mut file);
    encoder
        .encode(&gradient(HONEST), width, height, ExtendedColorType::Rgb8)
        .unwrap();
    file
}

/// An honest WebP.
pub fn webp() -> Vec<u8> {
    let (width, height) = HONEST;
    libwebp::encode(width, height, &gradient(HONEST), false, 80.0, 0).unwrap()
}

/// An honest AVIF.
pub fn avif() -> Vec<u8> {
    avif_of(HONEST, AV1)
}

pub fn cases() -> Vec<Case> {
    [gif_cases(), bmp_cases(), webp_cases(), avif_cases()]
        .into_iter()
        .flatten()
        .collect()
}

fn gif_cases() -> Vec<Case> {
    let screen = |width: u16, height: u16| {
        let mut file = gif();
        file[6..8].copy_from_slice(&width.to_le_bytes());
        file[8..10].copy_from_slice(&height.to_le_bytes());
        file
    };
    let header = |frame: &[u8]| [b"GIF89a\x40\0\x30\0\0\0\0", frame].concat();
    // A comment of 255 bytes, which goes on and on.
    let comment = [
        b"\x21\xfe".to_vec(),
        [&[255][..], &[b' '; 255]].concat().repeat(40_000),
    ]
    .concat();
    vec![
        case(
            "GIF of 65535 × 65535 with a small frame",
            screen(0xffff, 0xffff),
            TOO_LARGE,
        ),
        case(
            "GIF of 15000 × 15000 with a small frame",
            screen(15_000, 15_000),
            DRAWN_OR_TOO_COSTLY,
        ),
        case("GIF smaller than its frame", screen(1, 1), DRAWN_OR_BROKEN),
        case(
            "GIF whose frame is of 65535 × 65535",
            header(b"\x2c\0\0\0\0\xff\xff\xff\xff\0\x02\x02\x4c\x01\0;"),
            TOO_LARGE_OR_BROKEN,
        ),
        case(
            "GIF whose frame lies outside",
            header(b"\x2c\xff\xff\xff\xff\x01\0\x01\0\0\x02\x02\x4c\x01\0;"),
            DRAWN_OR_BROKEN,
        ),
        case(
            "GIF with codes of 255 bits",
            header(b"\x2c\0\0\0\0\x01\0\x01\0\0\xff\x02\x4c\x01\0;"),
            DRAWN_OR_BROKEN,
        ),
        case("GIF without a frame", header(b";"), BROKEN),
        case("GIF with an endless comment", header(&comment), BROKEN),
    ]
}

fn bmp_cases() -> Vec<Case> {
    let patched = |at: usize, value: u32| {
        let mut file = bmp();
        file[at..at + 4].copy_from_slice(&value.to_le_bytes());
        file
    };
    let mut huge = patched(18, 0x7fff_ffff);
    huge[22..26].copy_from_slice(&0x8000_0001_u32.to_le_bytes());
    vec![
        case("BMP of 2³¹ × -2³¹", huge, TOO_LARGE_OR_BROKEN),
        case(
            "BMP of 65500 × 65500",
            bmp_of(65_500, 65_500, 24, 0, b""),
            TOO_LARGE,
        ),
        case(
            "BMP of 15000 × 15000 without data",
            bmp_of(15_000, 15_000, 24, 0, b""),
            TOO_LARGE,
        ),
        case(
            "BMP of 12000 × 12000 in a few runs",
            bmp_of(12_000, 12_000, 8, 1, b"\xff\x01\0\x01"),
            TOO_LARGE_OR_BROKEN,
        ),
        case(
            "BMP whose data begin behind its end",
            patched(10, 0xffff_fff0),
            BROKEN,
        ),
        case(
            "BMP of four thousand million colours",
            patched(46, 0xffff_ffff),
            DRAWN_OR_BROKEN,
        ),
    ]
}

fn webp_cases() -> Vec<Case> {
    let honest = webp();
    let frame = &honest[12..];
    let canvas = |side: u32, flags: u8, chunks: &[u8]| {
        let side = (side - 1).to_le_bytes();
        let payload = [&[flags, 0, 0, 0], &side[..3], &side[..3]].concat();
        riff(&[&riff_chunk(*b"VP8X", &payload), chunks].concat())
    };
    // VP8L: a signature byte, then 14 bits each of width and height, less one.
    let lossless = |side: u32, data: &[u8]| {
        let sides = (side - 1) | (side - 1) << 14;
        let payload = [&[0x2f], &sides.to_le_bytes()[..], data].concat();
        riff(&riff_chunk(*b"VP8L", &payload))
    };
    let mut sized = honest.clone();
    // VP8: the frame tag and start code, then 14 bits each of width and height.
    sized[26..30].copy_from_slice(&[0xff, 0x3f, 0xff, 0x3f]);
    let profile = riff_chunk(*b"ICCP", &vec![0; 32 << 20]);
    vec![
        case(
            "WebP whose canvas is of 2²⁴ × 2²⁴",
            canvas(1 << 24, 0, frame),
            TOO_LARGE_OR_BROKEN,
        ),
        case(
            "WebP whose canvas is smaller than its frame",
            canvas(1, 0, frame),
            DRAWN_OR_BROKEN,
        ),
        case(
            "WebP of 16383 × 16383 with the data of a small one",
            sized,
            TOO_LARGE,
        ),
        case(
            "lossless WebP of 16384 × 16384",
            lossless(16_384, &[0; 64]),
            TOO_LARGE,
        ),
        case(
            "lossless WebP of 15000 × 15000 without data",
            lossless(15_000, &[0; 64]),
            TOO_LARGE,
        ),
        case(
            "WebP with a profile of 32 MB",
            canvas(64, 0x20, &[&profile, frame].concat()),
            DRAWN_OR_BROKEN,
        ),
        case(
            "animated WebP without frames",
            canvas(64, 0x02, &riff_chunk(*b"ANIM", &[0; 6])),
            BROKEN,
        ),
        case("WebP that is only a header", honest[..16].to_vec(), BROKEN),
    ]
}

fn avif_cases() -> Vec<Case> {
    vec![
        case(
            "AVIF that says 65536 × 65536 of a small frame",
            avif_of((65_536, 65_536), AV1),
            ANY,
        ),
        case(
            "AVIF of 65536 × 65536 that says 64 × 48",
            avif_of(HONEST, &huge_av1(16)),
            TOO_LARGE_OR_BROKEN,
        ),
        case(
            "AVIF of 8192 × 8192 with the data of a small one",
            avif_of((8_192, 8_192), &huge_av1(13)),
            BROKEN,
        ),
        case("AVIF without a picture", avif_of(HONEST, b""), BROKEN),
        case(
            "AVIF that says it has four gigabytes of brands",
            [&[0xe8, 0, 0, 0x1c][..], &avif()[4..]].concat(),
            BROKEN,
        ),
    ]
}

fn sides() -> [u16; 2] {
    [HONEST.0, HONEST.1].map(|side| u16::try_from(side).unwrap())
}

/// A bitmap with the header of Windows 3.
fn bmp_of(width: i32, height: i32, bits: u16, compression: u32, data: &[u8]) -> Vec<u8> {
    let palette = if bits == 8 {
        vec![0x80; 1024]
    } else {
        Vec::new()
    };
    let start = 54 + u32::try_from(palette.len()).unwrap();
    let mut file = b"BM\0\0\0\0\0\0\0\0".to_vec();
    file.extend(start.to_le_bytes());
    file.extend(40_u32.to_le_bytes());
    file.extend(width.to_le_bytes());
    file.extend(height.to_le_bytes());
    file.extend(1_u16.to_le_bytes());
    file.extend(bits.to_le_bytes());
    file.extend(compression.to_le_bytes());
    file.extend([0; 20]);
    file.extend(palette);
    file.extend_from_slice(data);
    file
}

fn riff(chunks: &[u8]) -> Vec<u8> {
    riff_chunk(*b"RIFF", &[b"WEBP", chunks].concat())
}

fn riff_chunk(name: [u8; 4], payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap();
    let padding = &[0][..payload.len() % 2];
    [&name[..], &length.to_le_bytes(), payload, padding].concat()
}

/// An AVIF with one item, whose size its container gives.
fn avif_of((width, height): (u32, u32), av1: &[u8]) -> Vec<u8> {
    let boxed = |name: &[u8; 4], payload: &[&[u8]]| {
        let payload = payload.concat();
        let length = u32::try_from(payload.len() + 8).unwrap();
        [&length.to_be_bytes()[..], name, &payload].concat()
    };
    let length = u32::try_from(av1.len()).unwrap().to_be_bytes();
    let meta = |offset: u32| {
        let handler = boxed(b"hdlr", &[&[0; 8], b"pict", &[0; 13]]);
        let primary = boxed(b"pitm", &[&[0; 4], &[0, 1]]);
        let location = boxed(
            b"iloc",
            &[
                &[0, 0, 0, 0, 0x44, 0, 0, 1, 0, 1, 0, 0, 0, 1],
                &offset.to_be_bytes(),
                &length,
            ],
        );
        let entry = boxed(b"infe", &[&[2, 0, 0, 0, 0, 1, 0, 0], b"av01\0"]);
        let items = boxed(b"iinf", &[&[0, 0, 0, 0, 0, 1], &entry]);
        let size = boxed(
            b"ispe",
            &[&[0; 4], &width.to_be_bytes(), &height.to_be_bytes()],
        );
        let depth = boxed(b"pixi", &[&[0, 0, 0, 0, 3, 8, 8, 8]]);
        let codec = boxed(b"av1C", &[&[0x81, 0, 0x0c, 0]]);
        let container = boxed(b"ipco", &[&size, &depth, &codec]);
        let associations = boxed(b"ipma", &[&[0, 0, 0, 0, 0, 0, 0, 1, 0, 1, 3, 1, 2, 0x83]]);
        let properties = boxed(b"iprp", &[&container, &associations]);
        boxed(
            b"meta",
            &[&[0; 4], &handler, &primary, &location, &items, &properties],
        )
    };
    let brands = boxed(b"ftyp", &[b"avif\0\0\0\0avifmif1miaf"]);
    let offset = brands.len() + meta(0).len() + 8;
    let meta = meta(u32::try_from(offset).unwrap());
    [brands, meta, boxed(b"mdat", &[av1])].concat()
}

/// The same AV1 still whose sequence header says that each side has
/// 2 to the power of `bits` pixels (AV1, 5.5.1).
fn huge_av1(bits: usize) -> Vec<u8> {
    let old = bits_of(&AV1[4..13]);
    let mut new = old[..10].to_vec();
    // How many bits each side has, less one; then the sides, less one.
    let width = (0..4).map(|bit| (bits - 1) >> (3 - bit) & 1 == 1);
    let width: Vec<bool> = width.collect();
    new.extend(width.repeat(2));
    new.extend(vec![true; 2 * bits]);
    new.extend_from_slice(&old[30..]);
    let header: Vec<u8> = new
        .chunks(8)
        .map(|chunk| {
            (0..8).fold(0, |byte, bit| {
                byte << 1 | u8::from(*chunk.get(bit).unwrap_or(&false))
            })
        })
        .collect();
    let length = u8::try_from(header.len()).unwrap();
    [&AV1[..3], &[length], &header, &AV1[13..]].concat()
}

fn bits_of(bytes: &[u8]) -> Vec<bool> {
    let bits = bytes
        .iter()
        .flat_map(|byte| (0..8).map(move |bit| byte >> (7 - bit) & 1 == 1));
    bits.collect()
}
