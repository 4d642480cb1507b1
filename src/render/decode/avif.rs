//! AVIF.

use crate::render::picture::Picture;
use crate::render::{Limits, Order, Refusal};

/// Decodes an AVIF.
///
/// # Errors
/// See [`Refusal`].
pub fn decode(source: &[u8], order: Order, limits: &Limits) -> Result<Picture, Refusal> {
    let _ = (source, order, limits);
    Err(Refusal::Broken)
}
