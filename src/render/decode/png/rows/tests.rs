use std::io::{BufReader, Cursor};

use super::super::tests::{chunk, stored};
use super::*;
use crate::render::Order;
use crate::render::decode::shrink::Channels;
use crate::render::picture::Samples;

/// Bytes that look random, the same each time.
struct Noise(u64);

impl Noise {
    fn byte(&mut self) -> u8 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.to_be_bytes()[0]
    }
}

fn header(width: u32, height: u32, color: ColorType) -> Vec<u8> {
    let size = [width.to_be_bytes(), height.to_be_bytes()].concat();
    let header = [&size[..], &[8, color as u8, 0, 0, 0]].concat();
    [b"\x89PNG\r\n\x1a\n".to_vec(), chunk(b"IHDR", &header)].concat()
}

/// A file of rows as they are stored, in image data chunks of so many bytes.
fn file(width: u32, height: u32, color: ColorType, rows: &[u8], chunks: usize) -> Vec<u8> {
    let mut file = header(width, height, color);
    for data in stored(rows).chunks(chunks) {
        file.extend(chunk(b"IDAT", data));
    }
    file.extend(chunk(b"IEND", &[]));
    file
}

fn library(file: &[u8]) -> ::png::Reader<Cursor<&[u8]>> {
    let mut decoder = ::png::Decoder::new(Cursor::new(file));
    decoder.ignore_checksums(true);
    decoder.read_info().unwrap()
}

/// The rows that the library makes of a file.
fn by_the_library(file: &[u8]) -> Vec<u8> {
    let mut reader = library(file);
    let mut all = Vec::new();
    while let Ok(Some(row)) = reader.next_row() {
        all.extend(row.data());
    }
    all
}

/// The rows that come of a file here, and white or transparent ones for those
/// that do not, from a source that gives so many bytes at once.
fn by_us(file: &[u8], at_once: usize) -> (usize, Vec<u8>) {
    let info = library(file).info().clone();
    assert!(suit(&info));
    let channels = match info.color_type {
        ColorType::Rgba => Channels::Rgba,
        _ => Channels::Rgb,
    };
    let order = Order { side: u32::MAX };
    let mut shrink = Shrink::new(info.width, info.height, channels, order);
    let start = file.windows(4).position(|found| found == b"IDAT").unwrap() + 4;
    let mut source = BufReader::with_capacity(at_once, &file[start..]);
    let begun = file[start - 8..start].try_into().unwrap();
    decode(&mut source, &info, begun, &mut shrink);
    let rows = shrink.rows() as usize;
    let (Samples::Rgb(raster) | Samples::Rgba(raster)) = shrink.finish() else {
        panic!("neither RGB nor RGBA");
    };
    (rows * info.width as usize * channels.count(), raster.data)
}

#[test]
fn every_filter_is_undone_as_the_library_does() {
    let mut noise = Noise(0x9e37_79b9_7f4a_7c15);
    for color in [ColorType::Rgb, ColorType::Rgba] {
        for width in 1..=70 {
            // Every filter first and after every other, and many of Paeth's.
            for always in [0, 1, 2, 3, 4, 5] {
                let height = if always == 5 { 60 } else { 7 };
                let mut rows = Vec::new();
                for _ in 0..height {
                    let filter = if always < 5 { always } else { noise.byte() % 8 };
                    rows.push(filter.min(4));
                    // Small differences also, as pictures have.
                    let mask = if noise.byte() < 128 { 0xff } else { 0x03 };
                    rows.extend((0..width as usize * color.samples()).map(|_| noise.byte() & mask));
                }
                let file = file(width, height, color, &rows, 1000);
                let expected = by_the_library(&file);
                let (came, samples) = by_us(&file, 700);
                assert_eq!(came, expected.len());
                assert!(samples == expected, "{color:?}, {width} wide, {always}");
            }
        }
    }
}

