//! JPEG: by our own decoder where a part of the size is enough, by `zune-jpeg`
//! where all of it is needed.

use std::array;

use zune_jpeg::JpegDecoder;
use zune_jpeg::zune_core::bytestream::ZCursor;
use zune_jpeg::zune_core::colorspace::ColorSpace;
use zune_jpeg::zune_core::options::DecoderOptions;

use super::exif;
use crate::render::jpeg::{self, Colours, Decoder, Header, Plane, Scale};
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
    let planes = match scale(&header, order) {
        Some(scale) => decode_scaled(decoder, scale, limits),
        // What one decoder finds too odd, the other may not.
        None => decode_whole(source, &header, limits)
            .or_else(|_| decode_scaled(decoder, Scale::Half, limits)),
    }?;
    Ok(Picture {
        width: header.width,
        height: header.height,
        samples: samples(planes, &header).ok_or(Refusal::Broken)?,
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

/// The smallest scale that is large enough for what scaling does to the rest
/// to be as sharp as from the whole picture, to .002 of structural similarity
/// on the most detailed of photographs. `None` when there is no such scale.
fn scale(header: &Header, order: Order) -> Option<Scale> {
    let longest = u64::from(header.width.max(header.height));
    // So many tenths of the thumbnail's side.
    [(Scale::Eighth, 20), (Scale::Quarter, 18), (Scale::Half, 14)]
        .into_iter()
        .find(|&(scale, tenths)| {
            longest * u64::from(scale.side()) * 10 >= u64::from(order.side) * 8 * tenths
        })
        .map(|(scale, _)| scale)
}

/// The number of components.
fn channels(colours: Colours) -> usize {
    match colours {
        Colours::Gray => 1,
        Colours::YCbCr | Colours::Rgb => 3,
        Colours::Cmyk | Colours::Ycck => 4,
    }
}

fn decode_scaled(decoder: Decoder, scale: Scale, limits: &Limits) -> Result<Vec<Raster>, Refusal> {
    let header = decoder.header();
    let pixels = u64::from(header.width) * u64::from(header.height);
    let samples = pixels * u64::from(scale.side().pow(2)) / 64;
    // Samples, and in progressive files coefficients of 16 bits.
    limits.check_frame(samples * channels(header.colours) as u64 * 4)?;
    let planes = decoder.decode(scale)?.into_iter();
    Ok(planes.map(Raster::from).collect())
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

fn decode_whole(source: &[u8], header: &Header, limits: &Limits) -> Result<Vec<Raster>, Refusal> {
    let channels = channels(header.colours);
    let samples = u64::from(header.width) * u64::from(header.height) * channels as u64;
    // Interleaved and in planes, and in progressive files as coefficients of 16 bits.
    limits.check_frame(samples * if header.progressive { 4 } else { 2 })?;
    let colours = match header.colours {
        Colours::Gray => ColorSpace::Luma,
        Colours::YCbCr => ColorSpace::YCbCr,
        Colours::Rgb => ColorSpace::RGB,
        Colours::Cmyk => ColorSpace::CMYK,
        Colours::Ycck => ColorSpace::YCCK,
    };
    let options = DecoderOptions::default()
        .set_strict_mode(false)
        .set_max_width(usize::MAX)
        .set_max_height(usize::MAX)
        .jpeg_set_out_colorspace(colours);
    let mut decoder = JpegDecoder::new_with_options(ZCursor::new(source), options);
    let interleaved = decoder.decode().map_err(|_| Refusal::Broken)?;
    if interleaved.len() as u64 != samples {
        return Err(Refusal::Broken);
    }
    let planes = (0..channels).map(|channel| {
        let plane = interleaved.iter().skip(channel).step_by(channels);
        Raster::new(header.width, header.height, plane.copied().collect())
    });
    Ok(planes.collect())
}

/// What the planes are samples of.
fn samples(planes: Vec<Raster>, header: &Header) -> Option<Samples> {
    Some(match header.colours {
        Colours::Gray => Samples::Gray(planes.into_iter().next()?),
        Colours::YCbCr => Samples::YCbCr(planes.try_into().ok()?),
        Colours::Rgb => Samples::Rgb(interleave::<3>(&planes, |rgb| rgb)?),
        // What Adobe's programs write is how much paper is left.
        Colours::Cmyk if header.adobe => Samples::Cmyk(interleave::<4>(&planes, |left| {
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

/// Interleaves planes in the size of the first.
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
    } = planes[0];
    let mut data = Vec::with_capacity(planes[0].data.len() * CHANNELS);
    // Where a place along a side of the first plane is in another.
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
