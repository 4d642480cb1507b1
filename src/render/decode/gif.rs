//! The first frame of a GIF.

use std::io::BufRead;

use crate::render::picture::Picture;
use crate::render::{Limits, Order, Refusal};

/// Decodes a GIF.
///
/// # Errors
/// See [`Refusal`].
pub fn decode(source: &mut dyn BufRead, order: Order, limits: &Limits) -> Result<Picture, Refusal> {
    let _ = (source, order, limits);
    Err(Refusal::Broken)
}
