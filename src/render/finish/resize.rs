//! Scales samples to the size of the thumbnail, by Lanczos.

use fast_image_resize::images::{CroppedImage, Image, ImageRef};
use fast_image_resize::{PixelType, ResizeOptions, Resizer};

use super::Kind;
use crate::render::Refusal;
use crate::render::picture::{Raster, Samples};

/// Scales to `size`. The colour differences come out in that size as well or,
/// with `halved`, in half of it, as JPEG stores them.
///
/// # Errors
/// [`Refusal::Broken`] when there are not as many samples as rows and columns want.
pub(super) fn resize(
    samples: Samples,
    size: (u32, u32),
    halved: bool,
    resizer: &mut Resizer,
) -> Result<Samples, Refusal> {
    let mut scale = |raster, size, kind| scale(raster, size, kind, resizer);
    Ok(match samples {
        Samples::Gray(gray) => Samples::Gray(scale(gray, size, Kind::Gray)?),
        Samples::Rgb(rgb) => Samples::Rgb(scale(rgb, size, Kind::Rgb)?),
        Samples::Rgba(rgba) => Samples::Rgba(scale(rgba, size, Kind::Rgba)?),
        Samples::Cmyk(cmyk) => Samples::Cmyk(scale(cmyk, size, Kind::Cmyk)?),
        Samples::YCbCr([y, cb, cr]) => {
            let chroma = if halved {
                (size.0.div_ceil(2), size.1.div_ceil(2))
            } else {
                size
            };
            Samples::YCbCr([
                scale(y, size, Kind::Gray)?,
                scale(cb, chroma, Kind::Gray)?,
                scale(cr, chroma, Kind::Gray)?,
            ])
        }
    })
}

impl Kind {
    fn pixel_type(self) -> PixelType {
        match self {
            Self::Gray => PixelType::U8,
            Self::Rgb => PixelType::U8x3,
            Self::Rgba | Self::Cmyk => PixelType::U8x4,
        }
    }
}

fn scale(
    raster: Raster,
    (width, height): (u32, u32),
    kind: Kind,
    resizer: &mut Resizer,
) -> Result<Raster, Refusal> {
    let samples = u64::from(raster.width) * u64::from(raster.height);
    let bytes = samples * kind.pixel_type().size() as u64;
    if bytes == 0 || bytes != raster.data.len() as u64 {
        return Err(Refusal::Broken);
    }
    let across = covered(raster.extent.0, raster.width);
    let down = covered(raster.extent.1, raster.height);
    if (across, down) == (f64::from(width), f64::from(height))
        && (raster.width, raster.height) == (width, height)
    {
        return Ok(raster);
    }
    let source = ImageRef::new(raster.width, raster.height, &raster.data, kind.pixel_type())
        .map_err(|_| Refusal::Broken)?;
    // The filter reaches over the edge of a crop: samples of which nothing is
    // covered must not be there.
    let source = CroppedImage::new(&source, 0, 0, whole(across), whole(down))
        .map_err(|_| Refusal::Broken)?;
    let options = ResizeOptions::new()
        .crop(0.0, 0.0, across, down)
        .use_alpha(kind == Kind::Rgba);
    let mut scaled = Image::new(width, height, kind.pixel_type());
    resizer
        .resize(&source, &mut scaled, &options)
        .map_err(|_| Refusal::Broken)?;
    Ok(Raster::new(width, height, scaled.into_vec()))
}

/// At least the first sample is covered, if only part of it.
fn covered(extent: f64, length: u32) -> f64 {
    extent.clamp(1.0, f64::from(length))
}

/// How many samples are covered, if only in part.
#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "between 1 and a length"
)]
fn whole(covered: f64) -> u32 {
    covered.ceil() as u32
}
