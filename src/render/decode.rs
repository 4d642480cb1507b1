//! One decoder a format: bytes in, a [`Picture`](super::picture::Picture)
//! reduced to near the wanted size out.
//!
//! A decoder looks at the header first and refuses what is over the
//! [`Limits`](super::Limits) before it asks for memory.

pub mod avif;
pub mod bmp;
pub mod exif;
pub mod gif;
pub mod jpeg;
pub mod pdf;
pub mod png;
mod shrink;
pub mod webp;
