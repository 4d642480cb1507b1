//! The marker segments of a file, one after the other.

use memchr::memchr;

use super::Error;
use super::bits::end_of_scan;

/// Most segments of a file. Many small ones are a way to keep a reader busy.
const MAX_SEGMENTS: u32 = 10_000;

/// SOS.
pub(super) const START_OF_SCAN: u8 = 0xda;
/// EOI.
const END_OF_IMAGE: u8 = 0xd9;

/// Reads segments.
pub(super) struct Segments<'a> {
    pub(super) data: &'a [u8],
    /// Where the next marker is looked for.
    pub(super) at: usize,
    seen: u32,
}

impl<'a> Segments<'a> {
    /// The segments of a file.
    pub(super) fn new(data: &'a [u8]) -> Self {
        Self {
            data,
            at: 0,
            seen: 0,
        }
    }

    /// The code and body of the next segment; passes over what is none. At the
    /// end of the image, or of the data, there is none.
    pub(super) fn next(&mut self) -> Result<Option<(u8, &'a [u8])>, Error> {
        loop {
            let rest = self.data.get(self.at..).unwrap_or_default();
            let Some(marker) = memchr(0xff, rest) else {
                return Ok(None);
            };
            self.at += marker + 1;
            match rest.get(marker + 1) {
                // Stuffing, fill bytes, and markers that stand alone: TEM, RST, SOI.
                Some(0 | 0xff | 1 | 0xd0..=0xd8) => {}
                None | Some(&END_OF_IMAGE) => return Ok(None),
                Some(&code) => {
                    self.seen += 1;
                    if self.seen > MAX_SEGMENTS {
                        return Err(Error::TooCostly);
                    }
                    let body = &rest[marker + 2..];
                    let Some(length) = body.first_chunk().map(|n| u16::from_be_bytes(*n)) else {
                        return Ok(None);
                    };
                    let Some(body) = body.get(2..usize::from(length)) else {
                        return Ok(None);
                    };
                    self.at += 1 + usize::from(length);
                    return Ok(Some((code, body)));
                }
            }
        }
    }

    /// Passes over the data of a scan.
    pub(super) fn pass_scan(&mut self) {
        self.at = end_of_scan(self.data, self.at);
    }
}
