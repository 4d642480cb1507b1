use super::*;
use crate::render::picture::{Orientation, Raster, Samples};

/// White on the left, and below it red; blue on the right: no two turns of it
/// are alike.
fn flag(width: u32, height: u32) -> Raster {
    let data = (0..height)
        .flat_map(|y| (0..width).map(move |x| (x, y)))
        .flat_map(|(x, y)| match (x < width / 2, y < height / 2) {
            (true, true) => [255, 255, 255],
            (true, false) => [255, 0, 0],
            (false, _) => [0, 0, 255],
        })
        .collect();
    Raster::new(width, height, data)
}

fn picture(samples: Samples) -> Picture {
    let raster = match &samples {
        Samples::Gray(raster)
        | Samples::Rgb(raster)
        | Samples::Rgba(raster)
        | Samples::Cmyk(raster)
        | Samples::YCbCr([raster, ..]) => raster,
    };
    Picture {
        width: raster.width,
        height: raster.height,
        samples,
        orientation: Orientation::Upright,
        profile: None,
    }
}

fn finished(picture: Picture, side: u32, format: Format) -> Vec<u8> {
    let rendered = finish(picture, Order { side }, format, &mut Scratch::default()).unwrap();
    assert_eq!(rendered.format, format);
    assert_eq!(Format::of(&rendered.bytes), Some(format));
    rendered.bytes
}

/// Width, height and channels.
struct Decoded(usize, usize, Vec<u8>);

impl Decoded {
    fn of(file: &[u8]) -> Self {
        match Format::of(file).unwrap() {
            Format::Jpeg => {
                let mut decoder = zune_jpeg::JpegDecoder::new(std::io::Cursor::new(file));
                let data = decoder.decode().unwrap();
                let (width, height) = decoder.dimensions().unwrap();
                Self(width, height, data)
            }
            Format::Png => {
                let mut reader = png::Decoder::new(std::io::Cursor::new(file))
                    .read_info()
                    .unwrap();
                let mut data = vec![0; reader.output_buffer_size().unwrap()];
                let info = reader.next_frame(&mut data).unwrap();
                Self(info.width as usize, info.height as usize, data)
            }
            Format::Gif => {
                let mut options = gif::DecodeOptions::new();
                options.set_color_output(gif::ColorOutput::RGBA);
                let mut decoder = options.read_info(file).unwrap();
                let frame = decoder.read_next_frame().unwrap().unwrap();
                let (width, height) = (frame.width.into(), frame.height.into());
                Self(width, height, frame.buffer.to_vec())
            }
            Format::Bmp => {
                let rgb = image::load_from_memory(file).unwrap().into_rgb8();
                Self(rgb.width() as usize, rgb.height() as usize, rgb.into_raw())
            }
            format => panic!("{format:?}"),
        }
    }

    fn channels(&self) -> usize {
        self.2.len() / (self.0 * self.1)
    }

    /// The pixel so many hundredths from the left and from the top.
    fn at(&self, x: usize, y: usize) -> &[u8] {
        let index = y * self.1 / 100 * self.0 + x * self.0 / 100;
        &self.2[index * self.channels()..][..self.channels()]
    }
}

#[track_caller]
fn assert_near(pixel: &[u8], expected: &[u8], by: u8) {
    assert_eq!(pixel.len(), expected.len());
    assert!(
        pixel
            .iter()
            .zip(expected)
            .all(|(a, b)| a.abs_diff(*b) <= by),
        "{pixel:?} is not nearly {expected:?}"
    );
}

const WHITE: [u8; 3] = [255, 255, 255];
const RED: [u8; 3] = [255, 0, 0];
const BLUE: [u8; 3] = [0, 0, 255];

#[test]
fn every_orientation_is_turned_upright() {
    // The colours of the corners top left, top right, bottom right, bottom left
    // of a flag that is stored W B B R; EXIF 2.3, 4.6.4 A, tag 274.
    for (number, corners) in [
        (1, [WHITE, BLUE, BLUE, RED]),
        (2, [BLUE, WHITE, RED, BLUE]),
        (3, [BLUE, RED, WHITE, BLUE]),
        (4, [RED, BLUE, BLUE, WHITE]),
        (5, [WHITE, RED, BLUE, BLUE]),
        (6, [RED, WHITE, BLUE, BLUE]),
        (7, [BLUE, BLUE, WHITE, RED]),
        (8, [BLUE, BLUE, RED, WHITE]),
    ] {
        let orientation = Orientation::from_exif(number);
        let stored = Picture {
            orientation,
            ..picture(Samples::Rgb(flag(60, 40)))
        };
        let decoded = Decoded::of(&finished(stored, 30, Format::Png));
        let size = if number < 5 { (30, 20) } else { (20, 30) };
        assert_eq!((decoded.0, decoded.1), size, "{number}");
        for ((x, y), colour) in [(10, 10), (90, 10), (90, 90), (10, 90)]
            .into_iter()
            .zip(corners)
        {
            assert_near(decoded.at(x, y), &colour, 12);
        }
    }
}

