//! From a decoded picture to the thumbnail's file: scaled, in sRGB, turned,
//! without metadata.
//!
//! Scaling comes first, so that all that follows sees few pixels.

mod colour;
mod encode;
mod palette;
mod resize;
mod turn;

use fast_image_resize::Resizer;

use self::colour::Conversions;
use super::format::Format;
use super::picture::Picture;
use super::{Order, Refusal, Rendered};

/// What is kept from one thumbnail to the next.
#[derive(Default)]
pub struct Scratch {
    resizer: Resizer,
    conversions: Conversions,
}

/// What the channels of a raster are.
#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Gray,
    Rgb,
    Rgba,
    Cmyk,
}

/// Makes the thumbnail's file.
///
/// # Errors
/// [`Refusal::Broken`] for a picture whose samples are not as many as it says.
pub fn finish(
    picture: Picture,
    order: Order,
    format: Format,
    scratch: &mut Scratch,
) -> Result<Rendered, Refusal> {
    let size = order.fit(picture.width, picture.height);
    let conversion = picture
        .profile
        .and_then(|profile| scratch.conversions.wanted(profile, &picture.samples));
    // From one JPEG to another, colours need not become RGB on the way.
    let halved = format == Format::Jpeg && conversion.is_none();
    let small = resize::resize(picture.samples, size, halved, &mut scratch.resizer)?;
    let srgb = match conversion {
        Some(conversion) => conversion.apply(small),
        None => small,
    };
    let upright = turn::turn(srgb, picture.orientation);
    let bytes = encode::encode(upright, format)?;
    Ok(Rendered { format, bytes })
}

#[cfg(test)]
mod tests;
