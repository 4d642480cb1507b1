use ::png::{BitDepth, Encoder};

use super::*;
use crate::render::picture::{Raster, Samples};

const ORDER: Order = Order { side: 50 };
const LIMITS: Limits = Limits {
    source_bytes: 1 << 20,
    pixels: 1 << 20,
    frame_bytes: 3 << 20,
};

fn decoded(mut file: &[u8]) -> Result<Picture, Refusal> {
    decode(&mut file, ORDER, &LIMITS)
}

/// A PNG of `data`, which is rows as they are stored.
fn png(
    width: u32,
    height: u32,
    color: ColorType,
    depth: BitDepth,
    data: &[u8],
    set: impl FnOnce(&mut Encoder<&mut Vec<u8>>),
) -> Vec<u8> {
    let mut file = Vec::new();
    let mut encoder = Encoder::new(&mut file, width, height);
    encoder.set_color(color);
    encoder.set_depth(depth);
    set(&mut encoder);
    let mut writer = encoder.write_header().unwrap();
    writer.write_image_data(data).unwrap();
    drop(writer);
    file
}

pub(super) fn chunk(kind: &[u8], data: &[u8]) -> Vec<u8> {
    let length = u32::try_from(data.len()).unwrap().to_be_bytes();
    // Nobody looks at the checksum.
    [&length[..], kind, data, &[0; 4]].concat()
}

/// A zlib stream of `data` as it is.
pub(super) fn stored(data: &[u8]) -> Vec<u8> {
    let mut zlib = vec![0x78, 0x01];
    for block in data.chunks(0x4000) {
        let length = u16::try_from(block.len()).unwrap();
        zlib.push(0);
        zlib.extend(length.to_le_bytes());
        zlib.extend((!length).to_le_bytes());
        zlib.extend(block);
    }
    zlib.extend([1, 0, 0, 0xff, 0xff]);
    let (low, high) = data.iter().fold((1, 0), |(low, high), &byte| {
        let low = (low + u32::from(byte)) % 65_521;
        (low, (high + low) % 65_521)
    });
    zlib.extend((high << 16 | low).to_be_bytes());
    zlib
}

/// Where the first chunk of a kind begins.
fn position(file: &[u8], kind: &[u8]) -> usize {
    file.windows(4).position(|found| found == kind).unwrap() - 4
}

#[test]
fn depths_and_colours_become_eight_bits() {
    let gray = |width, depth, data: &[u8]| {
        let file = png(width, 1, ColorType::Grayscale, depth, data, |_| {});
        decoded(&file).unwrap().samples
    };
    let expected = |data: &[u8]| Samples::Gray(Raster::new(2, 1, data.to_vec()));
    assert_eq!(gray(2, BitDepth::One, &[0b0100_0000]), expected(&[0, 255]));
    assert_eq!(gray(2, BitDepth::Two, &[0b0110_0000]), expected(&[85, 170]));
    assert_eq!(gray(2, BitDepth::Four, &[0x1e]), expected(&[17, 238]));
    assert_eq!(gray(2, BitDepth::Eight, &[3, 9]), expected(&[3, 9]));
    assert_eq!(
        gray(2, BitDepth::Sixteen, &[3, 128, 9, 255]),
        expected(&[3, 9])
    );
    for (color, depth, data, samples) in [
        (
            ColorType::Rgb,
            BitDepth::Sixteen,
            &[1, 0, 2, 0, 3, 0][..],
            Samples::Rgb(Raster::new(1, 1, vec![1, 2, 3])),
        ),
        (
            ColorType::GrayscaleAlpha,
            BitDepth::Eight,
            &[7, 8],
            Samples::Rgba(Raster::new(1, 1, vec![7, 7, 7, 8])),
        ),
        (
            ColorType::Rgba,
            BitDepth::Eight,
            &[1, 2, 3, 4],
            Samples::Rgba(Raster::new(1, 1, vec![1, 2, 3, 4])),
        ),
    ] {
        let file = png(1, 1, color, depth, data, |_| {});
        assert_eq!(decoded(&file).unwrap().samples, samples);
    }
}