#[test]
fn every_format_decodes_again_with_its_size_and_colours() {
    for (format, by) in [
        (Format::Jpeg, 20),
        (Format::Png, 12),
        (Format::Gif, 20),
        (Format::Bmp, 12),
    ] {
        for side in [1, 7, 50, 101, 800] {
            let file = finished(picture(Samples::Rgb(flag(301, 203))), side, format);
            let decoded = Decoded::of(&file);
            let (width, height) = Order { side }.fit(301, 203);
            assert_eq!((decoded.0, decoded.1), (width as usize, height as usize));
            if side > 7 {
                assert_near(&decoded.at(20, 20)[..3], &WHITE, by);
                assert_near(&decoded.at(20, 80)[..3], &RED, by);
                assert_near(&decoded.at(80, 50)[..3], &BLUE, by);
            }
        }
    }
}

#[test]
fn planes_of_a_jpeg_become_a_jpeg_with_the_same_colours() {
    // Red as ITU-T T.871 has it.
    let plane =
        |width, height, value| Raster::new(width, height, vec![value; (width * height) as usize]);
    let planes = || Samples::YCbCr([plane(61, 41, 76), plane(31, 21, 85), plane(31, 21, 255)]);
    for (format, side) in [
        (Format::Jpeg, 61),
        (Format::Jpeg, 33),
        (Format::Png, 61),
        (Format::Png, 33),
    ] {
        let decoded = Decoded::of(&finished(picture(planes()), side, format));
        assert_near(decoded.at(50, 50), &[254, 0, 0], 3);
        assert_near(decoded.at(99, 99), &[254, 0, 0], 3);
    }
}

#[test]
fn only_what_a_picture_covers_of_its_samples_is_shown() {
    // The right quarter of the samples is what the decoder made up.
    let mut raster = flag(40, 40);
    for row in raster.data.chunks_exact_mut(120) {
        row[90..].fill(0);
    }
    raster.extent = (30.0, 40.0);
    let reduced = Picture {
        width: 300,
        height: 400,
        ..picture(Samples::Rgb(raster))
    };
    let decoded = Decoded::of(&finished(reduced, 20, Format::Png));
    assert_eq!((decoded.0, decoded.1), (15, 20));
    assert_near(decoded.at(99, 50), &BLUE, 3);
}

#[test]
fn gray_stays_gray_and_needless_channels_go() {
    let gray = Raster::new(9, 9, vec![100; 81]);
    let png = Decoded::of(&finished(
        picture(Samples::Gray(gray.clone())),
        50,
        Format::Png,
    ));
    assert_eq!(png.at(50, 50), [100]);
    let jpeg = finished(picture(Samples::Gray(gray.clone())), 50, Format::Jpeg);
    // As a frame header of one component: T.81, B.2.2.
    assert!(
        jpeg.windows(10)
            .any(|bytes| bytes == [0xff, 0xc0, 0, 11, 8, 0, 9, 0, 9, 1])
    );
    assert_eq!(Decoded::of(&jpeg).at(50, 50), [100; 3]);
    let bmp = Decoded::of(&finished(picture(Samples::Gray(gray)), 50, Format::Bmp));
    assert_eq!(bmp.at(50, 50), [100; 3]);
    let opaque = Raster::new(9, 9, [1, 2, 3, 255].repeat(81));
    let png = Decoded::of(&finished(picture(Samples::Rgba(opaque)), 50, Format::Png));
    assert_eq!(png.at(50, 50), [1, 2, 3]);
    let gray = Raster::new(9, 9, [7, 7, 7, 255].repeat(81));
    let png = Decoded::of(&finished(picture(Samples::Rgba(gray)), 50, Format::Png));
    assert_eq!(png.at(50, 50), [7]);
}

#[test]
fn transparency_is_kept_where_the_format_has_it_and_white_where_not() {
    // Left: green that cannot be seen. Right: half of red.
    let row = [[0, 255, 0, 0].repeat(20), [255, 0, 0, 128].repeat(20)].concat();
    let clear = || picture(Samples::Rgba(Raster::new(40, 40, row.repeat(40))));
    let png = Decoded::of(&finished(clear(), 20, Format::Png));
    assert_eq!(png.at(10, 50)[3], 0);
    assert_near(png.at(90, 50), &[255, 0, 0, 128], 1);
    // The invisible green does not bleed into the red.
    assert_near(&png.at(50, 50)[..2], &[255, 0], 3);
    let gif = Decoded::of(&finished(clear(), 20, Format::Gif));
    assert_eq!(gif.at(10, 50)[3], 0);
    assert_eq!(gif.at(90, 50), [255, 0, 0, 255]);
    for format in [Format::Jpeg, Format::Bmp] {
        let flat = Decoded::of(&finished(clear(), 40, format));
        assert_near(flat.at(10, 50), &WHITE, 6);
        assert_near(flat.at(90, 50), &[255, 127, 127], 6);
    }
}

