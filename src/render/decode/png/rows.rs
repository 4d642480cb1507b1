//! The rows of pictures of 8-bit RGB or RGBA that are not interlaced, as nearly
//! all screenshots and photographs are: inflated by the library, and unfiltered
//! here, which is faster.
//!
//! Held are six rows and the window of the decompression.

use std::array::from_fn;
use std::io::{BufRead, Read};
use std::mem::swap;

use ::png::{BitDepth, ColorType, Decoded, Info, StreamingDecoder, UnfilterRegion, chunk};

use super::filter::{self, Row, TOGETHER};
use super::{MOST_METADATA, Shrink};

/// Bytes for what was inflated, of which 32 KiB are the window.
const BUFFER: usize = 128 << 10;
/// The library inflates at most so many bytes at once.
const STEP: usize = 8 << 10;

/// Whether pictures like this one are decoded here.
pub(super) fn suit(info: &Info<'_>) -> bool {
    matches!(info.color_type, ColorType::Rgb | ColorType::Rgba)
        && info.bit_depth == BitDepth::Eight
        && info.trns.is_none()
        && !info.interlaced
        && info.animation_control.is_none()
        && info.frame_control.is_none()
}

/// Gives `shrink` all rows that come. `source` is where the data of the first
/// image data chunk begins, and `begun` that chunk's length and type.
pub(super) fn decode<'a>(
    source: &'a mut dyn BufRead,
    info: &Info<'_>,
    begun: [u8; 8],
    shrink: &mut Shrink,
) -> Inflated<'a> {
    let mut inflated = Inflated::new(source, info, begun);
    match info.color_type {
        ColorType::Rgba => unfilter::<4>(&mut inflated, info.width, shrink),
        _ => unfilter::<3>(&mut inflated, info.width, shrink),
    }
    inflated
}

/// Rows are handed on late, as the next ones are still compared with them, and
/// handing them on changes them.
fn unfilter<const N: usize>(inflated: &mut Inflated<'_>, width: u32, shrink: &mut Shrink) {
    let empty = || Row::new(width as usize * N);
    let mut above = empty();
    let mut run: [Row; TOGETHER] = from_fn(|_| empty());
    let mut next = empty();
    let mut begun = false;
    let mut hand_on = |row: &mut Row| {
        if begun {
            shrink.push(row.samples());
        }
        begun = true;
    };
    let mut came = inflated.row(&mut next);
    while came {
        let mut count = 0;
        while came && count < TOGETHER && next.is_paeth() {
            swap(&mut run[count], &mut next);
            count += 1;
            came = inflated.row(&mut next);
        }
        if count > 0 {
            filter::paeth::<N>(&above, &mut run, count);
            for row in &mut run[..count] {
                hand_on(&mut above);
                swap(&mut above, row);
            }
        } else if filter::one::<N>(&above, &mut next) {
            hand_on(&mut above);
            swap(&mut above, &mut next);
            came = inflated.row(&mut next);
        } else {
            break;
        }
    }
    hand_on(&mut above);
}

/// The image data, inflated.
pub(super) struct Inflated<'a> {
    source: &'a mut dyn BufRead,
    decoder: StreamingDecoder,
    /// What was inflated; `taken` bytes of it are not needed but as a window.
    buffer: Vec<u8>,
    region: UnfilterRegion,
    taken: usize,
    /// Bytes of the picture that were not inflated yet.
    missing: u64,
    ended: bool,
}

impl<'a> Inflated<'a> {
    fn new(source: &'a mut dyn BufRead, info: &Info<'_>, begun: [u8; 8]) -> Self {
        let mut decoder = StreamingDecoder::new();
        decoder.set_ignore_adler32(true);
        decoder.set_ignore_crc(true);
        decoder.set_ignore_text_chunk(true);
        let [width, height] = [info.width, info.height].map(u32::to_be_bytes);
        let header = [
            b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR",
            &width[..],
            &height,
            &[8, info.color_type as u8, 0, 0, 0],
            // A checksum that nobody looks at.
            &[0; 4],
            &begun,
        ]
        .concat();
        let mut header = &header[..];
        let mut ended = false;
        while !header.is_empty() && !ended {
            match decoder.update(header, None) {
                Ok((used, _)) => header = &header[used..],
                Err(_) => ended = true,
            }
        }
        Self {
            source,
            decoder,
            buffer: vec![0; BUFFER],
            region: UnfilterRegion::default(),
            taken: 0,
            missing: info.raw_bytes() as u64,
            ended,
        }
    }

    /// Reads the next row, if all of it came.
    fn row(&mut self, row: &mut Row) -> bool {
        let mut rest = row.stored();
        loop {
            let ready = &self.buffer[self.taken..self.region.filled];
            let count = ready.len().min(rest.len());
            let (now, later) = rest.split_at_mut(count);
            now.copy_from_slice(&ready[..count]);
            self.taken += count;
            rest = later;
            if rest.is_empty() {
                return true;
            }
            if self.ended || self.missing == 0 {
                return false;
            }
            self.inflate();
        }
    }

    /// Inflates some more, when all before is taken.
    fn inflate(&mut self) {
        let UnfilterRegion { available, filled } = self.region;
        if BUFFER - filled < STEP {
            self.buffer.copy_within(available..filled, 0);
            self.region.available = 0;
            self.region.filled -= available;
        }
        let before = self.region.filled;
        // What comes after the picture is not inflated: it might be damaged.
        let room = usize::try_from(self.missing).unwrap_or(BUFFER);
        self.buffer
            .resize(BUFFER.min(before.saturating_add(room)), 0);
        self.ended = !self.update();
        self.taken = before;
        self.missing -= (self.region.filled - before) as u64;
    }

    /// Whether there may be more.
    fn update(&mut self) -> bool {
        let Ok(data) = self.source.fill_buf() else {
            return false;
        };
        let mut into = self.region.as_buf(&mut self.buffer);
        match self.decoder.update(data, Some(&mut into)) {
            Ok((used, event)) => {
                let more = !data.is_empty() && !matches!(event, Decoded::ImageDataFlushed);
                self.source.consume(used);
                more
            }
            Err(_) => false,
        }
    }

    /// EXIF that stands after the image data, if not too far.
    pub(super) fn exif(mut self) -> Option<Vec<u8>> {
        let mut source = self.source.take(MOST_METADATA as u64);
        loop {
            let data = source.fill_buf().ok().filter(|data| !data.is_empty())?;
            let (used, event) = self.decoder.update(data, None).ok()?;
            source.consume(used);
            match event {
                Decoded::ChunkComplete(chunk::eXIf) => {
                    let block = self.decoder.info()?.exif_metadata.as_ref()?;
                    return Some(block.to_vec());
                }
                Decoded::ChunkComplete(chunk::IEND) => return None,
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests;
