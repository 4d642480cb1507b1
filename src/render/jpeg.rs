//! A JPEG decoder that decodes small: at an eighth, a quarter or half of the
//! size, or whole, reading only what that needs.
//!
//! Nearly all of the time that a JPEG takes goes into entropy decoding, and a
//! small picture needs almost none of the coefficients. The others are passed
//! over several at a look-up, or, in a progressive file, by whole scans.
//!
//! In whole and at an eighth, samples are those of libjpeg-turbo (2.1.5, over
//! 288 files of all samplings, sizes and ways of writing: equal at an eighth, at
//! most 1 apart in whole). At a quarter and half they are sharper: it has the
//! means of whole samples there, which lose what little a small picture can show.
//!
//! This module knows nothing of thumbnails. It decodes baseline, extended and
//! progressive files of eight bits with Huffman codes (ITU-T T.81); damaged
//! ones as far as they go, as browsers do. What it allocates follows from the
//! size in [`Header`], what it computes is bounded by that and the file's size.

mod ac;
mod bits;
mod frame;
mod huffman;
mod idct;
mod plane;
mod progressive;
mod run;
mod scan;
mod segments;
mod sequential;
mod tables;
#[cfg(test)]
#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "numbers are small"
)]
mod tests;

use thiserror::Error;

use self::frame::Frame;
use self::run::Run;
use self::segments::{START_OF_SCAN, Segments};
use self::tables::Tables;

/// Most bytes of an ICC profile that are looked at.
const MAX_ICC_BYTES: usize = 1 << 20;

/// Why a file cannot be decoded.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum Error {
    /// It is no JPEG, or nothing of the picture is left.
    #[error("the file is damaged")]
    Broken,
    /// It is of a kind that other decoders may know.
    #[error("the file is of an uncommon kind")]
    Unsupported,
    /// It has far more scans than a picture needs.
    #[error("the file takes too much time to decode")]
    TooCostly,
}

/// What the components of a picture are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Colours {
    /// Luminance.
    Gray,
    /// Luminance and two colour differences (BT.601, full range).
    YCbCr,
    /// Red, green, blue.
    Rgb,
    /// Four inks. As Adobe's programs write it, 255 is no ink.
    Cmyk,
    /// Three inks, taken for red, green and blue, as [`Self::YCbCr`], and black.
    Ycck,
}

/// What a file says before its first scan.
#[derive(Clone, Debug)]
pub struct Header<'a> {
    /// Pixels in a row.
    pub width: u32,
    /// Rows.
    pub height: u32,
    /// True when the file brings the whole picture again and again, better.
    pub progressive: bool,
    /// What the components are.
    pub colours: Colours,
    /// True when there is an Adobe marker; then inks are inverted.
    pub adobe: bool,
    /// The TIFF block of the EXIF data.
    pub exif: Option<&'a [u8]>,
    /// The ICC profile.
    pub icc: Option<Vec<u8>>,
}

/// How much of the size to decode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scale {
    /// One sample of every 8×8.
    Eighth,
    /// Two by two.
    Quarter,
    /// Four by four.
    Half,
    /// All of them.
    Full,
}

impl Scale {
    /// Samples on each side of a block.
    #[must_use]
    pub fn side(self) -> u32 {
        match self {
            Self::Eighth => 1,
            Self::Quarter => 2,
            Self::Half => 4,
            Self::Full => 8,
        }
    }
}

/// The samples of a component.
#[derive(Clone, Debug, PartialEq)]
pub struct Plane {
    /// Samples in a row.
    pub width: u32,
    /// Rows.
    pub height: u32,
    /// The width and height of the picture, in samples: the last column and
    /// row may be covered in part only.
    pub extent: (f64, f64),
    /// The samples, row by row.
    pub samples: Vec<u8>,
}

/// A file about to be decoded.
pub struct Decoder<'a> {
    header: Header<'a>,
    frame: Frame,
    tables: Tables,
    segments: Segments<'a>,
    /// The header of the first scan.
    first_scan: &'a [u8],
}

