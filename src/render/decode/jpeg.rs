//! JPEG, by our own scaled decoder where it can, by `zune-jpeg` where not.

use crate::render::picture::Picture;
use crate::render::{Limits, Order, Refusal};

/// Decodes a JPEG.
///
/// # Errors
/// See [`Refusal`].
pub fn decode(source: &[u8], order: Order, limits: &Limits) -> Result<Picture, Refusal> {
    let _ = (source, order, limits);
    Err(Refusal::Broken)
}
