mod damage;
mod writer;

use std::f64::consts::PI;

use jpeg_encoder::{ColorType, Encoder, SamplingFactor};
use zune_jpeg::JpegDecoder;
use zune_jpeg::zune_core::bytestream::ZCursor;
use zune_jpeg::zune_core::colorspace::ColorSpace;
use zune_jpeg::zune_core::options::DecoderOptions;

use self::writer::Coefficients;
use super::*;

const SCALES: [Scale; 4] = [Scale::Eighth, Scale::Quarter, Scale::Half, Scale::Full];

/// Numbers below a limit, from a seed.
fn random(seed: u64) -> impl FnMut(u64) -> u64 {
    let mut state = seed.wrapping_mul(2) + 1;
    move |limit| {
        state = state.wrapping_mul(6_364_136_223_846_793_005);
        state = state.wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % limit
    }
}

/// A file of a picture with something of everything but clipping.
fn encoded(
    (width, height): (u16, u16),
    colours: ColorType,
    setup: impl FnOnce(&mut Encoder<&mut Vec<u8>>),
) -> Vec<u8> {
    let mut random = random(7);
    let channels = match colours {
        ColorType::Luma => 1,
        ColorType::Rgb => 3,
        _ => 4,
    };
    let mut pixels = Vec::new();
    for (y, x) in (0..height).flat_map(|y| (0..width).map(move |x| (y, x))) {
        for channel in 0..channels {
            let wave = (f64::from(x) / 5.0 + f64::from(channel)).sin() * (f64::from(y) / 9.0).cos();
            pixels.push((120.0 + 60.0 * wave) as u8 + random(24) as u8);
        }
    }
    let mut file = Vec::new();
    let mut encoder = Encoder::new(&mut file, 93);
    setup(&mut encoder);
    encoder.encode(&pixels, width, height, colours).unwrap();
    file
}

fn decode(file: &[u8], scale: Scale) -> Vec<Plane> {
    Decoder::new(file).unwrap().decode(scale).unwrap()
}

/// All samples of a component, by another decoder.
fn whole(file: &[u8], colours: ColorSpace, component: usize) -> Vec<u8> {
    let options = DecoderOptions::default().jpeg_set_out_colorspace(colours);
    let samples = JpegDecoder::new_with_options(ZCursor::new(file), options).decode();
    let components = colours.num_components();
    let component = samples.unwrap().into_iter().skip(component);
    component.step_by(components).collect()
}

/// The cosine of a frequency at a sample of so many, as an orthonormal base.
fn basis(frequency: usize, at: usize, of: usize) -> f64 {
    let norm = if frequency == 0 { 1.0 } else { 2.0 } / of as f64;
    norm.sqrt() * ((2 * at + 1) as f64 * frequency as f64 * PI / (2 * of) as f64).cos()
}

/// The coefficients of a block of samples, row by row.
fn transformed(block: &[[f64; 8]; 8]) -> [f64; 64] {
    std::array::from_fn(|at| {
        let rows = block.iter().enumerate().map(|(y, row)| {
            let samples = row.iter().enumerate();
            let row: f64 = samples.map(|(x, s)| s * basis(at % 8, x, 8)).sum();
            row * basis(at / 8, y, 8)
        });
        rows.sum()
    })
}

/// `side × side` samples of the lowest frequencies of 8×8.
fn reduced(coefficients: &[f64; 64], side: usize) -> Vec<f64> {
    let sample = |at: usize| {
        let low = (0..side * side).map(|f| (f / side, f % side));
        let sum: f64 = low
            .map(|(v, u)| {
                coefficients[v * 8 + u] * basis(v, at / side, side) * basis(u, at % side, side)
            })
            .sum();
        sum * side as f64 / 8.0
    };
    (0..side * side).map(sample).collect()
}

/// The largest difference of samples to what the coefficients of blocks say.
fn difference(plane: &Plane, side: usize, columns: usize, blocks: &[[f64; 64]]) -> f64 {
    let (width, height) = (plane.width as usize, plane.height as usize);
    let mut largest = 0_f64;
    for (number, block) in blocks.iter().enumerate() {
        for (at, expected) in reduced(block, side).into_iter().enumerate() {
            let x = number % columns * side + at % side;
            let y = number / columns * side + at / side;
            if x < width && y < height {
                let sample = f64::from(plane.samples[y * width + x]);
                largest = largest.max((sample - expected.clamp(0.0, 255.0)).abs());
            }
        }
    }
    largest
}

#[test]
fn samples_are_what_another_decoder_makes_reduced() {
    for progressive in [false, true] {
        for interval in [0, 3] {
            let file = encoded((96, 64), ColorType::Rgb, |encoder| {
                encoder.set_progressive(progressive);
                encoder.set_restart_interval(interval);
                encoder.set_sampling_factor(SamplingFactor::F_1_1);
            });
            for component in 0..3 {
                let whole = whole(&file, ColorSpace::YCbCr, component);
                let blocks = (0..8 * 12).map(|number| {
                    let (left, top) = (number % 12 * 8, number / 12 * 8);
                    transformed(&std::array::from_fn(|y| {
                        std::array::from_fn(|x| f64::from(whole[(top + y) * 96 + left + x]))
                    }))
                });
                let blocks: Vec<_> = blocks.collect();
                for scale in SCALES {
                    let plane = &decode(&file, scale)[component];
                    let difference = difference(plane, scale.side() as usize, 12, &blocks);
                    assert!(difference < 1.5, "{scale:?} {component}: {difference}");
                }
            }
        }
    }
}