impl<'a> Decoder<'a> {
    /// Reads a file up to its first scan. Nothing is allocated that follows
    /// from the size of the picture.
    ///
    /// # Errors
    /// See [`enum@Error`].
    pub fn new(data: &'a [u8]) -> Result<Self, Error> {
        let mut segments = Segments::new(data)?;
        let mut tables = Tables::default();
        let mut frame = None;
        let (mut jfif, mut adobe, mut exif, mut icc) = (false, None, None, Vec::new());
        while let Some((code, body)) = segments.next()? {
            match code {
                START_OF_SCAN => {
                    let frame: Frame = frame.ok_or(Error::Broken)?;
                    let header = Header {
                        width: frame.width,
                        height: frame.height,
                        progressive: frame.progressive,
                        colours: colours(&frame, jfif, adobe),
                        adobe: adobe.is_some(),
                        exif,
                        icc: assemble(icc),
                    };
                    return Ok(Self {
                        header,
                        frame,
                        tables,
                        segments,
                        first_scan: body,
                    });
                }
                0xc0..=0xc3 | 0xc5..=0xc7 | 0xc9..=0xcb | 0xcd..=0xcf => {
                    if frame.replace(Frame::new(code, body)?).is_some() {
                        return Err(Error::Broken);
                    }
                }
                0xe0 => jfif |= body.starts_with(b"JFIF\0"),
                0xe1 => exif = exif.or(body.strip_prefix(b"Exif\0\0")),
                0xe2 => icc.extend(body.strip_prefix(b"ICC_PROFILE\0")),
                0xee if body.starts_with(b"Adobe") => adobe = body.get(11).copied().or(adobe),
                _ => tables.read(code, body)?,
            }
        }
        Err(Error::Broken)
    }

    /// What the file says.
    #[must_use]
    pub fn header(&self) -> &Header<'a> {
        &self.header
    }

    /// Most bytes that decoding holds, besides some 100 KiB.
    #[must_use]
    pub fn memory(&self, scale: Scale) -> u64 {
        // A sample, in progressive files its coefficient, and for each block
        // which coefficients are known.
        let samples = self.frame.blocks() * u64::from(scale.side().pow(2));
        if self.header.progressive {
            samples * 3 + self.frame.blocks() * 8
        } else {
            samples
        }
    }

    /// Decodes the picture, one plane for each component. Where data is
    /// missing, it is gray.
    ///
    /// # Errors
    /// See [`enum@Error`].
    pub fn decode(self, scale: Scale) -> Result<Vec<Plane>, Error> {
        match scale {
            Scale::Eighth => self.run::<1>(),
            Scale::Quarter => self.run::<2>(),
            Scale::Half => self.run::<4>(),
            Scale::Full => self.run::<8>(),
        }
    }

    fn run<const SIDE: usize>(self) -> Result<Vec<Plane>, Error> {
        let run = Run::<SIDE>::new(self.frame, self.tables, self.segments);
        run.planes(self.first_scan)
    }
}

/// What the components are. Three are luminance and colour differences, unless
/// an Adobe marker or their names say otherwise and JFIF does not (as libjpeg
/// has it).
fn colours(frame: &Frame, jfif: bool, adobe: Option<u8>) -> Colours {
    let ids: Vec<_> = frame.components.iter().map(|c| c.id).collect();
    match (ids.as_slice(), adobe) {
        ([_], _) => Colours::Gray,
        ([_, _, _], Some(0)) | (b"RGB", None) if !jfif => Colours::Rgb,
        ([_, _, _], _) => Colours::YCbCr,
        (_, Some(2)) => Colours::Ycck,
        _ => Colours::Cmyk,
    }
}

/// Puts the pieces of an ICC profile together, when they are all there.
fn assemble(mut pieces: Vec<&[u8]>) -> Option<Vec<u8>> {
    pieces.sort_by_key(|piece| piece.first().copied());
    let mut profile = Vec::new();
    for (number, piece) in (1_usize..).zip(&pieces) {
        let (&[this, count], bytes) = piece.split_first_chunk()?;
        let is_next = usize::from(this) == number && usize::from(count) == pieces.len();
        if !is_next || profile.len() + bytes.len() > MAX_ICC_BYTES {
            return None;
        }
        profile.extend_from_slice(bytes);
    }
    (!profile.is_empty()).then_some(profile)
}
