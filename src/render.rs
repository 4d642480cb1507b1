//! Makes thumbnails: the bytes of a picture or document in, a small picture out.
//!
//! [`mod@format`] tells by content what the bytes are; [`decode`] reduces them to a
//! [`picture::Picture`] of about the wanted size, reading no more than it has
//! to; [`finish`] turns, scales and colours that and writes it in the format it
//! came in. [`jpeg`] is the scaled JPEG decoder that makes it fast.
//!
//! Whatever touches a byte of a picture runs in a worker process that can do
//! nothing else: [`pool`] starts and feeds the workers, [`worker`] is what runs
//! in them, [`protocol`] what they say to each other, [`sandbox`] the walls.

pub mod decode;
pub mod finish;
pub mod format;
pub mod jpeg;
pub mod picture;
pub mod pool;
pub mod protocol;
pub mod sandbox;
pub mod worker;

use std::io::{self, BufRead};

use thiserror::Error;

use self::decode::pdf::FallbackFont;
use self::format::Format;

/// The largest thumbnail that is made, in pixels a side.
pub const MAX_SIDE: u32 = 800;
/// Redmine asks for thumbnails of multiples of so many pixels a side.
pub const SIDE_STEP: u32 = 50;

/// What is to be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Order {
    /// The thumbnail fits into a square of so many pixels a side.
    pub side: u32,
}

impl Order {
    /// The size of the thumbnail of a picture: its proportions, at least one
    /// pixel each way, never enlarged.
    #[must_use]
    pub fn fit(self, width: u32, height: u32) -> (u32, u32) {
        let longest = u64::from(width.max(height).max(1));
        let side = u64::from(self.side);
        if longest <= side {
            return (width.max(1), height.max(1));
        }
        let scaled = |length: u32| {
            let length = (u64::from(length) * side * 2 + longest) / (longest * 2);
            // It is no longer than `side`.
            u32::try_from(length).unwrap_or(self.side).max(1)
        };
        (scaled(width), scaled(height))
    }
}

/// What a picture may be like to be looked at at all; checked before it is decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Most bytes of the source.
    pub source_bytes: u64,
    /// Most pixels of the whole picture.
    pub pixels: u64,
    /// Most bytes of decoded pixels held at once.
    pub frame_bytes: u64,
}

impl Limits {
    /// Refuses a picture whose header says that it is too large.
    ///
    /// # Errors
    /// [`Refusal::Broken`] for one without pixels, [`Refusal::TooLarge`] for
    /// too many.
    pub fn check(&self, width: u32, height: u32) -> Result<(), Refusal> {
        match u64::from(width) * u64::from(height) {
            0 => Err(Refusal::Broken),
            pixels if pixels > self.pixels => Err(Refusal::TooLarge),
            _ => Ok(()),
        }
    }

    /// Refuses what would hold more than `bytes` of decoded pixels at once.
    ///
    /// # Errors
    /// [`Refusal::TooLarge`].
    pub fn check_frame(&self, bytes: u64) -> Result<(), Refusal> {
        if bytes > self.frame_bytes {
            return Err(Refusal::TooLarge);
        }
        Ok(())
    }
}

/// Why no thumbnail is made of a picture. Asked again, the answer is the same.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// It is nothing of which a thumbnail could be made.
    #[error("this is not a picture or document that thumbnails are made of")]
    NotAnImage,
    /// It is damaged, or no decoder understands it.
    #[error("the picture is damaged, or of a kind that is not understood")]
    Broken,
    /// It is over a limit of size.
    #[error("the picture is too large")]
    TooLarge,
    /// It took more time or memory than a thumbnail may.
    #[error("the picture takes too much time or memory")]
    TooCostly,
}

/// A thumbnail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rendered {
    /// What it is.
    pub format: Format,
    /// The file.
    pub bytes: Vec<u8>,
}

/// What a worker keeps from one picture to the next.
#[derive(Default)]
pub struct Studio {
    /// The font for text whose own is not embedded, where there is one.
    pub fallback_font: Option<FallbackFont>,
    /// The bytes of the source, for decoders that need all of them.
    source: Vec<u8>,
    /// What finishing keeps.
    pub finish: finish::Scratch,
}

/// Makes a thumbnail. The first `fill_buf` of `source` gives at least
/// [`format::HEAD_BYTES`], unless there are no more; what is not needed is
/// left unread.
///
/// # Errors
/// See [`Refusal`].
pub fn render(
    source: &mut dyn BufRead,
    order: Order,
    limits: &Limits,
    studio: &mut Studio,
) -> Result<Rendered, Refusal> {
    let head = source.fill_buf().map_err(|_| Refusal::Broken)?;
    let format = Format::of(head).ok_or(Refusal::NotAnImage)?;
    let mut whole = std::mem::take(&mut studio.source);
    whole.clear();
    let picture = match format {
        Format::Png => decode::png::decode(source, order, limits),
        Format::Gif => decode::gif::decode(source, order, limits),
        Format::Jpeg | Format::Bmp | Format::Webp | Format::Avif | Format::Pdf => {
            read_whole(source, limits, &mut whole).and_then(|()| match format {
                Format::Jpeg => decode::jpeg::decode(&whole, order, limits),
                Format::Bmp => decode::bmp::decode(&whole, order, limits),
                Format::Webp => decode::webp::decode(&whole, order, limits),
                Format::Avif => decode::avif::decode(&whole, order, limits),
                _ => {
                    let font = studio.fallback_font.as_ref();
                    decode::pdf::decode(std::mem::take(&mut whole), order, limits, font)
                }
            })
        }
    };
    studio.source = whole;
    finish::finish(picture?, order, format.of_thumbnail(), &mut studio.finish)
}

fn read_whole(
    source: &mut dyn BufRead,
    limits: &Limits,
    into: &mut Vec<u8>,
) -> Result<(), Refusal> {
    let mut bounded = io::Read::take(source, limits.source_bytes.saturating_add(1));
    io::Read::read_to_end(&mut bounded, into).map_err(|_| Refusal::Broken)?;
    if into.len() as u64 > limits.source_bytes {
        return Err(Refusal::TooLarge);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_are_read_up_to_whatever_limit() {
        let read = |source_bytes| {
            let limits = Limits {
                source_bytes,
                pixels: 1,
                frame_bytes: 1,
            };
            let mut into = Vec::new();
            read_whole(&mut &b"abc"[..], &limits, &mut into).map(|()| into)
        };
        assert_eq!(read(2), Err(Refusal::TooLarge));
        for enough in [3, u64::MAX - 1, u64::MAX] {
            assert_eq!(read(enough).as_deref(), Ok(&b"abc"[..]));
        }
    }

    #[test]
    fn thumbnails_keep_proportions_and_are_never_enlarged() {
        let fit = |side, width, height| Order { side }.fit(width, height);
        assert_eq!(fit(100, 4000, 3000), (100, 75));
        assert_eq!(fit(100, 3000, 4000), (75, 100));
        assert_eq!(fit(100, 80, 100), (80, 100));
        assert_eq!(fit(100, 10_000, 10), (100, 1));
        assert_eq!(fit(800, 1, 1), (1, 1));
        assert_eq!(fit(100, u32::MAX, u32::MAX), (100, 100));
    }
}
