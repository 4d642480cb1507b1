//! PNG, row by row: apart from interlaced ones, in memory that does not depend
//! on the height.
//!
//! The `png` crate decodes all but the image data of the commonest kind, see
//! `rows`.
//!
//! Checksums are not looked at, and what is lost at the end of a truncated or
//! damaged file is left out: a thumbnail of it still says what it is.

use std::borrow::Cow;
use std::io::{self, BufRead, Read, Seek, SeekFrom};

use ::png::{
    Adam7Info, ColorType, Decoder, DecodingError, Reader, Transformations, splat_interlaced_row,
};

use super::exif;
use super::shrink::{Channels, Shrink};
use crate::render::picture::{Orientation, Picture};
use crate::render::{Limits, Order, Refusal};

mod filter;
mod rows;

/// Most bytes of a colour profile, after it is decompressed, and of EXIF.
const MOST_METADATA: usize = 4 << 20;
/// So many rows are held at once, if they are long: those decompressed or
/// unfiltered together, one converted, and its sums.
const ROWS_HELD: u64 = 10;

/// The first column and row of each pass of Adam7, and how far its rows are
/// apart (PNG, third edition, section 8.1).
const PASSES: [(u32, u32, u32); 7] = [
    (0, 0, 8),
    (4, 0, 8),
    (0, 4, 8),
    (2, 0, 4),
    (0, 2, 4),
    (1, 0, 2),
    (0, 1, 2),
];

/// Decodes a PNG; of an animated one, the picture for those who do not know
/// animation.
///
/// # Errors
/// See [`Refusal`].
pub fn decode(source: &mut dyn BufRead, order: Order, limits: &Limits) -> Result<Picture, Refusal> {
    let mut begun = [0; 8];
    let mut decoder = Decoder::new(Forward {
        source: &mut *source,
        last: &mut begun,
    });
    decoder.ignore_checksums(true);
    decoder.set_ignore_text_chunk(true);
    decoder.set_transformations(Transformations::EXPAND | Transformations::STRIP_16);
    let header = decoder.read_header_info()?;
    let (width, height, interlaced) = (header.width, header.height, header.interlaced);
    limits.check(width, height)?;
    let row_bytes = u64::from(width) * header.bytes_per_pixel().max(4) as u64;
    limits.check_frame(row_bytes * ROWS_HELD)?;
    decoder.set_limits(::png::Limits {
        bytes: usize::try_from(row_bytes).unwrap_or(usize::MAX) + MOST_METADATA,
    });
    let mut reader = decoder.read_info()?;
    let channels = match reader.output_color_type().0 {
        ColorType::Grayscale => Channels::Gray,
        ColorType::GrayscaleAlpha => Channels::GrayAlpha,
        ColorType::Rgb => Channels::Rgb,
        ColorType::Rgba => Channels::Rgba,
        ColorType::Indexed => return Err(Refusal::Broken),
    };
    let mut shrink = Shrink::new(width, height, channels, order);
    let mut info = reader.info().clone();
    if rows::suit(&info) {
        drop(reader);
        let inflated = rows::decode(source, &info, begun, &mut shrink);
        if info.exif_metadata.is_none() {
            info.exif_metadata = inflated.exif().map(Into::into);
        }
    } else {
        if interlaced {
            deinterlace(&mut reader, limits, &mut shrink, channels)?;
        } else {
            let mut row = vec![0; width as usize * channels.count()];
            while shrink.rows() < height && matches!(reader.read_row(&mut row), Ok(Some(_))) {
                shrink.push(&mut row);
            }
        }
        if info.exif_metadata.is_none() && info.animation_control.is_none() {
            // EXIF may also stand at the end. There is none if that is broken.
            let _ = reader.finish();
            info.exif_metadata = reader.info().exif_metadata.clone();
        }
    }
    if shrink.rows() == 0 {
        return Err(Refusal::Broken);
    }
    Ok(Picture {
        width,
        height,
        samples: shrink.finish(),
        orientation: match &info.exif_metadata {
            Some(block) => exif::orientation(block),
            None => Orientation::Upright,
        },
        profile: info.icc_profile.map(Cow::into_owned),
    })
}

/// Decodes all passes into a whole frame. Pixels are repeated until a later
/// pass brings those that belong there, so that a truncated file shows what
/// came, only coarser.
fn deinterlace(
    reader: &mut Reader<Forward<'_>>,
    limits: &Limits,
    shrink: &mut Shrink,
    channels: Channels,
) -> Result<(), Refusal> {
    let bytes = reader.output_buffer_size().ok_or(Refusal::TooLarge)?;
    limits.check_frame(bytes as u64)?;
    let stride = reader.info().width as usize * channels.count();
    let bits = [8, 16, 24, 32][channels.count() - 1];
    let (width, height) = reader.info().size();
    let mut frame = vec![0; bytes];
    let mut row = vec![0; stride];
    let mut came = false;
    'passes: for (pass, (left, top, down)) in (1..).zip(PASSES) {
        if width <= left {
            continue;
        }
        for line in 0..height.saturating_sub(top).div_ceil(down) {
            let Ok(Some(_)) = reader.read_row(&mut row) else {
                break 'passes;
            };
            let place = Adam7Info::new(pass, line, width);
            splat_interlaced_row(&mut frame, stride, &row, &place, bits);
            came = true;
        }
    }
    if came {
        for row in frame.chunks_exact_mut(stride) {
            shrink.push(row);
        }
    }
    Ok(())
}

impl From<DecodingError> for Refusal {
    fn from(error: DecodingError) -> Self {
        match error {
            DecodingError::LimitsExceeded => Self::TooLarge,
            _ => Self::Broken,
        }
    }
}

/// A source that only goes forward. The decoder wants one that can seek, but
/// seeks in none of what is used here.
struct Forward<'a> {
    source: &'a mut dyn BufRead,
    /// The bytes read last: when the decoder has come to the image data, the
    /// length and the type of its first chunk.
    last: &'a mut [u8; 8],
}

impl Read for Forward<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let bytes = self.fill_buf()?.read(into)?;
        self.consume(bytes);
        Ok(bytes)
    }
}

impl BufRead for Forward<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.source.fill_buf()
    }

    fn consume(&mut self, bytes: usize) {
        // What is in the buffer is not read again.
        let read = self
            .source
            .fill_buf()
            .ok()
            .and_then(|data| data.get(..bytes));
        for &byte in read.unwrap_or_default().iter().rev().take(8).rev() {
            self.last.rotate_left(1);
            self.last[7] = byte;
        }
        self.source.consume(bytes);
    }
}

impl Seek for Forward<'_> {
    fn seek(&mut self, _: SeekFrom) -> io::Result<u64> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

#[cfg(test)]
mod tests;
