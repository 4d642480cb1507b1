//! JPEG, decoded at the smallest scale that is large enough for the thumbnail.

use std::array;

use super::exif;
use crate::render::jpeg::{self, Colours, Decoder, Plane, Scale};
use crate::render::picture::{Orientation, Picture, Raster, Samples};
use crate::render::{Limits, Order, Refusal};

/// Decodes a JPEG.
///
/// # Errors
/// See [`Refusal`].
pub fn decode(source: &[u8], order: Order, limits: &Limits) -> Result<Picture, Refusal> {
    let decoder = Decoder::new(source)?;
    let header = decoder.header().clone();
    limits.check(header.width, header.height)?;
    let scale = scale(header.width.max(header.height), order.side);
    limits.check_frame(decoder.memory(scale))?;
    let planes = decoder.decode(scale)?.into_iter().map(Raster::from);
    let samples = samples(planes.collect(), header.colours, header.adobe);
    Ok(Picture {
        width: header.width,
        height: header.height,
        samples: samples.ok_or(Refusal::Broken)?,
        orientation: header.exif.map_or(Orientation::Upright, exif::orientation),
        profile: header.icc,
    })
}

impl From<jpeg::Error> for Refusal {
    fn from(error: jpeg::Error) -> Self {
        match error {
            jpeg::Error::Broken | jpeg::Error::Unsupported => Self::Broken,
            jpeg::Error::TooCostly => Self::TooCostly,
        }
    }
}

/// The smallest scale at which a thumbnail is as sharp as from the whole
/// picture, to .002 of structural similarity in detailed photographs.
fn scale(longest: u32, side: u32) -> Scale {
    // The scaled picture has to be so many tenths of the thumbnail.
    [(Scale::Eighth, 18), (Scale::Quarter, 18), (Scale::Half, 14)]
        .into_iter()
        .find(|&(scale, tenths)| {
            u64::from(longest) * u64::from(scale.side()) * 10 >= u64::from(side) * 8 * tenths
        })
        .map_or(Scale::Full, |(scale, _)| scale)
}

impl From<Plane> for Raster {
    fn from(plane: Plane) -> Self {
        Self {
            width: plane.width,
            height: plane.height,
            extent: plane.extent,
            data: plane.samples,
        }
    }
}

/// What the planes are samples of.
fn samples(planes: Vec<Raster>, colours: Colours, adobe: bool) -> Option<Samples> {
    Some(match colours {
        Colours::Gray => Samples::Gray(planes.into_iter().next()?),
        Colours::YCbCr => Samples::YCbCr(planes.try_into().ok()?),
        Colours::Rgb => Samples::Rgb(interleave::<3>(&planes, |rgb| rgb)?),
        // What Adobe's programs write is how much paper is left.
        Colours::Cmyk if adobe => Samples::Cmyk(interleave::<4>(&planes, |left| {
            left.map(|left| 255 - left)
        })?),
        Colours::Cmyk => Samples::Cmyk(interleave::<4>(&planes, |cmyk| cmyk)?),
        Colours::Ycck => Samples::Cmyk(interleave(&planes, inks)?),
    })
}

/// The inks of YCCK: what of them is left was inverted to look like red, green
/// and blue before that was made luminance and colour differences (BT.601).
fn inks([y, cb, cr, black_left]: [u8; 4]) -> [u8; 4] {
    let [y, cb, cr] = [y, cb, cr].map(f32::from);
    let (blue, red) = (cb - 128.0, cr - 128.0);
    let rgb = [
        y + 1.402 * red,
        y - 0.344_136 * blue - 0.714_136 * red,
        y + 1.772 * blue,
    ];
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "it is clamped"
    )]
    let [cyan, magenta, yellow] = rgb.map(|ink| ink.round().clamp(0.0, 255.0) as u8);
    [cyan, magenta, yellow, 255 - black_left]
}

/// Interleaves planes in the size of the largest.
fn interleave<const CHANNELS: usize>(
    planes: &[Raster],
    convert: impl Fn([u8; CHANNELS]) -> [u8; CHANNELS],
) -> Option<Raster> {
    let planes = planes.first_chunk::<CHANNELS>()?;
    let Raster {
        width,
        height,
        extent,
        ..
    } = *planes.iter().max_by_key(|plane| plane.data.len())?;
    let mut data = Vec::with_capacity((width * height) as usize * CHANNELS);
    // Where a place along a side of that is in another.
    let along = |place: u32, from: u32, to: u32| (place * to / from) as usize;
    for y in 0..height {
        let rows = planes.each_ref().map(|plane| {
            let from = along(y, height, plane.height) * plane.width as usize;
            &plane.data[from..][..plane.width as usize]
        });
        for x in 0..width {
            let sample = array::from_fn(|c| rows[c][along(x, width, planes[c].width)]);
            data.extend_from_slice(&convert(sample));
        }
    }
    Some(Raster {
        width,
        height,
        extent,
        data,
    })
}