#[test]
fn palettes_and_single_transparent_colours_are_looked_up() {
    let file = png(
        4,
        1,
        ColorType::Indexed,
        BitDepth::Two,
        &[0b0001_1011],
        |png| {
            png.set_palette(vec![1, 2, 3, 4, 5, 6, 7, 8, 9]);
        },
    );
    // The fourth is not in the palette, and black.
    let rgb = vec![1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 0, 0];
    assert_eq!(
        decoded(&file).unwrap().samples,
        Samples::Rgb(Raster::new(4, 1, rgb))
    );
    let file = png(
        2,
        1,
        ColorType::Indexed,
        BitDepth::One,
        &[0b0100_0000],
        |png| {
            png.set_palette(vec![1, 2, 3, 4, 5, 6]);
            png.set_trns(vec![128]);
        },
    );
    let rgba = vec![1, 2, 3, 128, 4, 5, 6, 255];
    assert_eq!(
        decoded(&file).unwrap().samples,
        Samples::Rgba(Raster::new(2, 1, rgba))
    );
    let file = png(
        2,
        1,
        ColorType::Rgb,
        BitDepth::Eight,
        &[1, 2, 3, 4, 5, 6],
        |png| {
            png.set_trns(vec![0, 4, 0, 5, 0, 6]);
        },
    );
    let rgba = vec![1, 2, 3, 255, 4, 5, 6, 0];
    assert_eq!(
        decoded(&file).unwrap().samples,
        Samples::Rgba(Raster::new(2, 1, rgba))
    );
}

#[test]
fn large_pictures_are_reduced_to_twice_the_thumbnail() {
    let data = (0..100)
        .flat_map(|i| [i, 1, 2].repeat(4))
        .collect::<Vec<u8>>()
        .repeat(300);
    let file = png(400, 300, ColorType::Rgb, BitDepth::Eight, &data, |_| {});
    let picture = decoded(&file).unwrap();
    assert_eq!((picture.width, picture.height), (400, 300));
    let Samples::Rgb(raster) = picture.samples else {
        panic!("not RGB");
    };
    // 400 × 300 in 50 × 38.
    assert_eq!((raster.width, raster.height), (100, 100));
    assert_eq!(raster.data[99 * 3..102 * 3], [99, 1, 2, 0, 1, 2, 1, 1, 2]);
}

/// Adam7 as the specification has it, by what stands where.
fn interlaced(width: u32, height: u32, pixel: impl Fn(u32, u32) -> u8) -> Vec<u8> {
    const PATTERN: [[u8; 8]; 8] = [
        [1, 6, 4, 6, 2, 6, 4, 6],
        [7; 8],
        [5, 6, 5, 6, 5, 6, 5, 6],
        [7; 8],
        [3, 6, 4, 6, 3, 6, 4, 6],
        [7; 8],
        [5, 6, 5, 6, 5, 6, 5, 6],
        [7; 8],
    ];
    let mut data = Vec::new();
    for pass in 1..=7 {
        for y in 0..height {
            let here = |x: &u32| PATTERN[y as usize % 8][*x as usize % 8] == pass;
            let row: Vec<u8> = (0..width).filter(here).map(|x| pixel(x, y)).collect();
            if !row.is_empty() {
                data.push(0);
                data.extend(row);
            }
        }
    }
    let mut file = png(1, 1, ColorType::Grayscale, BitDepth::Eight, &[0], |_| {});
    file.truncate(8);
    let mut header = [width.to_be_bytes(), height.to_be_bytes()].concat();
    header.extend([8, 0, 0, 0, 1]);
    file.extend(chunk(b"IHDR", &header));
    file.extend(chunk(b"IDAT", &stored(&data)));
    file.extend(chunk(b"IEND", &[]));
    file
}

#[test]
fn interlaced_pictures_are_put_together() {
    for (width, height) in [(1, 1), (3, 2), (5, 5), (8, 9), (23, 17)] {
        let pixel = |x: u32, y: u32| (x * 11 + y * 7).to_le_bytes()[0];
        let file = interlaced(width, height, pixel);
        let all = (0..height).flat_map(|y| (0..width).map(move |x| pixel(x, y)));
        let expected = Samples::Gray(Raster::new(width, height, all.collect()));
        assert_eq!(
            decoded(&file).unwrap().samples,
            expected,
            "{width} × {height}"
        );
    }
}

#[test]
fn truncated_interlaced_pictures_are_coarser() {
    let file = interlaced(80, 80, |x, y| if x < 40 && y < 40 { 10 } else { 200 });
    // Two passes of ten rows of ten pixels, and some.
    let file = &file[..position(&file, b"IDAT") + 8 + 7 + 2 * 10 * 11 + 40];
    let Samples::Gray(raster) = decoded(file).unwrap().samples else {
        panic!("not gray");
    };
    assert_eq!((raster.data[0], raster.data[39 * 80 + 39]), (10, 10));
    assert_eq!((raster.data[40], raster.data[79 * 80 + 79]), (200, 200));
}