/// Where coefficients are in a block, by their place in the zigzag sequence.
fn natural() -> [usize; 64] {
    let mut places: Vec<_> = (0..64).collect();
    places.sort_by_key(|place| {
        let (row, column) = (place / 8, place % 8);
        let up = (row + column) % 2 == 0;
        (row + column, if up { column } else { row })
    });
    places.try_into().unwrap()
}

#[test]
fn every_sampling_and_way_of_writing_is_read() {
    let natural = natural();
    let samplings: [&[(u8, u8)]; 9] = [
        &[(1, 1)],
        &[(2, 3)],
        &[(1, 1), (1, 1), (1, 1)],
        &[(2, 1), (1, 1), (1, 1)],
        &[(2, 2), (1, 1), (1, 1)],
        &[(1, 2), (1, 1), (1, 1)],
        &[(4, 1), (1, 1), (2, 1)],
        &[(3, 2), (1, 1), (2, 1)],
        &[(2, 2), (1, 1), (1, 1), (1, 2)],
    ];
    for (seed, (factors, interval)) in
        (0_u16..).zip(samplings.iter().flat_map(|s| [(s, 0), (s, 2)]))
    {
        let (width, height) = (1 + seed * 37 % 70, 1 + seed * 53 % 60);
        let coefficients = Coefficients::random(width, height, factors, seed.into());
        let files = [
            coefficients.sequential(true, interval),
            coefficients.sequential(false, interval),
            coefficients.progressive(interval),
        ];
        for (file, scale) in files
            .iter()
            .flat_map(|file| SCALES.map(|scale| (file, scale)))
        {
            let is_exact = file != &files[2] || scale != Scale::Quarter;
            for (plane, component) in decode(file, scale).iter().zip(&coefficients.components) {
                let blocks = component.blocks.iter().map(|block| {
                    let mut coefficients = [0.0; 64];
                    for (k, &coefficient) in block.iter().enumerate() {
                        coefficients[natural[k]] = f64::from(coefficient) * (3 + k / 8) as f64;
                    }
                    coefficients[0] += 1024.0;
                    coefficients
                });
                let blocks: Vec<_> = blocks.collect();
                let side = scale.side() as usize;
                let difference = difference(plane, side, component.columns, &blocks);
                // What refinements would have brought: three steps less half of
                // that, of three coefficients.
                let tolerance = if is_exact {
                    0.7
                } else {
                    0.7 + 9.0 * 2.0 * 3.0 / 8.0
                };
                assert!(
                    difference <= tolerance,
                    "{factors:?} {scale:?}: {difference}"
                );
            }
        }
    }
}

#[test]
fn planes_have_the_sizes_of_their_components() {
    let coefficients = Coefficients::random(35, 33, &[(2, 2), (1, 1), (2, 1)], 1);
    let planes = decode(&coefficients.sequential(true, 0), Scale::Half);
    let sizes = planes.iter().map(|p| (p.width, p.height, p.extent));
    let expected = [
        (18, 17, (17.5, 16.5)),
        (9, 9, (8.75, 8.25)),
        (18, 9, (17.5, 8.25)),
    ];
    assert!(sizes.eq(expected));
    for plane in planes {
        assert_eq!(plane.samples.len() as u32, plane.width * plane.height);
    }
}

#[test]
fn headers_say_what_the_components_are() {
    let of = |file: &[u8]| Decoder::new(file).unwrap().header().colours;
    let with = |colours| of(&encoded((9, 9), colours, |_| {}));
    assert_eq!(with(ColorType::Luma), Colours::Gray);
    assert_eq!(with(ColorType::Rgb), Colours::YCbCr);
    let file = encoded((9, 9), ColorType::Rgb, |encoder| {
        let adobe = b"Adobe\0\x64\0\0\0\0\0".to_vec();
        encoder.add_app_segment(14, adobe).unwrap();
    });
    assert_eq!(of(&file), Colours::YCbCr);
    // Without the JFIF marker.
    let file = [&file[..2], &file[20..]].concat();
    assert_eq!(of(&file), Colours::Rgb);
    assert_eq!(with(ColorType::Cmyk), Colours::Cmyk);
    assert_eq!(with(ColorType::CmykAsYcck), Colours::Ycck);
}

#[test]
fn metadata_is_found() {
    let profile: Vec<_> = (0..100_000_u32).map(|n| n as u8).collect();
    let file = encoded((20, 10), ColorType::Rgb, |encoder| {
        encoder.add_exif_metadata(b"MM\0*").unwrap();
        encoder.add_icc_profile(&profile).unwrap();
    });
    let decoder = Decoder::new(&file).unwrap();
    let header = decoder.header();
    assert_eq!((header.width, header.height), (20, 10));
    assert!(!header.progressive && !header.adobe);
    assert_eq!(header.exif, Some(&b"MM\0*"[..]));
    assert_eq!(header.icc.as_ref(), Some(&profile));
}

#[test]
fn other_kinds_are_told_apart_from_damage() {
    let file = encoded((9, 9), ColorType::Luma, |_| {});
    let frame = file.windows(2).position(|w| w == [0xff, 0xc0]).unwrap();
    for (at, byte) in [(1, 0xc9), (1, 0xc3), (1, 0xc5), (4, 12)] {
        let mut file = file.clone();
        file[frame + at] = byte;
        assert_eq!(Decoder::new(&file).err(), Some(Error::Unsupported));
    }
    for file in [&file[..frame], &file[1..], b"", b"\xff\xd8\xff\xd9"] {
        assert_eq!(Decoder::new(file).err(), Some(Error::Broken));
    }
}
