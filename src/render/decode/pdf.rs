//! The first page of a PDF.

use crate::render::picture::Picture;
use crate::render::{Limits, Order, Refusal};

/// Decodes the first page.
///
/// # Errors
/// See [`Refusal`].
pub fn decode(
    source: &[u8],
    order: Order,
    limits: &Limits,
    font: Option<&FallbackFont>,
) -> Result<Picture, Refusal> {
    let _ = (source, order, limits, font);
    Err(Refusal::Broken)
}

/// The font for text whose own is not embedded.
#[derive(Clone, Debug)]
pub struct FallbackFont {}
