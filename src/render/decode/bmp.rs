//! Windows bitmaps.

use std::io::Cursor;

use image::codecs::bmp::BmpDecoder;
use image::{ColorType, ImageDecoder};

use super::shrink::{Channels, Shrink};
use crate::render::picture::{Orientation, Picture};
use crate::render::{Limits, Order, Refusal};

/// Decodes a bitmap.
///
/// # Errors
/// See [`Refusal`].
pub fn decode(source: &[u8], order: Order, limits: &Limits) -> Result<Picture, Refusal> {
    let mut decoder = BmpDecoder::new(Cursor::new(source)).map_err(|_| Refusal::Broken)?;
    let (width, height) = decoder.dimensions();
    limits.check(width, height)?;
    limits.check_frame(decoder.total_bytes())?;
    let channels = match decoder.color_type() {
        ColorType::L8 => Channels::Gray,
        ColorType::Rgb8 => Channels::Rgb,
        ColorType::Rgba8 => Channels::Rgba,
        _ => return Err(Refusal::Broken),
    };
    let profile = decoder.icc_profile().ok().flatten();
    let bytes = usize::try_from(decoder.total_bytes()).map_err(|_| Refusal::TooLarge)?;
    let mut frame = vec![0; bytes];
    decoder
        .read_image(&mut frame)
        .map_err(|_| Refusal::Broken)?;
    let mut shrink = Shrink::new(width, height, channels, order);
    for row in frame.chunks_exact_mut(width as usize * channels.count()) {
        shrink.push(row);
    }
    Ok(Picture {
        width,
        height,
        samples: shrink.finish(),
        orientation: Orientation::Upright,
        profile,
    })
}

#[cfg(test)]
mod tests {
    use image::ExtendedColorType::{L8, Rgb8, Rgba8};
    use image::codecs::bmp::BmpEncoder;

    use super::*;
    use crate::render::picture::{Raster, Samples};

    const LIMITS: Limits = Limits {
        source_bytes: 1 << 20,
        pixels: 1 << 16,
        frame_bytes: 1 << 17,
    };

    fn decoded(file: &[u8]) -> Result<Picture, Refusal> {
        decode(file, Order { side: 50 }, &LIMITS)
    }

    fn bmp(width: u32, height: u32, pixels: &[u8], kind: image::ExtendedColorType) -> Vec<u8> {
        let mut file = Vec::new();
        let mut encoder = BmpEncoder::new(&mut file);
        encoder.encode(pixels, width, height, kind).unwrap();
        file
    }

    #[test]
    fn bitmaps_with_and_without_alpha_and_palette_are_decoded() {
        let rgb = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12];
        let expected = Samples::Rgb(Raster::new(2, 2, rgb.to_vec()));
        assert_eq!(decoded(&bmp(2, 2, &rgb, Rgb8)).unwrap().samples, expected);
        let rgba = [1, 2, 3, 4, 5, 6, 7, 8];
        let expected = Samples::Rgba(Raster::new(1, 2, rgba.to_vec()));
        assert_eq!(decoded(&bmp(1, 2, &rgba, Rgba8)).unwrap().samples, expected);
        let expected = Samples::Rgb(Raster::new(2, 1, vec![3, 3, 3, 9, 9, 9]));
        assert_eq!(decoded(&bmp(2, 1, &[3, 9], L8)).unwrap().samples, expected);
    }

    /// A bitmap of 4 × 2 with a palette of two colours.
    fn with_palette(height: i32, bits: u8, compression: u8, data: &[u8]) -> Vec<u8> {
        let mut file = b"BM\0\0\0\0\0\0\0\0\x3e\0\0\0\x28\0\0\0\x04\0\0\0".to_vec();
        file.extend(height.to_le_bytes());
        file.extend([1, 0, bits, 0, compression, 0, 0, 0]);
        file.extend([0; 12]);
        file.extend([2, 0, 0, 0, 0, 0, 0, 0]);
        file.extend([30, 20, 10, 0, 60, 50, 40, 0]);
        file.extend(data);
        file
    }

    #[test]
    fn run_lengths_and_rows_from_the_top_are_understood() {
        let (dark, light) = ([10, 20, 30], [40, 50, 60]);
        let expected = [[dark; 4], [light; 4]].concat().concat();
        let expected = Samples::Rgb(Raster::new(4, 2, expected));
        let runs = with_palette(2, 8, 1, &[4, 1, 0, 0, 4, 0, 0, 1]);
        assert_eq!(decoded(&runs).unwrap().samples, expected);
        let from_top = with_palette(-2, 8, 0, &[0, 0, 0, 0, 1, 1, 1, 1]);
        assert_eq!(decoded(&from_top).unwrap().samples, expected);
        let bits = with_palette(2, 1, 0, &[0xf0, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(decoded(&bits).unwrap().samples, expected);
    }

    #[test]
    fn what_is_too_large_or_cut_off_is_refused() {
        let file = bmp(2, 2, &[7; 12], Rgb8);
        assert_eq!(decoded(&file[..file.len() - 8]), Err(Refusal::Broken));
        assert_eq!(decoded(&file[..20]), Err(Refusal::Broken));
        let huge = |width: i32, height: i32| {
            let mut file = file.clone();
            file[18..22].copy_from_slice(&width.to_le_bytes());
            file[22..26].copy_from_slice(&height.to_le_bytes());
            decoded(&file)
        };
        assert_eq!(huge(65_500, 65_500), Err(Refusal::TooLarge));
        assert_eq!(huge(256, 256), Err(Refusal::TooLarge));
        assert_eq!(huge(0, 2), Err(Refusal::Broken));
    }
}