#[test]
fn long_rows_and_many_rows_pass_through_the_window() {
    let mut noise = Noise(88_172_645_463_325_252);
    for (width, height) in [(40_000, 9), (50, 9000)] {
        let mut rows = Vec::new();
        for _ in 0..height {
            rows.push(noise.byte() % 5);
            rows.extend((0..width * 3).map(|_| noise.byte()));
        }
        let mut file = Vec::new();
        let mut encoder = ::png::Encoder::new(&mut file, width, height);
        encoder.set_color(ColorType::Rgb);
        encoder.set_filter(::png::Filter::Adaptive);
        let mut writer = encoder.write_header().unwrap();
        // What is repeated far behind is found in the window.
        let picture = rows[..30_000].repeat(rows.len() / 30_000 + 1);
        let picture = &picture[..(width * height * 3) as usize];
        writer.write_image_data(picture).unwrap();
        drop(writer);
        assert!(by_us(&file, 8192).1 == picture, "{width} × {height}");
    }
}

#[test]
fn rows_come_until_the_file_ends_or_is_damaged() {
    let mut noise = Noise(362_436_069);
    let (width, height) = (60, 500);
    let mut rows = Vec::new();
    for _ in 0..height {
        rows.push(noise.byte() % 5);
        rows.extend((0..width * 3).map(|_| noise.byte()));
    }
    let whole = file(width, height, ColorType::Rgb, &rows, 3000);
    for length in [100, 237, 5000, 40_000, 60_000, whole.len() - 40] {
        let cut = &whole[..length];
        let expected = by_the_library(cut);
        let (came, samples) = by_us(cut, 4096);
        assert_eq!(came, expected.len(), "{length}");
        assert!(samples[..came] == expected, "{length}");
    }
    // The head of a stored block that contradicts itself: all before it is
    // shown, where the library leaves out what it kept as a window.
    let damaged = stored(&rows);
    let mut damaged_file = header(width, height, ColorType::Rgb);
    let block = 2 + 4 * (5 + 0x4000);
    damaged_file.extend(chunk(b"IDAT", &[&damaged[..block], &[0; 9000]].concat()));
    let expected = by_the_library(&damaged_file);
    let (came, samples) = by_us(&damaged_file, 4096);
    assert!(came >= expected.len() && came > 300 * 180);
    assert!(samples[..expected.len()] == expected);
    // A filter that does not exist, in the 301st row.
    rows[300 * 181] = 5;
    let wrong = file(width, height, ColorType::Rgb, &rows, 3000);
    assert_eq!(by_us(&wrong, 4096).0, 300 * 180);
    assert_eq!(by_the_library(&wrong).len(), 300 * 180);
    // Image data that ends early, and some that goes on.
    let short = file(width, height, ColorType::Rgb, &rows[..181 * 10], 3000);
    assert_eq!(by_us(&short, 4096).0, 1800);
    let long = file(width, 10, ColorType::Rgb, &rows, 3000);
    assert_eq!(by_us(&long, 4096).0, 1800);
}

#[test]
fn exif_is_found_behind_the_picture() {
    let tail = [
        chunk(b"juNk", &[1; 9000]),
        chunk(b"eXIf", b"II*\0"),
        chunk(b"IEND", &[]),
    ]
    .concat();
    let picture = file(1, 1, ColorType::Rgb, &[0, 1, 2, 3], 1000);
    let start = picture.len() - 12;
    for (tail, expected) in [(&tail[..], Some(&b"II*\0"[..])), (&tail[..9020], None)] {
        let file = [&picture[..start], tail].concat();
        let mut source = &file[33 + 8..];
        let mut info = Info::with_size(1, 1);
        (info.color_type, info.bit_depth) = (ColorType::Rgb, BitDepth::Eight);
        let order = Order { side: 50 };
        let mut shrink = Shrink::new(1, 1, Channels::Rgb, order);
        let begun = file[33..41].try_into().unwrap();
        let inflated = decode(&mut source, &info, begun, &mut shrink);
        assert_eq!(inflated.exif().as_deref(), expected);
    }
}