#[test]
fn inks_without_a_profile_are_subtracted_from_white() {
    for (inks, colour) in [
        ([0, 0, 0, 0], WHITE),
        ([0, 255, 255, 0], RED),
        ([255, 255, 0, 0], BLUE),
        ([10, 20, 30, 255], [0, 0, 0]),
        ([0, 0, 0, 128], [127, 127, 127]),
    ] {
        let cmyk = Samples::Cmyk(Raster::new(8, 8, inks.repeat(64)));
        let decoded = Decoded::of(&finished(picture(cmyk), 8, Format::Jpeg));
        assert_near(decoded.at(50, 50), &colour, 3);
    }
}

#[test]
fn colours_of_a_profile_become_those_of_srgb() {
    let p3 = moxcms::ColorProfile::new_display_p3().encode().unwrap();
    // By the matrices and curves of CSS Color 4, section 10.
    for (stored, shown) in [
        ([255, 255, 255], [255, 255, 255]),
        ([128, 128, 128], [128, 128, 128]),
        ([255, 0, 0], [255, 0, 0]),
        ([200, 100, 50], [215, 93, 31]),
        ([60, 60, 200], [60, 60, 208]),
    ] {
        let rgb = Raster::new(8, 8, stored.repeat(64));
        let rgba = Raster::new(8, 8, [&stored[..], &[90]].concat().repeat(64));
        for (samples, format) in [
            (Samples::Rgb(rgb), Format::Bmp),
            (Samples::Rgba(rgba), Format::Png),
        ] {
            let tagged = Picture {
                profile: Some(p3.clone()),
                ..picture(samples)
            };
            let decoded = Decoded::of(&finished(tagged, 8, format));
            assert_near(&decoded.at(50, 50)[..3], &shown, 2);
            assert!(decoded.at(50, 50).get(3).is_none_or(|&alpha| alpha == 90));
        }
    }
}

#[test]
fn a_profile_that_says_nothing_is_ignored() {
    let rgb = Samples::Rgb(Raster::new(1, 1, vec![200, 100, 50]));
    let p3 = moxcms::ColorProfile::new_display_p3().encode().unwrap();
    let srgb = moxcms::ColorProfile::new_srgb().encode().unwrap();
    let gray = Samples::Gray(Raster::new(1, 1, vec![7]));
    let cmyk = Samples::Cmyk(Raster::new(1, 1, vec![1, 2, 3, 4]));
    let mut conversions = Conversions::default();
    for (profile, samples) in [
        (vec![], &rgb),
        (p3[..p3.len() / 2].to_vec(), &rgb),
        (vec![0xff; 4096], &rgb),
        (srgb, &rgb),
        (p3.clone(), &gray),
        (p3.clone(), &cmyk),
    ] {
        assert!(conversions.wanted(profile, samples).is_none());
    }
    for _ in 0..2 {
        assert!(conversions.wanted(p3.clone(), &rgb).is_some());
    }
}

#[test]
fn very_narrow_and_tiny_pictures_have_thumbnails() {
    for (width, height) in [(1, 1), (1, 10_000), (10_000, 1), (3, 2), (799, 801)] {
        let pixels = (width * height) as usize;
        let plane = || Raster::new(width, height, vec![90; pixels]);
        for samples in [
            Samples::Gray(plane()),
            Samples::Rgb(Raster::new(width, height, vec![90; pixels * 3])),
            Samples::YCbCr([plane(), plane(), plane()]),
        ] {
            for format in [Format::Jpeg, Format::Png, Format::Gif, Format::Bmp] {
                let file = finished(picture(samples.clone()), 100, format);
                let decoded = Decoded::of(&file);
                let size = Order { side: 100 }.fit(width, height);
                assert_eq!((decoded.0, decoded.1), (size.0 as usize, size.1 as usize));
            }
        }
    }
}

#[test]
fn missing_samples_are_refused() {
    let mut scratch = Scratch::default();
    for raster in [Raster::new(9, 9, vec![0; 80]), Raster::default()] {
        let broken = Picture {
            width: 9,
            height: 9,
            ..picture(Samples::Gray(raster))
        };
        for format in [Format::Png, Format::Gif] {
            let answer = finish(broken.clone(), Order { side: 50 }, format, &mut scratch);
            assert_eq!(answer, Err(Refusal::Broken));
        }
    }
}
