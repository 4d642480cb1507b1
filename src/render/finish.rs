//! From a decoded picture to the thumbnail's file: turned, scaled, in sRGB,
//! without metadata.

use super::format::Format;
use super::picture::Picture;
use super::{Order, Refusal, Rendered};

/// What is kept from one thumbnail to the next.
#[derive(Default)]
pub struct Scratch {}

/// Makes the thumbnail's file.
///
/// # Errors
/// See [`Refusal`].
pub fn finish(
    picture: Picture,
    order: Order,
    format: Format,
    scratch: &mut Scratch,
) -> Result<Rendered, Refusal> {
    let _ = (picture, order, format, scratch);
    Err(Refusal::Broken)
}
