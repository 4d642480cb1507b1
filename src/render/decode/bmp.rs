//! Windows bitmaps.

use crate::render::picture::Picture;
use crate::render::{Limits, Refusal};

/// Decodes a bitmap.
///
/// # Errors
/// See [`Refusal`].
pub fn decode(source: &[u8], limits: &Limits) -> Result<Picture, Refusal> {
    let _ = (source, limits);
    Err(Refusal::Broken)
}