#[cfg(test)]
mod tests {
    use jpeg_encoder::{ColorType, Encoder, SamplingFactor};

    use super::*;

    const LIMITS: Limits = Limits {
        source_bytes: 1 << 20,
        pixels: 1 << 20,
        frame_bytes: 1 << 20,
    };

    /// A file of one colour.
    fn file(
        colours: ColorType,
        (width, height): (u16, u16),
        pixel: &[u8],
        setup: impl FnOnce(&mut Encoder<&mut Vec<u8>>),
    ) -> Vec<u8> {
        let pixels = pixel.repeat(usize::from(width) * usize::from(height));
        let mut file = Vec::new();
        let mut encoder = Encoder::new(&mut file, 95);
        setup(&mut encoder);
        encoder.encode(&pixels, width, height, colours).unwrap();
        file
    }

    fn decoded(file: &[u8], side: u32) -> Picture {
        decode(file, Order { side }, &LIMITS).unwrap()
    }

    #[test]
    fn pictures_stay_large_enough_for_the_thumbnail() {
        let file = file(ColorType::Luma, (400, 300), &[9], |_| {});
        for (side, width) in [
            (25, 50),
            (27, 50),
            (28, 100),
            (55, 100),
            (56, 200),
            (142, 200),
            (143, 400),
        ] {
            let picture = decoded(&file, side);
            assert_eq!((picture.width, picture.height), (400, 300));
            let Samples::Gray(gray) = picture.samples else {
                panic!()
            };
            assert_eq!(gray.width, width, "{side}");
            assert!(gray.data.iter().all(|&sample| sample.abs_diff(9) < 2));
        }
    }

    #[test]
    fn colours_are_the_same_at_every_size() {
        let close = |raster: &Raster, expected: &[u8]| {
            let pixels = raster.data.chunks_exact(expected.len());
            assert_eq!(pixels.len(), (raster.width * raster.height) as usize);
            for (sample, expected) in pixels.flat_map(|pixel| pixel.iter().zip(expected)) {
                assert!(
                    sample.abs_diff(*expected) < 4,
                    "{:?} {expected:?}",
                    raster.data
                );
            }
        };
        for side in [4, 8, 16, 64] {
            for progressive in [false, true] {
                let decoded = |colours, pixel: &[u8]| {
                    let file = file(colours, (64, 48), pixel, |encoder| {
                        encoder.set_progressive(progressive);
                        encoder.set_sampling_factor(SamplingFactor::F_2_2);
                    });
                    decoded(&file, side).samples
                };
                let ink = [200, 90, 30, 60];
                for colours in [ColorType::Cmyk, ColorType::CmykAsYcck] {
                    match decoded(colours, &ink) {
                        Samples::Cmyk(raster) => close(&raster, &ink),
                        other => panic!("{other:?}"),
                    }
                }
                match decoded(ColorType::Ycbcr, &[90, 120, 170]) {
                    Samples::YCbCr([y, cb, cr]) => {
                        close(&y, &[90]);
                        close(&cb, &[120]);
                        close(&cr, &[170]);
                    }
                    other => panic!("{other:?}"),
                }
            }
        }
    }

    #[test]
    fn orientation_and_profile_go_with_the_picture() {
        // One field: the orientation, a short, 6.
        let exif = b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0";
        let file = file(ColorType::Luma, (20, 10), &[0], |encoder| {
            encoder.add_exif_metadata(exif).unwrap();
            encoder.add_icc_profile(b"profile").unwrap();
        });
        let picture = decoded(&file, 10);
        assert_eq!(picture.orientation, Orientation::Rotated90);
        assert_eq!(picture.profile.as_deref(), Some(&b"profile"[..]));
    }

    #[test]
    fn size_is_looked_at_before_decoding() {
        let file = file(ColorType::Luma, (300, 300), &[0], |_| {});
        let few_pixels = Limits {
            pixels: 89_999,
            ..LIMITS
        };
        let little_memory = Limits {
            frame_bytes: 80_000,
            ..LIMITS
        };
        for (side, limits, fits) in [
            (10, few_pixels, false),
            (300, little_memory, false),
            (10, little_memory, true),
        ] {
            let result = decode(&file, Order { side }, &limits);
            let refused = matches!(result, Err(Refusal::TooLarge));
            assert_eq!(!refused, fits);
        }
    }
}
