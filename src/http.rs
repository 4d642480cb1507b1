//! The HTTP surface: its pieces that need no server.

pub mod conditional;
pub mod disposition;
pub mod range;
pub mod zip;