#[test]
fn truncated_pictures_show_what_there_is() {
    let noise = |i: u32| i.wrapping_mul(2_654_435_761).to_be_bytes()[0] & 0x7f;
    let data: Vec<u8> = (0..100 * 100).map(noise).collect();
    let file = png(
        100,
        100,
        ColorType::Grayscale,
        BitDepth::Eight,
        &data,
        |_| {},
    );
    let half = &file[..file.len() / 2];
    let Samples::Gray(raster) = decoded(half).unwrap().samples else {
        panic!("not gray");
    };
    assert_eq!(raster.data[..3000], data[..3000]);
    assert_eq!(raster.data[9999], 255);
    let start = position(&file, b"IDAT") + 8;
    for length in [8, 20, 33, start, start + 2] {
        assert_eq!(decoded(&file[..length]), Err(Refusal::Broken), "{length}");
    }
}

#[test]
fn checksums_and_unknown_chunks_do_not_matter() {
    let mut file = png(2, 1, ColorType::Grayscale, BitDepth::Eight, &[1, 2], |_| {});
    let at = position(&file, b"IDAT");
    file.splice(at..at, chunk(b"juNk", &vec![1; 9 << 20]));
    let samples = Samples::Gray(Raster::new(2, 1, vec![1, 2]));
    assert_eq!(decoded(&file).unwrap().samples, samples);
}

#[test]
fn profile_and_orientation_are_told() {
    let tiff = b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0";
    let plain = png(1, 1, ColorType::Grayscale, BitDepth::Eight, &[0], |_| {});
    for before in [&b"IDAT"[..], b"IEND"] {
        for prefix in [&b""[..], b"Exif\0\0"] {
            let mut file = plain.clone();
            let at = position(&file, before);
            file.splice(at..at, chunk(b"eXIf", &[prefix, tiff].concat()));
            let picture = decoded(&file).unwrap();
            assert_eq!(picture.orientation, Orientation::Rotated90);
        }
    }
    assert_eq!(decoded(&plain).unwrap().profile, None);
    let mut file = plain.clone();
    let at = position(&file, b"IDAT");
    let profile = [b"name\0\0", &stored(&[5; 300])[..]].concat();
    file.splice(at..at, chunk(b"iCCP", &profile));
    assert_eq!(decoded(&file).unwrap().profile, Some(vec![5; 300]));
}

/// The data of a picture of so many zeros, compressed.
fn bomb(width: u32, height: u32) -> Vec<u8> {
    let zeros = vec![0; width as usize * height as usize];
    let file = png(
        width,
        height,
        ColorType::Grayscale,
        BitDepth::Eight,
        &zeros,
        |_| {},
    );
    let (start, end) = (position(&file, b"IDAT"), position(&file, b"IEND"));
    file[start + 8..end - 4].to_vec()
}

#[test]
fn a_profile_that_is_a_bomb_is_not_used() {
    let mut file = png(1, 1, ColorType::Grayscale, BitDepth::Eight, &[0], |_| {});
    let profile = [b"name\0\0", &bomb(4096, 1200)[..]].concat();
    assert!(profile.len() < 100_000);
    let at = position(&file, b"IDAT");
    file.splice(at..at, chunk(b"iCCP", &profile));
    assert_eq!(decoded(&file).unwrap().profile, None);
}

#[test]
fn what_is_too_large_is_refused_by_its_header() {
    let header = |width: u32, height: u32, kind: u8, interlaced: u8| {
        let mut header = [width.to_be_bytes(), height.to_be_bytes()].concat();
        header.extend([16, kind, 0, 0, interlaced]);
        let signature = b"\x89PNG\r\n\x1a\n".to_vec();
        [
            signature,
            chunk(b"IHDR", &header),
            chunk(b"IDAT", &bomb(9, 9)),
        ]
        .concat()
    };
    for (file, refusal) in [
        (header(65_500, 65_500, 6, 0), Refusal::TooLarge),
        (header(1 << 20, 1, 6, 0), Refusal::TooLarge),
        (header(1024, 1024, 6, 1), Refusal::TooLarge),
        (header(0, 1, 6, 0), Refusal::Broken),
        (header(1, 1, 5, 0), Refusal::Broken),
    ] {
        assert_eq!(decoded(&file), Err(refusal));
    }
}
