//! PNG, row by row.

use std::io::BufRead;

use crate::render::picture::Picture;
use crate::render::{Limits, Order, Refusal};

/// Decodes a PNG.
///
/// # Errors
/// See [`Refusal`].
pub fn decode(source: &mut dyn BufRead, order: Order, limits: &Limits) -> Result<Picture, Refusal> {
    let _ = (source, order, limits);
    Err(Refusal::Broken)
}
